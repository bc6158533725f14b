//! Remote calls between partitions (B2, B3), from outside: deadlines against a server that does not answer, each form of call, server and
//! relay, what becomes of who finds no buffer, and that no buffer is in use while calls are executed.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::support::{Outcome, Partition, Topic, both_gics, passes, system};

/// What each vCPU of one core has of it.
const SHARE: &str = "share = { budget = \"2ms\", period = \"10ms\" }";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("remote", trials);
    topic
        .on_each(both_gics(4), "calls_in_each_form_reach_a_server_on_cores_of_its_own", |machine| {
            one_hop("cores = 2", "", &machine)
        })
        .on_each(both_gics(1), "calls_in_each_form_reach_a_server_on_a_shared_core", |machine| {
            one_hop("vcpus = 2", SHARE, &machine)
        })
        .on_each(both_gics(7), "calls_in_each_form_go_over_two_hops_between_cores", |machine| {
            two_hops(["cores = 3", "cores = 2", "cores = 2"], "", &machine)
        })
        .on_each(both_gics(2), "calls_in_each_form_go_over_two_hops_on_shared_cores", |machine| {
            two_hops(["vcpus = 3", "vcpus = 2", "vcpus = 2"], SHARE, &machine)
        });
}

/// A partition that may ask these and be asked by those.
fn partition(name: &str, words: &str, share: &str) -> Partition {
    Partition::new(name, "remote")
        .with("handles = 48\nrequests = 2\nareas = { pages = 24, channels = 2, shared = 16 }")
        .with(&format!("cmdline = \"role={name} {words}\""))
        .with(share)
}

/// A caller and a server, all of whose vCPUs call and serve.
fn one_hop(vcpus: &str, share: &str, machine: &Machine) -> Outcome {
    let caller = partition("caller", "next=1", share).with("connect_to = [\"server\"]").with(vcpus);
    let server = partition("server", "", share).with("accept_from = [\"caller\"]").with(vcpus);
    passes(&system([caller, server])?, machine)?;
    Ok(())
}

/// The same with a relay between them.
fn two_hops(vcpus: [&str; 3], share: &str, machine: &Machine) -> Outcome {
    let [ours, between, theirs] = vcpus;
    let caller =
        partition("caller", "next=1 hops", share).with("connect_to = [\"relay\"]").with(ours);
    let relay = partition("relay", "next=2", share)
        .with("accept_from = [\"caller\"]\nconnect_to = [\"server\"]")
        .with(between);
    let server = partition("server", "", share).with("accept_from = [\"relay\"]").with(theirs);
    passes(&system([caller, relay, server])?, machine)?;
    Ok(())
}
