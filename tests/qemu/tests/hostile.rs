//! A guest that tries everything; a witness beside it must not notice. V2, and design's "no guest can
//! stop the hypervisor".

use std::time::Duration;

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Machine, counts};

use crate::support::{
    self, Outcome, PATIENCE, Partition, Topic, all_kinds, both_gics, open_operator, system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("hostile", trials);
    topic
        .also_on_rpi4()
        .on_each(all_kinds(3), "a_hostile_guest_stops_nobody", stops_nobody)
        .on_each(both_gics(3), "a_hostile_guest_on_cores_of_its_own_is_not_noticed", not_noticed)
        .on_each(both_gics(1), "a_hostile_guest_delays_others_by_its_budget_at_most", on_one_core);
}

/// What the hostile guest shares with the witness: it may leave it, and nothing else.
const SHARED: &str = r#"
[[shared]]
name = "page"
size = "4K"
partitions = ["hostile", "witness"]

[[shared]]
name = "block"
size = "12K"
partitions = ["witness"]
readers = ["hostile"]
"#;

/// The attacks, from this run's seed, on two vCPUs.
fn hostile(steps: u64, cores: &str) -> Partition {
    let seed = counts::seed();
    Partition::new("hostile", "hostile")
        .with(cores)
        .with("handles = 16\nrequests = 4\nconnect_to = [\"witness\"]")
        .with("areas = { pages = 8, blocks = 4, giants = 1, channels = 2, shared = 4 }")
        .with(&format!("cmdline = \"seed={seed} steps={steps}\""))
}

/// The machine's cores are threads of the host, and the hypervisor's cores really race. How late the witness is says
/// more about the host than about the hypervisor; that it goes on is what counts.
fn stops_nobody(machine: Machine) -> Outcome {
    let patience = if counts::is_soak() { PATIENCE * 60 } else { PATIENCE * 2 };
    let hostile = hostile(counts::hostile_steps(), "cores = 2");
    survives(&machine, hostile, Partition::new("witness", "witness"), ("", patience))
}

/// By counted instructions: no tick of the witness is later than 500 us, most of which is the emulator's turns between
/// the cores: one runs until the next deadline when another's turn ends in the middle of its interrupt (320 us were seen).
fn not_noticed(machine: Machine) -> Outcome {
    let hostile = hostile(counts::HOSTILE_STEPS.short, "cores = 2");
    let witness = Partition::new("witness", "witness");
    survives(&machine.icount(), hostile, witness, ("limit_us=500", PATIENCE * 2))
}

/// On the witness's core two hostile vCPUs have 2 ms of every 10 ms each: more than 4 ms, and what the longest exit
/// takes, they cannot delay it.
fn on_one_core(machine: Machine) -> Outcome {
    let share =
        |budget| format!("cores = [0]\nshare = {{ budget = \"{budget}ms\", period = \"10ms\" }}");
    let hostile = hostile(counts::HOSTILE_STEPS.short / 4, &format!("vcpus = 2\n{}", share(2)));
    let witness = Partition::new("witness", "witness").with(&share(5));
    survives(&machine.icount(), hostile, witness, ("limit_us=4100", PATIENCE * 2))
}

/// The hostile guest comes to its end, the witness goes on after it, and the books agree.
fn survives(
    machine: &Machine,
    hostile: Partition,
    witness: Partition,
    (words, patience): (&str, Duration),
) -> Outcome {
    // It is asked, and never answers.
    let witness = witness.with("handles = 16\naccept_from = [\"hostile\"]");
    let witness = witness.with("areas = { pages = 1, blocks = 1, shared = 2 }");
    let witness = witness.with(&format!("cmdline = \"reports=0 report_ms=200 {words}\""));
    let witness = witness.with(SHARED);
    let mut running = system([hostile, witness])?.boot(machine)?;
    // However it ends, so that nobody waits for the last word of one that has faulted.
    let mut console = running.wait_for("partition hostile (id 1) has ended: ", patience)?;
    support::approve(&console)?;
    open_operator(&mut running)?;
    support::audit(&mut running)?;
    // Two: the first may have been under way.
    for _ in 0..2 {
        console += &running.wait_for("| ok witness report", PATIENCE)?;
    }
    support::approve(&console)
}
