//! The terminal that the shell is used at: its lines, its single keys, and ^C.
//!
//! ^C and ^\ are signals to the process group in the terminal's foreground: the shell's own while it waits for a line or carries out a command
//! of its own, a pipeline's while that runs. The shell remembers that one came until the next prompt ([`is_interrupted`]).

use core::time::Duration;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::termios::{
    InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr,
    tcsetattr,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, getpgrp, getpid, read, setpgid, tcsetpgrp};
use shikiri_scos_programs::os;

/// The signals that end what is typed, or runs.
const INTERRUPTS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: libc::c_int) {
    IS_INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether ^C came since the last prompt.
pub(crate) fn is_interrupted() -> bool {
    IS_INTERRUPTED.load(Ordering::Relaxed)
}

/// Takes note that it ended a program.
pub(crate) fn note_interrupt() {
    IS_INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Ends this process as ^C does.
pub(crate) fn end_by_interrupt() {
    // It has no handler where nobody types.
    let _has_ended = kill(getpid(), Signal::SIGINT);
}

/// What came of waiting for a line.
pub(crate) enum Typed {
    /// A line.
    Line(Vec<u8>),
    /// ^C: what was typed counts no more.
    Interrupted,
    /// There will be no more lines.
    End,
}

/// The terminal of a shell that somebody types at.
pub(crate) struct Terminal {
    /// Where lines are read. A read does not wait: ^C takes a line away that was there already.
    lines: File,
    /// How it is while lines are typed.
    modes: Option<Termios>,
}

impl Terminal {
    /// Takes the terminal: nobody but this shell and whom it starts gets its keys and its signals.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn take() -> io::Result<Self> {
        // Opened anew: the flags of standard input are those of all who have it.
        let lines = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/tty")?;
        for signal in INTERRUPTS {
            // A handler is gone in who is run; what is ignored or held back would stay so.
            if os::handle(signal as libc::c_int, interrupt, libc::SA_RESTART).is_err() {
                eprintln!("{signal} cannot be handled: it ends the shell");
            }
        }
        // A shell that leads a session has a group of its own already.
        let _has_group = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        give_to(getpgrp());
        let terminal = Self { lines, modes: tcgetattr(io::stdin()).ok().map(line_modes) };
        terminal.restore();
        Ok(terminal)
    }

    /// Has lines edited and echoed, whatever a program has left behind.
    pub(crate) fn restore(&self) {
        if let Some(modes) = &self.modes {
            set(modes);
        }
    }

    /// Shows the prompt and waits for a line. ^C behind the line's end is for the command that it is.
    ///
    /// # Errors
    /// The terminal cannot be written or read.
    pub(crate) fn line(&self, prompt: &str) -> io::Result<Typed> {
        self.restore();
        IS_INTERRUPTED.store(false, Ordering::Relaxed);
        print!("{prompt}");
        io::stdout().flush()?;
        let line = self.wait_for_line();
        if matches!(line, Ok(Typed::Interrupted)) {
            IS_INTERRUPTED.store(false, Ordering::Relaxed);
        }
        line
    }

    fn wait_for_line(&self) -> io::Result<Typed> {
        let mut line = Vec::new();
        loop {
            let mut wanted = [PollFd::new(self.lines.as_fd(), PollFlags::POLLIN)];
            match wait(&mut wanted, None) {
                Err(Errno::EINTR) if is_interrupted() => return Ok(Typed::Interrupted),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            // Not through the standard library's buffer: who is run reads what is left.
            let mut bytes = [0; 4096];
            let count = match read(&self.lines, &mut bytes) {
                Err(Errno::EAGAIN) => continue,
                count => count?,
            };
            line.extend(bytes.iter().take(count));
            match (count, line.as_slice()) {
                (0, []) => return Ok(Typed::End),
                (0, _) | (_, [.., b'\n']) => return Ok(Typed::Line(line)),
                // ^D within a line.
                _ => {}
            }
        }
    }
}

/// Lines are edited and echoed, and keys make signals. ^Z makes none: this shell has no way to let a stopped program go on.
fn line_modes(mut modes: Termios) -> Termios {
    modes.input_flags |= InputFlags::ICRNL;
    modes.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
    modes.local_flags |=
        LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE | LocalFlags::ISIG;
    modes.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
    modes
}

/// Each key comes at once and unseen; ^C and its like are signals still.
fn key_modes(mut modes: Termios) -> Termios {
    modes.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO);
    modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    modes
}

fn set(modes: &Termios) {
    // A terminal that has gone needs none.
    let _is_set = tcsetattr(io::stdin(), SetArg::TCSADRAIN, modes);
}

/// Keys one by one, and how the terminal was before; `None`: what is read is no terminal.
pub(crate) struct Keys(Option<Termios>);

impl Keys {
    /// Has them come at once and unseen.
    pub(crate) fn take() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            set(&key_modes(before.clone()));
        }
        Self(before)
    }

    /// Waits for a key or ^C, so long at most; whether one came.
    pub(crate) fn wait(&self, span: Duration) -> bool {
        if self.0.is_none() {
            sleep(span);
            return is_interrupted();
        }
        let keys = io::stdin();
        let mut wanted = [PollFd::new(keys.as_fd(), PollFlags::POLLIN)];
        match wait(&mut wanted, Some(span)) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
        // What ended it is not a command. One that sends several bytes sends them at once.
        let mut bytes = [0; 256];
        read(&keys, &mut bytes).is_ok()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            set(before);
        }
    }
}

/// Waits for a while, or until ^C.
pub(crate) fn sleep(span: Duration) {
    // An error is that ^C.
    let _none = wait(&mut [], Some(span));
}

/// `poll`, which EINTR ends also if ^C came just before.
fn wait(wanted: &mut [PollFd<'_>], span: Option<Duration>) -> nix::Result<libc::c_int> {
    let held: SigSet = INTERRUPTS.into_iter().collect();
    let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let found = if is_interrupted() {
        Err(Errno::EINTR)
    } else {
        ppoll(wanted, span.map(TimeSpec::from_duration), Some(before))
    };
    before.thread_set_mask()?;
    found
}

/// Lets a process group read from the terminal, and have its ^C.
pub(crate) fn give_to(group: Pid) {
    // What is read may be no terminal; a group that has ended already needs none.
    let _is_given = tcsetpgrp(io::stdin().as_fd(), group);
}
