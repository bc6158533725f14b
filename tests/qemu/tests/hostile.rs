//! A guest that tries everything; a witness beside it must not notice. V2, and design's "no guest can
//! stop the hypervisor".

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Machine, counts};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, all_kinds, system};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("hostile", trials);
    topic.on_each(all_kinds(3), "a_hostile_guest_stops_nobody", hostile);
}

fn hostile(machine: Machine) -> Outcome {
    let (seed, steps) = (counts::seed(), counts::HOSTILE_STEPS.now());
    let hostile = Partition::new("hostile", "hostile")
        .with("cores = 2")
        .with(&format!("cmdline = \"seed={seed} steps={steps}\""));
    let witness = Partition::new("witness", "witness");
    let mut running = system([hostile, witness])?.boot(&machine)?;
    let patience = if counts::is_soak() { PATIENCE * 60 } else { PATIENCE * 2 };
    let console = running.wait_for_power_off(patience)?;
    for name in ["hostile| done", "witness| done"] {
        if !console.contains(name) {
            return Err(running.failure(format!("{name:?} is missing")).into());
        }
    }
    support::approve(&console)
}
