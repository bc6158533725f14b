//! Several vCPUs on one core: everybody gets what is reserved and nobody more. V2, P3.

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Failure, Machine};

use crate::support::{self, Outcome, Partition, Topic, all_kinds, both_gics, system};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("sharing", trials);
    topic
        .on_each(both_gics(1), "timers_hold_beside_a_guest_that_spins", timers_beside_spin)
        .on_each(all_kinds(1), "registers_survive_every_switch", registers)
        .on_each(both_gics(1), "a_spinning_guest_delays_others_by_its_budget_at_most", budgets);
}

fn share(partition: Partition, budget_ms: u32, period_ms: u32) -> Partition {
    partition
        .with("cores = [0]")
        .with(&format!("share = {{ budget = \"{budget_ms}ms\", period = \"{period_ms}ms\" }}"))
}

fn timers_beside_spin(machine: Machine) -> Outcome {
    let timers = share(Partition::new("timers", "timers"), 5, 10)
        .with("cmdline = \"shared=1 period_us=20000 rounds=50\"");
    let spin = share(Partition::new("spin", "spin"), 4, 10);
    let mut running = system([timers, spin])?.boot(&machine)?;
    let console = running.wait_for("timers| done", support::PATIENCE)?;
    support::approve(&console)
}

/// Two guests that fill every register with patterns of their own and look at them again and again.
fn registers(machine: Machine) -> Outcome {
    let regs = |name: &str| share(Partition::new(name, "regs"), 4, 10);
    let console = support::passes(&system([regs("one"), regs("other")])?, &machine)?;
    let ends = console.lines().filter(|line| line.contains("| done")).count();
    if ends == 2 {
        Ok(())
    } else {
        Err(Failure::new(format!("{ends} of 2 ended"), &console).into())
    }
}

/// The spinning guest has 4 ms in every 10 ms. So whoever else is reserved on the core waits for it at
/// most that long, and the switches; under counted instructions that bound is exact enough to be held.
fn budgets(machine: Machine) -> Outcome {
    let witness = share(Partition::new("witness", "witness"), 5, 10)
        .with("cmdline = \"reports=1 report_ms=400 limit_us=4100\"");
    let spin = share(Partition::new("spin", "spin"), 4, 10);
    let mut running = system([witness, spin])?.boot(&machine.icount())?;
    let console = running.wait_for("witness| done", support::PATIENCE)?;
    support::approve(&console)
}
