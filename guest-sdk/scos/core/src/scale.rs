//! Conversion between the counter's ticks and nanoseconds, without a division each time.

use core::num::NonZeroU64;

/// A ratio of two frequencies as a factor of 64 bits and a shift: one multiplication and one shift convert a value.
///
/// Rounds down. The factor is rounded down as well: between nanoseconds and a counter of 1 MHz or more a result falls
/// short by less than one part in 2^53 more, some nanoseconds in a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    factor: u64,
    shift: u32,
}

impl Scale {
    /// What converts a count at `from` to a count at `to`, both in hertz.
    #[must_use]
    pub fn new(from: NonZeroU64, to: NonZeroU64) -> Self {
        let (from, to) = (u128::from(from.get()), u128::from(to.get()));
        // The largest shift whose factor still has 64 bits. `to << 63` fits into 128 bits, and with no shift the factor
        // is `to` at most, so that the loop ends.
        let mut shift = 63_u32;
        loop {
            let factor = to.checked_shl(shift).and_then(|it| it.checked_div(from)).unwrap_or(0);
            match u64::try_from(factor) {
                Ok(factor) => return Self { factor, shift },
                Err(_) => shift = shift.saturating_sub(1),
            }
        }
    }

    /// The value in the other count; `u64::MAX` if it has more than 64 bits.
    #[must_use]
    pub fn apply(self, value: u64) -> u64 {
        let product = u128::from(value).saturating_mul(u128::from(self.factor));
        u64::try_from(product.checked_shr(self.shift).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const YEAR: u64 = 365 * 24 * 3600;

    fn scale(from: u64, to: u64) -> Scale {
        Scale::new(NonZeroU64::new(from).unwrap(), NonZeroU64::new(to).unwrap())
    }

    #[test]
    fn years_are_right_to_a_few_nanoseconds() {
        // QEMU's, the Pi 4's, Armv8.6's, and two at the edges.
        for frequency in [62_500_000, 54_000_000, SECOND, 1_000_000, 19_200_000, 8 * SECOND] {
            for seconds in [1, 60, YEAR, 2 * YEAR] {
                let ticks = seconds * frequency;
                let ns = seconds * SECOND;
                let to_ns = scale(frequency, SECOND).apply(ticks);
                assert!(to_ns <= ns && ns - to_ns <= 64, "{frequency} Hz, {seconds} s: {to_ns}");
                let to_ticks = scale(SECOND, frequency).apply(ns);
                assert!(to_ticks <= ticks && ticks - to_ticks <= 64, "{frequency} Hz, {seconds} s");
            }
        }
    }

    #[test]
    fn ratios_that_are_whole_are_exact() {
        assert_eq!(scale(62_500_000, SECOND).apply(3), 48);
        assert_eq!(scale(SECOND, SECOND).apply(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_has_more_than_64_bits_saturates() {
        assert_eq!(scale(1, SECOND).apply(u64::MAX), u64::MAX);
        assert_eq!(scale(1, u64::MAX).apply(2), u64::MAX);
        assert_eq!(scale(u64::MAX, 1).apply(u64::MAX), 0, "rounded down");
    }
}
