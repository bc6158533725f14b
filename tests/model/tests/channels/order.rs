//! The order of a send, watched: after each store to memory and each TLB instruction, on a machine whose other cores touch the area the
//! whole time at both ends (C3). What `handover` says of the protocol and `stage2_sequences` of each sequence, here of the call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Pa, PageCount};
use shikiri_arch::hw::{PhysMem, Tlb, Vttbr};
use shikiri_core::channel::{Message, send};
use shikiri_core::handle::Handle;
use shikiri_model::machine::Ram;

use crate::{CLIENT, Estates, FREE, OK, SEND, SERVER, SIZES, alloc, call, message, ok, pair, post};

/// A partition whose cores touch the address where it has, or will have, the area.
struct Guest {
    vttbr: Vttbr,
    at: Ipa,
    /// Some core may have the translation.
    has_cached: Cell<bool>,
}

/// The machine that a send works on.
struct Watched<'m> {
    ram: &'m Ram,
    guests: [Guest; 2],
    current: Cell<Vttbr>,
    /// The VMID whose combined entries are being invalidated.
    invalidating: Cell<Option<u8>>,
    /// Who can reach the area, at any moment.
    seen: RefCell<BTreeSet<[bool; 2]>>,
}

impl Watched<'_> {
    /// What the tables say of an address, from the first level of a 40-bit space on.
    fn is_mapped(&self, guest: &Guest) -> bool {
        let mut table = guest.vttbr.root().0;
        for (level, shift) in [(1, 30), (2, 21), (3, 12)] {
            let index = (guest.at.0 >> shift) & if level == 1 { 0x3ff } else { 0x1ff };
            let raw = self.ram.read_u64(Pa(table + index * 8));
            match (level, raw & 3) {
                (1 | 2, 3) => table = raw & 0x0000_ffff_ffff_f000,
                (1 | 2, 1) | (3, 3) => return true,
                _ => return false,
            }
        }
        false
    }

    /// Every core walks; then not both may reach the area.
    fn look(&self) {
        for guest in &self.guests {
            guest.has_cached.set(guest.has_cached.get() || self.is_mapped(guest));
        }
        let reach = self.guests.each_ref().map(|guest| guest.has_cached.get());
        assert_ne!(reach, [true; 2], "sender and receiver reach the area at the same moment");
        self.seen.borrow_mut().insert(reach);
    }

    fn invalidate(&self) {
        self.invalidating.set(Some(self.current.get().vmid().0));
        self.look();
    }
}

impl PhysMem for Watched<'_> {
    fn read_u64(&self, at: Pa) -> u64 {
        self.ram.read_u64(at)
    }

    fn write_u64(&self, at: Pa, value: u64) {
        self.ram.write_u64(at, value);
        self.look();
    }

    fn zero(&self, at: Pa, pages: PageCount) {
        self.ram.zero(at, pages);
    }

    fn clean_invalidate(&self, at: Pa, bytes: u64) {
        self.ram.clean_invalidate(at, bytes);
    }
}

impl Tlb for Watched<'_> {
    fn dsb_ishst(&self) {
        self.look();
    }

    fn dsb_ish(&self) {
        if let Some(vmid) = self.invalidating.take() {
            let lost = self.guests.iter().filter(|guest| guest.vttbr.vmid().0 == vmid);
            lost.for_each(|guest| guest.has_cached.set(false));
        }
        self.look();
    }

    fn isb(&self) {}

    /// Combined entries stay.
    fn tlbi_ipas2e1is(&self, _ipa: Ipa) {
        self.look();
    }

    fn tlbi_vmalle1is(&self) {
        self.invalidate();
    }

    fn tlbi_vmalls12e1is(&self) {
        self.invalidate();
    }

    fn vttbr(&self) -> Vttbr {
        self.current.get()
    }

    fn load_vttbr(&self, vttbr: Vttbr) {
        self.current.set(vttbr);
    }

    fn needs_repeat(&self) -> bool {
        false
    }
}

#[test]
fn at_no_moment_of_a_send_do_both_reach_the_area_c3() {
    for (class, pages) in [
        (AreaClass::Page, 1),
        (AreaClass::Block, 2),
        (AreaClass::Block, 512),
        (AreaClass::Giant, 2),
    ] {
        let mut estates = Estates::new(2, 64, SIZES);
        let (client, server) = pair(&mut estates, 1, class);
        post(&estates, SERVER, server, 2, 0);
        // Where it will be: the slot of the window is taken by the first message, and vacant again.
        let (scout, _) = alloc(&mut estates, CLIENT, PAGE_BYTES, class);
        let sent = call(&mut estates, CLIENT, SEND, &[client.handle, scout, 1]);
        assert_eq!(sent.0[0], OK);
        let [there, at, ..] = message(&estates, SERVER, server, 0).unwrap();
        ok(&mut estates, SERVER, FREE, &[there]);
        post(&estates, SERVER, server, 2, 1);

        let bytes = pages * PAGE_BYTES;
        let (area, here) = alloc(&mut estates, CLIENT, bytes, class);
        let vttbr = |estates: &mut Estates, who| {
            estates.side(who).holdings.stage2().expect("it is built").vttbr()
        };
        let guests = [(CLIENT, here), (SERVER, Ipa(at))].map(|(who, at)| Guest {
            vttbr: vttbr(&mut estates, who),
            at,
            has_cached: Cell::new(false),
        });
        // The sender's own tables are current: it has made the call.
        let current = Cell::new(guests[CLIENT].vttbr);
        let ram = estates.machine.ram.clone();
        let (invalidating, seen) = Default::default();
        let watched = Watched { ram: &ram, guests, current, invalidating, seen };
        watched.look();
        let message = Message { area: Some(Handle(area)), bytes, short: [0; 3] };
        estates
            .meet(CLIENT, Some(SERVER), |own, peer, (_, _, store)| {
                let machine = (&watched, &watched);
                send(own, peer, machine, store.areas(), (Handle(client.handle), message))
            })
            .expect("there is room");
        let moments = BTreeSet::from([[true, false], [false, false], [false, true]]);
        assert_eq!(
            *watched.seen.borrow(),
            moments,
            "{class:?}: the sender's, nobody's, the receiver's"
        );
        estates.audit();
        (0..2).for_each(|who| estates.end(who));
    }
}
