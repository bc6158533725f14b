//! The page that shows a partition which of its ports are pending: what is in it, that it is only read, and that it goes (C1).

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PartitionId, PartitionSlot, Resource, Sharing, VcpuIndex};
use shikiri_arch::hw::PhysMem as _;
use shikiri_config::{GicVersion, Memory, PartitionSpec, Place};
use shikiri_core::area::{AreaSizes, Estate, LeaveStep};
use shikiri_core::event::Visitor;
use shikiri_core::frame::FrameState;
use shikiri_core::handle::Handle;
use shikiri_core::object::Objects;
use shikiri_core::partition::Holdings;
use shikiri_core::party::{EndStep, Locked, PartyState, Refusal, Sizes, Tables};
use shikiri_model::description;
use shikiri_model::machine::Machine;
use shikiri_stage2::{Access, WindowSizes};

const SLOT: PartitionSlot = PartitionSlot(0);
const HANDLES: u16 = 4096;
const GROUP: u16 = 100;

/// A partition with its party, in pages of the machine.
struct Guest {
    machine: Machine,
    holdings: Holdings,
    tables: Tables,
    locked: Locked,
}

impl Guest {
    /// With so many places for areas of 4 KiB. What is given out lies in memory that was used before.
    fn new(places: u16) -> Self {
        let mut spec = PartitionSpec::new("any", GicVersion::V3);
        spec.entry = Ipa(0x4000_0000);
        spec.vcpus = vec![description::vcpu()];
        spec.memory = vec![Memory { ipa: Ipa(0x4000_0000), bytes: 1 << 20, place: Place::Any }];
        let bundle = description::bundle(&description::system(GicVersion::V3, 1, vec![spec]));
        let machine = Machine::new(8, &bundle, &[]);
        let (mut holdings, built) = machine.build(&bundle, SLOT.0, None);
        built.unwrap();
        let free = machine.hoard(0);
        free.iter().for_each(|frames| {
            machine.ram.scribble(frames.base(), frames.pages().0 * PAGE_BYTES, 0xa5);
        });
        machine.give(free);
        let windows = WindowSizes { pages: places, blocks: 0, giants: 0 };
        let hardware = (&machine.ram, &machine.ram, &machine.store);
        AreaSizes { windows, ports: 0, shares: 0 }.build(&mut holdings, hardware).unwrap();
        let state = PartyState::new(PartitionId(1), SLOT, 1, [!0; 32]);
        let sizes = Sizes { handles: HANDLES, requests: 0 };
        let (tables, locked) = sizes.build(&mut holdings, &machine.store, state).unwrap();
        Self { machine, holdings, tables, locked }
    }

    fn of<R>(&mut self, run: impl FnOnce(&mut Estate<'_>, &Machine) -> R) -> R {
        let party = self.tables.party(&mut self.locked);
        run(&mut Estate { party, holdings: &mut self.holdings }, &self.machine)
    }

    fn show(&mut self) -> Result<Ipa, Refusal> {
        self.of(|estate, machine| estate.show_bitmap((&machine.ram, &machine.ram, &machine.store)))
    }

    /// A word of a page as the guest reads it; `None` if that faults.
    fn read(&self, page: Ipa, word: u64) -> Option<u64> {
        Some(self.machine.ram.read_u64(self.frame(page.wrapping_add(word * 8))?))
    }

    /// A send port and the receive port of the group that it is connected to.
    fn pair(&mut self) -> (Handle, Handle) {
        self.of(|Estate { party, holdings }, _| {
            let send = party.create_send(holdings.account_mut()).unwrap();
            let receive = party.create_receive(holdings.account_mut()).unwrap();
            party.connect(send, receive).unwrap();
            let intid = shikiri_abi::IntId(GROUP);
            party.bind(receive, intid, VcpuIndex(0), Sharing::Grouped).unwrap();
            (send, receive)
        })
    }

    fn send(&self, port: Handle) {
        let visitor = Visitor::new();
        let sent = self.tables.shared().send(port, &visitor, |_| Some(self.tables.shared()));
        assert!(sent.unwrap().arrival.raise.is_some());
    }

    fn ipa_space(&self) -> u64 {
        self.holdings.account().line(Resource::IpaSpace).used
    }

    fn audit(&self) {
        self.machine.audit([&self.holdings]).unwrap();
    }

    /// The frame behind an address.
    fn frame(&self, ipa: Ipa) -> Option<Pa> {
        let leaf = self.holdings.stage2().unwrap().leaf_at(&self.machine.ram, ipa)?;
        Some(leaf.translate(ipa))
    }

    /// The partition's end; what went back behind its handles.
    fn end(mut self) -> Vec<LeaveStep> {
        let mut steps = Vec::new();
        loop {
            let (next, step) = self.of(|estate, machine| {
                let next = estate.next_leave_step();
                let hardware = (&machine.ram, &machine.ram, &machine.store);
                (next, estate.leave(None, hardware, &Objects::new(&[])).step)
            });
            if step == EndStep::Done {
                break;
            }
            assert!(!self.machine.ram.has_stale(), "{next:?}: a TLB may still have it");
            self.audit();
            steps.push(next);
        }
        let told = [LeaveStep::LeaveObject, LeaveStep::CloseHandles];
        steps.retain(|step| !told.contains(step));
        let Self { machine, mut holdings, tables, locked } = self;
        tables.give(locked, &mut holdings, &machine.store);
        machine.audit([&holdings]).unwrap();
        machine.end(holdings);
        steps
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "thousands of ports: minutes under Miri, and the other tests map the page"
)]
fn pending_ports_of_a_group_are_seen_until_they_are_taken_c1() {
    let mut guest = Guest::new(2);
    let pairs: Vec<_> = (0..usize::from(HANDLES) / 2).map(|_| guest.pair()).collect();
    guest.send(pairs[0].0);
    let page = guest.show().unwrap();
    guest.send(pairs[700].0);
    guest.send(pairs[2047].0);
    let bit = |(_, receive): (Handle, Handle)| ((receive.0 & 0xffff) / 64, receive.0 & 63);
    let pending = [0, 700, 2047].map(|number: usize| bit(pairs[number]));
    // Nothing else is in the page, up to its end.
    for word in 0..PAGE_BYTES / 8 {
        let bits = pending.iter().filter(|(at, _)| *at == word);
        let expected = bits.fold(0, |bits, (_, bit)| bits | 1 << bit);
        assert_eq!(guest.read(page, word), Some(expected), "word {word}");
    }
    for (word, bit) in pending {
        assert_eq!(guest.tables.shared().take(u16::try_from(word).unwrap()), 1 << bit);
        assert_eq!(guest.read(page, word), Some(0));
    }
    // What was polled is seen no more, either.
    guest.send(pairs[9].0);
    assert!(guest.tables.shared().poll(pairs[9].1, |_, _| Some(false)).unwrap());
    assert_eq!(guest.read(page, bit(pairs[9]).0), Some(0));
    guest.end();
}

#[test]
fn the_page_is_the_guests_to_read_and_takes_a_place() {
    let mut guest = Guest::new(2);
    let before = guest.ipa_space();
    let page = guest.show().unwrap();
    assert_eq!(guest.ipa_space(), before + 1);
    assert_eq!(guest.show(), Ok(page), "it is shown already");
    assert_eq!(guest.ipa_space(), before + 1);
    let leaf = guest.holdings.stage2().unwrap().leaf_at(&guest.machine.ram, page).unwrap();
    assert_eq!((leaf.attributes.access, leaf.bytes()), (Access::ReadOnly, PAGE_BYTES));
    assert_eq!(guest.read(page.wrapping_add(PAGE_BYTES), 0), None);
    guest.audit();
    assert_eq!(guest.end(), [LeaveStep::HideBitmap]);
}

#[test]
fn what_there_is_no_room_for_is_not_shown() {
    let mut guest = Guest::new(1);
    let before = guest.ipa_space();
    guest.holdings.account_mut().set_limit(Resource::IpaSpace, Some(before));
    assert_eq!(guest.show(), Err(Refusal::OverLimit(Resource::IpaSpace)));
    assert_eq!(guest.ipa_space(), before);
    guest.audit();
    guest.holdings.account_mut().set_limit(Resource::IpaSpace, None);
    guest.show().unwrap();
    guest.audit();
    guest.end();
    let mut guest = Guest::new(0);
    assert_eq!(guest.show(), Err(Refusal::OverLimit(Resource::IpaSpace)));
    assert_eq!(guest.end(), []);
}

/// What the frame held before is nobody's to see, by loads that go around the caches either (P1).
#[test]
fn the_frame_is_clear_in_memory_before_a_guest_has_it() {
    let mut guest = Guest::new(1);
    let page = guest.show().unwrap();
    let frame = guest.frame(page).unwrap();
    assert!(
        guest.machine.ram.was_cleaned(frame),
        "who looks around the caches finds the last owner's"
    );
    assert!((0..PAGE_BYTES / 8).all(|word| guest.read(page, word) == Some(0)));
    guest.end();
}

/// Until no core can reach the frame it is the party's, and then its account is as it was before.
#[test]
fn the_frame_goes_back_once_nobody_reaches_it() {
    let mut guest = Guest::new(1);
    let before = guest.ipa_space();
    let page = guest.show().unwrap();
    let frame = guest.frame(page).unwrap();
    let leave = |estate: &mut Estate<'_>, machine: &Machine| {
        let hardware = (&machine.ram, &machine.ram, &machine.store);
        let next = estate.next_leave_step();
        (next, estate.leave(None, hardware, &Objects::new(&[])).step)
    };
    loop {
        let (step, how) = guest.of(leave);
        assert_eq!(how, EndStep::Again);
        if step == LeaveStep::HideBitmap {
            break;
        }
        assert_eq!(guest.frame(page), Some(frame), "{step:?}");
    }
    assert!(!guest.machine.ram.has_stale(), "a TLB may still have it");
    assert_eq!((guest.frame(page), guest.ipa_space()), (None, before));
    assert_eq!(guest.machine.state(frame), FrameState::Management(SLOT));
    assert_eq!(guest.end(), []);
}
