//! The calls by which the policy program looks into partitions, decoded: what they write, what they have, what they did last (P7).

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
    use super::{LookCall, decode};
    use crate::call::DecodeError;
    use crate::{PartitionId, PartitionRef, PartitionSlot, VcpuIndex};

    const WORD: u64 = 0x3f_dead_beef;
    const MEANT: PartitionRef =
        PartitionRef { place: PartitionSlot(0x3f), id: PartitionId(0xdead_beef) };

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
