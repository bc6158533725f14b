//! The calls about shared memory areas, one function per row of the call table (C5). Those after which memory is no longer what
//! references say of it are unsafe: an offer, after which others may write there, and leaving. What REVOKE and WITHDRAW take away is
//! other partitions' to lose: the caller's own mapping stays.
#![expect(
    unsafe_code,
    reason = "memory that others may write to, or that is gone, is not what references say"
)]

use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, PageCount};

use crate::partition::{Refusal, function, request, request_in_full};
use crate::talk::{Handle, again};

/// What a user of a shared area may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads only: a store faults.
    ReadOnly,
    /// Loads and stores.
    ReadWrite,
}

/// An attachment: where its area will be, and the most that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its handle.
    pub handle: Handle,
    /// Where the area will be.
    pub address: Ipa,
    /// The most pages that it may have.
    pub pages: PageCount,
}

/// A shared area that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Where it is.
    pub address: Ipa,
    /// Its size.
    pub pages: PageCount,
    /// What this partition may do there.
    pub access: Access,
    /// Its owner has left: nobody else comes to it.
    pub is_left: bool,
}

/// Calls `SHARED_OFFER` until the area can be attached; `events` is raised when a user leaves.
///
/// # Safety
/// Until the area is withdrawn nothing refers to its memory but as atomic words: who is accepted may write there at any moment.
///
/// # Errors
/// `NotSupported`; `NotOwner`; `BadHandle`; `WrongState` if the area is not complete and own, or offered already, or the receive
/// port is in use; `OverLimit`, `NoMemory`: then it is not offered.
pub unsafe fn offer(area: Handle, events: Option<Handle>) -> Result<(), Refusal> {
    let Handle(events) = events.unwrap_or(Handle(0));
    let offered = again(|| request::<OFFER>([area.0, events, 0, 0, 0, 0]));
    if let Err(refusal) = offered {
        // What was begun is taken back; an area that was offered before stays so.
        if !matches!(refusal.status(), Some(shikiri_abi::Status::WrongState)) {
            let _not_begun = withdraw(area);
        }
        return Err(refusal);
    }
    Ok(())
}

/// Calls `SHARED_WITHDRAW` until the area is this partition's alone. It stays mapped where it is.
///
/// # Errors
/// `NotOwner`; `WrongState` if it is not offered.
pub fn withdraw(area: Handle) -> Result<(), Refusal> {
    again(|| request::<WITHDRAW>([area.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `SHARED_REVOKE`: takes the area from the partition with this number, never from the caller.
///
/// # Errors
/// `NotOwner`; `WrongState` if it is not offered; `PeerGone` if that partition has not attached it.
pub fn revoke(area: Handle, partition: u8) -> Result<(), Refusal> {
    again(|| request::<REVOKE>([area.0, u64::from(partition), 0, 0, 0, 0])).map(|_| ())
}

/// Calls `SHARED_CREATE`: makes an attachment for an area of up to `pages` pages, which is paid for here and now.
///
/// # Errors
/// `NotSupported`; `BadHandle`, `WrongState` of the receive port; `Range` if the class does not hold it; `OverLimit`.
pub fn create(events: Handle, pages: PageCount, class: AreaClass) -> Result<Attachment, Refusal> {
    let bytes = pages.0.saturating_mul(PAGE_BYTES);
    let arguments = [events.0, bytes, u64::from(class.code()), 0, 0, 0];
    let [handle, address, pages] = request::<CREATE>(arguments)?;
    Ok(Attachment { handle: Handle(handle), address: Ipa(address), pages: PageCount(pages) })
}

/// Calls `SHARED_CONNECT`: asks the partition with this number for an area; the answer comes as an event at the attachment's
/// receive port.
///
/// # Errors
/// `BadHandle`; `NotPermitted`; `WrongState` if it has an area or has asked; `OverLimit`; `PeerGone`.
pub fn connect(attachment: Handle, partition: u8, service: u32, word: u64) -> Result<(), Refusal> {
    let arguments = [attachment.0, u64::from(partition), u64::from(service), word, 0, 0];
    again(|| request::<CONNECT>(arguments)).map(|_| ())
}

/// Calls `SHARED_ACCEPT`: gives the asker an offered area.
///
/// # Errors
/// `BadHandle`; `NotOwner`; `WrongState` if the area is not offered; `Range` if the attachment is for another class or for less;
/// `Exists` if the asker has it already; `PeerGone`.
pub fn accept(request_handle: Handle, area: Handle, access: Access) -> Result<(), Refusal> {
    let access = u64::from(access == Access::ReadWrite);
    again(|| request::<ACCEPT>([request_handle.0, area.0, access, 0, 0, 0])).map(|_| ())
}

/// Calls `SHARED_STATE`: `None` while the request was not answered.
///
/// # Errors
/// `BadHandle`; `WrongState` if it has not asked; `Refused`; `PeerGone` if the area was revoked, or who was asked has ended.
pub fn state(attachment: Handle) -> Result<Option<Shared>, Refusal> {
    let (is_pending, [address, pages, how]) =
        request_in_full::<STATE>([attachment.0, 0, 0, 0, 0, 0])?;
    let access = if how & 1 == 0 { Access::ReadOnly } else { Access::ReadWrite };
    let shared =
        Shared { address: Ipa(address), pages: PageCount(pages), access, is_left: how & 2 != 0 };
    Ok((!is_pending).then_some(shared))
}

/// Calls `SHARED_DETACH` until the attachment, or the offered area, is gone.
///
/// # Safety
/// Nothing refers to its memory any more.
///
/// # Errors
/// `BadHandle`; `WrongState` of an area that is not offered.
pub unsafe fn detach(attachment: Handle) -> Result<(), Refusal> {
    again(|| request::<DETACH>([attachment.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// How many rows have their wrapper here.
pub(crate) const CALLS: usize = 8;

const OFFER: u32 = function("SHARED_OFFER", 2);
const WITHDRAW: u32 = function("SHARED_WITHDRAW", 1);
const REVOKE: u32 = function("SHARED_REVOKE", 2);
const CREATE: u32 = function("SHARED_CREATE", 3);
const CONNECT: u32 = function("SHARED_CONNECT", 4);
const ACCEPT: u32 = function("SHARED_ACCEPT", 3);
const STATE: u32 = function("SHARED_STATE", 1);
const DETACH: u32 = function("SHARED_DETACH", 1);
