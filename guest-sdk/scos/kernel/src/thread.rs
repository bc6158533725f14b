//! A thread: registers, and what it waits for.

use alloc::boxed::Box;
use alloc::vec::Vec;

use shikiri_scos_core::signal::{AlternateStack, Set};
use shikiri_scos_files::Key;

use crate::arch::Frame;
use crate::process::Pending;

/// A thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) process: u32,
    pub(crate) frame: Box<Frame>,
    pub(crate) state: State,
    /// Signals that are held back.
    pub(crate) mask: Set,
    /// The mask that is put back when the present call is over (`ppoll`, `rt_sigsuspend`).
    pub(crate) former_mask: Option<Set>,
    pub(crate) pending: Pending,
    pub(crate) stack: AlternateStack,
    /// A word that is cleared, and its waiters woken, when the thread ends; 0: none.
    pub(crate) clear_at_end: u64,
    pub(crate) call: Call,
}

/// A call between its tries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call {
    /// It is to be tried again before the program goes on.
    pub(crate) is_open: bool,
    /// When it is over at the latest, as its first try found out.
    pub(crate) deadline: Option<u64>,
    /// What it waited for has come: nothing is left to be tried (futexes).
    pub(crate) is_woken: bool,
}

/// Whether a thread can run.
#[derive(Debug)]
pub(crate) enum State {
    /// It has its turns.
    Ready,
    /// It waits.
    Waiting(Wait),
}

/// What a thread waits for: any of these.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    pub(crate) on: Vec<On>,
    pub(crate) deadline: Option<u64>,
}

/// One thing that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Files say so.
    Key(Key),
    /// A child ends or stops.
    Child,
    /// A word of memory: the futexes know.
    Futex,
    /// A process has an address space of its own. No signal but SIGKILL ends this.
    Space(u32),
    /// A signal only.
    Signal,
}

impl Wait {
    /// Waits for one thing, without end.
    pub(crate) fn on(on: On) -> Self {
        Self { on: alloc::vec![on], deadline: None }
    }

    /// At the latest until then.
    pub(crate) fn until(mut self, deadline: Option<u64>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Whether a signal that can be held back ends it.
    pub(crate) fn is_interruptible(&self) -> bool {
        !self.on.iter().any(|on| matches!(on, On::Space(_)))
    }
}

impl Thread {
    /// A new thread that can run.
    pub(crate) fn new(process: u32, frame: Frame, mask: Set) -> Self {
        Self {
            process,
            frame: Box::new(frame),
            state: State::Ready,
            mask,
            former_mask: None,
            pending: Pending::default(),
            stack: AlternateStack::default(),
            clear_at_end: 0,
            call: Call::default(),
        }
    }

    /// When it goes on at the latest.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match &self.state {
            State::Waiting(wait) => wait.deadline,
            State::Ready => None,
        }
    }
}
