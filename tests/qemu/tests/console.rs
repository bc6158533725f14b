//! The consoles of several partitions on one UART. V1, and the issue's bullet on the console.

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::{behind, has, written_by};
use shikiri_qemu_tests::{Failure, Machine, Running};

use crate::lifecycle::row_of;
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, both_gics, one_guest, open_operator, operate,
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
        // Name, id, state, vCPUs, memory, restarts, cores.
        ["right", "3", "active", "1", "4", "MiB", "1", _] => {}
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
