//! What owner and user share: accesses that may fault, events, and the words of the first area.
#![expect(unsafe_code, reason = "makes accesses that fault")]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::AreaClass;
use shikiri_abi::smccc::VENDOR_HYP_FAST64;
use shikiri_abi::{Ipa, Status, WINDOWS};
use shikiri_rt::gic;
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::hvc::{message, raw};
use shikiri_rt::{platform, smp};
use shikiri_test_guests::Failure;
pub(crate) use shikiri_test_guests::answers::{made, refused, wait};
use shikiri_test_guests::fault::{self, Fault};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::taken;

/// Where the guest sees the window region, and how much of it.
pub(crate) const VIEW: u64 = 0x60_0000_0000;
pub(crate) const SEEN: u64 = 3 << 30;
const EVENT: u32 = 65;

/// Services: the area that commands go through; one to read or to write; one that nobody gets.
pub(crate) const CONTROL: u32 = 1;
pub(crate) const READ: u32 = 2;
pub(crate) const WRITE: u32 = 3;
pub(crate) const REFUSED: u32 = 4;
/// The same area once more.
pub(crate) const AGAIN: u32 = 5;
/// Taken, and not answered.
pub(crate) const KEEP: u32 = 6;

/// Words of the first area: a command, its arguments, which one was done, and what came of it.
pub(crate) const COMMAND: u64 = 0;
pub(crate) const ARGUMENT: u64 = 8;
pub(crate) const VALUE: u64 = 16;
pub(crate) const DONE: u64 = 24;
pub(crate) const RESULT: u64 = 32;

/// Commands, in the lowest byte of a number that is another one each time.
pub(crate) const LOOK: u64 = 1;
pub(crate) const PUT: u64 = 2;
pub(crate) const REVOKE: u64 = 3;
pub(crate) const WITHDRAW: u64 = 4;
pub(crate) const EVENTS: u64 = 5;
pub(crate) const LEAVE: u64 = 6;
pub(crate) const END: u64 = 7;
/// Many calls that meet the user: how many of them were put off.
pub(crate) const PRESS: u64 = 9;
/// What the owner answered the last request with.
pub(crate) const ANSWER: u64 = 8;

/// The shared areas of the description: the first handles.
pub(crate) const FIXED_BOARD: Handle = Handle(1 << 16);
pub(crate) const FIXED_TABLE: Handle = Handle(1 << 16 | 1);

static TOLD: AtomicU64 = AtomicU64::new(0);

pub(crate) fn count(_intid: u32) {
    TOLD.fetch_add(1, Ordering::Release);
}

/// How many events have come.
pub(crate) fn told() -> u64 {
    TOLD.load(Ordering::Acquire)
}

/// Waits until more than `before` have.
pub(crate) fn wait_for_event(before: u64) -> Outcome {
    wait("told", || Ok(told() > before))
}

pub(crate) fn view(at: Ipa) -> u64 {
    at.0 - WINDOWS.0 + VIEW
}

pub(crate) fn read(at: Ipa) -> Result<u64, Fault> {
    // SAFETY: the window region holds nothing that Rust knows of; a fault is caught.
    unsafe { fault::attempt(fault::fault_load64, view(at), 0) }
}

pub(crate) fn write(at: Ipa, value: u64) -> Result<u64, Fault> {
    // SAFETY: as for `read`.
    unsafe { fault::attempt(fault::fault_store64, view(at), value) }
}

/// What must be there.
pub(crate) fn word(at: Ipa) -> Result<u64, Failure> {
    read(at).map_err(|fault| Failure { what: "a load faults", got: fault.esr, want: 0 })
}

pub(crate) fn set(at: Ipa, value: u64) -> Outcome {
    write(at, value).map(|_| ()).map_err(|fault| Failure {
        what: "a store faults",
        got: fault.esr,
        want: 0,
    })
}

/// A receive port; all of a guest's raise the same interrupt.
pub(crate) fn events() -> Result<Handle, Failure> {
    let events = made(talk::create_receive())?;
    made(talk::bind(events, EVENT, 0, Sharing::Grouped))?;
    gic::enable(EVENT);
    Ok(events)
}

/// Takes what is pending, so that the next event raises the interrupt again.
pub(crate) fn take_events() {
    for word in 0..2 {
        let _pending = talk::take(word);
    }
}

/// SHARED_WITHDRAW, SHARED_REVOKE and SHARED_CONNECT.
pub(crate) const WITHDRAW_CALL: u64 = 0x31;
pub(crate) const REVOKE_CALL: u64 = 0x32;
pub(crate) const CONNECT_CALL: u64 = 0x34;

/// Makes a call about an area until it is through, which takes steps (AGAIN with its handle), and never because somebody else was
/// faster; its status.
pub(crate) fn without_waiting(call: u64, [area, argument]: [u64; 2]) -> u64 {
    loop {
        let arguments = [area, argument, 0, 0, 0, 0];
        // SAFETY: the guest refers to no area, but looks at them by single accesses.
        let [status, which, ..] =
            unsafe { raw::hvc(u64::from(VENDOR_HYP_FAST64) + call, arguments) };
        if status != Status::Again.code() as u64 || which != area {
            return status;
        }
    }
}

/// Makes a call that takes the locks of both partitions and is refused; its status.
pub(crate) fn press(other: u8) -> u64 {
    let arguments = [0, u64::from(other), 0, 0, 0, 0];
    // SAFETY: no call of this number gives memory away.
    let [status, ..] = unsafe { raw::hvc(u64::from(VENDOR_HYP_FAST64) + CONNECT_CALL, arguments) };
    status
}

/// Has all other vCPUs do nothing but call.
pub(crate) fn hog_the_lock() {
    let _started = smp::start_all(hog);
}

/// Always has the partition's lock, or waits for it. Under it is cleared as much as one call makes at most. One vCPU of the user's
/// takes the owner's lock as well now and then.
fn hog() {
    loop {
        let areas = [(); 12].map(|()| message::alloc(256 << 10, AreaClass::Block));
        for area in areas.into_iter().flatten() {
            let _freed = taken::free(area.handle);
        }
        if let (1, Some(owner)) = (smp::index(), platform::number_of("owner")) {
            let _refused = press(owner as u8);
        }
    }
}
