//! Tests of the operator console: the exact answers.

use super::command::Argument;
use super::{
    Command, CommandError, GO_ON_BYTES, MachineView, PIECE_BYTES, PartitionRow, Request, Rest,
    answer,
};
use crate::account::Line;
use crate::console::{Again, Multiplexer, NAME_BYTES, Name, OWN_BYTES};
use crate::frame::Finding;
use crate::invariants::{Audit, Violation};
use crate::lifecycle::EndCause;
use crate::vuart::ConsolePort;
use core::fmt::{self, Write};
use shikiri_abi::{CoreId, CoreSet, PageCount, PartitionId, PartitionSlot, Resource};
use std::string::String;
use std::vec::Vec;

/// Linux on two cores, and a crashed guest; and what an audit finds.
struct Machine(Audit);

/// Nothing is wrong.
const CLEAN: Audit = Audit {
    complete: 1,
    ended: 1,
    changing: 0,
    held: PageCount(65_600),
    free: Some(PageCount(1000)),
    violation: None,
};

impl MachineView for Machine {
    fn partition_count(&self) -> usize {
        2
    }

    fn partition(&self, index: usize) -> Option<PartitionRow> {
        let cores = CoreSet::one(CoreId(0)).union(CoreSet::one(CoreId(1)));
        match index {
            0 => Some(PartitionRow {
                name: Name::new("linux"),
                id: Some(PartitionId(1)),
                state: "active",
                end: None,
                will_restart: false,
                vcpus: 2,
                cores,
                memory: PageCount(65536),
                starts: 1,
            }),
            1 => Some(PartitionRow {
                name: Name::new("crash"),
                id: None,
                state: "ended",
                end: Some(EndCause::Code(7)),
                will_restart: true,
                vcpus: 1,
                cores: CoreSet::one(CoreId(3)),
                memory: PageCount(515),
                starts: 12,
            }),
            _ => None,
        }
    }

    fn account(&self, index: usize, resource: Resource) -> Option<Line> {
        match (index, resource) {
            (0, Resource::CoreTime) => Some(Line { limit: None, used: 2_000_000, high: 2_000_000 }),
            (0, Resource::Memory) => Some(Line { limit: Some(1 << 18), used: 65536, high: 65537 }),
            (0, Resource::EventPorts) => Some(Line { limit: Some(8), used: 0, high: 0 }),
            _ => None,
        }
    }

    fn audit(&self) -> Audit {
        self.0
    }

    fn boot_log(&self, write: &mut dyn FnMut(&[u8])) {
        write(b"shikiri: [01] entered\n");
        write(b"\x1b[2Jshikiri: [02]\n");
    }
}

fn answered(line: &str) -> (Request, String) {
    answered_by(line, &Machine(CLEAN))
}

/// The whole answer, and what has to be done after it.
fn answered_by(line: &str, view: &impl MachineView) -> (Request, String) {
    let mut out = String::new();
    let mut request = answer(line, view, &mut out).unwrap();
    while let Request::More(rest) = request {
        request = after(rest.go_on(view, &mut out).unwrap());
    }
    (request, out)
}

fn after(rest: Rest) -> Request {
    if rest == Rest::NOTHING { Request::Done } else { Request::More(rest) }
}

/// As many partitions as there can be, and all that is shown of them as long as it can be.
struct Crowd;

impl MachineView for Crowd {
    fn partition_count(&self) -> usize {
        64
    }

    fn partition(&self, index: usize) -> Option<PartitionRow> {
        let name = std::format!("{index:x>NAME_BYTES$}");
        (index < 64).then(|| PartitionRow {
            name: Name::new(&name),
            id: Some(PartitionId(u32::MAX)),
            state: "being destroyed",
            end: Some(EndCause::Code(u32::MAX)),
            will_restart: true,
            vcpus: 64,
            cores: CoreSet(u128::MAX),
            memory: PageCount(u64::MAX >> 3),
            starts: u32::MAX,
        })
    }

    fn account(&self, _: usize, _: Resource) -> Option<Line> {
        Some(Line { limit: Some(u64::MAX >> 3), used: u64::MAX >> 3, high: u64::MAX >> 3 })
    }

    fn audit(&self) -> Audit {
        CLEAN
    }

    fn boot_log(&self, _: &mut dyn FnMut(&[u8])) {}
}

/// The hypervisor's text, on a UART that takes a few bytes at a time.
struct SlowLine {
    console: Multiplexer,
    wire: Vec<u8>,
}

impl SlowLine {
    /// The UART takes as much as its FIFO holds.
    fn pump(&mut self) -> Again {
        let mut fifo = 0..16;
        let ports: &[ConsolePort] = &[];
        let mut sink = |byte| {
            let has_room = fifo.next().is_some();
            if has_room {
                self.wire.push(byte);
            }
            has_room
        };
        self.console.pump(0, ports, &mut sink).again
    }
}

impl Write for SlowLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.console.write_str(text)
    }
}

#[test]
fn of_64_partitions_each_is_shown_on_a_slow_line_and_the_prompt_follows_p1() {
    for line in ["list", "accounts"] {
        let (_, expected) = answered_by(line, &Crowd);
        assert!(expected.len() > 3 * OWN_BYTES, "{} bytes", expected.len());
        let mut out = SlowLine { console: Multiplexer::new(0), wire: Vec::new() };
        let mut request = answer(line, &Crowd, &mut out).unwrap();
        while let Request::More(rest) = request {
            while out.console.own_room() < GO_ON_BYTES {
                out.pump();
            }
            request = after(rest.go_on(&Crowd, &mut out).unwrap());
        }
        assert_eq!(request, Request::Done);
        assert!(out.console.own_room() >= GO_ON_BYTES, "what is typed next could not be answered");
        while out.pump() != Again::Idle {}
        let shown = String::from_utf8(out.wire).unwrap().replace("\r\n", "\n");
        let differs =
            shown.lines().zip(expected.lines()).find(|(shown, expected)| shown != expected);
        assert_eq!((differs, shown.len()), (None, expected.len()), "{line}");
    }
}

#[test]
fn what_a_partition_has_in_an_answer_is_a_piece_at_most() {
    for line in ["list", "accounts"] {
        let (_, text) = answered_by(line, &Crowd);
        assert!(text.len() < 64 * PIECE_BYTES, "{line}: {} bytes", text.len());
        let name = std::format!("{:x>NAME_BYTES$}", 1);
        let (first, _) = text.split_once(&name).unwrap();
        assert!(first.len() < PIECE_BYTES, "{line}: {} bytes", first.len());
    }
}

#[test]
fn list_shows_every_partition() {
    let expected = "  \
name               id state    vCPUs    memory   starts  cores  last end
  linux               1 active       2   256 MiB        1  0,1
  crash               - ended        1  2060 KiB       12  3  code 7, restarts
";
    let (request, out) = answered("list");
    assert_eq!((request, out.as_str()), (Request::Done, expected), "\n{out}");
}

#[test]
fn accounts_show_each_resource_with_its_unit() {
    let expected = "  \
linux                      used   high water        limit
    core time         2000000 ppm  2000000 ppm         none
    memory                256 MiB   262148 KiB        1 GiB
    event ports                 0            0            8
";
    let (request, out) = answered("accounts linux");
    assert_eq!((request, out.as_str()), (Request::Done, expected), "\n{out}");
    let (_, all) = answered("accounts");
    assert!(all.starts_with(expected) && all.contains("  crash "), "{all}");
}

#[test]
fn requests_name_the_partition_by_its_place() {
    for (line, request) in [
        ("stop linux", Request::Stop(0)),
        ("start crash", Request::Start(1)),
        ("  restart   crash ", Request::Restart(1)),
        ("dump linux", Request::Dump(0)),
        ("focus crash", Request::Focus(1)),
        ("off", Request::Off),
        ("", Request::Done),
        ("   ", Request::Done),
    ] {
        assert_eq!(answered(line), (request, String::new()), "{line}");
    }
}

#[test]
fn what_is_not_understood_is_answered_with_what_was_meant() {
    for (line, text) in [
        ("lst", "no command 'lst': did you mean 'list'?\n"),
        ("reboot", "no command 'reboot': 'help' lists them\n"),
        ("q", "no command 'q': 'help' lists them\n"),
        ("stop", "stop needs a partition's name: 'list' shows them\n"),
        ("stop lunix", "no partition 'lunix': did you mean 'linux'?\n"),
        ("stop windows", "no partition 'windows': 'list' shows them\n"),
        ("stop linux now", "'now' is one word too many\n"),
        ("off linux", "'linux' is one word too many\n"),
        ("accounts nobody", "no partition 'nobody': 'list' shows them\n"),
    ] {
        assert_eq!(answered(line), (Request::Done, text.into()), "{line}");
    }
}

#[test]
fn help_names_every_command_once() {
    let (_, out) = answered("help");
    for command in [
        "list", "accounts", "stop", "start", "restart", "dump", "focus", "audit", "log", "off",
        "help",
    ] {
        let lines = out.lines().filter(|line| line.split_whitespace().next() == Some(command));
        assert_eq!(lines.count(), 1, "{command}");
    }
}

#[test]
fn every_command_in_the_help_is_understood() {
    for entry in super::command::HELP {
        let name = if entry.argument == Argument::No { "" } else { "linux" };
        let line = std::format!("{} {name}", entry.word);
        let command = std::format!("{:?}", Command::parse(&line, &Machine(CLEAN)).unwrap());
        assert!(command.to_lowercase().starts_with(entry.word), "{line} is {command}");
    }
}

#[test]
fn the_log_is_shown_without_control_bytes() {
    let (_, out) = answered("log");
    assert_eq!(out, "shikiri: [01] entered\n?[2Jshikiri: [02]\n");
}

#[test]
fn no_line_fails() {
    let mut words: Vec<String> = ["", "stop", "list", "dump", "x"].map(String::from).to_vec();
    words.push("y".repeat(80));
    for first in &words {
        for second in &words {
            for third in &words {
                let _answer = answered(&std::format!("{first} {second} {third}"));
            }
        }
    }
    assert_eq!(Command::parse("a b c", &Machine(CLEAN)), Err(CommandError::TooMany("c")));
}

fn audited(audit: Audit) -> String {
    let (request, out) = answered_by("audit", &Machine(audit));
    assert_eq!(request, Request::Done);
    out
}

#[test]
fn a_clean_audit_is_shown_with_its_counts() {
    assert_eq!(
        audited(CLEAN),
        "ledger, stage-2 tables and accounts agree
  registers: the hypervisor's own are in no table
  partitions: 1 compared, 1 ended and without frames
  frames: 65600 held, 1000 free in pool and ledger
"
    );
}

#[test]
fn an_audit_says_what_it_could_not_compare() {
    assert_eq!(
        audited(Audit { ended: 0, changing: 1, free: None, ..CLEAN }),
        "ledger, stage-2 tables and accounts agree
  registers: the hypervisor's own are in no table
  partitions: 1 compared, 0 ended and without frames
  partitions: 1 being built or taken apart, compared in part
  frames: 65600 held; the free ones could not be compared now: ask again
"
    );
}

#[test]
fn a_failed_audit_names_the_partition_and_never_says_that_books_agree() {
    let memory = Finding::Memory { charged: 8, owned: 9 };
    for (violation, text) in [
        (
            Violation::Books(PartitionSlot(1), memory),
            "AUDIT FAILED: partition crash: memory: 8 pages on the account, 9 in the ledger\n",
        ),
        (
            Violation::Pool { pool: PageCount(3), ledger: PageCount(4) },
            "AUDIT FAILED: 3 frames are free in the pool and 4 in the ledger\n",
        ),
        (
            Violation::LeftOver { slot: PartitionSlot(9), pages: PageCount(2) },
            "AUDIT FAILED: it has ended and has 2 frames\n",
        ),
    ] {
        let answer = audited(Audit { violation: Some(violation), ..CLEAN });
        let expected = std::format!("{text}this is a fault of the hypervisor: please report it\n");
        assert_eq!(answer, expected);
    }
}
