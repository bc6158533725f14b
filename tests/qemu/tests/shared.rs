//! Shared memory areas, from outside: two partitions that see each other's words, one that may only read, and what happens to accesses
//! when either of them leaves or ends; a second user who goes on meanwhile; areas that the description makes. C5, V7, P3 (b, c, d), P9.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::lifecycle::{nothing_is_used, wait_until_stopped};
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, approve, audit, both_gics, open_operator,
    operator, system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("shared", trials);
    topic
        .also_on_rpi4()
        .on_each(all_kinds(2), "areas_are_shared_between_cores", |machine| {
            passes(["", ""], "", "", &machine)
        })
        .on_each(both_gics(1), "areas_are_shared_on_a_shared_core", |machine| {
            passes(["", ""], "", SHARE, &machine)
        })
        .on_each(both_gics(2), "users_go_on_when_the_owner_ends_and_starts_again", |machine| {
            passes(["restart = \"always\"", ""], "ends", "", &machine)
        })
        .on_each(
            both_gics(1),
            "users_on_a_shared_core_go_on_when_the_owner_ends_and_starts_again",
            |machine| passes(["restart = \"always\"", ""], "ends", SHARE, &machine),
        )
        .on_each(both_gics(2), "areas_of_the_description_outlive_a_restart", |machine| {
            passes(["restart = \"always\"", FIXED], "fixed", "", &machine)
        })
        .on_each(both_gics(1), "areas_of_the_description_on_a_shared_core", |machine| {
            passes(["restart = \"always\"", FIXED], "fixed", SHARE, &machine)
        })
        .on_each(both_gics(3), "a_user_is_driven_out_while_another_goes_on", |machine| {
            three("three", "", &machine)
        })
        .on_each(
            both_gics(1),
            "a_user_is_driven_out_while_another_on_its_core_goes_on",
            |machine| three("three", SHARE_OF_THREE, &machine),
        )
        .on_each(both_gics(3), "areas_of_the_description_are_there_for_three", |machine| {
            three("fixed", "", &machine)
        })
        .on_each(both_gics(1), "what_the_limits_do_not_allow_is_refused", limited)
        .on_each(both_gics(1), "an_offer_without_memory_is_refused_and_changes_nothing", hog)
        .on_each(both_gics(3), "no_vcpu_reaches_what_was_revoked", |machine| {
            passes(["cores = 1", "cores = 2"], "fire", "", &machine)
        })
        .on_each(both_gics(1), "no_vcpu_of_a_shared_core_reaches_what_was_revoked", |machine| {
            let share = "share = { budget = \"2ms\", period = \"10ms\" }";
            passes(["vcpus = 1", "vcpus = 2"], "fire", share, &machine)
        })
        .on_each(both_gics(5), "a_busy_peer_puts_off_no_call", |machine| {
            passes(["cores = 1", "cores = 4"], "busy", "", &machine)
        })
        .on_each(both_gics(5), "a_busy_peer_before_it_puts_off_no_call", |machine| {
            in_order([1, 0], ["cores = 1", "cores = 4"], ("busy", ""), &machine)
        })
        .on_each(both_gics(5), "a_busy_peer_puts_off_no_call_of_one_that_is_busy", |machine| {
            passes(["cores = 2", "cores = 3"], "busy", "", &machine)
        });
}

/// Areas that the description makes, behind the last partition.
const FIXED: &str = r#"
[[shared]]
name = "board"
size = "4K"
partitions = ["owner", "user"]

[[shared]]
name = "table"
size = "12K"
partitions = ["owner"]
readers = ["user"]
"#;

/// The same for three of them.
const FIXED_OF_THREE: &str = r#"
[[shared]]
name = "board"
size = "4K"
partitions = ["owner", "user", "second"]

[[shared]]
name = "table"
size = "12K"
partitions = ["owner"]
readers = ["user", "second"]
"#;

/// Two partitions that share a core.
const SHARE: &str = "share = { budget = \"2ms\", period = \"5ms\" }";
/// Three of them.
const SHARE_OF_THREE: &str = "share = { budget = \"3ms\", period = \"10ms\" }";

/// One partition that uses up what its limits allow: a MiB for areas beside its own 4 MiB, and so few tables that it has places for more.
fn limited(machine: Machine) -> Outcome {
    let guest = Partition::new("limited", "shared")
        .with("handles = 128\nareas = { pages = 4, blocks = 100, shared = 2 }")
        .with("limits = { memory = \"5MiB\", management_memory = \"320KiB\" }")
        .with("cmdline = \"role=limited\"");
    crate::support::passes(&system([guest])?, &machine)?;
    Ok(())
}

/// An owner, which starts again when it has ended, and two users of its areas at the same time; both leave nothing.
fn three(words: &str, share: &str, machine: &Machine) -> Outcome {
    let partition = |name: &str, others: &str, numbers: &str| {
        Partition::new(name, "shared")
            .with("handles = 64\nrequests = 4")
            .with("areas = { pages = 16, blocks = 8, shared = 4 }")
            .with(&format!("connect_to = [{others}]\naccept_from = [{others}]"))
            .with(&format!("cmdline = \"role={name} {numbers} {words}\""))
            .with(share)
    };
    let owner = partition("owner", "\"user\", \"second\"", "user=1");
    let owner = owner.with("restart = \"always\"");
    let user = partition("user", "\"owner\"", "owner=0");
    let second = partition("second", "\"owner\"", "owner=0");
    let second = if words == "fixed" { second.with(FIXED_OF_THREE) } else { second };
    let mut running = system([owner, user, second])?.boot(machine)?;
    let ended = ["partition user (id 2) has ended", "partition second (id 3) has ended"];
    let all = [&["user| done", "second| done"], &ended[..]].concat();
    let console = running.wait_for_all(&all, PATIENCE * 5)?;
    approve(&console)?;
    open_operator(&mut running)?;
    for name in ["user", "second"] {
        nothing_is_used(&mut running, name)?;
    }
    operator(&mut running, "stop owner")?;
    wait_until_stopped(&mut running, "owner")?;
    nothing_is_used(&mut running, "owner")?;
    audit(&mut running)?;
    Ok(())
}

/// One partition on a small machine, all of whose memory it takes.
fn hog(machine: Machine) -> Outcome {
    let hog = Partition::new("hog", "shared")
        .with("handles = 4000\nareas = { pages = 2500, blocks = 200, shared = 2 }")
        .with("cmdline = \"role=hog\"");
    crate::support::passes(&system([hog])?, &machine.memory(256 << 20))?;
    Ok(())
}

/// Boots an owner and a user, waits for the user's end, and looks that nothing is left of it and that the books agree.
fn passes(lines: [&str; 2], words: &str, share: &str, machine: &Machine) -> Outcome {
    in_order([0, 1], lines, (words, share), machine)
}

/// The same with the owner and the user at these places.
fn in_order(
    [owner_at, user_at]: [usize; 2],
    lines: [&str; 2],
    (words, share): (&str, &str),
    machine: &Machine,
) -> Outcome {
    let partition = |name: &str, other: &str, words: &str| {
        Partition::new(name, "shared")
            .with("handles = 64\nrequests = 4")
            .with("areas = { pages = 16, blocks = 48, channels = 1, shared = 4 }")
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} {words}\""))
            .with(share)
    };
    let owner = partition("owner", "user", &format!("user={user_at} {words}")).with(lines[0]);
    let user = partition("user", "owner", &format!("owner={owner_at} {words}")).with(lines[1]);
    let both = if owner_at < user_at { [owner, user] } else { [user, owner] };
    let mut running = system(both)?.boot(machine)?;
    // vCPUs that wait for a lock while their host runs another keep all behind them waiting.
    let ended = format!("partition user (id {}) has ended", user_at + 1);
    let console = running.wait_for_all(&["user| done", &ended], PATIENCE * 5)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "user")?;
    audit(&mut running)?;
    Ok(())
}
