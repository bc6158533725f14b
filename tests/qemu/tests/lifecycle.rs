//! Partitions end, are reported, start again, and leave nothing behind. P1, P3, P5.

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Machine, Running, counts};

use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, both_gics, open_operator, operator, system,
};

/// The crashes that the hypervisor has to report, with a word of the report.
const REPORTED: [(&str, &str); 2] = [("vectors", "unexpected exit"), ("tables", "unexpected exit")];

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("lifecycle", trials);
    topic
        .on_each(all_kinds(2), "a_partition_ends_with_its_code", ends_with_code)
        .on_each(both_gics(2), "the_operator_stops_and_starts_a_partition", stop_and_start)
        .on_each(both_gics(2), "after_its_end_the_account_is_zero", zero_account)
        .on_each(all_kinds(2), "many_restarts_leave_nothing_and_disturb_nobody", restarts);
    for (kind, word) in REPORTED {
        topic.on_each(both_gics(2), &format!("crash_{kind}_is_reported"), move |machine| {
            reported(&machine, kind, word)
        });
    }
}

/// A guest that crashes, beside one that prints ticks.
fn crash_and_timer(machine: &Machine, kind: &str, restart: &str) -> Result<Running, Failed> {
    let crash =
        Partition::new("crash", "crash").with(&format!("cmdline = \"crash={kind}\"")).with(restart);
    let timer = Partition::new("timer", "timer").with("cmdline = \"ticks=1000000\"");
    Ok(system([crash, timer])?.boot(machine)?)
}

fn ends_with_code(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "end code=42", "")?;
    running.wait_for("ended itself with code 42", PATIENCE)?;
    // The neighbour goes on.
    running.wait_for("timer| ", PATIENCE)?;
    Ok(())
}

fn stop_and_start(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "loop", "")?;
    running.wait_for("crash: loop", PATIENCE)?;
    open_operator(&mut running)?;
    operator(&mut running, "stop crash")?;
    running.wait_for("stopped by the operator", PATIENCE)?;
    operator(&mut running, "start crash")?;
    running.wait_for("crash: loop", PATIENCE)?;
    Ok(())
}

fn zero_account(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "end", "")?;
    running.wait_for("ended itself with code 7", PATIENCE)?;
    open_operator(&mut running)?;
    let answer = operator(&mut running, "accounts crash")?;
    check_zero(&answer).map_err(|what| running.failure(what).into())
}

/// Every line of an account says that nothing is used.
fn check_zero(answer: &str) -> Result<(), String> {
    let mut lines = 0;
    for line in answer.lines() {
        let Some((name, numbers)) = line.trim().split_once("  ") else { continue };
        let Some(used) = numbers.split_whitespace().next() else { continue };
        if used == "used" {
            continue;
        }
        if used.starts_with(|c: char| c.is_ascii_digit()) {
            lines += 1;
            if used != "0" {
                return Err(format!("after the end {used} of {name} is still used"));
            }
        }
    }
    if lines < 5 { Err(format!("the account shows only {lines} lines")) } else { Ok(()) }
}

fn restarts(machine: Machine) -> Outcome {
    let wanted = counts::RESTARTS.now();
    let mut running = crash_and_timer(&machine, "end", "restart = \"always\"")?;
    for _ in 0..wanted {
        running.wait_for("crash: end", PATIENCE)?;
    }
    running.wait_for("timer| ", PATIENCE)?;
    open_operator(&mut running)?;
    operator(&mut running, "stop crash")?;
    wait_until_stopped(&mut running, "crash")?;
    let answer = operator(&mut running, "accounts crash")?;
    check_zero(&answer).map_err(|what| running.failure(what).into())
}

/// Asks the operator console for the list until the partition is neither alive nor about to start.
fn wait_until_stopped(running: &mut Running, name: &str) -> Outcome {
    for _ in 0..1000 {
        let answer = operator(running, "list")?;
        let row = answer.lines().find(|line| line.trim().starts_with(name)).unwrap_or_default();
        if ["stopped", "ended", "fault"].iter().any(|state| row.contains(state)) {
            return Ok(());
        }
    }
    Err(running.failure(format!("{name} does not stop")).into())
}

fn reported(machine: &Machine, kind: &str, word: &str) -> Outcome {
    let mut running = crash_and_timer(machine, kind, "")?;
    running.wait_for(word, PATIENCE)?;
    running.wait_for("timer| ", PATIENCE)?;
    Ok(())
}
