//! The calls by which the policy program looks into partitions, one function per row of the call table.

use shikiri_abi::{PartitionRef, VcpuIndex};

use crate::partition::{Refusal, function, request};

/// What a partition has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The position of the first byte.
    pub first: u64,
    /// How many bytes.
    pub count: u8,
    /// The bytes, zeros behind the last.
    pub bytes: [u8; 16],
}

/// Calls `CONSOLE_READ`.
///
/// # Errors
/// `NotPermitted`, `PeerGone`; `NotFound` if it has no console either; `Empty` if there is nothing from that position on; `Again`.
pub fn console(who: PartitionRef, from: u64) -> Result<Written, Refusal> {
    let [place, first, second] = request::<CONSOLE>([who.encode(), from, 0, 0, 0, 0])?;
    let mut bytes = [0; 16];
    for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip([first, second]) {
        *to = word.to_le_bytes();
    }
    let [count, ..] = place.to_le_bytes();
    Ok(Written { first: place >> 8, count, bytes })
}

/// Calls `CONSOLE_FOCUS`.
///
/// # Errors
/// `NotPermitted`, `PeerGone`; `NotFound` if it has no console either.
pub fn focus(who: PartitionRef) -> Result<(), Refusal> {
    request::<FOCUS>([who.encode(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `PORT_READ`; the three words as they stand in the registers.
///
/// # Errors
/// `NotPermitted`, `PeerGone`, `NotFound`; `Range` behind the last one; `WrongState` if it has none now.
pub fn port(who: PartitionRef, from: u16) -> Result<[u64; 3], Refusal> {
    request::<PORT>([who.encode(), u64::from(from), 0, 0, 0, 0])
}

/// Calls `EXIT_READ`; the three words as they stand in the registers.
///
/// # Errors
/// `NotPermitted`, `PeerGone`, `NotFound`; `Range` if there is no such vCPU or exit; `WrongState` if it does not live.
pub fn exit(who: PartitionRef, vcpu: VcpuIndex, back: u8) -> Result<[u64; 3], Refusal> {
    let (vcpu, back) = (u64::from(vcpu.0), u64::from(back));
    request::<EXIT>([who.encode(), vcpu, back, 0, 0, 0])
}

/// How many rows have their wrapper here.
pub(crate) const CALLS: usize = 4;

const CONSOLE: u32 = function("CONSOLE_READ", 2);
const FOCUS: u32 = function("CONSOLE_FOCUS", 1);
const PORT: u32 = function("PORT_READ", 2);
const EXIT: u32 = function("EXIT_READ", 3);
