//! The calls by which the policy program looks into partitions, decoded: what they write, what they have, what they did last (P7).

use core::fmt;

use crate::call::{DecodeError, check_unused};
use crate::{PartitionRef, VcpuIndex};

/// A decoded call of these. None changes anything of the partition's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookCall {
    /// `CONSOLE_READ`: from which position on.
    Console(PartitionRef, u64),
    /// `CONSOLE_FOCUS`
    Focus(PartitionRef),
    /// `PORT_READ`: from which entry on.
    Port(PartitionRef, u16),
    /// `EXIT_READ`: of which vCPU, and how many before the last.
    Exit(PartitionRef, VcpuIndex, u8),
}

/// What an entry of a handle table is: bits 16 to 23 of what `PORT_READ` answers in x1; 0 is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThingKind {
    /// An event send port.
    SendPort,
    /// An event receive port.
    ReceivePort,
    /// A request for an event port that was taken.
    EventRequest,
    /// A message port.
    MessagePort,
    /// A request for a message channel that was taken.
    ChannelRequest,
    /// A message area.
    Area,
    /// A named object.
    Object,
    /// What a shared area is attached with, or is to be.
    SharedArea,
    /// A request for a shared area that was taken.
    AreaRequest,
}

impl ThingKind {
    /// All of them, by number.
    pub const ALL: [Self; 9] = [
        Self::SendPort,
        Self::ReceivePort,
        Self::EventRequest,
        Self::MessagePort,
        Self::ChannelRequest,
        Self::Area,
        Self::Object,
        Self::SharedArea,
        Self::AreaRequest,
    ];

    /// The number: 1 to 10, without 7, which is never told.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::SendPort => 1,
            Self::ReceivePort => 2,
            Self::EventRequest => 3,
            Self::MessagePort => 4,
            Self::ChannelRequest => 5,
            Self::Area => 6,
            Self::Object => 8,
            Self::SharedArea => 9,
            Self::AreaRequest => 10,
        }
    }

    /// The kind with this number; none if it has come later than this.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::SendPort,
            2 => Self::ReceivePort,
            3 => Self::EventRequest,
            4 => Self::MessagePort,
            5 => Self::ChannelRequest,
            6 => Self::Area,
            8 => Self::Object,
            9 => Self::SharedArea,
            10 => Self::AreaRequest,
            _ => return None,
        })
    }
}

impl fmt::Display for ThingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendPort => "an event send port",
            Self::ReceivePort => "an event receive port",
            Self::EventRequest => "a request for an event port",
            Self::MessagePort => "a message port",
            Self::ChannelRequest => "a request for a message channel",
            Self::Area => "an area",
            Self::Object => "an object",
            Self::SharedArea => "a shared area",
            Self::AreaRequest => "a request for one",
        })
    }
}

/// How anything but a receive port stands to its other end: bits 24 to 31 of the same. Of a request it is `Waits` or `Gone`, of an area and an
/// object 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortStand {
    /// It was never connected.
    Idle,
    /// Its request waits at the other partition.
    Waits,
    /// Its request was taken there, and not answered.
    Taken,
    /// It is connected; a shared area is attached.
    Connected,
    /// Its request was refused.
    Refused,
    /// Its peer has closed it, or has ended.
    Gone,
}

impl PortStand {
    /// All of them, by number.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Waits, Self::Taken, Self::Connected, Self::Refused, Self::Gone];

    /// The number: 1 to 6.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Idle => 1,
            Self::Waits => 2,
            Self::Taken => 3,
            Self::Connected => 4,
            Self::Refused => 5,
            Self::Gone => 6,
        }
    }

    /// The one with this number; none if it has come later than this.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Idle,
            2 => Self::Waits,
            3 => Self::Taken,
            4 => Self::Connected,
            5 => Self::Refused,
            6 => Self::Gone,
            _ => return None,
        })
    }
}

impl fmt::Display for PortStand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "not connected",
            Self::Waits => "its request waits",
            Self::Taken => "its request was taken",
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Gone => "its peer has gone",
        })
    }
}

/// The most vCPUs of a partition.
const VCPUS: u64 = 64;
/// How many exits of each are kept.
const EXITS: u64 = 16;

pub(crate) fn decode(number: u32, x: &[u64; 6]) -> Result<LookCall, DecodeError> {
    let [a, b, c, ..] = *x;
    let bad = DecodeError::Argument;
    check_unused(
        x,
        match number {
            0x129 => 1,
            0x12b => 3,
            _ => 2,
        },
    )?;
    let who = PartitionRef::decode(a).ok_or(bad(1))?;
    let byte = |value, bound, register| {
        u8::try_from(value).ok().filter(|_| value < bound).ok_or(bad(register))
    };
    Ok(match number {
        0x128 => LookCall::Console(who, b),
        0x129 => LookCall::Focus(who),
        0x12a => LookCall::Port(who, u16::try_from(b).map_err(|_| bad(2))?),
        _ => LookCall::Exit(who, VcpuIndex(byte(b, VCPUS, 2)?), byte(c, EXITS, 3)?),
    })
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::{LookCall, PortStand, ThingKind, decode};
    use crate::call::DecodeError;
    use crate::{CALLS, PartitionId, PartitionRef, PartitionSlot, VcpuIndex};

    const WORD: u64 = 0x3f_dead_beef;
    const MEANT: PartitionRef =
        PartitionRef { place: PartitionSlot(0x3f), id: PartitionId(0xdead_beef) };

    #[test]
    fn what_a_table_holds_and_how_it_stands_is_as_the_call_table_tells() {
        let row = CALLS.iter().find(|row| row.name == "PORT_READ").unwrap();
        let told = row.results[0].meaning;
        let kinds: Vec<_> =
            ThingKind::ALL.iter().map(|kind| format!("{} {kind}", kind.code())).collect();
        assert!(told.contains(&format!("0 nothing up to it, {};", kinds.join(", "))), "{kinds:?}");
        let stands: Vec<_> =
            PortStand::ALL.iter().map(|stand| format!("{} {stand}", stand.code())).collect();
        assert!(told.ends_with(&format!("of others {}", stands.join(", "))), "{stands:?}");
        for code in 0..=u8::MAX {
            let kind = ThingKind::ALL.into_iter().find(|kind| kind.code() == code);
            let stand = PortStand::ALL.into_iter().find(|stand| stand.code() == code);
            assert_eq!((ThingKind::from_code(code), PortStand::from_code(code)), (kind, stand));
        }
    }

    #[test]
    fn arguments_arrive_where_they_belong_and_those_out_of_range_are_named() {
        for (number, [b, c], call) in [
            (0x128, [u64::MAX, 0], Ok(LookCall::Console(MEANT, u64::MAX))),
            (0x129, [0, 0], Ok(LookCall::Focus(MEANT))),
            (0x129, [1, 0], Err(2)),
            (0x12a, [0xffff, 0], Ok(LookCall::Port(MEANT, 0xffff))),
            (0x12a, [0x1_0000, 0], Err(2)),
            (0x12b, [63, 15], Ok(LookCall::Exit(MEANT, VcpuIndex(63), 15))),
            (0x12b, [64, 0], Err(2)),
            (0x12b, [256, 0], Err(2)),
            (0x12b, [0, 16], Err(3)),
        ] {
            let decoded = decode(number, &[WORD, b, c, 0, 0, 0]);
            assert_eq!(decoded, call.map_err(DecodeError::Argument), "{number:#x} {b} {c}");
            assert_eq!(decode(number, &[1 << 40, 0, 0, 0, 0, 0]), Err(DecodeError::Argument(1)));
        }
    }
}
