//! `struct stat`, `struct statx`, `struct statfs` and `struct linux_dirent64`.

use super::record::put;
use super::time::timespec_of;

/// What is told about a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The file system's number.
    pub device: u64,
    /// The node's number.
    pub node: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Names that it has.
    pub links: u32,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// A device's own number: major << 8 | minor.
    pub special: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Blocks of 512 bytes that it takes.
    pub blocks: u64,
    /// When it was read last: nanoseconds of the time of day.
    pub read_ns: u64,
    /// When its contents were changed last.
    pub written_ns: u64,
    /// When it was changed last in any way.
    pub changed_ns: u64,
}

/// Bytes of a block, as `st_blksize` says.
const BLOCK_BYTES: u32 = 4096;

impl Stat {
    /// `struct stat` (include/uapi/asm-generic/stat.h).
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        put(&mut bytes, 0, &self.device.to_le_bytes());
        put(&mut bytes, 8, &self.node.to_le_bytes());
        put(&mut bytes, 16, &self.mode.to_le_bytes());
        put(&mut bytes, 20, &self.links.to_le_bytes());
        put(&mut bytes, 24, &self.user.to_le_bytes());
        put(&mut bytes, 28, &self.group.to_le_bytes());
        put(&mut bytes, 32, &self.special.to_le_bytes());
        put(&mut bytes, 48, &self.bytes.to_le_bytes());
        put(&mut bytes, 56, &BLOCK_BYTES.to_le_bytes());
        put(&mut bytes, 64, &self.blocks.to_le_bytes());
        put(&mut bytes, 72, &timespec_of(self.read_ns));
        put(&mut bytes, 88, &timespec_of(self.written_ns));
        put(&mut bytes, 104, &timespec_of(self.changed_ns));
        bytes
    }

    /// `struct statx` (include/uapi/linux/stat.h) with the basic fields (STATX_BASIC_STATS).
    #[must_use]
    pub fn to_statx(&self) -> [u8; 256] {
        let mut bytes = [0; 256];
        put(&mut bytes, 0, &0x7ff_u32.to_le_bytes());
        put(&mut bytes, 4, &BLOCK_BYTES.to_le_bytes());
        put(&mut bytes, 16, &self.links.to_le_bytes());
        put(&mut bytes, 20, &self.user.to_le_bytes());
        put(&mut bytes, 24, &self.group.to_le_bytes());
        // The type and permissions are the lower 16 bits.
        let [low, high, _, _] = self.mode.to_le_bytes();
        put(&mut bytes, 28, &[low, high]);
        put(&mut bytes, 32, &self.node.to_le_bytes());
        put(&mut bytes, 40, &self.bytes.to_le_bytes());
        put(&mut bytes, 48, &self.blocks.to_le_bytes());
        put(&mut bytes, 64, &timespec_of(self.read_ns));
        put(&mut bytes, 96, &timespec_of(self.changed_ns));
        put(&mut bytes, 112, &timespec_of(self.written_ns));
        put(&mut bytes, 128, &major_minor(self.special));
        put(&mut bytes, 136, &major_minor(self.device));
        bytes
    }
}

/// A device's number as two words.
fn major_minor(device: u64) -> [u8; 8] {
    let [minor, major, ..] = device.to_le_bytes();
    [major, 0, 0, 0, minor, 0, 0, 0]
}

/// What is told about the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// Blocks of 4096 bytes that it may have.
    pub blocks: u64,
    /// Those that are free.
    pub free_blocks: u64,
    /// Nodes that it may have.
    pub nodes: u64,
    /// Those that are free.
    pub free_nodes: u64,
}

impl StatFs {
    /// `struct statfs` (include/uapi/asm-generic/statfs.h); the type is tmpfs's.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 120] {
        let mut bytes = [0; 120];
        put(&mut bytes, 0, &0x0102_1994_u64.to_le_bytes());
        put(&mut bytes, 8, &u64::from(BLOCK_BYTES).to_le_bytes());
        put(&mut bytes, 16, &self.blocks.to_le_bytes());
        put(&mut bytes, 24, &self.free_blocks.to_le_bytes());
        put(&mut bytes, 32, &self.free_blocks.to_le_bytes());
        put(&mut bytes, 40, &self.nodes.to_le_bytes());
        put(&mut bytes, 48, &self.free_nodes.to_le_bytes());
        put(&mut bytes, 64, &255_u64.to_le_bytes());
        put(&mut bytes, 72, &u64::from(BLOCK_BYTES).to_le_bytes());
        bytes
    }
}

/// Bytes of a directory entry before its name.
const DIRENT_NAME: usize = 19;

/// Writes a `struct linux_dirent64` at the beginning of `out`: how long it is, or `None` if it does not fit.
pub(crate) fn put_dirent(
    out: &mut [u8],
    node: u64,
    next: u64,
    mode: u32,
    name: &[u8],
) -> Option<usize> {
    // The name is ended by a 0, the record padded to 8 bytes.
    let length =
        DIRENT_NAME.checked_add(name.len())?.checked_add(1)?.checked_next_multiple_of(8)?;
    let record = out.get_mut(..length)?;
    record.fill(0);
    put(record, 0, &node.to_le_bytes());
    put(record, 8, &next.to_le_bytes());
    put(record, 16, &u16::try_from(length).ok()?.to_le_bytes());
    // DT_*: the type bits of the mode.
    put(record, 18, &[u8::try_from((mode >> 12) & 15).ok()?]);
    put(record, DIRENT_NAME, name);
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::{Stat, StatFs, put_dirent};

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    const FILE: Stat = Stat {
        device: 0x105,
        node: 7,
        mode: 0o100_644,
        links: 2,
        user: 3,
        group: 4,
        special: 0x501,
        bytes: 5000,
        blocks: 16,
        read_ns: 1_000_000_002,
        written_ns: 3_000_000_004,
        changed_ns: 5_000_000_006,
    };

    #[test]
    fn a_stat_has_its_fields_where_linux_has_them() {
        let bytes = FILE.to_bytes();
        let fields = [(0, 0x105), (8, 7), (16, 0o100_644), (20, 2), (24, 3), (28, 4), (32, 0x501)];
        let more = [(48, 5000), (56, 4096), (64, 16), (72, 1), (80, 2), (88, 3), (96, 4)];
        for (at, value) in fields.into_iter().chain(more).chain([(104, 5), (112, 6), (120, 0)]) {
            assert_eq!(word(&bytes, at), value, "at {at}");
        }
    }

    #[test]
    fn a_statx_has_its_fields_where_linux_has_them() {
        let bytes = FILE.to_statx();
        let fields = [(0, 0x7ff), (4, 4096), (16, 2), (20, 3), (24, 4), (28, 0o100_644), (32, 7)];
        let more = [(40, 5000), (48, 16), (64, 1), (72, 2), (96, 5), (104, 6), (112, 3), (120, 4)];
        let devices = [(128, 5), (132, 1), (136, 1), (140, 5)];
        for (at, value) in fields.into_iter().chain(more).chain(devices) {
            assert_eq!(word(&bytes, at), value, "at {at}");
        }
    }

    #[test]
    fn a_statfs_has_its_fields_where_linux_has_them() {
        let bytes = StatFs { blocks: 9, free_blocks: 8, nodes: 7, free_nodes: 6 }.to_bytes();
        let fields = [(0, 0x0102_1994), (8, 4096), (16, 9), (24, 8), (32, 8), (40, 7), (48, 6)];
        for (at, value) in fields.into_iter().chain([(64, 255), (72, 4096)]) {
            assert_eq!(word(&bytes, at), value, "at {at}");
        }
    }

    #[test]
    fn a_directory_entry_is_padded_and_refused_where_it_does_not_fit() {
        let mut out = [0xff; 40];
        assert_eq!(put_dirent(&mut out, 7, 2, 0o040_755, b"abcd"), Some(24));
        assert_eq!(out[..24], *b"\x07\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x18\0\x04abcd\0");
        assert_eq!(put_dirent(&mut out[..31], 7, 2, 0, b"abcde"), None);
        assert_eq!(put_dirent(&mut out[..32], 7, 2, 0, b"abcde"), Some(32));
    }
}
