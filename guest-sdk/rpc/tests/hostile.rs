//! A peer that writes whatever it likes wherever it can: nothing panics, nothing goes on without end, nothing outside
//! the shared memory changes.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::arithmetic_side_effects, reason = "a test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use shikiri_rpc::atomic::AtomicU64;
use shikiri_rpc::{
    Area, Client, Context, Dispatch as _, Leg, Patience, Pending, Pool, Relay, Ring, Server, Side,
};
use support::{Bell, bells, words};

shikiri_rpc::service! {
    trait Mirror, stub MirrorStub, server MirrorServer {
        1: fn mirror(bytes: &[u8], text: &str, number: Option<u64>) -> (Vec<u8>, u64);
    }
}

struct Plain;

impl Mirror for Plain {
    fn mirror(&self, bytes: &[u8], text: &str, number: Option<u64>) -> (Vec<u8>, u64) {
        (bytes.to_vec(), number.unwrap_or_default() ^ u64::try_from(text.len()).unwrap())
    }
}

const SLOTS: usize = 4;
const BUFFERS: usize = 3;
const BUFFER_BYTES: usize = 256;
const RING_WORDS: usize = Ring::<Bell>::words(SLOTS);
const AREA_WORDS: usize = 1 + BUFFERS * (2 + BUFFER_BYTES / 8);
/// Words before and behind the shared ones that nobody may touch.
const MARGIN: usize = 64;
const CANARY: u64 = 0x5a5a_5a5a_5a5a_5a5a;

/// Two legs' memory between margins.
struct Memory(Vec<AtomicU64>);

impl Memory {
    fn new() -> Self {
        let memory = Self(words(3 * MARGIN + RING_WORDS + AREA_WORDS));
        for word in &memory.0 {
            word.store(CANARY, Ordering::Relaxed);
        }
        Ring::<Bell>::format(memory.ring(), SLOTS).unwrap();
        Pool::create(memory.area(), BUFFERS, BUFFER_BYTES).unwrap();
        memory
    }

    fn ring(&self) -> Area<'_> {
        Area::new(&self.0[MARGIN..MARGIN + RING_WORDS])
    }

    fn area(&self) -> Area<'_> {
        let start = 2 * MARGIN + RING_WORDS;
        Area::new(&self.0[start..start + AREA_WORDS])
    }

    /// Writes a shared word.
    fn spoil(&self, index: usize, value: u64) {
        let index = index % (RING_WORDS + AREA_WORDS);
        let word = if index < RING_WORDS {
            self.ring().word(index)
        } else {
            self.area().word(index - RING_WORDS)
        };
        word.unwrap().store(value, Ordering::Relaxed);
    }

    fn leg<'m>(&'m self, bell: &'m Bell, side: Side) -> Leg<'m, Ring<'m, &'m Bell>> {
        let leg = Leg::new(Ring::join(self.ring(), SLOTS, side, bell).unwrap());
        assert!(leg.pools().add(Pool::attach(self.area(), BUFFER_BYTES).unwrap()).is_ok());
        leg
    }

    fn check_margins(&self) {
        let margins = [0, MARGIN + RING_WORDS, 2 * MARGIN + RING_WORDS + AREA_WORDS];
        for start in margins {
            let margin = &self.0[start..start + MARGIN];
            assert!(margin.iter().all(|word| word.load(Ordering::Relaxed) == CANARY));
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Spoil(usize, u64),
    Begin(usize),
    Serve,
    Hold,
    Answer,
    Finish(prop::sample::Index),
    Leave(prop::sample::Index),
    Relay,
}

fn op() -> impl Strategy<Value = Op> {
    // Small numbers, sequences, references, headers of messages, and anything.
    let value = prop_oneof![
        0u64..8,
        0u64..2000,
        (0u64..3, any::<u8>(), any::<u16>(), prop_oneof![0u64..300, 0u64..u64::from(u32::MAX)])
            .prop_map(|(kind, area, code, length)| {
                let area = if area < 200 { 0 } else { u64::from(area) };
                kind | area << 8 | u64::from(code & 3) << 16 | length << 32
            }),
        (0u64..8, 0u64..1000).prop_map(|(call, place)| call | place << 35),
        any::<u64>(),
    ];
    prop_oneof![
        6 => (any::<usize>(), value).prop_map(|(index, value)| Op::Spoil(index, value)),
        3 => (0usize..300).prop_map(Op::Begin),
        3 => Just(Op::Serve),
        1 => Just(Op::Hold),
        1 => Just(Op::Answer),
        3 => any::<prop::sample::Index>().prop_map(Op::Finish),
        1 => any::<prop::sample::Index>().prop_map(Op::Leave),
        2 => Just(Op::Relay),
    ]
}

type Call<'c, 'm> = Pending<'c, 'm, Ring<'m, &'m Bell>, 4, (Vec<u8>, u64)>;

fn run(ops: Vec<Op>) {
    let (memory, bells) = (Memory::new(), bells());
    let client = Client::<_, 4>::new(memory.leg(&bells[0], Side::A));
    let server = Server::new(memory.leg(&bells[1], Side::B), Patience::Fail);
    // A relay from the leg to itself: both ends are spoilt.
    let mut relay = Relay::<_, _, 4, 300>::new(&server, &client);
    let mut calls: Vec<Call<'_, '_>> = Vec::new();
    let mut held = Vec::new();
    for op in ops {
        match op {
            Op::Spoil(index, value) => memory.spoil(index, value),
            Op::Begin(length) => {
                let stub = MirrorStub(shikiri_rpc::Begin::new(&client));
                calls.extend(stub.mirror(&vec![9; length], "text", Some(7)).ok());
            }
            Op::Serve => {
                if let Some(request) = server.receive(&mut Context::<256>::new()).unwrap() {
                    MirrorServer(Plain).dispatch(request);
                }
            }
            Op::Hold => {
                let mut context = Context::<16>::new();
                let request = server.receive(&mut context).unwrap();
                held.extend(request.map(|request| request.answer));
            }
            Op::Answer => {
                if let Some(answer) = held.pop() {
                    answer.settle(&(vec![1u8; 200], 3u64));
                }
            }
            Op::Finish(which) if !calls.is_empty() => {
                let call = calls.remove(which.index(calls.len()));
                calls.extend(call.finish().err());
            }
            Op::Leave(which) if !calls.is_empty() => {
                drop(calls.remove(which.index(calls.len())));
            }
            Op::Finish(_) | Op::Leave(_) => {}
            Op::Relay => {
                relay.step().unwrap();
            }
        }
        assert!(client.in_flight() <= 4);
    }
    drop((calls, held, relay));
    assert_eq!(client.in_flight(), 0, "the slots are in private memory: none is lost");
    memory.check_margins();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_words_break_nothing(ops in prop::collection::vec(op(), 0..200)) {
        run(ops);
    }
}

/// The same at full speed, from another thread.
#[test]
fn a_peer_that_writes_all_the_time_breaks_nothing() {
    let rounds: u64 = if cfg!(miri) { 50 } else { 20_000 };
    let (memory, bells) = (Memory::new(), bells());
    let client = Client::<_, 4>::new(memory.leg(&bells[0], Side::A));
    let server = Server::new(memory.leg(&bells[1], Side::B), Patience::Fail);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 0x1234_5678_9abc_def1_u64;
            while !is_done.load(Ordering::Relaxed) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let value = if random & 1 == 0 { random >> 8 } else { random >> 8 & 0xff };
                memory.spoil(usize::try_from(random >> 40).unwrap(), value);
            }
        });
        scope.spawn(|| {
            let mut context = Context::<256>::new();
            while !is_done.load(Ordering::Relaxed) {
                if let Some(request) = server.receive(&mut context).unwrap() {
                    MirrorServer(Plain).dispatch(request);
                }
            }
        });
        let stub = MirrorStub(shikiri_rpc::Begin::new(&client));
        for round in 0..rounds {
            let bytes = vec![1; usize::try_from(round % 250).unwrap()];
            if let Ok(call) = stub.mirror(&bytes, "", None) {
                let _may_be_anything = call.wait_until(Instant::now() + Duration::from_micros(50));
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(client.in_flight(), 0);
    memory.check_margins();
}
