//! The table of measured values and their limits: `| row | what | limit | measured |`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, Result};

/// Measured values by row.
pub(crate) type Values = BTreeMap<String, u64>;

/// A table with its values filled in.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The table's text.
    pub(crate) table: String,
    /// One line for each limit that is not kept, and for each row or value without its partner.
    pub(crate) problems: Vec<String>,
}

/// The values in a guest's console: lines that hold `bench: ROW NUMBER`.
pub(crate) fn rows_of(console: &str) -> Values {
    let mut values = Values::new();
    for line in console.lines() {
        let Some((_, row)) = line.split_once("bench: ") else { continue };
        let mut words = row.split_whitespace();
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
            values.insert(name.to_owned(), value);
        }
    }
    values
}

/// Fills the values into the table and compares them with the limits. Unless the measurement is
/// complete, rows without a value keep what they say.
pub(crate) fn judge(table: &str, values: &Values, is_complete: bool) -> Result<Judged> {
    let mut judged = Judged { table: String::new(), problems: Vec::new() };
    let mut seen = BTreeSet::new();
    for (number, line) in table.lines().enumerate() {
        // The heading and the line under it.
        if number < 2 || line.trim().is_empty() {
            writeln!(judged.table, "{line}")?;
            continue;
        }
        let row = Row::parse(line).with_context(|| format!("not a row of the table: {line}"))?;
        seen.insert(row.name);
        let value = values.get(row.name).copied();
        let shown = value.map_or_else(|| row.measured.to_owned(), grouped);
        writeln!(judged.table, "| {} | {} | {} | {shown} |", row.name, row.what, row.limit_text)?;
        judged.problems.extend(row.problem(value, is_complete));
    }
    for name in values.keys().filter(|name| !seen.contains(name.as_str())) {
        judged.problems.push(format!("{name}: measured, but the table has no limit for it"));
    }
    Ok(judged)
}

struct Row<'a> {
    name: &'a str,
    what: &'a str,
    limit_text: &'a str,
    limit: Option<u64>,
    measured: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        let mut cells = inner.split('|').map(str::trim);
        let (name, what) = (cells.next()?, cells.next()?);
        let (limit_text, measured) = (cells.next()?, cells.next()?);
        let limit = match limit_text {
            // A value that only stands there to be compared with.
            "–" => None,
            text => Some(text.replace(',', "").parse().ok()?),
        };
        cells.next().is_none().then_some(Self { name, what, limit_text, limit, measured })
    }

    fn problem(&self, value: Option<u64>, is_complete: bool) -> Option<String> {
        match (value, self.limit) {
            (None, _) => is_complete.then(|| format!("{}: not measured", self.name)),
            (Some(value), Some(limit)) if value > limit => Some(format!(
                "{}: {} is over the limit of {}",
                self.name,
                grouped(value),
                grouped(limit)
            )),
            (Some(_), _) => None,
        }
    }
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "| row | what | limit | measured |\n|---|---|--:|--:|\n";

    fn judged(rows: &str, values: &[(&str, u64)]) -> Judged {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        judge(&format!("{HEADING}{rows}"), &values, true).unwrap()
    }

    #[test]
    fn values_are_read_from_the_console_whatever_stands_before_them() {
        let values = rows_of("boot\nbench: null_call 61\r\nguest| bench: sgi_self 200\nbench: x\n");
        assert_eq!(values, Values::from([("null_call".into(), 61), ("sgi_self".into(), 200)]));
    }

    #[test]
    fn a_value_within_its_limit_is_filled_in() {
        let result = judged("| null_call | HVC | 1,070 | ? |\n", &[("null_call", 1061)]);
        assert_eq!(result.table, format!("{HEADING}| null_call | HVC | 1,070 | 1,061 |\n"));
        assert_eq!(result.problems, Vec::<String>::new());
    }

    #[test]
    fn a_value_over_its_limit_is_a_problem() {
        let result = judged("| null_call | HVC | 70 | ? |\n", &[("null_call", 71)]);
        assert_eq!(result.problems, ["null_call: 71 is over the limit of 70"]);
    }

    #[test]
    fn rows_and_values_need_each_other() {
        let result = judged("| a | HVC | 70 | ? |\n", &[("b", 1)]);
        let expected = ["a: not measured", "b: measured, but the table has no limit for it"];
        assert_eq!(result.problems, expected);
    }

    #[test]
    fn a_line_that_is_no_row_is_an_error() {
        let values = Values::new();
        assert!(judge(&format!("{HEADING}| a | b | many | ? |\n"), &values, true).is_err());
        assert!(judge(&format!("{HEADING}no row\n"), &values, true).is_err());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
