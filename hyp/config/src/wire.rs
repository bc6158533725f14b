//! How numbers lie in a bundle: little-endian, in 64-bit words, in the order of their declaration.
//!
//! `record!` makes the reader and the writer of a table row from one list of fields, so that the two
//! cannot drift apart. No field crosses a word except whole words, so that each is one aligned load and a shift: the
//! target allows no unaligned loads, and byte-wise ones would cost ten times the instructions.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use shikiri_abi::{CoreSet, Ipa, Pa};

/// Where a row is being read: the words that are left, and what is left of the current one.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    words: &'a [u64],
    current: u64,
    bits: u32,
}

impl<'a> Cursor<'a> {
    /// At the start of a row.
    #[inline]
    pub(crate) const fn new(words: &'a [u64]) -> Self {
        Self { words, current: 0, bits: 0 }
    }

    /// Takes the next `bits` bits, at most 64. A row has as many words as its fields need, so the case "too
    /// short" cannot arise; it would read as zero. In place, all but the loads is known when the row's code is made: a start reads
    /// each row many times.
    #[inline(always)]
    fn take(&mut self, bits: u32) -> u64 {
        if self.bits == 0
            && let Some((first, rest)) = self.words.split_first()
        {
            (self.current, self.words, self.bits) = (u64::from_le(*first), rest, u64::BITS);
        }
        let mask = u64::MAX.checked_shr(u64::BITS.wrapping_sub(bits)).unwrap_or(0);
        let value = self.current & mask;
        self.current = self.current.checked_shr(bits).unwrap_or(0);
        self.bits = self.bits.saturating_sub(bits);
        value
    }
}

/// A value with a fixed size in the bundle.
pub(crate) trait Field: Sized {
    /// Its size.
    const BYTES: usize;

    /// Takes the value.
    fn take(from: &mut Cursor<'_>) -> Self;

    /// Appends the value.
    #[cfg(feature = "alloc")]
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! integer_field {
    ($($type:ty)*) => {$(
        impl Field for $type {
            const BYTES: usize = size_of::<$type>();

            #[inline(always)]
            fn take(from: &mut Cursor<'_>) -> Self {
                // The mask has cut the value to this type's width.
                Self::try_from(from.take(Self::BITS)).unwrap_or(0)
            }

            #[cfg(feature = "alloc")]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

integer_field!(u8 u16 u32 u64);

impl Field for u128 {
    const BYTES: usize = size_of::<Self>();

    #[inline]
    fn take(from: &mut Cursor<'_>) -> Self {
        let (low, high) = (from.take(u64::BITS), from.take(u64::BITS));
        Self::from(low) | Self::from(high) << u64::BITS
    }

    #[cfg(feature = "alloc")]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

macro_rules! wrapped_field {
    ($($type:ident($inner:ty))*) => {$(
        impl Field for $type {
            const BYTES: usize = <$inner as Field>::BYTES;

            #[inline]
            fn take(from: &mut Cursor<'_>) -> Self {
                Self(Field::take(from))
            }

            #[cfg(feature = "alloc")]
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
        }
    )*};
}

wrapped_field!(Ipa(u64) Pa(u64) CoreSet(u128));

impl<const N: usize> Field for [u64; N] {
    const BYTES: usize = size_of::<Self>();

    #[inline]
    fn take(from: &mut Cursor<'_>) -> Self {
        core::array::from_fn(|_| Field::take(from))
    }

    #[cfg(feature = "alloc")]
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(out));
    }
}

/// Whether fields of these sizes lie in whole words with none across a word border (sizes are powers of two, or whole
/// words).
pub(crate) const fn is_whole(sizes: &[usize]) -> bool {
    const WORD: usize = size_of::<u64>();
    let (mut rest, mut at) = (sizes, 0_usize);
    while let [size, tail @ ..] = rest {
        let align = if *size < WORD { *size } else { WORD };
        if !at.is_multiple_of(align) {
            return false;
        }
        at = at.saturating_add(*size);
        rest = tail;
    }
    at.is_multiple_of(WORD)
}

/// Declares a table row: the struct, its size, and both directions.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        }

        impl $name {
            /// Bytes of the row in the bundle.
            pub(crate) const BYTES: usize = 0 $(+ <$type as $crate::wire::Field>::BYTES)*;
            /// Words of the row in the bundle.
            pub(crate) const WORDS: usize = Self::BYTES / size_of::<u64>();

            /// Decodes a row.
            #[inline]
            pub(crate) fn get(row: &[u64; Self::WORDS]) -> Self {
                let mut from = $crate::wire::Cursor::new(row);
                $(let $field = <$type as $crate::wire::Field>::take(&mut from);)*
                Self { $($field),* }
            }

            /// Appends the row.
            #[cfg(feature = "alloc")]
            pub(crate) fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                $($crate::wire::Field::put(&self.$field, out);)*
            }
        }

        const _: () = assert!(
            $crate::wire::is_whole(&[$(<$type as $crate::wire::Field>::BYTES),*]),
            "a field crosses a word, or the row is not whole words"
        );
    };
}
pub(crate) use record;
