//! `cargo xtask fuzz`: the hostile guest for a long time, from one seed after the other.

use anyhow::Result;
use clap::Args;

use crate::commands::test;
use crate::process::step;

/// Runs the hostile guest for a long time.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// The first seed.
    #[arg(long, default_value_t = shikiri_qemu_tests::counts::SEED)]
    seed: u64,
    /// How many seeds are tried, counting up.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
}

impl Fuzz {
    pub(crate) fn execute(&self) -> Result<()> {
        for seed in self.seed..self.seed.saturating_add(self.rounds) {
            step(&format!("hostile guest, seed {seed}"));
            let settings = [("SHIKIRI_SOAK", "1".to_owned()), ("SHIKIRI_SEED", seed.to_string())];
            test::run_machines(Some("hostile"), &settings)?;
        }
        Ok(())
    }
}
