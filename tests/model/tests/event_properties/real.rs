//! The real thing, as EL2 holds it.

use std::sync::atomic::AtomicU64;

use shikiri_abi::{PartitionId, PartitionSlot, Resource};
use shikiri_core::account::Account;
use shikiri_core::event::Shared;
use shikiri_core::handle::HandleEntry;
use shikiri_core::party::{Cold, Party, PartyState, Record};

use crate::{HANDLES, PORTS, RECORDS, USABLE};

pub(crate) struct Side {
    pub(crate) id: u32,
    pub(crate) slot: PartitionSlot,
    pub(crate) entries: Vec<HandleEntry>,
    pub(crate) pending: Vec<AtomicU64>,
    pub(crate) state: PartyState,
    pub(crate) cold: Vec<Cold>,
    pub(crate) records: Vec<Record>,
    pub(crate) account: Account,
}

impl Side {
    pub(crate) fn new(slot: usize, id: u32) -> Self {
        let slot = PartitionSlot(u8::try_from(slot).unwrap());
        let mut usable = [0; 32];
        for intid in USABLE {
            usable[usize::from(intid >> 5)] |= 1 << (intid & 31);
        }
        usable[0] = !0;
        let mut account = Account::new(PartitionId(id));
        account.set_limit(Resource::EventPorts, Some(PORTS));
        Self {
            id,
            slot,
            entries: (0..HANDLES).map(|_| HandleEntry::new()).collect(),
            pending: vec![AtomicU64::new(0)],
            state: PartyState::new(PartitionId(id), slot, 2, usable),
            cold: vec![Cold::default(); HANDLES],
            records: vec![Record::new(); RECORDS],
            account,
        }
    }

    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared::new(&self.entries, &self.pending)
    }

    pub(crate) fn open(&mut self) -> (Party<'_>, &mut Account) {
        let Self { entries, pending, state, cold, records, account, .. } = self;
        (Party::open(state, Shared::new(entries, pending), cold, records), account)
    }
}

/// Runs an operation of `who` with the party of `other`, if that is another.
pub(crate) fn meet<R>(
    sides: &mut [Side],
    who: usize,
    other: Option<PartitionSlot>,
    run: impl for<'a> FnOnce(&mut Party<'a>, Option<&mut Party<'a>>, &mut Account) -> R,
) -> R {
    let other = other.map(|slot| usize::from(slot.0)).filter(|other| *other != who);
    match other {
        None => {
            let (mut party, account) = sides[who].open();
            run(&mut party, None, account)
        }
        Some(other) => {
            let [own, peer] = sides.get_disjoint_mut([who, other]).unwrap();
            let ((mut party, account), (mut peer, _)) = (own.open(), peer.open());
            run(&mut party, Some(&mut peer), account)
        }
    }
}
