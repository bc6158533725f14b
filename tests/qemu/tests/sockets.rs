//! Channels as sockets of the system control OS, with two bare-metal guests at the other ends that use the plain SDK. C6–C10.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::support::{Outcome, PATIENCE, Partition, Topic, all_kinds, approve, both_gics, system};

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
        .on_each(both_gics(1), "channels_are_sockets_on_a_shared_core", |machine| {
            with_two_guests(SHARE, &machine)
        });
}

fn with_two_guests(cores: &str, machine: &Machine) -> Outcome {
    let guest = |name: &str| {
        Partition::new(name, "sockets")
            .with("handles = 64\nrequests = 4\nareas = { pages = 16, channels = 2 }")
            .with("connect_to = [\"scos\"]\naccept_from = [\"scos\"]")
            .with("cmdline = \"scos=0\"")
            .with(cores)
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
    if !console.contains("init: sockets: exit status: 0") {
        return Err(running.failure(format!("the program has failed:\n{console}")).into());
    }
    Ok(())
}
