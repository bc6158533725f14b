//! The table of measured values and their limits: `| row | what | limit | measured |`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, Result};

/// The table's head. It says beside all figures what is not in them.
pub(crate) const HEAD: &str =
    "| row | what | limit | measured; TLB and cache costs are not in it |\n|---|---|--:|--:|\n";

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
    let mut judged = Judged { table: HEAD.to_owned(), problems: Vec::new() };
    let mut seen = BTreeSet::new();
    for line in rows(table) {
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

/// What a table says that was measured.
pub(crate) fn measured(table: &str) -> Result<Values> {
    let mut values = Values::new();
    for line in rows(table) {
        let row = Row::parse(line).with_context(|| format!("not a row of the table: {line}"))?;
        if let Ok(value) = row.measured.replace(',', "").parse() {
            values.insert(row.name.to_owned(), value);
        }
    }
    Ok(values)
}

/// The lines below the head and the line under it.
fn rows(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(2).filter(|line| !line.trim().is_empty())
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

/// What to say of limits that are not kept, if the figures are another compiler's.
pub(crate) fn other_compiler(recorded: &str, here: &str) -> Option<String> {
    (recorded != here).then(|| {
        format!(
            "the figures are those of `{recorded}`; this is `{here}`, which makes other code of the same lines: \
             compare with the former (`rustup toolchain install`, `cargo +VERSION xtask bench`)"
        )
    })
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

    fn judged(rows: &str, values: &[(&str, u64)]) -> Judged {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        judge(&format!("{HEAD}{rows}"), &values, true).unwrap()
    }

    #[test]
    fn values_are_read_from_the_console_whatever_stands_before_them() {
        let values = rows_of("boot\nbench: null_call 61\r\nguest| bench: sgi_self 200\nbench: x\n");
        assert_eq!(values, Values::from([("null_call".into(), 61), ("sgi_self".into(), 200)]));
    }

    #[test]
    fn a_value_within_its_limit_is_filled_in() {
        let result = judged("| null_call | HVC | 1,070 | ? |\n", &[("null_call", 1061)]);
        assert_eq!(result.table, format!("{HEAD}| null_call | HVC | 1,070 | 1,061 |\n"));
        assert_eq!(result.problems, Vec::<String>::new());
    }

    #[test]
    fn whatever_head_a_table_had_its_new_one_says_what_is_not_in_it() {
        let table = "| row | what | limit | measured |\n|---|---|--:|--:|\n| a | HVC | 70 | ? |\n";
        let judged = judge(table, &Values::from([("a".into(), 61)]), true).unwrap();
        let head = judged.table.lines().next().unwrap();
        assert!(head.contains("TLB and cache costs are not in it"), "{head}");
        assert!(judged.table.ends_with("|\n| a | HVC | 70 | 61 |\n"), "{}", judged.table);
    }

    #[test]
    fn what_a_table_says_is_read_back() {
        let table = format!("{HEAD}| a | HVC | 1,070 | 1,061 |\n| b | new | – | ? |\n");
        assert_eq!(measured(&table).unwrap(), Values::from([("a".into(), 1061)]));
    }

    #[test]
    fn a_value_over_its_limit_is_a_problem() {
        let result = judged("| null_call | HVC | 70 | ? |\n", &[("null_call", 71)]);
        assert_eq!(result.problems, ["null_call: 71 is over the limit of 70"]);
    }

    #[test]
    fn that_another_compiler_was_at_work_is_said() {
        assert_eq!(other_compiler("rustc 1.95.0", "rustc 1.95.0"), None);
        let said = other_compiler("rustc 1.95.0", "rustc 1.96.0").unwrap();
        assert!(said.contains("of `rustc 1.95.0`; this is `rustc 1.96.0`"), "{said}");
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
        assert!(judge(&format!("{HEAD}| a | b | many | ? |\n"), &values, true).is_err());
        assert!(judge(&format!("{HEAD}no row\n"), &values, true).is_err());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
