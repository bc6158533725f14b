//! Several vCPUs on one core: everybody gets what is reserved and nobody more. V2, P3.

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Failure, Machine};

use crate::support::{self, Outcome, Partition, Topic, all_kinds, both_gics, system};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("sharing", trials);
    topic
        .also_on_rpi4()
        .on_each(both_gics(1), "timers_hold_beside_a_guest_that_spins", timers_beside_spin)
        .on_each(all_kinds(1), "registers_survive_every_switch", registers)
        .on_each(both_gics(1), "a_spinning_guest_delays_others_by_its_budget_at_most", budgets)
        .on_each(both_gics(1), "a_spinning_vcpu_gets_its_budget_and_no_more_beside_another", beside)
        .on_each(both_gics(1), "a_spinning_vcpu_gets_its_budget_and_no_more_alone", alone)
        .on_each(both_gics(1), "who_waits_leaves_the_core_to_others", sleeper)
        .on_each(
            both_gics(1),
            "who_is_put_off_while_it_handles_its_timer_keeps_nobody_elses",
            holder,
        )
        .on_each(both_gics(1), "siblings_that_flood_delay_others_by_their_budget_at_most", floods);
}

fn share(partition: Partition, budget_ms: u32, period_ms: u32) -> Partition {
    partition
        .with("cores = [0]")
        .with(&format!("share = {{ budget = \"{budget_ms}ms\", period = \"{period_ms}ms\" }}"))
}

/// Both timers, of which the physical one is emulated, are as late as the other's budget at most: see [`budgets`].
fn timers_beside_spin(machine: Machine) -> Outcome {
    let timers = share(Partition::new("timers", "timers"), 5, 10)
        .with("cmdline = \"period_us=20000 rounds=25 limit_us=4100\"");
    let spin = share(Partition::new("spin", "spin"), 4, 10);
    let mut running = system([timers, spin])?.boot(&machine.icount())?;
    let console = running.wait_for("timers| done", support::PATIENCE)?;
    support::approve(&console)
}

/// Two guests that fill every register with patterns of their own and look at them again and again. Two of the three vCPUs
/// are siblings.
fn registers(machine: Machine) -> Outcome {
    let regs = |name: &str| share(Partition::new(name, "regs"), 3, 10);
    let guests = [regs("one").with("vcpus = 2"), regs("other")];
    let console = support::passes(&system(guests)?, &machine)?;
    match ["one| done", "other| done"].iter().find(|end| !has(&console, end)) {
        None => Ok(()),
        Some(end) => Err(Failure::new(format!("{end:?} was not said"), &console).into()),
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

/// One that sleeps nearly all the time has 4 ms in every 10 ms, too, and does not hold the core while it sleeps.
fn sleeper(machine: Machine) -> Outcome {
    let witness = share(Partition::new("witness", "witness"), 5, 10)
        .with("cmdline = \"reports=1 report_ms=200 limit_us=100\"");
    let sleeper = share(Partition::new("sleeper", "timer"), 4, 10)
        .with("cmdline = \"ticks=0 period_us=3000\"");
    let mut running = system([witness, sleeper])?.boot(&machine.icount())?;
    let console = running.wait_for("witness| done", support::PATIENCE)?;
    support::approve(&console)
}

/// One handles each interrupt of its timer for longer than it may run at a time: the physical interrupt is active when the
/// other comes, whose timer is the same PPI.
fn holder(machine: Machine) -> Outcome {
    let witness = share(Partition::new("witness", "witness"), 5, 10)
        .with("cmdline = \"reports=1 report_ms=100 limit_us=4100\"");
    let holder = share(Partition::new("holder", "witness"), 4, 10)
        .with("cmdline = \"reports=0 period_us=15000 hold_us=9000\"");
    let mut running = system([witness, holder])?.boot(&machine.icount())?;
    let console = running.wait_for("witness| done", support::PATIENCE)?;
    support::approve(&console)
}

/// A vCPU with 3 ms of every 10 ms that always wants more, and measures what it gets.
fn greedy() -> Partition {
    share(Partition::new("budget", "budget"), 3, 10)
        .with("cmdline = \"budget_us=3000 period_us=10000\"")
}

/// The bound is the scheduler's promise, for every stretch of time: in `L` at most `3/10 L + 6 ms`.
fn beside(machine: Machine) -> Outcome {
    let spin = share(Partition::new("spin", "spin"), 7, 10);
    let mut running = system([greedy(), spin])?.boot(&machine.icount())?;
    let console = running.wait_for("budget| done", support::PATIENCE)?;
    support::approve(&console)
}

/// The same on a core that is idle otherwise: what is left is not given away.
fn alone(machine: Machine) -> Outcome {
    support::passes(&system([greedy()])?, &machine.icount())?;
    Ok(())
}

/// Two vCPUs with 2 ms of every 10 ms each, on the witness's core, that flood each other with SGIs and make maintenance
/// by set and way. What the witness sees of it is 4 ms at most, and what the kicks and one step of cleaning take.
fn floods(machine: Machine) -> Outcome {
    let flood = share(Partition::new("flood", "flood"), 2, 10)
        .with("vcpus = 2")
        .with("cmdline = \"setway=16 beat=1000\"");
    let witness = share(Partition::new("witness", "witness"), 5, 10)
        .with("cmdline = \"reports=4 report_ms=200 limit_us=4100\"");
    let mut running = system([witness, flood])?.boot(&machine.icount())?;
    let before = running.wait_for("flood: 2000 SGIs sent", support::PATIENCE)?;
    let console = before + &running.wait_for("witness| done", support::PATIENCE)?;
    support::approve(&console)
}
