//! The buffer pool of a shared area (B1), from outside: taken and given back by two partitions, exhausted, filled at once or at the first
//! use, spoilt by one of them, and left by one that ends.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::lifecycle::nothing_is_used;
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, approve, audit, both_gics, open_operator, system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("pools", trials);
    topic
        .on_each(both_gics(4), "buffers_are_shared_between_cores", |machine| {
            passes(["cores = 2", "cores = 2"], "", "", &machine)
        })
        .on_each(both_gics(1), "buffers_are_shared_on_a_shared_core", |machine| {
            passes(["vcpus = 2", "vcpus = 2"], "", SHARE, &machine)
        })
        .on_each(both_gics(2), "a_peer_that_ends_with_buffers_leaves_the_pool_usable", |machine| {
            passes(["restart = \"always\"", ""], "ends", "", &machine)
        })
        .on_each(
            both_gics(1),
            "a_peer_that_ends_with_buffers_on_a_shared_core_leaves_the_pool_usable",
            |machine| passes(["restart = \"always\"", ""], "ends", SHARE, &machine),
        );
}

/// What each vCPU of one core has of it.
const SHARE: &str = "share = { budget = \"2ms\", period = \"10ms\" }";

/// Boots an owner and a user, waits for the user's end, and looks that nothing is left of it and that the books agree.
fn passes(lines: [&str; 2], words: &str, share: &str, machine: &Machine) -> Outcome {
    let partition = |name: &str, other: &str, words: &str| {
        Partition::new(name, "pool")
            .with("handles = 32\nrequests = 4")
            .with("areas = { pages = 16, blocks = 4, channels = 2, shared = 4 }")
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} {words}\""))
            .with(share)
    };
    let owner = partition("owner", "user", words).with(lines[0]);
    let user = partition("user", "owner", &format!("owner=0 {words}")).with(lines[1]);
    let mut running = system([owner, user])?.boot(machine)?;
    let ended = "partition user (id 2) has ended";
    let console = running.wait_for_all(&["user| done", ended], PATIENCE * 3)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "user")?;
    audit(&mut running)?;
    Ok(())
}
