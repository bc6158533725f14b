//! The harness and the guests on the bare machine at EL1, with no hypervisor: what a guest finds there
//! is the measure for what it must find in a partition.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Machine, Running, paths};

use crate::support::{self, Outcome, PATIENCE, Topic, all_kinds};

/// The test guests whose cases hold on a bare machine as well.
const GUESTS: [&str; 3] = ["irq", "psci", "timers"];

/// Why none of this is the Pi's.
const NO_EL1: &str = "QEMU's always enters at EL2, and a guest finds other devices there";

/// Why what looks at the harness itself is not.
const OF_THE_HARNESS: &str = "it is about the harness, which is the same";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("native", trials);
    topic
        .not_on_rpi4(NO_EL1)
        .on_each(all_kinds(1), "hello_says_hello_and_powers_off", hello)
        .not_on_rpi4(NO_EL1)
        .on_each(all_kinds(4), "every_core_reports", every_core_reports)
        .only_on_virt(OF_THE_HARNESS, "a_text_that_never_comes_is_reported", || {
            never(Machine::new())
        })
        .only_on_virt(OF_THE_HARNESS, "counted_runs_are_the_same_each_time", || {
            same_each_time(&Machine::new().icount())
        });
    for guest in GUESTS {
        topic.not_on_rpi4(NO_EL1).on_each(
            all_kinds(4),
            &format!("{guest}_passes"),
            move |machine| support::approve(&bare(&machine, guest)?.wait_for_power_off(PATIENCE)?),
        );
    }
}

fn bare(machine: &Machine, guest: &str) -> Result<Running, Failed> {
    Ok(Running::bare(machine, paths::guests().join(format!("{guest}.bin")), None)?)
}

fn hello(machine: Machine) -> Outcome {
    let mut running = bare(&machine, "hello")?;
    running.wait_for("hello: 1 vCPU", PATIENCE)?;
    running.wait_for("hello: no hypervisor below", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

fn every_core_reports(machine: Machine) -> Outcome {
    let mut running = bare(&machine, "smp")?;
    let console = running.wait_for_power_off(PATIENCE)?;
    for core in 0..machine.cpu_count() {
        if !console.contains(&format!("vCPU {core}")) {
            return Err(running.failure(format!("core {core} did not report")).into());
        }
    }
    Ok(())
}

/// The harness's own failure: it must come, in time, with the console in it.
fn never(machine: Machine) -> Outcome {
    let mut running = bare(&machine, "spin")?;
    running.wait_for("spin", PATIENCE)?;
    let failure = match running.wait_for("no such text", Duration::from_millis(200)) {
        Ok(found) => return Err(format!("found in {found:?}").into()),
        Err(failure) => failure.to_string(),
    };
    let is_complete = failure.contains("no such text") && failure.contains("  | spin");
    if is_complete { Ok(()) } else { Err(failure.into()) }
}

fn same_each_time(machine: &Machine) -> Outcome {
    let run =
        || -> Result<String, Failed> { Ok(bare(machine, "smp")?.wait_for_power_off(PATIENCE)?) };
    let (first, second) = (run()?, run()?);
    if first == second {
        Ok(())
    } else {
        Err(format!("{first}\n--- and then ---\n{second}").into())
    }
}
