//! The consoles of several partitions on one UART. V1, and the issue's bullet on the console.

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::{behind, has, written_by};
use shikiri_qemu_tests::{Failure, Gic, Machine, Running};

use crate::lifecycle::row_of;
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, Variant, both_gics, one_guest, open_operator, operate,
    operate_until, operator, passes, system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("console", trials);
    topic
        .on_each(both_gics(2), "each_line_carries_its_partitions_name", names)
        .also_on_rpi4()
        .on_each(both_gics(2), "the_prefix_key_switches_the_focus_and_shows_it", focus)
        .on_each(both_gics(2), "the_operator_console_lists_and_explains", lists)
        .also_on_rpi4()
        .on_each(both_gics(2), "the_operator_restarts_a_partition_under_a_new_id", restarts)
        .on_each(both_gics(2), "a_dump_shows_each_vcpu_while_the_partition_goes_on", dump)
        .on_each(both_gics(1), "a_guest_that_is_silent_is_shown_at_once", dump_of_silence)
        .on_each(wide(), "a_dump_of_many_vcpus_shows_each_to_its_end", dump_of_many)
        .on_each(both_gics(2), "of_64_partitions_the_accounts_and_the_list_are_whole", crowd)
        .on_each(both_gics(2), "what_is_typed_reaches_the_focus_and_nobody_else", routed)
        .on_each(
            both_gics(2),
            "what_is_typed_does_not_interrupt_a_core_that_somebody_owns",
            undisturbed,
        )
        .on_each(
            both_gics(2),
            "the_report_of_a_fault_says_who_why_where_and_what_came_before",
            report,
        )
        .on_each(
            both_gics(2),
            "a_prompt_that_was_broken_is_shown_again_with_what_was_typed",
            prompt,
        )
        .on_each(both_gics(2), "the_last_words_are_the_last_on_the_line", last_words)
        .on_each(both_gics(2), "who_leaves_a_line_open_is_shown_after_20_ms", left_open)
        .on_each(both_gics(2), "who_has_the_focus_is_shown_at_once_with_a_line_open", open_in_focus)
        .on_each(both_gics(2), "who_outruns_the_line_is_held_back_and_nothing_is_lost", flooded);
}

/// One writes more than the line takes, another slowly, each on a core of its own: the first sees its FIFO full, the second never;
/// of both each line comes, once and in order. By counted instructions, because the second measures how long its lines take it:
/// the emulator's cores take turns of 1 ms.
fn flooded(machine: Machine) -> Outcome {
    const SLOW: u64 = 20;
    const FAST: u64 = 400;
    let role = |name, words: &str, lines: u64| {
        Partition::new(name, "lines").with(&format!("cmdline = \"role={words} lines={lines}\""))
    };
    let guests = [role("quiet", "quiet limit_us=2500", SLOW), role("flooder", "flood", FAST)];
    let console = passes(&system(guests)?, &machine.icount())?;
    let flood =
        |number| format!("flood {number:04} of as many lines as the console takes, and then some");
    let quiet = |number| format!("quiet {number:04} begins, and ends.");
    let expected = [
        ("flooder", (0..FAST).map(flood).collect::<String>(), "ok the_line_holds_it_back"),
        ("quiet", (0..SLOW).map(quiet).collect(), "ok no_byte_has_to_wait_for_others"),
    ];
    for (name, lines, verdict) in expected {
        let written = written_by(&console, name);
        if !written.starts_with(&lines) || !written.contains(verdict) {
            return Err(Failure::new(format!("{name} has written {written:?}"), &console).into());
        }
    }
    // They did write at the same time.
    let between =
        behind(&console, "quiet 0000 begins").and_then(|rest| rest.split_once("quiet 0010"));
    match between {
        Some((between, _)) if between.contains("flood 0") => Ok(()),
        _ => Err(Failure::new("one after the other", &console).into()),
    }
}

/// One has the focus and says all the time what time it is; the other leaves a line open. What the first has written next
/// before and next behind that says when it was shown.
fn left_open(machine: Machine) -> Outcome {
    /// When it has to be shown, in microseconds after it was written; the emulator's cores take turns of 1 ms.
    const SHOWN: std::ops::RangeInclusive<u64> = 19_000..=23_000;
    let role = |name, words: &str| {
        Partition::new(name, "lines").with(&format!("cmdline = \"role={words}\""))
    };
    let guests = [role("clock", "clock lines=90"), role("other", "open")];
    let mut running = system(guests)?.boot(&machine.icount())?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let number = |words: &str| -> Option<u64> {
        let end = words.find(|c: char| !c.is_ascii_digit()).unwrap_or(words.len());
        words.get(..end)?.parse().ok()
    };
    let times = || {
        let (before, behind) = console.split_once("open ")?;
        let written = number(behind)?;
        let last = number(before.rsplit_once("clock ")?.1)?;
        let next = number(behind.split_once("clock ")?.1)?;
        Some((last.checked_sub(written)?, next.checked_sub(written)?))
    };
    match times() {
        Some((last, next)) if SHOWN.contains(&last) && SHOWN.contains(&next) => Ok(()),
        times => Err(Failure::new(format!("shown between {times:?}"), &console).into()),
    }
}

/// The roles the other way round: of what the other has said since, nothing comes before the open line.
fn open_in_focus(machine: Machine) -> Outcome {
    let role = |name, words: &str| {
        Partition::new(name, "lines").with(&format!("cmdline = \"role={words}\""))
    };
    let guests = [role("focused", "open"), role("clock", "clock lines=90")];
    let mut running = system(guests)?.boot(&machine.icount())?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let number = |words: &str| -> Option<u64> {
        words.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let times = || {
        let (before, behind) = console.split_once("open ")?;
        Some((number(behind)?, number(before.rsplit_once("clock ")?.1)?))
    };
    match times() {
        // The emulator's cores take turns of 1 ms.
        Some((written, last)) if last < written + 2000 => Ok(()),
        times => Err(Failure::new(format!("open and last before it: {times:?}"), &console).into()),
    }
}

/// Two guests that go on: ticking and spinning.
fn two(machine: &Machine) -> Result<Running, libtest_mimic::Failed> {
    let timer = Partition::new("left", "timer").with("cmdline = \"ticks=1000000\"");
    let spin = Partition::new("right", "spin");
    Ok(system([timer, spin])?.boot(machine)?)
}

fn names(machine: Machine) -> Outcome {
    let hello = || Partition::new("one", "hello");
    let smp = || Partition::new("other", "smp");
    let mut running = system([hello(), smp()])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    for line in ["one| hello: 1 vCPU", "other| smp: "] {
        if !has(&console, line) {
            return Err(running.failure(format!("no line starts {line:?}")).into());
        }
    }
    // No line carries the text of both.
    let mixed = console.lines().find(|line| line.contains("hello:") && line.contains("smp:"));
    match mixed {
        Some(line) => Err(running.failure(format!("two partitions in one line: {line}")).into()),
        None => Ok(()),
    }
}

fn focus(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    running.send("\u{1}2")?;
    running.wait_for("[focus: right]", PATIENCE)?;
    running.send("\u{1}1")?;
    running.wait_for("[focus: left]", PATIENCE)?;
    running.send("\u{1}n")?;
    running.wait_for("[focus: right]", PATIENCE)?;
    running.send("\u{1}9")?;
    running.wait_for("[there is no console 9]", PATIENCE)?;
    Ok(())
}

fn lists(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    running.send("\u{1}c")?;
    running.wait_for("[focus: operator console]", PATIENCE)?;
    running.send("list\r")?;
    running.wait_for("left", PATIENCE)?;
    running.wait_for("active", PATIENCE)?;
    running.wait_for("right", PATIENCE)?;
    running.send("accounts left\r")?;
    running.wait_for("high water", PATIENCE)?;
    running.send("lits\r")?;
    running.wait_for("did you mean 'list'?", PATIENCE)?;
    running.send("stop middle\r")?;
    running.wait_for("no partition 'middle'", PATIENCE)?;
    running.send("log\r")?;
    running.wait_for("[11]", PATIENCE)?;
    running.send("off\r")?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

fn restarts(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    open_operator(&mut running)?;
    let answer = operator(&mut running, "start right")?;
    expect(&running, &answer, "right is active: 'stop' or 'restart' it")?;
    let again = [
        "(id 2) has ended: it was restarted by the operator",
        "partition right (id 3) starts",
        "right| spin",
    ];
    operate_until(&mut running, "restart right", &again)?;
    let row = row_of(&mut running, "right")?;
    let words: Vec<_> = row.split_whitespace().collect();
    match words.as_slice() {
        // Name, id, state, vCPUs, memory, starts, cores.
        ["right", "3", "active", "1", "4", "MiB", "2", _] => {}
        _ => return Err(running.failure(format!("the row is {row:?}")).into()),
    }
    operate(&mut running, "stop right", "has ended: it was stopped by the operator")?;
    let answer = operator(&mut running, "list")?;
    expect(&running, &answer, "stopped")?;
    let answer = operator(&mut running, "stop right")?;
    expect(&running, &answer, "right has ended already")?;
    // The other one has not been disturbed.
    running.wait_for("left| timer: tick", PATIENCE)?;
    Ok(())
}

fn dump(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    open_operator(&mut running)?;
    let shown = ["partition left (id 1) dump", "vCPU 0 on core 0", "x30", "exits, newest first"];
    operate_until(&mut running, "dump left", &shown)?;
    running.wait_for("left| timer: tick", PATIENCE)?;
    running.wait_for("left| timer: tick", PATIENCE)?;
    operate(&mut running, "stop left", "has ended: it was stopped")?;
    let answer = operator(&mut running, "dump left")?;
    expect(&running, &answer, "left is ended: there is nothing to show")
}

/// Guests that write nothing and make no exit: one waits, the other spins, both without interrupts.
fn dump_of_silence(machine: Machine) -> Outcome {
    for kind in ["wfi", "loop"] {
        let mut running = one_guest("crash", &format!("crash={kind}"), 1)?.boot(&machine)?;
        running.wait_for(&format!("crash: {kind}"), PATIENCE)?;
        open_operator(&mut running)?;
        let shown = ["partition crash (id 1) dump", "vCPU 0 on core 0", "exits, newest first"];
        operate_until(&mut running, "dump crash", &shown)?;
    }
    Ok(())
}

/// One machine with more cores than reports that fit into the hypervisor's buffer.
fn wide() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 8, "cortex-a72")]
}

fn dump_of_many(machine: Machine) -> Outcome {
    let mut running = one_guest("spin", "", 8)?.boot(&machine)?;
    running.wait_for("spin: 8 vCPUs spin", PATIENCE)?;
    open_operator(&mut running)?;
    // One that was told to start may not have done so yet, and is on no core then.
    let heads: Vec<String> = (0..8).map(|vcpu| format!("; vCPU {vcpu} on ")).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    operate_until(&mut running, "dump spin", &heads)?;
    // What comes behind the last report shows that it is complete.
    operator(&mut running, "list")?;
    let console = running.console().text();
    let whole = console.split("partition spin (id 1) dump").skip(1).filter(|report| {
        ["  x28 ", " its own last exception", " exits, newest first"]
            .iter()
            .all(|words| report.contains(words))
    });
    match whole.count() {
        8 if !console.contains("did not fit") => Ok(()),
        whole => Err(running.failure(format!("{whole} of 8 reports are whole")).into()),
    }
}

/// As many partitions as there can be, none of which starts: what is said of them is several times the hypervisor's buffer. What is
/// typed behind the command is answered after it.
fn crowd(machine: Machine) -> Outcome {
    let names: Vec<String> = (0..64).map(|number| format!("partition-{number:02}")).collect();
    let waiting = |name: &String| {
        Partition::new(name, "hello")
            .with("autostart = false")
            .with("share = { budget = \"100us\", period = \"10ms\" }")
    };
    let mut running = system(names.iter().map(waiting))?.boot(&machine)?;
    running.wait_for("shikiri: [10]", PATIENCE)?;
    open_operator(&mut running)?;
    running.send("accounts\rlist\rhelp\r")?;
    running.wait_for("shikiri> help", PATIENCE)?;
    running.wait_for("power the machine off", PATIENCE)?;
    running.wait_for("shikiri> ", PATIENCE)?;
    let console = running.console().text();
    let (accounts, list) = behind(&console, "shikiri> accounts")
        .and_then(|answers| answers.split_once("shikiri> list"))
        .ok_or_else(|| running.failure("the answers are not in order".into()))?;
    for name in &names {
        let account = behind(accounts, name).unwrap_or_default();
        let row = list.lines().find(|line| line.split_whitespace().next() == Some(name));
        if !account.contains("event ports") || !row.is_some_and(|row| row.contains("ended")) {
            return Err(running.failure(format!("{name} is not shown")).into());
        }
    }
    match accounts.matches("core time").count() {
        64 if !console.contains("did not fit") => Ok(()),
        shown => Err(running.failure(format!("{shown} of 64 accounts are shown")).into()),
    }
}

/// Each of two guests repeats the lines that it hears. What is typed while the operator console has the focus is heard by none.
fn routed(machine: Machine) -> Outcome {
    let echo = |name| Partition::new(name, "lines").with("cmdline = \"role=echo\"");
    let mut running = system([echo("left"), echo("right")])?.boot(&machine)?;
    running.wait_for_all(&["left| listening", "right| listening"], PATIENCE)?;
    let typed = [
        ("\u{1}1", "[focus: left]"),
        ("alpha\r", "left| heard alpha"),
        ("\u{1}2", "[focus: right]"),
        ("beta\r", "right| heard beta"),
        ("gamma\r", "right| heard gamma"),
        ("\u{1}c", "shikiri> "),
        ("audit\r", "free in pool and ledger"),
        ("\u{1}1", "[focus: left]"),
        ("delta\r", "left| heard delta"),
        // Ctrl-A itself.
        ("\u{1}\u{1}\r", "left| heard \\x01"),
        ("end\r", "[focus: right]"),
        ("end\r", "powering off"),
    ];
    for (keys, shown) in typed {
        running.send(keys)?;
        running.wait_for(shown, PATIENCE)?;
    }
    let console = running.wait_for_power_off(PATIENCE)?;
    for (name, heard) in
        [("left", &["alpha", "delta", "\\x01"][..]), ("right", &["beta", "gamma"][..])]
    {
        let heard: String = heard.iter().map(|line| format!("heard {line}")).collect();
        let expected = format!("listening{heard}ok it_hears_what_is_typed_to_itdone");
        let written = written_by(&console, name);
        if written != expected {
            return Err(Failure::new(format!("{name} has written {written:?}"), &console).into());
        }
    }
    Ok(())
}

/// The guest spins without interrupts of its own on the core that boots; the other core is nobody's. Each command comes with one
/// interrupt of the UART at least, and a dump with two exits or three.
fn undisturbed(machine: Machine) -> Outcome {
    const COMMANDS: u64 = 40;
    let mut running = one_guest("crash", "crash=loop", 1)?.boot(&machine)?;
    running.wait_for("crash: loop", PATIENCE)?;
    open_operator(&mut running)?;
    let before = exits(&mut running)?;
    for _ in 0..COMMANDS {
        operator(&mut running, "accounts crash")?;
    }
    let after = exits(&mut running)?;
    if after - before < COMMANDS / 2 {
        return Ok(());
    }
    Err(running.failure(format!("{before} exits, and {after} after {COMMANDS} commands")).into())
}

/// How many exits the guest has made, by a dump.
fn exits(running: &mut Running) -> Result<u64, libtest_mimic::Failed> {
    running.send("dump crash\r")?;
    let report = running.wait_for(" exits, newest first", PATIENCE)?;
    operator(running, "list")?;
    let count = report.rsplit_once(" of ").and_then(|(_, count)| count.split_once(' '));
    let count = count.and_then(|(count, _)| count.parse().ok());
    Ok(count.ok_or_else(|| running.failure("no number of exits".into()))?)
}

fn report(machine: Machine) -> Outcome {
    let mut running = one_guest("crash", "crash=vectors", 1)?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let from =
        console.find("partition crash (id 1) ended: unexpected exit").unwrap_or(console.len());
    let text = console.split_at(from).1;
    let wanted = [
        "; vCPU 0 on core 0",
        "why   esr 0000000082000005  instruction abort: translation fault, level 1",
        "at    pc  0000007000000200  EL1, masked DAIF",
        "x28",
        "vbar  0000007000000000",
        "about far 0000007000000200  ipa:0x7000000200  nothing there",
        "stage 2 level 1: [pa:",
        "not mapped: nothing at level 1",
        "last 16 of ",
        "pc 0000007000000200  007000000200  instruction abort",
        "data abort",
        "partition crash (id 1) has ended: it faulted",
    ];
    let mut rest = text;
    for words in wanted {
        let Some((_, after)) = rest.split_once(words) else {
            return Err(running
                .failure(format!("the report lacks {words:?}, or has it too early"))
                .into());
        };
        rest = after;
    }
    Ok(())
}

fn prompt(machine: Machine) -> Outcome {
    let mut running = two(&machine)?;
    running.wait_for("right| spin", PATIENCE)?;
    open_operator(&mut running)?;
    running.send("he")?;
    running.wait_for("he", PATIENCE)?;
    running.wait_for("left| timer: tick", PATIENCE)?;
    running.send("lp\r")?;
    running.wait_for("shikiri> help", PATIENCE)?;
    running.wait_for("power the machine off", PATIENCE)?;
    Ok(())
}

fn last_words(machine: Machine) -> Outcome {
    let hello = || Partition::new("one", "hello");
    let mut running = system([hello(), Partition::new("other", "smp")])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let last = console.trim_end().lines().last().unwrap_or_default();
    if last == "shikiri: all partitions have ended: powering off" {
        return Ok(());
    }
    Err(running.failure(format!("the last line is {last:?}")).into())
}

/// Fails unless `answer` has `words` in it.
fn expect(running: &Running, answer: &str, words: &str) -> Outcome {
    if answer.contains(words) {
        return Ok(());
    }
    Err(running.failure(format!("the answer lacks {words:?}: {answer}")).into())
}
