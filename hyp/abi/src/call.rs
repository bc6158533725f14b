//! The one table of hypercalls.
//!
//! Dispatch, the feature query, the guest wrappers, the reference page, trace names and the fuzz dictionary
//! are made from this table; a call that is not here does not exist. `HVC #0`, SMCCC 1.2: the function id is
//! in `w0`, arguments in `x1`–`x6` (unused ones zero), results in `x0` (status) and `x1`–`x3`.
//! Numbers: guest calls below `0x100`, policy calls `0x100`–`0x1FF`; a number is never given twice.

use crate::smccc::VENDOR_HYP_FAST64;
use crate::{
    MessageCall, ObjectCall, Resource, SharedCall, Status, TalkCall, message, object, shared, talk,
};

/// An argument or a result of a call, as the reference page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Meaning, unit and range.
    pub meaning: &'static str,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRow {
    /// The call's name in capitals.
    pub name: &'static str,
    /// The number below the service's base.
    pub number: u16,
    /// What it does, for the reference page.
    pub summary: &'static str,
    /// `x1` and up.
    pub arguments: &'static [Argument],
    /// `x1` and up after success.
    pub results: &'static [Argument],
    /// The statuses that it can answer besides `NOT_SUPPORTED`.
    pub statuses: &'static [Status],
    /// The requirement that it serves.
    pub requirement: &'static str,
}

impl CallRow {
    /// The SMCCC function id.
    #[must_use]
    pub fn function_id(&self) -> u32 {
        VENDOR_HYP_FAST64 | u32::from(self.number)
    }
}

/// A decoded call: its arguments are in range, unused registers were zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `NULL`
    Null,
    /// `FEATURE`: the number to ask about.
    Feature(u64),
    /// `PARTITION_INFO`
    PartitionInfo,
    /// `ACCOUNT_READ`: which resource.
    AccountRead(Resource),
    /// `PARTITION_END`: the code that the end report carries.
    PartitionEnd(u64),
    /// `EVENT_…`, `HANDLE_CLOSE`, `SIGNAL_…`, `PEER_INFO`.
    Talk(TalkCall),
    /// `AREA_…`, `CHANNEL_…`.
    Message(MessageCall),
    /// `SHARED_…`
    Shared(SharedCall),
    /// `OBJECT_…`
    Object(ObjectCall),
}

/// Why a call was not decoded; becomes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No such call.
    NotSupported,
    /// Argument register `x{0}` is out of range, or not zero although unused.
    Argument(u8),
}

const fn arg(name: &'static str, meaning: &'static str) -> Argument {
    Argument { name, meaning }
}

/// The table, by ascending number.
pub const CALLS: &[CallRow] = &[
    CallRow {
        name: "NULL",
        number: 0x00,
        summary: "Does nothing: the cost of a hypercall.",
        arguments: &[],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter],
        requirement: "P4",
    },
    CallRow {
        name: "FEATURE",
        number: 0x01,
        summary: "Tells whether the call with this number exists.",
        arguments: &[arg("number", "the call's number, 0 to 0x1FF")],
        results: &[arg("present", "1 if the call exists, else 0")],
        statuses: &[Status::Ok, Status::InvalidParameter],
        requirement: "P4",
    },
    CallRow {
        name: "PARTITION_INFO",
        number: 0x02,
        summary: "Tells the caller's own partition.",
        arguments: &[],
        results: &[
            arg("id", "the partition's id, never reused within one run"),
            arg("vcpus", "how many vCPUs it has"),
            arg("starts", "how often this name has been started, 1 at the first"),
        ],
        statuses: &[Status::Ok, Status::InvalidParameter],
        requirement: "P2",
    },
    CallRow {
        name: "ACCOUNT_READ",
        number: 0x03,
        summary: "Reads one line of the caller's own account.",
        arguments: &[arg(
            "resource",
            "0 core time (ppm of one core), 1 IPA space (pages), 2 memory (pages), 3 management memory (pages), 4 event ports, 5 devices, 6 cache share, 7 bus share",
        )],
        results: &[
            arg("limit", "the limit; 2^64 - 1 means unset"),
            arg("used", "what is charged now"),
            arg("high", "the most that was ever charged"),
        ],
        statuses: &[Status::Ok, Status::InvalidParameter],
        requirement: "P3",
    },
    CallRow {
        name: "PARTITION_END",
        number: 0x04,
        summary: "Ends the caller's partition; does not return when accepted. Restart follows the description's policy, as after a fault when the code is not 0.",
        arguments: &[arg("code", "0 to 2^32 - 1; stands in the end report")],
        results: &[],
        statuses: &[Status::InvalidParameter],
        requirement: "P2",
    },
    CallRow {
        name: "EVENT_CREATE_SEND",
        number: 0x10,
        summary: "Makes an event send port, not connected.",
        arguments: &[],
        results: &[arg("port", "its handle")],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::OverLimit],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_CREATE_RECEIVE",
        number: 0x11,
        summary: "Makes an event receive port: not connected, not bound, not masked.",
        arguments: &[],
        results: &[arg("port", "its handle")],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::OverLimit],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_CONNECT",
        number: 0x12,
        summary: "Connects a send port to a receive port of the same partition.",
        arguments: &[arg("send", "the send port"), arg("receive", "the receive port")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::WrongState],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_BIND",
        number: 0x13,
        summary: "Gives a receive port an interrupt: an SPI of the virtual GIC that no device has. It is edge-triggered from then on, and routed to the vCPU until the guest routes it otherwise. A port is bound once, until it is closed.",
        arguments: &[
            arg("port", "the receive port"),
            arg("intid", "32 to 1019"),
            arg("vcpu", "the index of the vCPU that it is routed to first"),
            arg(
                "sharing",
                "0: the interrupt is this port's alone; 1: it is shared by any number of ports, which EVENT_TAKE tells apart",
            ),
        ],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::WrongState],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_MASK",
        number: 0x14,
        summary: "Masks a receive port: what arrives is kept. Unmasked again, it is raised.",
        arguments: &[arg("port", "the receive port"), arg("masked", "1 masks, 0 unmasks")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_STATE",
        number: 0x15,
        summary: "Tells how it stands with a send port: OK, it is connected; PENDING, its request was not answered yet; WRONG_STATE, it was never connected; REFUSED; PEER_GONE.",
        arguments: &[arg("port", "the send port")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::Pending,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::Refused,
            Status::PeerGone,
        ],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_POLL",
        number: 0x16,
        summary: "Tells whether a receive port is pending, and makes it not pending; the interrupt's pending state is cleared with it. AGAIN: another vCPU's core has to be asked first; call again.",
        arguments: &[arg("port", "the receive port")],
        results: &[arg("pending", "1 if it was pending, else 0")],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::Again],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_TAKE",
        number: 0x17,
        summary: "Takes the pending ports among 64 neighbouring handles, of those that share an interrupt.",
        arguments: &[arg("word", "0 to 1023: handles with index 64 × word to 64 × word + 63")],
        results: &[arg("pending", "bit n: the port with index 64 × word + n was pending")],
        statuses: &[Status::Ok, Status::InvalidParameter],
        requirement: "C1",
    },
    CallRow {
        name: "EVENT_SEND",
        number: 0x18,
        summary: "Sends an event to the peer of a send port.",
        arguments: &[arg("port", "the send port")],
        results: &[arg(
            "pending",
            "1 if it was pending there already: the event made no difference",
        )],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::Refused,
            Status::PeerGone,
        ],
        requirement: "C1",
    },
    CallRow {
        name: "HANDLE_CLOSE",
        number: 0x19,
        summary: "Closes a port, or refuses a request that was taken. What is at the other end is told.",
        arguments: &[arg("handle", "the port or the request")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::Again],
        requirement: "C1",
    },
    CallRow {
        name: "SIGNAL_NOTIFY",
        number: 0x1a,
        summary: "Chooses the receive port that is raised when a control signal arrives and none waits, and when a request of the caller was answered.",
        arguments: &[arg("port", "a receive port to which nothing is connected")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::WrongState],
        requirement: "P9",
    },
    CallRow {
        name: "SIGNAL_ASK",
        number: 0x1b,
        summary: "Asks another partition to connect a send port to one of its receive ports. The answer is raised at the port of SIGNAL_NOTIFY and read by EVENT_STATE.",
        arguments: &[
            arg("port", "the send port"),
            arg("partition", "the other's number, as the device tree has it"),
            arg("service", "which service is meant, 0 to 2^32 - 1"),
            arg("word", "a word for the other"),
        ],
        results: &[],
        statuses: &[
            Status::Pending,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::NotPermitted,
            Status::WrongState,
            Status::OverLimit,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "P9",
    },
    CallRow {
        name: "SIGNAL_TAKE",
        number: 0x1c,
        summary: "Takes the oldest control signal of the next sender in turn.",
        arguments: &[],
        results: &[
            arg(
                "request",
                "bits 0 to 55 the handle of the request, to be accepted, refused or closed; bits 56 to 63 what is asked: 0 an event connection, 1 a message channel, 2 a shared area",
            ),
            arg("sender", "bits 0 to 31 the sender's partition id, bits 32 to 63 the service"),
            arg("word", "the sender's word"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::Empty,
            Status::OverLimit,
            Status::Again,
        ],
        requirement: "P9",
    },
    CallRow {
        name: "SIGNAL_ACCEPT",
        number: 0x1d,
        summary: "Accepts a request: connects its sender to a receive port.",
        arguments: &[arg("request", "the request"), arg("receive", "the receive port")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "P9",
    },
    CallRow {
        name: "SIGNAL_REFUSE",
        number: 0x1e,
        summary: "Refuses a request.",
        arguments: &[arg("request", "the request")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::Again],
        requirement: "P9",
    },
    CallRow {
        name: "PEER_INFO",
        number: 0x1f,
        summary: "Tells about a partition that the caller may talk to.",
        arguments: &[arg("partition", "its number, as the device tree has it")],
        results: &[
            arg("id", "the id of its present life; 0 while it has none"),
            arg("may", "bit 0: it may be asked for connections; bit 1: it may ask"),
        ],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::NotPermitted],
        requirement: "P9",
    },
    // ---- message areas ----
    CallRow {
        name: "AREA_ALLOC",
        number: 0x20,
        summary: "Makes a message area, cleared and mapped. Bounded: a large one takes several calls, each with the handle that AGAIN has answered in x1. One at a time.",
        arguments: &[
            arg("bytes", "the size, rounded up to pages; at most that of a slot"),
            arg(
                "class",
                "the slot: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB; as the windows that it shall be sent to",
            ),
            arg("area", "0, or the handle of the area that is being made"),
        ],
        results: &[
            arg("area", "its handle"),
            arg("address", "where it is mapped"),
            arg("pages", "its size in pages"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotOwner,
            Status::WrongState,
            Status::Range,
            Status::OverLimit,
            Status::NoMemory,
            Status::Again,
        ],
        requirement: "C3",
    },
    CallRow {
        name: "AREA_FREE",
        number: 0x21,
        summary: "Frees an area, or discards one that was received. It is unmapped at once; AGAIN asks for another call to give all of its memory back.",
        arguments: &[arg("area", "its handle")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotOwner,
            Status::WrongState,
            Status::Again,
        ],
        requirement: "C3",
    },
    CallRow {
        name: "AREA_INFO",
        number: 0x22,
        summary: "Tells where an area is and how large.",
        arguments: &[arg("area", "its handle")],
        results: &[
            arg("address", "where it is mapped"),
            arg("pages", "its size in pages"),
            arg("class", "its slot: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB"),
        ],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::NotOwner, Status::WrongState],
        requirement: "C3",
    },
    CallRow {
        name: "AREA_KEEP",
        number: 0x23,
        summary: "Keeps an area that was received: it is charged as the partition's own, stays where it is, and its window gets another slot.",
        arguments: &[arg("area", "its handle")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotOwner,
            Status::WrongState,
            Status::OverLimit,
        ],
        requirement: "C3",
    },
    CallRow {
        name: "AREA_TRIM",
        number: 0x24,
        summary: "Frees an own area's unused tail: all pages behind the first bytes. The rest keeps its address and contents. No vCPU accesses the area during the call. AGAIN: it is smaller already, and the same call goes on.",
        arguments: &[
            arg("area", "its handle"),
            arg("bytes", "what stays, rounded up to pages: one at least"),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotOwner,
            Status::WrongState,
            Status::Range,
            Status::OverLimit,
            Status::NoMemory,
            Status::Again,
        ],
        requirement: "C3",
    },
    // ---- message channels ----
    CallRow {
        name: "CHANNEL_CREATE",
        number: 0x28,
        summary: "Makes a message port with a window; all that can come into the window is charged now. It is not connected and has no credit.",
        arguments: &[
            arg("events", "a receive port that nothing is connected to"),
            arg("slots", "slots of the window, 0 to 60"),
            arg("class", "their size: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB"),
        ],
        results: &[
            arg("port", "its handle"),
            arg("arrivals", "where its arrivals page is mapped, read-only"),
            arg("credits", "where its credits page is mapped"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::OverLimit,
            Status::NoMemory,
        ],
        requirement: "C2",
    },
    CallRow {
        name: "CHANNEL_CONNECT",
        number: 0x29,
        summary: "Asks another partition to connect a message port, by a control signal. The answer comes as an event at the port's receive port.",
        arguments: &[
            arg("port", "the message port"),
            arg("partition", "the other partition's number, as the device tree has it"),
            arg("service", "which service is meant, 0 to 2^32 - 1"),
            arg("word", "a word for the other partition"),
        ],
        results: &[],
        statuses: &[
            Status::Pending,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::NotPermitted,
            Status::WrongState,
            Status::OverLimit,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C2",
    },
    CallRow {
        name: "CHANNEL_ACCEPT",
        number: 0x2a,
        summary: "Accepts a request for a message channel with a message port; both ends are told. SIGNAL_REFUSE refuses it.",
        arguments: &[
            arg("request", "its handle"),
            arg("port", "a message port that is not connected"),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C2",
    },
    CallRow {
        name: "CHANNEL_SEND",
        number: 0x2b,
        summary: "Sends a short message, and with it an area or none. When it returns, the area is the receiver's alone.",
        arguments: &[
            arg("port", "the message port"),
            arg("area", "the handle of a complete area; 0 for none"),
            arg(
                "bytes",
                "how many bytes of the area are meant, at most its size; 0 without an area",
            ),
            arg("short0", "the short message"),
            arg("short1", "the short message"),
            arg("short2", "the short message"),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::BadHandle,
            Status::WrongState,
            Status::NotOwner,
            Status::Range,
            Status::Full,
            Status::Refused,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C3",
    },
    CallRow {
        name: "CHANNEL_NOTIFY",
        number: 0x2c,
        summary: "Says that a message port has credits again: a peer that was answered FULL gets an event.",
        arguments: &[arg("port", "the message port")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::Refused,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C2",
    },
    CallRow {
        name: "CHANNEL_CLOSE",
        number: 0x2d,
        summary: "Closes a message port: its peer is told, its pages and its window are gone. Areas that lie in the window stay, as the partition's own.",
        arguments: &[arg("port", "the message port")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::Again],
        requirement: "C2",
    },
    // ---- shared areas ----
    CallRow {
        name: "SHARED_OFFER",
        number: 0x30,
        summary: "Offers an own, complete area to others. From here on it is neither sent nor freed. Its tables are copied for those who may only read; AGAIN asks for another call to go on.",
        arguments: &[
            arg("area", "its handle"),
            arg(
                "events",
                "a receive port to which nothing is connected: it is raised when a user leaves; 0: none",
            ),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::NotOwner,
            Status::OverLimit,
            Status::NoMemory,
            Status::Again,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_WITHDRAW",
        number: 0x31,
        summary: "Takes an offered area from all of its users, one in each call, and makes it the caller's alone: it can be sent and freed then. AGAIN asks for another call.",
        arguments: &[arg("area", "its handle")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::WrongState,
            Status::NotOwner,
            Status::Again,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_REVOKE",
        number: 0x32,
        summary: "Takes an offered area from one of its users: when it returns, every access of that partition faults. PEER_GONE: it has not attached the area.",
        arguments: &[
            arg("area", "its handle"),
            arg("partition", "the user's number, as the device tree has it"),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::WrongState,
            Status::NotOwner,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_CREATE",
        number: 0x33,
        summary: "Makes an attachment for an area of another partition, and pays for it: memory and address space of its size, and its tables. Nothing is there yet.",
        arguments: &[
            arg(
                "events",
                "a receive port to which nothing is connected: it is raised when the request is answered, when the area is revoked, and when its owner leaves",
            ),
            arg("bytes", "the most that the area may have, rounded up to pages; at most a slot's"),
            arg("class", "the slot: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB; the same as the area's"),
        ],
        results: &[
            arg("attachment", "its handle"),
            arg("address", "where the area will be"),
            arg("pages", "the most that it may have"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::OverLimit,
            Status::Range,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_CONNECT",
        number: 0x34,
        summary: "Asks another partition for a shared area, by a control signal. The answer is raised at the attachment's receive port and read by SHARED_STATE.",
        arguments: &[
            arg("attachment", "an attachment without an area"),
            arg("partition", "the other's number, as the device tree has it"),
            arg("service", "which area is meant, 0 to 2^32 - 1"),
            arg("word", "a word for the other"),
        ],
        results: &[],
        statuses: &[
            Status::Pending,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::NotPermitted,
            Status::WrongState,
            Status::OverLimit,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_ACCEPT",
        number: 0x35,
        summary: "Accepts a request with an offered area: it is mapped at the asker. RANGE: the attachment is for another class or for less; EXISTS: the asker has attached this area already. SIGNAL_REFUSE refuses.",
        arguments: &[
            arg("request", "the request"),
            arg("area", "an area that the caller offers"),
            arg("access", "0: the asker may only read; 1: it may write, too"),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::NotOwner,
            Status::Range,
            Status::Exists,
            Status::PeerGone,
            Status::Again,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_STATE",
        number: 0x36,
        summary: "Tells how it stands with an attachment: OK, its area is there; PENDING, its request was not answered yet; WRONG_STATE, it has not asked; REFUSED; PEER_GONE, the area was revoked, or who was asked has ended. Of an area that the caller offers: OK.",
        arguments: &[arg("attachment", "the attachment, or an offered area")],
        results: &[
            arg("address", "where the area is"),
            arg("pages", "its size in pages"),
            arg("how", "bit 0: the caller may write there; bit 1: its owner has left"),
        ],
        statuses: &[
            Status::Ok,
            Status::Pending,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::Refused,
            Status::PeerGone,
        ],
        requirement: "C5",
    },
    CallRow {
        name: "SHARED_DETACH",
        number: 0x37,
        summary: "Leaves a shared area: closes an attachment, whether it has its area or not, or leaves an area that the caller offers to those who use it. Who was left last gives the memory back. AGAIN asks for another call.",
        arguments: &[arg("attachment", "the attachment, or an offered area")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::WrongState,
            Status::Again,
        ],
        requirement: "C5",
    },
    // ---- named objects ----
    CallRow {
        name: "OBJECT_OPEN",
        number: 0x38,
        summary: "Opens the object of that name, and makes it if no partition has it open. Who may open it says the description. Opened again it has the same handle, and is to be closed once more.",
        arguments: &[
            arg(
                "name",
                "guest address of the name, a multiple of 64, in the partition's own memory: 1 to 63 printable ASCII characters without spaces and *. It is read as cacheable memory",
            ),
            arg("length", "its bytes"),
            arg("kind", "1 event, 2 semaphore, 3 queue"),
            arg(
                "first",
                "semaphore: units at the beginning, up to the maximum; queue: the most messages that wait, 1 to 64; event: 0",
            ),
            arg("maximum", "semaphore: the most units, 1 to 2^32 - 1; else 0"),
            arg(
                "spent",
                "semaphore: 0: a unit that was taken is held, and released when its holder closes the object or ends; 1: it is used up; else 0",
            ),
        ],
        results: &[arg("object", "its handle"), arg("new", "1 if no partition had it open")],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::OverLimit,
            Status::Range,
            Status::Alignment,
            Status::Full,
            Status::Exists,
        ],
        requirement: "V4",
    },
    CallRow {
        name: "OBJECT_WAIT",
        number: 0x39,
        summary: "Takes what is there: a post that the partition has not seen, a unit, the oldest message. EMPTY: nothing is there; the object's port is raised as soon as there is something, for all who wait, and each calls again until it is empty.",
        arguments: &[arg("object", "the object")],
        results: &[
            arg(
                "first",
                "queue: the message's first word; semaphore: the id of a partition that closed it or ended while it held units, told once, or 0",
            ),
            arg("second", "queue: the message's second word"),
            arg("third", "queue: the message's third word"),
        ],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::Empty],
        requirement: "V4",
    },
    CallRow {
        name: "OBJECT_POST",
        number: 0x3a,
        summary: "Posts: an event to each partition that has it open, the caller's own included; a unit; a message. FULL: there is no room; the object's port is raised when there is. RANGE: the semaphore has its most units.",
        arguments: &[
            arg("object", "the object"),
            arg("first", "queue: the message's first word; else 0"),
            arg("second", "queue: its second word; else 0"),
            arg("third", "queue: its third word; else 0"),
        ],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::Range,
            Status::Full,
        ],
        requirement: "V4",
    },
    CallRow {
        name: "OBJECT_NOTIFY",
        number: 0x3b,
        summary: "Chooses the receive port that is raised for an object; the former one is free again. It is raised at once if something is there, or room in a queue.",
        arguments: &[
            arg("object", "the object"),
            arg("port", "a receive port to which nothing is connected; 0: none"),
        ],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::WrongState],
        requirement: "V4",
    },
    CallRow {
        name: "OBJECT_CLOSE",
        number: 0x3c,
        summary: "Closes an object, as often as it was opened. With the last time units that the partition holds are released. The object goes when no partition has it open.",
        arguments: &[arg("object", "the object")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle],
        requirement: "V4",
    },
];

/// The numbers that have a row, a bit for each. Made while compiling: the hypervisor needs the numbers of the table
/// and not its texts.
const PRESENT: [u64; 8] = [word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)];

/// The numbers from 64 × `place` on.
const fn word(place: u16) -> u64 {
    let (mut bits, mut rows) = (0, CALLS);
    while let [row, rest @ ..] = rows {
        if row.number >> 6 == place {
            bits |= 1 << (row.number & 63);
        }
        rows = rest;
    }
    bits
}

impl Call {
    /// Whether the call with this number exists.
    #[must_use]
    pub fn exists(number: u64) -> bool {
        let word = usize::try_from(number >> 6).ok().and_then(|word| PRESENT.get(word));
        word.is_some_and(|word| word & 1 << (number & 63) != 0)
    }

    /// Decodes function id `number` (already stripped of the service's base) and `x1`–`x6`.
    ///
    /// # Errors
    /// `NotSupported` for an unknown number; `Argument(n)` for the first bad register.
    pub fn decode(number: u32, x: [u64; 6]) -> Result<Self, DecodeError> {
        match number {
            0x00 => check_unused(&x, 0).map(|()| Self::Null),
            0x01 => {
                check_unused(&x, 1)?;
                if x[0] < 0x200 { Ok(Self::Feature(x[0])) } else { Err(DecodeError::Argument(1)) }
            }
            0x02 => check_unused(&x, 0).map(|()| Self::PartitionInfo),
            0x03 => {
                check_unused(&x, 1)?;
                let resource = Resource::try_from(x[0]).map_err(|()| DecodeError::Argument(1))?;
                Ok(Self::AccountRead(resource))
            }
            0x04 => {
                check_unused(&x, 1)?;
                if u32::try_from(x[0]).is_ok() {
                    Ok(Self::PartitionEnd(x[0]))
                } else {
                    Err(DecodeError::Argument(1))
                }
            }
            0x20..=0x2f => message::decode(number, &x).map(Self::Message),
            0x30..=0x37 => shared::decode(number, &x).map(Self::Shared),
            0x38..=0x3f => object::decode(number, &x).map(Self::Object),
            _ => talk::decode(number, &x).map(Self::Talk),
        }
    }
}

/// Refuses a non-zero register behind the first `used` ones: so that a later version can give it a meaning.
pub(crate) fn check_unused(x: &[u64; 6], used: usize) -> Result<(), DecodeError> {
    match x.iter().enumerate().skip(used).find(|(_, value)| **value != 0) {
        None => Ok(()),
        Some((index, _)) => {
            Err(DecodeError::Argument(u8::try_from(index).unwrap_or(u8::MAX).saturating_add(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CALLS, Call, DecodeError};

    #[test]
    fn every_row_decodes_and_no_other_number_does() {
        for number in 0..0x400_u32 {
            let row = CALLS.iter().find(|row| u32::from(row.number) == number);
            let decoded = Call::decode(number, [0; 6]);
            assert_eq!(row.is_none(), decoded == Err(DecodeError::NotSupported), "{number:#x}");
            assert_eq!(Call::exists(number.into()), row.is_some(), "{number:#x}");
        }
    }

    #[test]
    fn a_number_that_no_register_could_hold_here_is_no_call() {
        for number in [0x200, 0x201, 1 << 32, u64::MAX] {
            assert!(!Call::exists(number));
        }
    }

    #[test]
    fn numbers_ascend() {
        assert!(CALLS.windows(2).all(|pair| pair[0].number < pair[1].number));
    }

    #[test]
    fn unused_registers_must_be_zero() {
        for row in CALLS {
            for register in row.arguments.len()..6 {
                let mut x = [0; 6];
                x[register] = 1;
                let expected = DecodeError::Argument(u8::try_from(register + 1).unwrap());
                assert_eq!(Call::decode(u32::from(row.number), x), Err(expected), "{}", row.name);
            }
        }
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        assert_eq!(Call::decode(1, [0x200, 0, 0, 0, 0, 0]), Err(DecodeError::Argument(1)));
        assert_eq!(Call::decode(3, [8, 0, 0, 0, 0, 0]), Err(DecodeError::Argument(1)));
        assert_eq!(Call::decode(4, [1 << 32, 0, 0, 0, 0, 0]), Err(DecodeError::Argument(1)));
    }
}
