//! Handles that have lost rights, from outside: what needs a right that is gone is refused, what needs another goes on, the peer notices
//! what is used and nothing else, and an end takes all. Design §8; C1, C2, C5, V4, P9.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::lifecycle::{nothing_is_used, wait_until_stopped};
use crate::support::{
    Outcome, Partition, Topic, all_kinds, approve, audit, both_gics, open_operator, operator,
    system, wait_for_end,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("rights", trials);
    topic
        .on_each(all_kinds(2), "what_was_given_up_is_refused_and_the_rest_goes_on", |machine| {
            of_each_kind("", &machine)
        })
        .on_each(
            both_gics(1),
            "what_was_given_up_on_a_shared_core_is_refused_and_the_rest_goes_on",
            |machine| of_each_kind(SHARE, &machine),
        )
        .on_each(both_gics(2), "what_the_description_connects_is_connected_again", |machine| {
            connected_again("", &machine)
        })
        .on_each(
            both_gics(1),
            "what_the_description_connects_on_a_shared_core_is_connected_again",
            |machine| connected_again(SHARE, &machine),
        );
}

/// Two partitions that share a core.
const SHARE: &str = "share = { budget = \"2ms\", period = \"5ms\" }";

/// A handle of each kind, and a peer that has the other end of each.
fn of_each_kind(share: &str, machine: &Machine) -> Outcome {
    let partition = |name: &str, other: &str, words: &str| {
        Partition::new(name, "rights")
            .with("handles = 48\nrequests = 4")
            .with("areas = { pages = 24, channels = 2, shared = 3 }")
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} {words}\""))
            .with(share)
    };
    let holder = partition("holder", "peer", "peer=1");
    let mut peer = partition("peer", "holder", "holder=0");
    for name in ["log", "turn"] {
        peer =
            peer.with(&format!("[[name]]\nname = \"{name}\"\npartitions = [\"holder\", \"peer\"]"));
    }
    let mut running = system([holder, peer])?.boot(machine)?;
    let console = wait_for_end(&mut running, "holder", 1)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "holder")?;
    operator(&mut running, "stop peer")?;
    wait_until_stopped(&mut running, "peer")?;
    nothing_is_used(&mut running, "peer")?;
    audit(&mut running)?;
    Ok(())
}

/// The description's events, whose ports the caller has sealed: the one who answers ends after twenty, and starts again.
fn connected_again(share: &str, machine: &Machine) -> Outcome {
    let caller = Partition::new("caller", "peers")
        .with("cmdline = \"role=calls spi=41 rounds=70 sealed\"")
        .with(share);
    let echo = Partition::new("echo", "peers")
        .with("cmdline = \"role=echo spi=40\"\nrestart = \"always\"")
        .with(share)
        .with("[[event]]\nname = \"call\"\nfrom = \"caller\"\nto = \"echo\"\nspi = 40")
        .with("[[event]]\nname = \"echo\"\nfrom = \"echo\"\nto = \"caller\"\nspi = 41");
    let mut running = system([caller, echo])?.boot(machine)?;
    let console = wait_for_end(&mut running, "caller", 1)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "caller")?;
    audit(&mut running)?;
    Ok(())
}
