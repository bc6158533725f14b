//! Random histories against models: the pool (B1), and calls over one hop (B2, B3), where the memory in use has to be
//! what the messages in transit need, whatever calls are outstanding.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::arithmetic_side_effects, reason = "a test")]

mod support;

use std::collections::VecDeque;

use proptest::prelude::*;
use shikiri_rpc::{
    Answer, Area, Buffer, CallError, Carve, Client, Context, INLINE_BYTES, Patience, Pending, Pool,
    Reference, ReleaseError, Ring, SendError, Server, Side, Status, TakeError,
};
use support::{Bell, Wire, words};

// ---- the pool ----

const BUFFERS: usize = 4;
const FIRST: u32 = 8 * (1 + 2 * 4);
/// With a lazily filled pool: less memory than buffers.
const MEMORY: usize = 3;

#[derive(Clone, Debug)]
enum PoolOp {
    Take(usize),
    HandOver(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Release(usize, u32),
    Adopt(usize, u32),
}

fn pool_op() -> impl Strategy<Value = PoolOp> {
    // References in the table, between, before and behind.
    let reference = || prop_oneof![4 => (0u32..5).prop_map(|n| FIRST + 16 * n), 1 => 0u32..200];
    prop_oneof![
        3 => (0usize..2).prop_map(PoolOp::Take),
        2 => any::<prop::sample::Index>().prop_map(PoolOp::HandOver),
        2 => any::<prop::sample::Index>().prop_map(PoolOp::GiveBack),
        2 => (0usize..2, reference()).prop_map(|(side, reference)| PoolOp::Release(side, reference)),
        1 => (0usize..2, reference()).prop_map(|(side, reference)| PoolOp::Adopt(side, reference)),
    ]
}

/// What the table should hold, and what each side knows by itself.
struct Table {
    free: [bool; BUFFERS],
    held: [[bool; BUFFERS]; 2],
    place: [Option<u32>; BUFFERS],
    /// Memory not given out yet.
    left: VecDeque<u32>,
}

impl Table {
    fn take(&mut self, side: usize) -> Result<u32, TakeError> {
        let mut why = TakeError::NoBuffer;
        for index in (0..BUFFERS).filter(|index| self.free[*index]).collect::<Vec<_>>() {
            if self.held[side][index] {
                self.free[index] = false;
                continue;
            }
            if self.place[index].is_none() {
                self.place[index] = self.left.pop_front();
            }
            if let Some(place) = self.place[index] {
                self.free[index] = false;
                self.held[side][index] = true;
                return Ok(place);
            }
            why = TakeError::NoMemory;
        }
        Err(why)
    }

    fn find(&self, reference: u32) -> Option<usize> {
        self.place.iter().position(|place| *place == Some(reference))
    }

    fn release(&mut self, side: usize, reference: u32) -> Result<(), ReleaseError> {
        let index = self.find(reference).ok_or(ReleaseError::Absent)?;
        if self.held[side][index] {
            return Err(ReleaseError::Held);
        }
        if self.free[index] {
            return Err(ReleaseError::AlreadyFree);
        }
        self.free[index] = true;
        Ok(())
    }

    fn adopt(&mut self, side: usize, reference: u32) -> Result<(), ReleaseError> {
        let index = self.find(reference).ok_or(ReleaseError::Absent)?;
        match (self.free[index], self.held[side][index]) {
            (true, _) => Err(ReleaseError::AlreadyFree),
            (false, true) => Err(ReleaseError::Held),
            (false, false) => {
                self.held[side][index] = true;
                Ok(())
            }
        }
    }

    /// A value of this side goes.
    fn let_go(&mut self, side: usize, reference: u32) {
        let index = self.find(reference).unwrap();
        assert!(core::mem::replace(&mut self.held[side][index], false), "one value for each");
    }
}

fn check_pool(is_lazy: bool, ops: Vec<PoolOp>) {
    let memory = words(1 + 2 * BUFFERS + 2 * BUFFERS);
    let cursor = words(1);
    let source = Carve::new(&cursor[0], FIRST, FIRST + 16 * u32::try_from(MEMORY).unwrap());
    let area = Area::new(&memory);
    let places: Vec<u32> = (0..4).map(|index| FIRST + 16 * index).collect();
    let (pools, place, left) = if is_lazy {
        let pools = [
            Pool::create_lazy(area, BUFFERS, 16, &source).unwrap(),
            Pool::attach_lazy(area, 16, &source).unwrap(),
        ];
        let left = places[..MEMORY].iter().copied().collect();
        (pools, [None; BUFFERS], left)
    } else {
        let pools = [Pool::create(area, BUFFERS, 16).unwrap(), Pool::attach(area, 16).unwrap()];
        let place = core::array::from_fn(|index| Some(places[index]));
        (pools, place, VecDeque::new())
    };
    let mut table = Table { free: [true; BUFFERS], held: [[false; BUFFERS]; 2], place, left };
    // A value whose buffer was released by number is no longer right: what it does is checked as such.
    let mut held: Vec<(usize, Buffer<'_>)> = Vec::new();
    for op in ops {
        match op {
            PoolOp::Take(side) => {
                let expected = table.take(side);
                let taken = pools[side].take();
                assert_eq!(
                    taken.as_ref().map(|buffer| buffer.reference().0).map_err(|e| *e),
                    expected
                );
                held.extend(taken.ok().map(|buffer| (side, buffer)));
            }
            PoolOp::HandOver(which) if !held.is_empty() => {
                let (side, buffer) = held.remove(which.index(held.len()));
                table.let_go(side, buffer.hand_over().0);
            }
            PoolOp::GiveBack(which) if !held.is_empty() => {
                let (side, buffer) = held.remove(which.index(held.len()));
                let reference = buffer.reference().0;
                table.let_go(side, reference);
                assert_eq!(table.release(side, reference), buffer.give_back());
            }
            PoolOp::HandOver(_) | PoolOp::GiveBack(_) => {}
            PoolOp::Release(side, reference) => {
                let expected = table.release(side, reference);
                assert_eq!(pools[side].release(Reference(reference)), expected);
            }
            PoolOp::Adopt(side, reference) => {
                let adopted = pools[side].adopt(Reference(reference));
                let expected = table.adopt(side, reference);
                assert_eq!(adopted.as_ref().map(|_| ()).map_err(|e| *e), expected);
                held.extend(adopted.ok().map(|buffer| (side, buffer)));
            }
        }
        let in_use = table.free.iter().filter(|is_free| !**is_free).count();
        assert!(pools.iter().all(|pool| pool.in_use() == in_use));
        assert_eq!(pools[0].filled(), table.place.iter().flatten().count());
    }
}

// ---- calls ----

const CALLS: usize = 6;
const SLOTS: usize = 8;
const POOL: usize = 3;

#[derive(Clone, Debug)]
enum CallOp {
    Begin(usize),
    Take,
    Answer(prop::sample::Index, usize),
    Finish(prop::sample::Index),
    Leave(prop::sample::Index),
}

fn call_op() -> impl Strategy<Value = CallOp> {
    let size = || prop_oneof![Just(0usize), 1usize..INLINE_BYTES, INLINE_BYTES..1000];
    prop_oneof![
        4 => size().prop_map(CallOp::Begin),
        3 => Just(CallOp::Take),
        3 => (any::<prop::sample::Index>(), size()).prop_map(|(which, size)| CallOp::Answer(which, size)),
        3 => any::<prop::sample::Index>().prop_map(CallOp::Finish),
        1 => any::<prop::sample::Index>().prop_map(CallOp::Leave),
    ]
}

/// A message in transit: its call, its buffer if it has one, its size, and how the call ends if it is a reply.
#[derive(Clone, Debug)]
struct Transit {
    call: usize,
    buffer: Option<usize>,
    end: Result<usize, Status>,
}

/// What the legs should hold.
#[derive(Default)]
struct World {
    taken: [bool; POOL],
    requests: VecDeque<Transit>,
    replies: VecDeque<Transit>,
    /// Calls whose refusal found no room among the replies, where the server keeps them.
    owed: [Option<usize>; 32],
    /// Calls that somebody waits for, with their reply once it was brought.
    waiting: Vec<(usize, Option<Transit>)>,
}

impl World {
    /// The first free of the first `count` buffers, for a payload of `size` bytes and its length.
    fn buffer(&mut self, size: usize, count: usize) -> Result<Option<usize>, SendError> {
        let length = if size < 128 { 1 } else { 2 };
        if size + length <= INLINE_BYTES {
            return Ok(None);
        }
        let free = (0..count).find(|index| !self.taken[*index]).ok_or(SendError::NoBuffer)?;
        Ok(Some(free))
    }

    fn begin(&mut self, call: usize, size: usize) -> Result<(), CallError> {
        if self.waiting.len() == CALLS {
            return Err(CallError::Busy);
        }
        let buffer = self.buffer(size, POOL - 1).or_else(|_| {
            // Late replies that nobody wants may have some.
            self.bring_replies();
            self.buffer(size, POOL - 1)
        })?;
        if self.requests.len() == SLOTS {
            return Err(CallError::Send(SendError::Full));
        }
        self.occupy(buffer);
        self.requests.push_back(Transit { call, buffer, end: Ok(size) });
        self.waiting.push((call, None));
        Ok(())
    }

    fn answer(&mut self, call: usize, size: usize) -> Result<(), SendError> {
        let buffer = self.buffer(size, POOL)?;
        if self.replies.len() == SLOTS {
            return Err(SendError::Full);
        }
        self.occupy(buffer);
        self.replies.push_back(Transit { call, buffer, end: Ok(size) });
        Ok(())
    }

    /// Refuses a call: at once, or when there is room.
    fn refuse(&mut self, call: usize) {
        if self.replies.len() == SLOTS {
            let place = self.owed.iter_mut().find(|place| place.is_none());
            *place.unwrap() = Some(call);
        } else {
            self.replies.push_back(Transit { call, buffer: None, end: Err(Status::NoBuffer) });
        }
    }

    /// The request that is taken next: none as long as a refusal is owed.
    fn take(&mut self) -> Option<Transit> {
        for index in 0..self.owed.len() {
            if let Some(call) = self.owed[index].take() {
                let has_room = self.replies.len() < SLOTS;
                self.refuse(call);
                if !has_room {
                    return None;
                }
            }
        }
        self.requests.pop_front()
    }

    /// The replies that have arrived come to who waits for them, and are gone otherwise.
    fn bring_replies(&mut self) {
        for reply in core::mem::take(&mut self.replies) {
            match self.waiting.iter_mut().find(|(call, _)| *call == reply.call) {
                Some((_, place)) => *place = Some(reply),
                None => self.vacate(reply.buffer),
            }
        }
    }

    fn occupy(&mut self, buffer: Option<usize>) {
        if let Some(index) = buffer {
            self.taken[index] = true;
        }
    }

    fn vacate(&mut self, buffer: Option<usize>) {
        if let Some(index) = buffer {
            self.taken[index] = false;
        }
    }

    /// The buffers that messages in transit need: counted from the messages, not from the table.
    fn in_transit(&self) -> usize {
        let arrived = self.waiting.iter().filter_map(|(_, reply)| reply.as_ref());
        let messages = self.requests.iter().chain(&self.replies).chain(arrived);
        messages.filter(|message| message.buffer.is_some()).count()
    }
}

type Line<'w> = Ring<'w, &'w Bell>;

fn check_calls(ops: Vec<CallOp>) {
    let wire = Wire::new(SLOTS, POOL, 1024);
    let client: Client<'_, Line<'_>, CALLS> = Client::new(wire.leg(Side::A));
    let server = Server::new(wire.leg(Side::B), Patience::Fail);
    let mut world = World::default();
    let mut pending: Vec<Pending<'_, '_, Line<'_>, CALLS, Vec<u8>>> = Vec::new();
    let mut executing: Vec<(usize, Answer<'_, '_, Line<'_>>)> = Vec::new();
    let mut calls = 0;
    for op in ops {
        match op {
            CallOp::Begin(size) => {
                let begun = client.begin(1, &vec![5u8; size]);
                let expected = world.begin(calls, size);
                assert_eq!(begun.as_ref().map(|_| ()).map_err(|e| *e), expected);
                pending.extend(begun.ok());
                calls += 1;
            }
            CallOp::Take => {
                let mut context = Context::<1024>::new();
                let request = server.receive(&mut context).unwrap();
                let expected = world.take();
                assert_eq!(request.is_some(), expected.is_some());
                if let (Some(request), Some(expected)) = (request, expected) {
                    let bytes: Vec<u8> = shikiri_rpc::decode(request.arguments).unwrap();
                    assert_eq!(Ok(bytes.len()), expected.end);
                    // It is executed from here on, and has no buffer any more.
                    world.vacate(expected.buffer);
                    executing.push((expected.call, request.answer));
                }
            }
            CallOp::Answer(which, size) if !executing.is_empty() => {
                let (call, answer) = executing.remove(which.index(executing.len()));
                let expected = world.answer(call, size);
                let sent = answer.send(&vec![6u8; size]);
                assert_eq!(sent.as_ref().map_err(|not_sent| not_sent.why).copied(), expected);
                if let Err(not_sent) = sent {
                    not_sent.answer.refuse(Status::NoBuffer);
                    world.refuse(call);
                }
            }
            CallOp::Finish(which) if !pending.is_empty() => {
                let which = which.index(pending.len());
                world.bring_replies();
                match pending.remove(which).finish() {
                    Ok(outcome) => {
                        let (_, reply) = world.waiting.remove(which);
                        let reply = reply.unwrap();
                        world.vacate(reply.buffer);
                        let outcome = outcome.map(|bytes| bytes.len());
                        assert_eq!(outcome, reply.end.map_err(CallError::Refused));
                    }
                    Err(again) => {
                        assert!(world.waiting[which].1.is_none(), "a reply was overlooked");
                        pending.insert(which, again);
                    }
                }
            }
            CallOp::Leave(which) if !pending.is_empty() => {
                let which = which.index(pending.len());
                drop(pending.remove(which));
                let (_, reply) = world.waiting.remove(which);
                world.vacate(reply.and_then(|reply| reply.buffer));
            }
            CallOp::Answer(..) | CallOp::Finish(_) | CallOp::Leave(_) => {}
        }
        assert_eq!(wire.pool().in_use(), world.in_transit(), "memory follows what is in transit");
        assert_eq!(client.in_flight(), world.waiting.len());
    }
    assert_eq!((server.rejected(), wire.pool().faults()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filled_pool_agrees_with_the_model_b1(ops in prop::collection::vec(pool_op(), 0..80)) {
        check_pool(false, ops);
    }

    #[test]
    fn a_lazy_pool_agrees_with_the_model_b1(ops in prop::collection::vec(pool_op(), 0..80)) {
        check_pool(true, ops);
    }

    #[test]
    fn memory_follows_the_messages_in_transit_b2(ops in prop::collection::vec(call_op(), 0..120)) {
        check_calls(ops);
    }
}
