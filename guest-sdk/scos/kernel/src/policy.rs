//! `/dev/shikiri`: the calls of who makes policy, for programs (P7). It is there if this partition holds the policy capability.

use alloc::vec::Vec;

use shikiri_abi::Status;
use shikiri_scos_core::Taken;
use shikiri_scos_files::abi::fcntl::O_CLOEXEC;
use shikiri_scos_files::{DescriptionId, Errno};

use crate::arch;
use crate::calls::descriptors::install;
use crate::console::say;
use crate::kernel::Kernel;
use crate::user::{Answer, MOST_BYTES, User, done, value};

/// Its number: a miscellaneous device, major 10.
pub(crate) const DEVICE: u32 = 10 << 8 | 120;

/// `ioctl` that makes a call, `_IOWR('S', 0x40, 56 bytes)`: seven words, the number 0x100 to 0x1FF and `x1` to `x6`; then `x0` to `x3`
/// in the first four. PARTITION_LOAD's `x3` is an address of the program's, from which 64 KiB at most are copied at once. EINVAL: another
/// number, or POLICY_NOTIFY; EFAULT: the words, or what is to be loaded, cannot be read or written.
const CALL: u32 = 0xc038_5340;
/// `ioctl` that loads a message area of the kernel's form into a held partition, `_IOWR('S', 0x42, 56 bytes)`: the area's number, and `x1` to
/// `x6` of PARTITION_LOAD, of which `x3` says from which of the area's bytes on; nothing is copied before the hypervisor does, 64 KiB at most
/// and no further than the area goes. EINVAL: there is no such area, or not that byte; EPERM: not user 0; EFAULT as above.
const LOAD_AREA: u32 = 0xc038_5342;
/// `ioctl` that gives a descriptor, `_IO('S', 0x41)`: an eventfd that counts what the hypervisor tells. All that are open are told.
/// ENODEV: the partition has no event ports.
const EVENTS: u32 = 0x5341;

/// PARTITION_LOAD.
const LOAD: u64 = 0x119;
/// REQUEST_TAKE.
const TAKE: u64 = 0x120;
/// REQUEST_ANSWER.
const ANSWER: u64 = 0x121;

/// Statuses of the hypervisor.
const OK: u64 = 0;
const PEER_GONE: u64 = Status::PeerGone.code().cast_unsigned();

/// The calls that change at once how partitions stand: PARTITION_START (of one that is held), PARTITION_PAUSE, PARTITION_RESUME, PARTITION_CREATE,
/// PARTITION_DESTROY.
const CHANGES: [u64; 5] = [0x104, 0x107, 0x108, 0x110, 0x111];

/// What the kernel knows of programs that make policy.
#[derive(Default)]
pub(crate) struct PolicyDoor {
    /// The hypervisor tells this partition.
    is_told: bool,
    /// Each counts what it tells, while a program has it open; the kernel has them too.
    events: Vec<DescriptionId>,
    /// Requests that programs have taken and not answered.
    taken: Taken,
}

impl Kernel {
    /// Makes the device, if there is something that it could do.
    pub(crate) fn add_policy_device(&mut self) {
        const PARTITION_LIST: u64 = 0x100;
        let answer = arch::policy_call(PARTITION_LIST, [0; 6]);
        if answer.is_none_or(|[status, ..]| status != 0) {
            return;
        }
        if self.files.add_device(b"/dev/shikiri", DEVICE, 0o600).is_err() {
            say(format_args!("there is no room for /dev/shikiri"));
        }
    }

    /// A process has ended: another one may answer what it has not.
    pub(crate) fn leave_requests(&mut self, process: u32) {
        if self.policy.taken.leave(process) {
            self.tell_policy();
        }
    }

    /// Lets go of what no program has open any more.
    fn leave_closed_events(&mut self) {
        let files = &mut self.files;
        self.policy.events.retain(|events| {
            let is_open = files.is_shared(*events);
            if !is_open {
                files.release(*events);
            }
            is_open
        });
    }

    /// The hypervisor has told of something.
    pub(crate) fn tell_policy(&mut self) {
        self.leave_closed_events();
        for events in &self.policy.events {
            // A count that is full tells no less.
            let _counted = self.files.write(*events, None, &1_u64.to_le_bytes());
        }
    }
}

/// `ioctl` of the device.
pub(crate) fn control(user: &mut User<'_>, request: u32, argument: u64) -> Answer {
    match request {
        CALL => exchange(user, argument, call),
        LOAD_AREA => exchange(user, argument, load_area),
        EVENTS => events(user),
        _ => Err(Errno::ENOTTY),
    }
}

/// Reads seven words at an address, and writes what comes of them over the first four.
fn exchange(
    user: &mut User<'_>,
    address: u64,
    act: impl FnOnce(&mut User<'_>, [u64; 7]) -> Result<[u64; 4], Errno>,
) -> Answer {
    let bytes: [u8; 56] = user.read_array(address)?;
    user.check_writable(address, 56)?;
    let mut words = [0_u64; 7];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let [a, b, c, d] = act(user, words)?.map(u64::to_le_bytes);
    user.write(address, &[a, b, c, d].concat())?;
    done()
}

fn call(user: &mut User<'_>, [number, arguments @ ..]: [u64; 7]) -> Result<[u64; 4], Errno> {
    let answer = match number {
        LOAD => load(user, arguments)?,
        TAKE => take(user, arguments)?,
        number => arch::policy_call(number, arguments).ok_or(Errno::EINVAL)?,
    };
    if answer.first() == Some(&0) && CHANGES.contains(&number) {
        // Another program may be the one that makes the policy: what this one does the hypervisor tells nobody.
        user.kernel.tell_policy();
    }
    if number == ANSWER && matches!(answer.first(), Some(&(OK | PEER_GONE))) {
        let [who, _, _, request, ..] = arguments;
        user.kernel.policy.taken.settle(who, request);
    }
    Ok(answer)
}

/// REQUEST_TAKE: at first what a program has taken that ended before it answered.
fn take(user: &mut User<'_>, arguments: [u64; 6]) -> Result<[u64; 4], Errno> {
    let taken = &mut user.kernel.policy.taken;
    if arguments == [0; 6]
        && let Some([who, what, amount]) = taken.give(user.process)
    {
        return Ok([OK, who, what, amount]);
    }
    let answer = arch::policy_call(TAKE, arguments).ok_or(Errno::EINVAL)?;
    if let [OK, request @ ..] = answer {
        taken.note(request, user.process);
    }
    Ok(answer)
}

/// PARTITION_LOAD from the program's memory, by a copy that nobody changes meanwhile.
fn load(user: &mut User<'_>, arguments: [u64; 6]) -> Result<[u64; 4], Errno> {
    let [_, _, from, bytes, ..] = arguments;
    let copy = user.read_bytes(from, bytes.min(MOST_BYTES))?;
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    };
    // What is no multiple of 8 the hypervisor refuses; the zeros behind it are only there to be refused.
    let words: Vec<u64> = copy.chunks(8).map(word).collect();
    Ok(arch::policy_load(arguments, &words))
}

/// PARTITION_LOAD from an area, which is its sender's work and nobody's copy.
fn load_area(user: &mut User<'_>, [number, arguments @ ..]: [u64; 7]) -> Result<[u64; 4], Errno> {
    let caller = user.me()?.caller();
    let area = user.kernel.files.kernels_area(&caller, number)?;
    arch::policy_load_area(arguments, &area).ok_or(Errno::EINVAL)
}

fn events(user: &mut User<'_>) -> Answer {
    if !user.kernel.policy.is_told {
        user.kernel.policy.is_told = arch::listen_to_policy();
    }
    if !user.kernel.policy.is_told {
        return Err(Errno::ENODEV);
    }
    let id = user.kernel.files.eventfd(0, 0)?;
    let number = install(user, id, O_CLOEXEC)?;
    // There are no more of them than descriptors, and one.
    user.kernel.leave_closed_events();
    // The kernel's own hold on it, beside the descriptor's.
    user.kernel.files.retain(id);
    user.kernel.policy.events.push(id);
    value(number)
}
