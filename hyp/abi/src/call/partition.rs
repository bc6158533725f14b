//! The calls about the caller itself: 0x00 to 0x0f.

use super::{CallRow, arg};
use crate::Status;

/// Their rows, by ascending number.
pub(super) const ROWS: &[CallRow] = &[
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
        name: "REQUEST",
        number: 0x05,
        summary: "Asks for more than the caller's limits allow, for a vCPU or a device that is kept back, or to be permitted to ask another partition for connections. Core time is added to a vCPU's budget at its home for this life; a device's registers are there, and its interrupts can be enabled, until this life ends. Of a peer with services what is open to anyone can be asked for then. The policy program sees it before anything is changed, and answers with as much as it grants, or refuses: PENDING, and REQUEST_STATE tells the answer. A partition has one request at a time: WRONG_STATE. OK: there is no limit, or that of core time allows so much, or the device is there already, or nobody makes policy and the description's default grants it; then OVER_LIMIT says by x1 what there is no more of, as in REQUEST_ANSWER.",
        arguments: &[
            arg(
                "what",
                "1 IPA space (pages), 2 memory (pages), 3 management memory (pages), 4 event ports: the limit is raised; 0: core time; 16: a peer; 17: vCPUs; 18: a device",
            ),
            arg(
                "amount",
                "how much more; of core time bits 0 to 31 the ppm of a core, bits 32 to 39 which vCPU's; of a peer its place; of a device which of those that are kept back, from 0",
            ),
            arg(
                "port",
                "a receive port of the caller's that is raised when there is an answer; 0: none",
            ),
        ],
        results: &[
            arg(
                "granted",
                "how much, if the answer is OK; of core time the ppm; of a device where its registers begin",
            ),
            arg("intid", "of a device the INTID of its first interrupt; else, or without one, 0"),
        ],
        statuses: &[
            Status::Ok,
            Status::Pending,
            Status::InvalidParameter,
            Status::BadHandle,
            Status::DeniedByPolicy,
            Status::WrongState,
            Status::OverLimit,
        ],
        requirement: "P8",
    },
    CallRow {
        name: "REQUEST_STATE",
        number: 0x06,
        summary: "Tells how it stands with the caller's request: PENDING, there is no answer yet. An answer is told once; EMPTY: there is no request.",
        arguments: &[],
        results: &[
            arg(
                "granted",
                "how much, perhaps another amount than was asked for; of a device where its registers begin",
            ),
            arg("intid", "as REQUEST has it"),
        ],
        statuses: &[
            Status::Ok,
            Status::Pending,
            Status::InvalidParameter,
            Status::DeniedByPolicy,
            Status::Empty,
        ],
        requirement: "P8",
    },
    CallRow {
        name: "REQUEST_CANCEL",
        number: 0x07,
        summary: "Takes the caller's request back. WRONG_STATE: there is an answer already, to be read; EMPTY: there is no request.",
        arguments: &[],
        results: &[],
        statuses: &[Status::Ok, Status::InvalidParameter, Status::WrongState, Status::Empty],
        requirement: "P8",
    },
];
