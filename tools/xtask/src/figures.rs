//! Measured figures in the text of documents: `1,416<!--=shared_in_4k-->` is the value of that row, and what is computed from rows has a
//! name of its own. A figure that is new is a `?` until it is filled in; one whose row has no value is an error.

use anyhow::{Context as _, Result};

use crate::bench_table::{Values, grouped};

/// What stands before a figure's name, and behind it.
const OPEN: &str = "<!--=";
const CLOSE: &str = "-->";

/// The documents that have figures.
pub(crate) const DOCUMENTS: [&str; 2] = ["hyp/doc/communication.md", "hyp/doc/spec.md"];

/// The text with all its figures as they were measured.
pub(crate) fn fill(text: &str, values: &Values) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(OPEN) {
        let (name, behind) = behind.split_once(CLOSE).context("a figure's name has no end")?;
        let is_digit = |c: char| c.is_ascii_digit() || c == ',' || c == '.' || c == '?';
        filled.push_str(before.trim_end_matches(is_digit));
        filled.push_str(&figure(name, values).with_context(|| format!("no figure {name:?}"))?);
        filled.push_str(&format!("{OPEN}{name}{CLOSE}"));
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A row's value, or what is computed of rows.
fn figure(name: &str, values: &Values) -> Result<String> {
    let row = |name: &str| {
        let value = values.get(name).copied();
        value.with_context(|| format!("the row {name:?} is not in the table, or was not measured"))
    };
    let rows = |small, large| Ok::<_, anyhow::Error>(Copy::through(row(small)?, row(large)?));
    let moved = || Ok::<_, anyhow::Error>((row("channel_one_way_4k")?, row("channel_one_way_2m")?));
    let polled = |size| Ok::<_, anyhow::Error>(row(&format!("channel_polled_trip_{size}"))? / 2);
    let both_polled = || Ok::<_, anyhow::Error>((polled("4k")?, polled("2m")?));
    let once = || rows("shared_in_64k", "shared_in_2m");
    let twice = || rows("shared_in_out_64k", "shared_in_out_2m");
    let alone = || rows("copy_64k", "copy_2m");
    Ok(match name {
        "copied_byte" => format!("{:.4}", once()?.byte),
        "copied_begin" => whole(once()?.begin),
        "copied_twice_begin" => whole(twice()?.begin),
        "break_even" => once()?.meets(moved()?),
        "break_even_twice" => twice()?.meets(moved()?),
        "polled_way_4k" => grouped(polled("4k")?),
        "polled_way_2m" => grouped(polled("2m")?),
        "polled_break_even" => alone()?.meets(both_polled()?),
        "polled_break_even_twice" => alone()?.twice().meets(both_polled()?),
        name => grouped(row(name)?),
    })
}

/// What copies cost: a line over the number of bytes.
#[derive(Clone, Copy)]
struct Copy {
    begin: f64,
    byte: f64,
}

/// The bytes of the two rows that a line is drawn through, and of the smallest area.
const SMALL: f64 = 65_536.0;
const LARGE: f64 = 2_097_152.0;
const PAGE: f64 = 4096.0;

impl Copy {
    fn through(small: u64, large: u64) -> Self {
        let (small, large) = (real(small), real(large));
        let byte = (large - small) / (LARGE - SMALL);
        Self { begin: small - byte * SMALL, byte }
    }

    fn twice(self) -> Self {
        Self { begin: 2.0 * self.begin, byte: 2.0 * self.byte }
    }

    /// From how many KiB on a move, which costs so much up to 4 KiB and so much above, costs less.
    fn meets(self, (page, more): (u64, u64)) -> String {
        let bytes = |cost: u64| (real(cost) - self.begin) / self.byte;
        let within = bytes(page);
        let bytes = if within <= PAGE { within } else { bytes(more).max(PAGE) };
        format!("{:.1}", bytes / 1024.0)
    }
}

/// Counts are far below 2^53.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "exact below 2^53")]
fn real(value: u64) -> f64 {
    value as f64
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shikiri_qemu_tests::paths;

    use super::*;
    use crate::{bench_table, doc_table};

    fn values(rows: &[(&str, u64)]) -> Values {
        rows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn a_figure_takes_the_place_of_the_stale_one() {
        let text = "a | 1,405<!--=a--> | **?<!--=a-->** and <!--=a-->.\n";
        let filled = fill(text, &values(&[("a", 1416)])).unwrap();
        assert_eq!(filled, "a | 1,416<!--=a--> | **1,416<!--=a-->** and 1,416<!--=a-->.\n");
    }

    /// The rows of which something is computed.
    const ROWS: [&str; 10] = [
        "channel_one_way_4k",
        "channel_one_way_2m",
        "channel_polled_trip_4k",
        "channel_polled_trip_2m",
        "shared_in_64k",
        "shared_in_2m",
        "shared_in_out_64k",
        "shared_in_out_2m",
        "copy_64k",
        "copy_2m",
    ];

    const COMPUTED: [&str; 9] = [
        "copied_byte",
        "copied_begin",
        "copied_twice_begin",
        "break_even",
        "break_even_twice",
        "polled_way_4k",
        "polled_way_2m",
        "polled_break_even",
        "polled_break_even_twice",
    ];

    #[test]
    fn a_figure_without_its_row_is_an_error_that_names_the_row() {
        let all: Vec<_> = ROWS.iter().zip(1_u64..).map(|(name, at)| (*name, at * 7)).collect();
        let of = |name: &str, rows: &[(&str, u64)]| {
            fill(&format!("?<!--={name}-->"), &values(rows)).map_err(|error| format!("{error:#}"))
        };
        let wrong = of("b", &all).unwrap_err();
        assert!(wrong.contains("no figure \"b\"") && wrong.contains("the row \"b\""), "{wrong}");
        let mut needed = 0;
        for name in COMPUTED {
            of(name, &all).unwrap();
            for missing in ROWS {
                let others: Vec<_> =
                    all.iter().copied().filter(|(row, _)| *row != missing).collect();
                if let Err(wrong) = of(name, &others) {
                    assert!(wrong.contains(&format!("the row {missing:?}")), "{name}: {wrong}");
                    needed += 1;
                }
            }
        }
        assert_eq!(needed, 3 * 2 + 2 + 4 * 4, "two rows each, one of a way, four of a break-even");
    }

    #[test]
    fn a_row_that_was_never_measured_is_no_figure() {
        let table = format!("{}| a | what | 10 | ? |\n", bench_table::HEAD);
        let values = bench_table::measured(&table).unwrap();
        let wrong = format!("{:#}", fill("?<!--=a-->", &values).unwrap_err());
        assert!(
            wrong.contains("the row \"a\" is not in the table, or was not measured"),
            "{wrong}"
        );
    }

    #[test]
    fn a_break_even_is_where_the_copys_line_meets_the_move() {
        let copy = Copy { begin: 600.0, byte: 0.25 };
        assert_eq!(copy.meets((1112, 1200)), "2.0");
        assert_eq!(copy.meets((1900, 2136)), "6.0");
        // The line is below a page's move at 4 KiB already, and above that of what is larger.
        assert_eq!(copy.meets((1700, 1600)), "4.0");
        assert_eq!(copy.twice().meets((1712, 1800)), "1.0");
    }

    #[test]
    fn the_documents_say_what_their_table_says() {
        let table = doc_table::read(&paths::root().join("hyp/doc/spec.md"), "bench").unwrap();
        let values = bench_table::measured(&table).unwrap();
        for document in DOCUMENTS {
            let text = fs::read_to_string(paths::root().join(document)).unwrap();
            assert!(text.contains(OPEN), "{document}");
            let hint = "`cargo xtask bench --write` fills the figures in";
            assert!(text == fill(&text, &values).unwrap(), "{document}: {hint}");
        }
    }
}
