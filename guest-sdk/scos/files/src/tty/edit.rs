//! What becomes of a byte that was typed.

use super::sequence::{Part, Sequence};
use super::{INPUT, LINES, SIGNALS, Terminal, Typed};
use crate::Signal;
use crate::abi::termios::{
    ECHO, ECHOE, ECHOK, ECHOKE, ECHONL, ICANON, ICRNL, IEXTEN, IGNCR, INLCR, ISIG, IXON, NOFLSH,
    VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL, VLNEXT, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP,
    VWERASE,
};
use crate::wakes::Wakes;

/// The characters that make signals, and which.
const SIGNAL_CHARACTERS: [(usize, u8); 3] = [(VINTR, 2), (VQUIT, 3), (VSUSP, 20)];

impl Terminal {
    /// Takes bytes that were typed.
    pub(crate) fn receive(&mut self, bytes: &[u8], wakes: &mut Wakes) {
        bytes.iter().for_each(|byte| self.receive_byte(*byte));
        wakes.wake(self.readers);
        // A signal discards output, ^Q lets it go on.
        wakes.wake(self.writers);
    }

    fn receive_byte(&mut self, byte: u8) {
        self.deadline = None;
        self.is_late = false;
        if core::mem::take(&mut self.is_literal) {
            return self.add(byte);
        }
        let Some(byte) = self.translated(byte) else { return };
        if self.controls_flow(byte) || self.makes_signal(byte) {
            return;
        }
        if self.has(ICANON) { self.edit(byte) } else { self.add(byte) }
    }

    /// The byte as the input modes have it; none if it is ignored.
    const fn translated(&self, byte: u8) -> Option<u8> {
        let modes = self.modes.input;
        match byte {
            b'\r' if modes & IGNCR != 0 => None,
            b'\r' if modes & ICRNL != 0 => Some(b'\n'),
            b'\n' if modes & INLCR != 0 => Some(b'\r'),
            _ => Some(byte),
        }
    }

    /// Whether the byte is this special character; 0 is none.
    fn is(&self, which: usize, byte: u8) -> bool {
        byte != 0 && self.character(which) == byte
    }

    fn controls_flow(&mut self, byte: u8) -> bool {
        let is_flow = self.modes.input & IXON != 0;
        let (is_stop, is_start) = (self.is(VSTOP, byte), self.is(VSTART, byte));
        if is_flow && (is_stop || is_start) {
            self.screen.is_stopped = is_stop;
        }
        is_flow && (is_stop || is_start)
    }

    fn makes_signal(&mut self, byte: u8) -> bool {
        let found = SIGNAL_CHARACTERS.iter().find(|(which, _)| self.is(*which, byte));
        let Some((_, number)) = found.filter(|_| self.has(ISIG)) else { return false };
        if !self.has(NOFLSH) {
            self.discard_input();
            self.screen.clear();
        }
        self.screen.is_stopped = false;
        self.echo(byte);
        self.raise(*number);
        true
    }

    /// Sends a signal to the foreground group, if there is one. One that waits already is not sent again.
    pub(super) fn raise(&mut self, number: u8) {
        let signal = Signal { group: self.foreground, number };
        let is_new = self.foreground != 0 && !self.signals.contains(&signal);
        if is_new && self.signals.len() < SIGNALS {
            self.signals.push_back(signal);
        }
    }

    /// A byte with ICANON.
    fn edit(&mut self, byte: u8) {
        let is_extended = self.has(IEXTEN);
        match self.sequence.take(byte) {
            Part::Up if is_extended => return self.recall(),
            Part::Inside if is_extended => return,
            Part::Up | Part::Inside | Part::Outside => {}
        }
        match byte {
            _ if self.is(VERASE, byte) => self.erase_character(),
            _ if self.is(VKILL, byte) => self.kill(byte),
            _ if self.is(VEOF, byte) => self.end_of_file(),
            _ if is_extended && self.is(VWERASE, byte) => self.erase_word(),
            _ if is_extended && self.is(VREPRINT, byte) => self.reprint(byte),
            _ if is_extended && self.is(VLNEXT, byte) => self.is_literal = true,
            b'\n' => self.end_line(byte),
            _ if self.is(VEOL, byte) || self.is(VEOL2, byte) => self.end_line(byte),
            _ => self.add(byte),
        }
    }

    /// Bytes that input has room for.
    fn room(&self) -> usize {
        INPUT.saturating_sub(self.input.len()).saturating_sub(self.line.len())
    }

    /// Adds a byte to the line, or to what can be read. One place is left for the line's end.
    fn add(&mut self, byte: u8) {
        if self.room() < 2 {
            return;
        }
        let columns = self.echo(byte);
        if self.has(ICANON) {
            self.line.push(Typed { byte, columns });
        } else {
            self.input.push_back(byte);
        }
    }

    fn echo(&mut self, byte: u8) -> u8 {
        let is_line_feed = byte == b'\n' && self.has(ICANON) && self.has(ECHONL);
        if self.has(ECHO) || is_line_feed { self.screen.echo(byte, &self.modes) } else { 0 }
    }

    fn end_line(&mut self, byte: u8) {
        if self.room() == 0 || self.lines.len() >= LINES {
            return;
        }
        if self.has(ECHO) && !self.line.is_empty() {
            self.former = self.line.iter().map(|typed| typed.byte).collect();
        }
        let columns = self.echo(byte);
        self.line.push(Typed { byte, columns });
        self.finish_line();
    }

    /// Puts the line that was typed before in place of this one.
    fn recall(&mut self) {
        while !self.line.is_empty() {
            self.erase_character();
        }
        let former = core::mem::take(&mut self.former);
        former.iter().for_each(|byte| self.add(*byte));
        self.former = former;
    }

    /// What was typed can be read, without a line's end; nothing is an end of file.
    fn end_of_file(&mut self) {
        if self.lines.len() < LINES {
            self.finish_line();
        }
    }

    fn finish_line(&mut self) {
        self.lines.push_back(self.line.len());
        self.input.extend(self.line.drain(..).map(|typed| typed.byte));
    }

    /// Takes the last character away: a character of UTF-8 with all its bytes.
    fn erase_character(&mut self) {
        while let Some(typed) = self.line.pop() {
            self.unecho(typed);
            if !matches!(typed.byte, 0x80..=0xbf) {
                break;
            }
        }
    }

    fn unecho(&mut self, typed: Typed) {
        if self.has(ECHO) && self.has(ECHOE) {
            self.screen.erase(typed.columns, &self.modes);
        }
    }

    /// Takes blanks and the word before them away.
    fn erase_word(&mut self) {
        let is_blank = |typed: &Typed| matches!(typed.byte, b' ' | b'\t');
        for is_wanted in [true, false] {
            while self.line.last().is_some_and(|typed| is_blank(typed) == is_wanted) {
                self.erase_character();
            }
        }
    }

    fn kill(&mut self, byte: u8) {
        if self.has(ECHO) && self.has(ECHOK) && self.has(ECHOKE) {
            while !self.line.is_empty() {
                self.erase_character();
            }
        } else {
            self.line.clear();
            self.echo(byte);
            if self.has(ECHOK) {
                self.echo(b'\n');
            }
        }
    }

    fn reprint(&mut self, byte: u8) {
        self.echo(byte);
        self.echo(b'\n');
        for at in 0..self.line.len() {
            let byte = self.line.get(at).map_or(0, |typed| typed.byte);
            let columns = self.echo(byte);
            if let Some(typed) = self.line.get_mut(at) {
                typed.columns = columns;
            }
        }
    }

    pub(super) fn discard_input(&mut self) {
        self.input.clear();
        self.lines.clear();
        self.line.clear();
        self.sequence = Sequence::default();
    }
}
