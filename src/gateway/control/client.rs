//! The commands' end of the control socket. Blocking: a command has nothing else to do.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{MOST_REPLY, Reply, Request, socket};

/// Moving or listing a lot takes a while on a busy gateway.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to the running gateway.
#[derive(Debug)]
pub struct Client(UnixStream);

impl Client {
    /// `Ok(None)`: no gateway is running on this data folder.
    pub fn connect(data_dir: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(socket(data_dir)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Some(Self(stream)))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> io::Result<Reply> {
        let bytes = serde_json::to_vec(request)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&bytes)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MOST_REPLY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the gateway's answer is too long"));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}
