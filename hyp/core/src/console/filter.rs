//! What becomes of a partition's bytes on their way to the board's UART.

/// What one byte of output turns into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing is written.
    Nothing,
    /// This byte, as part of a line.
    Text(u8),
    /// Two bytes of one UTF-8 character, as part of a line.
    Pair(u8, u8),
    /// The line ends.
    Newline,
    /// The cursor returns to the line's start: only for who may use the whole terminal.
    Return,
}

/// A byte's piece, and whether the line ends before it (text after a lone CR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) breaks_line: bool,
    pub(super) piece: Piece,
}

/// Who may send control bytes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The focused partition: its bytes pass as they are, so that editors and colours work.
    Terminal,
    /// Everybody else: text only. An escape sequence could move the cursor into another's line, or
    /// leave the terminal unreadable.
    TextOnly,
}

/// Where a partition's stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// In a control sequence (ECMA-48 CSI), up to its final byte 0x40–0x7e.
    Control,
    /// In a control string (OSC, DCS, SOS, PM, APC), up to BEL, ST or a newline.
    Text,
    /// In a control string, after ESC.
    TextEscape,
}

/// The filter of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    state: State,
    /// The last byte was CR.
    after_return: bool,
    /// UTF-8 continuation bytes still to come.
    continuation: u8,
    /// A lead byte 0xc2, held until its second byte shows that it is no C1 control.
    holds_c2: bool,
}

impl Filter {
    /// A filter at the start of a stream.
    pub(super) const fn new() -> Self {
        Self { state: State::Ground, after_return: false, continuation: 0, holds_c2: false }
    }

    /// Decides about `byte`.
    pub(super) fn pass(&mut self, byte: u8, trust: Trust) -> Passed {
        match trust {
            Trust::Terminal => Passed { breaks_line: false, piece: self.pass_all(byte) },
            Trust::TextOnly => {
                let after_return = self.after_return;
                let piece = self.pass_text(byte);
                let is_text = matches!(piece, Piece::Text(_) | Piece::Pair(..));
                self.after_return &= !is_text;
                Passed { breaks_line: after_return && is_text, piece }
            }
        }
    }

    fn pass_all(&mut self, byte: u8) -> Piece {
        // What was half seen as text only has no meaning any more.
        *self = Self::default();
        match byte {
            b'\n' => Piece::Newline,
            b'\r' => Piece::Return,
            _ => Piece::Text(byte),
        }
    }

    fn pass_text(&mut self, byte: u8) -> Piece {
        if byte == b'\n' {
            // A newline ends even an unfinished sequence: nobody hides more than a line.
            *self = Self::default();
            return Piece::Newline;
        }
        if self.state != State::Ground {
            self.state = after_escape(self.state, byte);
            return Piece::Nothing;
        }
        if byte == b'\r' {
            *self = Self { after_return: true, ..Self::default() };
            return Piece::Nothing;
        }
        self.printable(byte)
    }

    fn printable(&mut self, byte: u8) -> Piece {
        let holds_c2 = core::mem::take(&mut self.holds_c2);
        let continuation = core::mem::take(&mut self.continuation);
        match byte {
            b'\t' | 0x20..=0x7e => Piece::Text(byte),
            0x1b => {
                self.state = State::Escape;
                Piece::Nothing
            }
            // U+0080 to U+009F are control characters too, 0x9b alone is CSI to some terminals.
            0xa0..=0xbf if holds_c2 => Piece::Pair(0xc2, byte),
            0x80..=0xbf if continuation > 0 => {
                self.continuation = continuation.saturating_sub(1);
                Piece::Text(byte)
            }
            0xc2 => {
                self.holds_c2 = true;
                Piece::Nothing
            }
            0xc3..=0xdf => self.lead(byte, 1),
            0xe0..=0xef => self.lead(byte, 2),
            0xf0..=0xf4 => self.lead(byte, 3),
            _ => Piece::Nothing,
        }
    }

    fn lead(&mut self, byte: u8, continuation: u8) -> Piece {
        self.continuation = continuation;
        Piece::Text(byte)
    }
}

/// The next state inside an escape sequence (ECMA-48 5.3–5.6).
fn after_escape(state: State, byte: u8) -> State {
    match (state, byte) {
        // CAN and SUB abort every sequence.
        (_, 0x18 | 0x1a) => State::Ground,
        (State::Escape, b'[') => State::Control,
        (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Text,
        // Intermediate bytes, as in ESC ( B.
        (State::Escape, 0x20..=0x2f) | (State::Control, 0x20..=0x3f) => state,
        (State::Text, 0x1b) => State::TextEscape,
        (State::Control | State::Escape, 0x1b) => State::Escape,
        (State::Text, 0x07) | (State::TextEscape, b'\\') => State::Ground,
        (State::Text | State::TextEscape, _) => State::Text,
        // Final bytes; and any other byte ends a broken sequence.
        (State::Escape | State::Control | State::Ground, _) => State::Ground,
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Piece, Trust};
    use std::string::String;
    use std::vec::Vec;

    fn text(input: &[u8], trust: Trust) -> String {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        for byte in input {
            let passed = filter.pass(*byte, trust);
            out.extend(passed.breaks_line.then_some(b'|'));
            match passed.piece {
                Piece::Nothing => {}
                Piece::Text(text) => out.push(text),
                Piece::Pair(first, second) => out.extend([first, second]),
                Piece::Newline => out.push(b'\n'),
                Piece::Return => out.push(b'<'),
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escape_sequences_of_the_unfocused_leave_only_their_text() {
        let seen =
            text(b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b(By\x1b[2J\x1b7z", Trust::TextOnly);
        assert_eq!(seen, "red xyz");
        assert_eq!(text(b"\x1bP1;2|hidden\x1b\\seen", Trust::TextOnly), "seen");
        assert_eq!(text(b"a\x1b]never ended\nb", Trust::TextOnly), "a\nb");
        assert_eq!(text(b"a\x1b[12\x18b", Trust::TextOnly), "ab");
    }

    #[test]
    fn control_bytes_of_the_unfocused_are_dropped_and_tabs_stay() {
        assert_eq!(text(b"a\x07\x08\x00b\tc\x7f\x0c", Trust::TextOnly), "ab\tc");
    }

    #[test]
    fn utf_8_passes_but_c1_controls_do_not_in_either_form() {
        assert_eq!(text("grüße → 仕切り 🦀 £".as_bytes(), Trust::TextOnly), "grüße → 仕切り 🦀 £");
        assert_eq!(text(b"a\x9b31mb", Trust::TextOnly), "a31mb");
        assert_eq!(text(b"a\xc2\x9b31mb", Trust::TextOnly), "a31mb");
    }

    #[test]
    fn a_lone_carriage_return_becomes_a_new_line_and_crlf_one_line_end() {
        assert_eq!(text(b"10%\r20%\r\nnext\n\rtext", Trust::TextOnly), "10%|20%\nnext\n|text");
        assert_eq!(text("a\r\r£b".as_bytes(), Trust::TextOnly), "a|£b");
    }

    #[test]
    fn the_focused_partition_drives_the_terminal_itself() {
        assert_eq!(text(b"\x1b[31ma\x08\r\n", Trust::Terminal), "\x1b[31ma\x08<\n");
    }

    #[test]
    #[cfg_attr(miri, ignore = "65,536 streams: minutes under Miri, and no unsafe code")]
    fn no_control_byte_of_any_stream_gets_through() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let mut filter = Filter::default();
                let mut out = Vec::new();
                for byte in [first, second, b'm', b'\n', b'x'] {
                    match filter.pass(byte, Trust::TextOnly).piece {
                        Piece::Text(text) => out.push(text),
                        Piece::Pair(first, second) => out.extend([first, second]),
                        Piece::Nothing | Piece::Newline => {}
                        Piece::Return => panic!("a return passed"),
                    }
                }
                assert!(out.iter().all(|byte| *byte == b'\t' || *byte >= 0x20 && *byte != 0x7f));
                assert_eq!(out.last(), Some(&b'x'), "text after a newline is always seen");
            }
        }
    }
}
