//! Writes archives in cpio's `newc` format, which Linux unpacks as its initial file system. The
//! same input gives the same bytes: times are 0 and inode numbers count up.

use std::fmt;

/// The kinds of file, as the upper bits of the mode say them.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// What cannot be packed: a path that is not relative, or a size that the format has no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry(String);

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: no path or size for an archive", self.0)
    }
}

impl std::error::Error for BadEntry {}

type Result<T> = std::result::Result<T, BadEntry>;

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a directory.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// Adds an executable file.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn program(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.entry(path, REGULAR | 0o755, (0, 0), contents)
    }

    /// Adds a file that anybody may read.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.entry(path, REGULAR | 0o644, (0, 0), contents)
    }

    /// Adds a symbolic link at `path` to `target`.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, SYMBOLIC_LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device with its major and minor number.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[])
    }

    /// Ends the archive; its size is a multiple of 512 bytes.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.pad(512);
        Ok(self.bytes)
    }

    /// This archive with the entries of another one behind its own: `newc` as it is, or compressed, as Linux takes it.
    ///
    /// # Errors
    /// [`BadEntry`]
    pub fn before(self, other: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = if other.starts_with(b"070701") { self.bytes } else { self.finish()? };
        bytes.extend_from_slice(other);
        Ok(bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        let bad = || BadEntry(path.to_owned());
        if path.is_empty() || path.starts_with('/') {
            return Err(bad());
        }
        let size = u32::try_from(contents.len()).map_err(|_| bad())?;
        let name_size = u32::try_from(path.len() + 1).map_err(|_| bad())?;
        let links = if mode & DIRECTORY == DIRECTORY && mode & REGULAR == 0 { 2 } else { 1 };
        self.bytes.extend_from_slice(b"070701");
        // Inode, mode, owner, group, links, time, size, device of the file (2), device named (2),
        // size of the name, checksum (none in this format).
        let fields =
            [self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(contents);
        self.pad(4);
        self.inode += 1;
        Ok(())
    }

    fn pad(&mut self, alignment: usize) {
        let size = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(size, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(archive: &[u8], entry: usize, index: usize) -> u32 {
        let start = entry + 6 + 8 * index;
        u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
    }

    #[test]
    fn a_device_carries_its_numbers() {
        let mut archive = Archive::default();
        archive.device("dev/console", 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(field(&bytes, 0, 1), CHARACTER_DEVICE | 0o600);
        assert_eq!((field(&bytes, 0, 9), field(&bytes, 0, 10)), (5, 1));
        assert_eq!(&bytes[110..122], b"dev/console\0");
    }

    #[test]
    fn names_and_contents_are_padded_to_four_bytes() {
        let mut archive = Archive::default();
        archive.program("a", b"12345").unwrap();
        archive.link("b", "a").unwrap();
        let bytes = archive.finish().unwrap();
        // 110 bytes of header and 2 of name, 5 of contents padded to 8.
        assert_eq!(&bytes[112..117], b"12345");
        assert_eq!(&bytes[120..126], b"070701");
        assert_eq!(field(&bytes, 120, 0), 1);
        assert_eq!(bytes.len() % 512, 0);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let build = || {
            let mut archive = Archive::default();
            archive.directory("dev").unwrap();
            archive.program("init", b"#!/bin/sh\n").unwrap();
            archive.finish().unwrap()
        };
        assert_eq!(build(), build());
    }

    #[test]
    fn absolute_paths_are_refused() {
        assert!(Archive::default().directory("/dev").is_err());
    }
}
