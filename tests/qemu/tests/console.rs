//! The consoles of several partitions on one UART. V1, and the issue's bullet on the console.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::support::{Outcome, PATIENCE, Partition, Topic, both_gics, system};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("console", trials);
    topic
        .on_each(both_gics(2), "each_line_carries_its_partitions_name", names)
        .on_each(both_gics(2), "the_prefix_key_switches_the_focus_and_shows_it", focus)
        .on_each(both_gics(2), "the_operator_console_lists_and_explains", operator);
}

/// Two guests that go on: ticking and spinning.
fn two(machine: &Machine) -> Result<shikiri_qemu_tests::Running, libtest_mimic::Failed> {
    let timer = Partition::new("left", "timer").with("cmdline = \"ticks=1000000\"");
    let spin = Partition::new("right", "spin");
    Ok(system([timer, spin])?.boot(machine)?)
}

fn names(machine: Machine) -> Outcome {
    let hello = || Partition::new("one", "hello");
    let smp = || Partition::new("other", "smp");
    let mut running = system([hello(), smp()])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    for line in ["one| hello: 1 vCPU", "other| smp: "] {
        if !console.contains(line) {
            return Err(running.failure(format!("no line starts {line:?}")).into());
        }
    }
    // No line carries the text of both.
    let mixed = console.lines().find(|line| line.contains("hello:") && line.contains("smp:"));
    match mixed {
        Some(line) => Err(running.failure(format!("two partitions in one line: {line}")).into()),
        None => Ok(()),
    }
}

fn focus(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    running.send("\u{1}2")?;
    running.wait_for("[focus: right]", PATIENCE)?;
    running.send("\u{1}1")?;
    running.wait_for("[focus: left]", PATIENCE)?;
    running.send("\u{1}n")?;
    running.wait_for("[focus: right]", PATIENCE)?;
    running.send("\u{1}9")?;
    running.wait_for("[there is no console 9]", PATIENCE)?;
    Ok(())
}

fn operator(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    running.send("\u{1}c")?;
    running.wait_for("[focus: operator console]", PATIENCE)?;
    running.send("list\r")?;
    running.wait_for("left", PATIENCE)?;
    running.wait_for("active", PATIENCE)?;
    running.wait_for("right", PATIENCE)?;
    running.send("accounts left\r")?;
    running.wait_for("high water", PATIENCE)?;
    running.send("lits\r")?;
    running.wait_for("did you mean 'list'?", PATIENCE)?;
    running.send("stop middle\r")?;
    running.wait_for("no partition 'middle'", PATIENCE)?;
    running.send("log\r")?;
    running.wait_for("[11]", PATIENCE)?;
    running.send("off\r")?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}
