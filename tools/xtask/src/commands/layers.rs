//! `cargo xtask layers`: which crate imports which.

use anyhow::{Result, bail};
use clap::Args;

use crate::{layering, metadata};

/// Checks which crate imports which.
#[derive(Debug, Args)]
pub(crate) struct Layers {}

impl Layers {
    pub(crate) fn execute(&self) -> Result<()> {
        check()?;
        println!("Every import follows the layers.");
        Ok(())
    }
}

/// Fails with one line per import that the layers do not allow.
pub(crate) fn check() -> Result<()> {
    let workspace = metadata::load()?;
    let violations = layering::violations(&workspace);
    if violations.is_empty() {
        return Ok(());
    }
    bail!("the layers are broken:\n{}", violations.join("\n"))
}
