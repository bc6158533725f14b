//! Tests of the virtual PL011.

use super::{
    Access, CR, ConsolePort, DR, Drain, FBRD, FIFO_DEPTH, FR, IBRD, ICR, IFLS, ILPR, IMSC, INT_RT,
    INT_RX, INT_TX, LCRH, LCRH_FEN, MIS, OUTPUT_BYTES, PERIPH_ID0, RIS, VirtualUart,
};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

/// UARTRSR and UARTECR.
const RSR: u64 = 4;

/// What an access did, as far as the tests look at it.
struct Seen {
    value: u64,
    drain: Drain,
    wants_input: bool,
}

/// A UART with its port, and the guest's view of it.
struct Machine {
    uart: VirtualUart,
    port: ConsolePort,
    /// The line's level as reported to the virtual GIC.
    line: bool,
}

impl Machine {
    fn new() -> Self {
        Self { uart: VirtualUart::new(), port: ConsolePort::new(), line: false }
    }

    fn with_fifos() -> Self {
        let mut machine = Self::new();
        machine.write(LCRH, u64::from(LCRH_FEN) | 0x60);
        machine.write(CR, 0x301);
        machine
    }

    fn access(&mut self, offset: u64, bytes: u64, access: Access) -> Seen {
        let outcome = self.uart.mmio(&self.port, offset, bytes, access);
        self.note(outcome.line);
        Seen { value: outcome.value, drain: outcome.drain, wants_input: outcome.wants_input }
    }

    fn note(&mut self, change: Option<bool>) {
        if let Some(level) = change {
            assert_ne!(level, self.line, "a change was reported that is none");
            self.line = level;
        }
        assert_eq!(self.line, self.uart.line());
    }

    fn read(&mut self, offset: u64) -> u64 {
        self.access(offset, 4, Access::Read).value
    }

    fn write(&mut self, offset: u64, value: u64) -> Drain {
        self.access(offset, 4, Access::Write(value)).drain
    }

    fn drain(&mut self, count: usize) -> String {
        let bytes = core::iter::from_fn(|| self.port.output.pop()).take(count).collect::<Vec<u8>>();
        let change = self.uart.drained(&self.port);
        self.note(change);
        String::from_utf8(bytes).unwrap()
    }

    fn type_text(&mut self, text: &[u8]) -> usize {
        let taken = text.iter().take_while(|byte| self.port.input.push(**byte)).count();
        let change = self.uart.received(&self.port);
        self.note(change);
        taken
    }

    fn fill_output(&mut self) {
        for _ in 0..OUTPUT_BYTES {
            assert_eq!(self.read(FR) & 0x20, 0);
            self.write(DR, u64::from(b'x'));
        }
    }
}

#[test]
fn registers_reset_to_the_manuals_values() {
    let mut machine = Machine::new();
    let seen: Vec<u64> =
        [FR, CR, LCRH, IFLS, IMSC, RIS, MIS].iter().map(|offset| machine.read(*offset)).collect();
    assert_eq!(seen, [0x90, 0x300, 0, 0x12, 0, 0, 0]);
}

#[test]
fn the_id_registers_are_those_of_revision_1() {
    let mut machine = Machine::new();
    let ids: Vec<u64> = (0..8).map(|index| machine.read(PERIPH_ID0 + 4 * index)).collect();
    assert_eq!(ids, [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
    assert_eq!(machine.read(PERIPH_ID0 - 4), 0);
    assert_eq!(machine.read(PERIPH_ID0 + 32), 0);
}

#[test]
fn writable_bits_read_back_and_others_do_not() {
    let mut machine = Machine::new();
    for (offset, bits) in [
        (IBRD, 0xffff),
        (FBRD, 0x3f),
        (LCRH, 0xff),
        (CR, 0xff07),
        (IFLS, 0x3f),
        (IMSC, 0x7ff),
        (ILPR, 0xff),
        (super::DMACR, 7),
        (RIS, 0),
        (FR, 0x90),
        (RSR, 0),
        (PERIPH_ID0, 0x11),
    ] {
        machine.write(offset, u64::MAX);
        assert_eq!(machine.read(offset), bits, "register {offset:#x}");
    }
}

#[test]
fn bytes_and_halfwords_work_at_a_registers_offset_only() {
    let mut machine = Machine::new();
    machine.access(IBRD, 2, Access::Write(0x1234_5678));
    assert_eq!(machine.read(IBRD), 0x5678);
    assert_eq!(machine.access(IBRD, 1, Access::Read).value, 0x78);
    assert_eq!(machine.access(IBRD + 1, 1, Access::Read).value, 0);
    assert_eq!(machine.access(IBRD + 2, 2, Access::Read).value, 0);
    machine.access(IBRD + 1, 1, Access::Write(0xff));
    machine.access(IBRD, 8, Access::Write(0));
    assert_eq!(machine.read(IBRD), 0x5678);
    assert_eq!(machine.access(IBRD, 8, Access::Read).value, 0);
    machine.access(DR, 1, Access::Write(0x4241));
    machine.access(DR + 1, 1, Access::Write(0x43));
    machine.access(DR, 8, Access::Write(0x44));
    assert_eq!(machine.drain(9), "A");
}

#[test]
fn the_first_byte_a_newline_and_half_a_buffer_ask_to_be_drained() {
    let mut machine = Machine::new();
    assert_eq!(machine.write(DR, u64::from(b'a')), Drain::Soon);
    assert_eq!(machine.write(DR, u64::from(b'b')), Drain::No);
    assert_eq!(machine.write(DR, u64::from(b'\n')), Drain::Now);
    for count in 4..OUTPUT_BYTES / 2 {
        assert_eq!(machine.write(DR, 0), Drain::No, "byte {count}");
    }
    assert_eq!(machine.write(DR, 0), Drain::Now);
}

#[test]
fn a_transmitter_without_backlog_is_never_busy() {
    let mut machine = Machine::with_fifos();
    for _ in 0..OUTPUT_BYTES - FIFO_DEPTH {
        machine.write(DR, 0x61);
        assert_eq!(machine.read(FR), 0x90);
    }
    machine.write(DR, 0x61);
    assert_eq!(machine.read(FR), 0x18, "one byte stands in the FIFO: busy, neither empty nor full");
}

#[test]
fn fifo_full_holds_the_guest_back_until_there_is_room() {
    for mut machine in [Machine::new(), Machine::with_fifos()] {
        machine.fill_output();
        assert_eq!(machine.read(FR) & 0x28, 0x28);
        machine.write(DR, u64::from(b'!'));
        machine.drain(1);
        assert_eq!(machine.read(FR) & 0x20, 0);
        machine.write(DR, u64::from(b'y'));
        let rest = machine.drain(OUTPUT_BYTES + 1);
        assert_eq!(
            rest.len(),
            OUTPUT_BYTES,
            "the byte written to the full FIFO is the only one lost"
        );
        assert!(rest.ends_with("xy"));
        assert_eq!(machine.read(FR) & 0xa8, 0x80);
    }
}

#[test]
fn the_transmit_interrupt_falls_above_the_trigger_and_rises_at_it() {
    let mut machine = Machine::with_fifos();
    machine.write(IMSC, u64::from(INT_TX));
    assert!(!machine.line, "after reset nothing has passed the trigger");
    machine.write(DR, 0x61);
    assert!(machine.line);
    machine.write(ICR, u64::from(INT_TX));
    assert!(!machine.line);
    machine.fill_rest();
    assert!(!machine.line, "a full FIFO asks for nothing");
    machine.drain(7);
    assert!(!machine.line, "9 of 16 are above one half");
    machine.drain(1);
    assert!(machine.line, "8 of 16 are at the trigger");
}

impl Machine {
    fn fill_rest(&mut self) {
        while self.read(FR) & 0x20 == 0 {
            self.write(DR, 0x62);
        }
    }
}

#[test]
fn a_byte_that_leaves_the_fifo_at_or_below_its_trigger_keeps_the_interrupt() {
    let mut machine = Machine::with_fifos();
    machine.write(IMSC, u64::from(INT_TX));
    for _ in 0..OUTPUT_BYTES - FIFO_DEPTH {
        machine.write(DR, 0x61);
    }
    for fill in 1..=FIFO_DEPTH {
        machine.write(DR, 0x61);
        assert_eq!(machine.line, fill <= 8, "{fill} bytes in the FIFO");
    }
}

#[test]
fn without_fifos_the_transmit_interrupt_waits_for_an_empty_holding_register() {
    let mut machine = Machine::new();
    machine.write(IMSC, u64::from(INT_TX));
    machine.fill_rest();
    assert!(!machine.line);
    machine.drain(1);
    assert!(machine.line);
}

#[test]
fn reading_the_last_byte_ends_the_receive_interrupts() {
    let mut machine = Machine::with_fifos();
    machine.write(IMSC, u64::from(INT_RX | INT_RT));
    assert_eq!(machine.type_text(b"ls"), 2);
    assert_eq!(machine.read(RIS), u64::from(INT_RX | INT_RT));
    assert_eq!((machine.read(FR) & 0x50, machine.read(DR)), (0, u64::from(b'l')));
    assert!(machine.line);
    assert_eq!((machine.read(DR), machine.read(FR) & 0x50), (u64::from(b's'), 0x10));
    assert!(!machine.line);
    assert_eq!(machine.read(DR), 0, "an empty FIFO reads as zero and does no harm");
}

#[test]
fn one_byte_raises_both_receive_interrupts_with_and_without_fifos() {
    for mut machine in [Machine::new(), Machine::with_fifos()] {
        for level in [0, 0x12, 0x24, 0x3f] {
            machine.write(IFLS, level);
            machine.type_text(b"1");
            assert_eq!(machine.read(RIS), u64::from(INT_RX | INT_RT), "IFLS {level:#x}");
            machine.read(DR);
            assert_eq!(machine.read(RIS), 0);
        }
    }
}

#[test]
fn a_handler_that_clears_first_and_reads_one_byte_per_interrupt_gets_all() {
    for machine in [Machine::new, Machine::with_fifos] {
        for interrupt in [INT_RX, INT_RT] {
            let mut machine = machine();
            machine.write(IMSC, u64::from(interrupt));
            machine.type_text(b"abc");
            let mut seen = Vec::new();
            while machine.line {
                machine.write(ICR, u64::from(interrupt));
                seen.push(machine.read(DR));
            }
            assert_eq!(seen, [0x61, 0x62, 0x63]);
        }
    }
}

#[test]
fn what_was_typed_before_the_guest_was_ready_is_told_when_it_sets_up_its_line() {
    for (offset, value) in [(LCRH, u64::from(LCRH_FEN) | 0x60), (LCRH, 0x60), (IFLS, 0x12)] {
        let mut machine = Machine::new();
        machine.write(IMSC, u64::from(INT_RX));
        machine.type_text(&[0x61; FIFO_DEPTH]);
        machine.write(ICR, 0x7ff);
        assert!(!machine.line);
        machine.write(offset, value);
        assert!(machine.line, "a full FIFO gets no further byte that could tell");
        while machine.line {
            machine.read(DR);
        }
        assert!(machine.port.input.is_empty());
        machine.write(offset, value);
        assert!(!machine.line, "nothing waits");
    }
}

#[test]
fn typed_bytes_beyond_the_fifo_stay_with_the_multiplexer() {
    let mut machine = Machine::with_fifos();
    assert_eq!(machine.type_text(&[0x61; 20]), FIFO_DEPTH);
    assert_eq!(machine.read(FR) & 0x50, 0x40);
    assert!(!machine.access(DR, 4, Access::Read).wants_input);
    machine.port.set_input_waits(true);
    assert!(machine.access(DR, 4, Access::Read).wants_input);
}

#[test]
fn a_reset_keeps_the_last_words_and_forgets_the_input() {
    let mut machine = Machine::with_fifos();
    machine.write(IMSC, 0x7ff);
    machine.write(DR, u64::from(b'!'));
    machine.type_text(b"lost");
    machine.uart.reset(&machine.port);
    assert_eq!(machine.uart, VirtualUart::new());
    assert!(machine.port.input.is_empty());
    assert_eq!(machine.port.output.pop(), Some(b'!'));
}

/// The transmit side of Linux's driver: a buffer, an interrupt handler, and `start_tx`.
struct LinuxTransmitter {
    to_send: Vec<u8>,
    sent: usize,
}

impl LinuxTransmitter {
    /// Sends until FIFO full or, in an interrupt, half a FIFO; returns whether anything is left.
    fn send(&mut self, machine: &mut Machine, from_interrupt: bool) -> bool {
        let mut quota = if from_interrupt { FIFO_DEPTH / 2 } else { usize::MAX };
        while self.sent < self.to_send.len() && quota > 0 {
            if !from_interrupt && machine.read(FR) & 0x20 != 0 {
                break;
            }
            machine.write(DR, u64::from(self.to_send[self.sent]));
            self.sent += 1;
            quota -= 1;
        }
        self.sent < self.to_send.len()
    }

    fn start(&mut self, machine: &mut Machine) {
        if self.send(machine, false) {
            machine.write(IMSC, u64::from(INT_TX));
        }
    }

    fn interrupt(&mut self, machine: &mut Machine) {
        let mut rounds = 256;
        while machine.read(MIS) != 0 && rounds > 0 {
            if !self.send(machine, true) {
                machine.write(IMSC, 0);
            }
            rounds -= 1;
        }
    }
}

proptest! {
    #[test]
    fn an_interrupt_driven_driver_on_a_slow_line_neither_loses_a_byte_nor_stalls(
        length in 0_usize..5000,
        batches in proptest::collection::vec(1_usize..200, 1..20),
    ) {
        let mut machine = Machine::with_fifos();
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
        let mut driver = LinuxTransmitter { to_send: text.clone(), sent: 0 };
        driver.start(&mut machine);
        let mut out = String::new();
        for batch in batches.iter().cycle().take(20_000) {
            if machine.line {
                driver.interrupt(&mut machine);
            }
            out += &machine.drain(*batch);
            if out.len() == length {
                break;
            }
        }
        prop_assert_eq!(out.into_bytes(), text);
        prop_assert!(!machine.line, "nothing to send: the interrupt is masked");
    }

    #[test]
    fn no_access_of_any_kind_fails_or_desynchronises_the_line(
        accesses in proptest::collection::vec(
            (0_u64..0x1010, prop_oneof![Just(1_u64), Just(2), Just(4), Just(8), any::<u64>()],
             proptest::option::of(any::<u64>()), 0_u8..4), 1..80),
    ) {
        let mut machine = Machine::new();
        for (offset, bytes, value, extra) in accesses {
            let access = value.map_or(Access::Read, Access::Write);
            let outcome = machine.access(offset, bytes, access);
            prop_assert!(value.is_none() || outcome.value == 0);
            prop_assert!(outcome.value <= 0xffff);
            match extra {
                1 => { machine.type_text(b"?"); }
                2 => { machine.port.output.clear(); let change = machine.uart.drained(&machine.port); machine.note(change); }
                _ => {}
            }
        }
        prop_assert!(machine.port.output.len() <= OUTPUT_BYTES);
    }
}

#[test]
fn every_register_takes_every_size_and_extreme_value() {
    let mut machine = Machine::new();
    for offset in (0..0x1004).chain([u64::MAX, u64::MAX - 3]) {
        for bytes in [0, 1, 2, 3, 4, 8, 16, u64::MAX] {
            for value in [0, 1, 0x7ff, u64::MAX] {
                let _outcome = machine.access(offset, bytes, Access::Write(value));
            }
            let _outcome = machine.access(offset, bytes, Access::Read);
        }
    }
}
