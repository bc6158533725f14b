//! `cargo xtask check`: is this system description right, and what does it mean?

use anyhow::Result;
use clap::Args;
use shikiri_qemu_tests::{Board, Gic, Machine, System};

use crate::commands::{build, run, setup};
use crate::process;

/// Checks a system description and explains it.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The description: a file, or the name of a system of this repository.
    file: String,
    /// The board: a folder under boards/. Default: the description's own, or qemu-virt.
    #[arg(long, value_parser = run::board)]
    board: Option<Board>,
    /// The machine's interrupt controller.
    #[arg(long, value_parser = run::gic)]
    gic: Option<Gic>,
    /// The machine's number of cores.
    #[arg(long)]
    cpus: Option<u32>,
    /// Takes the images as they are, without building them first.
    #[arg(long)]
    no_build: bool,
}

impl Check {
    pub(crate) fn execute(&self) -> Result<()> {
        let system = System::find_on(self.board.unwrap_or(Board::QemuVirt), &self.file)?;
        let mut machine = system.machine()?;
        if let Some(board) = self.board.filter(|board| *board != machine.board()) {
            machine = Machine::on(board);
        }
        if let Some(gic) = self.gic {
            machine = machine.gic(gic);
        }
        if let Some(cpus) = self.cpus {
            machine = machine.cpus(cpus);
        }
        setup::qemu()?;
        if machine.board() == Board::Rpi4 {
            // Its device tree comes with the kernel.
            setup::linux()?;
        }
        setup::for_what_is_named_in(system.file())?;
        if !self.no_build {
            setup::rust_target()?;
            build::guests()?;
        }
        let explanation = system.compile(&machine)?.explanation;
        process::print(format_args!("{explanation}\n"));
        Ok(())
    }
}
