//! Posts that meet a try, another port, a closing, or the end of a partition.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use shikiri_abi::{IntId, ObjectKind, ObjectName, PartitionId, PartitionSlot, Units, VcpuIndex};
use shikiri_core::event::{Shared, Visitor, nobody_visits};
use shikiri_core::handle::{Handle, HandleEntry};
use shikiri_core::object::{Got, Object, Objects, Refusal, Rows};
use shikiri_core::partition::Holdings;
use shikiri_core::party::{Cold, EndStep, Party, PartyState, Record, Sharing};
use shikiri_sync::atomic::AtomicU64;

const POSTER: PartitionSlot = PartitionSlot(0);
const WAITER: PartitionSlot = PartitionSlot(3);
const ROWS: Rows = Rows { first: 0, count: 1 };
const COUNTER: ObjectKind = ObjectKind::Semaphore { initial: 0, maximum: 9, units: Units::Spent };

/// What all cores see.
struct World {
    objects: Objects<'static>,
    entries: [Vec<HandleEntry>; 2],
    pending: Vec<AtomicU64>,
    visitor: Visitor,
    /// What the waiter's memory holds: gone when it is freed.
    memory: UnsafeCell<u32>,
}

impl World {
    fn new() -> Arc<Self> {
        let entries = || (0..3).map(|_| HandleEntry::new()).collect();
        Arc::new(Self {
            objects: Objects::new(Vec::leak(vec![Object::new()])),
            entries: [entries(), entries()],
            pending: vec![AtomicU64::new(0)],
            visitor: Visitor::new(),
            memory: UnsafeCell::new(0),
        })
    }

    fn shared(&self, slot: PartitionSlot) -> Shared<'_> {
        Shared::new(&self.entries[usize::from(slot == WAITER)], &self.pending)
    }

    /// Posts, and tells who waits; how many interrupts that are.
    fn post(&self, handle: Handle) -> usize {
        let posted = self.objects.post(self.shared(POSTER), POSTER, handle, [0; 3]);
        let (mut wake, mut raises) = (posted.unwrap(), 0);
        let peer = |slot| {
            self.memory.with(|_| ());
            Some(self.shared(slot))
        };
        while let Some(sent) = self.objects.tell(&mut wake, &self.visitor, peer) {
            self.memory.with(|_| ());
            raises += usize::from(sent.arrival.raise.is_some());
        }
        raises
    }

    fn try_take(&self, handle: Handle) -> Result<Got, Refusal> {
        self.objects.try_take(self.shared(WAITER), WAITER, handle).map(|(got, _)| got)
    }
}

/// The locked half of a partition.
struct Locked {
    slot: PartitionSlot,
    state: PartyState,
    cold: [Cold; 3],
    records: [Record; 1],
    holdings: Holdings,
}

impl Locked {
    fn new(slot: PartitionSlot) -> Self {
        let id = PartitionId(u32::from(slot.0) + 1);
        Self {
            slot,
            state: PartyState::new(id, slot, 1, [!0; 32]),
            cold: [Cold::default(); 3],
            records: [Record::new()],
            holdings: Holdings::new(id, slot),
        }
    }

    fn party<'a>(&'a mut self, world: &'a World) -> (Party<'a>, &'a mut Holdings) {
        let Self { slot, state, cold, records, holdings } = self;
        (Party::open(state, world.shared(*slot), cold, records), holdings)
    }

    fn open(&mut self, world: &World) -> Handle {
        let (mut party, holdings) = self.party(world);
        let name = ObjectName::new(b"it").unwrap();
        world.objects.open(&mut party, holdings, ROWS, (&name, COUNTER)).unwrap().handle
    }

    fn port(&mut self, world: &World, intid: u16) -> Handle {
        let (mut party, holdings) = self.party(world);
        let port = party.create_receive(holdings.account_mut()).unwrap();
        assert_eq!(party.bind(port, IntId(intid), VcpuIndex(0), Sharing::Alone), Ok(None));
        port
    }

    fn notify(&mut self, world: &World, handle: Handle, port: Handle) -> bool {
        let (mut party, _) = self.party(world);
        world.objects.set_notify(&mut party, handle, Some(port)).unwrap().is_some()
    }

    /// Everything goes, so that no charge is forgotten.
    fn end(&mut self, world: &World) {
        let (mut party, holdings) = self.party(world);
        while let Some(wake) = world.objects.end_step(&mut party, holdings) {
            assert!(wake.is_empty());
        }
        while party.end_step(None, holdings.account_mut()).0 != EndStep::Done {}
        assert!(holdings.account().is_zero());
    }
}

/// Tries every interleaving of `body`, on a stack that has room for a row of the table.
fn model(body: impl Fn() + Copy + Sync + Send + 'static) {
    loom::model(move || {
        let thread = thread::Builder::new().stack_size(1 << 16).spawn(body);
        thread.unwrap().join().unwrap();
    });
}

struct Pair {
    world: Arc<World>,
    poster: Locked,
    from: Handle,
    waiter: Locked,
    to: Handle,
}

fn pair() -> Pair {
    let (world, mut poster, mut waiter) = (World::new(), Locked::new(POSTER), Locked::new(WAITER));
    let (from, to) = (poster.open(&world), waiter.open(&world));
    Pair { world, poster, from, waiter, to }
}

/// A try that meets a post gets what was posted, or is told.
#[test]
fn a_waiter_is_served_or_told() {
    model(|| {
        let Pair { world, mut poster, from, mut waiter, to } = pair();
        let port = waiter.port(&world, 40);
        // Waits from here on, and takes it back by being served.
        assert!(!waiter.notify(&world, to, port));
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.post(from))
        };
        let early = world.try_take(to).is_ok();
        let raises = sender.join().unwrap();
        assert!(early || raises == 1, "nobody told it");
        assert_eq!(world.try_take(to).is_ok(), !early, "and it is there");
        waiter.end(&world);
        poster.end(&world);
    });
}

/// A post that meets the choice of another port is told at one of them.
#[test]
fn a_port_that_is_changed_meanwhile_loses_nothing() {
    model(|| {
        let Pair { world, mut poster, from, mut waiter, to } = pair();
        let (first, second) = (waiter.port(&world, 40), waiter.port(&world, 41));
        assert!(!waiter.notify(&world, to, first));
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.post(from))
        };
        let is_told = waiter.notify(&world, to, second);
        let raises = sender.join().unwrap();
        assert!(is_told || raises == 1, "nobody told it");
        waiter.end(&world);
        poster.end(&world);
    });
}

/// The waiter ends while it is told: nobody looks at its memory when it is freed.
#[test]
fn a_waiters_memory_goes_only_when_nobody_tells_it() {
    model(|| {
        let Pair { world, mut poster, from, mut waiter, to } = pair();
        let port = waiter.port(&world, 40);
        assert!(!waiter.notify(&world, to, port));
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.post(from))
        };
        waiter.end(&world);
        while !nobody_visits([&world.visitor], WAITER) {
            thread::yield_now();
        }
        world.memory.with_mut(|_| ());
        assert!(sender.join().unwrap() <= 1);
        poster.end(&world);
    });
}

/// An object is closed, and its row taken by another, while a handle to it is used: the handle is stale, or it was in
/// time.
#[test]
fn a_stale_handle_never_reaches_what_is_in_its_row_now() {
    for is_post in [false, true] {
        model(move || {
            let Pair { world, mut poster, from, mut waiter, to } = pair();
            assert_eq!(world.post(from), 0);
            let sender = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let shared = world.shared(POSTER);
                    if is_post {
                        world.objects.post(shared, POSTER, from, [0; 3]).err()
                    } else {
                        world.objects.try_take(shared, POSTER, from).err()
                    }
                })
            };
            waiter.end(&world);
            poster.end(&world);
            let (mut later, mut other) = (Locked::new(POSTER), Locked::new(WAITER));
            let fresh = other.open(&world);
            assert!(fresh != to && later.open(&world) != from, "handles come twice");
            assert!(matches!(sender.join().unwrap(), None | Some(Refusal::BadHandle)));
            assert_eq!(world.try_take(fresh), Err(Refusal::Empty));
            other.end(&world);
            later.end(&world);
        });
    }
}
