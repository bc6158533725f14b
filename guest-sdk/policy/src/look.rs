//! Looking into partitions: what they have written, what they have, and what they did last. None of it delays them.

use shikiri_abi::{Status, VcpuIndex};
use shikiri_hvc::look as calls;
use shikiri_hvc::partition::Refusal;

use crate::Partition;

/// Something in a partition's handle table, as `PORT_READ` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Its entry.
    pub entry: u16,
    /// What it is: 1 an event send port … 10 a request for a shared area.
    pub kind: u8,
    /// How it stands.
    pub state: u8,
    /// The other end's place and entry, if there is one.
    pub peer: Option<(u8, u16)>,
    /// What else is known of it.
    pub detail: u64,
}

/// Why a vCPU came back to the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Where the guest was.
    pub pc: u64,
    /// The syndrome, `ESR_EL2`; 2^32 - 1 for an interrupt.
    pub syndrome: u32,
    /// How long ago, in microseconds.
    pub ago_us: u32,
    /// Of an abort the IPA; of a call `x0`; else 0.
    pub address: u64,
}

impl Partition {
    /// What it has written to its console from a position on, into `bytes`: the position of the first byte and how many are there
    /// now; what has been forgotten is left out.
    ///
    /// # Errors
    /// `NotPermitted`, `PeerGone`; `NotFound` if it has no console either; `Again` if it writes faster than this reads.
    pub fn written(self, from: u64, bytes: &mut [u8]) -> Result<(u64, usize), Refusal> {
        let (mut first, mut count) = (from, 0);
        while let Some(room) = bytes.get_mut(count..).filter(|room| !room.is_empty()) {
            let at = first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            let part = match calls::console(self.0, at) {
                Ok(part) => part,
                Err(refusal) if refusal.status() == Some(Status::Empty) => break,
                Err(refusal) => return Err(refusal),
            };
            if part.first != at {
                if count != 0 {
                    // A gap: what is behind it is another call's.
                    break;
                }
                first = part.first;
            }
            let many = room.len().min(part.count.into());
            for (to, byte) in room.iter_mut().zip(part.bytes).take(many) {
                *to = byte;
            }
            count = count.saturating_add(many);
        }
        Ok((first, count))
    }

    /// Gives it the keyboard.
    ///
    /// # Errors
    /// `NotPermitted`, `PeerGone`; `NotFound` if it has no console.
    pub fn focus(self) -> Result<(), Refusal> {
        calls::focus(self.0)
    }

    /// The first thing in its handle table from an entry on; `None` if there is none.
    ///
    /// # Errors
    /// `NotPermitted`, `PeerGone`, `NotFound`; `WrongState` if it has no table now.
    pub fn thing(self, from: u16) -> Result<Option<Thing>, Refusal> {
        let mut from = from;
        loop {
            let [what, peer, detail] = match calls::port(self.0, from) {
                Ok(words) => words,
                Err(refusal) if refusal.status() == Some(Status::Range) => return Ok(None),
                Err(refusal) => return Err(refusal),
            };
            let [e0, e1, kind, state, ..] = what.to_le_bytes();
            let [place, p0, p1, ..] = peer.to_le_bytes();
            let entry = u16::from_le_bytes([e0, e1]);
            if kind != 0 {
                let peer = (peer != u64::MAX).then_some((place, u16::from_le_bytes([p0, p1])));
                return Ok(Some(Thing { entry, kind, state, peer, detail }));
            }
            let Some(next) = entry.checked_add(1) else { return Ok(None) };
            from = next;
        }
    }

    /// One of the last 16 exits of a vCPU, 0 being the last; `None` if it has not had so many.
    ///
    /// # Errors
    /// `NotPermitted`, `PeerGone`, `NotFound`, `InvalidParameter`; `WrongState` if it does not live.
    pub fn exit(self, vcpu: VcpuIndex, back: u8) -> Result<Option<Exit>, Refusal> {
        let [pc, why, address] = match calls::exit(self.0, vcpu, back) {
            Ok(words) => words,
            Err(refusal) if refusal.status() == Some(Status::Range) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let [a, b, c, d, e, f, g, h] = why.to_le_bytes();
        let (syndrome, ago_us) =
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Ok(Some(Exit { pc, syndrome, ago_us, address }))
    }
}
