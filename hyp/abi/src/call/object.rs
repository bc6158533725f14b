//! The calls about named objects: 0x38 to 0x3f.

use super::{CallRow, arg};
use crate::Status;

/// Their rows, by ascending number.
pub(super) const ROWS: &[CallRow] = &[
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
                "queue: the message's first word; semaphore: the id of a partition that closed it or ended while it held units, told once, or 0; of several lives of one partition that ended before anybody was told, the last",
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
            arg(
                "port",
                "a receive port to which nothing is connected, or the one that is chosen; 0: none",
            ),
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
