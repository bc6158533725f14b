//! A guest that tries everything; a witness beside it must not notice. V2, and design's "no guest can
//! stop the hypervisor". It talks with another of its kind, which ends and starts again, and to the witness, which does not hear
//! it: its calls hit ports that are connected, areas in use, and objects that others have open (C1 to C5, V4, P9).

use std::time::Duration;

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::{has, written_by};
use shikiri_qemu_tests::{Machine, Running, counts};

use crate::lifecycle::wait_until_stopped;
use crate::support::{
    self, Outcome, PATIENCE, Partition, Topic, all_kinds, both_gics, open_operator, operator,
    system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("hostile", trials);
    topic
        .also_on_rpi4()
        .on_each(all_kinds(4), "a_hostile_guest_stops_nobody", stops_nobody)
        .on_each(both_gics(4), "a_hostile_guest_on_cores_of_its_own_is_not_noticed", not_noticed)
        .on_each(both_gics(1), "a_hostile_guest_delays_others_by_its_budget_at_most", on_one_core);
}

/// What the hostile guest has with the witness, which never looks at it: it may leave it, and nothing else. And what it has with
/// its peer, until either closes it.
const TALK: &str = r#"
[[shared]]
name = "page"
size = "4K"
partitions = ["hostile", "witness"]

[[shared]]
name = "block"
size = "12K"
partitions = ["witness"]
readers = ["hostile"]

[[shared]]
name = "board"
size = "4K"
partitions = ["hostile", "peer"]

[[event]]
name = "there"
from = "hostile"
to = "peer"
spi = 40

[[event]]
name = "back"
from = "peer"
to = "hostile"
spi = 40

[[event]]
name = "unheard"
from = "hostile"
to = "witness"
spi = 40

[[channel]]
name = "talk"
ends = [
    { partition = "hostile", slots = 2, spi = 41 },
    { partition = "peer", slots = 2, spi = 41 },
]

[[channel]]
name = "unheard"
ends = [
    { partition = "hostile", slots = 1, spi = 42 },
    { partition = "witness", slots = 1, spi = 42 },
]

[[name]]
name = "open/*"
partitions = ["hostile", "peer"]
objects = 3
"#;

/// A hostile guest, with these places for what it talks by.
fn attacker(name: &str, [other, number]: [&str; 2], words: &str, cores: &str) -> Partition {
    Partition::new(name, "hostile")
        .with(cores)
        .with("handles = 160\nrequests = 4")
        .with(&format!("connect_to = [\"{other}\", \"witness\"]\naccept_from = [\"{other}\"]"))
        .with("areas = { pages = 64, blocks = 16, giants = 1, channels = 10, shared = 12 }")
        .with(&format!("cmdline = \"peer={number} {words}\""))
}

/// The attacks, from this run's seed, on two vCPUs; and the peer's, which ends and starts again meanwhile.
fn hostile(steps: u64, words: &str, [cores, peers]: [&str; 2]) -> [Partition; 2] {
    let seed = counts::seed();
    let words = format!("{words} seed={seed} steps={steps}");
    let hostile = attacker("hostile", ["peer", "2"], &words, cores);
    let words = format!("brief seed={} steps={}", seed.rotate_left(32), steps / 2);
    let peer = attacker("peer", ["hostile", "0"], &words, peers).with("restart = \"always\"");
    [hostile, peer]
}

/// The machine's cores are threads of the host, and the hypervisor's cores really race. How late the witness is says
/// more about the host than about the hypervisor; that it goes on is what counts.
fn stops_nobody(machine: Machine) -> Outcome {
    let patience = if counts::is_soak() { PATIENCE * 60 } else { PATIENCE * 2 };
    let hostile = hostile(counts::hostile_steps(), "all", ["cores = 2", "cores = 1"]);
    survives(&machine, hostile, Partition::new("witness", "witness"), ("", 1, patience))
}

/// By counted instructions: no tick of the witness is later than 500 us, most of which is the emulator's turns between
/// the cores: one runs until the next deadline when another's turn ends in the middle of its interrupt (320 us were seen).
fn not_noticed(machine: Machine) -> Outcome {
    let hostile = hostile(counts::HOSTILE_STEPS.short / 2, "all", ["cores = 2", "cores = 1"]);
    let witness = Partition::new("witness", "witness");
    survives(&machine.icount(), hostile, witness, ("limit_us=500", 1, PATIENCE * 2))
}

/// On the witness's core two hostile vCPUs and the peer's have 4 ms of every 10 ms together: more than that, and what the longest
/// exit takes, they cannot delay it.
fn on_one_core(machine: Machine) -> Outcome {
    let share =
        |budget| format!("cores = [0]\nshare = {{ budget = \"{budget}us\", period = \"10ms\" }}");
    let cores = format!("vcpus = 2\n{}", share(1500));
    let hostile = hostile(counts::HOSTILE_STEPS.short / 4, "shared", [&cores, &share(1000)]);
    let witness = Partition::new("witness", "witness").with(&share(5000));
    survives(&machine.icount(), hostile, witness, ("limit_us=4100", 0, PATIENCE * 2))
}

/// The hostile guest comes to its end, the witness goes on after it, and the books agree.
fn survives(
    machine: &Machine,
    [hostile, peer]: [Partition; 2],
    witness: Partition,
    (words, least, patience): (&str, u64, Duration),
) -> Outcome {
    // It is asked, and never answers.
    let witness = witness.with("handles = 16\naccept_from = [\"hostile\", \"peer\"]");
    let witness = witness.with("areas = { pages = 4, blocks = 1, channels = 1, shared = 2 }");
    let witness = witness.with(&format!("cmdline = \"reports=0 report_ms=200 {words}\""));
    let mut running = system([hostile, witness, peer.with(TALK)])?.boot(machine)?;
    // However it ends, so that nobody waits for the last word of one that has faulted.
    let mut console = running.wait_for("partition hostile (id 1) has ended: ", patience)?;
    support::approve(&console)?;
    // Its last line may come behind the word of its end.
    if !has(&console, "hostile: exceptions ") {
        console += &running.wait_for("hostile: exceptions ", PATIENCE)?;
    }
    hits_what_is_there(&running, &console, least)?;
    every_class_happens(&running, &console)?;
    // Two: the first may have been under way.
    for _ in 0..2 {
        console += &running.wait_for("| ok witness report", PATIENCE)?;
    }
    support::approve(&console)?;
    // From here on the witness is late by the operator's doing, whose audits take a core each time: only that it goes on counts.
    // The peer is stopped, since no audit is whole while it is being built again.
    open_operator(&mut running)?;
    operator(&mut running, "stop peer")?;
    wait_until_stopped(&mut running, "peer")?;
    support::audit(&mut running)?;
    running.wait_for("witness| witness: report", PATIENCE)?;
    Ok(())
}

/// Every call by which partitions talk has succeeded so often at least, and of those that the guest has aimed a tenth: half of a short
/// run, and a fifth of a long one, in which more and more is closed. A guest that is refused everything would show nothing.
fn hits_what_is_there(running: &Running, console: &str, least: u64) -> Outcome {
    let number = |text: &str| text.trim().parse().unwrap_or(0_u64);
    let text = written_by(console, "hostile");
    let rows = text.split("hostile: live ").skip(1);
    let counts: Vec<(&str, u64)> = rows
        .filter_map(|row| row.split("hostile: ").next()?.trim_end().rsplit_once(' '))
        .map(|(name, count)| (name, number(count)))
        .collect();
    if let Some((name, count)) = counts.iter().find(|(_, count)| *count < least) {
        return Err(running.failure(format!("{name} succeeded {count} times")).into());
    }
    // Behind a row for each call.
    let sum = counts.iter().find_map(|(words, made)| {
        let live = words.strip_prefix("calls ")?.strip_suffix(" of")?;
        Some((number(live), *made))
    });
    match sum {
        Some((live, made)) if counts.len() > 40 && live >= made / 10 => Ok(()),
        other => Err(running.failure(format!("{} rows, {other:?} calls", counts.len())).into()),
    }
}

/// Each class of exception that the guest knows has happened at least once. They take turns: it is no matter of luck.
fn every_class_happens(running: &Running, console: &str) -> Outcome {
    let text = written_by(console, "hostile");
    let rows = text.split("hostile: class ").skip(1);
    let rows = rows.filter_map(|row| row.split("hostile: ").next()?.trim_end().rsplit_once(' '));
    let counts: Vec<(&str, u64)> =
        rows.map(|(name, count)| (name, count.trim().parse().unwrap_or(0))).collect();
    let never: Vec<&str> =
        counts.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
    // So many are in the guest's table.
    let is_whole = text.contains(&format!("hostile: classes {}", counts.len()));
    if never.is_empty() && is_whole && counts.len() >= 60 {
        return Ok(());
    }
    Err(running.failure(format!("of {} classes never happened: {never:?}", counts.len())).into())
}
