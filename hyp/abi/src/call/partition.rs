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
];
