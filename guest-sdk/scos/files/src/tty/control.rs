//! Controls of a terminal (ioctl_tty(2)).

use super::Terminal;
use crate::Errno;
use crate::abi::ioctl::{
    FIONREAD, TCFLSH, TCGETS, TCSBRK, TCSETS, TCSETSF, TCSETSW, TIOCGPGRP, TIOCGSID, TIOCGWINSZ,
    TIOCNOTTY, TIOCOUTQ, TIOCSCTTY, TIOCSPGRP, TIOCSWINSZ,
};
use crate::abi::termios::{ICANON, Termios};
use crate::wakes::Wakes;

/// The signal that tells of another size of the window.
const SIGWINCH: u8 = 28;

impl Terminal {
    /// Carries a request out; `data` is what is copied, as [`crate::abi::ioctl::transfer`] says.
    ///
    /// # Errors
    /// ENOTTY for an unknown request; EINVAL; EFAULT if `data` is too short.
    pub(crate) fn control(
        &mut self,
        request: u32,
        argument: u64,
        data: &mut [u8],
        wakes: &mut Wakes,
    ) -> Result<(), Errno> {
        match request {
            TCGETS => put(data, self.modes.to_bytes()),
            TCSETS | TCSETSW => self.set_modes(&Termios::from_bytes(&get(data)?), wakes),
            TCSETSF => {
                self.discard_input();
                self.set_modes(&Termios::from_bytes(&get(data)?), wakes)
            }
            TCFLSH => self.flush(argument, wakes),
            // It makes no break, and output goes on by itself.
            TCSBRK | TIOCSCTTY | TIOCNOTTY => Ok(()),
            TIOCGPGRP => put(data, self.foreground.to_le_bytes()),
            TIOCGSID => put(data, self.session.to_le_bytes()),
            TIOCSPGRP => self.set_foreground(i32::from_le_bytes(get(data)?)),
            TIOCGWINSZ => put(data, self.window),
            TIOCSWINSZ => self.set_window(get(data)?),
            FIONREAD => put(data, count(self.input.len())),
            TIOCOUTQ => put(data, count(self.screen.waiting())),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn set_modes(&mut self, modes: &Termios, wakes: &mut Wakes) -> Result<(), Errno> {
        let was_canonical = self.has(ICANON);
        self.modes = *modes;
        match (was_canonical, self.has(ICANON)) {
            (true, false) => {
                self.lines.clear();
                self.input.extend(self.line.drain(..).map(|typed| typed.byte));
            }
            (false, true) if !self.input.is_empty() => self.lines.push_back(self.input.len()),
            _ => {}
        }
        wakes.wake(self.readers);
        Ok(())
    }

    /// Discards input (0), output (1) or both (2).
    fn flush(&mut self, which: u64, wakes: &mut Wakes) -> Result<(), Errno> {
        if which > 2 {
            return Err(Errno::EINVAL);
        }
        if which != 1 {
            self.discard_input();
        }
        if which != 0 {
            self.screen.clear();
            wakes.wake(self.writers);
        }
        Ok(())
    }

    fn set_foreground(&mut self, group: i32) -> Result<(), Errno> {
        let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        self.foreground = group;
        Ok(())
    }

    fn set_window(&mut self, window: [u8; 8]) -> Result<(), Errno> {
        if window != self.window {
            self.window = window;
            self.raise(SIGWINCH);
        }
        Ok(())
    }
}

fn count(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_le_bytes()
}

fn get<const N: usize>(data: &[u8]) -> Result<[u8; N], Errno> {
    data.first_chunk().copied().ok_or(Errno::EFAULT)
}

fn put<const N: usize>(data: &mut [u8], bytes: [u8; N]) -> Result<(), Errno> {
    *data.first_chunk_mut().ok_or(Errno::EFAULT)? = bytes;
    Ok(())
}
