//! `cargo xtask soak`: the QEMU tests, and random calls on the model machine, with their full counts.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use shikiri_qemu_tests::{counts, paths};

use crate::commands::test;
use crate::tally::Tally;
use crate::{doc_table, process};

/// The topic of the random calls on the model machine.
const MODEL: &str = "model";

/// The test programs that make them.
const PROGRAMS: [&str; 7] = [
    "channels",
    "event_properties",
    "object_properties",
    "shared",
    "kill_points",
    "requests",
    "together",
];

/// Cases of each of their properties: millions of calls together, in minutes.
const CASES: u64 = 10_000;

/// Runs the QEMU tests, and the model machine's random ones, with their full counts.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Runs only the QEMU tests whose name contains this text; `model`: only the random calls on the model machine.
    filter: Option<String>,
    /// The seed of everything random; the default is the tests' own fixed seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many cases each property of the model machine is tried with.
    #[arg(long, default_value_t = CASES)]
    cases: u64,
    /// Writes the result into `hyp/doc/spec.md`.
    #[arg(long)]
    write: bool,
}

impl Soak {
    pub(crate) fn execute(&self) -> Result<()> {
        let seed = self.seed.unwrap_or(counts::SEED);
        let settings = [("SHIKIRI_SOAK", "1".to_owned()), ("SHIKIRI_SEED", seed.to_string())];
        let commit = self.write.then(commit).transpose()?;
        let filter = self.filter.as_deref();
        if filter.is_none_or(|filter| filter == MODEL) {
            let (passed, calls) = run_model(self.cases, seed, &settings)?;
            if let Some(commit) = &commit {
                let counts = format!("{} cases for each property, {calls} calls", self.cases);
                record(&format!("soak {MODEL}"), passed, seed, (&counts, commit))?;
            }
        }
        if filter != Some(MODEL) {
            let passed = test::run_machines(&[filter], &settings)?;
            if let Some(commit) = &commit {
                let run = format!("soak {}", filter.unwrap_or("of all machines"));
                record(&run, passed, seed, ("full", commit))?;
            }
        }
        Ok(())
    }
}

/// Runs the model machine's random tests; how many passed, and how many calls they have made that a model agreed with.
fn run_model(cases: u64, seed: u64, settings: &[(&str, String)]) -> Result<(u64, u64)> {
    let started = Instant::now();
    let mut cargo = process::cargo();
    cargo.args(["test", "--quiet", "--no-fail-fast", "--profile", "soak", "-p", "shikiri-model"]);
    for program in PROGRAMS {
        cargo.args(["--test", program]);
    }
    cargo.args(["--", "--nocapture"]).envs(settings.iter().map(|(name, value)| (name, value)));
    cargo.env("PROPTEST_CASES", cases.to_string()).env("PROPTEST_RNG_SEED", seed.to_string());
    let mut tally = Tally::default();
    let mut calls = 0;
    let succeeded = process::watch(&mut cargo, |line| {
        calls += calls_of(line).unwrap_or(0);
        tally.read(line)
    })?;
    if !succeeded && tally.failed() == 0 {
        tally.fail("the test program itself (see above)".into());
    }
    let passed = tally.finish(started)?;
    println!("{calls} calls of random cases");
    Ok((passed, calls))
}

/// The calls that a test has made, as it prints them behind whatever the test program prints: `N cases, M calls`.
fn calls_of(line: &str) -> Option<u64> {
    let (before, calls) = line.strip_suffix(" calls")?.rsplit_once(" cases, ")?;
    before.ends_with(|last: char| last.is_ascii_digit()).then(|| calls.parse().ok())?
}

/// The commit that is run, with a `+` if the files are not the commit's; what is recorded changes nothing that is run.
pub(crate) fn commit() -> Result<String> {
    let git = |words: &[&str]| {
        process::output(Command::new("git").current_dir(paths::root()).args(words))
    };
    let hash = git(&["rev-parse", "--short", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", ".", ":!hyp/doc"])?;
    Ok(format!("{}{}", hash.trim(), if changes.is_empty() { "" } else { "+" }))
}

/// Writes a run's row, in place of its last one.
pub(crate) fn record(
    run: &str,
    passed: u64,
    seed: u64,
    (counts, commit): (&str, &str),
) -> Result<()> {
    let date = process::output(Command::new("date").args(["-u", "+%F"]))?;
    let row =
        format!("| {run} | {} | {commit} | {counts} | {seed} | {passed} passed |", date.trim());
    let file = paths::root().join("hyp/doc/spec.md");
    doc_table::set_row(&file, "soak", run, &row).context("the result cannot be recorded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_behind_what_the_test_program_prints() {
        assert_eq!(calls_of("...192 cases, 23826 calls"), Some(23826));
        assert_eq!(calls_of("5 cases, 0 calls"), Some(0));
        assert_eq!(calls_of("cases, 7 calls"), None);
        assert_eq!(calls_of("any_calls ... ok"), None);
    }
}
