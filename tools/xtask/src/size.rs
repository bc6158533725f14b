//! Sizes as people write them: `256M`, `2MiB`, `1G`, `4096`.

/// Parses a number of bytes; `K`, `M`, `G` (also `KiB` and so on) are powers of 1024.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("unknown unit {unit:?}: use K, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a size such as 256M"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64K"), Ok(64 << 10));
        assert_eq!(parse("256MiB"), Ok(256 << 20));
        assert_eq!(parse("1g"), Ok(1 << 30));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        assert!(parse("").is_err());
        assert!(parse("M").is_err());
        assert!(parse("12 parsecs").is_err());
        assert!(parse("99999999999G").is_err());
    }
}
