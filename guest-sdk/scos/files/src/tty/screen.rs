//! What is on its way to the screen.

use alloc::collections::VecDeque;

use crate::abi::termios::{ECHOCTL, ONLCR, OPOST, Termios};

/// The most bytes of output that wait.
const OUTPUT: usize = 16 * 1024;

/// A poll tells of room from so many bytes on.
const ROOM: usize = 1024;

/// Output that waits, and where on its line the cursor will be.
#[derive(Debug, Default)]
pub(super) struct Screen {
    output: VecDeque<u8>,
    column: u8,
    /// Held back by ^S.
    pub(super) is_stopped: bool,
}

impl Screen {
    /// Puts a byte out as the modes say; false, and nothing, if there is no room.
    pub(super) fn put(&mut self, byte: u8, modes: &Termios) -> bool {
        if OUTPUT.saturating_sub(self.output.len()) < 2 {
            return false;
        }
        if byte == b'\n' && modes.output & OPOST != 0 && modes.output & ONLCR != 0 {
            self.output.push_back(b'\r');
        }
        self.output.push_back(byte);
        match byte {
            b'\n' | b'\r' => self.column = 0,
            8 => self.column = self.column.saturating_sub(1),
            _ => self.column = self.column.wrapping_add(self.columns(byte)),
        }
        true
    }

    /// How many columns a byte takes.
    const fn columns(&self, byte: u8) -> u8 {
        match byte {
            b'\t' => 8_u8.saturating_sub(self.column & 7),
            // Control characters, and what follows the first byte of a character.
            0..=31 | 127 | 0x80..=0xbf => 0,
            _ => 1,
        }
    }

    /// Echoes a byte that was typed: how many columns it takes. What has no room is lost.
    pub(super) fn echo(&mut self, byte: u8, modes: &Termios) -> u8 {
        let is_control = byte < 32 && byte != b'\t' && byte != b'\n' || byte == 127;
        if is_control && modes.local & ECHOCTL != 0 {
            let _is_there = self.put(b'^', modes) && self.put(byte ^ 0x40, modes);
            return 2;
        }
        let columns = self.columns(byte);
        let _is_there = self.put(byte, modes);
        columns
    }

    /// Takes the cursor back, and what was there away.
    pub(super) fn erase(&mut self, columns: u8, modes: &Termios) {
        for _ in 0..columns {
            let _is_there = [8, b' ', 8].into_iter().all(|byte| self.put(byte, modes));
        }
    }

    /// Takes bytes out.
    pub(super) fn take(&mut self, out: &mut [u8]) -> usize {
        let count = if self.is_stopped { 0 } else { out.len().min(self.output.len()) };
        for (to, from) in out.iter_mut().zip(self.output.drain(..count)) {
            *to = from;
        }
        count
    }

    pub(super) fn clear(&mut self) {
        self.output.clear();
    }

    pub(super) fn waiting(&self) -> usize {
        self.output.len()
    }

    pub(super) fn has_room(&self) -> bool {
        OUTPUT.saturating_sub(self.output.len()) >= ROOM
    }
}
