//! The calls of the policy program: 0x100 to 0x1ff. Who does not hold the policy capability is NOT_PERMITTED, whatever the arguments.

use super::{Argument, CallRow, arg};
use crate::Status;

/// How a call names a partition.
const PARTITION: Argument = arg(
    "partition",
    "which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place",
);

const RESOURCE: Argument = arg(
    "resource",
    "0 core time (ppm of one core), 1 IPA space (pages), 2 memory (pages), 3 management memory (pages), 4 event ports, 5 devices, 6 cache share, 7 bus share",
);

/// Their rows, by ascending number.
pub(super) const ROWS: &[CallRow] = &[
    CallRow {
        name: "PARTITION_LIST",
        number: 0x100,
        summary: "Tells of the partition at a place: those of the description come first, in its order, then those that were made at run time. NOT_FOUND: there is none at this place. RANGE: there is no such place, nor any behind it.",
        arguments: &[arg("place", "0 to 63")],
        results: &[
            PARTITION,
            arg(
                "state",
                "bits 0 to 7: 1 created, 2 being built, 3 held, 4 active, 5 paused, 6 ending, 7 ended, 8 being destroyed; bits 8 to 15: why it ended last, as NOTICE_TAKE has it; bit 16: it will start again by itself; bits 32 to 63: the code of its end",
            ),
            arg(
                "counts",
                "bits 0 to 31: how often it was started; bits 32 to 39: its vCPUs; bit 40: it was made at run time; bit 41: it is the caller",
            ),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::Range,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "PARTITION_NAME",
        number: 0x101,
        summary: "Tells a partition's name, 31 bytes at most with zeros behind it.",
        arguments: &[PARTITION, arg("part", "0: bytes 0 to 23; 1: bytes 24 to 31")],
        results: &[
            arg("first", "eight bytes, the first one lowest"),
            arg("second", "the next eight"),
            arg("third", "the next eight"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "LIMIT_READ",
        number: 0x102,
        summary: "Reads one line of a partition's account.",
        arguments: &[PARTITION, RESOURCE],
        results: &[
            arg("limit", "the limit; 2^64 - 1 means unset"),
            arg("used", "what is charged now"),
            arg("high", "the most that was ever charged in this life"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P3",
    },
    CallRow {
        name: "LIMIT_SET",
        number: 0x103,
        summary: "Sets a partition's limit, for this life and those that follow. What it gives is taken from what may be handed out: of a partition of the description what is above the description's limit. A limit below what is used takes nothing away. OVER_LIMIT: so much cannot be handed out; x1 = 256 + the resource.",
        arguments: &[PARTITION, RESOURCE, arg("limit", "the limit; 2^64 - 1: unset")],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::OverLimit,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "PARTITION_START",
        number: 0x104,
        summary: "Starts a partition that has ended, under a new id. It is built in its own time; one that cannot be built ends with a notice. With hold it is built and then waits for another PARTITION_START.",
        arguments: &[PARTITION, arg("hold", "1: it is held when it is built; else 0")],
        results: &[PARTITION],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::WrongState,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "PARTITION_STOP",
        number: 0x105,
        summary: "Ends a partition: its vCPUs are stopped, all goes back, a notice follows. Of one that has ended it cancels the restart that would follow. WRONG_STATE: there is nothing to end.",
        arguments: &[PARTITION],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::WrongState,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "PARTITION_RESTART",
        number: 0x106,
        summary: "Ends a partition and starts it again under a new id; one that has ended is started.",
        arguments: &[PARTITION],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::WrongState,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "PARTITION_PAUSE",
        number: 0x107,
        summary: "Takes an active partition's vCPUs off their cores. OK: none of them runs any more; AGAIN asks for another call. What it has stays as it is; events for it are kept. The caller itself is INVALID_PARAMETER.",
        arguments: &[PARTITION],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::WrongState,
            Status::Again,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "PARTITION_RESUME",
        number: 0x108,
        summary: "Lets a paused partition go on.",
        arguments: &[PARTITION],
        results: &[],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::WrongState,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "POLICY_NOTIFY",
        number: 0x109,
        summary: "Chooses the receive port at which the policy program is told that there is a notice, or a request. If there is one already, it is told now. The choice ends with the caller's life; notices do not.",
        arguments: &[arg("port", "a receive port of the caller's")],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::BadHandle, Status::NotPermitted],
        requirement: "P7",
    },
    CallRow {
        name: "NOTICE_TAKE",
        number: 0x10a,
        summary: "Takes the oldest notice of a partition's end. Of a partition that ended several times meanwhile there is the last one. EMPTY: there is none.",
        arguments: &[],
        results: &[
            PARTITION,
            arg(
                "why",
                "bits 0 to 7: 1 off, 2 reset, 3 with a code, 4 fault, 5 stopped by the operator, 6 restarted by the operator, 7 it could not be built, 8 stopped by PARTITION_STOP, 9 restarted by PARTITION_RESTART; bit 16: it will start again by itself; bits 32 to 63: the code",
            ),
            arg("missed", "how many earlier ends of it were not told"),
        ],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::NotPermitted, Status::Empty],
        requirement: "P7",
    },
];
