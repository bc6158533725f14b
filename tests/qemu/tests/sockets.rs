//! Channels as sockets of the system control OS, with two bare-metal guests at the other ends that use the plain SDK, or two
//! more of its kind. C6–C10.

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Gic, Machine};

use crate::support::{
    Outcome, PATIENCE, Partition, Topic, Variant, all_kinds, approve, both_gics, system,
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
                Partition::new(name, "scos")
                    .sized("64MiB")
                    .with("initrd = \"scos/root.cpio\"\ncmdline = \"run=socket-peer\"")
                    .with("handles = 64\nrequests = 4\nareas = { pages = 32, channels = 3 }")
            };
            with("cores = 1", peer, &machine)
        })
        .on_each(both_gics(1), "channels_are_sockets_on_a_shared_core", |machine| {
            with_two_guests(SHARE, &machine)
        });
}

/// One machine with three cores.
fn one_of_a_kind() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 3, "cortex-a72")]
}

fn with_two_guests(cores: &str, machine: &Machine) -> Outcome {
    let guest = |name: &str| {
        Partition::new(name, "sockets")
            .with("handles = 64\nrequests = 4\nareas = { pages = 16, channels = 2 }")
            .with("cmdline = \"scos=0\"")
    };
    with(cores, guest, machine)
}

/// Boots the system and two peers, and waits until all have ended.
fn with(cores: &str, peer: impl Fn(&str) -> Partition, machine: &Machine) -> Outcome {
    let guest = |name: &str| {
        peer(name).with("connect_to = [\"scos\"]\naccept_from = [\"scos\"]").with(cores)
    };
    let scos = Partition::new("scos", "scos")
        .sized("64MiB")
        .with("initrd = \"scos/root.cpio\"\ncmdline = \"run=sockets\"")
        .with("handles = 128\nrequests = 8\nareas = { pages = 48, channels = 8 }")
        .with("connect_to = [\"one\", \"two\"]\naccept_from = [\"one\", \"two\"]")
        .with(cores);
    let mut running = system([scos, guest("one"), guest("two")])?.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    approve(&console)?;
    if !has(&console, "init: sockets: exit status: 0") {
        return Err(running.failure(format!("the program has failed:\n{console}")).into());
    }
    Ok(())
}
