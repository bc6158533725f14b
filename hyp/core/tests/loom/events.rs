//! Sends that meet whatever the receiver, or the end of a partition, does at the same time.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use shikiri_abi::{IntId, PartitionId, PartitionSlot, Rights, TalkCall, VcpuIndex};
use shikiri_core::account::Account;
use shikiri_core::event::{Arrival, Before, Shared, Visitor, nobody_visits};
use shikiri_core::handle::{Handle, HandleEntry};
use shikiri_core::party::{Cold, Party, PartyState, Record, Refusal, Sharing};
use shikiri_sync::atomic::{AtomicU64, Ordering};

const SLOT: PartitionSlot = PartitionSlot(3);
const INTID: IntId = IntId(40);

/// What all cores see of a partition, and a core that visits.
struct World {
    entries: Vec<HandleEntry>,
    pending: Vec<AtomicU64>,
    visitor: Visitor,
    /// What the partition's memory holds: gone when it is freed.
    memory: UnsafeCell<u32>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            entries: (0..4).map(|_| HandleEntry::new()).collect(),
            pending: vec![AtomicU64::new(0)],
            visitor: Visitor::new(),
            memory: UnsafeCell::new(0),
        })
    }

    fn shared(&self) -> Shared<'_> {
        Shared::new(&self.entries, &self.pending)
    }

    fn send(&self, port: Handle) -> Result<Arrival, Refusal> {
        let sent = self.shared().send(port, &self.visitor, |_| {
            self.memory.with(|_| ());
            Some(self.shared())
        })?;
        self.memory.with(|_| ());
        Ok(sent.arrival)
    }
}

/// The locked half.
struct Locked {
    state: PartyState,
    cold: [Cold; 4],
    records: [Record; 1],
    account: Account,
}

impl Locked {
    fn new() -> Self {
        let state = PartyState::new(PartitionId(1), SLOT, 1, [!0; 32]);
        let account = Account::new(PartitionId(1));
        Self { state, cold: [Cold::default(); 4], records: [Record::new()], account }
    }

    fn party<'a>(&'a mut self, world: &'a World) -> (Party<'a>, &'a mut Account) {
        let Self { state, cold, records, account } = self;
        (Party::open(state, world.shared(), cold, records), account)
    }

    /// A send port connected to a receive port.
    fn connected(&mut self, world: &World) -> (Handle, Handle) {
        let (mut party, account) = self.party(world);
        let send = party.create_send(account).unwrap();
        let receive = party.create_receive(account).unwrap();
        party.connect(send, receive).unwrap();
        (send, receive)
    }

    fn bind(&mut self, world: &World, port: Handle, sharing: Sharing) {
        let raise = self.party(world).0.bind(port, INTID, VcpuIndex(0), sharing);
        assert_eq!(raise, Ok(None));
    }

    fn close(&mut self, world: &World, port: Handle) {
        let (mut party, account) = self.party(world);
        assert_eq!(party.close(None, port, account).unwrap().raise, None);
    }

    fn limit(&mut self, world: &World, Handle(handle): Handle, keep: Rights) {
        let (mut party, account) = self.party(world);
        let done = party.carry_out(None, account, TalkCall::Limit { handle, keep }).unwrap();
        assert_eq!(done.answer, [0, keep.bits(), 0, 0]);
    }

    /// Everything goes, so that no charge is forgotten.
    fn finish(mut self, world: &World) {
        let (mut party, account) = self.party(world);
        while party.end_step(None, account).0 != shikiri_core::party::EndStep::Done {}
        assert!(account.is_zero());
    }
}

/// An event that meets a mask is raised at once, or when the mask goes.
#[test]
fn a_send_that_meets_a_mask_is_raised_in_the_end() {
    loom::model(|| {
        let (world, mut locked) = (World::new(), Locked::new());
        let (send, receive) = locked.connected(&world);
        locked.bind(&world, receive, Sharing::Alone);
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.send(send).unwrap().raise.is_some())
        };
        world.shared().mask(receive).unwrap();
        let late = world.shared().unmask(SLOT, receive).unwrap();
        assert!(sender.join().unwrap() || late.is_some(), "the event is lost");
        assert_eq!(
            world.shared().poll(receive, |_, _| Some(false)),
            Ok(false),
            "and was kept, too"
        );
        locked.finish(&world);
    });
}

/// A send finds its port before or after a right was taken from it: with the right to use it it sends, whatever else goes meanwhile.
#[test]
fn a_send_does_not_see_that_another_right_goes() {
    for keep in [Rights::USE, Rights::NONE] {
        loom::model(move || {
            let (world, mut locked) = (World::new(), Locked::new());
            let (send, receive) = locked.connected(&world);
            let sender = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.send(send).map(|arrival| arrival.before))
            };
            locked.limit(&world, send, keep);
            let sent = sender.join().unwrap();
            let has_come = world.shared().poll(receive, |_, _| Some(false));
            assert_eq!(has_come, Ok(sent.is_ok()), "{sent:?}");
            let after = world.send(send).map(|arrival| arrival.before);
            if keep == Rights::USE {
                assert_eq!((sent, after), (Ok(Before::Idle), Ok(Before::Idle)));
            } else {
                assert!(sent == Ok(Before::Idle) || sent == Err(Refusal::BadHandle), "{sent:?}");
                assert_eq!(after, Err(Refusal::BadHandle));
            }
            locked.finish(&world);
        });
    }
}

/// Binding a port with an event on its way: the event is raised by the one or by the other.
#[test]
fn a_send_that_meets_a_binding_is_raised_in_the_end() {
    for sharing in [Sharing::Alone, Sharing::Grouped] {
        loom::model(move || {
            let (world, mut locked) = (World::new(), Locked::new());
            let (send, receive) = locked.connected(&world);
            let sender = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.send(send).unwrap().raise.is_some())
            };
            let (mut party, _) = locked.party(&world);
            let raised = party.bind(receive, INTID, VcpuIndex(0), sharing).unwrap().is_some();
            assert!(sender.join().unwrap() || raised, "the event is lost");
            locked.finish(&world);
        });
    }
}

/// Two sends and a take: what is told as new is taken, or is still there with its interrupt.
#[test]
fn a_grouped_event_is_taken_or_raised() {
    loom::model(|| {
        let (world, mut locked) = (World::new(), Locked::new());
        let (send, receive) = locked.connected(&world);
        locked.bind(&world, receive, Sharing::Grouped);
        let senders = [(); 2].map(|()| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let visitor = Visitor::new();
                let find = |_| Some(world.shared());
                world.shared().send(send, &visitor, find).unwrap().arrival
            })
        });
        let early = world.shared().take(0);
        let arrivals = senders.map(|sender| sender.join().unwrap());
        let raises = arrivals.iter().filter(|arrival| arrival.raise.is_some()).count();
        let late = world.shared().take(0);
        assert!(early | late == 2, "an event is lost");
        assert!(early & late == 0 || raises == 2, "an event is told twice");
        assert!(raises >= 1 && (late == 0 || raises >= 1));
        assert!(
            arrivals
                .iter()
                .all(|arrival| { arrival.raise.is_some() == (arrival.before == Before::Idle) })
        );
        assert_eq!(world.shared().take(0), 0);
        locked.finish(&world);
    });
}

/// A guest that looks into the page finds the bit there when the interrupt has come, and what it does not find is raised behind
/// its look. The interrupt's way to its core is one release and one acquire at least.
#[test]
fn a_bit_is_seen_no_later_than_its_interrupt() {
    loom::model(|| {
        let (world, mut locked) = (World::new(), Locked::new());
        let (send, receive) = locked.connected(&world);
        locked.bind(&world, receive, Sharing::Grouped);
        let raised = Arc::new(AtomicU64::new(0));
        let sender = {
            let (world, raised) = (Arc::clone(&world), Arc::clone(&raised));
            thread::spawn(move || {
                assert!(world.send(send).unwrap().raise.is_some());
                raised.store(1, Ordering::Release);
            })
        };
        let has_come = raised.load(Ordering::Acquire) == 1;
        let seen = world.pending[0].load(Ordering::Relaxed);
        assert!(seen == 2 || seen == 0 && !has_come, "the interrupt came first");
        let early = if seen == 0 { 0 } else { world.shared().take(0) };
        assert_eq!(early, seen, "a word that was not zero has its port");
        sender.join().unwrap();
        assert_eq!(raised.load(Ordering::Acquire), 1);
        assert_eq!(early | world.shared().take(0), 2, "an event is lost");
        assert_eq!(world.pending[0].load(Ordering::Relaxed), 0);
        locked.finish(&world);
    });
}

/// A poll that meets a send: it tells the event, or the interrupt is raised behind it.
#[test]
fn a_poll_loses_nothing() {
    loom::model(|| {
        let (world, mut locked) = (World::new(), Locked::new());
        let (send, receive) = locked.connected(&world);
        locked.bind(&world, receive, Sharing::Grouped);
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.send(send).unwrap().raise.is_some())
        };
        let polled = world.shared().poll(receive, |_, _| Some(false)).unwrap();
        assert!(sender.join().unwrap());
        let taken = world.shared().take(0) != 0;
        assert!(polled != taken, "told {} times", u8::from(polled) + u8::from(taken));
        locked.finish(&world);
    });
}

/// A send that finds its port pending raises nothing: whoever clears the flag behind it sees what the sender stored before.
#[test]
fn what_a_merged_event_is_about_is_seen() {
    for is_polled in [false, true] {
        loom::model(move || {
            let (world, mut locked) = (World::new(), Locked::new());
            let (send, receive) = locked.connected(&world);
            locked.bind(&world, receive, Sharing::Grouped);
            assert_eq!(world.send(send).unwrap().before, Before::Idle);
            let data = Arc::new(AtomicU64::new(0));
            let sender = {
                let (world, data) = (Arc::clone(&world), Arc::clone(&data));
                thread::spawn(move || {
                    data.store(1, Ordering::Relaxed);
                    world.send(send).unwrap().before
                })
            };
            let cleared = if is_polled {
                world.shared().poll(receive, |_, _| Some(false)).unwrap()
            } else {
                world.shared().take(0) != 0
            };
            let seen = data.load(Ordering::Relaxed);
            assert!(cleared);
            let before = sender.join().unwrap();
            assert!(before == Before::Idle || seen == 1, "merged with what was taken without it");
            locked.finish(&world);
        });
    }
}

/// The receiver's memory goes when its connections are cut and nobody visits: no sender looks at it then.
#[test]
fn memory_goes_only_when_nobody_looks() {
    loom::model(|| {
        let (world, mut locked) = (World::new(), Locked::new());
        let (send, receive) = locked.connected(&world);
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.send(send).map(|_| ()))
        };
        locked.close(&world, receive);
        while !nobody_visits([&world.visitor], SLOT) {
            thread::yield_now();
        }
        world.memory.with_mut(|_| ());
        assert!(matches!(sender.join().unwrap(), Ok(()) | Err(Refusal::PeerGone)));
        locked.finish(&world);
    });
}

/// What connects or disconnects a port while the hypervisor itself raises it loses nothing.
#[test]
fn an_event_of_the_hypervisor_comes_whatever_is_connected_meanwhile() {
    let cases =
        [Sharing::Alone, Sharing::Grouped].map(|sharing| [(sharing, true), (sharing, false)]);
    for (sharing, is_connected) in cases.into_iter().flatten() {
        loom::model(move || {
            let (world, mut locked) = (World::new(), Locked::new());
            let (mut party, account) = locked.party(&world);
            let send = party.create_send(account).unwrap();
            let receive = party.create_receive(account).unwrap();
            if is_connected {
                party.connect(send, receive).unwrap();
            }
            locked.bind(&world, receive, sharing);
            let hypervisor = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.shared().notify(SLOT, receive).is_some())
            };
            if is_connected {
                locked.close(&world, send);
            } else {
                locked.party(&world).0.connect(send, receive).unwrap();
            }
            assert!(hypervisor.join().unwrap(), "the event is lost");
            let expected = if sharing == Sharing::Grouped { 2 } else { 0 };
            assert_eq!(world.shared().take(0), expected);
            locked.finish(&world);
        });
    }
}

/// A port is closed and its entry used for another connection while a send is under way: the event reaches the
/// one that it was sent to, or nobody.
#[test]
fn an_event_never_reaches_a_later_connection() {
    loom::model(|| {
        let (world, mut locked) = (World::new(), Locked::new());
        let (send, receive) = locked.connected(&world);
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.send(send))
        };
        // The entry that is freed last is used first: the new ports stand where the old ones stood.
        locked.close(&world, receive);
        locked.close(&world, send);
        let (_, later) = locked.connected(&world);
        assert_eq!(later.0 & 0xffff, receive.0 & 0xffff);
        let result = sender.join().unwrap();
        assert_eq!(world.shared().poll(later, |_, _| Some(false)), Ok(false), "{result:?}");
        locked.finish(&world);
    });
}
