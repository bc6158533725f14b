//! The policy program: what it can see and do, and that nobody else can (P7).

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Machine, System, counts};

use crate::guests::NO_CLOCK;
use crate::lifecycle::row_of;
use crate::support::{self, Outcome, PATIENCE, Partition, Topic, both_gics};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("policy", trials);
    topic.also_on_rpi4().on_each(
        both_gics(3),
        "partitions_of_the_description_are_seen_limited_started_and_ended",
        calls,
    );
    topic.on_each(both_gics(2), "who_has_no_capability_is_refused_whatever_it_asks", stranger);
    topic.on_each(both_gics(2), "a_paused_partition_stands_still_and_goes_on", pauses);
    topic.on_each(
        both_gics(2),
        "a_limit_below_the_descriptions_events_keeps_their_partition_from_starting",
        crowded,
    );
    topic.on_each(
        both_gics(3),
        "a_policy_partition_that_restarts_finds_the_machine_as_it_is",
        restarts,
    );
    topic.also_on_rpi4().on_each(
        both_gics(3),
        "partitions_are_made_from_nothing_and_leave_nothing",
        makes,
    );
    topic.on_each(both_gics(3), "a_request_is_granted_changed_refused_or_cancelled", judged);
    topic.on_each(both_gics(3), "a_request_is_refused_when_its_time_is_over", overdue);
    topic.not_on_rpi4(NO_CLOCK).on_each(
        both_gics(1),
        "without_a_policy_program_the_description_decides_at_once",
        alone,
    );
    topic.not_on_rpi4(NO_CLOCK).on_each(
        both_gics(2),
        "the_default_decides_when_the_time_is_over",
        patient,
    );
    topic.on_each(both_gics(2), "a_request_outlives_the_restart_of_who_has_taken_it", forgetful);
    topic.on_each(both_gics(2), "who_asks_and_cancels_without_end_is_told_of_once", flooded);
    topic.on_each(
        both_gics(2),
        "an_answer_about_a_peer_is_for_the_partition_that_was_meant",
        replaced,
    );
    topic.on_each(both_gics(2), "last_words_are_said_in_the_name_of_who_said_them", last_words);
    // With a GICv3 `control` makes one.
    topic.on_each(
        both_gics(3).into_iter().take(1).collect(),
        "linux_is_made_from_nothing_with_a_tree_of_the_policy_programs",
        linux,
    );
    topic.on_each(
        both_gics(3),
        "whatever_a_policy_program_asks_the_books_are_right_afterwards",
        wild,
    );
    topic.on_each(both_gics(4), "a_vcpu_of_several_cores_runs_where_there_is_time", moved);
    topic.on_each(both_gics(3), "core_time_and_vcpus_are_asked_for_and_granted", more);
    topic.not_on_rpi4(NO_CLOCK).on_each(
        both_gics(2),
        "a_device_that_is_kept_back_is_asked_for_and_granted",
        kept,
    );
    topic.on_each(both_gics(2), "partitions_that_are_made_have_and_get_areas", areas);
    topic.not_on_rpi4(NO_CLOCK).on_each(
        both_gics(2),
        "a_device_of_one_that_has_ended_is_given_to_one_that_is_made",
        devices,
    );
    topic.not_on_rpi4(NO_CLOCK).on_each(
        both_gics(2),
        "the_operator_is_told_why_one_without_its_devices_does_not_start",
        without_devices,
    );
    topic.on_each(both_gics(3), "two_greedy_guests_cannot_starve_a_third", fair);
    topic.on_each(
        both_gics(1),
        "two_greedy_guests_delay_a_third_by_what_they_were_given_at_most",
        in_time,
    );
    topic.on_each(both_gics(3), "what_was_made_outlives_its_makers_restart", outlive);
    topic.on_each(both_gics(2), "the_operator_is_told_whose_a_created_partition_is", undone);
    topic.on_each(both_gics(3), "an_audit_behind_each_life_finds_nothing", audited);
    topic.on_each(both_gics(3), "lives_that_come_and_go_disturb_nobody", undisturbed);
}

/// A partition that asks for event ports, with a core of its own; its limit is 4 of them.
fn asker(name: &str, words: &str) -> Partition {
    Partition::new(name, "policy")
        .with(&format!("handles = 300\ncmdline = \"{words}\""))
        .with("limits = { event_ports = 4 }")
}

/// What the judge has, with the time for an answer; the event by which it says that it has a request, and the one by which it is told
/// that this is over.
fn ports(answer: &str) -> String {
    format!(
        "handout = {{ event_ports = 20 }}\nanswer = \"{answer}\"\n\
         [[event]]\nname = \"taken\"\nfrom = \"scos\"\nto = \"asker\"\nspi = 40\n\
         [[event]]\nname = \"over\"\nfrom = \"asker\"\nto = \"scos\"\nspi = 41"
    )
}

/// The policy program passes, and who asks it.
fn both_pass(system: &System, machine: &Machine, asker: &str) -> Outcome {
    let console = support::passes(system, machine)?;
    if has(&console, &format!("ok {asker}")) {
        return Ok(());
    }
    Err(shikiri_qemu_tests::Failure::new(format!("no case {asker}"), &console).into())
}

fn judged(machine: Machine) -> Outcome {
    let others =
        ["one", "two"].map(|name| sleeper(name, "crash", "crash=loop").with("handles = 4"));
    let [one, two] = others;
    let asker = asker("asker", "asker").with("requests = 2\ncores = [2]");
    let system = support::system([policy("judge", &ports("60s")), asker, one, two])?;
    both_pass(&system, &machine, "a_request_is_granted_changed_refused_or_cancelled")
}

/// By counted instructions: the asker measures what it gets of its core.
fn more(machine: Machine) -> Outcome {
    let asker = Partition::new("asker", "policy")
        .with("handles = 8\ncmdline = \"more-asker\"\nvcpus = 2\nkept_vcpus = 1\ncores = [1]")
        .with("share = { budget = \"2ms\", period = \"10ms\" }")
        .with("limits = { core_time = \"50%\" }");
    let lines = "answer = \"60s\"\nhandout = { core_time = \"30%\" }";
    let system = support::system([policy("more-judge", lines), asker])?;
    let console = support::passes(&system, &machine.icount())?;
    if has(&console, "ok what_was_granted_ends_with_the_life") {
        return Ok(());
    }
    Err(shikiri_qemu_tests::Failure::new("the second life says nothing".to_owned(), &console)
        .into())
}

/// What it has of its devices in each of two lives; at the end of the second one it has two of three.
fn kept(machine: Machine) -> Outcome {
    let slot = "{ path = \"/virtio_mmio@a000000\", dma = \"none\" }";
    let devices = format!("[\"/pl031@9010000\", \"/pl061@9030000\", {slot}]");
    let asker = Partition::new("asker", "policy")
        .with("handles = 8\ncmdline = \"kept-asker\"\ncores = [1]")
        .with(&format!("kept_devices = {devices}"));
    let system = support::system([policy("kept-judge", "answer = \"60s\""), asker])?;
    let mut running = system.boot(&machine)?;
    for _ in 0..2 {
        let console = running.wait_for("asker| done", PATIENCE)?;
        support::approve(&console)?;
    }
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    running.send("stop asker\r")?;
    let console = running.wait_for("scos| done", PATIENCE)?;
    support::approve(&console)?;
    support::audit(&mut running)?;
    Ok(())
}

fn areas(machine: Machine) -> Outcome {
    let lines = "partitions = 1\nimages = [\"channels\"]\n\
                 handout = { memory = \"16MiB\", core_time = \"50%\" }";
    let holder = Partition::new("scos", "policy")
        .sized("16MiB")
        .with("cores = [0]\nhandles = 32\nrequests = 2\ncmdline = \"areas\"")
        .with("areas = { pages = 8, blocks = 4, giants = 1, channels = 2 }")
        .with(&format!("[policy]\npartition = \"scos\"\n{lines}"));
    support::passes(&support::system([holder])?, &machine)?;
    Ok(())
}

/// A partition with the board's clock that does not start by itself, a policy program that gives the clock to others, and these.
fn clock<const N: usize>(words: &str, others: [Partition; N]) -> Result<System, Failed> {
    let lines = "partitions = 2\nimages = [\"clock\"]\n\
                 handout = { memory = \"64MiB\", core_time = \"100%\" }";
    let holder = Partition::new("scos", "policy")
        .sized("16MiB")
        .with(&format!("cores = [0]\nhandles = 16\ncmdline = \"{words}\""))
        .with(&format!("[policy]\npartition = \"scos\"\n{lines}"));
    let owner = Partition::new("owner", "clock")
        .with("cores = [1]\nshare = { budget = \"2ms\", period = \"10ms\" }\nautostart = false")
        .with("devices = [\"/pl031@9010000\"]");
    support::system([owner].into_iter().chain(others).chain([holder]))
}

/// It is neither started nor restarted, and the operator is not told that it is.
fn without_devices(machine: Machine) -> Outcome {
    let lost = Partition::new("lost", "crash")
        .with("cmdline = \"crash=tables at=0x9010000\"\nautostart = false\ncores = [1]")
        .with("share = { budget = \"2ms\", period = \"10ms\" }");
    let mut running = clock("lent then=stay", [lost])?.boot(&machine)?;
    let console = running.wait_for("scos| done", PATIENCE)?;
    support::approve(&console)?;
    support::open_operator(&mut running)?;
    for command in ["start owner", "restart owner"] {
        let answer = support::answer_lines(&mut running, command)?;
        if answer
            != [
                "owner has ended, and others have devices of its: the policy program takes them back",
            ]
        {
            return Err(running.failure(format!("{command} is answered {answer:?}")).into());
        }
    }
    let row = row_of(&mut running, "owner")?;
    if !row.contains("ended") {
        return Err(running.failure(row).into());
    }
    // A third one has its translation tables there: the report says whose it is.
    let words = "(on the board: device /pl031@9010000 of owner, given to another partition)";
    support::operate(&mut running, "start lost", words)
}

/// The clock's alarm comes to who has it: twice in each of two lives of the one that is made, and twice to its owner afterwards.
fn devices(machine: Machine) -> Outcome {
    let console = support::passes(&clock("devices", [])?, &machine)?;
    for (name, wanted) in [("driver", 4), ("owner", 2)] {
        let line = format!("{name}| ok the_alarm_comes_once");
        let alarms = console.lines().filter(|it| it.contains(&line)).count();
        if alarms != wanted {
            let what = format!("{alarms} alarms of {name}, not {wanted}");
            return Err(shikiri_qemu_tests::Failure::new(what, &console).into());
        }
    }
    Ok(())
}

fn overdue(machine: Machine) -> Outcome {
    let asker = asker("asker", "overdue").with("cores = [2]");
    let system = support::system([policy("judge", &ports("100ms")), asker])?;
    both_pass(&system, &machine, "a_request_is_refused_when_its_time_is_over")
}

/// The board's clock, for whoever asks for it.
const KEPT_CLOCK: &str = "kept_devices = [\"/pl031@9010000\"]";

fn alone(machine: Machine) -> Outcome {
    for (words, lines) in [
        ("alone grants", "[policy]\ndefault = \"grant\"\nhandout = { event_ports = 5 }"),
        ("alone", "[policy]\nhandout = { event_ports = 5 }"),
        ("alone", ""),
    ] {
        let asker = asker("asker", words).with(KEPT_CLOCK).with(lines);
        support::passes(&support::system([asker])?, &machine)?;
    }
    Ok(())
}

fn patient(machine: Machine) -> Outcome {
    // The holder never looks.
    let holder = Partition::new("scos", "crash").with("cmdline = \"crash=loop\"").with(
        "[policy]\npartition = \"scos\"\ndefault = \"grant\"\nanswer = \"100ms\"\n\
         handout = { event_ports = 20 }",
    );
    let system = support::system([asker("asker", "patient").with(KEPT_CLOCK), holder])?;
    let mut running = system.boot(&machine)?;
    let console = running.wait_for("asker| done", PATIENCE)?;
    support::approve(&console)
}

fn forgetful(machine: Machine) -> Outcome {
    let lines = "handout = { event_ports = 20 }\nanswer = \"60s\"";
    let system = support::system([
        policy("forgetful", lines),
        asker("asker", "outliving").with("cores = [1]"),
    ])?;
    both_pass(&system, &machine, "an_answer_comes_from_the_next_life")?;
    Ok(())
}

fn flooded(machine: Machine) -> Outcome {
    let flooding = asker("flooding", "flooding").with("cores = [1]\nautostart = false");
    support::passes(
        &support::system([
            policy("flooded", "handout = { event_ports = 20 }\nanswer = \"60s\""),
            flooding,
        ])?,
        &machine,
    )?;
    Ok(())
}

/// The places of the description are 0 and 1.
fn replaced(machine: Machine) -> Outcome {
    let lines = "partitions = 1\nanswer = \"60s\"";
    let mistaken = asker("mistaken", "mistaken place=2").with("cores = [1]\nautostart = false");
    let system = support::system([policy("replacing", lines), mistaken.with("requests = 1")])?;
    both_pass(&system, &machine, "the_permission_was_for_another")
}

fn last_words(machine: Machine) -> Outcome {
    let console = support::passes(&maker("last-words")?, &machine)?;
    let said = |line: &str| console.lines().filter(|it| it.trim_end() == line).count();
    for line in ["early| lark", "late| owl."] {
        if said(line) != 5 {
            let what = format!("{} times {line:?}", said(line));
            return Err(shikiri_qemu_tests::Failure::new(what, &console).into());
        }
    }
    Ok(())
}

/// The kernel comes from the bundle's images at first, then from the policy program's own memory, where it is the RAM disk.
fn linux(machine: Machine) -> Outcome {
    let lines = "partitions = 1\nimages = [\"linux/Image\", \"linux/initrd.cpio\"]\n\
                 handout = { memory = \"200MiB\" }";
    let holder = Partition::new("scos", "policy")
        .sized("64MiB")
        .with("cores = [0]\nhandles = 16\ncmdline = \"linux\"\ninitrd = \"linux/Image\"")
        .with(&format!("[policy]\npartition = \"scos\"\n{lines}"));
    let mut running = support::system([holder])?.boot(&machine)?;
    for _ in 0..2 {
        running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
        running.send("t")?;
    }
    let console = running.wait_for_power_off(PATIENCE * 2)?;
    support::approve(&console)
}

fn fair(machine: Machine) -> Outcome {
    let lines = "handout = { event_ports = 300 }\nanswer = \"60s\"";
    let shared = "share = { budget = \"3ms\", period = \"10ms\" }\ncores = [1]";
    let system = support::system([
        policy("fair", lines),
        asker("greedy-a", "greedy").with(shared),
        asker("greedy-b", "greedy").with(shared),
        asker("modest", "modest").with("cores = [2]\nautostart = false"),
    ])?;
    both_pass(&system, &machine, "a_modest_guest_is_served_beside_two_greedy_ones")
}

/// By counted instructions: all share core 0. Each of the greedy ones has 2 ms of every 10 ms, and is granted half a millisecond more, a
/// third of what can be handed out; the policy program has 1 ms. So a tick of the third one waits for 6 ms at most, and the switches.
fn in_time(machine: Machine) -> Outcome {
    let shared = |it: Partition, ms| {
        it.with(&format!("cores = [0]\nshare = {{ budget = \"{ms}ms\", period = \"10ms\" }}"))
    };
    let greedy = |name, spi| {
        let words = format!("handles = 300\ncmdline = \"greed poke=event-poke-{spi}\"");
        shared(Partition::new(name, "policy").with(&words), 2)
            .with("areas = { pages = 200, channels = 0 }")
            .with("limits = { event_ports = 8, memory = \"4MiB\", management_memory = \"1MiB\", core_time = \"20%\" }")
            .with(&format!("[[event]]\nname = \"poke-{spi}\"\nfrom = \"{name}\"\nto = \"steady\"\nspi = {spi}"))
    };
    let steady = Partition::new("steady", "policy")
        .with("handles = 64\nautostart = false\ncmdline = \"steady late_us=6100\"")
        .with("limits = { event_ports = 8 }");
    let judge = Partition::new("scos", "policy").with("handles = 16\ncmdline = \"greed-judge\"");
    let lines = "[policy]\npartition = \"scos\"\nanswer = \"60s\"\nhandout = { event_ports = 150, \
                 memory = \"480KiB\", management_memory = \"240KiB\", core_time = \"15%\" }";
    let judge = shared(judge, 1).with(lines);
    let guests = [shared(steady, 3), greedy("greedy-a", 40), greedy("greedy-b", 41), judge];
    let mut running = support::system(guests)?.boot(&machine.icount())?;
    let console = running.wait_for("scos| done", PATIENCE)?;
    support::approve(&console)?;
    if has(&console, "ok a_third_one_keeps_time_beside_two_greedy_ones") {
        return Ok(());
    }
    Err(running.failure("the third one says nothing".to_owned()).into())
}

/// What partitions are made with: four places, and a core that they share with `busy`.
fn maker(words: &str) -> Result<System, Failed> {
    let busy = sleeper("busy", "crash", "crash=loop");
    let step = sleeper("step", "crash", "crash=off");
    let lines = "partitions = 4\nimages = [\"timer\", \"hello\"]\n\
                 handout = { memory = \"1MiB\", core_time = \"90%\" }";
    let holder = policy(words, lines);
    support::system([holder, busy, step])
}

fn makes(machine: Machine) -> Outcome {
    let console = support::passes(&maker("make")?, &machine)?;
    if has(&console, "guest| hello: ") {
        return Ok(());
    }
    Err(shikiri_qemu_tests::Failure::new(
        "the guest of the bundle says nothing".to_owned(),
        &console,
    )
    .into())
}

fn outlive(machine: Machine) -> Outcome {
    let console = support::passes(&maker("outlive")?, &machine)?;
    if has(&console, "ok its_successor_goes_on_with_what_was_made") {
        return Ok(());
    }
    Err("no such case".into())
}

/// What only the policy program can start and destroy the operator neither starts nor stops, and is not told so.
fn undone(machine: Machine) -> Outcome {
    let mut running = maker("undone then=stay")?.boot(&machine)?;
    let console = running.wait_for("scos| done", PATIENCE)?;
    support::approve(&console)?;
    support::open_operator(&mut running)?;
    for command in ["start new", "stop new", "restart new"] {
        let answer = support::answer_lines(&mut running, command)?;
        if answer != ["new is created: the policy program starts and destroys it"] {
            return Err(running.failure(format!("{command} is answered {answer:?}")).into());
        }
    }
    let row = row_of(&mut running, "new")?;
    if row.contains("created") { Ok(()) } else { Err(running.failure(row).into()) }
}

/// A life of a partition that was made, and an audit behind it, so many times; nothing is lost in any of them.
fn audited(machine: Machine) -> Outcome {
    let lives = counts::MADE_LIVES.now();
    let mut running = maker(&format!("steps lives={lives} then=stay"))?.boot(&machine)?;
    running.wait_for("other cores asked to start", PATIENCE)?;
    support::open_operator(&mut running)?;
    let mut free = None;
    for life in 0..lives {
        let ended = format!("life {life} has ended");
        support::operate(&mut running, "start step", &ended)?;
        if life + 1 == lives {
            // Before the audit, whose answer it could come into. It stays as it is, so that there is still something to audit.
            let console = running.wait_for("scos| done", PATIENCE)?;
            support::approve(&console)?;
        }
        let answer = support::audit(&mut running)?;
        let words = answer.split_once(" held, ").map(|(_, rest)| rest.to_owned());
        if free.is_some() && free != words {
            return Err(running
                .failure(format!("{free:?} frames were free, now {words:?}"))
                .into());
        }
        free = words;
    }
    Ok(())
}

/// By counted instructions. Most of core 2 is promised to a partition that sleeps; the metronome makes the emulator's cores take
/// turns.
fn moved(machine: Machine) -> Outcome {
    let asleep = Partition::new("asleep", "witness")
        .with("cmdline = \"period_us=500000 reports=0 report_ms=1000000\"")
        .with("cores = [2]\nshare = { budget = \"7ms\", period = \"10ms\" }");
    let metronome = Partition::new("metronome", "witness")
        .with("cmdline = \"period_us=50 reports=0 report_ms=1000000\"\ncores = [3]");
    let system = support::system([policy("moves", "partitions = 2"), asleep, metronome])?;
    let mut running = system.boot(&machine.icount())?;
    let console = running.wait_for("scos| done", PATIENCE)?;
    support::approve(&console)
}

/// Places 0 and 1 are its own and the witness's; whatever it does to the others, those two go on, and the books agree.
fn wild(machine: Machine) -> Outcome {
    let (seed, steps) = (counts::seed(), counts::HOSTILE_POLICY.now());
    let patience = if counts::is_soak() { PATIENCE * 60 } else { PATIENCE * 2 };
    let others =
        ["one", "two"].map(|name| sleeper(name, "crash", "crash=loop").with("handles = 4"));
    let [one, two] = others;
    let one = one.with("devices = [\"/pl031@9010000\"]");
    let witness = Partition::new("witness", "witness")
        .with("cores = [0]\nshare = { budget = \"4ms\", period = \"10ms\" }\nhandles = 4")
        .with("cmdline = \"reports=0 report_ms=200\"");
    let holder = Partition::new("scos", "policy")
        .with("cores = [0]\nshare = { budget = \"5ms\", period = \"10ms\" }\nhandles = 16")
        .with(&format!("cmdline = \"hostile seed={seed} steps={steps}\""));
    let lines = "[policy]\npartition = \"scos\"\npartitions = 6\n\
                 images = [\"hello\", \"timer\", \"first\"]\n\
                 handout = { memory = \"2MiB\", core_time = \"150%\", event_ports = 500 }";
    let system = support::system([holder, witness, one, two.with(lines)])?;
    let mut running = system.boot(&machine)?;
    let mut console = running.wait_for("scos| done", patience)?;
    support::approve(&console)?;
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    // Two: the first may have been under way.
    for _ in 0..2 {
        console += &running.wait_for("| ok witness report", PATIENCE)?;
    }
    support::approve(&console)
}

/// By counted instructions: beside lives that come and go, no tick of a witness with a core of its own is later than 500 us.
fn undisturbed(machine: Machine) -> Outcome {
    let witness = Partition::new("witness", "witness")
        .with("cores = [2]\ncmdline = \"reports=10 report_ms=100 limit_us=500\"");
    let busy = sleeper("busy", "crash", "crash=loop");
    let lines = "partitions = 4\nimages = [\"hello\"]\n\
                 handout = { memory = \"1MiB\", core_time = \"90%\" }";
    let holder = policy("make case=many_lives_leave_nothing lives=30", lines);
    support::passes(&support::system([holder, busy, witness])?, &machine.icount())?;
    Ok(())
}

/// A partition with the test's policy program, and a table that says so.
fn policy(words: &str, lines: &str) -> Partition {
    Partition::new("scos", "policy")
        .with("cores = [0]\nhandles = 16")
        .with(&format!("cmdline = \"{words}\""))
        .with(&format!("[policy]\npartition = \"scos\"\n{lines}"))
}

/// A partition that the policy program starts; all of them share a core.
fn sleeper(name: &str, image: &str, words: &str) -> Partition {
    Partition::new(name, image)
        .with(&format!("cmdline = \"{words}\""))
        .with("cores = [1]\nshare = { budget = \"2ms\", period = \"10ms\" }\nautostart = false")
}

/// What the calls on partitions of the description are tried with. The holder's tables come last, since its `[policy]` ends
/// what belongs to a partition.
fn described(words: &str) -> Result<System, Failed> {
    let busy = sleeper("busy", "crash", "crash=loop").with("limits = { memory = \"8MiB\" }");
    let code = sleeper("code", "crash", "crash=end code=42");
    let fault = sleeper("fault", "crash", "crash=vectors");
    let again = sleeper("again", "crash", "crash=off")
        .with("restart = { policy = \"always\", delay = \"60s\" }");
    let holder = policy(words, "handout = { memory = \"400KiB\" }");
    support::system([holder, busy, code, fault, again])
}

fn calls(machine: Machine) -> Outcome {
    let system = described("")?;
    support::passes(&system, &machine)?;
    Ok(())
}

/// Each of the three lives for which there was no room says so.
fn crowded(machine: Machine) -> Outcome {
    let crowded = sleeper("crowded", "crash", "crash=reset").with("handles = 4");
    let holder = policy("crowded", "handout = { event_ports = 20 }")
        .with("[[event]]\nname = \"in\"\nfrom = \"scos\"\nto = \"crowded\"\nspi = 40")
        .with("[[event]]\nname = \"out\"\nfrom = \"crowded\"\nto = \"scos\"\nspi = 41");
    let crowded = crowded.with("limits = { event_ports = 2 }");
    let console = support::passes(&support::system([holder, crowded])?, &machine)?;
    let why =
        "cannot be started: no room for an event of the description (over the account's limit)";
    let said = console.lines().filter(|line| line.contains(why)).count();
    if said == 3 {
        return Ok(());
    }
    Err(shikiri_qemu_tests::Failure::new(format!("{said} times {why:?}"), &console).into())
}

fn restarts(machine: Machine) -> Outcome {
    let console = support::passes(&described("restarts")?, &machine)?;
    let both = ["what_happens_before_the_restart", "its_successor_finds_the_machine_as_it_is"];
    match both.into_iter().find(|name| !has(&console, &format!("ok {name}"))) {
        None => Ok(()),
        Some(name) => Err(format!("no case {name}").into()),
    }
}

fn stranger(machine: Machine) -> Outcome {
    let stranger = Partition::new("stranger", "policy").with("cmdline = \"stranger\"");
    let holder = Partition::new("scos", "hello").with("[policy]\npartition = \"scos\"");
    support::passes(&support::system([stranger, holder])?, &machine)?;
    // Where nobody has it, nobody has it.
    support::passes(&support::one_guest("policy", "stranger", 1)?, &machine)?;
    Ok(())
}

fn pauses(machine: Machine) -> Outcome {
    let [ticking, beside] = [("ticking", "tick"), ("beside", "beside")]
        .map(|(name, event)| sleeper(name, "policy", &format!("ticking event=event-{event}")));
    let holder = policy("pauses", "")
        .with("[[event]]\nname = \"tick\"\nfrom = \"ticking\"\nto = \"scos\"\nspi = 40")
        .with("[[event]]\nname = \"beside\"\nfrom = \"beside\"\nto = \"scos\"\nspi = 41");
    support::passes(&support::system([holder, ticking, beside])?, &machine)?;
    Ok(())
}
