//! `cargo xtask test`: everything that CI runs, in the order of what fails fastest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use shikiri_qemu_tests::Board;

use crate::commands::bench::{Bench, hardware};
use crate::commands::checked::Checked;
use crate::commands::{build, layers, misuse, run, setup, unsafe_budget};
use crate::metadata::{self, BARE_METAL, PROGRAMS, PROGRAMS_TARGET, Workspace};
use crate::process::{self, step};
use crate::tally::Tally;

/// Runs everything that CI runs: format, lints, host tests, layers, budgets, QEMU tests.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Runs only the tests and checks whose name contains this text.
    filter: Option<String>,
    /// Leaves out the slow ones.
    #[arg(long)]
    fast: bool,
    /// Runs the QEMU tests alone, and all of them on this board.
    #[arg(long, value_parser = run::board)]
    board: Option<Board>,
}

/// The package of the QEMU tests.
const QEMU_TESTS: &str = "shikiri-qemu-tests";

/// The SDK's package for calls between partitions.
const RPC: &str = "shikiri-rpc";

/// QEMU tests that run at the same time; each machine has several threads of its own.
const MACHINES_AT_ONCE: &str = "2";

impl Test {
    pub(crate) fn execute(&self) -> Result<()> {
        if let Some(board) = self.board {
            let settings = [("SHIKIRI_BOARD", board.folder().to_owned())];
            run_machines(&[self.filter.as_deref()], &settings)?;
            return Ok(());
        }
        let started = Instant::now();
        let mut tally = Tally::default();
        let workspace = metadata::load()?;
        setup::rust_components()?;
        self.check(&mut tally, "format", || {
            process::run(process::cargo().args(["fmt", "--all", "--check"]))
        });
        self.check(&mut tally, "layers", layers::check);
        self.check(&mut tally, "unsafe-budget", unsafe_budget::check);
        setup::rust_target()?;
        let ahead = build::ahead(!self.fast && self.selects(Checked::IN_EVERY_TEST));
        self.check(&mut tally, "clippy-host", || clippy_host(&workspace));
        self.check(&mut tally, "clippy-bare-metal", || clippy_bare_metal(&workspace));
        self.check(&mut tally, "clippy-programs", clippy_programs);
        self.check(&mut tally, "misuse", misuse::check);
        // Some of the host tests ask it.
        if let Err(error) = setup::qemu() {
            eprintln!("QEMU is missing: {error:#}");
            tally.fail("QEMU".into());
        }
        let host_tests = |words| host_tests(&workspace, words);
        self.tests(&mut tally, "host tests", host_tests);
        if !self.fast {
            self.tests(&mut tally, "interleavings (loom)", loom_tests_outside);
            self.tests(&mut tally, "interleavings (loom) of the virtual GIC", loom_tests_inside);
        }
        ahead.wait();
        self.machines(&mut tally);
        // It counts instructions, of which others make no more, and takes one core.
        let rpi4 = self.bench(Board::Rpi4)?;
        let virt = self.bench(Board::QemuVirt)?;
        let virt = virt.map(|(name, command)| (name, process::beside(command)));
        if !self.fast && self.selects(Checked::IN_EVERY_TEST) {
            step(Checked::IN_EVERY_TEST);
            if let Err(error) = Checked::count_some(&mut tally) {
                tally.fail(format!("{}: {error:#}", Checked::IN_EVERY_TEST));
            }
        }
        if let Some((name, mut command)) = rpi4 {
            self.check(&mut tally, &name, || process::run(&mut command));
        }
        if let Some((name, bench)) = virt {
            self.check(&mut tally, &name, || bench.end());
        }
        self.check(&mut tally, "bench-hardware", hardware::check_against_qemu);
        tally.finish(started)?;
        Ok(())
    }

    /// The measurement of a board, if it is chosen: its name and its command.
    fn bench(&self, board: Board) -> Result<Option<(String, Command)>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(Bench::in_every_test(board, self.fast));
        let name = format!("bench-{}", board.folder());
        Ok(self.selects(&name).then_some((name, command)))
    }

    /// A check that is one pass or one failure.
    fn check(&self, tally: &mut Tally, name: &str, check: impl FnOnce() -> Result<()>) {
        if !self.selects(name) {
            return;
        }
        step(name);
        match check() {
            Ok(()) => tally.pass(),
            Err(error) => {
                eprintln!("{name} FAILED: {error:#}");
                tally.fail(name.into());
            }
        }
    }

    /// Tests of one `cargo test`, each counted. What a first build takes minutes for is seen, line by line.
    fn tests(&self, tally: &mut Tally, name: &str, command: impl Fn(Words) -> Command) {
        step(&format!("building: {name} (all of them, whichever are run)"));
        if let Err(error) = process::run(&mut command(BUILD)) {
            return tally.fail(format!("{name}: {error:#}"));
        }
        self.run_tests(tally, name, command(RUN).arg("--"));
    }

    /// Runs the chosen ones of tests that are built, or nearly.
    fn run_tests(&self, tally: &mut Tally, name: &str, cargo: &mut Command) {
        step(name);
        if let Some(filter) = &self.filter {
            cargo.arg(filter);
        }
        let before = (tally.counted(), tally.failed());
        match process::watch(cargo, |line| tally.read(line)) {
            // A step that silently runs nothing would hold nothing.
            Ok(true) if self.filter.is_none() && tally.counted() == before.0 => {
                tally.fail(format!("{name}: not one test ran"));
            }
            Ok(true) => {}
            // It did not come to running tests, or one of them took the process down.
            Ok(false) if tally.failed() == before.1 => tally.fail(format!("{name} (see above)")),
            Ok(false) => {}
            Err(error) => tally.fail(format!("{name}: {error:#}")),
        }
    }

    fn machines(&self, tally: &mut Tally) {
        let prepared = setup::qemu()
            .and_then(|()| setup::linux())
            .and_then(|()| setup::c_compiler())
            .and_then(|()| build::all());
        if let Err(error) = prepared {
            eprintln!("the images cannot be built: {error:#}");
            tally.fail("images of the QEMU tests".into());
            return;
        }
        let mut cargo = machine_tests();
        if self.fast {
            cargo.env("SHIKIRI_FAST", "1");
        }
        self.run_tests(tally, "QEMU tests", &mut cargo);
    }

    fn selects(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| name.contains(filter))
    }
}

/// The command that runs the QEMU tests; a filter may follow.
pub(crate) fn machine_tests() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["test", "--quiet", "-p", QEMU_TESTS, "--test", "qemu", "--"]);
    cargo.args(["--test-threads", MACHINES_AT_ONCE]);
    // Some of them try the commands themselves.
    if let Ok(program) = std::env::current_exe() {
        cargo.env("SHIKIRI_XTASK", program);
    }
    cargo
}

fn clippy_host(workspace: &Workspace) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--quiet", "--all-targets"]);
    for package in workspace.host_packages() {
        cargo.args(["-p", &package.name]);
    }
    process::run(cargo.args(["--", "-D", "warnings"]))?;
    // Not built by default, so not among all targets.
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--quiet", "-p", QEMU_TESTS, "--test", "qemu", "--", "-D", "warnings"]);
    process::run(&mut cargo)
}

fn clippy_bare_metal(workspace: &Workspace) -> Result<()> {
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["clippy", "--quiet", "--target", BARE_METAL]);
    for package in workspace.bare_metal_packages() {
        cargo.args(["-p", &package.name]);
    }
    // Tested on the host, made for guests, and imported by none of them yet.
    cargo.args(["-p", RPC]);
    process::run(cargo.args(["--", "-D", "warnings"]))?;
    // What `cargo xtask checked` builds.
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["clippy", "--quiet", "--target", BARE_METAL, "-p", build::HYPERVISOR]);
    process::run(cargo.args(["--features", "checks", "--", "-D", "warnings"]))
}

fn clippy_programs() -> Result<()> {
    setup::programs_target()?;
    let mut cargo = process::bare_metal_cargo();
    cargo.args(["clippy", "--quiet", "--target", PROGRAMS_TARGET, "-p", PROGRAMS]);
    process::run(cargo.args(["--", "-D", "warnings"]))
}

/// Words for cargo.
type Words = &'static [&'static str];
/// Only builds tests, and says what.
const BUILD: Words = &["test", "--no-run"];
/// Runs them.
const RUN: Words = &["test", "--quiet", "--no-fail-fast"];

fn host_tests(workspace: &Workspace, words: Words) -> Command {
    let mut cargo = process::cargo();
    cargo.args(words);
    for package in workspace.host_packages() {
        cargo.args(["-p", &package.name]);
    }
    cargo
}

/// The same crates compiled against loom's atomics and threads, which try every interleaving.
fn loom_tests(words: Words, what: &[&str]) -> Command {
    let mut cargo = process::cargo();
    cargo.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "2");
    cargo.args(words).args(what).arg("--target-dir");
    cargo.arg(shikiri_qemu_tests::paths::target().join("loom"));
    cargo
}

fn loom_tests_outside(words: Words) -> Command {
    loom_tests(words, &["-p", "shikiri-sync", "-p", "shikiri-core", "-p", RPC, "--test", "loom"])
}

/// What races in the virtual GIC is inside of it.
fn loom_tests_inside(words: Words) -> Command {
    loom_tests(words, &["-p", "shikiri-vgic", "--lib"])
}

/// Runs the QEMU tests alone with additional settings, for the long commands: those that one of the filters chooses, one filter
/// after the other; how many passed.
pub(crate) fn run_machines(filters: &[Option<&str>], settings: &[(&str, String)]) -> Result<u64> {
    let started = Instant::now();
    tally_machines(filters, settings)?.finish(started)
}

/// The same, with all that was counted.
pub(crate) fn tally_machines(
    filters: &[Option<&str>],
    settings: &[(&str, String)],
) -> Result<Tally> {
    setup::qemu()?;
    setup::linux()?;
    setup::c_compiler()?;
    build::all().context("the images cannot be built")?;
    let mut tally = Tally::default();
    for filter in filters {
        count_machines(&mut tally, *filter, settings)?;
    }
    Ok(tally)
}

/// Runs the chosen QEMU tests with additional settings, on images that are built, and counts them.
pub(crate) fn count_machines(
    tally: &mut Tally,
    filter: Option<&str>,
    settings: &[(&str, String)],
) -> Result<()> {
    let mut cargo = machine_tests();
    cargo.args(filter).envs(settings.iter().map(|(name, value)| (name, value)));
    let before = (tally.counted(), tally.failed());
    let succeeded = process::watch(&mut cargo, |line| tally.read(line))?;
    if !succeeded && tally.failed() == before.1 {
        tally.fail("the test program itself (see above)".into());
    }
    if succeeded && tally.counted() == before.0 {
        tally.fail(format!("no test has {:?} in its name", filter.unwrap_or_default()));
    }
    Ok(())
}
