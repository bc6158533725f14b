//! `cargo xtask image`: what a board boots from, as a folder or as an image of its card.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use shikiri_qemu_tests::{Board, Machine, System, paths};

use crate::card::{self, File};
use crate::commands::{build, run, setup};
use crate::files;

/// Makes what a board boots from: a folder for its card, or an image of the card.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Image {
    /// The board.
    #[arg(long, value_parser = run::board, default_value = "rpi4")]
    board: Board,
    /// The board's own device tree, as its firmware hands it over. Default: the kernel's, with the memory of a board of
    /// 1 GiB.
    #[arg(long, value_name = "FILE")]
    tree: Option<PathBuf>,
    /// A folder with the firmware's files, which are copied along.
    #[arg(long, value_name = "FOLDER")]
    firmware: Option<PathBuf>,
    /// The system: a name under boards/BOARD/systems/, or the path of a .toml file.
    #[arg(default_value = "demo")]
    system: String,
    /// Where to: a folder, or the name of an image (.img).
    out: PathBuf,
}

/// What the card has to have beside our files, from the firmware of the board's maker.
const FIRMWARE: [&str; 3] = ["start4.elf", "fixup4.dat", paths::RPI4_TREE_NAME];

/// The firmware's settings. The bundle's address is above all that the kernel's image takes, and below where the firmware
/// puts the device tree.
const CONFIG: &str = "\
# Shikiri on the Raspberry Pi 4.
arm_64bit=1
kernel=kernel8.img
initramfs bundle 0x08000000
# The console is the mini UART on pins 8 and 10 of the header (GPIO 14, 15), 115,200 baud.
enable_uart=1
# For the PL011 on the same pins, with overlays/disable-bt.dtbo of the firmware on the card:
#dtoverlay=disable-bt
enable_gic=1
# What the firmware itself says on the same line, before ours.
uart_2ndstage=1
";

impl Image {
    pub(crate) fn execute(&self) -> Result<()> {
        if self.board != Board::Rpi4 {
            bail!("{} boots from no card: `cargo xtask run`", self.board.folder());
        }
        setup::qemu()?;
        setup::linux()?;
        build::all()?;
        let mut files = self.files()?;
        let missing = self.add_firmware(&mut files)?;
        if self.out.extension().is_some_and(|extension| extension == "img") {
            files::replace(&self.out, &card::image(&files)?)?;
        } else {
            for (name, bytes) in &files {
                files::replace(&self.out.join(name), bytes)?;
            }
        }
        for (name, bytes) in &files {
            println!("{}: {name}, {} bytes", self.out.display(), bytes.len());
        }
        if !missing.is_empty() {
            println!(
                "The firmware's files have to be added: {}.\n\
                 All are on the boot partition of any Raspberry Pi OS card (/boot/firmware). Debian has the first two in\n\
                 the package raspi-firmware (/usr/lib/raspi-firmware), the tree in that of the arm64 kernel\n\
                 (/usr/lib/linux-image-*/broadcom). `--firmware FOLDER` copies what a folder has of them.",
                missing.join(", ")
            );
        }
        Ok(())
    }

    /// Our own files.
    fn files(&self) -> Result<Vec<File>> {
        let system = System::find_on(self.board, &self.system)?;
        let tree = match &self.tree {
            Some(file) => read(file)?,
            None => Machine::on(self.board).device_tree()?,
        };
        let compiled = system.compile_for(tree)?;
        Ok(vec![
            ("config.txt".into(), CONFIG.into()),
            ("kernel8.img".into(), read(&paths::hypervisor())?),
            ("bundle".into(), compiled.bundle),
            ("system.txt".into(), compiled.explanation.into_bytes()),
        ])
    }

    /// Adds what the given folder has of the firmware; what is missing then.
    fn add_firmware(&self, files: &mut Vec<File>) -> Result<Vec<&'static str>> {
        let mut missing = Vec::new();
        for name in FIRMWARE {
            match self.firmware.as_ref().map(|folder| folder.join(name)) {
                Some(file) if file.is_file() => files.push((name.into(), read(&file)?)),
                Some(_) | None => missing.push(name),
            }
        }
        Ok(missing)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_is_copied_as_far_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("start4.elf"), b"x").unwrap();
        let image = |firmware| Image {
            board: Board::Rpi4,
            tree: None,
            firmware,
            system: "hello".into(),
            out: "out".into(),
        };
        let mut files = Vec::new();
        let missing = image(Some(folder.path().into())).add_firmware(&mut files).unwrap();
        assert_eq!(missing, ["fixup4.dat", "bcm2711-rpi-4-b.dtb"]);
        assert_eq!(files, [("start4.elf".to_owned(), b"x".to_vec())]);
        assert_eq!(image(None).add_firmware(&mut files).unwrap(), FIRMWARE);
    }

    /// What config.txt names is on the card.
    #[test]
    fn the_settings_name_our_files() {
        assert!(CONFIG.contains("\nkernel=kernel8.img\n"));
        assert!(CONFIG.contains("\ninitramfs bundle 0x08000000\n"));
        assert!(CONFIG.lines().all(|line| line.len() < 98), "the firmware reads 98 characters");
    }
}
