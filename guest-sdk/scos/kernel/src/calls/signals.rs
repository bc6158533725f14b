//! Signals.

use alloc::vec::Vec;

use shikiri_scos_core::signal::{
    Action, AlternateStack, Info, LAST, SIGKILL, SIGSEGV, SIGSTOP, Set,
};
use shikiri_scos_files::Errno;

use crate::thread::{On, Wait};
use crate::user::{Answer, Outcome, User, done};

const SIG_BLOCK: u32 = 0;
const SIG_UNBLOCK: u32 = 1;
const SIG_SETMASK: u32 = 2;
/// SI_TKILL.
const TO_THREAD: i32 = -6;

/// Bytes of `sigset_t`.
fn check_size(bytes: u64) -> Result<(), Errno> {
    if bytes == 8 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A signal's number; 0 only asks whether somebody is there.
fn signal(number: u32) -> Result<u8, Errno> {
    u8::try_from(number).ok().filter(|number| *number <= LAST).ok_or(Errno::EINVAL)
}

pub(super) fn kill(user: &mut User<'_>) -> Answer {
    let (target, number) = (user.int(0), signal(user.word(1))?);
    let me = user.process;
    let group = user.me()?.group;
    let targets: Vec<u32> = (user.kernel.processes.iter())
        .filter(|(id, process)| match target {
            0 => process.group == group,
            -1 => **id != 1 && **id != me,
            ..-1 => process.group == target.unsigned_abs(),
            _ => **id == target.unsigned_abs(),
        })
        .map(|(id, _)| *id)
        .collect();
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    if number != 0 {
        for id in targets {
            user.kernel.signal_process(id, number, Info::from_process(me));
        }
    }
    done()
}

pub(super) fn tkill(user: &mut User<'_>) -> Answer {
    let (thread, number) = (user.int(0), user.word(1));
    to_thread(user, None, thread, number)
}

pub(super) fn tgkill(user: &mut User<'_>) -> Answer {
    let (process, thread, number) = (user.int(0), user.int(1), user.word(2));
    to_thread(user, Some(process), thread, number)
}

fn to_thread(user: &mut User<'_>, process: Option<i32>, thread: i32, number: u32) -> Answer {
    let number = signal(number)?;
    let id = u32::try_from(thread).ok().filter(|id| *id > 0).ok_or(Errno::EINVAL)?;
    let owner = user.kernel.threads.get(&id).ok_or(Errno::ESRCH)?.process;
    if process.is_some_and(|process| u32::try_from(process).ok() != Some(owner)) {
        return Err(Errno::ESRCH);
    }
    if number != 0 {
        let info = Info { code: TO_THREAD, ..Info::from_process(user.process) };
        user.kernel.signal_thread(id, number, info);
    }
    done()
}

pub(super) fn rt_sigaction(user: &mut User<'_>) -> Answer {
    let (number, new, old) = (signal(user.word(0))?, user.long(1), user.long(2));
    check_size(user.long(3))?;
    if number == 0 || (new != 0 && matches!(number, SIGKILL | SIGSTOP)) {
        return Err(Errno::EINVAL);
    }
    let action = match new {
        0 => None,
        address => Some(Action::from_bytes(&user.read_array(address)?)),
    };
    if old != 0 {
        let former = user.me()?.actions.get(number);
        user.write(old, &former.to_bytes())?;
    }
    if let Some(action) = action {
        let me = user.me()?;
        me.actions.set(number, action);
        if action.is_ignored(number) {
            me.pending.take(number);
        }
    }
    done()
}

pub(super) fn rt_sigprocmask(user: &mut User<'_>) -> Answer {
    let (how, new, old) = (user.word(0), user.long(1), user.long(2));
    check_size(user.long(3))?;
    let former = user.my_thread()?.mask;
    let mask = match new {
        0 => former,
        address => {
            let set = Set(user.read_long(address)?);
            match how {
                SIG_BLOCK => former.plus(set),
                SIG_UNBLOCK => former.minus(set),
                SIG_SETMASK => set,
                _ => return Err(Errno::EINVAL),
            }
        }
    };
    if old != 0 {
        user.write(old, &former.0.to_le_bytes())?;
    }
    user.my_thread()?.mask = mask.as_mask();
    done()
}

pub(super) fn rt_sigpending(user: &mut User<'_>) -> Answer {
    check_size(user.long(1))?;
    let thread = user.my_thread()?;
    let (mask, own) = (thread.mask, thread.pending.set);
    let set = Set(own.plus(user.me()?.pending.set).0 & mask.0);
    user.write(user.long(0), &set.0.to_le_bytes())?;
    done()
}

pub(super) fn rt_sigsuspend(user: &mut User<'_>) -> Answer {
    check_size(user.long(1))?;
    let set = Set(user.read_long(user.long(0))?).as_mask();
    if user.is_first()? {
        let thread = user.my_thread()?;
        thread.former_mask = Some(core::mem::replace(&mut thread.mask, set));
    }
    Ok(Outcome::Wait(Wait::on(On::Signal)))
}

pub(super) fn sigaltstack(user: &mut User<'_>) -> Answer {
    let (new, old) = (user.long(0), user.long(1));
    let thread = user.my_thread()?;
    let (former, sp) = (thread.stack, thread.frame.sp);
    let stack = match new {
        0 => None,
        address => {
            let stack = AlternateStack::from_bytes(&user.read_array(address)?);
            Some(stack.map_err(|is_small| if is_small { Errno::ENOMEM } else { Errno::EINVAL })?)
        }
    };
    if stack.is_some() && former.bytes > 0 && former.holds(sp) {
        return Err(Errno::EPERM);
    }
    if old != 0 {
        user.write(old, &former.to_bytes(sp))?;
    }
    if let Some(stack) = stack {
        user.my_thread()?.stack = stack;
    }
    done()
}

pub(super) fn rt_sigreturn(user: &mut User<'_>) -> Answer {
    if user.kernel.return_from_handler(user.thread).is_none() {
        user.kernel.end_process(user.process, u32::from(SIGSEGV));
    }
    Ok(Outcome::Gone)
}
