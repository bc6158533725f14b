//! The real thing, as EL2 holds it.

use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicU64;

use shikiri_abi::{PartitionId, PartitionSlot, Resource};
use shikiri_core::event::Shared;
use shikiri_core::handle::HandleEntry;
use shikiri_core::partition::Holdings;
use shikiri_core::party::{Cold, Party, PartyState, Record};

use crate::{HANDLES, SHARES};

pub(crate) struct Side {
    pub(crate) id: u32,
    pub(crate) slot: PartitionSlot,
    pub(crate) entries: Vec<HandleEntry>,
    pub(crate) pending: Vec<AtomicU64>,
    // A failed test leaves charges behind, which must not panic again.
    pub(crate) state: ManuallyDrop<Box<PartyState>>,
    pub(crate) cold: Vec<Cold>,
    pub(crate) records: [Record; 1],
    pub(crate) holdings: ManuallyDrop<Holdings>,
}

impl Side {
    pub(crate) fn new(slot: usize, id: u32) -> Self {
        let slot = PartitionSlot(u8::try_from(slot).unwrap());
        let mut holdings = Holdings::new(PartitionId(id), slot);
        holdings.account_mut().set_limit(Resource::ManagementMemory, Some(SHARES));
        let state = PartyState::new(PartitionId(id), slot, 1, [!0; 32]);
        Self {
            id,
            slot,
            entries: (0..HANDLES).map(|_| HandleEntry::new()).collect(),
            pending: vec![AtomicU64::new(0)],
            state: ManuallyDrop::new(Box::new(state)),
            cold: vec![Cold::default(); HANDLES],
            records: [Record::new()],
            holdings: ManuallyDrop::new(holdings),
        }
    }

    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared::new(&self.entries, &self.pending)
    }

    pub(crate) fn open(&mut self) -> (Party<'_>, &mut Holdings) {
        let Self { entries, pending, state, cold, records, holdings, .. } = self;
        (Party::open(state, Shared::new(entries, pending), cold, records), holdings)
    }
}
