//! Interrupts of devices that were given away: one that is never cleared, edges, and what a life leaves active. V2, V3, P5.

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Failure, Machine, Running};

use crate::guests::NO_CLOCK;
use crate::lifecycle::wait_until_stopped;
use crate::support::{
    self, Outcome, PATIENCE, Partition, Topic, all_kinds, both_gics, open_operator, operate,
    operator, system,
};

/// Why a test of virtio is not the Pi's.
const NO_VIRTIO: &str = "it has no virtio-mmio";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("devices", trials);
    topic.not_on_rpi4(NO_CLOCK).on_each(
        both_gics(3),
        "an_interrupt_that_is_never_cleared_delays_others_by_the_owners_budget_at_most",
        storm,
    );
    topic.not_on_rpi4(NO_CLOCK).on_each(
        all_kinds(1),
        "a_life_that_ends_with_its_interrupt_active_leaves_it_to_the_next",
        leaves,
    );
    topic.not_on_rpi4(NO_VIRTIO).on_each(
        all_kinds(1),
        "an_edge_comes_once_to_the_owner_and_is_not_lost",
        edges,
    );
    topic.not_on_rpi4(NO_VIRTIO).on_each(
        both_gics(1),
        "an_edge_is_not_lost_while_its_owner_is_off_its_core",
        edges_on_a_shared_core,
    );
}

const CLOCK: &str = "devices = [\"/pl031@9010000\"]";

fn share(partition: Partition, budget_ms: u32) -> Partition {
    partition
        .with("cores = [0]")
        .with(&format!("share = {{ budget = \"{budget_ms}ms\", period = \"10ms\" }}"))
}

/// The alarm's line stays high, and its owner does no more than end the interrupt: it comes again at once, for as long as the owner's
/// 4 ms of every 10 ms last. A witness on the same core waits no longer than that, one on another core not at all (500 us: the
/// emulator's turns). When the owner has been stopped the line is still high, and nobody hears of it: the witness that was its
/// neighbour is late by no more than the one with a core of its own.
fn storm(machine: Machine) -> Outcome {
    let clock = share(Partition::new("clock", "clock"), 4).with(CLOCK).with("cmdline = \"storm\"");
    let words = "cmdline = \"reports=0 report_ms=50 limit_us=";
    let beside = share(Partition::new("beside", "witness"), 5).with(&format!("{words}4100\""));
    let apart =
        Partition::new("apart", "witness").with("cores = [1]").with(&format!("{words}500\""));
    let deadlines = Partition::new("deadlines", "witness")
        .with("cores = [2]\ncmdline = \"reports=0 period_us=20 report_ms=1000\"");
    let mut running = system([clock, beside, apart, deadlines])?.boot(&machine.icount())?;
    let mut console = String::new();
    for _ in 0..2 {
        console += &running.wait_for("interrupts of one alarm", PATIENCE)?;
        console += &running.wait_for("beside| ok witness report", PATIENCE)?;
        console += &running.wait_for("apart| ok witness report", PATIENCE)?;
    }
    open_operator(&mut running)?;
    operator(&mut running, "stop clock")?;
    wait_until_stopped(&mut running, "clock")?;
    // One report may have begun before.
    for _ in 0..2 {
        console += &running.wait_for("beside| ok witness report", PATIENCE)?;
    }
    let late = lateness(&mut running)?;
    if late > 500 {
        return Err(running.failure(format!("the witness is late by {late} us")).into());
    }
    never_late(&running, &console)?;
    support::audit(&mut running)?;
    // The next life has the line as it is.
    operate(&mut running, "start clock", "interrupts of one alarm")?;
    operator(&mut running, "stop clock")?;
    wait_until_stopped(&mut running, "clock")
}

/// How late the next report of the owner's neighbour says that it was, in us.
fn lateness(running: &mut Running) -> Result<u64, Failed> {
    running.wait_for("beside| ok witness report", PATIENCE)?;
    let line = running.wait_for(" us late", PATIENCE)?;
    let number = line.rsplit_once("at most ").and_then(|(_, rest)| rest.split(' ').next());
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| running.failure(format!("no lateness: {line:?}")).into())
}

/// Fails if a witness has seen a late tick.
fn never_late(running: &Running, console: &str) -> Outcome {
    match console.lines().find(|line| line.contains("FAIL")) {
        None => Ok(()),
        Some(line) => Err(running.failure(format!("a witness says {line:?}")).into()),
    }
}

/// The first life ends itself, the second faults, the third is stopped by the operator, all with the interrupt acknowledged and not
/// ended. What the next finds is as after a reset, and its own alarm comes.
fn leaves(machine: Machine) -> Outcome {
    let clock = Partition::new("clock", "clock")
        .with(CLOCK)
        .with("cmdline = \"leaves\"\nrestart = \"always\"");
    let stay =
        Partition::new("stay", "spin").with("share = { budget = \"1ms\", period = \"10ms\" }");
    let clock = clock.with("share = { budget = \"8ms\", period = \"10ms\" }");
    let mut running = system([clock, stay])?.boot(&machine)?;
    let mut console = running.wait_for("ended itself with code 7", PATIENCE)?;
    console += &running.wait_for("clock: faults while", PATIENCE)?;
    console += &running.wait_for("clock: holds the interrupt active", PATIENCE)?;
    open_operator(&mut running)?;
    operator(&mut running, "stop clock")?;
    wait_until_stopped(&mut running, "clock")?;
    support::audit(&mut running)?;
    running.send("start clock\r")?;
    console += &running.wait_for("clock| done", PATIENCE)?;
    support::approve(&console)?;
    let wanted = [
        ("clock: life ", 4),
        ("ok the_interrupt_is_as_after_a_reset", 4),
        ("ok the_alarm_comes_in_this_life", 1),
    ];
    match wanted.iter().find(|(words, count)| console.matches(words).count() != *count) {
        None => Ok(()),
        Some((words, _)) => {
            let count = console.matches(words).count();
            Err(running.failure(format!("{words:?} was said {count} times")).into())
        }
    }
}

/// One that owns the entropy device in the last slot of virtio-mmio.
fn entropy() -> Partition {
    Partition::new("entropy", "entropy")
        .with_memory("{ size = \"4MiB\", at = 0x5000_0000, ipa = 0x5000_0000 }")
        .with("devices = [{ path = \"/virtio_mmio@a003e00\", dma = \"trusted\" }]")
}

fn with_entropy(machine: Machine) -> Machine {
    machine
        .args(["-global", "virtio-mmio.force-legacy=false"])
        .args(["-device", "virtio-rng-device,bus=virtio-mmio-bus.31"])
}

fn edges(machine: Machine) -> Outcome {
    let console = support::passes(&system([entropy()])?, &with_entropy(machine))?;
    came(&console)
}

/// A neighbour that spins has the core for 4 ms of every 10 ms, in which the owner's edges come as well.
fn edges_on_a_shared_core(machine: Machine) -> Outcome {
    let spin = share(Partition::new("spin", "spin"), 4);
    let mut running = system([share(entropy(), 5), spin])?.boot(&with_entropy(machine))?;
    let console = running.wait_for("entropy| done", PATIENCE)?;
    support::approve(&console)?;
    came(&console)
}

/// 200 one by one, 400 of which half came while one was active, one while it was disabled, and two that waited.
fn came(console: &str) -> Outcome {
    if has(console, "entropy: 603 interrupts") {
        return Ok(());
    }
    Err(Failure::new("another number of interrupts".to_owned(), console).into())
}
