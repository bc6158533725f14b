//! `cargo xtask checked`: QEMU tests on a hypervisor that compares all its books after each call.
//!
//! That is some hundred thousand instructions each time, on one core at a time: what depends on it is in
//! `tests/qemu/src/counts.rs` (patience, number of ports, steps of the hostile guest).

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use shikiri_qemu_tests::counts;

use crate::commands::{build, soak, test};
use crate::tally::Tally;

/// The tests that run without a filter: of all ways in which partitions talk, of how they come and go, and of guests that do all of it
/// at random. What bounds a delay is not among them: others wait for a comparison, too.
const TOPICS: [&str; 7] = [
    "events::",
    "channels::",
    "shared::",
    "objects::",
    "policy::",
    "lifecycle::",
    "hostile::a_hostile_guest_stops_nobody",
];

/// One test of each way to talk that runs in seconds, so that the checks do not rot between the long runs.
const SOME: [&str; 3] = [
    "events::between_partitions_on_different_cores [gic3, 2 cores, cortex-a72]",
    "channels::areas_go_there_and_back_on_a_shared_core [gic3, 1 core, cortex-a72]",
    "objects::between_partitions_on_different_cores [gic3, 2 cores, cortex-a72]",
];

/// Runs QEMU tests on a hypervisor that compares its books after each call.
#[derive(Debug, Args)]
pub(crate) struct Checked {
    /// Runs only the tests whose name contains this text; without it: all of events, channels, shared areas, objects, policy and
    /// lifecycle, and the hostile guest.
    filter: Option<String>,
    /// Writes the result into `hyp/doc/spec.md`.
    #[arg(long)]
    write: bool,
}

impl Checked {
    /// The name of what `cargo xtask test` does of it.
    pub(crate) const IN_EVERY_TEST: &str = "checked";

    pub(crate) fn execute(&self) -> Result<()> {
        let commit = self.write.then(soak::commit).transpose()?;
        build::checked_hypervisor()?;
        let started = Instant::now();
        let tally = match &self.filter {
            Some(filter) => test::tally_machines(&[Some(filter)], &settings())?,
            None => test::tally_machines(&TOPICS.map(Some), &settings())?,
        };
        let compared = tally.compared();
        let passed = tally.finish(started)?;
        println!("{compared}");
        // Each test looks at its own machines; a run in which none was looked at is none.
        ensure!(compared.parties > 0, "the hypervisor has compared nothing");
        if let Some(commit) = &commit {
            let topics = TOPICS.map(|topic| topic.trim_end_matches(':')).join(", ");
            let run = format!("checked {}", self.filter.as_ref().unwrap_or(&topics));
            soak::record(&run, passed, counts::SEED, (&format!("short, {compared}"), commit))?;
        }
        Ok(())
    }

    /// Counts a few of the tests, on guests that are built.
    pub(crate) fn count_some(tally: &mut Tally) -> Result<()> {
        build::checked_hypervisor()?;
        SOME.into_iter().try_for_each(|name| test::count_machines(tally, Some(name), &settings()))
    }
}

fn settings() -> [(&'static str, String); 1] {
    [("SHIKIRI_CHECKED", "1".to_owned())]
}
