//! TNEF ("winmail.dat", MS-OXTNEF): Outlook's own envelope for attachments, formatted text and whole messages.
//!
//! A reader of our own: a list of attributes, and lists of MAPI properties in some of them (MS-OXTNEF §2.1.3). It never
//! fails; what does not fit the format ends the reading and is said. An embedded message is a TNEF stream again and comes
//! out as one, so there is no recursion here. Work is linear in the input; output is the input's octets, but for the
//! compressed text, which states its length and is bounded by the caller.

mod props;
mod rtf;
#[cfg(test)]
mod tests;

pub use rtf::decompress;

/// The first four octets of a stream.
pub const MAGIC: [u8; 4] = [0x78, 0x9F, 0x3E, 0x22];

/// At most this many attributes and properties are looked at.
const ITEMS: usize = 200_000;
/// At most this many files are named: more than any caller takes. One more ends the reading, and is kept, so that the
/// caller's own limit is passed and told.
const FILES: usize = 4096;
/// Names of one attachment, and characters of one.
const NAMES: usize = 8;
const NAME: usize = 512;

/// What a stream holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content<'a> {
    pub files: Vec<File<'a>>,
    /// The octets do not follow the format to their end, or there are too many items; what came before is here.
    pub is_broken: bool,
}

/// One thing in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File<'a> {
    /// Every name it has, the longest-lived first; a body is called `body.rtf`, `body.html` or `body.txt`.
    pub names: Vec<String>,
    pub data: &'a [u8],
    pub kind: Kind,
}

/// How `data` is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// As it stands.
    File,
    /// Compressed RTF: [`decompress`].
    CompressedRtf,
    /// Another TNEF stream: a message inside the message.
    Message,
}

/// Attribute identifiers, type included (MS-OXTNEF §2.1.3.2).
mod attribute {
    pub const BODY: u32 = 0x0002_800C;
    pub const MESSAGE_PROPS: u32 = 0x0006_9003;
    pub const ATTACHMENT_START: u32 = 0x0006_9002;
    pub const ATTACHMENT_TITLE: u32 = 0x0001_8010;
    pub const ATTACHMENT_DATA: u32 = 0x0006_800F;
    pub const ATTACHMENT_META: u32 = 0x0006_8011;
    pub const ATTACHMENT_PROPS: u32 = 0x0006_9005;
    /// Older writers use the plain number for the properties of a message.
    pub const MESSAGE_PROPS_OLD: u32 = 0x0008_9003;
}

/// Octets read from the front.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }
    fn double(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.double()?).ok()
    }
}

/// An attachment while its attributes come in.
#[derive(Default)]
struct Open<'a> {
    names: Vec<String>,
    data: Vec<(&'a [u8], Kind)>,
}

impl<'a> Open<'a> {
    fn name(&mut self, name: String) {
        if !name.is_empty() && !self.names.contains(&name) && self.names.len() < NAMES {
            self.names.push(name);
        }
    }
    /// The name that programs show before all others.
    fn first_name(&mut self, name: String) {
        self.names.retain(|n| *n != name);
        self.names.insert(0, name);
        self.names.truncate(NAMES);
    }
    fn data(&mut self, data: &'a [u8], kind: Kind) {
        if self.data.len() <= FILES {
            self.data.push((data, kind));
        }
    }
    fn close(self, files: &mut Vec<File<'a>>) {
        let names = if self.names.is_empty() { vec!["Untitled Attachment".to_owned()] } else { self.names };
        files.extend(self.data.into_iter().map(|(data, kind)| File { names: names.clone(), data, kind }));
    }
}

/// Everything in `data`, a stream that begins with [`MAGIC`].
#[must_use]
pub fn read(data: &[u8]) -> Content<'_> {
    let mut reader = Reader(data);
    let mut content = Content::default();
    let (mut open, mut left) = (None, ITEMS);
    let complete = data.starts_with(&MAGIC)
        && reader.take(6).is_some()
        && attributes(&mut reader, &mut open, &mut content.files, &mut left).is_some();
    if let Some(last) = open {
        last.close(&mut content.files);
    }
    content.is_broken = !complete;
    content
}

/// `None` when the octets end inside an attribute or there are too many.
fn attributes<'a>(
    reader: &mut Reader<'a>,
    open: &mut Option<Open<'a>>,
    files: &mut Vec<File<'a>>,
    left: &mut usize,
) -> Option<()> {
    while !reader.0.is_empty() {
        // Some writers end in zeros.
        if reader.0.iter().take(16).all(|b| *b == 0) {
            return Some(());
        }
        *left = left.checked_sub(1)?;
        let _level = reader.byte()?;
        let id = reader.double()?;
        let length = reader.length()?;
        let value = match reader.take(length) {
            Some(value) => value,
            // A cut stream: what is there of the last attribute is looked at as well.
            None => std::mem::take(&mut reader.0),
        };
        attribute(id, value, open, files, left);
        if files.len() > FILES || open.as_ref().is_some_and(|open| open.data.len() > FILES) {
            return None;
        }
        reader.word()?; // The checksum proves nothing to a scanner.
    }
    Some(())
}

fn attribute<'a>(id: u32, value: &'a [u8], open: &mut Option<Open<'a>>, files: &mut Vec<File<'a>>, left: &mut usize) {
    match id {
        attribute::ATTACHMENT_START => {
            if let Some(last) = open.replace(Open::default()) {
                last.close(files);
            }
        }
        attribute::ATTACHMENT_TITLE => open.get_or_insert_default().name(narrow(value)),
        attribute::ATTACHMENT_DATA | attribute::ATTACHMENT_META => {
            open.get_or_insert_default().data(value, Kind::File);
        }
        attribute::ATTACHMENT_PROPS => props::of_attachment(value, open.get_or_insert_default(), left),
        attribute::MESSAGE_PROPS | attribute::MESSAGE_PROPS_OLD => props::of_message(value, files, left),
        attribute::BODY => files.push(body("body.txt", value, Kind::File)),
        _ => {}
    }
}

fn body<'a>(name: &str, data: &'a [u8], kind: Kind) -> File<'a> {
    File { names: vec![name.to_owned()], data, kind }
}

/// A string of single octets that ends at the first zero.
fn narrow(value: &[u8]) -> String {
    let end = memchr::memchr(0, value).unwrap_or(value.len()).min(NAME);
    super::words::to_text("windows-1252", value.get(..end).unwrap_or_default())
}

/// A string in UTF-16 with the little end first, up to the first zero.
fn wide(value: &[u8]) -> String {
    let units = value.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_le_bytes);
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).take(NAME).collect();
    String::from_utf16_lossy(&units)
}
