//! The console as a terminal: lines that can be edited, echo, signals, raw mode (termios(3), the discipline N_TTY).
//!
//! Differences from Linux: there is one terminal; with VMIN above 0, VTIME has no meaning; programs in the background may read and write
//! (no SIGTTIN, SIGTTOU); UTF-8 is erased as characters whatever IUTF8 says. With ICANON and IEXTEN what the arrow keys and their like
//! send is no part of the line, unless VLNEXT comes before it; ↑ brings the line before back, which nobody else edits here.

mod control;
mod edit;
mod screen;
mod sequence;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::abi::poll::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use crate::abi::termios::{ICANON, Termios, VMIN, VTIME};
use crate::wakes::Wakes;
use crate::{Answer, Key, Now, Signal, Step};

use screen::Screen;
use sequence::Sequence;

/// The most bytes of input that wait, those of the line that is edited included.
const INPUT: usize = 4096;

/// The most lines of input that wait: an empty one, which is an end of file, has no bytes.
const LINES: usize = 256;

/// The most signals that wait.
const SIGNALS: usize = 16;

/// Nanoseconds in a unit of VTIME.
const TENTH_NS: u64 = 100_000_000;

/// A terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    modes: Termios,
    window: [u8; 8],
    foreground: u32,
    session: u32,
    /// What can be read, and how long each of its lines is (with ICANON).
    input: VecDeque<u8>,
    lines: VecDeque<usize>,
    /// The line that is edited.
    line: Vec<Typed>,
    /// The last one that was typed and seen, without its end.
    former: Vec<u8>,
    sequence: Sequence,
    is_literal: bool,
    screen: Screen,
    signals: VecDeque<Signal>,
    /// When a read of VTIME ends, and that one has ended so.
    deadline: Option<u64>,
    is_late: bool,
    readers: Key,
    writers: Key,
}

/// A byte of the line that is edited.
#[derive(Clone, Copy, Debug)]
struct Typed {
    byte: u8,
    /// How many columns its echo takes.
    columns: u8,
}

impl Terminal {
    /// One of 24 lines and 80 columns, as it is when Linux opens it first.
    pub(crate) fn new(wakes: &mut Wakes) -> Self {
        Self {
            modes: Termios::new(),
            window: [24, 0, 80, 0, 0, 0, 0, 0],
            foreground: 0,
            session: 0,
            input: VecDeque::new(),
            lines: VecDeque::new(),
            line: Vec::new(),
            former: Vec::new(),
            sequence: Sequence::default(),
            is_literal: false,
            screen: Screen::default(),
            signals: VecDeque::new(),
            deadline: None,
            is_late: false,
            readers: wakes.key(),
            writers: wakes.key(),
        }
    }

    /// Reads a line or the beginning of one; in raw mode what is there.
    pub(crate) fn read(&mut self, out: &mut [u8], now: Now) -> Answer<usize> {
        if out.is_empty() {
            return Ok(Step::Done(0));
        }
        let count = if self.has(ICANON) {
            self.take_line(out.len())
        } else {
            self.take_raw(out.len(), now)
        };
        let Some(count) = count else { return Ok(Step::Wait(self.readers)) };
        for (to, from) in out.iter_mut().zip(self.input.drain(..count.min(self.input.len()))) {
            *to = from;
        }
        Ok(Step::Done(count))
    }

    /// How much of the first line is read.
    fn take_line(&mut self, most: usize) -> Option<usize> {
        let line = self.lines.front_mut()?;
        let count = most.min(*line);
        *line = line.saturating_sub(count);
        if *line == 0 {
            self.lines.pop_front();
        }
        Some(count)
    }

    /// How many bytes are read, as VMIN and VTIME say.
    fn take_raw(&mut self, most: usize, now: Now) -> Option<usize> {
        let there = self.input.len();
        let least = usize::from(self.character(VMIN));
        if there > 0 && there >= least.min(most) {
            self.deadline = None;
            self.is_late = false;
            return Some(there.min(most));
        }
        if least > 0 {
            return None;
        }
        let wait_ns = u64::from(self.character(VTIME)).saturating_mul(TENTH_NS);
        if wait_ns == 0 || core::mem::take(&mut self.is_late) {
            return Some(0);
        }
        self.deadline.get_or_insert(now.monotonic_ns.saturating_add(wait_ns));
        None
    }

    /// Writes: how many bytes, all if there is room.
    pub(crate) fn write(&mut self, data: &[u8]) -> Answer<usize> {
        let mut count = 0_usize;
        for byte in data {
            if !self.screen.put(*byte, &self.modes) {
                break;
            }
            count = count.saturating_add(1);
        }
        if count == 0 && !data.is_empty() {
            Ok(Step::Wait(self.writers))
        } else {
            Ok(Step::Done(count))
        }
    }

    /// Takes bytes for the console.
    pub(crate) fn output(&mut self, out: &mut [u8], wakes: &mut Wakes) -> usize {
        let count = self.screen.take(out);
        if count > 0 {
            wakes.wake(self.writers);
        }
        count
    }

    /// The next signal.
    pub(crate) fn signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    /// Who gets signals.
    pub(crate) const fn set_owner(&mut self, session: u32, foreground: u32) {
        self.session = session;
        self.foreground = foreground;
    }

    /// Time has passed.
    pub(crate) fn pass(&mut self, now: Now, wakes: &mut Wakes) {
        if self.deadline.is_some_and(|deadline| deadline <= now.monotonic_ns) {
            self.deadline = None;
            self.is_late = true;
            wakes.wake(self.readers);
        }
    }

    /// When a read of VTIME ends.
    pub(crate) const fn alarm(&self) -> Option<u64> {
        self.deadline
    }

    pub(crate) fn ready(&self) -> u16 {
        let has_input =
            if self.has(ICANON) { !self.lines.is_empty() } else { !self.input.is_empty() };
        let read = if has_input { POLLIN | POLLRDNORM } else { 0 };
        let written = if self.screen.has_room() { POLLOUT | POLLWRNORM } else { 0 };
        read | written
    }

    pub(crate) const fn keys(&self) -> [Option<Key>; 2] {
        [Some(self.readers), Some(self.writers)]
    }

    const fn has(&self, local: u32) -> bool {
        self.modes.local & local != 0
    }

    fn character(&self, which: usize) -> u8 {
        self.modes.characters.get(which).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
