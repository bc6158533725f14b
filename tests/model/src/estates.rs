//! Partitions with message areas and ports on a [`Machine`]: [`Estates`].
//!
//! Each is built from a description, has its party and its areas, and can be looked at as its guest sees it: every access
//! goes through its stage-2 tables.

use shikiri_abi::{Ipa, PartitionId, PartitionSlot, Resource};
use shikiri_arch::hw::PhysMem as _;
use shikiri_config::{Bundle, GicVersion, Memory, PartitionSpec, Place, Service};
use shikiri_core::account::Line;
use shikiri_core::area::{AreaSizes, Estate, LeaveStep};
use shikiri_core::event::{Raise, Shared};
use shikiri_core::frame::FrameState;
use shikiri_core::invariants;
use shikiri_core::object::{self, Objects, Wake};
use shikiri_core::partition::Holdings;
use shikiri_core::party::{EndStep, Locked, Party, PartyState, Sizes, Tables, check};
use shikiri_stage2::{Access, Leaf};

use crate::description;
use crate::machine::{Machine, OWN_REGISTERS, Ram};

/// Handles of each partition.
pub const HANDLES: usize = 48;
/// Requests of each partition that can wait.
const REQUESTS: u16 = 4;
/// Of so many audits that a test asks for one is made. An audit reads thousands of descriptors of each partition: seconds
/// under Miri, for which the numbers in the books are not what counts.
const AUDITED: u64 = if cfg!(miri) { 64 } else { 1 };

/// A partition.
pub struct Side {
    tables: Tables,
    locked: Locked,
    /// Its account and its memory.
    pub holdings: Holdings,
}

impl Side {
    /// Opens it for an operation.
    pub fn open(&mut self) -> Estate<'_> {
        let Self { tables, locked, holdings } = self;
        Estate { party: tables.party(locked), holdings }
    }

    /// The pages or ports on a line of its account.
    #[must_use]
    pub fn used(&self, resource: Resource) -> u64 {
        let Line { used, .. } = self.holdings.account().line(resource);
        used
    }
}

/// How many partitions there are, and what each has room for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Partitions.
    pub partitions: usize,
    /// Entries of each table of handles.
    pub handles: u16,
    /// Requests of each partition that can wait.
    pub requests: u16,
    /// INTIDs that no event port may have.
    pub devices: &'static [u16],
}

/// The partitions of a machine; each has the slot of its index.
pub struct Estates {
    /// Before the machine, because they are dropped in this order, and what is in them lies in its memory.
    sides: Vec<Option<Side>>,
    /// The machine.
    pub machine: Machine,
    /// The services of the description; everybody may ask everybody.
    pub services: Vec<Service<'static>>,
    /// How many calls guests have made.
    pub calls: u64,
    bundle: Bundle<'static>,
    sizes: AreaSizes,
    shape: Shape,
    /// How many lives there were: no id is given twice.
    lives: u32,
    /// Audits that were asked for.
    audits: u64,
}

/// What an operation works with.
pub type Hardware<'m> = (&'m Ram, &'m Ram, &'m shikiri_core::partition::FrameStore<'static, Ram>);

fn bundle(count: usize) -> Bundle<'static> {
    let partitions = (0..count).map(|number| {
        let mut spec = PartitionSpec::new(&format!("p{number}"), GicVersion::V3);
        spec.entry = Ipa(0x4000_0000);
        spec.vcpus = vec![description::vcpu()];
        spec.memory = vec![Memory { ipa: Ipa(0x4000_0000), bytes: 16 << 10, place: Place::Any }];
        spec
    });
    let system = description::system(GicVersion::V3, 1, partitions.collect());
    description::bundle(&system)
}

impl Drop for Estates {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A charge that nobody refunds must not panic again.
            std::mem::forget(std::mem::take(&mut self.sides));
        }
    }
}

impl Estates {
    /// `count` partitions on a machine of `mib` MiB.
    #[must_use]
    pub fn new(count: usize, mib: usize, sizes: AreaSizes) -> Self {
        let mut estates = Self::shaped(
            mib,
            sizes,
            Shape { partitions: count, handles: HANDLES as u16, requests: REQUESTS, devices: &[] },
        );
        (0..count).for_each(|number| estates.start(number));
        estates
    }

    /// A machine of `mib` MiB, none of whose partitions lives.
    #[must_use]
    pub fn shaped(mib: usize, sizes: AreaSizes, shape: Shape) -> Self {
        let bundle = bundle(shape.partitions);
        let machine = Machine::new(mib, &bundle, &[]);
        let (sides, services) = (Vec::new(), Vec::new());
        let mut estates =
            Self { sides, machine, services, calls: 0, bundle, sizes, shape, lives: 0, audits: 0 };
        estates.sides.resize_with(shape.partitions, || None);
        estates
    }

    /// Starts a partition that has ended.
    pub fn start(&mut self, who: usize) {
        self.start_with(who, Some(self.sizes));
    }

    /// Starts a partition that has ended, whose description has no areas.
    pub fn start_without_areas(&mut self, who: usize) {
        self.start_with(who, None);
    }

    fn start_with(&mut self, who: usize, sizes: Option<AreaSizes>) {
        assert!(self.sides[who].is_none());
        let slot = u8::try_from(who).unwrap();
        let (mut holdings, built) = self.machine.build(&self.bundle, slot, None);
        built.unwrap();
        let hardware = (&self.machine.ram, &self.machine.ram, &self.machine.store);
        if let Some(sizes) = sizes {
            sizes.build(&mut holdings, hardware).unwrap();
        }
        self.lives += 1;
        let id = PartitionId(self.lives);
        let Shape { handles, requests, devices, .. } = self.shape;
        let mut usable = [!0; 32];
        for intid in devices {
            usable[usize::from(intid >> 5)] &= !(1 << (intid & 31));
        }
        let party = Sizes { handles, requests };
        let state = PartyState::new(id, PartitionSlot(slot), 2, usable);
        let (tables, locked) = party.build(&mut holdings, &self.machine.store, state).unwrap();
        self.sides[who] = Some(Side { tables, locked, holdings });
    }

    /// The hardware and the frames.
    #[must_use]
    pub fn hardware(&self) -> Hardware<'_> {
        (&self.machine.ram, &self.machine.ram, &self.machine.store)
    }

    /// Whether a partition lives.
    #[must_use]
    pub fn lives(&self, who: usize) -> bool {
        self.sides.get(who).is_some_and(Option::is_some)
    }

    /// A partition that lives.
    pub fn side(&mut self, who: usize) -> &mut Side {
        self.sides[who].as_mut().unwrap()
    }

    /// Runs an operation of one partition.
    pub fn of<R>(
        &mut self,
        who: usize,
        run: impl for<'a> FnOnce(&mut Estate<'a>, Hardware<'_>) -> R,
    ) -> R {
        let hardware = (&self.machine.ram, &self.machine.ram, &self.machine.store);
        run(&mut self.sides[who].as_mut().unwrap().open(), hardware)
    }

    /// Runs an operation of one partition with another, or without if that is the same or has ended.
    pub fn meet<R>(
        &mut self,
        who: usize,
        other: Option<usize>,
        run: impl for<'a> FnOnce(&mut Estate<'a>, Option<&mut Estate<'a>>, Hardware<'_>) -> R,
    ) -> R {
        let hardware = (&self.machine.ram, &self.machine.ram, &self.machine.store);
        match other.filter(|other| *other != who && self.lives(*other)) {
            None => run(&mut self.sides[who].as_mut().unwrap().open(), None, hardware),
            Some(other) => {
                let [own, peer] = self.sides.get_disjoint_mut([who, other]).unwrap();
                let (mut own, mut peer) =
                    (own.as_mut().unwrap().open(), peer.as_mut().unwrap().open());
                run(&mut own, Some(&mut peer), hardware)
            }
        }
    }

    /// What a partition's guest reads; `None` if the access faults.
    #[must_use]
    pub fn read(&self, who: usize, ipa: Ipa) -> Option<u64> {
        let side = self.sides[who].as_ref().unwrap();
        let leaf = side.holdings.stage2().unwrap().leaf_at(&self.machine.ram, ipa)?;
        Some(self.machine.ram.read_u64(leaf.translate(ipa)))
    }

    /// How many tables the ledger has for the area that a partition's guest has at an address.
    #[must_use]
    pub fn tables(&self, who: usize, ipa: Ipa) -> u64 {
        let side = self.sides[who].as_ref().unwrap();
        let leaf = side.holdings.stage2().unwrap().leaf_at(&self.machine.ram, ipa).unwrap();
        self.machine.store.with_books(|ledger, _| match ledger.state(leaf.translate(ipa)) {
            Some(FrameState::Area(area)) => ledger.pages_in(FrameState::AreaTable(area)).0,
            other => panic!("{ipa:?} is {other:?}"),
        })
    }

    /// What all cores see of a partition's ports.
    #[must_use]
    pub fn shared(&self, who: usize) -> Option<Shared<'_>> {
        Some(self.sides.get(who)?.as_ref()?.tables.shared())
    }

    /// All that the partitions' books say of ports and of what is charged, so that one text is as another only if nothing changed.
    #[must_use]
    pub fn snapshot(&self) -> String {
        let of = |side: &Side| {
            let Side { tables, locked, holdings } = side;
            let charged = Resource::ALL.map(|line| {
                let Line { limit, used, .. } = holdings.account().line(line);
                (limit, used)
            });
            format!("{charged:?} {tables:?} {locked:?}")
        };
        let sides: Vec<_> = self.sides.iter().map(|side| side.as_ref().map(of)).collect();
        format!("{:?} free, {sides:?}", self.machine.store.free_pages())
    }

    fn writable(&self, who: usize, ipa: Ipa) -> Option<Leaf> {
        let side = self.sides[who].as_ref().unwrap();
        let leaf = side.holdings.stage2().unwrap().leaf_at(&self.machine.ram, ipa);
        leaf.filter(|leaf| leaf.attributes.access == Access::ReadWrite)
    }

    /// Whether a store of a partition's guest would fault.
    #[must_use]
    pub fn may_write(&self, who: usize, ipa: Ipa) -> bool {
        self.writable(who, ipa).is_some()
    }

    /// Has a partition's guest write; false if the access faults.
    pub fn write(&self, who: usize, ipa: Ipa, value: u64) -> bool {
        match self.writable(who, ipa) {
            Some(leaf) => {
                self.machine.ram.write_u64(leaf.translate(ipa), value);
                true
            }
            None => false,
        }
    }

    /// The next step of a partition's end.
    pub fn next_leave_step(&mut self, who: usize) -> LeaveStep {
        self.side(who).open().next_leave_step()
    }

    /// One step of the end of a partition that has no named objects; what to raise, and whether it was the last.
    pub fn leave_step(&mut self, who: usize) -> (bool, Option<Raise>) {
        let (is_last, raise, wake) = self.leave_step_among(&Objects::new(&[]), who);
        assert_eq!(wake, None);
        (is_last, raise)
    }

    /// One step of the end of a partition, as its worker makes them; what to raise, and who waited for a named object that it left.
    pub fn leave_step_among(
        &mut self,
        objects: &Objects<'_>,
        who: usize,
    ) -> (bool, Option<Raise>, Option<Wake>) {
        let mut met = None;
        loop {
            let left =
                self.meet(who, met, |own, peer, hardware| own.leave(peer, hardware, objects));
            match left.step {
                EndStep::Meet(slot) => met = Some(usize::from(slot.0)),
                EndStep::Again => return (false, left.raise, left.wake),
                EndStep::Done => return (true, left.raise, left.wake),
            }
        }
    }

    /// Takes a partition apart that has come to its end: nobody finds it any more.
    pub fn bury(&mut self, who: usize) {
        let Side { tables, locked, mut holdings } = self.sides[who].take().unwrap();
        tables.give(locked, &mut holdings, &self.machine.store);
        self.machine.end(holdings);
    }

    /// Ends a partition that has no named objects, from wherever its end stands. Nothing is left of it.
    pub fn end(&mut self, who: usize) {
        while !self.leave_step(who).0 {}
        self.bury(who);
    }

    /// Compares what the partitions say of each other's ports and of the named objects.
    ///
    /// # Panics
    /// They disagree.
    pub fn check_parties(&mut self, objects: &Objects<'_>) {
        let sides = self.sides.iter_mut().flatten();
        let parties: Vec<(Party<'_>, &Holdings)> = sides
            .map(|side| {
                let Estate { party, holdings } = side.open();
                (party, &*holdings)
            })
            .collect();
        assert_eq!(check(parties.iter().map(|(party, _)| party)), Ok(()));
        assert_eq!(object::check(objects, &parties), Ok(()));
    }

    /// Compares all books: of parties, frames and accounts; under Miri at one of [`AUDITED`] calls.
    pub fn audit(&mut self) {
        self.audits += 1;
        if !self.audits.is_multiple_of(AUDITED) {
            return;
        }
        let mut parties: Vec<_> = self.sides.iter_mut().flatten().map(Side::open).collect();
        self.machine.store.with_books(|ledger, pool| {
            for estate in &parties {
                let audit = invariants::audit_partition(
                    ledger,
                    (&self.machine.ram, &OWN_REGISTERS),
                    estate.holdings,
                );
                if let Err(violation) = audit {
                    panic!("partition {:?}: {violation}", violation.slot());
                }
                invariants::audit_count(ledger, estate.holdings.slot()).unwrap();
            }
            // Frames on their way into an area are in neither book, and counted where they wait.
            let holdings = parties.iter().map(|estate| &*estate.holdings);
            assert_eq!(
                invariants::audit_steps((ledger, pool), &self.machine.ram, holdings),
                Ok(())
            );
            let is_quiet = |estate: &Estate<'_>| {
                estate.holdings.areas().is_some_and(shikiri_core::area::Areas::is_quiet)
            };
            if parties.iter().all(is_quiet) {
                invariants::audit_frames(ledger, pool).unwrap();
            }
        });
        let parties: Vec<_> = parties.drain(..).map(|estate| estate.party).collect();
        assert_eq!(check(&parties), Ok(()));
    }
}
