//! The system calls: the table of shikiri-scos-core, with a file of handlers for each topic.

pub(crate) mod descriptors;
mod memory;
mod names;
mod poll;
mod process;
mod program;
mod signals;
mod sockets;
mod system;
pub(crate) mod thread;
pub(crate) mod time;
mod transfer;

use shikiri_scos_core::for_each_call;
use shikiri_scos_files::Errno;

use crate::arch;
use crate::kernel::Kernel;
use crate::thread::{Call, State, Wait};
use crate::user::{Answer, Outcome, User};

macro_rules! dispatch {
    ($($number:literal $name:ident $topic:ident ($($kind:ident),*) $note:literal;)*) => {
        /// Does a call.
        fn dispatch(user: &mut User<'_>, number: u64) -> Answer {
            match number {
                $($number => $topic::$name(user),)*
                _ => {
                    user.kernel.unknown_calls = user.kernel.unknown_calls.saturating_add(1);
                    Err(Errno::ENOSYS)
                }
            }
        }
    };
}

for_each_call!(dispatch);

/// What a refused call leaves in `x0`.
pub(crate) fn refusal(error: Errno) -> u64 {
    u64::from(error.number()).wrapping_neg()
}

/// Calls that may be done when the heap is nearly used up: what gives something back, and what takes nothing.
fn is_frugal(number: u64) -> bool {
    // unlinkat, close, exit, exit_group, kill, rt_sigreturn, munmap, wait4.
    matches!(number, 35 | 57 | 93 | 94 | 129 | 139 | 215 | 260)
}

/// Whether a call is done anew after a handler with SA_RESTART (signal(7)); `is_timed`: it has a time limit.
pub(crate) fn is_restartable(number: u64, is_timed: bool) -> bool {
    // epoll_pwait, pselect6, ppoll, nanosleep, clock_nanosleep, rt_sigsuspend never are.
    !is_timed && !matches!(number, 22 | 72 | 73 | 101 | 115 | 133)
}

/// The most things that the threads of a process wait for, besides a few for each. Its calls that want more are ENOMEM.
const MOST_WAITED_FOR: usize = 8192;
/// What each thread may wait for, whatever the others do.
const FEW: usize = 64;

impl Kernel {
    /// Whether a thread of a process may wait for so much.
    fn can_wait(&self, process: u32, wait: &Wait) -> bool {
        if wait.on.len() <= FEW {
            return true;
        }
        let waits = self.threads.values().filter(|thread| thread.process == process);
        let waits = waits.map(|thread| match &thread.state {
            State::Waiting(wait) => wait.on.len(),
            State::Ready => 0,
        });
        waits.sum::<usize>() + wait.on.len() <= MOST_WAITED_FOR
    }

    /// Does the call that a thread has made, or tries it again.
    pub(crate) fn do_call(&mut self, id: u32) {
        let Some(thread) = self.threads.get(&id) else { return };
        let [a, b, c, d, e, f, _, _, number, ..] = thread.frame.x;
        let process = thread.process;
        self.files.set_payer(process);
        let mut user = User { kernel: self, thread: id, process, arguments: [a, b, c, d, e, f] };
        let answer = match arch::heap_is_low() && !is_frugal(number) {
            true => Err(Errno::ENOMEM),
            false => dispatch(&mut user, number),
        };
        let is_signalled = self.has_signal(id);
        let can_wait = match &answer {
            Ok(Outcome::Wait(wait)) => self.can_wait(process, wait),
            _ => true,
        };
        let Some(thread) = self.threads.get_mut(&id) else { return };
        match answer {
            Ok(Outcome::Wait(wait)) if !can_wait => {
                drop(wait);
                thread.frame.x[0] = refusal(Errno::ENOMEM);
            }
            Ok(Outcome::Wait(wait)) => {
                thread.call.is_open = true;
                // A signal that has come already would wake nobody.
                if !is_signalled {
                    thread.state = State::Waiting(wait);
                }
                return;
            }
            Ok(Outcome::Later(value, wait)) => {
                thread.frame.x[0] = value;
                thread.state = State::Waiting(wait);
            }
            Ok(Outcome::Value(value)) => thread.frame.x[0] = value,
            Err(error) => thread.frame.x[0] = refusal(error),
            Ok(Outcome::Gone) => {}
        }
        thread.call = Call::default();
        // With a signal on its way, its handler puts the mask back.
        if !is_signalled && let Some(mask) = thread.former_mask.take() {
            thread.mask = mask;
        }
    }
}
