//! `cargo xtask`: builds, runs, tests and measures Shikiri. `cargo xtask --help` lists the commands.

mod bench_relations;
mod bench_table;
mod c_guests;
mod card;
mod commands;
mod debian;
mod doc_table;
mod figures;
mod files;
mod flatten;
mod initrd;
mod insn_count;
mod layering;
mod metadata;
mod process;
mod scos;
mod serial_port;
mod tally;
mod terminal;
mod unsafe_count;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures Shikiri.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Boots a system in QEMU with the terminal attached.
    Run(commands::run::Run),
    /// Runs everything that CI runs: format, lints, host tests, layers, budgets, QEMU tests.
    Test(commands::test::Test),
    /// Checks a system description and explains it.
    Check(commands::check::Check),
    /// Builds the hypervisor and the guests, and makes their flat images.
    Build(commands::build::Build),
    /// Makes what a board boots from: a folder for its card, or an image of the card.
    Image(commands::image::Image),
    /// Makes a flat image of an ELF file.
    Flatten(commands::flatten::Flatten),
    /// Counts instructions and bytes, and compares them with the limits in `hyp/doc/spec.md`.
    Bench(commands::bench::Bench),
    /// Checks which crate imports which.
    Layers(commands::layers::Layers),
    /// Checks that misuse of the guests' libraries does not compile.
    Misuse(commands::misuse::Misuse),
    /// Counts `unsafe` per crate and compares with `tools/unsafe-budget.toml`.
    UnsafeBudget(commands::unsafe_budget::UnsafeBudget),
    /// Installs what is missing, or names it.
    Setup(commands::setup::Setup),
    /// Runs the QEMU tests with their full counts.
    Soak(commands::soak::Soak),
    /// Runs QEMU tests on a hypervisor that compares its books after each call.
    Checked(commands::checked::Checked),
    /// Runs the hostile guest for a long time.
    Fuzz(commands::fuzz::Fuzz),
    /// Runs the host tests of the unsafe crates, the core and the model machine under Miri.
    Miri(commands::miri::Miri),
    /// Breaks the code on purpose, and checks that a test fails.
    Mutate(commands::mutate::Mutate),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Commands::Run(run) => return run.execute(),
        Commands::Test(test) => test.execute(),
        Commands::Check(check) => check.execute(),
        Commands::Build(build) => build.execute(),
        Commands::Image(image) => image.execute(),
        Commands::Flatten(flatten) => flatten.execute(),
        Commands::Bench(bench) => bench.execute(),
        Commands::Layers(layers) => layers.execute(),
        Commands::Misuse(misuse) => misuse.execute(),
        Commands::UnsafeBudget(budget) => budget.execute(),
        Commands::Setup(setup) => setup.execute(),
        Commands::Soak(soak) => soak.execute(),
        Commands::Checked(checked) => checked.execute(),
        Commands::Fuzz(fuzz) => fuzz.execute(),
        Commands::Miri(miri) => miri.execute(),
        Commands::Mutate(mutate) => mutate.execute(),
    };
    process::exit_code(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
