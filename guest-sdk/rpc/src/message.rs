//! A message as words: two of header, and up to 16 of payload.
//!
//! | word | bits | what |
//! |---|---|---|
//! | 0 | 0–7 | kind: 1 request, 2 reply |
//! | | 8–15 | number of the area that the buffer is in; 255: the payload is in the message |
//! | | 16–31 | request: method; reply: 0 or a [`Status`](crate::Status) |
//! | | 32–63 | length of the payload in bytes |
//! | 1 | 0–31 | call: chosen by the caller, repeated in the reply |
//! | | 32–63 | reference of the buffer; 0 if inline |
//! | 2–17 | | payload, if inline |
//!
//! A transport with short messages carries the header and as many words as it has room for.

use crate::area::{WORD_BYTES, join, split};
use crate::pool::Reference;

/// The most bytes that a message carries itself.
pub const INLINE_BYTES: usize = 128;
/// The words of the longest message.
pub const MESSAGE_WORDS: usize = HEADER_WORDS + INLINE_WORDS;

const HEADER_WORDS: usize = 2;
const INLINE_WORDS: usize = INLINE_BYTES / WORD_BYTES;
/// In the place of an area's number.
const NO_AREA: u8 = u8::MAX;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the caller.
    Request,
    /// From the server.
    Reply,
}

/// Which call a message belongs to; the caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub u32);

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// A request's method; a reply's status, or 0.
    pub code: u16,
    /// The call.
    pub call: CallId,
    /// Its payload.
    pub body: Body,
}

/// Where a message's payload is.
// With a tag of a word, so that what lies behind it is moved by words, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Body {
    /// In the message.
    Inline(Inline),
    /// In a buffer, which changes hands with the message.
    Buffer {
        /// The area's number.
        area: u8,
        /// The buffer in it.
        reference: Reference,
        /// How many bytes of it are payload.
        bytes: u32,
    },
}

/// Up to [`INLINE_BYTES`] bytes.
// Aligned, so that a message is moved by words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct Inline {
    bytes: [u8; INLINE_BYTES],
    length: u8,
}

impl Inline {
    /// No byte.
    pub const EMPTY: Self = Self { bytes: [0; INLINE_BYTES], length: 0 };

    /// These bytes, if they are not too many.
    #[must_use]
    pub fn new(payload: &[u8]) -> Option<Self> {
        let mut inline = Self { length: u8::try_from(payload.len()).ok()?, ..Self::EMPTY };
        inline.bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(inline)
    }

    /// What `write` puts there, whose length it answers.
    #[inline]
    pub(crate) fn with(
        write: impl FnOnce(&mut [u8; INLINE_BYTES]) -> Option<usize>,
    ) -> Option<Self> {
        let mut inline = Self::EMPTY;
        let length = write(&mut inline.bytes)?;
        inline.length = u8::try_from(length).ok().filter(|_| length <= INLINE_BYTES)?;
        Some(inline)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// How many words of the message whose first word this is are to be read: at most [`MESSAGE_WORDS`], whatever it says.
pub(crate) fn words_of(first: u64) -> usize {
    let [_, area, _, _, length @ ..] = first.to_le_bytes();
    if area != NO_AREA {
        return HEADER_WORDS;
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    HEADER_WORDS.saturating_add(length.div_ceil(WORD_BYTES)).min(MESSAGE_WORDS)
}

impl Message {
    /// Its words, and how many of them are in use.
    #[must_use]
    pub fn encode(&self) -> ([u64; MESSAGE_WORDS], usize) {
        let (header, payload) = self.parts();
        let mut words = [0; MESSAGE_WORDS];
        let used = fill(&mut words, header, payload);
        (words, used.unwrap_or(MESSAGE_WORDS))
    }

    /// Its words, if they are no more than `WORDS`; those that it does not use are 0. For transports with short messages.
    #[inline]
    #[must_use]
    pub fn encode_short<const WORDS: usize>(&self) -> Option<[u64; WORDS]> {
        let (header, payload) = self.parts();
        let mut words = [0; WORDS];
        fill(&mut words, header, payload).map(|_| words)
    }

    /// The words of the header, and the payload behind them.
    #[inline]
    fn parts(&self) -> ([u64; HEADER_WORDS], &[u8]) {
        let (area, length, reference, payload): (u8, u32, Reference, &[u8]) = match &self.body {
            Body::Inline(inline) => {
                (NO_AREA, u32::from(inline.length), Reference(0), inline.as_bytes())
            }
            Body::Buffer { area, reference, bytes } => (*area, *bytes, *reference, &[]),
        };
        let kind = match self.kind {
            Kind::Request => 1,
            Kind::Reply => 2,
        };
        let [c0, c1] = self.code.to_le_bytes();
        let [l0, l1, l2, l3] = length.to_le_bytes();
        let first = u64::from_le_bytes([kind, area, c0, c1, l0, l1, l2, l3]);
        let second = u64::from(self.call.0) | u64::from(reference.0) << 32;
        ([first, second], payload)
    }

    /// The message that these words are; `None` if they are none, or not all that it has.
    #[inline]
    #[must_use]
    pub fn decode(words: &[u64]) -> Option<Self> {
        let [first, second, payload @ ..] = words else { return None };
        let [kind, area, c0, c1, length @ ..] = first.to_le_bytes();
        let [a, b, c, d, reference @ ..] = second.to_le_bytes();
        let length = u32::from_le_bytes(length);
        let reference = Reference(u32::from_le_bytes(reference));
        let kind = match kind {
            1 => Kind::Request,
            2 => Kind::Reply,
            _ => return None,
        };
        let body = match area {
            NO_AREA => Body::Inline(inline(payload, length, reference)?),
            _ => Body::Buffer { area, reference, bytes: length },
        };
        let call = CallId(u32::from_le_bytes([a, b, c, d]));
        Some(Self { kind, code: u16::from_le_bytes([c0, c1]), call, body })
    }
}

/// Writes a message's words; how many, if there is room for them.
#[inline]
fn fill(words: &mut [u64], header: [u64; HEADER_WORDS], payload: &[u8]) -> Option<usize> {
    let used = HEADER_WORDS.saturating_add(payload.len().div_ceil(WORD_BYTES));
    let chunks = payload.chunks(WORD_BYTES).map(join);
    for (to, from) in words.get_mut(..used)?.iter_mut().zip(header.into_iter().chain(chunks)) {
        *to = from;
    }
    Some(used)
}

/// An inline payload, if it is not too long, there, and has no reference.
#[inline]
fn inline(words: &[u64], length: u32, reference: Reference) -> Option<Inline> {
    let length = u8::try_from(length).ok()?;
    let mut inline = Inline { length, ..Inline::EMPTY };
    let bytes = inline.bytes.get_mut(..usize::from(length))?;
    if bytes.len().div_ceil(WORD_BYTES) > words.len() {
        return None;
    }
    for (chunk, word) in bytes.chunks_mut(WORD_BYTES).zip(words) {
        split(*word, chunk);
    }
    (reference.0 == 0).then_some(inline)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn with(body: Body) -> Message {
        Message { kind: Kind::Reply, code: 0x1234, call: CallId(0xcafe_f00d), body }
    }

    #[test]
    fn the_words_are_as_documented() {
        let body = Body::Buffer { area: 3, reference: Reference(0x5678), bytes: 5120 };
        let (words, used) = with(body).encode();
        assert_eq!(used, 2);
        assert_eq!(words[..3], [0x0000_1400_1234_0302, 0x0000_5678_cafe_f00d, 0]);
        let (words, used) = with(Body::Inline(Inline::new(b"123456789").unwrap())).encode();
        assert_eq!(used, 4);
        assert_eq!(words[0], 0x0000_0009_1234_ff02);
        assert_eq!(words[2..5], [u64::from_ne_bytes(*b"12345678"), u64::from(b'9'), 0]);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in 0..=INLINE_BYTES {
            let bytes: [u8; INLINE_BYTES] =
                core::array::from_fn(|index| u8::try_from(index).unwrap() + 1);
            let message = with(Body::Inline(Inline::new(&bytes[..length]).unwrap()));
            let (words, used) = message.encode();
            assert_eq!(used, 2 + length.div_ceil(8));
            assert_eq!(Message::decode(&words), Some(message));
        }
        assert_eq!(Inline::new(&[0; INLINE_BYTES + 1]), None);
        assert_eq!(Inline::new(&[0; 300]), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let decode = |first: u64, second: u64| {
            let mut words = [0; MESSAGE_WORDS];
            (words[0], words[1]) = (first, second);
            assert!(words_of(first) <= MESSAGE_WORDS);
            Message::decode(&words)
        };
        assert!(decode(0x0000_0080_0000_ff01, 0).is_some());
        assert_eq!(decode(0x0000_0081_0000_ff01, 0), None, "129 bytes inline");
        assert_eq!(decode(0x0000_0100_0000_ff01, 0), None, "256 bytes inline");
        assert_eq!(decode(0xffff_ffff_0000_ff01, 0), None);
        assert_eq!(decode(0x0000_0000_0000_ff01, 1 << 32), None, "inline with a reference");
        assert_eq!(decode(0x0000_0000_0000_ff00, 0), None);
        assert_eq!(decode(0x0000_0000_0000_ff03, 0), None);
        assert!(Message::decode(&[0x0000_0008_0000_ff01, 0, 7]).is_some());
        assert_eq!(Message::decode(&[0x0000_0009_0000_ff01, 0, 7]), None, "a word is missing");
        assert_eq!(Message::decode(&[0x0000_0000_0000_ff01]), None);
    }

    #[test]
    fn a_short_message_is_the_same_words_or_none() {
        for length in [0, 1, 8, 9] {
            let message = with(Body::Inline(Inline::new(&[7; 9][..length]).unwrap()));
            let (words, used) = message.encode();
            let short = message.encode_short::<3>();
            assert_eq!(short, (used <= 3).then(|| [words[0], words[1], words[2]]));
        }
        let body = Body::Buffer { area: 3, reference: Reference(9), bytes: 5120 };
        assert_eq!(with(body).encode_short::<2>().map(|words| words.len()), Some(2));
    }
}
