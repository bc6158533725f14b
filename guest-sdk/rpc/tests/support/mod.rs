//! Two sides in one process: memory that both map, doorbells of condition variables, a transport without shared memory,
//! and a service to call.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::arithmetic_side_effects, reason = "a test")]

pub(crate) mod sample;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use shikiri_rpc::atomic::AtomicU64;
use shikiri_rpc::{
    Area, Body, Doorbell, Epoch, Leg, Message, PeerGone, Pool, Ring, SendError, Side, Transport,
};

/// What both ends of a pair of doorbells share.
#[derive(Default)]
struct Bells {
    sides: Mutex<[End; 2]>,
    rung: Condvar,
}

#[derive(Default)]
struct End {
    epoch: u32,
    has_left: bool,
    rings: u64,
    sleepers: u32,
    tasks: Vec<Waker>,
}

/// One end of a pair of doorbells.
pub(crate) struct Bell {
    bells: Arc<Bells>,
    side: usize,
}

pub(crate) fn bells() -> [Bell; 2] {
    let bells = Arc::new(Bells::default());
    [0, 1].map(|side| Bell { bells: bells.clone(), side })
}

impl Bell {
    /// This side ends.
    pub(crate) fn leave(&self) {
        self.bells.sides.lock().unwrap()[self.side].has_left = true;
        self.happen(1 - self.side);
    }

    /// Something happens at a side.
    fn happen(&self, side: usize) {
        let mut sides = self.bells.sides.lock().unwrap();
        sides[side].epoch += 1;
        let tasks = std::mem::take(&mut sides[side].tasks);
        drop(sides);
        self.bells.rung.notify_all();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing has happened since, and the peer is there.
    fn has_nothing(&self, sides: &[End; 2], seen: Epoch) -> bool {
        sides[self.side].epoch == seen.0 && !sides[1 - self.side].has_left
    }

    /// How many threads of this side sleep.
    fn sleepers(&self) -> u32 {
        self.bells.sides.lock().unwrap()[self.side].sleepers
    }

    /// How often this side has rung for the other.
    pub(crate) fn rings(&self) -> u64 {
        self.bells.sides.lock().unwrap()[self.side].rings
    }
}

impl Doorbell for Bell {
    type Deadline = Instant;

    fn ring(&self) {
        self.bells.sides.lock().unwrap()[self.side].rings += 1;
        self.happen(1 - self.side);
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.bells.sides.lock().unwrap()[self.side].epoch)
    }

    fn wait(&self, seen: Epoch) {
        let mut sides = self.bells.sides.lock().unwrap();
        sides[self.side].sleepers += 1;
        let has_nothing = |sides: &mut [End; 2]| self.has_nothing(sides, seen);
        sides = self.bells.rung.wait_while(sides, has_nothing).unwrap();
        sides[self.side].sleepers -= 1;
    }

    fn wait_until(&self, seen: Epoch, deadline: Instant) {
        let mut sides = self.bells.sides.lock().unwrap();
        sides[self.side].sleepers += 1;
        let rest = deadline.saturating_duration_since(Instant::now());
        let has_nothing = |sides: &mut [End; 2]| self.has_nothing(sides, seen);
        (sides, _) = self.bells.rung.wait_timeout_while(sides, rest, has_nothing).unwrap();
        sides[self.side].sleepers -= 1;
    }

    fn is_over(&self, deadline: Instant) -> bool {
        Instant::now() >= deadline
    }

    fn register(&self, waker: &Waker) {
        let tasks = &mut self.bells.sides.lock().unwrap()[self.side].tasks;
        if !tasks.iter().any(|there| there.will_wake(waker)) {
            tasks.push(waker.clone());
        }
    }

    fn wake(&self) {
        self.happen(self.side);
    }

    fn is_peer_gone(&self) -> bool {
        self.bells.sides.lock().unwrap()[1 - self.side].has_left
    }
}

/// So soon that nobody waits long for it, and not before what is under way.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

/// Not before what another thread does at once.
pub(crate) fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// The memory and the doorbells of a leg.
pub(crate) struct Wire {
    pub(crate) ring: Vec<AtomicU64>,
    pub(crate) area: Vec<AtomicU64>,
    pub(crate) bells: [Bell; 2],
    slots: usize,
    buffer_bytes: usize,
}

pub(crate) type WireLeg<'w> = Leg<'w, Ring<'w, &'w Bell>>;

impl Wire {
    /// Rings of `slots` slots, and a pool that is formatted.
    pub(crate) fn new(slots: usize, buffers: usize, buffer_bytes: usize) -> Self {
        let ring = words(Ring::<Bell>::words(slots));
        Ring::<Bell>::format(Area::new(&ring), slots).unwrap();
        let area = words(1 + buffers * (2 + buffer_bytes.div_ceil(8)));
        Pool::create(Area::new(&area), buffers, buffer_bytes).unwrap();
        Self { ring, area, bells: bells(), slots, buffer_bytes }
    }

    /// This side's end. Each side joins once.
    pub(crate) fn leg(&self, side: Side) -> WireLeg<'_> {
        let leg = Leg::new(self.transport(side));
        assert!(leg.pools().add(self.pool()).is_ok());
        leg
    }

    pub(crate) fn transport(&self, side: Side) -> Ring<'_, &Bell> {
        let bell = &self.bells[usize::from(side == Side::B)];
        Ring::join(Area::new(&self.ring), self.slots, side, bell).unwrap()
    }

    pub(crate) fn pool(&self) -> Pool<'_> {
        Pool::attach(Area::new(&self.area), self.buffer_bytes).unwrap()
    }
}

/// A transport whose messages carry 8 bytes, and that tells of as little as a channel does: of a message to an empty port, of room to who
/// found none, of the end. That a buffer is free is a message that is no call's, for a side that has said that it waits.
pub(crate) struct Queue {
    lanes: Arc<[Mutex<Lane>; 2]>,
    /// Which sides wait.
    waits: Arc<[AtomicUsize; 2]>,
    side: usize,
    bell: Bell,
    capacity: usize,
    /// What somebody does between a message's arrival and the look whether to tell of it.
    meanwhile: Once,
    /// And before a look whether there are untaken ones.
    before_look: Once,
}

/// What is done once.
type Once = Mutex<Option<Box<dyn FnOnce() + Send>>>;

fn once(what: &Once) {
    let what = what.lock().unwrap().take();
    what.into_iter().for_each(|what| what());
}

/// What goes one way.
#[derive(Default)]
struct Lane {
    /// None: look what is free.
    messages: VecDeque<Option<Message>>,
    /// How many were taken.
    taken: usize,
    /// Its sender found no room.
    is_starved: bool,
}

/// Both ends of such a transport, for `capacity` messages each way.
pub(crate) fn queues(capacity: usize) -> [Queue; 2] {
    let (lanes, waits) = (Arc::default(), Arc::<[AtomicUsize; 2]>::default());
    let mut side = 0;
    bells().map(|bell| {
        side += 1;
        let (lanes, waits) = (Arc::clone(&lanes), waits.clone());
        let (meanwhile, before_look) = (Mutex::default(), Mutex::default());
        Queue { lanes, waits, side: side - 1, bell, capacity, meanwhile, before_look }
    })
}

impl Queue {
    pub(crate) fn leave(&self) {
        self.bell.leave();
    }

    /// How many messages have come and were not taken.
    pub(crate) fn untaken(&self) -> usize {
        self.lanes[1 - self.side].lock().unwrap().messages.len()
    }

    /// Whether somebody of this side sleeps, and has said so.
    pub(crate) fn is_asleep(&self) -> bool {
        self.waits[self.side].load(Ordering::SeqCst) != 0 && self.bell.sleepers() != 0
    }

    /// The next message of this side's is taken, or whatever this is, before anybody is told of it.
    pub(crate) fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(what));
    }

    /// This is done before this side's next look whether there are untaken messages.
    pub(crate) fn before_look(&self, what: impl FnOnce() + Send + 'static) {
        *self.before_look.lock().unwrap() = Some(Box::new(what));
    }

    /// Puts a message, or none, behind the others.
    fn put(&self, message: Option<Message>) -> Result<(), SendError> {
        let mut lane = self.lanes[self.side].lock().unwrap();
        if lane.messages.len() == self.capacity {
            lane.is_starved = true;
            return Err(SendError::Full);
        }
        let number = lane.taken + lane.messages.len();
        lane.messages.push_back(message);
        drop(lane);
        // The message stands there, and who looks for it by itself may take it before anybody is told.
        once(&self.meanwhile);
        if self.lanes[self.side].lock().unwrap().taken == number {
            self.bell.ring();
        }
        Ok(())
    }

    /// Takes the next message, or what is none.
    fn take(&self) -> Option<Option<Message>> {
        let mut lane = self.lanes[1 - self.side].lock().unwrap();
        let taken = lane.messages.pop_front();
        lane.taken += usize::from(taken.is_some());
        let is_starved = taken.is_some() && std::mem::take(&mut lane.is_starved);
        drop(lane);
        if is_starved {
            self.bell.ring();
        }
        taken
    }
}

impl Transport for Queue {
    type Deadline = Instant;

    fn inline_bytes(&self) -> usize {
        8
    }

    fn send(&self, message: &Message) -> Result<(), SendError> {
        if self.bell.is_peer_gone() {
            return Err(SendError::PeerGone);
        }
        if let Body::Inline(inline) = &message.body
            && inline.as_bytes().len() > 8
        {
            return Err(SendError::TooLarge);
        }
        self.put(Some(*message))
    }

    fn receive(&self, others: &mut u32) -> Result<Option<Message>, PeerGone> {
        let is_gone = self.bell.is_peer_gone();
        loop {
            match self.take() {
                None if is_gone => return Err(PeerGone),
                None => return Ok(None),
                Some(Some(message)) => return Ok(Some(message)),
                Some(None) => *others += 1,
            }
        }
    }

    fn notify(&self) {
        if self.waits[1 - self.side].swap(0, Ordering::SeqCst) != 0 {
            // As over a channel, it may find no room.
            let _sent = self.put(None);
        }
    }

    fn watch(&self) -> Epoch {
        let epoch = self.bell.epoch();
        self.waits[self.side].store(1, Ordering::SeqCst);
        epoch
    }

    fn wait(&self, seen: Epoch) {
        self.bell.wait(seen);
    }

    fn wait_until(&self, seen: Epoch, deadline: Instant) {
        self.bell.wait_until(seen, deadline);
    }

    fn has_untaken(&self) -> bool {
        once(&self.before_look);
        self.untaken() != 0
    }

    fn wait_beside(&self, seen: Epoch, until: Option<Instant>) {
        let soon = Instant::now() + Duration::from_millis(1);
        self.wait_until(seen, until.map_or(soon, |deadline| deadline.min(soon)));
    }

    fn is_over(&self, deadline: Instant) -> bool {
        self.bell.is_over(deadline)
    }

    fn register(&self, waker: &Waker) {
        self.bell.register(waker);
    }

    fn wake(&self) {
        self.bell.wake();
    }

    fn is_peer_gone(&self) -> bool {
        self.bell.is_peer_gone()
    }
}

/// Wakes a thread.
pub(crate) struct Unpark(pub(crate) thread::Thread, pub(crate) AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.unpark();
    }
}

/// Runs futures until all are ready: polls only those that were woken, and sleeps when none was. Nobody else does anything.
pub(crate) fn run_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    let mut tasks: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), Arc::new(Unpark(thread::current(), AtomicUsize::new(1)))))
        .collect();
    while results.iter().any(Option::is_none) {
        let mut has_polled = false;
        for ((future, waker), result) in tasks.iter_mut().zip(&mut results) {
            if result.is_none() && waker.1.swap(0, Ordering::Relaxed) != 0 {
                has_polled = true;
                let waker = Waker::from(waker.clone());
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    *result = Some(output);
                }
            }
        }
        if !has_polled {
            thread::park();
        }
    }
    results.into_iter().flatten().collect()
}
