//! Marshalling: values to bytes and back, in postcard's format (version 1).
//!
//! Little-endian throughout: integers above 8 bits are base-128 varints with the low group first (signed ones zigzag
//! before), floats their IEEE bits; sequences, strings and byte slices carry their length first, tuples and structs
//! nothing; enums and options their variant first. Every length is checked against what is left, and what is left
//! over at the end is an error.

use postcard::ser_flavors::{Flavor, Size};
use postcard::{Deserializer, Error, de_flavors, serialize_with_flavor};
use serde_core::{Deserialize, Serialize};

use crate::area::{Area, WORD_BYTES, join};
use crate::facade::atomic::Ordering;

/// The bytes are not a value of that type, or there are more than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPayload;

/// What goes into a message: a value to be marshalled, or bytes that are so already.
pub(crate) trait Payload {
    /// How many bytes it has; `None` if it cannot be marshalled.
    fn bytes(&self) -> Option<usize>;

    /// Writes it to memory of its own; how many bytes that were.
    fn to_slice(&self, into: &mut [u8]) -> Option<usize>;

    /// Writes it to shared memory; how many bytes that were.
    fn to_area(&self, into: Area<'_>) -> Option<usize>;
}

/// A value.
pub(crate) struct Value<'v, V: ?Sized>(pub(crate) &'v V);

impl<V: Serialize + ?Sized> Payload for Value<'_, V> {
    fn bytes(&self) -> Option<usize> {
        serialize_with_flavor(self.0, Size::default()).ok()
    }

    fn to_slice(&self, into: &mut [u8]) -> Option<usize> {
        serialize_with_flavor(self.0, SliceWriter { into, length: 0 }).ok()
    }

    fn to_area(&self, into: Area<'_>) -> Option<usize> {
        let writer = Writer { area: into, word: [0; WORD_BYTES], length: 0 };
        serialize_with_flavor(self.0, writer).ok()
    }
}

/// Bytes.
pub(crate) struct Raw<'b>(pub(crate) &'b [u8]);

impl Payload for Raw<'_> {
    fn bytes(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn to_slice(&self, into: &mut [u8]) -> Option<usize> {
        into.get_mut(..self.0.len())?.copy_from_slice(self.0);
        Some(self.0.len())
    }

    fn to_area(&self, into: Area<'_>) -> Option<usize> {
        into.write(self.0).map(|()| self.0.len())
    }
}

/// The value that these bytes are, and all of them. It may borrow from them.
///
/// # Errors
/// [`BadPayload`].
pub fn decode<'b, V: Deserialize<'b>>(bytes: &'b [u8]) -> Result<V, BadPayload> {
    let mut deserializer = Deserializer::from_flavor(SliceReader { left: bytes });
    let value = V::deserialize(&mut deserializer).map_err(|_| BadPayload)?;
    match deserializer.finalize() {
        Ok([]) => Ok(value),
        Ok(_) | Err(_) => Err(BadPayload),
    }
}

/// Reads a peer's bytes, by safe code alone (postcard's own reader goes by pointers).
struct SliceReader<'b> {
    left: &'b [u8],
}

impl<'b> de_flavors::Flavor<'b> for SliceReader<'b> {
    type Remainder = &'b [u8];
    type Source = &'b [u8];

    fn pop(&mut self) -> Result<u8, Error> {
        let (first, left) = self.left.split_first().ok_or(Error::DeserializeUnexpectedEnd)?;
        self.left = left;
        Ok(*first)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }

    fn try_take_n(&mut self, count: usize) -> Result<&'b [u8], Error> {
        let split = self.left.split_at_checked(count);
        let (taken, left) = split.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.left = left;
        Ok(taken)
    }

    fn finalize(self) -> Result<&'b [u8], Error> {
        Ok(self.left)
    }
}

/// Puts bytes into memory of one's own.
struct SliceWriter<'a> {
    into: &'a mut [u8],
    length: usize,
}

impl Flavor for SliceWriter<'_> {
    type Output = usize;

    fn try_push(&mut self, byte: u8) -> Result<(), Error> {
        *self.into.get_mut(self.length).ok_or(Error::SerializeBufferFull)? = byte;
        self.length = self.length.checked_add(1).ok_or(Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> Result<usize, Error> {
        Ok(self.length)
    }
}

/// Puts bytes into shared words, one store for each word.
struct Writer<'a> {
    area: Area<'a>,
    /// The bytes of the word that is not complete yet.
    word: [u8; WORD_BYTES],
    length: usize,
}

impl Writer<'_> {
    /// Stores the word that byte number `length` is in.
    fn store(&self) -> Option<()> {
        let word = self.area.word(self.length.checked_div(WORD_BYTES)?)?;
        word.store(join(&self.word), Ordering::Relaxed);
        Some(())
    }
}

impl Flavor for Writer<'_> {
    type Output = usize;

    fn try_push(&mut self, byte: u8) -> Result<(), Error> {
        let place = self.length % WORD_BYTES;
        *self.word.get_mut(place).ok_or(Error::SerializeBufferFull)? = byte;
        if place == WORD_BYTES - 1 {
            self.store().ok_or(Error::SerializeBufferFull)?;
            self.word = [0; WORD_BYTES];
        }
        self.length = self.length.checked_add(1).ok_or(Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> Result<usize, Error> {
        if !self.length.is_multiple_of(WORD_BYTES) {
            self.store().ok_or(Error::SerializeBufferFull)?;
        }
        Ok(self.length)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::facade::atomic::AtomicU64;

    type Sample<'a> = (u8, u32, i64, bool, Option<u16>, &'a str, &'a [u8], Result<(), u8>);

    const SAMPLE: Sample<'_> = (7, 300, -2, true, Some(128), "grüß", &[1, 2, 3], Err(9));
    const BYTES: [u8; 23] = [
        7, 0xac, 0x02, 3, 1, 1, 0x80, 0x01, 6, b'g', b'r', 0xc3, 0xbc, 0xc3, 0x9f, 3, 1, 2, 3, 1,
        9, 0, 0,
    ];

    #[test]
    fn the_format_is_as_documented() {
        let words: [AtomicU64; 3] = core::array::from_fn(|_| AtomicU64::new(u64::MAX));
        let area = Area::new(&words);
        assert_eq!(Value(&SAMPLE).bytes(), Some(21));
        assert_eq!(Value(&SAMPLE).to_area(area), Some(21));
        let mut shared = [1; 24];
        area.read(&mut shared).unwrap();
        assert_eq!(shared[..23], BYTES);
        let mut own = [0; 23];
        assert_eq!(Value(&SAMPLE).to_slice(&mut own), Some(21));
        assert_eq!(own, BYTES);
        assert_eq!(decode::<Sample<'_>>(&own[..21]), Ok(SAMPLE));
    }

    #[test]
    fn too_few_bytes_and_too_many_are_refused() {
        for length in 0..BYTES.len() {
            let value = decode::<Sample<'_>>(&BYTES[..length]);
            assert_eq!(value.is_ok(), length == 21, "{length}");
        }
        // A length of four gigabytes and a string that is no UTF-8.
        assert_eq!(decode::<&[u8]>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]), Err(BadPayload));
        assert_eq!(decode::<&str>(&[1, 0xff]), Err(BadPayload));
        assert_eq!(decode::<()>(&[]), Ok(()));
    }

    #[test]
    fn a_value_that_does_not_fit_writes_nothing_behind_its_memory() {
        let words: [AtomicU64; 3] = core::array::from_fn(|_| AtomicU64::new(u64::MAX));
        let area = Area::new(&words).part(0, 2).unwrap();
        assert_eq!(Value(&SAMPLE).to_area(area), None);
        assert_eq!(Raw(&[0; 17]).to_area(area), None);
        assert_eq!(words[2].load(Ordering::Relaxed), u64::MAX);
        assert_eq!(Value(&SAMPLE).to_slice(&mut [0; 20]), None);
        assert_eq!(Raw(&[0; 17]).to_slice(&mut [0; 16]), None);
    }
}
