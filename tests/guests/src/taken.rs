//! The calls that take memory away, for guests that look at areas and ports by single accesses and refer to none of it
//! (`crate::fault`).
#![expect(unsafe_code, reason = "the calls are unsafe for whoever refers to the memory")]

use shikiri_rt::hvc::message::{self, Area, AreaClass};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::shared;
use shikiri_rt::hvc::talk::Handle;

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
