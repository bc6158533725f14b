//! Message areas and message channels, from outside: within a partition, there and back between two, while the sender's other
//! vCPUs are at the area, and when the receiver ends. C2, C3, C4, P3 (b, c, d).

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::points::Side;
use shikiri_qemu_tests::{Failure, Machine, System, counts};

use crate::lifecycle::{management_kib, nothing_is_used, wait_until_stopped};
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, approve, audit, both_gics, open_operator,
    operate, operator, system, unlike, wait_for_end, wait_for_long_end,
};

/// Two partitions that share a core.
const SHARE: &str = "share = { budget = \"2ms\", period = \"5ms\" }";
/// A vCPU of several that are at an area, and the receiver's.
const FIRE_SHARE: &str = "share = { budget = \"2ms\", period = \"10ms\" }";
/// Places of each size for areas, and message ports.
const AREAS: &str = "areas = { pages = 16, blocks = 8, channels = 2 }";
/// A side of a channel that ends, its peer, and who says where, on one core.
const ENDS_SHARE: &str = "share = { budget = \"3ms\", period = \"10ms\" }";
/// Within how many microseconds a side is told of its peer's end, from the last call of that to its own interrupt handler, by counted
/// instructions. With cores of their own: of the order of `peer_gone_told` in spec.md, some 30; a call that it is in itself, up to 64 pages of
/// an area that are cleared; and up to 500 for which the emulator lets another core run.
const TOLD: &str = "told_us=1000";
/// On a shared core: the end is done in what is left of a budget or in the next period's, and the other has its own within another.
const TOLD_SHARED: &str = "told_us=20000";
const GIANTS: &str = "areas = { pages = 16, giants = 2, channels = 2 }";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("channels", trials);
    topic
        .also_on_rpi4()
        .on_each(all_kinds(2), "areas_go_there_and_back_between_cores", |machine| {
            passes("", "", "", &machine)
        })
        .on_each(both_gics(1), "areas_go_there_and_back_on_a_shared_core", |machine| {
            passes("", "", SHARE, &machine)
        })
        .on_each(both_gics(2), "a_receiver_that_ends_with_an_area_frees_it", |machine| {
            passes("restart = \"always\"", "ends", "", &machine)
        })
        .on_each(
            both_gics(1),
            "a_receiver_that_ends_with_an_area_on_a_shared_core_frees_it",
            |machine| passes("restart = \"always\"", "ends", SHARE, &machine),
        )
        .on_each(all_kinds(3), "the_sdk_serves_all_forms_between_cores", |machine| {
            sdk("", "", "cores = 2", &machine)
        })
        .on_each(both_gics(1), "the_sdk_serves_all_forms_on_a_shared_core", |machine| {
            sdk("", "", SHARE, &machine)
        })
        .on_each(all_kinds(3), "the_sdk_waits_in_wfe_between_cores", |machine| {
            sdk("", "by-event", "cores = 2", &machine)
        })
        .on_each(both_gics(1), "the_sdk_waits_in_wfe_on_a_shared_core", |machine| {
            sdk("", "by-event", SHARE, &machine)
        })
        .on_each(
            both_gics(2),
            "the_sdk_tells_whoever_waits_in_wfe_that_the_peer_has_ended",
            |machine| sdk("restart = \"always\"", "ends by-event", "", &machine),
        )
        .on_each(
            both_gics(1),
            "the_sdk_tells_whoever_waits_in_wfe_on_a_shared_core_that_the_peer_has_ended",
            |machine| sdk("restart = \"always\"", "ends by-event", SHARE, &machine),
        )
        .on_each(both_gics(2), "the_sdk_tells_whoever_waits_that_the_peer_has_ended", |machine| {
            sdk("restart = \"always\"", "ends", "", &machine)
        })
        .on_each(
            both_gics(1),
            "the_sdk_tells_whoever_waits_on_a_shared_core_that_the_peer_has_ended",
            |machine| sdk("restart = \"always\"", "ends", SHARE, &machine),
        )
        .on_each(unlike(5), "an_area_is_sent_while_other_vcpus_are_at_it", |machine| {
            under_fire(AREAS, "rounds=2", "cores = 4", "", &machine)
        })
        .on_each(both_gics(2), "an_area_is_sent_while_vcpus_of_shared_cores_are_at_it", |machine| {
            under_fire(AREAS, "rounds=2", &format!("vcpus = 3\n{FIRE_SHARE}"), FIRE_SHARE, &machine)
        })
        .on_each(both_gics(5), "a_giant_area_is_sent_while_other_vcpus_are_at_it", |machine| {
            let machine = machine.memory(4 << 30);
            let words = format!("{} rounds=2", giants());
            under_fire(GIANTS, &words, "cores = 4", "", &machine)
        })
        .not_on_rpi4("its memory holds no area of 1 GiB")
        .on_each(
            both_gics(1),
            "a_giant_area_is_sent_while_vcpus_of_its_core_are_at_it",
            |machine| {
                let (words, machine) = (format!("{} rounds=1", giants()), machine.memory(4 << 30));
                under_fire(
                    GIANTS,
                    &words,
                    &format!("vcpus = 2\n{FIRE_SHARE}"),
                    FIRE_SHARE,
                    &machine,
                )
            },
        )
        .on_each(all_kinds(2), "the_descriptions_channel_outlives_a_restart", |machine| {
            described("", &machine)
        })
        .on_each(
            both_gics(1),
            "the_descriptions_channel_outlives_a_restart_on_a_shared_core",
            |machine| described(SHARE, &machine),
        )
        .on_each(all_kinds(2), "a_partition_has_all_that_the_description_gives", |machine| {
            all_described("", &machine)
        })
        .on_each(
            both_gics(1),
            "a_partition_of_a_shared_core_has_all_that_the_description_gives",
            |machine| all_described(SHARE, &machine),
        )
        .on_each(both_gics(2), "the_first_thing_that_both_do_is_to_send", |machine| {
            first_sends("start_order = 1", "", &machine)
        })
        .on_each(
            both_gics(1),
            "the_first_thing_that_both_do_on_a_shared_core_is_to_send",
            |machine| first_sends("", SHARE, &machine),
        )
        .on_each(both_gics(2), "what_the_limit_of_memory_does_not_allow_is_refused", limited)
        .on_each(both_gics(3), "an_end_of_the_descriptions_that_cannot_be_paid_is_told", unpaid)
        .on_each(both_gics(3), "remote_calls_go_over_two_hops", |machine| hops("", "", &machine))
        .on_each(both_gics(1), "remote_calls_go_over_two_hops_on_a_shared_core", |machine| {
            hops(HOP_SHARE, "", &machine)
        })
        .on_each(both_gics(5), "remote_calls_of_many_vcpus_are_each_answered", |machine| {
            hops("", "cores = 3", &machine)
        })
        .on_each(
            both_gics(1),
            "remote_calls_of_vcpus_of_a_shared_core_are_each_answered",
            |machine| hops(HOP_SHARE, "vcpus = 3", &machine),
        )
        .on_each(unlike(3), "a_side_ends_at_every_step_and_the_other_goes_on", |machine| {
            ends("", "", [], &machine)
        })
        // On one GIC: this is of time, by 71 ends in turn on four cores; on both the test below is of it, and the one above of the rest.
        .on_each(
            both_gics(4).into_iter().take(1).collect(),
            "who_ends_at_a_step_is_told_of_within_a_bound",
            |machine| ends("", TOLD, [in_turns()], &machine.icount()),
        )
        .on_each(both_gics(1), "a_side_ends_at_every_step_on_a_shared_core", |machine| {
            ends(ENDS_SHARE, TOLD_SHARED, [], &machine.icount())
        })
        .on_each(both_gics(3), "a_side_is_ended_from_outside_and_the_other_is_told", |machine| {
            ended("", "", &machine)
        })
        .on_each(both_gics(1), "a_side_is_ended_from_outside_on_a_shared_core", |machine| {
            ended(ENDS_SHARE, TOLD_SHARED, &machine.icount())
        });
}

/// The test guest of the raw calls.
fn passes(server: &str, client: &str, share: &str, machine: &Machine) -> Outcome {
    client_and_server("channels", (server, share), (client, share), machine)
}

/// The test guest of the SDK's library. On a shared core both share it.
fn sdk(server: &str, words: &str, client: &str, machine: &Machine) -> Outcome {
    let share = if client == SHARE { SHARE } else { "" };
    client_and_server("messages", (server, share), (words, client), machine)
}

/// Boots a server and a client, waits for the client's end, and looks that nothing is left of it and that the books agree.
fn client_and_server(
    image: &str,
    (server, server_cores): (&str, &str),
    (words, client_cores): (&str, &str),
    machine: &Machine,
) -> Outcome {
    let partition = |name: &str, other: &str, words: &str| {
        Partition::new(name, image)
            .with("handles = 64\nrequests = 4")
            .with(AREAS)
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} {words}\""))
    };
    let server = partition("server", "client", "").with(server_cores).with(server);
    let words = format!("server=0 own=1 {words}");
    let mut all = Vec::from([server]);
    if client_cores == SHARE {
        // There is room on the core for one that nobody lists, and for one that may be asked; neither is ever started.
        let client =
            partition("client", "server\", \"absent", &format!("stranger=2 absent=3 {words}"));
        let least = "autostart = false\nshare = { budget = \"100us\", period = \"10ms\" }";
        let stranger = Partition::new("stranger", image).with(least);
        let absent = partition("absent", "client", "").with(least);
        all.extend([client.with(client_cores), stranger, absent]);
    } else {
        all.push(partition("client", "server", &words).with(client_cores));
    }
    let mut running = system(all)?.boot(machine)?;
    let console = wait_for_end(&mut running, "client", 2)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "client")?;
    audit(&mut running)?;
    Ok(())
}

/// The words for giant areas.
fn giants() -> String {
    format!("giants scattered_mib={}", counts::SCATTERED_MIB.now())
}

/// A sender with several vCPUs and a receiver with one; `words` for the sender.
fn under_fire(areas: &str, words: &str, many: &str, one: &str, machine: &Machine) -> Outcome {
    let partition = |name: &str, other: &str, words: &str| {
        Partition::new(name, "fire")
            .with("handles = 64\nrequests = 4")
            .with(areas)
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} {words}\""))
    };
    let receiver = partition("receiver", "sender", "").with(one);
    let sender = partition("sender", "receiver", &format!("receiver=0 {words}")).with(many);
    let mut running = system([receiver, sender])?.boot(machine)?;
    // An area of single frames is made page by page.
    let patience = if counts::is_soak() { PATIENCE * 6 } else { PATIENCE };
    let console = wait_for_long_end(&mut running, "sender", 2, patience)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "sender")?;
    audit(&mut running)?;
    Ok(())
}

/// Two sides of a channel that end at every step of its life, in turn, and start again; then at random ones. The steps come from
/// the same table as the guests': one that no run has covered fails the test. `told` is for the survivors: a bound of time, where there is one.
fn ends<const N: usize>(
    share: &str,
    told: &str,
    others: [Partition; N],
    machine: &Machine,
) -> Outcome {
    // The comparison of all books behind each call takes longer than these bounds.
    let told = if counts::is_checked() { "" } else { told };
    let side = |name: &str, other: &str, words: &str| {
        Partition::new(name, "kill")
            .with("handles = 64\nrequests = 4\nrestart = \"always\"")
            .with("areas = { pages = 8, blocks = 4, channels = 2 }")
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} {words} {told}\""))
            .with(share)
    };
    let words = format!("ends={} seed={}", counts::CHANNEL_ENDS.now(), counts::seed());
    let mut conductor = Partition::new("conductor", "kill")
        .with("handles = 16")
        .with("areas = { pages = 1 }")
        .with(&format!("cmdline = \"{words}\""))
        .with(share);
    for (name, ends) in [
        ("to-client", "\"conductor\", \"client\""),
        ("to-server", "\"conductor\", \"server\""),
        ("reports", "\"conductor\", \"client\", \"server\""),
    ] {
        conductor = conductor.with(&format!("[[name]]\nname = \"{name}\"\npartitions = [{ends}]"));
    }
    let sides = [side("server", "client", ""), side("client", "server", "server=0")];
    let mut running = system(sides.into_iter().chain([conductor]).chain(others))?.boot(machine)?;
    // Whether it was well or not.
    let mut console = running.wait_for("an_end_at_every_step_is_survived", PATIENCE * 4)?;
    each_point_is_covered(&console)?;
    console += &running.wait_for("conductor| done", PATIENCE * 20)?;
    approve(&console)?;
    open_operator(&mut running)?;
    for name in ["client", "server"] {
        operator(&mut running, &format!("stop {name}"))?;
        wait_until_stopped(&mut running, name)?;
        nothing_is_used(&mut running, name)?;
    }
    audit(&mut running)?;
    Ok(())
}

/// Makes the cores of a machine with counted instructions take turns: one of them runs until some core's next deadline.
fn in_turns() -> Partition {
    Partition::new("deadlines", "witness")
        .with("cmdline = \"period_us=20 reports=0 report_ms=1000000\"")
}

/// Fails unless each side has ended at each of its steps, and behind the last.
fn each_point_is_covered(console: &str) -> Outcome {
    for side in Side::BOTH {
        let is_covered = |step: &usize| console.contains(&format!("| point {side:?} {step}:"));
        if let Some(step) = (0..=side.steps().len()).find(|step| !is_covered(step)) {
            let next = side.steps().get(step);
            let what = format!("no end of the {side:?} at {step}, before {next:?}, was survived");
            return Err(Failure::new(what, console).into());
        }
    }
    Ok(())
}

/// Two sides between which messages flow, and which are ended at random moments: by a partition that has the policy capability first,
/// which looks that the other is told, and in time (`told`), then by the operator.
fn ended(share: &str, told: &str, machine: &Machine) -> Outcome {
    let told = if counts::is_checked() { "" } else { told };
    let side = |name: &str, other: &str, words: &str| {
        Partition::new(name, "kill")
            .with("handles = 64\nrequests = 4")
            .with("areas = { pages = 16, channels = 2 }")
            .with(&format!("connect_to = [\"{other}\"]\naccept_from = [\"{other}\"]"))
            .with(&format!("cmdline = \"role={name} flows {words}\""))
            .with(share)
    };
    let words = format!("ends={} seed={}", counts::OUTSIDE_ENDS.now(), counts::seed());
    let killer = Partition::new("killer", "kill")
        .with("handles = 16\nareas = { pages = 1 }")
        .with(&format!("cmdline = \"role=killer {words} {told}\""))
        .with(share)
        .with("[policy]\npartition = \"killer\"")
        .with("[[name]]\nname = \"reports\"\npartitions = [\"killer\", \"client\", \"server\"]");
    let sides = [side("server", "client", ""), side("client", "server", "server=0")];
    let mut running = system(sides.into_iter().chain([killer]))?.boot(machine)?;
    let console = running.wait_for("killer| done", PATIENCE * 20)?;
    approve(&console)?;
    open_operator(&mut running)?;
    let mut seed = counts::seed();
    for _ in 0..counts::OPERATOR_ENDS.now() {
        // Knuth's generator; its high bits are the good ones.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let is_client = seed >> 63 == 1;
        let [victim, other] = if is_client { ["client", "server"] } else { ["server", "client"] };
        for _ in 0..seed >> 60 & 3 {
            operator(&mut running, "list")?;
        }
        operate(&mut running, &format!("stop {victim}"), &format!("{other}: gone"))?;
        wait_until_stopped(&mut running, victim)?;
        nothing_is_used(&mut running, victim)?;
        operate(&mut running, &format!("start {victim}"), &format!("{victim}: flows"))?;
    }
    audit(&mut running)?;
    for name in ["client", "server"] {
        operator(&mut running, &format!("stop {name}"))?;
        wait_until_stopped(&mut running, name)?;
        nothing_is_used(&mut running, name)?;
    }
    audit(&mut running)?;
    Ok(())
}

/// Two partitions with an event each way, a shared area and a channel, all of the description; one of them ends and starts again.
fn all_described(share: &str, machine: &Machine) -> Outcome {
    let end = |name: &str| {
        Partition::new(name, "channels")
            .with("handles = 16")
            .with("areas = { pages = 8, channels = 1, shared = 1 }")
            .with(&format!("cmdline = \"role={name} all\""))
            .with(share)
    };
    let left = end("left").with(
        "[[channel]]\nname = \"talk\"\nends = [\n\
         { partition = \"left\", slots = 2, spi = 33 },\n{ partition = \"right\", slots = 1, spi = 33 },\n]\n\
         [[shared]]\nname = \"board\"\nsize = \"4K\"\npartitions = [\"left\", \"right\"]",
    );
    let right = end("right")
        .with("restart = \"always\"")
        .with("[[event]]\nname = \"call\"\nfrom = \"left\"\nto = \"right\"\nspi = 40")
        .with("[[event]]\nname = \"answer\"\nfrom = \"right\"\nto = \"left\"\nspi = 41");
    let mut running = system([left, right])?.boot(machine)?;
    let console = wait_for_end(&mut running, "left", 1)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "left")?;
    operator(&mut running, "stop right")?;
    wait_until_stopped(&mut running, "right")?;
    nothing_is_used(&mut running, "right")?;
    audit(&mut running)?;
    Ok(())
}

/// Two partitions that send at once what the description lets them, an event and a message; the second is built much later than the
/// first, because of all the memory that is cleared for it.
fn first_sends(order: &str, share: &str, machine: &Machine) -> Outcome {
    let end = |name: &str| {
        Partition::new(name, "channels")
            .with("handles = 16\nareas = { pages = 8, channels = 1 }")
            .with(&format!("cmdline = \"role=early {name}\""))
            .with(share)
    };
    let left = end("left")
        .with("[[event]]\nname = \"call\"\nfrom = \"left\"\nto = \"right\"\nspi = 40")
        .with("[[event]]\nname = \"answer\"\nfrom = \"right\"\nto = \"left\"\nspi = 41");
    let right = end("right").sized("128MiB").with(order).with(
        "[[channel]]\nname = \"talk\"\nends = [\n\
         { partition = \"left\", slots = 2, spi = 33 },\n{ partition = \"right\", slots = 2, spi = 33 },\n]",
    );
    let mut running = system([left, right])?.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    approve(&console)?;
    for name in ["left", "right"] {
        if !console.contains(&format!("{name}| done")) {
            return Err(running.failure(format!("{name} is not through")).into());
        }
    }
    Ok(())
}

/// A client that uses up what its limit of memory allows beside its own 4 MiB: 16 pages.
fn limited(machine: Machine) -> Outcome {
    client_and_server(
        "channels",
        ("", ""),
        ("limited", "limits = { memory = \"4160KiB\" }"),
        &machine,
    )
}

/// Of a channel of the description one end cannot be paid: its partition's limit of management memory is a page less than it takes with
/// it, which a first run tells. It is told why it does not start, leaves nothing, and nobody else is disturbed; the other end
/// waits, and goes as any other.
fn unpaid(machine: Machine) -> Outcome {
    let mut running = one_end_limited("")?.boot(&machine)?;
    running.wait_for("partition right (id 2) starts on core", PATIENCE)?;
    open_operator(&mut running)?;
    let limit = management_kib(&mut running, "right")?.saturating_sub(4);
    drop(running);
    let limit = format!("limits = {{ management_memory = \"{limit}KiB\" }}");
    let mut running = one_end_limited(&limit)?.boot(&machine)?;
    let mut console = running.wait_for(UNPAID, PATIENCE)?;
    open_operator(&mut running)?;
    for start in 2..4 {
        wait_until_stopped(&mut running, "right")?;
        nothing_is_used(&mut running, "right")?;
        audit(&mut running)?;
        if start < 3 {
            // Started again, it has as little.
            running.send("start right\r")?;
            console += &running.wait_for(UNPAID, PATIENCE)?;
        }
    }
    operator(&mut running, "stop left")?;
    wait_until_stopped(&mut running, "left")?;
    nothing_is_used(&mut running, "left")?;
    audit(&mut running)?;
    wait_until_stopped(&mut running, "witness")?;
    running.send("start witness\r")?;
    console += &running.wait_for("witness| done", PATIENCE)?;
    approve(&console)
}

/// Two partitions that do nothing, with a channel of the description, the second with a limit, and one that has nothing to do with them.
fn one_end_limited(limit: &str) -> Result<System, Failed> {
    let end = |name: &str| {
        Partition::new(name, "spin")
            .with("handles = 16")
            .with("areas = { pages = 8, channels = 1 }")
    };
    let witness = Partition::new("witness", "regs").with(
        "[[channel]]\nname = \"talk\"\nends = [\n\
         { partition = \"left\", slots = 2, spi = 33 },\n{ partition = \"right\", slots = 2, spi = 33 },\n]",
    );
    // Not where blocks of 2 MiB could map it, unless its memory happens to begin in the middle of one: the description compiler, which
    // hopes so, counts a table less than it takes.
    let right = end("right").with_memory("{ size = \"4MiB\", ipa = 0x4010_0000 }");
    system([end("left"), right.with(limit), witness])
}

/// Why a partition does not start whose channel's end is more than its limit.
const UNPAID: &str =
    "cannot be started: no room for a channel of the description (over the account's limit)";

/// A share of a core that many vCPUs have beside each other.
const HOP_SHARE: &str = "share = { budget = \"2ms\", period = \"10ms\" }";

/// A caller, whose vCPUs all call, a relay and a server (B2). Each ends when the one before it has.
fn hops(share: &str, vcpus: &str, machine: &Machine) -> Outcome {
    let part = |name: &str, words: &str, peers: &str| {
        Partition::new(name, "hops")
            .with("handles = 16\nrequests = 2\nareas = { pages = 8, channels = 2 }")
            .with(peers)
            .with(&format!("cmdline = \"role={name} {words}\""))
            .with(share)
    };
    let caller = part("caller", "next=1", "connect_to = [\"relay\"]").with(vcpus);
    let relay = part("relay", "next=2", "accept_from = [\"caller\"]\nconnect_to = [\"server\"]");
    let server = part("server", "", "accept_from = [\"relay\"]");
    crate::support::passes(&system([caller, relay, server])?, machine)?;
    Ok(())
}

/// Two partitions that may ask nobody, with a channel of the description; one of them ends and starts again.
fn described(share: &str, machine: &Machine) -> Outcome {
    let end = |name: &str| {
        Partition::new(name, "channels")
            .with("handles = 16")
            .with("areas = { pages = 8, channels = 1 }")
            .with(&format!("cmdline = \"role={name}\""))
            .with(share)
    };
    let left = end("left");
    let right = end("right").with("restart = \"always\"").with(
        "[[channel]]\nname = \"talk\"\nends = [\n\
         { partition = \"left\", slots = 2, spi = 33 },\n{ partition = \"right\", slots = 2, spi = 33 },\n]",
    );
    let mut running = system([left, right])?.boot(machine)?;
    let console = wait_for_end(&mut running, "left", 1)?;
    approve(&console)?;
    open_operator(&mut running)?;
    nothing_is_used(&mut running, "left")?;
    // It comes again, although its peer is away, and goes.
    operator(&mut running, "stop right")?;
    wait_until_stopped(&mut running, "right")?;
    nothing_is_used(&mut running, "right")?;
    audit(&mut running)?;
    Ok(())
}
