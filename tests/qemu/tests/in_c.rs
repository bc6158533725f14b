//! Guests in C: the header compiles wherever it is said to, and a guest that serves a channel does so against guests in Rust. C2, C3, C4.

use std::fs;
use std::process::Command;

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Machine, System, compilers, paths};

use crate::lifecycle::nothing_is_used;
use crate::support::{self, Outcome, PATIENCE, Partition, Topic, approve, both_gics};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("in_c", trials);
    topic.test("the_header_is_c99_and_c11_and_cpp17", header);
    topic.on_each(both_gics(2), "echo_sends_back_what_a_guest_in_rust_sends", echo);
    topic.on_each(both_gics(1), "echo_sends_back_on_a_shared_core", |machine| {
        echoed(SHARE, &machine)
    });
    topic.on_each(both_gics(2), "echo_ends_when_its_peer_is_stopped", |machine| {
        stopped("", &machine)
    });
    topic.on_each(both_gics(1), "echo_on_a_shared_core_ends_when_its_peer_is_stopped", |machine| {
        stopped(SHARE, &machine)
    });
    topic.on_each(both_gics(2), "echo_frees_an_area_that_its_peer_has_no_place_for", no_place);
}

/// Two partitions that share a core.
const SHARE: &str = "share = { budget = \"1ms\", period = \"4ms\" }";

/// What is said of a header that others include: it has no warning with all that there are.
const WARNINGS: [&str; 8] = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Werror",
    "-fsyntax-only",
];

/// C by the cross compiler; C++ by one, or by that of this machine, for which the call itself is left to a test's own.
fn header() -> Outcome {
    let cross = compilers::first_of(&compilers::CROSS_C).ok_or("there is no cross compiler")?;
    let cpp = compilers::first_of(&compilers::CPP).ok_or("there is no compiler for C++")?;
    let folder = tempfile::tempdir()?;
    for (compiler, file, standards) in
        [(cross, "includes.c", ["c99", "c11"]), (cpp, "includes.cpp", ["c++11", "c++17"])]
    {
        let file = folder.path().join(file);
        // Twice: it guards itself. A call, a structure and a constant are used.
        let text = "#include \"shikiri.h\"\n#include \"shikiri.h\"\n\
                    int64_t use(const struct shikiri_arrivals *port);\n\
                    int64_t use(const struct shikiri_arrivals *port)\n{\n\
                    return shikiri_channel_send(1, 2, port->ring[3 % SHIKIRI_ARRIVALS].bytes, 4, 5, 6).status;\n}\n";
        fs::write(&file, text)?;
        for standard in standards {
            let mut compile = Command::new(compiler);
            compile.args(WARNINGS).arg(format!("-std={standard}"));
            compile.arg("-I").arg(paths::root().join("guest-sdk/c")).arg(&file);
            let output = compile.output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{compiler} -std={standard}: {said}").into());
            }
        }
    }
    Ok(())
}

/// The echo's partition.
fn echo_partition(share: &str) -> Partition {
    Partition::new("echo", "c-echo")
        .with("handles = 8\naccept_from = [\"peer\"]")
        .with("areas = { pages = 2, blocks = 2, channels = 1 }")
        .with(share)
}

/// And that of who sends to it.
fn peer(image: &str, words: &str, share: &str) -> Partition {
    Partition::new("peer", image)
        .with("handles = 16\nrequests = 1\nconnect_to = [\"echo\"]")
        .with("areas = { pages = 4, blocks = 4, channels = 1 }")
        .with(&format!("cmdline = \"{words}\""))
        .with(share)
}

/// What `cargo xtask run c-echo` shows, and then a guest that looks at each byte.
fn echo(machine: Machine) -> Outcome {
    let mut running = System::find("c-echo")?.moved_to(machine.board())?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    for line in [
        "ping| 20000 round trips in ",
        "ping| moved 80000 MiB in all, and copied not one byte",
        "echo| c: the peer has gone, after 20000 messages, 20000 of them with an area",
        "echo| c: and nothing is left of it",
    ] {
        if !console.contains(line) {
            return Err(running.failure(format!("no {line:?} in:\n{console}")).into());
        }
    }
    echoed("", &machine)
}

/// How many messages `echoed` sends in its cases, and how many of them have an area.
const SENT: [u32; 2] = [200 + 4 + (12 + 200) + 6 + 3, 4 + 6 + 2];

/// Messages and areas, one after the other, in a row, and more than there is room for; then the peer closes the channel while some are
/// under way, and the echo ends.
fn echoed(share: &str, machine: &Machine) -> Outcome {
    exchanged("", share, SENT, machine)
}

/// Four areas to a peer whose own window is for smaller ones.
fn no_place(machine: Machine) -> Outcome {
    exchanged("pages", "", [4, 4], &machine)
}

/// Runs the echo against who sends so many messages, and so many of them with an area.
fn exchanged(words: &str, share: &str, sent: [u32; 2], machine: &Machine) -> Outcome {
    let system = support::system([echo_partition(share), peer("echoed", words, share)])?;
    let mut running = system.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    approve(&console)?;
    let [messages, areas] = sent;
    let gone =
        format!("the peer has gone, after {messages} messages, {areas} of them with an area");
    for line in [gone.as_str(), "echo| c: and nothing is left of it"] {
        if !console.contains(line) {
            return Err(running.failure(format!("no {line:?} in:\n{console}")).into());
        }
    }
    Ok(())
}

/// A peer that the operator stops, whatever is under way then.
fn stopped(share: &str, machine: &Machine) -> Outcome {
    let peer = peer("ping-pong", "role=ping peer=0 rounds=1000000000", share);
    let mut running = support::system([echo_partition(share), peer])?.boot(machine)?;
    running.wait_for("peer| an area of 2048 KiB goes to pong and back", PATIENCE)?;
    support::open_operator(&mut running)?;
    running.send("stop peer\r")?;
    let mut console = String::new();
    // In whichever order these come.
    for line in [
        "partition peer (id 2) has ended",
        "echo| c: the peer has gone, after ",
        "echo| c: and nothing is left of it",
        "partition echo (id 1) has ended: it powered itself off",
    ] {
        if !console.contains(line) {
            console += &running.wait_for(line, PATIENCE)?;
        }
    }
    nothing_is_used(&mut running, "echo")?;
    nothing_is_used(&mut running, "peer")?;
    support::audit(&mut running)?;
    Ok(())
}
