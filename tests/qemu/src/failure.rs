//! Why a machine did not do what was expected of it, with the end of its console.

use std::fmt;

/// How many of the console's last lines a failure shows.
const SHOWN_LINES: usize = 40;

/// A failed expectation.
#[derive(Debug)]
pub struct Failure {
    what: String,
    console: String,
}

impl Failure {
    /// Describes what failed; `console` is all that the machine printed.
    #[must_use]
    pub fn new(what: impl Into<String>, console: &str) -> Self {
        Self { what: what.into(), console: last_lines(console, SHOWN_LINES) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        if self.console.is_empty() {
            return write!(f, "The console stayed empty.");
        }
        writeln!(f, "The console ends with:")?;
        for line in self.console.lines() {
            writeln!(f, "  | {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The last `count` lines of `text`.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(count);
    lines.get(start..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_only_the_last_lines() {
        let console: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let text = Failure::new("too late", &console).to_string();
        assert!(text.starts_with("too late\n"));
        assert!(text.contains("  | line 99\n"));
        assert!(text.contains("  | line 60\n"));
        assert!(!text.contains("line 59\n"));
    }

    #[test]
    fn a_silent_machine_is_said_to_be_silent() {
        assert!(Failure::new("no boot", "").to_string().contains("stayed empty"));
    }
}
