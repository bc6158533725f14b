//! Compressed kernels (gzip, RFC 1952), as some distributions ship them.

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use shikiri_config::crc32;

/// What a compressed file begins with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The most that a file may become.
const MOST: usize = 1 << 30;

/// Flags of the header: what stands behind its ten bytes.
const HAS_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

/// Whether a file is compressed.
pub(crate) fn is_packed(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

/// What a compressed file holds; `None` if it is damaged, or larger than 1 GiB. Its checksum is compared.
pub(crate) fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let (rest, trailer) = body(file)?.split_last_chunk::<8>()?;
    let content = decompress_to_vec_with_limit(rest, MOST).ok()?;
    let word = |at: usize| Some(u32::from_le_bytes(*trailer.get(at..)?.first_chunk()?));
    let (sum, length) = (word(0)?, word(4)?);
    (crc32(&content) == sum && content.len() == usize::try_from(length).ok()?).then_some(content)
}

/// What follows the header.
fn body(file: &[u8]) -> Option<&[u8]> {
    let [_, _, 8, flags, ..] = *file else { return None };
    let mut rest = file.get(10..)?;
    if flags & HAS_EXTRA != 0 {
        let length = u16::from_le_bytes(*rest.first_chunk()?);
        rest = rest.get(2 + usize::from(length)..)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & HAS_CHECKSUM != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;
    use shikiri_config::crc32;

    use super::{HAS_CHECKSUM, HAS_COMMENT, HAS_EXTRA, HAS_NAME, is_packed, unpack};

    fn packed(flags: u8, extra: &[u8]) -> Vec<u8> {
        let content = b"a kernel, a kernel, a kernel";
        let mut file = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        file.extend(extra);
        file.extend(compress_to_vec(content, 6));
        file.extend(crc32(content).to_le_bytes());
        file.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        file
    }

    #[test]
    fn what_was_packed_is_unpacked_whatever_the_header_has() {
        for (flags, extra) in [
            (0, &b""[..]),
            (HAS_NAME, b"Image\0"),
            (HAS_EXTRA | HAS_NAME | HAS_COMMENT | HAS_CHECKSUM, b"\x02\0xxImage\0made\0cc"),
        ] {
            let file = packed(flags, extra);
            assert!(is_packed(&file));
            assert_eq!(unpack(&file).as_deref(), Some(&b"a kernel, a kernel, a kernel"[..]));
        }
    }

    #[test]
    fn a_damaged_file_is_none() {
        let good = packed(HAS_NAME, b"Image\0");
        for length in 0..good.len() {
            assert_eq!(unpack(&good[..length]), None, "{length} bytes");
        }
        // Behind the magic number, the time and the operating system, each byte counts.
        for at in (2..4).chain(16..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            assert_ne!(unpack(&bad), unpack(&good), "byte {at}");
        }
    }
}
