//! The calls of the policy program, decoded (P7).

use crate::call::{DecodeError, check_unused};
use crate::{PartitionId, PartitionSlot, Resource};

/// A partition as the policy calls name it: its place, and which of the incarnations there is meant. One that was never
/// started has id 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    /// Its place.
    pub place: PartitionSlot,
    /// Its id.
    pub id: PartitionId,
}

impl PartitionRef {
    /// The word of the calls: bits 0 to 31 the id, bits 32 to 39 the place.
    #[must_use]
    pub fn encode(self) -> u64 {
        u64::from(self.id.0) | u64::from(self.place.0) << 32
    }

    /// The partition of a word; `None` if bits above are set.
    #[must_use]
    pub fn decode(word: u64) -> Option<Self> {
        let [a, b, c, d, place, high @ ..] = word.to_le_bytes();
        let id = PartitionId(u32::from_le_bytes([a, b, c, d]));
        (high == [0; 3]).then_some(Self { place: PartitionSlot(place), id })
    }
}

/// Whether a partition that is built waits for another start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It goes on.
    No,
    /// It waits, and can be loaded meanwhile.
    WhenBuilt,
}

/// The half of a name that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePart {
    /// Bytes 0 to 23.
    First,
    /// Bytes 24 to 31.
    Rest,
}

/// A decoded call of the policy program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyCall {
    /// `PARTITION_LIST`: the place.
    List(u8),
    /// `PARTITION_NAME`
    Name(PartitionRef, NamePart),
    /// `LIMIT_READ`
    LimitRead(PartitionRef, Resource),
    /// `LIMIT_SET`: `None` is unset.
    LimitSet(PartitionRef, Resource, Option<u64>),
    /// `PARTITION_START`
    Start(PartitionRef, Hold),
    /// `PARTITION_STOP`
    Stop(PartitionRef),
    /// `PARTITION_RESTART`
    Restart(PartitionRef),
    /// `PARTITION_PAUSE`
    Pause(PartitionRef),
    /// `PARTITION_RESUME`
    Resume(PartitionRef),
    /// `POLICY_NOTIFY`: the receive port.
    Notify(u64),
    /// `NOTICE_TAKE`
    TakeNotice,
}

/// The most places.
const PLACES: u64 = 64;

impl PolicyCall {
    /// Decodes a call from 0x100 on.
    ///
    /// # Errors
    /// `NotSupported` for an unknown number; `Argument(n)` for the first bad register.
    pub fn decode(number: u32, x: [u64; 6]) -> Result<Self, DecodeError> {
        decode(number, &x)
    }
}

fn decode(number: u32, x: &[u64; 6]) -> Result<PolicyCall, DecodeError> {
    use PolicyCall as C;
    let [a, b, c, ..] = *x;
    let used = match number {
        0x10a => 0,
        0x100 | 0x105..=0x109 => 1,
        0x101 | 0x102 | 0x104 => 2,
        0x103 => 3,
        _ => return Err(DecodeError::NotSupported),
    };
    check_unused(x, used)?;
    let bad = DecodeError::Argument;
    let partition = || PartitionRef::decode(a).ok_or(bad(1));
    let resource = || Resource::try_from(b).map_err(|()| bad(2));
    Ok(match number {
        0x100 => C::List(u8::try_from(a).ok().filter(|_| a < PLACES).ok_or(bad(1))?),
        0x101 => match b {
            0 => C::Name(partition()?, NamePart::First),
            1 => C::Name(partition()?, NamePart::Rest),
            _ => return Err(bad(2)),
        },
        0x102 => C::LimitRead(partition()?, resource()?),
        0x103 => C::LimitSet(partition()?, resource()?, (c != u64::MAX).then_some(c)),
        0x104 => match b {
            0 => C::Start(partition()?, Hold::No),
            1 => C::Start(partition()?, Hold::WhenBuilt),
            _ => return Err(bad(2)),
        },
        0x105 => C::Stop(partition()?),
        0x106 => C::Restart(partition()?),
        0x107 => C::Pause(partition()?),
        0x108 => C::Resume(partition()?),
        0x109 => C::Notify(a),
        _ => C::TakeNotice,
    })
}

#[cfg(test)]
mod tests {
    use super::{Hold, NamePart, PartitionRef, PolicyCall, decode};
    use crate::call::DecodeError;
    use crate::{PartitionId, PartitionSlot, Resource};

    const WORD: u64 = 0x3f_dead_beef;
    const MEANT: PartitionRef =
        PartitionRef { place: PartitionSlot(0x3f), id: PartitionId(0xdead_beef) };

    #[test]
    fn a_partition_comes_back_from_its_word_and_from_no_other() {
        assert_eq!(PartitionRef::decode(WORD), Some(MEANT));
        assert_eq!(MEANT.encode(), WORD);
        for word in [1 << 40, u64::MAX, WORD | 1 << 63] {
            assert_eq!(PartitionRef::decode(word), None, "{word:#x}");
        }
    }

    #[test]
    fn arguments_arrive_where_they_belong() {
        let cases = [
            (0x100, [63, 0, 0], PolicyCall::List(63)),
            (0x101, [WORD, 1, 0], PolicyCall::Name(MEANT, NamePart::Rest)),
            (0x102, [WORD, 7, 0], PolicyCall::LimitRead(MEANT, Resource::BusShare)),
            (0x103, [WORD, 2, 9], PolicyCall::LimitSet(MEANT, Resource::Memory, Some(9))),
            (0x103, [WORD, 2, u64::MAX], PolicyCall::LimitSet(MEANT, Resource::Memory, None)),
            (0x104, [WORD, 1, 0], PolicyCall::Start(MEANT, Hold::WhenBuilt)),
            (0x105, [WORD, 0, 0], PolicyCall::Stop(MEANT)),
            (0x106, [WORD, 0, 0], PolicyCall::Restart(MEANT)),
            (0x107, [WORD, 0, 0], PolicyCall::Pause(MEANT)),
            (0x108, [WORD, 0, 0], PolicyCall::Resume(MEANT)),
            (0x109, [u64::MAX, 0, 0], PolicyCall::Notify(u64::MAX)),
        ];
        for (number, [a, b, c], call) in cases {
            assert_eq!(decode(number, &[a, b, c, 0, 0, 0]), Ok(call));
        }
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        for (number, x, register) in [
            (0x100, [64, 0, 0, 0, 0, 0], 1),
            (0x100, [u64::MAX, 0, 0, 0, 0, 0], 1),
            (0x101, [WORD, 2, 0, 0, 0, 0], 2),
            (0x101, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x102, [WORD, 8, 0, 0, 0, 0], 2),
            (0x103, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x104, [WORD, 2, 0, 0, 0, 0], 2),
            (0x105, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x109, [0, 1, 0, 0, 0, 0], 2),
        ] {
            assert_eq!(decode(number, &x), Err(DecodeError::Argument(register)), "{number:#x}");
        }
    }
}
