//! The calls by which the policy program looks into partitions: 0x128 to 0x12b.

use super::{Argument, CallRow, arg};
use crate::Status;

/// How a call names a partition.
const PARTITION: Argument = arg("partition", "which one, as PARTITION_LIST has it");

/// What calls about a partition that lives can answer.
const STATUSES: &[Status] = &[
    Status::Ok,
    Status::InvalidParameter,
    Status::NotPermitted,
    Status::WrongState,
    Status::Range,
    Status::PeerGone,
    Status::NotFound,
];

/// Their rows, by ascending number.
pub(super) const ROWS: &[CallRow] = &[
    CallRow {
        name: "CONSOLE_READ",
        number: 0x128,
        summary: "Reads what a partition has written to its console, in this life and those before it: the last 1,023 bytes are kept. What has been forgotten is left out. EMPTY: it has written nothing from that position on. AGAIN: it writes faster than this reads. NOT_FOUND: it has no console.",
        arguments: &[PARTITION, arg("from", "a position; 0 is that of the first byte ever")],
        results: &[
            arg(
                "place",
                "bits 0 to 7: how many bytes, 1 to 16; bits 8 to 63: the position of the first",
            ),
            arg("first", "eight bytes, the first one lowest, zeros behind the last"),
            arg("second", "the next eight"),
        ],
        statuses: &[
            Status::Ok,
            Status::InvalidParameter,
            Status::NotPermitted,
            Status::Empty,
            Status::Again,
            Status::PeerGone,
            Status::NotFound,
        ],
        requirement: "P7",
    },
    CallRow {
        name: "CONSOLE_FOCUS",
        number: 0x129,
        summary: "Gives the keyboard of the machine's console to a partition, as Ctrl-A and its number do. NOT_FOUND: it has no console now.",
        arguments: &[PARTITION],
        results: &[],
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
        name: "PORT_READ",
        number: 0x12a,
        summary: "Tells of the first thing in a partition's handle table from an entry on: its ports, areas, objects, and requests that it has taken. RANGE: there is none. WRONG_STATE: the partition has none now.",
        arguments: &[PARTITION, arg("from", "the entry, 0 to 65535")],
        results: &[
            arg(
                "what",
                "bits 0 to 15: the entry; bits 16 to 23: 0 nothing up to it, 1 an event send port, 2 an event receive port, 3 a request for an event port, 4 a message port, 5 a request for a message channel, 6 an area, 8 an object, 9 a shared area, 10 a request for one; bits 24 to 31: of a receive port 1 connected + 2 masked + 4 an event is kept + 8 bound + 16 in a group, of others 1 not connected, 2 its request waits, 3 its request was taken, 4 connected, 5 refused, 6 its peer has gone",
            ),
            arg(
                "peer",
                "bits 0 to 7: the other end's place; bits 8 to 23: its entry, if it is connected; 2^64 - 1: there is none",
            ),
            arg(
                "detail",
                "of a receive port that is bound: bits 0 to 15 the INTID, bits 16 to 23 the vCPU; of an area, and of a shared area that is attached: bits 0 to 7 its class, bits 8 to 23 its window slot; of an object its number",
            ),
        ],
        statuses: STATUSES,
        requirement: "P7",
    },
    CallRow {
        name: "EXIT_READ",
        number: 0x12b,
        summary: "Tells of one of the last 16 exits of a partition's vCPU; while it runs, one that is just being forgotten can be mixed with the one in its place. RANGE: there is no such vCPU, or it has not had so many. WRONG_STATE: the partition does not live.",
        arguments: &[
            PARTITION,
            arg("vcpu", "which vCPU, 0 to 63"),
            arg("back", "0: the last exit; 15: the oldest that is kept"),
        ],
        results: &[
            arg("pc", "where the guest was"),
            arg(
                "why",
                "bits 0 to 31: the syndrome, ESR_EL2, 2^32 - 1 for an interrupt; bits 32 to 63: how many microseconds ago, 2^32 - 1 at most",
            ),
            arg("address", "of an abort the IPA; of a call x0; else 0"),
        ],
        statuses: STATUSES,
        requirement: "P7",
    },
];
