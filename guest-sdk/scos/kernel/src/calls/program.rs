//! `execve`.

use alloc::vec::Vec;

use shikiri_scos_core::signal::AlternateStack;
use shikiri_scos_files::Errno;

use crate::program::{ARGUMENT_BYTES, MOST_ARGUMENTS};
use crate::thread::On;
use crate::user::{Answer, Outcome, User};

pub(super) fn execve(user: &mut User<'_>) -> Answer {
    let path = user.path(user.long(0))?;
    let mut left = ARGUMENT_BYTES;
    let arguments = texts(user, user.long(1), &mut left)?;
    let environment = match user.long(2) {
        0 => Vec::new(),
        address => texts(user, address, &mut left)?,
    };
    let caller = user.me()?.caller();
    let loaded = user.kernel.load(&caller, &path, arguments, environment)?;
    // Nothing is refused from here on.
    let (thread, process) = (user.thread, user.process);
    let kernel = &mut *user.kernel;
    kernel.remove_threads(process, Some(thread));
    let Some(me) = kernel.processes.get_mut(&process) else { return Ok(Outcome::Gone) };
    let former = core::mem::replace(&mut me.space, loaded.asid);
    me.actions.reset_caught();
    me.name = loaded.name;
    me.arguments = loaded.arguments;
    kernel.files.exec(&mut me.descriptors);
    kernel.release_space(former);
    kernel.wake_waiting(|on| on == On::Space(process));
    // Another thread than the first takes the first one's number.
    if let Some(mut state) = kernel.threads.remove(&thread) {
        *state.frame = loaded.frame;
        state.stack = AlternateStack::default();
        state.clear_at_end = 0;
        state.former_mask = None;
        state.call = crate::thread::Call::default();
        kernel.threads.insert(process, state);
        if process != thread {
            kernel.turns.add(process);
        }
    }
    Ok(Outcome::Gone)
}

/// The texts that a list of addresses names, which a 0 ends.
fn texts(user: &mut User<'_>, address: u64, left: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut texts = Vec::new();
    for index in 0..MOST_ARGUMENTS as u64 {
        let at = address.checked_add(index * 8).ok_or(Errno::EFAULT)?;
        let text = match user.read_long(at)? {
            0 => return Ok(texts),
            text => user.read_text(text, *left, Errno::E2BIG)?,
        };
        *left = left.saturating_sub(text.len() + 1);
        texts.push(text);
    }
    Err(Errno::E2BIG)
}
