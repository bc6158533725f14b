//! Processes: made, ended, waited for, in groups and sessions.

use shikiri_scos_core::Alarm;
use shikiri_scos_files::Errno;

use crate::process::{Pending, Process, State};
use crate::thread::{On, Thread, Wait};
use crate::user::{Answer, Outcome, User, done, value};

const CLONE_VM: u64 = 0x100;
const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_SIGHAND: u64 = 0x800;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
/// CLONE_SYSVSEM and CLONE_DETACHED, which change nothing.
const CLONE_MEANINGLESS: u64 = 0x44_0000;
/// What a thread has in common with the others.
const THREAD_FLAGS: u64 = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
/// What may be said in addition.
const OTHER_FLAGS: u64 = CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_CHILD_SETTID
    | CLONE_MEANINGLESS;
/// The signal at the end, in the lowest byte.
const SIGNAL: u64 = 0xff;

const WNOHANG: u32 = 1;
const WUNTRACED: u32 = 2;
const WCONTINUED: u32 = 8;
/// __WALL, __WNOTHREAD and __WCLONE.
const WAIT_OTHERS: u32 = 0xe000_0000;

pub(super) fn clone(user: &mut User<'_>) -> Answer {
    let flags = user.long(0);
    let kind = flags & !(OTHER_FLAGS | SIGNAL);
    if flags & SIGNAL > 64 {
        return Err(Errno::EINVAL);
    }
    // The words that are written must be there before anything is made.
    let (parent_word, child_word) = (user.long(2), user.long(4));
    if flags & CLONE_PARENT_SETTID != 0 {
        user.check_writable(parent_word, 4)?;
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        user.check_writable(child_word, 4)?;
    }
    let id = match kind {
        THREAD_FLAGS => new_thread(user)?,
        // As vfork and posix_spawn do; a copy would serve vfork, but not who is told by what the child writes.
        k if k == CLONE_VM | CLONE_VFORK => new_process(user, true)?,
        CLONE_VFORK | 0 => new_process(user, false)?,
        _ => return Err(Errno::EINVAL),
    };
    if flags & CLONE_PARENT_SETTID != 0 {
        user.write(parent_word, &id.to_le_bytes())?;
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        write_in_child(user, id, child_word)?;
    }
    if flags & CLONE_CHILD_CLEARTID != 0
        && let Some(child) = user.kernel.threads.get_mut(&id)
    {
        child.clear_at_end = child_word;
    }
    user.kernel.turns.add(id);
    if flags & CLONE_VFORK != 0 {
        return Ok(Outcome::Later(u64::from(id), Wait::on(On::Space(id))));
    }
    value(id)
}

/// A thread of the same process, that goes on as this one, on a stack of its own.
fn new_thread(user: &mut User<'_>) -> Result<u32, Errno> {
    let id = user.kernel.new_thread_id(user.process)?;
    let thread = child_thread(user, user.process)?;
    user.kernel.threads.insert(id, thread);
    Ok(id)
}

/// A process that goes on as this one, with a copy of the address space or, until it runs another program, the same.
fn new_process(user: &mut User<'_>, shares_space: bool) -> Result<u32, Errno> {
    let id = user.kernel.new_id()?;
    let thread = child_thread(user, id)?;
    let asid = if shares_space {
        let asid = user.me()?.space;
        let (_, users) = user.kernel.spaces.get_mut(&asid).ok_or(Errno::EFAULT)?;
        *users = users.saturating_add(1);
        asid
    } else {
        let asid = user.kernel.new_asid()?;
        let (space, pool) = user.space()?;
        let copy = space.fork(pool, asid)?;
        user.kernel.add_space(copy)
    };
    let end_signal = (user.long(0) & SIGNAL) as u8;
    let kernel = &mut *user.kernel;
    let parent = kernel.processes.get(&user.process).ok_or(Errno::ESRCH)?;
    let process = Process {
        parent: user.process,
        group: parent.group,
        session: parent.session,
        space: asid,
        descriptors: kernel.files.fork(&parent.descriptors),
        directory: parent.directory,
        umask: parent.umask,
        actions: parent.actions.clone(),
        pending: Pending::default(),
        alarm: Alarm::default(),
        state: State::Active,
        is_stop_told: false,
        end_signal,
        name: parent.name.clone(),
        arguments: parent.arguments.clone(),
    };
    kernel.processes.insert(id, process);
    kernel.threads.insert(id, thread);
    Ok(id)
}

/// The first thread of a child: where this one is, with 0 as the call's answer.
fn child_thread(user: &mut User<'_>, process: u32) -> Result<Thread, Errno> {
    let (flags, stack, tls) = (user.long(0), user.long(1), user.long(3));
    let me = user.my_thread()?;
    let mut frame = me.frame.as_ref().clone();
    frame.x[0] = 0;
    if stack != 0 {
        frame.sp = stack;
    }
    if flags & CLONE_SETTLS != 0 {
        frame.tls = tls;
    }
    let mut thread = Thread::new(process, frame, me.mask);
    if flags & (CLONE_VM | CLONE_VFORK) != CLONE_VM {
        thread.stack = me.stack;
    }
    Ok(thread)
}

/// Writes a child's number to a word of its memory.
fn write_in_child(user: &mut User<'_>, id: u32, word: u64) -> Result<(), Errno> {
    let kernel = &mut *user.kernel;
    let process = kernel.threads.get(&id).map_or(0, |thread| thread.process);
    let asid = kernel.processes.get(&process).map_or(0, |process| process.space);
    let (space, _) = kernel.spaces.get_mut(&asid).ok_or(Errno::EFAULT)?;
    space.write(&mut kernel.pool, word, &id.to_le_bytes())
}

pub(super) fn exit(user: &mut User<'_>) -> Answer {
    let status = (user.word(0) & 0xff) << 8;
    user.kernel.end_thread(user.thread, status);
    Ok(Outcome::Gone)
}

pub(super) fn exit_group(user: &mut User<'_>) -> Answer {
    let status = (user.word(0) & 0xff) << 8;
    user.kernel.end_process(user.process, status);
    Ok(Outcome::Gone)
}

pub(super) fn wait4(user: &mut User<'_>) -> Answer {
    let (wanted, status, options, usage) = (user.int(0), user.long(1), user.word(2), user.long(3));
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | WAIT_OTHERS) != 0 {
        return Err(Errno::EINVAL);
    }
    let group = user.me()?.group;
    let mut has_child = false;
    let mut found = None;
    for (id, process) in &mut user.kernel.processes {
        let is_meant = match wanted {
            -1 => true,
            0 => process.group == group,
            ..-1 => process.group == wanted.unsigned_abs(),
            _ => *id == wanted.unsigned_abs(),
        };
        if process.parent != user.process || !is_meant {
            continue;
        }
        has_child = true;
        match process.state {
            State::Ended(status) => found = Some((*id, status, true)),
            State::Stopped(signal) if options & WUNTRACED != 0 && !process.is_stop_told => {
                process.is_stop_told = true;
                found = Some((*id, u32::from(signal) << 8 | 0x7f, false));
            }
            State::Stopped(_) | State::Active => {}
        }
        if found.is_some() {
            break;
        }
    }
    let Some((id, told, has_ended)) = found else {
        return match (has_child, options & WNOHANG) {
            (false, _) => Err(Errno::ECHILD),
            (true, 0) => Ok(Outcome::Wait(Wait::on(On::Child))),
            (true, _) => done(),
        };
    };
    // As on Linux, who cannot be told has waited all the same.
    if has_ended {
        user.kernel.processes.remove(&id);
    }
    if status != 0 {
        user.write(status, &told.to_le_bytes())?;
    }
    if usage != 0 {
        user.write(usage, &[0; 144])?;
    }
    value(id)
}

pub(super) fn getpid(user: &mut User<'_>) -> Answer {
    value(user.process)
}

pub(super) fn getppid(user: &mut User<'_>) -> Answer {
    value(user.me()?.parent)
}

pub(super) fn getuid(_user: &mut User<'_>) -> Answer {
    value(0_u32)
}

pub(super) fn geteuid(_user: &mut User<'_>) -> Answer {
    value(0_u32)
}

pub(super) fn getgid(_user: &mut User<'_>) -> Answer {
    value(0_u32)
}

pub(super) fn getegid(_user: &mut User<'_>) -> Answer {
    value(0_u32)
}

pub(super) fn setsid(user: &mut User<'_>) -> Answer {
    let id = user.process;
    if user.kernel.processes.values().any(|process| process.group == id) {
        return Err(Errno::EPERM);
    }
    let me = user.me()?;
    me.group = id;
    me.session = id;
    value(id)
}

/// The process that a call is about: 0 is the caller.
fn target(user: &User<'_>) -> Result<u32, Errno> {
    match user.int(0) {
        0 => Ok(user.process),
        id => u32::try_from(id).map_err(|_| Errno::EINVAL),
    }
}

pub(super) fn setpgid(user: &mut User<'_>) -> Answer {
    let id = target(user)?;
    let group = match user.int(1) {
        0 => id,
        group => u32::try_from(group).map_err(|_| Errno::EINVAL)?,
    };
    let session = user.me()?.session;
    let process = user.kernel.processes.get(&id).ok_or(Errno::ESRCH)?;
    if id != user.process && process.parent != user.process {
        return Err(Errno::ESRCH);
    }
    let is_known = group == id
        || user.kernel.processes.values().any(|p| p.group == group && p.session == session);
    if process.session != session || process.session == id || !is_known {
        return Err(Errno::EPERM);
    }
    if let Some(process) = user.kernel.processes.get_mut(&id) {
        process.group = group;
    }
    done()
}

pub(super) fn getpgid(user: &mut User<'_>) -> Answer {
    let id = target(user)?;
    value(user.kernel.processes.get(&id).ok_or(Errno::ESRCH)?.group)
}

pub(super) fn getsid(user: &mut User<'_>) -> Answer {
    let id = target(user)?;
    value(user.kernel.processes.get(&id).ok_or(Errno::ESRCH)?.session)
}
