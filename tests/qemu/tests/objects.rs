//! Named objects, from outside: within a partition, between several, and when one of them ends. V4, P3 (d).

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Machine, counts};

use crate::lifecycle::{nothing_is_used, wait_until_stopped};
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, approve, audit, both_gics, deadlines,
    open_operator, operator, passes, system, wait_for_end,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("objects", trials);
    topic
        .on_each(all_kinds(1), "within_a_partition", |machine| alone("", &machine))
        .on_each(both_gics(1), "within_a_partition_on_a_shared_core", |machine| {
            alone(SHARE, &machine)
        })
        .on_each(both_gics(1), "an_object_over_the_limit_is_refused_and_changes_nothing", limited)
        .also_on_rpi4()
        .on_each(all_kinds(2), "between_partitions_on_different_cores", |machine| {
            between("", &machine)
        })
        .on_each(both_gics(1), "between_partitions_on_a_shared_core", |machine| {
            between(SHARE, &machine)
        })
        .on_each(all_kinds(2), "a_holder_that_ends_releases_and_is_named", |machine| {
            holders("", &machine)
        })
        .on_each(
            both_gics(1),
            "a_holder_that_ends_on_a_shared_core_releases_and_is_named",
            |machine| holders(SHARE, &machine),
        )
        .on_each(both_gics(4), "a_poster_that_never_stops_delays_no_witness", flood)
        .on_each(both_gics(3), "openers_that_end_at_any_moment_leave_nothing", churn);
}

/// Partitions that share a core.
const SHARE: &str = "share = { budget = \"2ms\", period = \"5ms\" }";

/// A partition with the objects guest.
fn guest(name: &str, words: &str, share: &str) -> Partition {
    Partition::new(name, "objects")
        .with("handles = 16")
        .with(share)
        .with(&format!("cmdline = \"{words}\""))
}

/// An entry of the description.
fn name(text: &str, partitions: &[&str], objects: &str) -> String {
    format!("[[name]]\nname = \"{text}\"\npartitions = {partitions:?}\n{objects}")
}

/// One partition, and another that never starts and has a name of its own.
fn alone(share: &str, machine: &Machine) -> Outcome {
    let other = guest("other", "", SHARE)
        .with("autostart = false")
        .with(&name("others", &["other"], ""))
        .with(&name("solo", &["objects"], ""))
        .with(&name("log/*", &["objects", "other"], "objects = 2"));
    let share = if share.is_empty() { "cores = [0, 1]" } else { share };
    let machine = if share == SHARE { machine.clone() } else { machine.clone().cpus(3) };
    passes(&system([guest("objects", "", share), other])?, &machine)?;
    Ok(())
}

/// One that has places for more areas than its limit of management memory allows tables.
fn limited(machine: Machine) -> Outcome {
    let guest = Partition::new("objects", "objects")
        .with("handles = 128\nareas = { pages = 1, blocks = 100 }\ncmdline = \"limited\"")
        .with("limits = { management_memory = \"320KiB\" }")
        .with(&name("solo", &["objects"], ""))
        .with(&name("log/*", &["objects"], ""));
    passes(&system([guest])?, &machine)?;
    Ok(())
}

/// Two partitions with names for both.
fn between(share: &str, machine: &Machine) -> Outcome {
    let mut right = guest("right", "role=right", share);
    for shared in ["event", "lock", "inside", "to-left", "to-right"] {
        right = right.with(&name(shared, &["left", "right"], ""));
    }
    let mut running = system([guest("left", "role=left", share), right])?.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    approve(&console)?;
    if has(&console, "right| ok right") {
        return Ok(());
    }
    Err(running.failure("the right one has not said that it is right".to_owned()).into())
}

/// The holder ends and starts again, as often as the waiter wants.
fn holders(share: &str, machine: &Machine) -> Outcome {
    let holder = guest("holder", "role=holder", share).with("restart = \"always\"");
    let mut waiter = guest("waiter", "role=waiter rounds=6", share);
    for shared in ["turn", "lock", "who"] {
        waiter = waiter.with(&name(shared, &["holder", "waiter"], ""));
    }
    let mut running = system([holder, waiter])?.boot(machine)?;
    let console = wait_for_end(&mut running, "waiter", 2)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "waiter")?;
    operator(&mut running, "stop holder")?;
    wait_until_stopped(&mut running, "holder")?;
    nothing_is_used(&mut running, "holder")?;
    audit(&mut running)?;
    Ok(())
}

/// By counted instructions, since the limit is one: a witness with a core of its own does not notice that a neighbour is posted
/// to without end, and the neighbour itself goes on.
fn flood(machine: Machine) -> Outcome {
    let witness = Partition::new("witness", "witness")
        .with("cmdline = \"reports=3 report_ms=20 limit_us=500\"")
        .with(&name("flood", &["flood", "flooded"], ""))
        .with(&name("enough", &["flood", "flooded"], ""));
    let (flood, flooded) = (guest("flood", "role=flood", ""), guest("flooded", "role=flooded", ""));
    let partitions = [flood, flooded, witness, deadlines()];
    passes(&system(partitions)?, &machine.icount())?;
    Ok(())
}

/// Three open the same names, hold, wait, and end at random moments, again and again.
fn churn(machine: Machine) -> Outcome {
    let names = ["one", "two", "three"];
    let mut partitions =
        names.map(|name| guest(name, "role=churn", "").with("restart = \"always\"")).into_iter();
    let (Some(one), Some(two), Some(three)) =
        (partitions.next(), partitions.next(), partitions.next())
    else {
        return Err("three partitions".into());
    };
    let three = three.with(&name("any/*", &names, "objects = 2")).with(&name("solo", &names, ""));
    let mut running = system([one, two, three])?.boot(&machine)?;
    for name in names {
        for _ in 0..counts::RESTARTS.now().div_ceil(8) {
            running.wait_for(&format!("{name}| churn"), PATIENCE)?;
        }
    }
    open_operator(&mut running)?;
    for name in names {
        operator(&mut running, &format!("stop {name}"))?;
        wait_until_stopped(&mut running, name)?;
        nothing_is_used(&mut running, name)?;
    }
    audit(&mut running)?;
    Ok(())
}
