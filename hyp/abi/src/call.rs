//! The one table of hypercalls.
//!
//! Dispatch, the feature query, the guest wrappers, the reference page, trace names and the fuzz dictionary
//! are made from this table; a call that is not here does not exist. `HVC #0`, SMCCC 1.2: the function id is
//! in `w0`, arguments in `x1`–`x6` (unused ones zero), results in `x0` (status) and `x1`–`x3`.
//! Numbers: guest calls below `0x100`, policy calls `0x100`–`0x1FF`; a number is never given twice.

use crate::smccc::VENDOR_HYP_FAST64;
use crate::{Resource, Status};

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
];

impl Call {
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
            _ => Err(DecodeError::NotSupported),
        }
    }
}

/// Refuses a non-zero register behind the first `used` ones: so that a later version can give it a meaning.
fn check_unused(x: &[u64; 6], used: usize) -> Result<(), DecodeError> {
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
