//! Channels as sockets of the system control OS, with two bare-metal guests at the other ends that use the plain SDK, or two
//! more of its kind. C6–C10.

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Gic, Machine, System};

use crate::support::{
    Outcome, PATIENCE, Partition, Topic, Variant, all_kinds, approve, both_gics, control_os, system,
};

/// A core that all share.
const SHARE: &str = "share = { budget = \"2ms\", period = \"7ms\" }";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("sockets", trials);
    topic
        .also_on_rpi4()
        .on_each(all_kinds(3), "channels_of_two_guests_are_sockets_in_all_forms", |machine| {
            with_two_guests("cores = 1", &machine)
        })
        .on_each(one_of_a_kind(), "both_sides_can_have_sockets", |machine| {
            let peer = |name: &str| {
                control_os(name).with("cmdline = \"run=socket-peer\"").with(
                    "handles = 64\nrequests = 4\nareas = { pages = 32, blocks = 6, channels = 3 }",
                )
            };
            with("cores = 1", "sockets,peers", peer, &machine)
        })
        .on_each(one_of_a_kind(), "a_shell_of_one_system_asks_a_service_of_another", pair)
        .on_each(both_gics(1), "channels_are_sockets_on_a_shared_core", |machine| {
            with_two_guests(SHARE, &machine)
        });
}

/// The example for guests that want sockets: `cargo xtask run scos-pair`. The server's end is told, and the next client served.
fn pair(machine: Machine) -> Outcome {
    let mut running = System::find("scos-pair")?.boot(&machine)?;
    let both = ["server| socket-echo: listens for service 7", "client| shikiri:/# "];
    running.wait_for_all(&both, PATIENCE)?;
    for (line, answer) in [
        ("socket-ask server 7 hello", "client| iello"),
        ("socket-ask server 8 hello", "server, service 8: Permission denied"),
        ("socket-ask nobody 7 hello", "nobody, service 7: "),
        ("socket-ask server 7 again", "client| bgain"),
    ] {
        running.send(&format!("{line}\n"))?;
        running.wait_for(answer, PATIENCE)?;
        running.wait_for("client| shikiri:/# ", PATIENCE)?;
    }
    Ok(())
}

/// One machine with three cores.
fn one_of_a_kind() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 3, "cortex-a72")]
}

fn with_two_guests(cores: &str, machine: &Machine) -> Outcome {
    let guest = |name: &str| {
        Partition::new(name, "sockets")
            .with("handles = 64\nrequests = 4\nareas = { pages = 16, blocks = 4, channels = 2 }")
            .with("cmdline = \"scos=0\"")
    };
    with(cores, "sockets", guest, machine)
}

/// Boots the system and two peers, and waits until all have ended.
fn with(
    cores: &str,
    program: &str,
    peer: impl Fn(&str) -> Partition,
    machine: &Machine,
) -> Outcome {
    let guest = |name: &str| {
        peer(name).with("connect_to = [\"scos\"]\naccept_from = [\"scos\"]").with(cores)
    };
    let scos = control_os("scos")
        .with(&format!("cmdline = \"run={program}\""))
        .with("handles = 128\nrequests = 8\nareas = { pages = 48, blocks = 6, channels = 8 }")
        .with("connect_to = [\"one\", \"two\"]\naccept_from = [\"one\", \"two\"]")
        .with(cores);
    let mut running = system([scos, guest("one"), guest("two")])?.boot(machine)?;
    // It waits for its console among all others.
    for _ in 0..2 {
        running.wait_for("type two lines", PATIENCE)?;
        running.send("typed\nagain\n")?;
    }
    let console = running.wait_for_power_off(PATIENCE)?;
    approve(&console)?;
    if !has(&console, "init: sockets: exit status: 0") {
        return Err(running.failure(format!("the program has failed:\n{console}")).into());
    }
    Ok(())
}
