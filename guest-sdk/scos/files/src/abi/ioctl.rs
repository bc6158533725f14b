//! Numbers of `ioctl`, and what each of them copies.

use super::termios::Termios;

/// The terminal's modes.
pub const TCGETS: u32 = 0x5401;
/// Sets the terminal's modes now.
pub const TCSETS: u32 = 0x5402;
/// Sets them when all output is written.
pub const TCSETSW: u32 = 0x5403;
/// The same, and discards input.
pub const TCSETSF: u32 = 0x5404;
/// Waits until all output is written, or sends a break.
pub const TCSBRK: u32 = 0x5409;
/// Discards input, output or both.
pub const TCFLSH: u32 = 0x540b;
/// Makes it the controlling terminal.
pub const TIOCSCTTY: u32 = 0x540e;
/// The foreground process group.
pub const TIOCGPGRP: u32 = 0x540f;
/// Sets the foreground process group.
pub const TIOCSPGRP: u32 = 0x5410;
/// Bytes of output that wait.
pub const TIOCOUTQ: u32 = 0x5411;
/// The window's size.
pub const TIOCGWINSZ: u32 = 0x5413;
/// Sets the window's size.
pub const TIOCSWINSZ: u32 = 0x5414;
/// Bytes that can be read.
pub const FIONREAD: u32 = 0x541b;
/// Sets or clears non-blocking mode.
pub const FIONBIO: u32 = 0x5421;
/// Gives up the controlling terminal.
pub const TIOCNOTTY: u32 = 0x5422;
/// The session of the terminal.
pub const TIOCGSID: u32 = 0x5429;
/// The descriptor stays when a program is executed.
pub const FIONCLEX: u32 = 0x5450;
/// The descriptor is closed when a program is executed.
pub const FIOCLEX: u32 = 0x5451;

/// What a request copies at its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Nothing: the argument is a number, or has no meaning.
    Nothing,
    /// So many bytes from the program.
    FromProgram(usize),
    /// So many bytes to the program.
    ToProgram(usize),
}

/// What a request copies; `None` if it is not known here.
#[must_use]
pub const fn transfer(request: u32) -> Option<Transfer> {
    Some(match request {
        TCSBRK | TCFLSH | TIOCSCTTY | TIOCNOTTY | FIOCLEX | FIONCLEX => Transfer::Nothing,
        TCGETS => Transfer::ToProgram(Termios::BYTES),
        TCSETS | TCSETSW | TCSETSF => Transfer::FromProgram(Termios::BYTES),
        TIOCGPGRP | TIOCGSID | TIOCOUTQ | FIONREAD => Transfer::ToProgram(4),
        TIOCSPGRP | FIONBIO => Transfer::FromProgram(4),
        TIOCGWINSZ => Transfer::ToProgram(8),
        TIOCSWINSZ => Transfer::FromProgram(8),
        _ => return None,
    })
}
