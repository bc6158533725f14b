//! The calls about message areas and message channels, one function per row of the call table. Those that take memory away, of an
//! area or the pages of a port, are unsafe: to the caller it is as if it were unmapped in the middle of what it does.
#![expect(
    unsafe_code,
    reason = "some of these calls take memory away, which the caller may refer to"
)]

pub use shikiri_abi::AreaClass;
use shikiri_abi::{Ipa, PageCount, Status};

use crate::partition::{Refusal, function, request, request_in_full};
use crate::talk::{Handle, again};

/// An area: where it is mapped, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its handle.
    pub handle: Handle,
    /// Where it is.
    pub address: Ipa,
    /// Its size.
    pub pages: PageCount,
}

/// A message port, and where its two pages are (`shikiri_abi::channel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its handle.
    pub handle: Handle,
    /// Its arrivals page, read-only.
    pub arrivals: Ipa,
    /// Its credits page.
    pub credits: Ipa,
}

/// Calls `AREA_ALLOC` until the area is complete; while another vCPU makes one, this waits. An interrupt handler calls [`try_alloc`]: what
/// it has interrupted may be making one, and goes on only behind it.
///
/// # Errors
/// As [`try_alloc`]'s, but for `Again`.
pub fn alloc(bytes: u64, class: AreaClass) -> Result<Area, Refusal> {
    loop {
        match try_alloc(bytes, class) {
            Err(refusal) if refusal.status() == Some(Status::Again) => {}
            done => return done,
        }
    }
}

/// Calls `AREA_ALLOC` until the area is complete, unless one is being made: a partition makes one at a time.
///
/// # Errors
/// `Again`: one is being made; `NotSupported`; `Range` if the class does not hold it; `OverLimit`, `NoMemory`: then what was made so
/// far is freed.
pub fn try_alloc(bytes: u64, class: AreaClass) -> Result<Area, Refusal> {
    let mut handle = 0;
    loop {
        match request::<ALLOC>([bytes, u64::from(class.code()), handle, 0, 0, 0]) {
            Ok([handle, address, pages]) => {
                let (handle, address) = (Handle(handle), Ipa(address));
                return Ok(Area { handle, address, pages: PageCount(pages) });
            }
            Err(refusal) if refusal.status() == Some(Status::Again) && refusal.which != 0 => {
                handle = refusal.which;
            }
            Err(refusal) => {
                if handle != 0 {
                    // SAFETY: nobody has seen its memory, nor where it would be.
                    unsafe { free(Handle(handle)) }?;
                }
                return Err(refusal);
            }
        }
    }
}

/// Calls `AREA_FREE` until all is given back.
///
/// # Safety
/// Nothing refers to the area's memory any more.
///
/// # Errors
/// `NotOwner`.
pub unsafe fn free(area: Handle) -> Result<(), Refusal> {
    again(|| request::<FREE>([area.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `AREA_INFO`.
///
/// # Errors
/// `NotOwner`; `WrongState` if it is being made or freed.
pub fn info(area: Handle) -> Result<Area, Refusal> {
    let [address, pages, _class] = request::<INFO>([area.0, 0, 0, 0, 0, 0])?;
    Ok(Area { handle: area, address: Ipa(address), pages: PageCount(pages) })
}

/// Calls `AREA_KEEP`.
///
/// # Errors
/// `NotOwner`; `WrongState` if it was not received, or is kept already; `OverLimit`.
pub fn keep(area: Handle) -> Result<(), Refusal> {
    request::<KEEP>([area.0, 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `AREA_TRIM` until no more than the first `bytes` are left, rounded up to pages.
///
/// # Safety
/// Nothing refers to what lies behind these bytes any more, and no vCPU accesses the area meanwhile.
///
/// # Errors
/// `NotOwner`; `WrongState` if it was received and not kept, or is being made or freed; `Range` if nothing would stay or it has
/// less; `OverLimit`, `NoMemory` for tables: it may be smaller then.
pub unsafe fn trim(area: Handle, bytes: u64) -> Result<(), Refusal> {
    again(|| request::<TRIM>([area.0, bytes, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `AREA_SPLIT` until no more than the first `bytes` of an own area are left, rounded up to pages: the others are a new area
/// then, in a slot of this class. What was in these pages is in there, in any order.
///
/// # Safety
/// As for [`trim`].
///
/// # Errors
/// As [`trim`]'s, and `Range` if no page is behind these bytes or the class does not hold those that are. With those for tables it may be
/// smaller already: what has gone is in the area that comes with the refusal.
pub unsafe fn split(area: Handle, bytes: u64, class: AreaClass) -> Result<Area, Unsplit> {
    let mut tail = 0;
    loop {
        match request::<SPLIT>([area.0, bytes, u64::from(class.code()), tail, 0, 0]) {
            Ok([handle, address, pages]) => {
                let (handle, address) = (Handle(handle), Ipa(address));
                return Ok(Area { handle, address, pages: PageCount(pages) });
            }
            Err(refusal) if refusal.status() == Some(Status::Again) => tail = refusal.which,
            Err(refusal) => return Err((refusal, (tail != 0).then_some(Handle(tail)))),
        }
    }
}

/// Why an area could not be split to the end, and what has gone by then.
pub type Unsplit = (Refusal, Option<Handle>);

/// Calls `CHANNEL_CREATE`.
///
/// # Errors
/// `NotSupported` if the partition has no areas; `BadHandle`; `WrongState` if the receive port is in use; `InvalidParameter`, `OverLimit`,
/// `NoMemory`.
pub fn create(events: Handle, slots: u16, class: AreaClass) -> Result<Port, Refusal> {
    let arguments = [events.0, u64::from(slots), u64::from(class.code()), 0, 0, 0];
    let [handle, arrivals, credits] = request::<CREATE>(arguments)?;
    Ok(Port { handle: Handle(handle), arrivals: Ipa(arrivals), credits: Ipa(credits) })
}

/// Calls `CHANNEL_CONNECT`; the answer comes as an event at the port's receive port.
///
/// # Errors
/// `BadHandle`; `NotPermitted`; `WrongState` if it is connected or has asked; `OverLimit`; `PeerGone`.
pub fn connect(port: Handle, partition: u8, service: u32, word: u64) -> Result<(), Refusal> {
    let arguments = [port.0, u64::from(partition), u64::from(service), word, 0, 0];
    again(|| request_in_full::<CONNECT>(arguments).map(|(_, results)| results)).map(|_| ())
}

/// Calls `CHANNEL_ACCEPT`.
///
/// # Errors
/// `BadHandle`; `WrongState` if the port is in use; `PeerGone`.
pub fn accept(request_handle: Handle, port: Handle) -> Result<(), Refusal> {
    again(|| request::<ACCEPT>([request_handle.0, port.0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `CHANNEL_SEND`: `area` with the number of bytes that are meant, and the short message.
///
/// # Safety
/// If there is an area, nothing refers to its memory any more.
///
/// # Errors
/// `BadHandle`, `NotOwner`, `WrongState`, `Range`, `Full`, `Refused`, `PeerGone`; the area is the caller's then.
#[inline]
pub unsafe fn send(
    port: Handle,
    area: Option<(Handle, u64)>,
    short: [u64; 3],
) -> Result<(), Refusal> {
    let (area, bytes) = area.map_or((0, 0), |(area, bytes)| (area.0, bytes));
    let [short0, short1, short2] = short;
    again(|| request::<SEND>([port.0, area, bytes, short0, short1, short2])).map(|_| ())
}

/// Calls `CHANNEL_NOTIFY`.
///
/// # Errors
/// `BadHandle`, `WrongState`, `Refused`, `PeerGone`.
pub fn notify(port: Handle) -> Result<(), Refusal> {
    again(|| request::<NOTIFY>([port.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `EVENT_PAGE`: where the bitmap of the first 32,768 handles is, to be loaded from only.
///
/// # Errors
/// `NotSupported` if the partition has no areas; `OverLimit` of IPA space.
pub fn event_page() -> Result<Ipa, Refusal> {
    request::<EVENT_PAGE>([0; 6]).map(|[address, ..]| Ipa(address))
}

/// Calls `CHANNEL_CLOSE`.
///
/// # Safety
/// Nothing refers to the port's two pages any more.
///
/// # Errors
/// `BadHandle`.
pub unsafe fn close(port: Handle) -> Result<(), Refusal> {
    again(|| request::<CLOSE>([port.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// How many rows have their wrapper here.
pub(crate) const CALLS: usize = 13;

const ALLOC: u32 = function("AREA_ALLOC", 3);
const FREE: u32 = function("AREA_FREE", 1);
const INFO: u32 = function("AREA_INFO", 1);
const KEEP: u32 = function("AREA_KEEP", 1);
const TRIM: u32 = function("AREA_TRIM", 2);
const SPLIT: u32 = function("AREA_SPLIT", 4);
const CREATE: u32 = function("CHANNEL_CREATE", 3);
const CONNECT: u32 = function("CHANNEL_CONNECT", 4);
const ACCEPT: u32 = function("CHANNEL_ACCEPT", 2);
const SEND: u32 = function("CHANNEL_SEND", 6);
const NOTIFY: u32 = function("CHANNEL_NOTIFY", 1);
const CLOSE: u32 = function("CHANNEL_CLOSE", 1);
const EVENT_PAGE: u32 = function("EVENT_PAGE", 0);
