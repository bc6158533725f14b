//! The operator's line editor.

use core::fmt;

/// The longest line that can be typed, in bytes.
pub const LINE_BYTES: usize = 80;
/// What the operator console shows when it waits for a command.
pub const PROMPT: &str = "shikiri> ";

/// Edits one line: printable ASCII, backspace, Ctrl-U (start again), Ctrl-C (give up), CR or LF (done).
///
/// Escape sequences (arrow keys) and other control bytes are ignored.
#[derive(Clone, Debug)]
pub struct LineEditor {
    bytes: [u8; LINE_BYTES],
    used: usize,
    escape: Escape,
    /// The last byte was CR: a LF after it belongs to it.
    after_return: bool,
}

/// How far an escape sequence has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Control,
}

impl LineEditor {
    /// An editor with an empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; LINE_BYTES], used: 0, escape: Escape::None, after_return: false }
    }

    /// Takes a typed byte and echoes to `out`; returns the line when it is complete.
    ///
    /// The caller answers it and shows [`PROMPT`] again. A line is forgotten with the next byte.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn push(
        &mut self,
        byte: u8,
        out: &mut impl fmt::Write,
    ) -> Result<Option<Line>, fmt::Error> {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        if self.is_in_escape(byte) || (after_return && byte == b'\n') {
            return Ok(None);
        }
        match byte {
            b'\r' | b'\n' => {
                out.write_str("\n")?;
                let line = Line { bytes: self.bytes, used: self.used };
                self.used = 0;
                return Ok(Some(line));
            }
            0x08 | 0x7f if self.used > 0 => {
                self.used = self.used.saturating_sub(1);
                out.write_str("\x08 \x08")?;
            }
            0x03 | 0x15 => {
                self.used = 0;
                write!(out, "^{}\n{PROMPT}", if byte == 0x03 { 'C' } else { 'U' })?;
            }
            b' '..=b'~' => self.insert(byte, out)?,
            _ => {}
        }
        Ok(None)
    }

    /// What has been typed of the line so far: to show it again after other text has come in between.
    #[must_use]
    pub fn text(&self) -> &str {
        self.bytes.get(..self.used).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or_default()
    }

    fn insert(&mut self, byte: u8, out: &mut impl fmt::Write) -> fmt::Result {
        match self.bytes.get_mut(self.used) {
            Some(place) => {
                *place = byte;
                self.used = self.used.saturating_add(1);
                out.write_char(char::from(byte))
            }
            // The line is full: ring the bell and forget the byte.
            None => out.write_char('\x07'),
        }
    }

    /// Whether `byte` belongs to an escape sequence (ESC x, ESC [ … final, ESC O x).
    fn is_in_escape(&mut self, byte: u8) -> bool {
        let (is_part, next) = match (self.escape, byte) {
            (_, 0x1b) => (true, Escape::Begun),
            (Escape::None, _) => (false, Escape::None),
            // A line end always ends the line, even after half a sequence.
            (_, b'\r' | b'\n') => (false, Escape::None),
            (Escape::Begun, b'[' | b'O') | (Escape::Control, 0x20..=0x3f) => {
                (true, Escape::Control)
            }
            (Escape::Begun | Escape::Control, _) => (true, Escape::None),
        };
        self.escape = next;
        is_part
    }
}

impl Default for LineEditor {
    fn default() -> Self {
        Self::new()
    }
}

/// A complete line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    used: usize,
}

impl Line {
    /// The text: printable ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.used).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, LineEditor};
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn typed(bytes: &[u8]) -> (Vec<String>, String) {
        let mut editor = LineEditor::new();
        let mut echo = String::new();
        let mut lines = Vec::new();
        for byte in bytes {
            if let Some(line) = editor.push(*byte, &mut echo).unwrap() {
                lines.push(line.as_str().to_string());
            }
        }
        (lines, echo)
    }

    #[test]
    fn lines_end_with_cr_lf_or_both_once() {
        assert_eq!(typed(b"list\r\nlog\rhelp\n\n").0, ["list", "log", "help", ""]);
    }

    #[test]
    fn backspace_ctrl_u_and_ctrl_c_edit() {
        let (lines, echo) = typed(b"lisx\x7ft\r");
        assert_eq!((lines[0].as_str(), echo.as_str()), ("list", "lisx\x08 \x08t\n"));
        assert_eq!(typed(b"abc\x15log\r").0, ["log"]);
        assert_eq!(typed(b"off\x03\r").0, [""]);
        assert_eq!(typed(b"\x08\x08a\r").0, ["a"]);
    }

    #[test]
    fn arrow_keys_and_control_bytes_leave_no_trace_in_the_line() {
        assert_eq!(typed(b"l\x1b[Ai\x1b[1;5Ds\x1bOAt\x00\x02\xff\r").0, ["list"]);
        assert_eq!(typed(b"log\x1b[\r").0, ["log"]);
    }

    #[test]
    fn a_full_line_rings_and_keeps_its_beginning() {
        let (lines, echo) = typed(&[[b'a'; LINE_BYTES + 2].as_slice(), b"\r"].concat());
        assert_eq!(lines[0].len(), LINE_BYTES);
        assert!(echo.ends_with("\x07\x07\n"));
    }

    #[test]
    fn what_has_been_typed_so_far_can_be_shown_again() {
        let mut editor = LineEditor::new();
        let mut echo = String::new();
        for byte in *b"lisx\x7f" {
            assert!(editor.push(byte, &mut echo).unwrap().is_none());
        }
        assert_eq!(editor.text(), "lis");
        assert!(editor.push(b'\r', &mut echo).unwrap().is_some());
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn no_byte_fails() {
        for byte in 0..=255 {
            let _lines = typed(&[byte, byte, 0x1b, byte, b'[', byte, b'\r']);
        }
    }
}
