//! Programs' files: static ELF programs for AArch64, at fixed addresses or position-independent.

use alloc::vec::Vec;

use shikiri_scos_files::Errno;

use crate::{PAGE, Protection};

/// Bytes of the file's header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a program header.
pub const ENTRY_BYTES: usize = 56;
/// The most program headers.
const MOST_ENTRIES: u16 = 64;
/// Where a position-independent program goes.
const INDEPENDENT_BASE: u64 = 0x10_0000_0000;

const FIXED: u16 = 2;
const INDEPENDENT: u16 = 3;
const AARCH64: u16 = 183;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;

/// What the file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    base: u64,
    entry: u64,
    /// Where the program headers are in the file.
    pub table: u64,
    /// How many there are.
    pub entries: u16,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it goes.
    pub address: u64,
    /// Its bytes there; those that the file does not have are 0.
    pub bytes: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Its bytes in the file.
    pub file_bytes: u64,
    /// Its protection.
    pub protection: Protection,
}

impl Segment {
    /// The pages that it touches: where they start and end.
    #[must_use]
    pub fn pages(&self) -> Option<(u64, u64)> {
        let end = self.address.checked_add(self.bytes)?.checked_next_multiple_of(PAGE)?;
        Some((self.address & !(PAGE.wrapping_sub(1)), end))
    }
}

/// A program that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its first instruction.
    pub entry: u64,
    /// What is loaded, by ascending addresses.
    pub segments: Vec<Segment>,
    /// Where its program headers are in its memory; 0 if they are not loaded.
    pub headers: u64,
    /// How many those are.
    pub entries: u16,
    /// The first address above it.
    pub end: u64,
}

impl Header {
    /// Reads the file's first bytes.
    ///
    /// # Errors
    /// ENOEXEC: not a static program for this machine.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Errno> {
        let kind = half(bytes, 16);
        // The magic number, 64 bits, little-endian, version 1.
        let is_right = bytes.starts_with(b"\x7fELF\x02\x01\x01")
            && matches!(kind, FIXED | INDEPENDENT)
            && half(bytes, 18) == AARCH64
            && usize::from(half(bytes, 54)) == ENTRY_BYTES;
        let entries = half(bytes, 56);
        if !is_right || entries == 0 || entries > MOST_ENTRIES {
            return Err(Errno::ENOEXEC);
        }
        let base = if kind == INDEPENDENT { INDEPENDENT_BASE } else { 0 };
        Ok(Self { base, entry: long(bytes, 24), table: long(bytes, 32), entries })
    }

    /// Reads the program headers, which are `table`.
    ///
    /// # Errors
    /// ENOEXEC: it wants an interpreter, or the segments overlap, lie outside, or can be written and executed.
    pub fn program(&self, table: &[u8]) -> Result<Program, Errno> {
        let mut segments: Vec<Segment> = Vec::new();
        for entry in table.chunks_exact(ENTRY_BYTES).take(usize::from(self.entries)) {
            match word(entry, 0) {
                INTERPRETER => return Err(Errno::ENOEXEC),
                LOAD if long(entry, 40) > 0 => {
                    let segment = self.segment(entry).ok_or(Errno::ENOEXEC)?;
                    let is_above = segments.last().is_none_or(|last| is_apart(last, &segment));
                    if !is_above {
                        return Err(Errno::ENOEXEC);
                    }
                    segments.push(segment);
                }
                _ => {}
            }
        }
        let (_, end) = segments.last().and_then(Segment::pages).ok_or(Errno::ENOEXEC)?;
        let headers = segments.iter().find_map(|segment| {
            let into = self.table.checked_sub(segment.offset)?;
            let bytes = u64::from(self.entries).checked_mul(ENTRY_BYTES as u64)?;
            (into.checked_add(bytes)? <= segment.file_bytes)
                .then_some(segment.address.checked_add(into)?)
        });
        Ok(Program {
            entry: self.entry.checked_add(self.base).ok_or(Errno::ENOEXEC)?,
            segments,
            headers: headers.unwrap_or(0),
            entries: self.entries,
            end,
        })
    }

    fn segment(&self, entry: &[u8]) -> Option<Segment> {
        let flags = word(entry, 4);
        let protection = Protection {
            is_readable: flags & 4 != 0,
            is_writable: flags & 2 != 0,
            is_executable: flags & 1 != 0,
        };
        let segment = Segment {
            address: long(entry, 16).checked_add(self.base)?,
            bytes: long(entry, 40),
            offset: long(entry, 8),
            file_bytes: long(entry, 32),
            protection,
        };
        let (start, end) = segment.pages()?;
        let fits = segment.file_bytes <= segment.bytes
            && start >= PAGE
            && end <= crate::space::PROGRAM_END
            && segment.offset.checked_add(segment.file_bytes).is_some()
            && !(protection.is_writable && protection.is_executable);
        fits.then_some(segment)
    }
}

/// Whether no page of `next` is below the end of `last`.
fn is_apart(last: &Segment, next: &Segment) -> bool {
    match (last.pages(), next.pages()) {
        (Some((_, end)), Some((start, _))) => start >= end,
        _ => false,
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u16::from_le_bytes(*field))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u32::from_le_bytes(*field))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u16, entries: u16) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18..20].copy_from_slice(&AARCH64.to_le_bytes());
        bytes[24..32].copy_from_slice(&0x40_0100_u64.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&entries.to_le_bytes());
        bytes
    }

    fn entry(kind: u32, flags: u32, address: u64, file_bytes: u64, bytes: u64) -> Vec<u8> {
        let mut entry = std::vec![0; ENTRY_BYTES];
        entry[..4].copy_from_slice(&kind.to_le_bytes());
        entry[4..8].copy_from_slice(&flags.to_le_bytes());
        entry[16..24].copy_from_slice(&address.to_le_bytes());
        entry[32..40].copy_from_slice(&file_bytes.to_le_bytes());
        entry[40..48].copy_from_slice(&bytes.to_le_bytes());
        entry
    }

    fn program(entries: &[Vec<u8>]) -> Result<Program, Errno> {
        let header = Header::read(&header(FIXED, u16::try_from(entries.len()).unwrap())).unwrap();
        header.program(&entries.concat())
    }

    #[test]
    fn a_program_has_its_segments_and_knows_where_its_headers_are() {
        let text = entry(LOAD, 5, 0x40_0000, 0x500, 0x500);
        let data = entry(LOAD, 6, 0x41_0010, 0x10, 0x2000);
        let found = program(&[text, data]).unwrap();
        assert_eq!((found.entry, found.headers, found.entries), (0x40_0100, 0x40_0040, 2));
        assert_eq!(found.end, 0x41_3000);
        assert!(found.segments[0].protection.is_executable);
        assert_eq!(found.segments[1].pages(), Some((0x41_0000, 0x41_3000)));
    }

    #[test]
    fn a_position_independent_program_is_moved() {
        let header = Header::read(&header(INDEPENDENT, 1)).unwrap();
        let found = header.program(&entry(LOAD, 5, 0x1000, 0x500, 0x500)).unwrap();
        assert_eq!(found.entry, INDEPENDENT_BASE + 0x40_0100);
        assert_eq!(found.segments[0].address, INDEPENDENT_BASE + 0x1000);
    }

    #[test]
    fn what_is_no_static_program_of_this_machine_is_refused() {
        let good = header(FIXED, 1);
        assert!(Header::read(&good).is_ok());
        for (at, value) in [(0, 0), (4, 1), (5, 2), (16, 1), (18, 62), (54, 32), (56, 0), (57, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Header::read(&bad), Err(Errno::ENOEXEC), "byte {at}");
        }
    }

    #[test]
    fn segments_that_nobody_should_have_are_refused() {
        let good = || entry(LOAD, 5, 0x40_0000, 0x500, 0x500);
        let refused = [
            entry(INTERPRETER, 4, 0, 1, 1),
            entry(LOAD, 7, 0x50_0000, 1, 1),
            entry(LOAD, 6, 0x40_0800, 1, 1),
            entry(LOAD, 6, 0x30_0000, 1, 1),
            entry(LOAD, 6, 0x50_0000, 2, 1),
            entry(LOAD, 6, u64::MAX - 5, 1, 1),
            entry(LOAD, 6, 0x50_0000, 1, u64::MAX),
            entry(LOAD, 6, 0xffff_0000_0000_0000, 1, 1),
        ];
        for bad in refused {
            assert_eq!(program(&[good(), bad.clone()]), Err(Errno::ENOEXEC), "{bad:?}");
        }
        assert_eq!(program(&[entry(LOAD, 6, 0, 1, 1)]), Err(Errno::ENOEXEC));
        assert_eq!(program(&[entry(2, 6, 0x40_0000, 1, 1)]), Err(Errno::ENOEXEC));
    }
}
