//! The one table of hypercalls.
//!
//! Dispatch, the feature query, the guest wrappers, the reference page, trace names and the fuzz dictionary
//! are made from this table; a call that is not here does not exist. `HVC #0`, SMCCC 1.2: the function id is
//! in `w0`, arguments in `x1`–`x6` (unused ones zero), results in `x0` (status) and `x1`–`x3`.
//! Numbers: guest calls below `0x100`, policy calls `0x100`–`0x1FF`; a number is never given twice.

mod look;
mod message;
mod object;
mod partition;
mod policy;
mod shared;
mod talk;

use crate::smccc::VENDOR_HYP_FAST64;
use crate::{MessageCall, ObjectCall, Resource, SharedCall, Status, TalkCall, Wanted};

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
    /// The statuses that it can answer: `NOT_SUPPORTED` among them if a partition can be without what it is about.
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
    /// `REQUEST`
    Request(Wanted),
    /// `REQUEST_STATE`
    RequestState,
    /// `REQUEST_CANCEL`
    RequestCancel,
    /// `EVENT_…`, `HANDLE_…`, `SIGNAL_…`, `PEER_…`.
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

/// The table, by ascending number: a file for each topic.
pub const CALLS: &[CallRow] = &joined();

const TOPICS: &[&[CallRow]] = &[
    partition::ROWS,
    talk::ROWS,
    message::ROWS,
    shared::ROWS,
    object::ROWS,
    policy::ROWS,
    look::ROWS,
];

const COUNT: usize = count(TOPICS);

const fn count(mut topics: &[&[CallRow]]) -> usize {
    let mut count = 0_usize;
    while let [rows, others @ ..] = topics {
        count = count.saturating_add(rows.len());
        topics = others;
    }
    count
}

/// The topics' rows, one behind the other.
const fn joined() -> [CallRow; COUNT] {
    const NONE: CallRow = CallRow {
        name: "",
        number: 0,
        summary: "",
        arguments: &[],
        results: &[],
        statuses: &[],
        requirement: "",
    };
    let mut all = [NONE; COUNT];
    let (mut places, mut topics): (&mut [CallRow], _) = (&mut all, TOPICS);
    while let [rows, others @ ..] = topics {
        let mut rows = *rows;
        while let [row, next @ ..] = rows {
            places = match places {
                [place, rest @ ..] => {
                    *place = *row;
                    rest
                }
                [] => &mut [],
            };
            rows = next;
        }
        topics = others;
    }
    all
}

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

    /// Decodes function id `number`, one below [`POLICY_FIRST`] (already stripped of the service's base) and `x1`–`x6`.
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
            0x05 => Wanted::decode(&x).map(Self::Request),
            0x06 => check_unused(&x, 0).map(|()| Self::RequestState),
            0x07 => check_unused(&x, 0).map(|()| Self::RequestCancel),
            0x20..=0x2f => crate::message::decode(number, &x).map(Self::Message),
            0x30..=0x37 => crate::shared::decode(number, &x).map(Self::Shared),
            0x38..=0x3f => crate::object::decode(number, &x).map(Self::Object),
            _ => crate::talk::decode(number, &x).map(Self::Talk),
        }
    }
}

/// The first number of the policy program's calls: those from here on need the policy capability.
pub const POLICY_FIRST: u32 = 0x100;

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
    use super::{CALLS, Call, DecodeError, POLICY_FIRST};
    use crate::PolicyCall;

    /// Whether a call is decoded, whoever it is for.
    fn decoded(number: u32, x: [u64; 6]) -> Result<(), DecodeError> {
        if number < POLICY_FIRST {
            Call::decode(number, x).map(|_| ())
        } else {
            PolicyCall::decode(number, x).map(|_| ())
        }
    }

    #[test]
    fn every_row_decodes_and_no_other_number_does() {
        for number in 0..0x400_u32 {
            let row = CALLS.iter().find(|row| u32::from(row.number) == number);
            let decoded = decoded(number, [0; 6]);
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
                assert_eq!(decoded(u32::from(row.number), x), Err(expected), "{}", row.name);
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
