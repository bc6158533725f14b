//! CRC-32 (IEEE 802.3, reflected, initial value and final inversion all ones).

/// The remainders of the 16 values of a nibble by the polynomial `0xedb8_8320`.
const NIBBLES: [u32; 16] = [
    divide(0),
    divide(1),
    divide(2),
    divide(3),
    divide(4),
    divide(5),
    divide(6),
    divide(7),
    divide(8),
    divide(9),
    divide(10),
    divide(11),
    divide(12),
    divide(13),
    divide(14),
    divide(15),
];

/// Four steps of the division, one per bit.
const fn divide(value: u32) -> u32 {
    step(step(step(step(value))))
}

const fn step(value: u32) -> u32 {
    if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 }
}

/// Computes the CRC in plain code: for hosts, and for cores without the CRC32 instructions.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| crc32_step(crc, *byte))
}

/// Takes one more byte into a CRC under way: the running value starts at all ones and is inverted at the end.
#[must_use]
#[inline]
pub fn crc32_step(running: u32, byte: u8) -> u32 {
    let crc = running ^ u32::from(byte);
    let crc = (crc >> 4) ^ remainder(crc);
    (crc >> 4) ^ remainder(crc)
}

#[inline]
fn remainder(crc: u32) -> u32 {
    usize::try_from(crc & 15).ok().and_then(|nibble| NIBBLES.get(nibble).copied()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
