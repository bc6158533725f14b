//! `struct termios` as TCGETS has it, and `struct winsize` (include/uapi/asm-generic/termbits.h, termios.h).

use super::record::{get, put};

/// Input: carriage return becomes line feed.
pub const ICRNL: u32 = 0o400;
/// Input: line feed becomes carriage return.
pub const INLCR: u32 = 0o100;
/// Input: carriage returns are ignored.
pub const IGNCR: u32 = 0o200;
/// Input: [`VSTOP`] and [`VSTART`] hold output back and let it go on.
pub const IXON: u32 = 0o2000;
/// Output is processed.
pub const OPOST: u32 = 1;
/// Output: line feed becomes carriage return and line feed.
pub const ONLCR: u32 = 4;
/// Local: characters make signals.
pub const ISIG: u32 = 1;
/// Local: input comes in lines that can be edited.
pub const ICANON: u32 = 2;
/// Local: input is echoed.
pub const ECHO: u32 = 0o10;
/// Local: erase takes the character off the screen.
pub const ECHOE: u32 = 0o20;
/// Local: kill takes the line off the screen.
pub const ECHOK: u32 = 0o40;
/// Local: line feed is echoed even without [`ECHO`].
pub const ECHONL: u32 = 0o100;
/// Local: signals do not discard what waits.
pub const NOFLSH: u32 = 0o200;
/// Local: control characters are echoed as `^X`.
pub const ECHOCTL: u32 = 0o1000;
/// Local: kill erases each character.
pub const ECHOKE: u32 = 0o4000;
/// Local: word erase, reprint and literal next.
pub const IEXTEN: u32 = 0o100_000;

/// Special character: interrupt (^C).
pub const VINTR: usize = 0;
/// Special character: quit (^\).
pub const VQUIT: usize = 1;
/// Special character: erase.
pub const VERASE: usize = 2;
/// Special character: kill the line (^U).
pub const VKILL: usize = 3;
/// Special character: end of file (^D).
pub const VEOF: usize = 4;
/// Raw mode: tenths of a second to wait.
pub const VTIME: usize = 5;
/// Raw mode: bytes to wait for.
pub const VMIN: usize = 6;
/// Special character: output goes on (^Q).
pub const VSTART: usize = 8;
/// Special character: output is held back (^S).
pub const VSTOP: usize = 9;
/// Special character: suspend (^Z).
pub const VSUSP: usize = 10;
/// Special character: another end of line.
pub const VEOL: usize = 11;
/// Special character: reprint (^R).
pub const VREPRINT: usize = 12;
/// Special character: erase a word (^W).
pub const VWERASE: usize = 14;
/// Special character: the next one is literal (^V).
pub const VLNEXT: usize = 15;
/// Special character: a second other end of line.
pub const VEOL2: usize = 16;

/// How a terminal behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    /// Input modes.
    pub input: u32,
    /// Output modes.
    pub output: u32,
    /// Control modes: kept, and no difference.
    pub control: u32,
    /// Local modes.
    pub local: u32,
    /// Line discipline: kept.
    pub line: u8,
    /// Special characters; 0 is none.
    pub characters: [u8; 19],
}

impl Termios {
    /// Bytes of the structure.
    pub const BYTES: usize = 36;

    /// As a Linux terminal is when it is new.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            input: ICRNL | IXON,
            output: OPOST | ONLCR,
            // B38400, CS8, CREAD.
            control: 0o277,
            local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            characters: [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0],
        }
    }

    /// As a program gives it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 36]) -> Self {
        let [line] = get(bytes, 16);
        Self {
            input: u32::from_le_bytes(get(bytes, 0)),
            output: u32::from_le_bytes(get(bytes, 4)),
            control: u32::from_le_bytes(get(bytes, 8)),
            local: u32::from_le_bytes(get(bytes, 12)),
            line,
            characters: get(bytes, 17),
        }
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        put(&mut bytes, 0, &self.input.to_le_bytes());
        put(&mut bytes, 4, &self.output.to_le_bytes());
        put(&mut bytes, 8, &self.control.to_le_bytes());
        put(&mut bytes, 12, &self.local.to_le_bytes());
        put(&mut bytes, 16, &[self.line]);
        put(&mut bytes, 17, &self.characters);
        bytes
    }
}

impl Default for Termios {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Termios, VEOL2, VINTR, VLNEXT, VMIN, VSUSP, VWERASE};

    #[test]
    fn a_new_terminal_is_linuxs() {
        let bytes = Termios::new().to_bytes();
        let modes = [0o2400_u32, 5, 0o277, 0o105_073].map(u32::to_le_bytes).concat();
        assert_eq!(bytes[..16], modes);
        assert_eq!(Termios::from_bytes(&bytes), Termios::new());
        let of = |which: usize| bytes[17 + which];
        assert_eq!([VINTR, VMIN, VSUSP, VWERASE, VLNEXT, VEOL2].map(of), [3, 1, 26, 23, 22, 0]);
    }
}
