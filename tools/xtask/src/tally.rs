//! What `cargo xtask test` has counted: from the output of test programs, and from its own checks.

use std::time::Instant;

use anyhow::{Result, bail};
use shikiri_qemu_tests::comparisons::Comparisons;

use crate::process::print;

/// What was counted so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    /// What failed tests have to say, as the test programs print it behind their last test.
    reasons: Vec<Reason>,
    /// The last of them is still being printed.
    is_in_reason: bool,
    /// What hypervisors with checks have compared.
    compared: Comparisons,
}

/// What one failed test has to say.
#[derive(Debug)]
struct Reason {
    test: String,
    lines: Vec<String>,
}

impl Tally {
    /// Counts a failure that is no test program's.
    pub(crate) fn fail(&mut self, name: String) {
        self.failed += 1;
        self.failures.push(name);
    }

    /// Counts a success that is no test program's.
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
    }

    /// How many have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// How many were counted.
    pub(crate) fn counted(&self) -> u64 {
        self.passed + self.failed
    }

    /// What hypervisors with checks have compared.
    pub(crate) fn compared(&self) -> Comparisons {
        self.compared
    }

    /// Takes the counts from a line of a test program's output; whether the line is worth printing: a program none of
    /// whose tests was chosen says nothing.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
        }
        if let Some(name) = failed_test(line) {
            self.failures.push(name.to_owned());
        }
        if let Some(compared) = Comparisons::of_line(line) {
            self.compared.add(compared);
        }
        self.read_reason(line);
        line != "running 0 tests" && !line.starts_with(NOTHING_CHOSEN)
    }

    fn read_reason(&mut self, line: &str) {
        if let Some(test) = reason_of(line) {
            self.reasons.push(Reason { test: test.to_owned(), lines: Vec::new() });
            self.is_in_reason = true;
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.is_in_reason = false;
        } else if let Some(reason) = self.reasons.last_mut().filter(|_| self.is_in_reason) {
            reason.lines.push(line.to_owned());
        }
    }

    /// Says the result; how many passed.
    pub(crate) fn finish(self, started: Instant) -> Result<u64> {
        if !self.failures.is_empty() {
            // Whoever has only the end of a long output is to find there what was wrong.
            self.reasons.iter().for_each(Reason::print);
            print("\nFailed:\n");
            for name in &self.failures {
                print(format_args!("  {name}\n"));
            }
        }
        eprintln!("({} s)", started.elapsed().as_secs());
        print(format_args!("{} passed, {} failed\n", self.passed, self.failed));
        match (self.failed, self.passed) {
            (0, 0) => bail!("no test has such a name"),
            (0, passed) => Ok(passed),
            (failed, _) => bail!("{failed} failed"),
        }
    }
}

impl Reason {
    /// The beginning, which says what was expected, and the end of what the machine said.
    fn print(&self) {
        print(format_args!("\n---- {} ----\n", self.test));
        for line in shortened(&self.lines) {
            print(format_args!("{line}\n"));
        }
    }
}

/// Lines of a reason that are shown from its beginning, and from its end.
const SHOWN: (usize, usize) = (10, 30);

/// The lines without the middle of what is long, and without empty ones around.
fn shortened(lines: &[String]) -> Vec<String> {
    let (first, last) = SHOWN;
    let is_text = |line: &String| !line.trim().is_empty();
    let begin = lines.iter().position(is_text).unwrap_or(lines.len());
    let end = lines.iter().rposition(is_text).map_or(begin, |last| last + 1);
    let lines = &lines[begin..end];
    if lines.len() <= first + last {
        return lines.to_vec();
    }
    let left_out = format!("[{} lines left out]", lines.len() - first - last);
    let (head, tail) = (&lines[..first], &lines[lines.len() - last..]);
    [head, &[left_out], tail].concat()
}

/// How the result of a test program begins that ran nothing.
const NOTHING_CHOSEN: &str = "test result: ok. 0 passed; 0 failed; 0 ignored; ";

/// The numbers in `test result: ok. 3 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let result = line.trim().strip_prefix("test result: ")?;
    let (_, numbers) = result.split_once(". ")?;
    let number = |word: &str| -> Option<u64> {
        let part = numbers.split("; ").find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    Some((number("passed")?, number("failed")?))
}

/// The name in `test NAME ... FAILED`, or in `NAME --- FAILED` as `--quiet` prints it.
fn failed_test(line: &str) -> Option<&str> {
    let long = || line.strip_prefix("test ")?.strip_suffix(" ... FAILED");
    long().or_else(|| line.strip_suffix(" --- FAILED")).map(str::trim_end)
}

/// The name in `---- NAME ----`, or in `---- NAME stdout ----`.
fn reason_of(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_test_program_are_added_up() {
        let mut tally = Tally::default();
        assert!(
            tally.read(
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"
            )
        );
        assert!(tally.read("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured"));
        assert!(tally.read("12 passed; 0 failed is not a result line"));
        assert!(!tally.read("running 0 tests"));
        assert!(
            !tally
                .read("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out")
        );
        assert_eq!((tally.passed, tally.failed), (15, 2));
    }

    #[test]
    fn what_was_compared_is_added_up_of_each_test_program_and_not_of_machines() {
        let mut tally = Tally::default();
        for line in [
            "compared: parties 120, changing 3; books 40, by step 5, unwritten 75",
            "  | shikiri: compared: parties 7, changing 0; books 1, by step 0, unwritten 6",
            "compared: parties 1, changing 1; books 0, by step 1, unwritten 0",
        ] {
            assert!(tally.read(line));
        }
        let all = Comparisons { parties: 121, changing: 4, books: 40, by_step: 6, unwritten: 75 };
        assert_eq!(tally.compared(), all);
    }

    #[test]
    fn failed_tests_are_named() {
        assert_eq!(failed_test("test smp::cores_start ... FAILED"), Some("smp::cores_start"));
        assert_eq!(failed_test("good::it_compiles --- FAILED"), Some("good::it_compiles"));
        assert_eq!(failed_test("test smp::cores_start ... ok"), None);
    }

    #[test]
    fn what_failed_tests_say_is_kept_apart_from_everything_else() {
        let mut tally = Tally::default();
        for line in [
            "good::it_compiles --- FAILED",
            "a line of another test",
            "failures:",
            "",
            "---- good::it_compiles   ----",
            "expected an answer",
            "  | hello",
            "",
            "---- unit::counts stdout ----",
            "left: 1",
            "failures:",
            "    unit::counts",
            "test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured",
        ] {
            assert!(tally.read(line));
        }
        let said: Vec<_> =
            tally.reasons.iter().map(|it| (it.test.as_str(), shortened(&it.lines))).collect();
        let lines =
            |lines: &[&str]| -> Vec<String> { lines.iter().map(|it| it.to_string()).collect() };
        assert_eq!(
            said,
            [
                ("good::it_compiles", lines(&["expected an answer", "  | hello"])),
                ("unit::counts", lines(&["left: 1"])),
            ]
        );
    }

    #[test]
    fn a_long_reason_is_shown_without_its_middle() {
        let lines: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let shown = shortened(&lines);
        assert_eq!(shown.len(), SHOWN.0 + 1 + SHOWN.1);
        assert_eq!((shown[0].as_str(), shown[40].as_str()), ("0", "99"));
        assert_eq!(shown[10], "[60 lines left out]");
        assert_eq!(shortened(&lines[..40]), lines[..40]);
    }
}
