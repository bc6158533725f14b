//! The calls that take memory away, for guests that look at areas and ports by single accesses and refer to none of it
//! (`crate::fault`).
#![expect(unsafe_code, reason = "the calls are unsafe for whoever refers to the memory")]

use shikiri_abi::smccc::VENDOR_HYP_FAST64;
use shikiri_abi::{Ipa, PageCount, Status};
use shikiri_rt::hvc::message::{self, Area, AreaClass};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::raw::{self, Results};
use shikiri_rt::hvc::shared;
use shikiri_rt::hvc::talk::Handle;

use crate::Failure;
use crate::complete::number;

/// `AREA_FREE`, to its end.
///
/// # Errors
/// See [`message::free`].
pub fn free(area: Handle) -> Result<(), Refusal> {
    // SAFETY: the guest has no reference to it.
    unsafe { message::free(area) }
}

/// `AREA_TRIM`, to its end.
///
/// # Errors
/// See [`message::trim`].
pub fn trim(area: Handle, bytes: u64) -> Result<(), Refusal> {
    // SAFETY: as above.
    unsafe { message::trim(area, bytes) }
}

/// `AREA_SPLIT`, to its end.
///
/// # Errors
/// See [`message::split`].
pub fn split(area: Handle, bytes: u64, class: AreaClass) -> Result<Area, Refusal> {
    // SAFETY: as above.
    unsafe { message::split(area, bytes, class) }.map_err(|(refusal, _)| refusal)
}

/// `AREA_SPLIT` to its end, onto another area of the same class.
///
/// # Errors
/// As of [`is_last`].
pub fn split_onto(
    area: Handle,
    bytes: u64,
    class: AreaClass,
    Handle(tail): Handle,
) -> Result<Area, Failure> {
    loop {
        let arguments = [area.0, bytes, u64::from(class.code()), tail];
        let answer = step::<{ number("AREA_SPLIT") }>(arguments);
        if is_last("split", answer)? {
            let [_, handle, address, pages] = answer;
            return Ok(Area {
                handle: Handle(handle),
                address: Ipa(address),
                pages: PageCount(pages),
            });
        }
    }
}

/// A call about areas, of those that answer AGAIN, once: its number and `x1` to `x4`.
pub fn step<const NUMBER: u16>([a, b, c, d]: [u64; 4]) -> Results {
    // SAFETY: as above.
    unsafe { raw::hvc(u64::from(VENDOR_HYP_FAST64) + u64::from(NUMBER), [a, b, c, d, 0, 0]) }
}

/// Whether such a call was the last one.
///
/// # Errors
/// It was refused.
pub fn is_last(what: &'static str, [status, which, ..]: Results) -> Result<bool, Failure> {
    if status == 0 {
        return Ok(true);
    }
    match (Refusal { code: status.cast_signed(), which }).status() {
        Some(Status::Again) => Ok(false),
        _ => Err(Failure { what, got: status, want: 0 }),
    }
}

/// `CHANNEL_SEND`.
///
/// # Errors
/// See [`message::send`].
pub fn send(port: Handle, area: Option<(Handle, u64)>, short: [u64; 3]) -> Result<(), Refusal> {
    // SAFETY: as above.
    unsafe { message::send(port, area, short) }
}

/// `CHANNEL_CLOSE`.
///
/// # Errors
/// See [`message::close`].
pub fn close(port: Handle) -> Result<(), Refusal> {
    // SAFETY: as above, and none to its pages.
    unsafe { message::close(port) }
}

/// `SHARED_OFFER`, to its end.
///
/// # Errors
/// See [`shared::offer`].
pub fn offer(area: Handle, events: Option<Handle>) -> Result<(), Refusal> {
    // SAFETY: the guest has no reference to it.
    unsafe { shared::offer(area, events) }
}

/// `SHARED_DETACH`, to its end.
///
/// # Errors
/// See [`shared::detach`].
pub fn detach(attachment: Handle) -> Result<(), Refusal> {
    // SAFETY: as above.
    unsafe { shared::detach(attachment) }
}
