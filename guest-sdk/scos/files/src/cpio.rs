//! Archives in the form "newc" of cpio (cpio(5)): how the kernel gets its first files.

use crate::Errno;
use crate::number::length;

/// An entry of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: u32,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) links: u32,
    /// Seconds since 1970.
    pub(crate) written: u32,
    pub(crate) device_major: u32,
    pub(crate) device_minor: u32,
    /// A device's own number: major << 8 | minor.
    pub(crate) special: u32,
    /// Without the byte that ends it, and without `/` or `./` before it.
    pub(crate) name: &'static [u8],
    pub(crate) data: &'static [u8],
}

/// Reads an archive entry by entry.
#[derive(Debug)]
pub(crate) struct Archive {
    /// What was not read yet; none after the end or an error.
    rest: Option<&'static [u8]>,
    at: usize,
}

/// Bytes of an entry before its name.
const HEADER: usize = 110;

/// The name of the last entry.
const TRAILER: &[u8] = b"TRAILER!!!";

impl Archive {
    pub(crate) const fn new(bytes: &'static [u8]) -> Self {
        Self { rest: Some(bytes), at: 0 }
    }

    /// Takes so many bytes, and what pads them to four.
    fn take(&mut self, count: usize) -> Result<&'static [u8], Errno> {
        let rest = self.rest.ok_or(Errno::EINVAL)?;
        let (taken, rest) = rest.split_at_checked(count).ok_or(Errno::EINVAL)?;
        self.at = self.at.wrapping_add(count);
        let padding = self.at.wrapping_neg() & 3;
        self.at = self.at.wrapping_add(padding);
        // The last entry's padding may be missing.
        self.rest = Some(rest.get(padding..).unwrap_or(&[]));
        Ok(taken)
    }

    fn entry(&mut self) -> Result<Option<Entry>, Errno> {
        // The name follows the header, and both are padded together.
        let header =
            self.rest.and_then(|rest| rest.first_chunk::<HEADER>()).ok_or(Errno::EINVAL)?;
        if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
            return Err(Errno::EINVAL);
        }
        let name_bytes = length(u64::from(field(header, 11)?));
        let both = self.take(HEADER.checked_add(name_bytes).ok_or(Errno::EINVAL)?)?;
        let name = both.get(HEADER..).and_then(|name| name.strip_suffix(b"\0"));
        let name = name.ok_or(Errno::EINVAL)?;
        let data = self.take(length(u64::from(field(header, 6)?)))?;
        if name == TRAILER {
            return Ok(None);
        }
        let special = (field(header, 9)? & 0xfff) << 8 | field(header, 10)? & 0xff;
        Ok(Some(Entry {
            node: field(header, 0)?,
            mode: field(header, 1)?,
            user: field(header, 2)?,
            group: field(header, 3)?,
            links: field(header, 4)?,
            written: field(header, 5)?,
            device_major: field(header, 7)?,
            device_minor: field(header, 8)?,
            special,
            name: stripped(name),
            data,
        }))
    }
}

impl Iterator for Archive {
    type Item = Result<Entry, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest?;
        let entry = self.entry();
        if !matches!(entry, Ok(Some(_))) {
            self.rest = None;
        }
        entry.transpose()
    }
}

/// The name without what only says that it begins at the root.
fn stripped(name: &'static [u8]) -> &'static [u8] {
    let mut name = name;
    while let Some(shorter) = name.strip_prefix(b"/").or_else(|| name.strip_prefix(b"./")) {
        name = shorter;
    }
    if name == b"." { b"" } else { name }
}

/// A field of the header: eight hexadecimal digits.
fn field(header: &[u8; HEADER], number: usize) -> Result<u32, Errno> {
    let first = number.wrapping_mul(8).wrapping_add(6);
    let digits = header.get(first..).and_then(|rest| rest.first_chunk::<8>());
    let mut value = 0_u32;
    for digit in digits.ok_or(Errno::EINVAL)? {
        let digit = char::from(*digit).to_digit(16).ok_or(Errno::EINVAL)?;
        value = value.wrapping_shl(4) | digit;
    }
    Ok(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Archive, Entry};
    use crate::Errno;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    /// An archive as `cpio -H newc` makes it.
    pub(crate) fn archive(entries: &[(&str, u32, &[u8])]) -> &'static [u8] {
        let mut bytes = Vec::new();
        for (number, (name, mode, data)) in
            entries.iter().chain([&("TRAILER!!!", 0, &[][..])]).enumerate()
        {
            let fields = [
                number + 1,
                *mode as usize,
                3,
                4,
                1,
                77,
                data.len(),
                0,
                0,
                5,
                6,
                name.len() + 1,
                0,
            ];
            let header: Vec<_> = fields.iter().map(|field| format!("{field:08x}")).collect();
            bytes.extend(format!("070701{}{name}\0", header.concat()).bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(*data);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.leak()
    }

    #[test]
    fn an_archive_is_read_as_it_was_written() {
        let bytes = archive(&[("./a", 0o100_644, b"12345"), ("/b/c", 0o020_666, b"")]);
        let entries: Vec<_> = Archive::new(bytes).map(Result::unwrap).collect();
        let common =
            Entry { user: 3, group: 4, links: 1, written: 77, special: 0x506, ..Entry::default() };
        let first = Entry { node: 1, mode: 0o100_644, name: b"a", data: b"12345", ..common };
        assert_eq!(entries, [first, Entry { node: 2, mode: 0o020_666, name: b"b/c", ..common }]);
    }

    #[test]
    fn what_is_cut_off_or_no_archive_is_einval_and_the_end() {
        let bytes = archive(&[("a", 0o100_644, b"12345")]);
        for end in 0..bytes.len() - 4 {
            let mut archive = Archive::new(&bytes[..end]);
            assert_eq!(archive.find_map(Result::err), Some(Errno::EINVAL), "{end}");
            assert!(archive.next().is_none());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_without_an_end(
            at in 0..200_usize,
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut spoiled = archive(&[("a", 0o100_644, b"12345"), ("b", 0o100_644, b"1")]).to_vec();
            for (to, from) in spoiled.iter_mut().skip(at).zip(bytes) {
                *to = from;
            }
            prop_assert!(Archive::new(spoiled.leak()).count() <= 3);
        }
    }
}
