//! Every description of this repository is right for the machine that it asks for, and those of the SDK's examples do what they say.

use std::collections::HashMap;

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::{behind, written_by};
use shikiri_qemu_tests::{Gic, Machine, Overrides, System, paths, system};

use crate::lifecycle::nothing_is_used;
use crate::support::{self, Outcome, PATIENCE, Partition, Topic, Variant, both_gics};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("systems", trials);
    let files = match system::systems() {
        Ok(files) => files,
        Err(error) => {
            topic.test("the_folders_can_be_read", move || Err(error.into()));
            return;
        }
    };
    topic.on_each(both_gics(2), "somebodys_flat_binary_runs_in_place_of_linux", own_guest);
    topic.on_each(
        vec![Variant::new(Gic::V3, 2, "cortex-a72")],
        "linux_boots_again_when_it_asks_for_it",
        reboots,
    );
    let examples: [(&str, &str, &[&[&str]]); 4] = [
        ("ping_pong_says_how_fast_it_is", "ping-pong", &[PING_PONG]),
        ("pipeline_passes_each_picture_on", "pipeline", &[PIPELINE]),
        ("kv_serves_two_clients", "kv", &[KV_ONE, KV_TWO]),
        ("c_hello_says_what_it_does", "c-hello", &[C_HELLO]),
    ];
    for (sentence, name, lines) in examples {
        topic.on_each(both_gics(3), sentence, move |machine| {
            lines.iter().try_for_each(|lines| runs(name, &machine, lines))
        });
    }
    topic.on_each(both_gics(1), "kv_serves_two_clients_on_a_shared_core", |machine| {
        on_one_core("kv", &machine, &[KV_ONE, KV_TWO])
    });
    topic.on_each(both_gics(2), "a_server_that_is_stopped_fails_its_clients_call", stopped);
    topic.on_each(both_gics(2), "crash_is_reported_and_started_again_and_timer_ticks_on", crashes);
    for vcpus in [1, 4] {
        topic.on_each(
            both_gics(vcpus),
            "a_partition_starts_with_the_least_management_memory_that_check_accepts",
            move |machine| least(&machine, vcpus),
        );
    }
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if file.starts_with(paths::root().join("boards/rpi4")) {
            topic.test(&format!("{stem}_compiles [rpi4]"), move || {
                compiles(&file.to_string_lossy(), Gic::V2)
            });
            continue;
        }
        for gic in [Gic::V2, Gic::V3] {
            let file = file.clone();
            let sentence = format!("{stem}_compiles [gic{}]", gic.number());
            topic.only_on_virt("it is a description for virt", &sentence, move || {
                compiles(&file.to_string_lossy(), gic)
            });
        }
    }
}

/// What `cargo xtask run crash` shows, with what its user may type: each crash is reported, the partition ended and started again under
/// a new id, until it has done so too often; then the operator starts it. All the while its neighbour ticks on.
fn crashes(machine: Machine) -> Outcome {
    let mut running = System::find("crash")?.moved_to(machine.board())?.boot(&machine)?;
    for id in 2..=4 {
        running.wait_for(&format!("partition crash (id {id}) starts"), PATIENCE)?;
        running.wait_for("unexpected exit", PATIENCE)?;
        running.wait_for(&format!("partition crash (id {id}) has ended"), PATIENCE)?;
    }
    running.wait_for("restarted too often", PATIENCE)?;
    support::open_operator(&mut running)?;
    support::operate(&mut running, "start crash", "partition crash (id 5) has ended")?;
    running.wait_for("late by", PATIENCE)?;
    running.wait_for("timer| timer: tick", PATIENCE)?;
    let console = running.console().text();
    let ticks = written_by(&console, "timer");
    let numbers = ticks.split("timer: tick ").skip(1).map_while(|tick| tick.split_once(", late"));
    for ((number, _), expected) in numbers.zip(1_u32..) {
        if number != expected.to_string() {
            return Err(running.failure(format!("tick {number} in place of {expected}")).into());
        }
    }
    Ok(())
}

/// What `cargo xtask run ping-pong` shows.
const PING_PONG: &[&str] = &[
    "ping| an area of 2048 KiB goes to pong and back, 20000 times",
    "ping| 20000 round trips in ",
    "ping| moved 80000 MiB in all, and copied not one byte",
];

/// The same of `pipeline`: each picture comes through all three, and the ball is further to the right in each.
const PIPELINE: &[&str] = &[
    "camera| drew picture 1",
    "filter| inverted a picture",
    "display| #.........##############",
    "camera| drew picture 2",
    "filter| inverted a picture",
    "display| ######.........#########",
    "camera| drew picture 3",
    "filter| inverted a picture",
    "display| ###########.........####",
];

/// The same of one of `kv`'s clients. What is larger than a short message goes through buffers, and none is left in use.
const KV_ONE: &[&str] = &[
    "one| kv: put(\"from partition 2\", 900 letters) = Ok(false)",
    "one| kv: get(\"from partition 2\") = 900 letters, the same",
    "one| kv: 1000 of 1000 rounds of put and get were right",
    "one| kv: 8 calls at a time: 8 answers",
    "one| kv: 0 buffers are in use",
    "server| kv: nobody is left; 2 names",
];

/// And of the other.
const KV_TWO: &[&str] = &[
    "two| kv: put(\"from partition 3\", 900 letters) = Ok(false)",
    "two| kv: get(\"from partition 3\") = 900 letters, the same",
    "two| kv: 1000 of 1000 rounds of put and get were right",
    "two| kv: 8 calls at a time: 8 answers",
    "two| kv: 0 buffers are in use",
    "server| kv: nobody is left; 2 names",
];

/// What the guest in C prints, which it computes from what the calls answer.
const C_HELLO: &[&str] = &[
    "c: hello from partition 1 with 1 vCPU",
    "c: an event, sent twice: was pending 0, then 1; polled 1",
    "c: an area of 2 pages: it summed up to 0, and sums up to 523776",
    "c: memory: 512 pages in use, 514 at most so far",
    "has ended: it powered itself off",
];

/// As `cargo xtask run NAME`: the machine powers itself off, and these lines have come, those of each partition in this order. Which of
/// two partitions' lines comes first is the console's to say.
fn runs(name: &str, machine: &Machine, lines: &[&str]) -> Outcome {
    shows(&System::find(name)?.moved_to(machine.board())?, machine, lines)
}

/// The same with all partitions on core 0, of which each has a quarter.
fn on_one_core(name: &str, machine: &Machine, lines: &[&[&str]]) -> Outcome {
    let mut text = std::fs::read_to_string(System::find(name)?.file())?;
    for core in 0..3 {
        let share = "cores = [0]\nshare = { budget = \"1ms\", period = \"4ms\" }";
        text = text.replace(&format!("\ncores = [{core}]\n"), &format!("\n{share}\n"));
    }
    let text = text.replace("\ncores = 3\n", "\ncores = 1\n");
    let system = System::from_text(&text)?.moved_to(machine.board())?;
    lines.iter().try_for_each(|lines| shows(&system, machine, lines))
}

fn shows(system: &System, machine: &Machine, lines: &[&str]) -> Outcome {
    let mut running = system.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let mut rests = HashMap::new();
    for line in lines {
        let partition = line.split_once("| ").map_or("", |(name, _)| name);
        let rest = rests.entry(partition).or_insert(console.as_str());
        match behind(rest, line) {
            Some(more) => *rest = more,
            None => return Err(running.failure(format!("no {line:?} in:\n{console}")).into()),
        }
    }
    Ok(())
}

/// A server that the operator stops while a client calls without end: the call has a result, and nothing is left.
fn stopped(machine: Machine) -> Outcome {
    let server = Partition::new("server", "kv-server")
        .with("handles = 64\nrequests = 4\naccept_from = [\"one\"]")
        .with("areas = { pages = 16, channels = 4, shared = 4 }");
    let client = Partition::new("one", "kv-client")
        .with("handles = 16\nrequests = 4\nconnect_to = [\"server\"]")
        .with("areas = { pages = 4, channels = 1, shared = 1 }")
        .with("cmdline = \"server=0 rounds=1000000000\"");
    let mut running = support::system([server, client])?.boot(&machine)?;
    running.wait_for("one| kv: get(\"from partition 2\") = 900 letters, the same", PATIENCE)?;
    support::open_operator(&mut running)?;
    running.send("stop server\r")?;
    // In whichever order these come.
    let mut console = String::new();
    for line in [
        "one| kv: a call has failed: PeerGone",
        "partition one (id 2) has ended",
        "partition server (id 1) has ended",
    ] {
        if !console.contains(line) {
            console += &running.wait_for(line, PATIENCE)?;
        }
    }
    nothing_is_used(&mut running, "server")?;
    nothing_is_used(&mut running, "one")?;
    support::audit(&mut running)?;
    Ok(())
}

/// As `cargo xtask run linux`, with `reboot` typed.
fn reboots(machine: Machine) -> Outcome {
    let mut running = System::find_on(machine.board(), "linux")?.boot(&machine)?;
    running.wait_for("shikiri-linux: ready", PATIENCE)?;
    running.wait_for("# ", PATIENCE)?;
    running.send("reboot\n")?;
    running.wait_for("partition linux (id 2) starts on core", PATIENCE)?;
    running.wait_for("shikiri-linux: ready", PATIENCE)?;
    running.wait_for("# ", PATIENCE)?;
    running.send("poweroff\n")?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// As `cargo xtask run linux --kernel FILE --vcpus 2 --memory 512M`.
fn own_guest(machine: Machine) -> Outcome {
    let kernel = Some(paths::guests().join("platform.bin"));
    let changes =
        Overrides { kernel, vcpus: Some(2), memory: Some(512 << 20), ..Overrides::default() };
    let system = System::find_on(machine.board(), "linux")?.with(changes);
    support::passes(&system, &machine)?;
    Ok(())
}

/// What is needed the refusal of a limit says. With a page less it is refused by the same words, and with so much the partition runs.
fn least(machine: &Machine, vcpus: u32) -> Outcome {
    let limited = |pages: u64| {
        let limit = format!("limits = {{ management_memory = \"{}KiB\" }}", pages * 4);
        let hello = Partition::new("hello", "hello").with(&format!("cores = {vcpus}"));
        support::system([hello.with(&limit)])
    };
    let refusal = |pages: u64| -> Result<String, Failed> {
        match limited(pages)?.compile(machine) {
            Ok(_) => Err(format!("{pages} pages are accepted").into()),
            Err(error) => Ok(error.to_string()),
        }
    };
    let first = refusal(1)?;
    let needed = first.split("limit 4KiB, needed ").nth(1).and_then(|it| it.split("KiB").next());
    let needed = needed.ok_or_else(|| format!("no need in: {first}"))?.parse::<u64>()? / 4;
    let short = refusal(needed - 1)?;
    if !short.contains(&format!("limit {}KiB, needed {}KiB", (needed - 1) * 4, needed * 4)) {
        return Err(short.into());
    }
    let mut running = limited(needed)?.boot(machine)?;
    running.wait_for("hello: partition 1, start 1", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

fn compiles(file: &str, gic: Gic) -> Outcome {
    let system = System::find(file)?;
    let machine = system.machine()?.gic(gic);
    let compiled = system.compile(&machine)?;
    if compiled.bundle.is_empty() || compiled.explanation.is_empty() {
        return Err("the result is empty".into());
    }
    Ok(())
}
