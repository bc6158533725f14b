//! Event ports and control signals, from outside: within a partition, between two, and when one of them ends. C1, P9, P3 (e).

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Machine, counts};

use crate::lifecycle::{nothing_is_used, wait_until_stopped};
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, approve, audit, both_gics, deadlines,
    open_operator, operator, passes, system, wait_for_end,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("events", trials);
    topic
        .on_each(all_kinds(1), "within_a_partition", |machine| within(1, "", &machine))
        .on_each(all_kinds(2), "within_a_partition", |machine| within(2, "", &machine))
        .on_each(both_gics(1), "within_a_partition_on_a_shared_core", |machine| {
            within(2, SHARE, &machine)
        })
        .on_each(both_gics(1), "thousands_of_ports_share_an_interrupt", thousands)
        .also_on_rpi4()
        .on_each(all_kinds(2), "between_partitions_on_different_cores", |machine| {
            between("", &machine)
        })
        .on_each(both_gics(1), "between_partitions_on_a_shared_core", |machine| {
            between(SHARE, &machine)
        })
        .on_each(all_kinds(2), "a_peer_that_ends_is_told_at_every_state", |machine| {
            ends("", &machine)
        })
        .on_each(
            both_gics(1),
            "a_peer_that_ends_on_a_shared_core_is_told_at_every_state",
            |machine| ends(SHARE, &machine),
        )
        .on_each(both_gics(3), "senders_take_turns_and_each_keeps_its_order", |machine| {
            turns("", &machine)
        })
        .on_each(both_gics(1), "senders_on_a_shared_core_take_turns", |machine| {
            turns("share = { budget = \"3ms\", period = \"10ms\" }", &machine)
        })
        .on_each(both_gics(2), "a_look_for_a_request_is_bounded", bounded)
        .on_each(both_gics(4), "a_sender_that_never_stops_delays_no_witness", flood)
        .on_each(
            both_gics(3),
            "a_sender_that_never_stops_delays_who_shares_the_receivers_core_by_its_budget_at_most",
            flood_on_one_core,
        )
        .on_each(all_kinds(2), "the_descriptions_events_outlive_a_restart", |machine| {
            fixed("", &machine)
        })
        .on_each(
            both_gics(1),
            "the_descriptions_events_outlive_a_restart_on_a_shared_core",
            |machine| fixed(SHARE, &machine),
        )
        .on_each(both_gics(2), "partitions_that_end_at_any_moment_leave_nothing", |machine| {
            churn("", &machine)
        })
        .on_each(
            both_gics(1),
            "partitions_that_end_at_any_moment_on_a_shared_core_leave_nothing",
            |machine| churn(SHARE, &machine),
        );
}

/// Two partitions that share a core.
const SHARE: &str = "share = { budget = \"2ms\", period = \"5ms\" }";

/// A partition with the peers guest.
fn peer(name: &str, words: &str) -> Partition {
    Partition::new(name, "peers")
        .with("handles = 64\nrequests = 4\nlimits = { event_ports = 40 }")
        .with(&format!("cmdline = \"role={name} {words}\""))
}

/// Two of them that may ask each other; the first is the server.
fn pair(server: Partition, client: Partition) -> [Partition; 2] {
    [server.with(&mutual("client")), client.with(&mutual("server"))]
}

fn mutual(other: &str) -> String {
    format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]")
}

/// The client's cases; the server goes on for ever.
fn between(share: &str, machine: &Machine) -> Outcome {
    client_passes(
        peer("server", "client=1").with(share),
        peer("client", "server=0 requests=4")
            .with("areas = { pages = 4, channels = 1 }")
            .with(share),
        machine,
    )
}

/// The server ends and starts again.
fn ends(share: &str, machine: &Machine) -> Outcome {
    let server = peer("server", "client=1").with(share).with("restart = \"always\"");
    client_passes(server, peer("client", "server=0 ends rounds=3").with(share), machine)
}

/// Boots both and waits for the client's end; then the client has left nothing.
fn client_passes(server: Partition, client: Partition, machine: &Machine) -> Outcome {
    let mut running = system(pair(server, client))?.boot(machine)?;
    let console = wait_for_end(&mut running, "client", 2)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "client")
}

/// Two clients that have queued requests of different number.
fn turns(share: &str, machine: &Machine) -> Outcome {
    let server = peer("turns", "long=4 short=2").with("accept_from = [\"queue\", \"other\"]");
    let server = server.with(share);
    let client = |name: &str, count: u32| {
        Partition::new(name, "peers")
            .with("handles = 16\nrequests = 4\nconnect_to = [\"turns\"]")
            .with(&format!("cmdline = \"role=queue server=0 count={count}\""))
            .with(share)
    };
    passes(&system([server, client("queue", 4), client("other", 2)])?, machine)?;
    Ok(())
}

/// Requests for another thing than is looked for, many more than one look refuses.
fn bounded(machine: Machine) -> Outcome {
    let listener = peer("listener", "").with("accept_from = [\"asker\"]");
    let asker = Partition::new("asker", "peers")
        .with("handles = 80\nrequests = 66\nlimits = { event_ports = 80 }")
        .with("areas = { pages = 4, channels = 1 }\nconnect_to = [\"listener\"]")
        .with("cmdline = \"role=asker server=0\"");
    passes(&system([listener, asker])?, &machine)?;
    Ok(())
}

/// By counted instructions, since the limit is one: a witness with a core of its own does not notice that a neighbour is
/// flooded with events, and the neighbour itself goes on.
fn flood(machine: Machine) -> Outcome {
    let server = peer("flooded", "").with("accept_from = [\"flood\"]");
    let client = Partition::new("flood", "peers")
        .with("handles = 16\nrequests = 4\nconnect_to = [\"flooded\"]")
        .with("cmdline = \"role=flood server=0\"");
    let witness = Partition::new("witness", "witness")
        .with("cmdline = \"reports=3 report_ms=20 limit_us=500\"");
    passes(&system([server, client, witness, deadlines()])?, &machine.icount())?;
    Ok(())
}

/// The same on the core of the one that is flooded, which each event calls: what the witness sees of it is the other's budget of
/// 2 ms and what the calls take; 500 us are the emulator's ([`deadlines`]).
fn flood_on_one_core(machine: Machine) -> Outcome {
    let on_core_0 = |partition: Partition, budget_ms: u32| {
        let share = format!("share = {{ budget = \"{budget_ms}ms\", period = \"10ms\" }}");
        partition.with("cores = [0]").with(&share)
    };
    let server = peer("flooded", "").with("accept_from = [\"flood\"]");
    let client = Partition::new("flood", "peers")
        .with("handles = 16\nrequests = 4\nconnect_to = [\"flooded\"]\ncores = [1]")
        .with("cmdline = \"role=flood server=0\"");
    let witness = Partition::new("witness", "witness")
        .with("cmdline = \"reports=3 report_ms=20 limit_us=2600\"");
    let partitions =
        [on_core_0(server, 2), client, on_core_0(witness, 5), deadlines().with("cores = [2]")];
    passes(&system(partitions)?, &machine.icount())?;
    Ok(())
}

/// Two events of the description, one each way; the one who answers ends after twenty, and starts again. No handles are
/// stated: the description counts them.
fn fixed(share: &str, machine: &Machine) -> Outcome {
    let caller = Partition::new("caller", "peers")
        .with("cmdline = \"role=calls spi=41 rounds=70\"")
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
    operator(&mut running, "stop echo")?;
    wait_until_stopped(&mut running, "echo")?;
    nothing_is_used(&mut running, "echo")?;
    audit(&mut running)?;
    Ok(())
}

/// Both connect to each other, send, and end at random moments, again and again.
fn churn(share: &str, machine: &Machine) -> Outcome {
    let partition = |name: &str, other: &str, server: u32| {
        Partition::new(name, "peers")
            .with("handles = 24\nrequests = 4\nrestart = \"always\"")
            .with(&mutual(other))
            .with(&format!("cmdline = \"role=churn server={server}\""))
            .with(share)
    };
    let mut running =
        system([partition("left", "right", 1), partition("right", "left", 0)])?.boot(machine)?;
    for name in ["left", "right"] {
        for _ in 0..counts::RESTARTS.now().div_ceil(8) {
            running.wait_for(&format!("{name}| churn"), PATIENCE)?;
        }
    }
    open_operator(&mut running)?;
    for name in ["left", "right"] {
        operator(&mut running, &format!("stop {name}"))?;
        wait_until_stopped(&mut running, name)?;
        nothing_is_used(&mut running, name)?;
    }
    audit(&mut running)?;
    Ok(())
}

/// One partition with the events guest.
fn within(vcpus: u32, share: &str, machine: &Machine) -> Outcome {
    let cores =
        if share.is_empty() { format!("cores = {vcpus}") } else { format!("vcpus = {vcpus}") };
    let guest = Partition::new("events", "events")
        .with(&cores)
        .with(share)
        .with("handles = 64\nrequests = 4\nlimits = { event_ports = 24 }")
        .with("cmdline = \"ports=24\"");
    passes(&system([guest])?, machine)?;
    Ok(())
}

fn thousands(machine: Machine) -> Outcome {
    let handles = counts::many_handles();
    let guest = Partition::new("events", "events")
        .with(&format!("handles = {handles}\ncmdline = \"many page handles={handles}\""))
        .with("areas = { pages = 1 }");
    passes(&system([guest])?, &machine)?;
    Ok(())
}
