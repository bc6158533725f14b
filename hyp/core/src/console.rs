//! The console multiplexer: many partitions and the hypervisor itself on the board's one UART.
//!
//! **Output** ([`Multiplexer::pump`]). With one console partition its bytes pass as they are, so that a
//! single Linux looks as on its own machine. From the second on, every line carries its partition's name
//! (`linux| `). A line is written whole before another partition's begins; the focused partition's
//! unfinished lines (prompts) appear at once, the others' after [`PARTIAL_MS`] or when they are complete.
//! Turns go round by lines. While a line is still being written others wait for it, at most [`HOLD_MS`].
//! Only the focused partition may drive the terminal; of the others, text passes and control sequences
//! do not. A lone LF becomes CR LF.
//!
//! **Input** ([`Multiplexer::input`], [`Multiplexer::deliver`]) goes to the focused partition, or to the
//! operator console. The prefix key is Ctrl-A.
//!
//! [`Multiplexer`] is under the console's lock, the last in the lock order: it reaches partitions only
//! through their [`ConsolePort`]s, which need no lock. Time is an argument, in ticks.

mod filter;
mod input;
mod name;
mod own;
mod pump;
mod staged;
mod turn;

pub use input::PREFIX;
pub use name::Name;
pub use pump::{Again, Pumped};

use crate::vuart::{ConsolePort, Ring};
use core::fmt::{self, Write};
use filter::Filter;
use input::{InputQueue, Key};
use pump::Line;
use staged::Staged;
use turn::{OWN, Turn, bit, lowest, slots_from};

/// The most consoles that one multiplexer serves; a slot is a number below this.
pub const MAX_SLOTS: usize = 64;
/// The longest name that a prefix shows, in bytes.
pub const NAME_BYTES: usize = 31;
/// How long an unfocused partition's unfinished line is kept back, in milliseconds.
pub const PARTIAL_MS: u64 = 20;
/// How long the others wait for an unfinished line that keeps growing, in milliseconds.
pub const HOLD_MS: u64 = 100;
/// How long input waits for a partition that does not read before it is thrown away, in milliseconds.
pub const STUCK_MS: u64 = 1000;
/// The hypervisor's own text that can wait, in bytes: an exit report fits.
pub const OWN_BYTES: usize = 8192;

/// Where the multiplexer finds the partitions' ends.
pub trait Ports {
    /// The port of a slot; `None` if it has gone.
    fn port(&self, slot: usize) -> Option<&ConsolePort>;
}

impl Ports for [ConsolePort] {
    fn port(&self, slot: usize) -> Option<&ConsolePort> {
        self.get(slot)
    }
}

/// Who gets what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The operator console.
    Operator,
    /// The partition in this slot.
    Slot(usize),
}

/// What a typed byte led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Typed {
    /// It is done with (part of a command, or thrown away because nobody reads).
    Done,
    /// It waits for the focused partition: call [`Multiplexer::deliver`].
    Queued,
    /// It is for the operator console's line editor.
    Operator(u8),
    /// The focus has moved to the operator console: show its prompt.
    OperatorFocused,
}

/// One partition's place.
#[derive(Clone, Copy, Debug)]
struct Slot {
    name: Name,
    filter: Filter,
    /// Bytes at the head of its port that are known to hold no newline.
    scanned: usize,
    /// Since when an unfinished line has been kept back.
    kept_since: Option<u64>,
}

impl Slot {
    const EMPTY: Self =
        Self { name: Name::EMPTY, filter: Filter::new(), scanned: 0, kept_since: None };
}

/// The multiplexer's state.
#[derive(Debug)]
pub struct Multiplexer {
    slots: [Slot; MAX_SLOTS],
    /// Slots in use, as bits.
    attached: u64,
    /// Slots that go away once their output is written, as bits.
    closing: u64,
    focus: Focus,
    /// Whether there has ever been more than one console: lines carry names from then on.
    is_prefixed: bool,
    is_coloured: bool,
    ticks_per_ms: u64,
    own: Ring<OWN_BYTES>,
    own_lost: u32,
    staged: Staged,
    line: Line,
    turn: Option<Turn>,
    /// Where the round goes on: a slot, or [`MAX_SLOTS`] for the hypervisor.
    next: usize,
    input: InputQueue,
    /// The slot whose guest was told that more input waits.
    told: Option<usize>,
    /// The machine goes off: consoles that end say nothing about the focus any more.
    is_ending: bool,
}

impl Multiplexer {
    /// A multiplexer without consoles, focused on the operator.
    ///
    /// `ticks_per_ms` is the counter's frequency in kHz. With 0, not known yet, nothing is kept back, and the
    /// value is all zero: a static one costs nothing in the image.
    #[must_use]
    pub const fn new(ticks_per_ms: u64) -> Self {
        Self {
            slots: [Slot::EMPTY; MAX_SLOTS],
            attached: 0,
            closing: 0,
            focus: Focus::Operator,
            is_prefixed: false,
            is_coloured: false,
            ticks_per_ms,
            own: Ring::new(),
            own_lost: 0,
            staged: Staged::new(),
            line: Line::CLOSED,
            turn: None,
            next: 0,
            input: InputQueue::new(),
            told: None,
            is_ending: false,
        }
    }

    /// Sets the counter's frequency, in kHz: for a multiplexer that was made before it was known.
    pub fn set_ticks_per_ms(&mut self, ticks_per_ms: u64) {
        self.ticks_per_ms = ticks_per_ms;
    }

    /// Shows names in colours, or not.
    pub fn set_coloured(&mut self, is_coloured: bool) {
        self.is_coloured = is_coloured;
    }

    /// Gives a slot a console under `name`, of which the first [`NAME_BYTES`] bytes are shown.
    ///
    /// The first console gets the focus. Attaching a slot again (after a restart) changes its name only.
    pub fn attach(&mut self, slot: usize, name: &str) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        if self.attached & bit(slot) == 0 {
            *place = Slot::EMPTY;
        }
        place.name = Name::new(name);
        let is_first = self.attached == 0;
        self.attached |= bit(slot);
        self.closing &= !bit(slot);
        self.is_prefixed |= self.attached.count_ones() > 1;
        if is_first {
            self.focus = Focus::Slot(slot);
        }
    }

    /// Takes a slot's console away once what it has written is out; see [`Multiplexer::is_attached`].
    pub fn detach(&mut self, slot: usize) {
        self.closing |= self.attached & bit(slot);
    }

    /// Whether the multiplexer still reads the slot's port.
    #[must_use]
    pub fn is_attached(&self, slot: usize) -> bool {
        self.attached & bit(slot) != 0
    }

    /// Whether the last line of what a slot has written lacks its end: what comes next would continue it.
    ///
    /// For a partition that starts again on the port of its former life.
    #[must_use]
    pub fn ends_inside_line(&self, slot: usize, port: &ConsolePort) -> bool {
        match port.output.len().checked_sub(1) {
            Some(newest) => port.output.peek(newest) != Some(b'\n'),
            None => self.line.is_open && self.line.owner == slot,
        }
    }

    /// Whether the hypervisor's own text is the last on the line, or will be: a prompt stands as it was
    /// written, and nobody has written behind it.
    #[must_use]
    pub fn is_own_line_open(&self) -> bool {
        !self.own.is_empty() || (self.line.is_open && self.line.owner == OWN)
    }

    /// The machine goes off: from here on the focus moves silently, so that the last words are the last.
    pub fn close_down(&mut self) {
        self.is_ending = true;
    }

    /// Who has the focus.
    #[must_use]
    pub const fn focus(&self) -> Focus {
        self.focus
    }

    /// Moves the focus, and says so on the console; input that the old one has not taken is forgotten.
    ///
    /// Returns false, changing nothing, if the slot has no console.
    #[inline(never)]
    pub fn set_focus(&mut self, focus: Focus) -> bool {
        if let Focus::Slot(slot) = focus
            && !self.is_attached(slot)
        {
            return false;
        }
        let forgotten = self.input.forget();
        if forgotten > 0 && !self.is_ending {
            self.say(format_args!("[{forgotten} typed bytes were not read]\n"));
        }
        self.focus = focus;
        if !self.is_ending {
            self.show_focus();
        }
        true
    }

    /// Whether a byte from the board's UART can be taken now.
    ///
    /// If not, leave it in the UART and mask its receive interrupt until [`Multiplexer::deliver`] has moved
    /// something or the time of [`Again::At`] has come: nothing typed is lost. A partition that reads
    /// nothing for [`STUCK_MS`] loses this protection, so that the prefix key still works.
    #[must_use]
    pub fn accepts_input(&self, now: u64) -> bool {
        match self.input.full_since {
            Some(since) => self.has_passed(since, STUCK_MS, now),
            None => true,
        }
    }

    /// Takes a byte from the board's UART.
    pub fn input(&mut self, now: u64, byte: u8) -> Typed {
        match self.input.key(byte) {
            Key::Plain(byte) => return self.type_byte(now, byte),
            Key::Prefix => {}
            Key::Next => return self.focus_next(),
            Key::Number(number) => return self.focus_number(number),
            Key::Operator => {
                self.set_focus(Focus::Operator);
                return Typed::OperatorFocused;
            }
            Key::Help => self.help(),
            Key::Unknown => self.say(format_args!("[Ctrl-A h shows the keys]\n")),
        }
        Typed::Done
    }

    /// Moves queued input into the focused partition's FIFO as far as there is room.
    ///
    /// Returns the slot whose FIFO got something: its virtual UART has to be told
    /// ([`crate::vuart::VirtualUart::received`]), under the partition's lock, after the console's is free.
    #[must_use]
    pub fn deliver(&mut self, ports: &(impl Ports + ?Sized)) -> Option<usize> {
        self.let_go_of_former_focus(ports);
        let Focus::Slot(slot) = self.focus else { return None };
        let port = ports.port(slot)?;
        let mut has_moved = self.move_input(port);
        if !self.input.bytes.is_empty() {
            port.set_input_waits(true);
            self.told = Some(slot);
            has_moved |= self.move_input(port);
        }
        if self.input.bytes.is_empty() {
            port.set_input_waits(false);
            self.told = None;
        }
        if has_moved {
            self.input.full_since = None;
            self.input.dropped = 0;
        }
        has_moved.then_some(slot)
    }

    /// A partition that has lost the focus must not go on asking for input at each byte it reads.
    fn let_go_of_former_focus(&mut self, ports: &(impl Ports + ?Sized)) {
        if let Some(told) = self.told
            && self.focus != Focus::Slot(told)
        {
            if let Some(port) = ports.port(told) {
                port.set_input_waits(false);
            }
            self.told = None;
        }
    }

    fn move_input(&mut self, port: &ConsolePort) -> bool {
        let mut has_moved = false;
        while let Some(byte) = self.input.bytes.peek(0) {
            if !port.input.push(byte) {
                break;
            }
            self.input.bytes.pop();
            has_moved = true;
        }
        has_moved
    }

    fn type_byte(&mut self, now: u64, byte: u8) -> Typed {
        if self.focus == Focus::Operator {
            return Typed::Operator(byte);
        }
        if self.input.bytes.push(byte) {
            if self.input.bytes.room() == 0 {
                self.input.full_since = Some(now);
            }
            return Typed::Queued;
        }
        self.input.dropped = self.input.dropped.saturating_add(1);
        if self.input.dropped == 1 {
            self.say(format_args!("[what is typed is not read, and now thrown away]\n"));
        }
        Typed::Done
    }

    fn focus_next(&mut self) -> Typed {
        let above = match self.focus {
            Focus::Operator => self.attached,
            Focus::Slot(slot) => self.attached & slots_from(slot.saturating_add(1)),
        };
        if let Some(slot) = lowest(above).or_else(|| lowest(self.attached)) {
            self.set_focus(Focus::Slot(slot));
        }
        Typed::Done
    }

    /// The number is the slot's for ever, from 1: a console that ends does not move the others'.
    fn focus_number(&mut self, number: u8) -> Typed {
        let slot = usize::from(number).wrapping_sub(1);
        if !self.set_focus(Focus::Slot(slot)) {
            self.say(format_args!("[there is no console {number}]\n"));
        }
        Typed::Done
    }

    fn help(&mut self) {
        self.say(format_args!(
            "[Ctrl-A n: next console, Ctrl-A 1 to 9: that console, Ctrl-A c: operator console, \
             Ctrl-A Ctrl-A: Ctrl-A itself]\n"
        ));
        for (number, slot) in (1_u8..=u8::MAX).zip(0..MAX_SLOTS) {
            if !self.is_attached(slot) {
                continue;
            }
            let mark = if self.focus == Focus::Slot(slot) { " (focus)" } else { "" };
            let name = self.name(slot);
            self.say(format_args!("[console {number}: {name}{mark}]\n"));
        }
    }

    fn show_focus(&mut self) {
        match self.focus {
            Focus::Operator => self.say(format_args!("[focus: operator console]\n")),
            Focus::Slot(slot) => {
                let name = self.name(slot);
                self.say(format_args!("[focus: {name}]\n"));
            }
        }
    }

    #[inline(never)]
    fn name(&self, slot: usize) -> Name {
        self.slots.get(slot).map_or(Name::EMPTY, |slot| slot.name)
    }

    #[inline(never)]
    fn say(&mut self, text: fmt::Arguments<'_>) {
        // Never fails: what does not fit is counted by the writer, and told of there.
        if self.write_fmt(text).is_err() {
            self.own_lost = self.own_lost.saturating_add(1);
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests: an overflow is a failed test")]
mod tests;
