//! `cargo xtask flatten`: a flat image of somebody's own guest.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{files, flatten};

/// Makes a flat image of an ELF file.
#[derive(Debug, Args)]
pub(crate) struct Flatten {
    /// The ELF file, linked with `linker/guest.ld`.
    elf: PathBuf,
    /// Where the image goes.
    image: PathBuf,
}

impl Flatten {
    pub(crate) fn execute(&self) -> Result<()> {
        let (from, to) = (self.elf.display(), self.image.display());
        let bytes = fs::read(&self.elf).with_context(|| format!("{from} cannot be read"))?;
        let image = flatten::flatten(&bytes).with_context(|| format!("{from}"))?;
        let target = std::path::absolute(&self.image)?;
        files::replace(&target, &image).with_context(|| format!("{to} cannot be written"))?;
        println!("{to}: {} bytes", image.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (elf, image) = (folder.path().join("guest"), folder.path().join("guest.bin"));
        let refusal = || {
            let flatten = Flatten { elf: elf.clone(), image: image.clone() };
            format!("{:#}", flatten.execute().unwrap_err())
        };
        assert!(refusal().starts_with(&format!("{} cannot be read", elf.display())));
        fs::write(&elf, "flat already").unwrap();
        assert!(refusal().starts_with(&format!("{}: not a 64-bit ELF file", elf.display())));
        assert!(!image.exists());
    }
}
