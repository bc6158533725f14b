//! The device tree, read token by token (Devicetree Specification v0.4, chapter 5).
//!
//! The tree comes from whoever started the guest. All the same nothing here trusts it: each step is bounded by
//! the blob, a damaged tree ends the walk. Deliberately smaller than a general library: a guest looks at four
//! properties, and this costs it one KiB.

/// "d00dfeed", which a tree starts with.
const MAGIC: u32 = 0xd00d_feed;
/// Bytes of the header up to the last field that is used.
pub(crate) const HEADER_BYTES: usize = 40;

/// A step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A node starts; its name, unit address included.
    Begin(&'a [u8]),
    /// A property: name and value.
    Property(&'a [u8], &'a [u8]),
    /// The node that started last ends.
    End,
}

/// A walk over a tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree<'a> {
    rest: &'a [u8],
    strings: &'a [u8],
}

/// The whole blob's size, from its header; `None` if this is no device tree.
pub(crate) fn total_bytes(header: &[u8]) -> Option<usize> {
    if word(header)? != MAGIC {
        return None;
    }
    field(header, 4)
}

impl<'a> Tree<'a> {
    /// A walk over `blob` from its root; `None` if it is no device tree.
    pub(crate) fn new(blob: &'a [u8]) -> Option<Self> {
        let blob = blob.get(..total_bytes(blob)?)?;
        let part = |offset, bytes| {
            let start = field(blob, offset)?;
            blob.get(start..start.checked_add(field(blob, bytes)?)?)
        };
        Some(Self { rest: part(8, 36)?, strings: part(12, 32)? })
    }

    /// Takes a word off the rest.
    fn take_word(&mut self) -> Option<u32> {
        let value = word(self.rest)?;
        self.rest = self.rest.get(4..)?;
        Some(value)
    }

    /// Takes `bytes` bytes and the padding to a word off the rest.
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let taken = self.rest.get(..bytes)?;
        self.rest = self.rest.get(bytes.checked_next_multiple_of(4)?..).unwrap_or(&[]);
        Some(taken)
    }
}

impl<'a> Iterator for Tree<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            match self.take_word()? {
                1 => {
                    let name = text(self.rest)?;
                    self.take(name.len().checked_add(1)?)?;
                    return Some(Token::Begin(name));
                }
                2 => return Some(Token::End),
                3 => {
                    let bytes = usize::try_from(self.take_word()?).ok()?;
                    let name = usize::try_from(self.take_word()?).ok()?;
                    let name = text(self.strings.get(name..)?)?;
                    return Some(Token::Property(name, self.take(bytes)?));
                }
                4 => {}
                _ => return None,
            }
        }
    }
}

/// The bytes up to the first zero.
pub(crate) fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().position(|byte| *byte == 0)?)
}

/// A node's name without its unit address.
pub(crate) fn base_name(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b'@').next().unwrap_or(name)
}

/// Takes a number of `cells` words off the front of a value.
pub(crate) fn take_number(value: &mut &[u8], cells: u32) -> Option<u64> {
    let mut number = 0_u64;
    for _ in 0..cells {
        number = (number << 32) | u64::from(word(value)?);
        *value = value.get(4..)?;
    }
    Some(number)
}

/// The word that `bytes` start with.
pub(crate) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The header's field at `offset`.
fn field(blob: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(word(blob.get(offset..)?)?).ok()
}
