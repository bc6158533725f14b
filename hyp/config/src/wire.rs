//! How numbers lie in a bundle: little-endian, in 64-bit words, in the order of their declaration.
//!
//! `record!` makes the reader and the writer of a table row from one list of fields, so that the two
//! cannot drift apart. No field crosses a word except whole words, so that each is one aligned load and a shift: the
//! target allows no unaligned loads, and byte-wise ones would cost ten times the instructions.

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

/// A row that is being written: the words, and how many bits are.
pub(crate) struct Packer<const N: usize> {
    words: [u64; N],
    bits: u32,
}

impl<const N: usize> Packer<N> {
    /// At the start of a row.
    pub(crate) const fn new() -> Self {
        Self { words: [0; N], bits: 0 }
    }

    /// Adds the lowest `bits` bits of a value that has no others. A row has as many words as its fields need.
    fn put(&mut self, value: u64, bits: u32) {
        let place = usize::try_from(self.bits / u64::BITS).unwrap_or(usize::MAX);
        if let Some(word) = self.words.get_mut(place) {
            *word |= value.checked_shl(self.bits % u64::BITS).unwrap_or(0);
        }
        self.bits = self.bits.saturating_add(bits);
    }

    /// The words as they lie in a bundle.
    pub(crate) fn words(self) -> [u64; N] {
        self.words.map(u64::to_le)
    }
}

/// A value with a fixed size in the bundle.
pub(crate) trait Field: Sized {
    /// Its size.
    const BYTES: usize;

    /// Takes the value.
    fn take(from: &mut Cursor<'_>) -> Self;

    /// Adds the value.
    fn put<const N: usize>(&self, into: &mut Packer<N>);
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

            fn put<const N: usize>(&self, into: &mut Packer<N>) {
                into.put(u64::from(*self), Self::BITS);
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

    fn put<const N: usize>(&self, into: &mut Packer<N>) {
        let low = self & Self::from(u64::MAX);
        into.put(u64::try_from(low).unwrap_or(0), u64::BITS);
        into.put(u64::try_from(self >> u64::BITS).unwrap_or(0), u64::BITS);
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

            fn put<const N: usize>(&self, into: &mut Packer<N>) {
                self.0.put(into);
            }
        }
    )*};
}

wrapped_field!(Ipa(u64) Pa(u64) CoreSet(u128));

impl<const M: usize> Field for [u64; M] {
    const BYTES: usize = size_of::<Self>();

    #[inline]
    fn take(from: &mut Cursor<'_>) -> Self {
        core::array::from_fn(|_| Field::take(from))
    }

    fn put<const N: usize>(&self, into: &mut Packer<N>) {
        self.iter().for_each(|value| Field::put(value, into));
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

            /// Encodes a row.
            #[allow(dead_code, reason = "not every row is written at run time")]
            pub(crate) fn encode(&self) -> [u64; Self::WORDS] {
                let mut into = $crate::wire::Packer::new();
                $($crate::wire::Field::put(&self.$field, &mut into);)*
                into.words()
            }

            /// Appends the row.
            #[cfg(feature = "alloc")]
            pub(crate) fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                self.encode().iter().for_each(|word| out.extend_from_slice(&word.to_ne_bytes()));
            }
        }

        const _: () = assert!(
            $crate::wire::is_whole(&[$(<$type as $crate::wire::Field>::BYTES),*]),
            "a field crosses a word, or the row is not whole words"
        );
    };
}
pub(crate) use record;
