//! Tables as a terminal shows them: as wide as their longest entries, and no wider.

use core::fmt;

/// Which side of a column its entries stand at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A table with a heading; two spaces between columns.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; what is missing at its end is empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.columns.get(column).map_or(0, |(heading, _)| heading.chars().count());
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).fold(heading, usize::max)
    }

    fn line(&self, cell: impl Fn(usize) -> String) -> String {
        let mut line = String::new();
        for (column, (_, align)) in self.columns.iter().enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let (text, width) = (cell(column), self.width(column));
            line += &match align {
                Align::Left => format!("{gap}{text:<width$}"),
                Align::Right => format!("{gap}{text:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = |column: usize| {
            self.columns.get(column).map_or(String::new(), |(heading, _)| (*heading).to_owned())
        };
        writeln!(f, "{}", self.line(heading))?;
        for row in &self.rows {
            writeln!(f, "{}", self.line(|column| row.get(column).cloned().unwrap_or_default()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Align, Table};

    #[test]
    fn columns_are_as_wide_as_their_longest_entry() {
        let mut table =
            Table::new(&[("name", Align::Left), ("id", Align::Right), ("state", Align::Left)]);
        table.row(["a-long-name", "1", "active"].map(str::to_owned));
        table.row(["b", "1234", "ended"].map(str::to_owned));
        table.row(["c".to_owned()]);
        assert_eq!(
            table.to_string(),
            "name           id  state\na-long-name     1  active\nb            1234  ended\nc\n"
        );
    }
}
