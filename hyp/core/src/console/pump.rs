//! Which bytes go to the board's UART next.

use super::filter::{Passed, Piece};
use super::turn::{Next, OWN, bit, lowest};
use super::{Focus, Multiplexer, Ports};
use crate::vuart::{FIFO_DEPTH, OUTPUT_BYTES};

/// Bytes taken from the sources in one call: bounds the time that a core spends here.
const BATCH: usize = 512;
/// When [`Multiplexer::pump`] has to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// When a port has new output.
    Idle,
    /// At this time, in ticks, or when a port has new output.
    At(u64),
    /// When the board's UART has room again.
    WhenReady,
    /// As soon as other work allows: the batch was used up.
    Now,
}

/// What a call of [`Multiplexer::pump`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pumped {
    /// When to call again.
    pub again: Again,
    /// Slots, as bits, whose guests could see their FIFO fill and may be waiting: tell their virtual UARTs
    /// ([`crate::vuart::VirtualUart::drained`]).
    pub relieved: u64,
}

/// The line on the board's UART.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Who wrote the last byte.
    pub(super) owner: usize,
    /// Whether the cursor is inside a line.
    pub(super) is_open: bool,
    /// The last byte was CR.
    after_return: bool,
    /// When the line was begun, in ticks.
    pub(super) opened: u64,
    /// When its last byte was written, in ticks.
    pub(super) touched: u64,
}

impl Line {
    pub(super) const CLOSED: Self =
        Self { owner: 0, is_open: false, after_return: false, opened: 0, touched: 0 };
}

impl Multiplexer {
    /// Writes what is due to `sink`, which takes one byte and returns false, without taking it, when the
    /// board's UART is full.
    ///
    /// Bounded: at most 512 bytes are taken from the ports. `now` is in ticks.
    pub fn pump(
        &mut self,
        now: u64,
        ports: &(impl Ports + ?Sized),
        sink: &mut impl FnMut(u8) -> bool,
    ) -> Pumped {
        let mut relieved = 0;
        // Whoever has written all lets go, however much others write.
        if self.closing != 0 && self.staged.flush(sink) {
            self.finish_closing(ports, sink);
        }
        for _ in 0..BATCH {
            if !self.staged.flush(sink) {
                return Pumped { again: Again::WhenReady, relieved };
            }
            let source = match self.next_source(now, ports) {
                Next::Serve(source) => source,
                Next::Wait(until) => {
                    if self.closing != 0 && self.finish_closing(ports, sink) {
                        continue;
                    }
                    let again = self.with_stuck_input(now, until).map_or(Again::Idle, Again::At);
                    return Pumped { again, relieved };
                }
            };
            let Some(byte) = self.take(source, ports, &mut relieved) else { continue };
            self.write(source, byte, now, sink);
        }
        Pumped { again: Again::Now, relieved }
    }

    /// Takes one byte from a source, and ends its turn when that is over.
    fn take(
        &mut self,
        source: usize,
        ports: &(impl Ports + ?Sized),
        relieved: &mut u64,
    ) -> Option<u8> {
        let byte = if source == OWN {
            self.own.pop()
        } else {
            let port = ports.port(source)?;
            if port.output.len() > OUTPUT_BYTES.wrapping_sub(FIFO_DEPTH) {
                *relieved |= bit(source);
            }
            let byte = port.output.pop();
            if let Some(slot) = self.slots.get_mut(source) {
                slot.scanned = slot.scanned.saturating_sub(1);
                slot.kept_since = None;
            }
            byte
        };
        if let Some(turn) = &mut self.turn {
            turn.bytes_left = turn.bytes_left.saturating_sub(1);
            turn.lines_left = turn.lines_left.saturating_sub(u8::from(byte == Some(b'\n')));
            if turn.bytes_left == 0 || turn.lines_left == 0 {
                self.turn = None;
            }
        }
        byte
    }

    fn write(&mut self, source: usize, byte: u8, now: u64, sink: &mut impl FnMut(u8) -> bool) {
        let trust = self.trust(source);
        let passed = match self.slots.get_mut(source) {
            Some(slot) => slot.filter.pass(byte, trust),
            None if byte == b'\n' => Passed { breaks_line: false, piece: Piece::Newline },
            None => Passed { breaks_line: false, piece: Piece::Text(byte) },
        };
        if passed.breaks_line && self.line.is_open && self.line.owner == source {
            self.end_line(sink);
        }
        match passed.piece {
            Piece::Nothing => {}
            Piece::Text(text) => {
                self.begin_line(source, now, sink);
                self.put(text, now, sink);
            }
            Piece::Pair(first, second) => {
                self.begin_line(source, now, sink);
                self.put(first, now, sink);
                self.put(second, now, sink);
            }
            Piece::Newline => {
                self.begin_line(source, now, sink);
                self.end_line(sink);
            }
            // At the start of a line a return changes nothing, and must not make a prefix.
            Piece::Return if self.line.is_open && self.line.owner == source => {
                self.put(b'\r', now, sink);
                self.line.after_return = true;
            }
            Piece::Return => {}
        }
    }

    /// Makes the cursor stand in a line of `source`.
    fn begin_line(&mut self, source: usize, now: u64, sink: &mut dyn FnMut(u8) -> bool) {
        if self.line.is_open && self.line.owner != source {
            self.end_line(sink);
        }
        if self.line.is_open {
            return;
        }
        self.line =
            Line { owner: source, is_open: true, opened: now, touched: now, ..Line::CLOSED };
        let Some(slot) = self.slots.get(source).filter(|_| self.is_prefixed) else { return };
        let name = slot.name;
        let colour: &[u8] = if self.is_coloured { colour(source) } else { &[] };
        for byte in colour.iter().chain(name.as_bytes()).chain(b"| ") {
            self.staged.emit(*byte, sink);
        }
        if self.is_coloured {
            for byte in b"\x1b[0m" {
                self.staged.emit(*byte, sink);
            }
        }
    }

    #[inline(never)]
    fn end_line(&mut self, sink: &mut dyn FnMut(u8) -> bool) {
        if !self.line.after_return {
            self.staged.emit(b'\r', sink);
        }
        self.staged.emit(b'\n', sink);
        self.line.is_open = false;
        self.line.after_return = false;
    }

    fn put(&mut self, byte: u8, now: u64, sink: &mut impl FnMut(u8) -> bool) {
        self.staged.emit(byte, sink);
        self.line.after_return = false;
        self.line.touched = now;
    }

    /// Lets go of slots that are closing and have nothing left to write; returns whether there were any.
    fn finish_closing(
        &mut self,
        ports: &(impl Ports + ?Sized),
        sink: &mut impl FnMut(u8) -> bool,
    ) -> bool {
        let before = self.closing;
        let mut slots = before;
        while let Some(slot) = lowest(slots) {
            slots &= !bit(slot);
            if self.waiting(slot, ports) > 0 {
                continue;
            }
            if self.line.is_open && self.line.owner == slot {
                self.end_line(sink);
            }
            self.closing &= !bit(slot);
            self.attached &= !bit(slot);
            if self.focus == Focus::Slot(slot) {
                let next = lowest(self.attached).map_or(Focus::Operator, Focus::Slot);
                self.set_focus(next);
            }
        }
        self.closing != before
    }
}

/// The colour sequence of a slot's name: the six readable ones in turn.
const fn colour(slot: usize) -> &'static [u8] {
    match slot & 7 {
        0 | 6 => b"\x1b[32m",
        1 | 7 => b"\x1b[36m",
        2 => b"\x1b[33m",
        3 => b"\x1b[35m",
        4 => b"\x1b[34m",
        _ => b"\x1b[31m",
    }
}
