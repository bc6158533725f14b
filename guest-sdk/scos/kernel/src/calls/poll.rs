//! Waiting for several descriptors.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use shikiri_scos_core::signal::Set;
use shikiri_scos_files::abi::poll::{
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM, PollFd,
};
use shikiri_scos_files::abi::time::{timespec_from, timespec_of};
use shikiri_scos_files::epoll::{EPOLL_CTL_DEL, EpollEvent};
use shikiri_scos_files::{DescriptionId, Errno, Looks};

use super::descriptors::install;
use crate::thread::{On, Wait};
use crate::user::{Answer, Outcome, User, done, value};

/// The most descriptors of a call.
const MOST: u64 = 1024;

pub(super) fn ppoll(user: &mut User<'_>) -> Answer {
    let (address, count, timeout) = (user.long(0), user.long(1), user.long(2));
    // `sigset_t` has 8 bytes.
    if count > MOST || (user.long(3) != 0 && user.long(4) != 8) {
        return Err(Errno::EINVAL);
    }
    let bytes = user.read_bytes(address, count * PollFd::BYTES as u64)?;
    let mut asked: Vec<PollFd> = bytes.as_chunks().0.iter().map(PollFd::from_bytes).collect();
    user.check_writable(address, count * PollFd::BYTES as u64)?;
    let mask = user.long(3);
    let deadline = begin(user, timeout, mask)?;
    let mut found = 0;
    let (mut waited_for, mut looks) = (BTreeSet::new(), Looks::default());
    for one in &mut asked {
        one.found = 0;
        if one.descriptor < 0 {
            continue;
        }
        match user.description(one.descriptor) {
            Ok(id) => {
                one.found = one.of_interest(user.kernel.files.ready_with(id, &mut looks));
                waited_for.insert(id);
            }
            Err(_) => one.found = POLLNVAL,
        }
        found += u32::from(one.found != 0);
    }
    if found == 0 && !is_over(user, deadline) {
        return Ok(wait_for(waited_for, user, deadline));
    }
    let bytes: Vec<u8> = asked.iter().flat_map(|one| one.to_bytes()).collect();
    user.write(address, &bytes)?;
    store_rest(user, timeout, deadline)?;
    value(found)
}

/// The three sets of `select`: which bits of [`ready`](shikiri_scos_files::Files::ready) make a descriptor one of it.
const SETS: [u16; 3] =
    [POLLIN | POLLRDNORM | POLLHUP | POLLERR, POLLOUT | POLLWRNORM | POLLERR, POLLPRI];

pub(super) fn pselect6(user: &mut User<'_>) -> Answer {
    let count = u64::from(user.word(0));
    if count > MOST {
        return Err(Errno::EINVAL);
    }
    let timeout = user.long(4);
    let mask = match user.long(5) {
        0 => 0,
        address => {
            let mask = user.read_long(address)?;
            if mask != 0 && user.read_long(address.wrapping_add(8))? != 8 {
                return Err(Errno::EINVAL);
            }
            mask
        }
    };
    let bytes = count.div_ceil(64) * 8;
    let mut sets: [Vec<u8>; 3] = Default::default();
    for (index, set) in sets.iter_mut().enumerate() {
        let address = user.long(index + 1);
        if address != 0 {
            *set = user.read_bytes(address, bytes)?;
            user.check_writable(address, bytes)?;
        }
    }
    let deadline = begin(user, timeout, mask)?;
    let mut found = 0;
    let (mut waited_for, mut looks) = (BTreeSet::new(), Looks::default());
    let mut told: [Vec<u8>; 3] = sets.clone().map(|set| alloc::vec![0; set.len()]);
    for number in 0..count as usize {
        let (place, bit) = (number / 8, 1_u8 << (number % 8));
        let is_in = |set: &Vec<u8>| set.get(place).is_some_and(|byte| byte & bit != 0);
        if !sets.iter().any(is_in) {
            continue;
        }
        let id = user.description(i32::try_from(number).unwrap_or(-1))?;
        let ready = user.kernel.files.ready_with(id, &mut looks);
        waited_for.insert(id);
        for ((set, told), bits) in sets.iter().zip(&mut told).zip(SETS) {
            if is_in(set)
                && ready & bits != 0
                && let Some(byte) = told.get_mut(place)
            {
                *byte |= bit;
                found += 1;
            }
        }
    }
    if found == 0 && !is_over(user, deadline) {
        return Ok(wait_for(waited_for, user, deadline));
    }
    for (index, told) in told.iter().enumerate() {
        let address = user.long(index + 1);
        if address != 0 {
            user.write(address, told)?;
        }
    }
    store_rest(user, timeout, deadline)?;
    value(found)
}

pub(super) fn epoll_create1(user: &mut User<'_>) -> Answer {
    let flags = user.word(0);
    let id = user.kernel.files.epoll_create(flags)?;
    value(install(user, id, flags)?)
}

pub(super) fn epoll_ctl(user: &mut User<'_>) -> Answer {
    let (list, operation, number) = (user.int(0), user.word(1), user.int(2));
    let event = match operation {
        // What there is to say of it is not looked at.
        EPOLL_CTL_DEL => EpollEvent::default(),
        _ => EpollEvent::from_bytes(&user.read_array(user.long(3))?),
    };
    let kernel = &mut *user.kernel;
    let process = kernel.processes.get(&user.process).ok_or(Errno::ESRCH)?;
    kernel.files.epoll_control(&process.descriptors, list, operation, (number, event))?;
    done()
}

pub(super) fn epoll_pwait(user: &mut User<'_>) -> Answer {
    let (address, most, timeout) = (user.long(1), user.int(2), user.int(3));
    let most = u64::try_from(most).ok().filter(|most| *most > 0).ok_or(Errno::EINVAL)?.min(MOST);
    if user.long(4) != 0 && user.long(5) != 8 {
        return Err(Errno::EINVAL);
    }
    user.check_writable(address, most * EpollEvent::BYTES as u64)?;
    let id = user.description(user.int(0))?;
    let mask = user.long(4);
    hold_back(user, mask)?;
    // Negative: for ever.
    let span = u64::try_from(timeout).ok().map(|ms| ms.saturating_mul(1_000_000));
    let first = span.map(|span| user.now().saturating_add(span));
    let deadline = user.deadline(first)?;
    let told = user.kernel.files.epoll_take(id, usize::try_from(most).unwrap_or(0))?;
    if told.is_empty() && !is_over(user, deadline) {
        return Ok(wait_for([id], user, deadline));
    }
    let bytes: Vec<u8> = told.iter().flat_map(|event| event.to_bytes()).collect();
    user.write(address, &bytes)?;
    value(told.len())
}

/// At the first try: when the call is over at the latest, and the mask for its time.
fn begin(user: &mut User<'_>, timeout: u64, mask: u64) -> Result<Option<u64>, Errno> {
    let first = match timeout {
        0 => None,
        address => {
            let span = timespec_from(&user.read_array(address)?)?;
            Some(user.now().saturating_add(span))
        }
    };
    hold_back(user, mask)?;
    user.deadline(first)
}

/// At the first try: the mask for the call's time, if there is one.
fn hold_back(user: &mut User<'_>, mask: u64) -> Result<(), Errno> {
    if mask != 0 {
        let held = Set(user.read_long(mask)?).as_mask();
        if user.is_first()? {
            let thread = user.my_thread()?;
            thread.former_mask = Some(core::mem::replace(&mut thread.mask, held));
        }
    }
    Ok(())
}

fn is_over(user: &User<'_>, deadline: Option<u64>) -> bool {
    deadline.is_some_and(|at| at <= user.now())
}

/// As Linux does, what is left of the time is told where the time was given. That the program cannot be told is no error.
fn store_rest(user: &mut User<'_>, timeout: u64, deadline: Option<u64>) -> Result<(), Errno> {
    if timeout == 0 {
        return Ok(());
    }
    let left = deadline.unwrap_or(0).saturating_sub(user.now());
    match user.write(timeout, &timespec_of(left)) {
        Err(Errno::ENOMEM) => Err(Errno::ENOMEM),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Until any of these may be ready.
fn wait_for(
    ids: impl IntoIterator<Item = DescriptionId>,
    user: &User<'_>,
    deadline: Option<u64>,
) -> Outcome {
    let on = user.kernel.files.keys_of(ids).into_iter().map(On::Key).collect();
    Outcome::Wait(Wait { on, deadline })
}
