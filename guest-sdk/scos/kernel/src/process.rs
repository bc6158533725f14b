//! A process: what its threads share.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use shikiri_scos_core::Alarm;
use shikiri_scos_core::signal::{Action, Info, LAST, SIGALRM, Set};
use shikiri_scos_files::{Caller, Descriptors, NodeId};

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Who waits for its end.
    pub(crate) parent: u32,
    /// Its process group.
    pub(crate) group: u32,
    /// Its session.
    pub(crate) session: u32,
    /// Its address space, by number.
    pub(crate) space: u16,
    pub(crate) descriptors: Descriptors,
    /// Its working directory.
    pub(crate) directory: NodeId,
    pub(crate) umask: u32,
    pub(crate) actions: Actions,
    pub(crate) pending: Pending,
    pub(crate) alarm: Alarm,
    pub(crate) state: State,
    /// Whether it was told of the present stop by `wait4`.
    pub(crate) is_stop_told: bool,
    /// The signal that its parent gets when it ends; 0: none.
    pub(crate) end_signal: u8,
    /// The program's name.
    pub(crate) name: String,
    /// Its arguments, for who looks.
    pub(crate) arguments: Vec<u8>,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its threads have their turns.
    Active,
    /// Stopped by this signal.
    Stopped(u8),
    /// It has ended with this status, as `wait4` gives it.
    Ended(u32),
}

/// What each signal does.
#[derive(Clone, Debug)]
pub(crate) struct Actions(Box<[Action; LAST as usize]>);

impl Actions {
    /// The default for all.
    pub(crate) fn new() -> Self {
        Self(Box::new([Action::default(); LAST as usize]))
    }

    pub(crate) fn get(&self, signal: u8) -> Action {
        self.0.get(place(signal)).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, signal: u8, action: Action) {
        if let Some(place) = self.0.get_mut(place(signal)) {
            *place = action;
        }
    }

    /// A new program catches nothing; what is ignored stays so.
    pub(crate) fn reset_caught(&mut self) {
        for action in self.0.iter_mut().filter(|action| action.is_caught()) {
            *action = Action::default();
        }
    }
}

fn place(signal: u8) -> usize {
    usize::from(signal).wrapping_sub(1)
}

/// Signals that have come and were not delivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) set: Set,
    infos: BTreeMap<u8, Info>,
}

impl Pending {
    /// One comes; if it is there already, it is there once.
    pub(crate) fn add(&mut self, signal: u8, info: Info) {
        if !self.set.has(signal) {
            self.set = self.set.with(signal);
            self.infos.insert(signal, info);
        }
    }

    /// Takes one out, if it is there.
    pub(crate) fn take(&mut self, signal: u8) -> Option<Info> {
        if !self.set.has(signal) {
            return None;
        }
        self.set = self.set.without(signal);
        Some(self.infos.remove(&signal).unwrap_or_default())
    }
}

impl Process {
    /// As the files see who calls.
    pub(crate) fn caller(&self) -> Caller {
        Caller { directory: self.directory, umask: self.umask, user: 0, group: 0 }
    }

    /// Whether SIGALRM has come and was not delivered.
    pub(crate) fn has_rung(&self) -> bool {
        self.pending.set.has(SIGALRM)
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }
}
