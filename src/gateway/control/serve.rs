//! The gateway's end of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::peer::Peer;
use super::{MOST_REPLY, MOST_REQUEST, Reply, Request, socket};

/// Conversations at the same time; the next one waits in the kernel's queue.
const MOST_CLIENTS: usize = 16;
/// How long a client may think, or take to read an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever answers requests.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, request: Request, peer: Peer) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>>;
}

/// A bound control socket; its name goes when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds `data_dir/control.sock`, readable and writable for owner and group only from its first moment under that
    /// name. A socket that a dead gateway left is replaced; the spool's lock keeps two living ones apart.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = socket(data_dir);
        let fresh = path.with_extension("new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660))?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { listener, path })
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, handler: Arc<dyn Handler>) {
        let permits = Arc::new(Semaphore::new(MOST_CLIENTS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, handler.as_ref()).await {
                            tracing::debug!(%error, "a control connection ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Gone already is fine.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn converse(stream: UnixStream, handler: &dyn Handler) -> io::Result<()> {
    let socket = stream.into_std()?;
    let (socket, peer) = tokio::task::spawn_blocking(move || Peer::of(&socket).map(|peer| (socket, peer))).await??;
    let mut stream = UnixStream::from_std(socket)?;
    while let Some(bytes) = timeout(PATIENCE, frame(&mut stream)).await?? {
        let reply = match serde_json::from_slice(&bytes) {
            Ok(request) => handler.handle(request, peer.clone()).await,
            Err(error) => Reply::failed(format!("the gateway does not understand this request: {error}")),
        };
        let mut bytes = serde_json::to_vec(&reply)?;
        if bytes.len() > MOST_REPLY {
            bytes = serde_json::to_vec(&Reply::failed("the answer is too long; ask for less at once"))?;
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        timeout(PATIENCE, async {
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&bytes).await
        })
        .await??;
    }
    Ok(())
}

/// The next request; `None` when the client is done.
async fn frame(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST_REQUEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}
