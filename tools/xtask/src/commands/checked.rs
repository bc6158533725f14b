//! `cargo xtask checked`: QEMU tests on a hypervisor that compares all its books on frames after each call.
//!
//! That takes milliseconds for each GiB of RAM: tests whose guests make very many calls, or whose machines are large, wait in vain.

use anyhow::Result;
use clap::Args;

use crate::commands::{build, test};

/// Runs QEMU tests on a hypervisor that compares its books after each call.
#[derive(Debug, Args)]
pub(crate) struct Checked {
    /// Runs only the tests whose name contains this text.
    #[arg(default_value = "channels::areas")]
    filter: String,
}

impl Checked {
    pub(crate) fn execute(&self) -> Result<()> {
        build::checked_hypervisor()?;
        let settings = [("SHIKIRI_CHECKED", "1".to_owned())];
        test::run_machines(Some(&self.filter), &settings).map(|_passed| ())
    }
}
