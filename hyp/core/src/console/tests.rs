//! Tests of the multiplexer: partitions, a board's UART with a FIFO, and a clock that the test moves.

mod focus;
mod properties;

use super::{Again, Focus, MAX_SLOTS, Multiplexer, OWN_BYTES, Ports, Typed};
use crate::lifecycle::Lifecycle;
use crate::report::{ExitRecord, ExitReport, ExitRing, Registers, Syndrome};
use crate::vuart::{Access, ConsolePort, FIFO_DEPTH, OUTPUT_BYTES, VirtualUart};
use shikiri_abi::{CoreId, PartitionId, VcpuIndex};
use std::fmt::Write;
use std::format;
use std::string::String;
use std::vec::Vec;

const MS: u64 = 1000;

struct Board {
    mux: Multiplexer,
    ports: Vec<ConsolePort>,
    now: u64,
    wire: Vec<u8>,
    /// Bytes that the UART takes before it is full.
    room: usize,
}

impl Board {
    fn with(names: &[&str]) -> Self {
        let mut mux = Multiplexer::new(MS);
        let ports = names.iter().map(|_| ConsolePort::new()).collect();
        for (slot, name) in names.iter().enumerate() {
            mux.attach(slot, name);
        }
        Self { mux, ports, now: 0, wire: Vec::new(), room: usize::MAX }
    }

    fn guest(&self, slot: usize, text: &str) {
        assert!(text.bytes().all(|byte| self.ports[slot].output.push(byte)), "the port is full");
    }

    fn pump(&mut self) -> Again {
        loop {
            let (wire, room) = (&mut self.wire, &mut self.room);
            let mut sink = |byte| {
                let has_room = *room > 0;
                if has_room {
                    wire.push(byte);
                    *room -= 1;
                }
                has_room
            };
            let pumped = self.mux.pump(self.now, self.ports.as_slice(), &mut sink);
            if pumped.again != Again::Now {
                return pumped.again;
            }
        }
    }

    /// What has been written since the last look, with CR LF as a line end.
    fn seen(&mut self) -> String {
        String::from_utf8(core::mem::take(&mut self.wire)).unwrap().replace("\r\n", "\n")
    }

    fn pumped(&mut self) -> String {
        self.pump();
        self.seen()
    }

    fn type_text(&mut self, text: &[u8]) -> Vec<Typed> {
        text.iter().map(|byte| self.mux.input(self.now, *byte)).collect()
    }

    fn read_input(&mut self, slot: usize) -> String {
        let mut text = Vec::new();
        loop {
            text.extend(core::iter::from_fn(|| self.ports[slot].input.pop()));
            if self.mux.deliver(self.ports.as_slice()) != Some(slot) {
                return String::from_utf8(text).unwrap();
            }
        }
    }
}

#[test]
fn a_single_console_passes_through_unchanged_but_for_lone_line_feeds() {
    let mut board = Board::with(&["linux"]);
    board.guest(0, "\x1b[1mboot\x1b[0m\r\nhello\n\rlogin: ");
    assert_eq!(board.pump(), Again::Idle);
    assert_eq!(board.wire, b"\x1b[1mboot\x1b[0m\r\nhello\r\nlogin: ");
}

#[test]
fn from_the_second_console_on_every_line_carries_its_partitions_name() {
    let mut board = Board::with(&["linux", "hello"]);
    board.guest(0, "one\n\ntwo\n");
    board.guest(1, "uno\r\ndos\r\n");
    assert_eq!(
        board.pumped(),
        "linux| one\nhello| uno\nlinux| \nhello| dos\nlinux| two\n",
        "turns go round by lines"
    );
}

#[test]
fn names_are_coloured_only_when_asked() {
    let mut board = Board::with(&["a", "b"]);
    board.mux.set_coloured(true);
    board.guest(1, "x\n");
    assert_eq!(board.pumped(), "\x1b[36mb| \x1b[0mx\n");
}

#[test]
fn the_focused_prompt_appears_at_once_and_others_after_20_milliseconds() {
    let mut board = Board::with(&["linux", "hello"]);
    board.guest(0, "~ # ");
    board.guest(1, "half");
    assert_eq!(board.pump(), Again::At(20 * MS));
    assert_eq!(board.seen(), "linux| ~ # ");
    board.now = 20 * MS - 1;
    assert_eq!(board.pump(), Again::At(20 * MS));
    assert_eq!(board.seen(), "");
    board.now = 20 * MS;
    assert_eq!(board.pump(), Again::Idle);
    assert_eq!(board.seen(), "\nhello| half");
    board.guest(1, " done\n");
    assert_eq!(board.pumped(), " done\n", "its own line goes on without a new prefix");
}

#[test]
fn an_unfinished_line_that_is_completed_in_time_is_not_torn() {
    let mut board = Board::with(&["linux", "hello"]);
    board.guest(1, "half");
    board.pump();
    board.now = 10 * MS;
    board.guest(1, " and half\n");
    assert_eq!(board.pumped(), "hello| half and half\n");
}

#[test]
fn a_core_whose_clock_reading_is_a_little_older_keeps_lines_back_too() {
    let mut board = Board::with(&["linux", "hello"]);
    board.now = 50 * MS;
    board.guest(1, "half");
    board.pump();
    board.now -= 1;
    assert_eq!(board.pump(), Again::At(70 * MS));
    assert_eq!(board.seen(), "");
}

#[test]
fn others_wait_for_a_line_that_is_being_written_but_not_for_a_prompt() {
    let mut board = Board::with(&["linux", "hello"]);
    board.guest(0, "Booting");
    board.pump();
    board.guest(1, "tick\n");
    board.now = 5 * MS;
    board.guest(0, " Linux");
    assert_eq!(board.pump(), Again::At(25 * MS));
    assert_eq!(board.seen(), "linux| Booting Linux");
    board.guest(0, "\n");
    assert_eq!(board.pumped(), "\nhello| tick\n");
    board.guest(0, "~ # ");
    board.pump();
    board.now = 25 * MS;
    board.guest(1, "tock\n");
    assert_eq!(board.seen() + &board.pumped(), "linux| ~ # \nhello| tock\n");
}

#[test]
fn a_line_that_never_ends_holds_the_others_for_100_milliseconds_at_most() {
    let mut board = Board::with(&["endless", "hello"]);
    board.guest(1, "tick\n");
    board.pump();
    board.seen();
    board.guest(0, ".");
    board.pump();
    board.guest(1, "tock\n");
    while !board.seen().contains("tock") {
        assert!(board.now <= 100 * MS, "held for ever");
        board.now += MS;
        board.guest(0, ".");
        board.pump();
    }
    assert!(board.now >= 99 * MS, "torn too early, at {} ticks", board.now);
}

#[test]
fn a_full_line_is_written_whole_however_slow_the_board_is() {
    let mut board = Board::with(&["a", "b"]);
    let line = "0123456789".repeat(80);
    board.guest(0, &format!("{line}\n"));
    board.guest(1, "short\n");
    board.room = 0;
    assert_eq!(board.pump(), Again::WhenReady);
    for _ in 0..2000 {
        board.room = 1;
        board.now += 10 * MS;
        board.pump();
    }
    let seen = board.seen();
    assert!(seen.contains(&format!("a| {line}\n")), "{seen}");
    assert!(seen.contains("b| short\n"), "{seen}");
}

#[test]
fn the_rest_of_a_slow_line_comes_before_others_once_it_is_complete() {
    let mut board = Board::with(&["slow", "other"]);
    for part in ["a", "b", "c", "d", "e", "f", "g"] {
        board.guest(0, part);
        board.pump();
        board.now += 15 * MS;
    }
    board.guest(0, " end\n");
    board.guest(1, "x\n");
    assert_eq!(board.pumped(), "slow| abcdefg end\nother| x\n");
}

#[test]
fn a_kept_back_line_that_fills_half_its_port_is_released() {
    let mut board = Board::with(&["linux", "long"]);
    board.guest(1, &"x".repeat(OUTPUT_BYTES / 2 - 1));
    assert_eq!(board.pump(), Again::At(20 * MS));
    assert_eq!(board.seen(), "");
    board.guest(1, "y");
    assert!(board.pumped().ends_with("xxy"));
}

#[test]
fn each_unfinished_line_is_kept_back_from_its_own_beginning() {
    let mut board = Board::with(&["linux", "hello"]);
    board.guest(1, "one");
    board.pump();
    board.now = 10 * MS;
    board.guest(1, " line\n");
    assert_eq!(board.pumped(), "hello| one line\n");
    board.now = 100 * MS;
    board.guest(1, "two");
    assert_eq!(board.pump(), Again::At(120 * MS));
    assert_eq!(board.seen(), "");
}

#[test]
fn a_uart_that_takes_every_other_byte_gets_them_in_order() {
    let mut board = Board::with(&["alpha", "beta"]);
    board.guest(0, "first\n");
    board.guest(1, "second\n");
    let (mut wire, mut calls) = (Vec::new(), 0);
    for _ in 0..100 {
        let _pumped = board.mux.pump(0, board.ports.as_slice(), &mut |byte| {
            calls += 1;
            let takes = calls % 2 == 0;
            wire.extend(takes.then_some(byte));
            takes
        });
    }
    assert_eq!(wire, b"alpha| first\r\nbeta| second\r\n");
}

#[test]
fn control_sequences_of_the_unfocused_do_not_reach_the_terminal() {
    let mut board = Board::with(&["linux", "evil"]);
    board.guest(1, "\x1b[2J\x1b[Hlinux| root# \x08\x08\x07\n");
    board.guest(0, "\x1b[31mred\x1b[0m\n");
    assert_eq!(board.pumped(), "linux| \x1b[31mred\x1b[0m\nevil| linux| root# \n");
}

#[test]
fn a_flood_takes_its_turn_and_does_not_starve_anybody() {
    let mut board = Board::with(&["flood", "quiet"]);
    board.guest(0, &"x\n".repeat(OUTPUT_BYTES / 2));
    board.guest(1, "a\nb\n");
    writeln!(board.mux, "shikiri: note").unwrap();
    board.room = 60;
    board.pump();
    let seen = board.seen();
    assert!(seen.contains("quiet| a\n") && seen.contains("quiet| b\n"), "{seen}");
    assert!(seen.contains("shikiri: note\n"), "{seen}");
}

#[test]
fn a_flood_without_a_newline_is_broken_for_the_others() {
    let mut board = Board::with(&["flood", "quiet"]);
    for round in 0..300 {
        while board.ports[0].output.push(b'x') {}
        if round == 5 {
            board.guest(1, "a\n");
        }
        board.now += MS;
        board.room = 100;
        board.pump();
    }
    assert!(board.seen().contains("\nquiet| a\n"));
}

#[test]
fn the_hypervisors_report_stays_in_one_piece() {
    let mut board = Board::with(&["a", "b"]);
    for number in 0..30 {
        writeln!(board.mux, "report {number}").unwrap();
    }
    board.guest(0, &"x\n".repeat(40));
    board.guest(1, &"y\n".repeat(40));
    let seen = board.pumped();
    let report = (0..30).fold(String::new(), |text, number| text + &format!("report {number}\n"));
    assert!(seen.contains(&report), "{seen}");
}

#[test]
fn own_text_that_does_not_fit_is_counted_and_told() {
    let mut board = Board::with(&["a"]);
    for _ in 0..OWN_BYTES / 10 + 5 {
        board.mux.write_str("0123456789").unwrap();
    }
    board.pump();
    board.seen();
    board.mux.write_str("after\n").unwrap();
    // 8192 = 819 × 10 + 2: 8 bytes of one piece and 4 whole ones.
    assert_eq!(board.pumped(), "\n[48 bytes of the hypervisor's text did not fit]\nafter\n");
}

#[test]
fn a_guest_behind_a_slow_line_waits_by_its_own_full_fifo_and_loses_nothing() {
    let mut board = Board::with(&["fast", "slow"]);
    let mut uart = VirtualUart::new();
    let text: String = (0..600).fold(String::new(), |text, line| text + &format!("line {line}\n"));
    let mut waiting = text.bytes().peekable();
    let mut seen = String::new();
    let mut held_back = 0;
    for round in 0..3000_u64 {
        while let Some(byte) = waiting.peek().copied() {
            let flags = uart.mmio(&board.ports[0], 0x18, 4, Access::Read).value;
            if flags & 0x20 != 0 {
                held_back += 1;
                break;
            }
            let _outcome = uart.mmio(&board.ports[0], 0, 4, Access::Write(u64::from(byte)));
            waiting.next();
        }
        if round % 100 == 0 {
            board.guest(1, "tick\n");
        }
        board.room = 16;
        board.now += MS;
        board.pump();
        seen += &board.seen();
    }
    assert!(held_back > 10, "the line was never slow");
    let of = |prefix: &str| {
        seen.lines().filter_map(|line| line.strip_prefix(prefix)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(of("fast| ") + "\n", text);
    assert_eq!(of("slow| ").lines().count(), 30);
}

#[test]
fn guests_that_saw_a_full_fifo_are_named_as_relieved() {
    let mut board = Board::with(&["a", "b"]);
    board.guest(0, &"x".repeat(OUTPUT_BYTES));
    board.guest(1, &"y".repeat(OUTPUT_BYTES - FIFO_DEPTH));
    let mut sink = |_| true;
    let mut relieved = 0;
    for _ in 0..10 {
        board.now += 20 * MS;
        relieved |= board.mux.pump(board.now, board.ports.as_slice(), &mut sink).relieved;
    }
    assert_eq!(relieved, 0b01);
}

#[test]
fn a_detached_console_goes_after_its_last_words() {
    let mut board = Board::with(&["linux", "crash"]);
    assert!(board.mux.set_focus(Focus::Slot(1)));
    board.pump();
    board.guest(1, "last words");
    board.mux.detach(1);
    board.room = 5;
    board.pump();
    assert!(board.mux.is_attached(1));
    board.room = usize::MAX;
    board.pump();
    assert!(!board.mux.is_attached(1));
    assert_eq!(board.seen(), "[focus: crash]\ncrash| last words\n[focus: linux]\n");
    assert!(!board.mux.set_focus(Focus::Slot(1)));
    board.mux.attach(1, "crash");
    board.guest(1, "again\n");
    assert_eq!(board.pumped(), "crash| again\n");
}

#[test]
fn the_last_words_of_a_closing_console_do_not_wait() {
    let mut board = Board::with(&["linux", "crash"]);
    board.guest(1, "pan");
    board.mux.detach(1);
    assert_eq!(board.pumped(), "crash| pan\n");
    assert!(!board.mux.is_attached(1));
}

#[test]
fn a_closing_console_lets_go_beside_one_that_writes_without_end() {
    let mut board = Board::with(&["loud", "gone"]);
    board.guest(1, "bye\n");
    board.mux.detach(1);
    for _ in 0..100 {
        while board.ports[0].output.push(b'\n') {}
        board.room = 64;
        assert_eq!(board.pump(), Again::WhenReady);
    }
    assert!(board.seen().contains("gone| bye\n"));
    assert!(!board.mux.is_attached(1));
}

#[test]
fn slots_out_of_range_and_ports_that_are_gone_do_no_harm() {
    let mut board = Board::with(&["a"]);
    board.mux.attach(MAX_SLOTS, "beyond");
    board.mux.attach(usize::MAX, "beyond");
    board.mux.detach(MAX_SLOTS);
    assert!(!board.mux.is_attached(MAX_SLOTS));
    assert!(!board.mux.set_focus(Focus::Slot(64)));
    board.mux.attach(7, "gone");
    assert_eq!(board.pump(), Again::Idle);
    board.mux.detach(7);
    assert_eq!(board.pump(), Again::Idle);
    assert!(!board.mux.is_attached(7));
}

#[test]
fn before_the_clock_is_known_nothing_is_kept_back() {
    let mut board = Board::with(&["a", "b"]);
    board.mux.set_ticks_per_ms(0);
    board.guest(1, "partial");
    assert_eq!(board.pumped(), "b| partial");
}

#[test]
fn all_64_slots_work() {
    let names: Vec<String> = (0..MAX_SLOTS).map(|slot| format!("p{slot}")).collect();
    let mut board = Board::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for slot in 0..MAX_SLOTS {
        board.guest(slot, "here\n");
    }
    let seen = board.pumped();
    assert!(names.iter().all(|name| seen.contains(&format!("{name}| here\n"))), "{seen}");
}

#[test]
fn a_slice_of_ports_has_no_port_behind_its_end() {
    let ports = [ConsolePort::new()];
    assert!(ports.as_slice().port(0).is_some() && ports.as_slice().port(1).is_none());
}

#[test]
fn an_unfinished_last_line_is_known_before_and_after_it_was_written() {
    let mut board = Board::with(&["a", "b"]);
    let is_open = |board: &Board| board.mux.ends_inside_line(0, &board.ports[0]);
    assert!(!is_open(&board));
    board.guest(0, "whole\nhalf");
    assert!(is_open(&board));
    board.pump();
    assert!(is_open(&board), "the port is empty, but the cursor stands behind 'half'");
    board.guest(0, "\n");
    assert!(!is_open(&board));
    board.pump();
    assert!(!is_open(&board));
}

#[test]
fn a_prompt_that_another_partition_has_broken_is_known_to_be_broken() {
    let mut board = Board::with(&["a", "b"]);
    write!(board.mux, "shikiri> ").unwrap();
    assert!(board.mux.is_own_line_open());
    board.pump();
    assert!(board.mux.is_own_line_open());
    board.guest(0, "tick\n");
    board.now += 100 * MS;
    assert_eq!(board.pumped(), "shikiri> \na| tick\n");
    assert!(!board.mux.is_own_line_open());
}

/// A line of 115,200 baud beside a partition that crashes and restarts ten times a second.
#[test]
fn a_partition_that_crashes_without_end_leaves_the_line_to_others() {
    const BYTES_PER_MS: usize = 11;
    const SECONDS: u64 = 10;
    let mut board = Board::with(&["crash", "other"]);
    let mut life = Lifecycle::new();
    let (mut full, mut seen, mut latest) = (0, String::new(), 0);
    for ms in 0..SECONDS * 1000 {
        board.now = ms * MS;
        if ms % 100 == 0 {
            let is_brief = !life.reports_in_full(board.now, MS);
            full += u64::from(!is_brief);
            crash(&mut board, ms / 100, is_brief);
        }
        if ms % 50 == 25 {
            board.guest(1, &format!("tick {ms}\n"));
        }
        board.room = BYTES_PER_MS;
        board.pump();
        let begun = seen.rfind('\n').map_or(0, |end| end + 1);
        seen += &board.seen();
        let whole = seen.rfind('\n').map_or(begun, |end| end.max(begun));
        for line in seen[begun..whole].lines() {
            let tick = line.strip_prefix("other| tick ").and_then(|tick| tick.parse::<u64>().ok());
            latest = latest.max(tick.map_or(0, |tick| ms - tick));
        }
    }
    assert_eq!(full, 12);
    assert!(!seen.contains("did not fit"), "{seen}");
    assert!(seen.matches("it will restart").count() >= 98, "{seen}");
    assert!(seen.matches("other| tick").count() >= 190, "{seen}");
    // The three reports at the begin take the line for so long.
    assert!(latest < 800, "a line was {latest} ms late");
}

/// What a crash of the first partition writes: its own last line, the report, and the end and the start.
fn crash(board: &mut Board, id: u64, is_brief: bool) {
    board.guest(0, "crash: vectors\n");
    let exits = ExitRing::new();
    for _ in 0..16 {
        exits.push(ExitRecord { time: 1, pc: u64::MAX, esr: 0x24 << 26, address: u64::MAX });
    }
    let report = ExitReport {
        partition: "crash",
        id: PartitionId(u32::try_from(id).unwrap()),
        vcpu: VcpuIndex(0),
        core: Some(CoreId(0)),
        what: &"ended: unexpected exit",
        syndrome: Some(Syndrome(0x24 << 26)),
        registers: &Registers::default(),
        place: None,
        exits: &exits,
        now: 1000,
        ticks_per_second: 1000,
        is_brief,
    };
    write!(board.mux, "{report}").unwrap();
    let life = format!("shikiri: partition crash (id {id})");
    writeln!(board.mux, "{life} has ended: it faulted; it will restart").unwrap();
    writeln!(board.mux, "{life} starts on core 0").unwrap();
}
