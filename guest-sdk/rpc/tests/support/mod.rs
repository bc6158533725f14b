//! Two sides in one process: memory that both map, doorbells of condition variables, and a transport without shared
//! memory.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::arithmetic_side_effects, reason = "a test")]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

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
        let mut sides = self.bells.sides.lock().unwrap();
        sides[self.side].has_left = true;
        sides[1 - self.side].epoch += 1;
        self.bells.rung.notify_all();
    }

    /// Something happens at this side: a timer's interrupt.
    pub(crate) fn wake_once(&self) {
        self.wake();
    }

    /// How often this side has rung for the other.
    pub(crate) fn rings(&self) -> u64 {
        self.bells.sides.lock().unwrap()[self.side].rings
    }
}

impl Doorbell for Bell {
    fn ring(&self) {
        let mut sides = self.bells.sides.lock().unwrap();
        sides[self.side].rings += 1;
        sides[1 - self.side].epoch += 1;
        self.bells.rung.notify_all();
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.bells.sides.lock().unwrap()[self.side].epoch)
    }

    fn wait(&self, seen: Epoch) {
        let sides = self.bells.sides.lock().unwrap();
        let has_nothing = |sides: &mut [End; 2]| {
            sides[self.side].epoch == seen.0 && !sides[1 - self.side].has_left
        };
        drop(self.bells.rung.wait_while(sides, has_nothing).unwrap());
    }

    fn wake(&self) {
        self.bells.sides.lock().unwrap()[self.side].epoch += 1;
        self.bells.rung.notify_all();
    }

    fn is_peer_gone(&self) -> bool {
        self.bells.sides.lock().unwrap()[1 - self.side].has_left
    }
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

/// A transport without shared memory, whose messages carry 8 bytes: the short message of a channel.
pub(crate) struct Queue {
    lanes: Arc<[Mutex<VecDeque<Message>>; 2]>,
    side: usize,
    bell: Bell,
    capacity: usize,
}

/// Both ends of such a transport, for `capacity` messages each way.
pub(crate) fn queues(capacity: usize) -> [Queue; 2] {
    let lanes = Arc::new([const { Mutex::new(VecDeque::new()) }; 2]);
    let mut side = 0;
    bells().map(|bell| {
        side += 1;
        Queue { lanes: lanes.clone(), side: side - 1, bell, capacity }
    })
}

impl Queue {
    pub(crate) fn leave(&self) {
        self.bell.leave();
    }
}

impl Transport for Queue {
    fn inline_bytes(&self) -> usize {
        8
    }

    fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut lane = self.lanes[self.side].lock().unwrap();
        if self.bell.is_peer_gone() {
            return Err(SendError::PeerGone);
        }
        if lane.len() == self.capacity {
            return Err(SendError::Full);
        }
        if let Body::Inline(inline) = &message.body
            && inline.as_bytes().len() > 8
        {
            return Err(SendError::TooLarge);
        }
        lane.push_back(*message);
        self.bell.ring();
        Ok(())
    }

    fn receive(&self) -> Result<Option<Message>, PeerGone> {
        let is_gone = self.bell.is_peer_gone();
        let received = self.lanes[1 - self.side].lock().unwrap().pop_front();
        match received {
            None if is_gone => Err(PeerGone),
            Some(message) => {
                self.notify();
                Ok(Some(message))
            }
            None => Ok(None),
        }
    }

    fn notify(&self) {
        self.bell.ring();
    }

    fn watch(&self) -> Epoch {
        self.bell.epoch()
    }

    fn wait(&self, seen: Epoch) {
        self.bell.wait(seen);
    }

    fn wake(&self) {
        self.bell.wake();
    }

    fn is_peer_gone(&self) -> bool {
        self.bell.is_peer_gone()
    }
}
