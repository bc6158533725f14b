//! Services of the description, from outside: who gets through with which number, in each of the three ways to ask, also to a server
//! that has started again, and what is so of partitions that are made at run time. P9, C1, C2, C5.

use libtest_mimic::Trial;
use shikiri_qemu_tests::Machine;

use crate::control::file;
use crate::lifecycle::nothing_is_used;
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, approve, both_gics, control_os, open_operator,
    system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("services", trials);
    topic
        .also_on_rpi4()
        .on_each(all_kinds(4), "only_whom_a_service_is_open_to_gets_through", |machine| {
            described("", &machine)
        })
        .on_each(
            both_gics(1),
            "only_whom_a_service_is_open_to_gets_through_on_one_core",
            |machine| described("share = { budget = \"2ms\", period = \"10ms\" }", &machine),
        )
        .on_each(both_gics(4), "what_is_permitted_at_run_time_opens_no_service", made);
}

/// What a partition needs to talk in all three ways.
const TALKS: &str = "handles = 32\nrequests = 4\nareas = { pages = 16, channels = 2, shared = 2 }";

/// The services of `server`: 0 and 5 for one, 3 for the other, 7 for whoever may ask it; 9 ends it.
fn services(one: &str, two: &str) -> String {
    let of = |name: &str, number: u32, to: &str| {
        format!("[[service]]\nname = \"{name}\"\nof = \"server\"\nnumber = {number}\nto = {to}\n")
    };
    let list = |name: &str| format!("[\"{name}\"]");
    [
        of("first", 0, &list(one)),
        of("second", 5, &list(one)),
        of("other", 3, &list(two)),
        of("all", 7, "\"anyone\""),
        of("end", 9, &list(one)),
    ]
    .concat()
}

/// The masks of these numbers.
const OFFERED: u32 = 1 | 1 << 3 | 1 << 5 | 1 << 7;
const OPEN_TO_ONE: u32 = 1 | 1 << 5 | 1 << 7;
const OPEN_TO_TWO: u32 = 1 << 3 | 1 << 7;
const OPEN_TO_ANYONE: u32 = 1 << 7;
/// All that the guests ask for, but the end: 0 to 8, and the largest number there is.
const ALL: u32 = 0x1ff | 1 << 10;

fn server(offers: u32) -> Partition {
    Partition::new("server", "services")
        .with(TALKS)
        .with(&format!("cmdline = \"role=server offers={offers}\""))
}

fn client(name: &str, words: &str) -> Partition {
    Partition::new(name, "services").with(TALKS).with(&format!("cmdline = \"{words}\""))
}

/// One of the clients lets the server start again; the others go on meanwhile. The third may ask it, and finds but what is open to
/// anyone.
fn described(share: &str, machine: &Machine) -> Outcome {
    let asks = |name: &str, open: u32, more: &str| {
        client(name, &format!("server=0 open={open} {more}"))
            .with("connect_to = [\"server\"]")
            .with(share)
    };
    let server = server(OFFERED)
        .with("accept_from = [\"one\", \"two\", \"three\"]\nrestart = \"always\"")
        .with(share);
    let three = asks("three", OPEN_TO_ANYONE, "").with(&services("one", "two"));
    let mut running =
        system([server, asks("one", OPEN_TO_ONE, "ends"), asks("two", OPEN_TO_TWO, ""), three])?
            .boot(machine)?;
    let ends = ["one (id 2) has ended", "two (id 3) has ended", "three (id 4) has ended"];
    let console = running.wait_for_all(&ends, PATIENCE)?;
    approve(&console)?;
    open_operator(&mut running)?;
    ["one", "two", "three"].into_iter().try_for_each(|name| nothing_is_used(&mut running, name))
}

/// The policy program permits one that is described, and one that it makes, to ask the server: both find what is open to anyone. One
/// that it makes has no services, and is asked for every number.
fn made(machine: Machine) -> Outcome {
    let scos = control_os("scos")
        .with("cores = [0]\nhandles = 64\nrequests = 8")
        .with("areas = { pages = 32, channels = 4 }")
        .with(&format!("files = {{ \"/etc/policy.toml\" = \"{}\" }}", file("services.policy")))
        .with("[policy]\npartition = \"scos\"\npartitions = 2\nimages = [\"services\"]")
        .with("handout = { memory = \"32MiB\", core_time = \"200%\" }")
        .with("[console]\nfocus = \"scos\"");
    let server = server(OFFERED).with("cores = [1]\naccept_from = [\"one\"]");
    let one = client("one", &format!("server=1 open={OPEN_TO_ONE}"))
        .with("connect_to = [\"server\"]\nautostart = false\ncores = [2]")
        .with(&services("one", "one"));
    let permitted =
        client("permitted", &format!("server=1 open={OPEN_TO_ANYONE} server2=4 open2={ALL}"))
            .with("share = { budget = \"2ms\", period = \"10ms\" }\ncores = [3]");
    let mut running = system([scos, server, one, permitted])?.boot(&machine)?;
    let console = running.wait_for_all(&["asker| done", "permitted| done"], PATIENCE)?;
    approve(&console)
}
