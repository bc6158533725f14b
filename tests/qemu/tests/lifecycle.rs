//! Partitions end, are reported, start again, and leave nothing behind. P1, P3, P5.

use std::collections::BTreeMap;
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::written_by;
use shikiri_qemu_tests::{Machine, Running, counts};

use crate::guests::NO_CLOCK;
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, all_kinds, answer_lines, approve, audit, both_gics,
    open_operator, operate, operator, system,
};

/// The crashes that the hypervisor has to report: the crash, where it happens, what the guest and its neighbour have there, and who
/// owns that by the report. Tables are put where the board has something, which is not the guest's.
const REPORTED: [Reported; 5] = [
    Reported { crash: "vectors", at: "0", own: "", neighbours: "", owner: "nothing there" },
    Reported {
        crash: "tables",
        at: "0x9010000",
        own: "kept_devices = [\"/pl031@9010000\"]",
        neighbours: "",
        owner: "its device /pl031@9010000, kept back and not granted",
    },
    Reported {
        crash: "tables",
        at: "0x9010000",
        own: "",
        neighbours: "devices = [\"/pl031@9010000\"]",
        owner: "nothing there (on the board: device /pl031@9010000 of timer)",
    },
    Reported {
        crash: "tables",
        at: "0x50100000",
        own: "",
        neighbours: "memory = { size = \"4MiB\", at = 0x5000_0000 }",
        owner: "nothing there (on the board: RAM of timer)",
    },
    // Behind the guest's 2 MiB: QEMU loads the image 2 MiB above the start of RAM.
    Reported {
        crash: "tables",
        at: "0x40210000",
        own: "memory = \"2MiB\"",
        neighbours: "",
        owner: "nothing there (on the board: RAM of the hypervisor)",
    },
];

/// See [`REPORTED`].
#[derive(Clone, Copy)]
struct Reported {
    crash: &'static str,
    at: &'static str,
    own: &'static str,
    neighbours: &'static str,
    owner: &'static str,
}

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("lifecycle", trials);
    topic
        .on_each(all_kinds(2), "a_partition_ends_with_its_code", ends_with_code)
        .on_each(both_gics(2), "the_operator_stops_and_starts_a_partition", stop_and_start)
        .on_each(both_gics(2), "after_its_end_the_account_is_zero", zero_account)
        .also_on_rpi4()
        .on_each(all_kinds(2), "many_restarts_leave_nothing", leave_nothing)
        .on_each(both_gics(2), "many_restarts_disturb_nobody", disturb_nobody);
    topic.on_each(all_kinds(1), "a_start_finds_nothing_of_whoever_was_there_before", fresh);
    topic.on_each(both_gics(2), "a_stop_holds_between_two_lives_as_well", stops_hold);
    topic.on_each(both_gics(2), "a_guest_that_resets_without_end_is_slowed_down", resets);
    topic.on_each(both_gics(1), "a_guest_that_cannot_say_why_it_ends_ends_all_the_same", mute);
    topic.on_each(both_gics(2), "each_kind_of_crash_ends_with_what_it_was", kinds);
    topic.on_each(both_gics(2), "partitions_start_in_their_order", in_order);
    for case in REPORTED {
        let Reported { crash, at, owner, .. } = case;
        topic.not_on_rpi4(NO_CLOCK);
        let sentence = format!("crash_{crash}_at_{at}_is_reported_as: {owner}");
        topic.on_each(both_gics(2), &sentence, move |machine| reported(&machine, case));
    }
}

/// Every crash that a guest's own vectors catch, each in a partition of its own: the guest says what it was and where, and ends with the
/// run-time's code. A call of a secure monitor that nobody has is answered, and is no crash.
fn kinds(machine: Machine) -> Outcome {
    let (exception, panic) = (Some(102), Some(101));
    let kinds = [
        ("read", "data abort", "far  0000007000000000", exception),
        ("write", "data abort", "far  0000007000000000", exception),
        ("exec", "instruction abort", "elr 0000007000000000", exception),
        ("undef", "undefined instruction", "elr 0000", exception),
        ("svc", "SVC", "esr 0000000056000000", exception),
        ("brk", "BRK", "esr 00000000f2000000", exception),
        ("overflow", "data abort", "far  0000", exception),
        ("print", "data abort", "far  0000007000000000", exception),
        ("panic", "asked to panic", "crash.rs", panic),
        ("smc", "smc: ", "crash: still here", None),
    ];
    let crash = |(kind, ..): &(&str, &str, &str, Option<u32>)| {
        Partition::new(kind, "crash")
            .with(&format!("cmdline = \"crash={kind}\""))
            .with("cores = [0, 1]")
            .with("share = { budget = \"1ms\", period = \"10ms\" }")
    };
    let mut running = system(kinds.iter().map(crash))?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    for (kind, what, place, code) in kinds {
        let said = written_by(&console, kind);
        let ended = match code {
            Some(code) => format!("has ended: it ended itself with code {code}"),
            None => "has ended: it powered itself off".to_owned(),
        };
        let named = format!("shikiri: partition {kind} (id ");
        let is_ended = console.lines().any(|it| it.starts_with(&named) && it.contains(&ended));
        if !said.contains(what) || !said.contains(place) || !is_ended {
            return Err(running.failure(format!("{kind}: {ended}, {said:?}")).into());
        }
    }
    Ok(())
}

/// Lower numbers first, whatever the order of the file: ids are given when a life begins.
fn in_order(machine: Machine) -> Outcome {
    let guest = |name, order: u32| {
        Partition::new(name, "hello")
            .with(&format!("start_order = {order}"))
            .with("cores = [0]")
            .with("share = { budget = \"1ms\", period = \"10ms\" }")
    };
    let guests = [guest("last", 20), guest("first", 0), guest("later", 3), guest("second", 1)];
    let mut running = system(guests)?.boot(&machine)?;
    let ended = ["first (id 1)", "second (id 2)", "later (id 3)", "last (id 4)"];
    let ended = ended.map(|who| format!("partition {who} has ended"));
    running.wait_for_all(&ended.each_ref().map(String::as_str), PATIENCE)?;
    Ok(())
}

/// Two on one core, the second of which starts when the first has ended, and twice: it gets the frames that are free again. Each
/// life leaves all registers and its memory full.
fn fresh(machine: Machine) -> Outcome {
    let fresh = |name| {
        Partition::new(name, "fresh")
            .with("cores = [0]")
            .with("share = { budget = \"4ms\", period = \"10ms\" }")
    };
    // Without it the machine would power off between the two.
    let spin = Partition::new("spin", "spin")
        .with("cores = [0]")
        .with("share = { budget = \"1ms\", period = \"10ms\" }");
    let second = fresh("second").with("autostart = false").with("cmdline = \"starts=2\"");
    let mut running = system([fresh("first"), second, spin])?.boot(&machine)?;
    running.wait_for_all(&["first| done", "partition first (id 1) has ended"], PATIENCE)?;
    open_operator(&mut running)?;
    operate(&mut running, "start second", "second| done")?;
    let console = running.console().text();
    approve(&console)?;
    let words = ["| ok registers_are_zero_at_the_first_instruction", "| ok memory_is_zero"];
    match words.iter().find(|words| console.matches(**words).count() != 3) {
        None => Ok(()),
        Some(words) => Err(running.failure(format!("not three times: {words:?}")).into()),
    }
}

/// A guest that crashes, beside one that prints ticks.
fn crash_and_timer(machine: &Machine, kind: &str, more: &str) -> Result<Running, Failed> {
    let crash =
        Partition::new("crash", "crash").with(&format!("cmdline = \"crash={kind}\"")).with(more);
    let timer = Partition::new("timer", "timer").with("cmdline = \"ticks=1000000\"");
    Ok(system([crash, timer])?.boot(machine)?)
}

fn ends_with_code(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "end code=42", "")?;
    running.wait_for("ended itself with code 42", PATIENCE)?;
    // The neighbour goes on.
    running.wait_for("timer| ", PATIENCE)?;
    Ok(())
}

fn stop_and_start(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "loop", "")?;
    running.wait_for("crash: loop", PATIENCE)?;
    open_operator(&mut running)?;
    operate(&mut running, "stop crash", "stopped by the operator")?;
    operate(&mut running, "start crash", "crash: loop")
}

/// While it lives the partition uses something of each of these; after its end nothing of anything, and the frames
/// that it had are free: as many as before it was started again.
fn zero_account(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "loop", "")?;
    running.wait_for("crash: loop", PATIENCE)?;
    open_operator(&mut running)?;
    let alive = account(&mut running, "crash")?;
    for name in ["core time", "IPA space", "memory", "management memory"] {
        if !alive.iter().any(|(of, used)| of == name && used != "0") {
            return Err(running.failure(format!("it lives without {name}: {alive:?}")).into());
        }
    }
    let living = free_frames(&mut running)?;
    for _ in 0..2 {
        operator(&mut running, "stop crash")?;
        wait_until_stopped(&mut running, "crash")?;
        let ended = free_frames(&mut running)?;
        nothing_is_used(&mut running, "crash")?;
        operate(&mut running, "start crash", "crash: loop")?;
        let again = free_frames(&mut running)?;
        // 4 MiB are 1024 frames, and there are tables and records.
        if again != living || ended <= living + 1024 {
            let what = format!("{living} frames free while it lived, then {ended}, then {again}");
            return Err(running.failure(what).into());
        }
    }
    Ok(())
}

/// What an account's lines say is used, by the resource's name.
fn account(running: &mut Running, name: &str) -> Result<Vec<(String, String)>, Failed> {
    let answer = answer_lines(running, &format!("accounts {name}"))?;
    let mut lines = Vec::new();
    for line in &answer {
        let Some((name, numbers)) = line.split_once("  ") else { continue };
        let Some(used) = numbers.split_whitespace().next() else { continue };
        if used.starts_with(|c: char| c.is_ascii_digit()) {
            lines.push((name.to_owned(), used.to_owned()));
        }
    }
    // P3 has eight.
    if lines.len() == 8 { Ok(lines) } else { Err(format!("not an account: {answer:?}").into()) }
}

/// Every line of an account says that nothing is used.
pub(crate) fn nothing_is_used(running: &mut Running, name: &str) -> Outcome {
    let account = account(running, name)?;
    match account.iter().find(|(_, used)| used != "0") {
        None => Ok(()),
        Some(line) => Err(running.failure(format!("after its end {line:?} is still used")).into()),
    }
}

/// How much management memory a partition uses, in KiB.
pub(crate) fn management_kib(running: &mut Running, name: &str) -> Result<u64, Failed> {
    let answer = operator(running, &format!("accounts {name}"))?;
    let line = answer.lines().find_map(|line| line.trim().strip_prefix("management memory"));
    let mut words = line.unwrap_or_default().split_whitespace();
    match (words.next().and_then(|used| used.parse().ok()), words.next()) {
        (Some(used), Some("KiB")) => Ok(used),
        _ => Err(format!("no management memory in KiB: {answer}").into()),
    }
}

/// How many frames nobody has, by an audit.
fn free_frames(running: &mut Running) -> Result<u64, Failed> {
    free_of(&audit(running)?)
}

/// How many frames nobody has, by an audit's answer.
fn free_of(answer: &str) -> Result<u64, Failed> {
    let words = answer.split_once(" held, ").and_then(|(_, rest)| rest.split_once(" free"));
    let free = words.and_then(|(number, _)| number.parse().ok());
    free.ok_or_else(|| format!("no number of free frames: {answer}").into())
}

/// How many partitions live and how many frames nobody has then, by an audit.
fn alive_and_free(running: &mut Running) -> Result<(String, u64), Failed> {
    let answer = audit(running)?;
    let compared = answer.split_once("partitions: ").and_then(|(_, rest)| rest.split_once(','));
    let (compared, _) = compared.ok_or_else(|| format!("no number of partitions: {answer}"))?;
    Ok((compared.to_owned(), free_of(&answer)?))
}

/// The machine's cores are threads of the host: the partitions' ends and starts really race with the rest. All books are
/// compared behind each start, at whatever moment of the life that is.
fn leave_nothing(machine: Machine) -> Outcome {
    let mut free = BTreeMap::new();
    restarts(&machine, counts::RESTARTS.now(), "", |running| {
        let (alive, now) = alive_and_free(running)?;
        let before = *free.entry(alive.clone()).or_insert(now);
        if before == now {
            return Ok(());
        }
        let what = format!("{alive}: {before} frames were free, now {now}");
        Err(running.failure(what).into())
    })
}

/// By counted instructions: no tick of a witness with a core of its own is later than 500 us. Most of it is what the
/// operator's lists and audits cost the core that happens to look after the console.
fn disturb_nobody(machine: Machine) -> Outcome {
    let limit = format!("limit_us={}", counts::restarts_may_delay_us());
    restarts(&machine.icount(), counts::RESTARTS.short, &limit, |_| Ok(()))
}

/// Restarts a partition so often beside a witness, and looks behind each; then the books have to agree, and as many
/// frames have to be free as after its first end.
fn restarts(
    machine: &Machine,
    wanted: u64,
    words: &str,
    mut look: impl FnMut(&mut Running) -> Outcome,
) -> Outcome {
    let crash = Partition::new("crash", "crash")
        .with("cmdline = \"crash=end\"")
        .with("restart = \"always\"");
    let witness = Partition::new("witness", "witness")
        .with(&format!("cmdline = \"reports=0 report_ms=100 {words}\""));
    let mut running = system([crash, witness])?.boot(machine)?;
    running.wait_for("crash: end", PATIENCE)?;
    let before = free_when_stopped(&mut running)?;
    operator(&mut running, "start crash")?;
    let mut console = String::new();
    for _ in 0..wanted {
        console += &running.wait_for("crash: end", PATIENCE)?;
        look(&mut running)?;
    }
    let after = free_when_stopped(&mut running)?;
    nothing_is_used(&mut running, "crash")?;
    for _ in 0..2 {
        console += &running.wait_for("| ok witness report", PATIENCE)?;
    }
    if before != after {
        return Err(running.failure(format!("{before} frames were free, now {after}")).into());
    }
    never_late(&running, &console)
}

/// Fails if the witness has seen a late tick.
fn never_late(running: &Running, console: &str) -> Outcome {
    match console.lines().find(|line| line.contains("FAIL")) {
        None => Ok(()),
        Some(line) => Err(running.failure(format!("the witness says {line:?}")).into()),
    }
}

/// Stops the partition and says how many frames are free then.
fn free_when_stopped(running: &mut Running) -> Result<u64, Failed> {
    open_operator(running)?;
    operator(running, "stop crash")?;
    wait_until_stopped(running, "crash")?;
    free_frames(running)
}

/// Asks the operator console for the list until the partition is neither alive nor about to start.
pub(crate) fn wait_until_stopped(running: &mut Running, name: &str) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let row = row_of(running, name)?;
        if row.contains(" ended ") && !row.trim_end().ends_with(", restarts") {
            return Ok(());
        }
    }
    Err(running.failure(format!("{name} does not stop")).into())
}

/// A partition's row of the operator's list.
pub(crate) fn row_of(running: &mut Running, name: &str) -> Result<String, Failed> {
    let lines = answer_lines(running, "list")?;
    let row = lines.iter().find(|line| line.split_whitespace().next() == Some(name));
    row.cloned().ok_or_else(|| format!("{name} is not in the list: {lines:?}").into())
}

/// A partition that ends all the time is stopped wherever it is in its life or between two, and stays so: its id, which each
/// life has anew, is still the same some commands later.
fn stops_hold(machine: Machine) -> Outcome {
    let mut running = crash_and_timer(&machine, "end code=1", "restart = \"always\"")?;
    // The consoles are there.
    running.wait_for("it will restart", PATIENCE)?;
    open_operator(&mut running)?;
    let mut free = None;
    for _ in 0..counts::RESTARTS.now() {
        running.wait_for("it will restart", PATIENCE)?;
        operator(&mut running, "stop crash")?;
        wait_until_stopped(&mut running, "crash")?;
        let stopped = row_of(&mut running, "crash")?;
        nothing_is_used(&mut running, "crash")?;
        let now = free_frames(&mut running)?;
        let before = *free.get_or_insert(now);
        if before != now {
            return Err(running.failure(format!("{before} frames were free, now {now}")).into());
        }
        let later = row_of(&mut running, "crash")?;
        if later != stopped || !stopped.contains("stopped") {
            return Err(running.failure(format!("{stopped:?}, and later {later:?}")).into());
        }
        operator(&mut running, "start crash")?;
    }
    Ok(())
}

/// A guest that asks for a reset as soon as it runs, and a witness that counts the seconds: 10 restarts in each, and
/// not a tick late by more than the emulator's turns.
/// The witness's limit is the emulator's, not ours: by counted instructions one core runs until the next deadline when the
/// other's turn ends in the middle of its interrupt, and 382 us of a neighbour's start were seen so.
fn resets(machine: Machine) -> Outcome {
    let crash = Partition::new("crash", "crash").with("cmdline = \"crash=reset\"");
    let witness = Partition::new("witness", "witness").with(&format!(
        "cmdline = \"reports=3 report_ms=1000 limit_us={}\"",
        counts::restarts_may_delay_us()
    ));
    let mut running = system([crash, witness])?.boot(&machine.icount())?;
    running.wait_for("| ok witness report 1", PATIENCE)?;
    let console = running.wait_for("| ok witness report 3", PATIENCE)?;
    let restarts = console.matches("has ended: it asked for a reset; it will restart").count();
    // A second's begin and end may lie just before and just behind a restart. With checks a report comes late, and a life takes long.
    let slack = if counts::is_checked() { 10 } else { 1 };
    if restarts.abs_diff(20) <= slack {
        return never_late(&running, &console);
    }
    Err(running.failure(format!("{restarts} restarts in 2 s")).into())
}

/// The run-time's first access to the UART that is not there faults, and so does its report of that.
fn mute(machine: Machine) -> Outcome {
    let mute = Partition::new("mute", "hello").with("console = false");
    let mut running = system([mute])?.boot(&machine)?;
    running.wait_for("partition mute (id 1) has ended: it ended itself with code 102", PATIENCE)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

fn reported(machine: &Machine, case: Reported) -> Outcome {
    let Reported { crash, at, own, neighbours, owner } = case;
    let crash = Partition::new("crash", "crash")
        .with(&format!("cmdline = \"crash={crash} at={at}\""))
        .changed(own);
    let timer =
        Partition::new("timer", "timer").with("cmdline = \"ticks=1000000\"").changed(neighbours);
    let mut running = system([crash, timer])?.boot(machine)?;
    running.wait_for("unexpected exit", PATIENCE)?;
    running.wait_for("  about far ", PATIENCE)?;
    let rest = running.wait_for("\n", PATIENCE)?;
    if !rest.trim_end().ends_with(owner) {
        return Err(running.failure(format!("the owner is not {owner:?}: {rest:?}")).into());
    }
    running.wait_for("timer| ", PATIENCE)?;
    Ok(())
}
