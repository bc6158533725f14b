//! The policy program: what it can see and do, and that nobody else can (P7).

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Machine, Running, System};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, both_gics};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("policy", trials);
    topic.also_on_rpi4().on_each(
        both_gics(3),
        "partitions_of_the_description_are_seen_limited_started_and_ended",
        calls,
    );
    topic.on_each(both_gics(2), "who_has_no_capability_is_refused_whatever_it_asks", stranger);
    topic.on_each(both_gics(2), "a_paused_partition_stands_still_and_goes_on", pauses);
    topic.on_each(
        both_gics(3),
        "a_policy_partition_that_restarts_finds_the_machine_as_it_is",
        restarts,
    );
}

/// A partition with the test's policy program, and a table that says so.
fn policy(words: &str, lines: &str) -> Partition {
    Partition::new("scos", "policy")
        .with("cores = [0]\nhandles = 16")
        .with(&format!("cmdline = \"{words}\""))
        .with(&format!("[policy]\npartition = \"scos\"\n{lines}"))
}

/// A partition that the policy program starts; all of them share a core.
fn sleeper(name: &str, image: &str, words: &str) -> Partition {
    Partition::new(name, image)
        .with(&format!("cmdline = \"{words}\""))
        .with("cores = [1]\nshare = { budget = \"2ms\", period = \"10ms\" }\nautostart = false")
}

/// What the calls on partitions of the description are tried with. The holder's tables come last, since its `[policy]` ends
/// what belongs to a partition.
fn described(words: &str) -> Result<System, Failed> {
    let busy = sleeper("busy", "crash", "crash=loop").with("limits = { memory = \"8MiB\" }");
    let code = sleeper("code", "crash", "crash=end code=42");
    let fault = sleeper("fault", "crash", "crash=vectors");
    let again = sleeper("again", "crash", "crash=off")
        .with("restart = { policy = \"always\", delay = \"60s\" }");
    let holder = policy(words, "handout = { memory = \"400KiB\" }");
    support::system([holder, busy, code, fault, again])
}

fn calls(machine: Machine) -> Outcome {
    let system = described("")?;
    support::passes(&system, &machine)?;
    Ok(())
}

fn restarts(machine: Machine) -> Outcome {
    let console = support::passes(&described("restarts")?, &machine)?;
    let both = ["what_happens_before_the_restart", "its_successor_finds_the_machine_as_it_is"];
    match both.into_iter().find(|name| !console.contains(&format!("ok {name}"))) {
        None => Ok(()),
        Some(name) => Err(format!("no case {name}").into()),
    }
}

fn stranger(machine: Machine) -> Outcome {
    let stranger = Partition::new("stranger", "policy").with("cmdline = \"stranger\"");
    let holder = Partition::new("scos", "hello").with("[policy]\npartition = \"scos\"");
    support::passes(&support::system([stranger, holder])?, &machine)?;
    // Where nobody has it, nobody has it.
    support::passes(&support::one_guest("policy", "stranger", 1)?, &machine)?;
    Ok(())
}

fn pauses(machine: Machine) -> Outcome {
    let ticks = sleeper("timer", "timer", "ticks=1000000");
    let system = support::system([policy("pauses", ""), ticks])?;
    let mut running = system.boot(&machine)?;
    for _ in 0..3 {
        let before = running.wait_for("scos| paused", PATIENCE)?;
        ticked(&running, &before, "before")?;
        let between = running.wait_for("scos| resumed", PATIENCE)?;
        if between.contains("timer: tick") {
            return Err(running.failure("it ticks while it is paused".to_owned()).into());
        }
    }
    let console = running.wait_for_power_off(PATIENCE)?;
    support::approve(&console)
}

fn ticked(running: &Running, console: &str, when: &str) -> Outcome {
    if console.contains("timer: tick") {
        return Ok(());
    }
    Err(running.failure(format!("it does not tick {when}")).into())
}
