//! The door on calls that are answered here.

mod refused;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use super::{Calls, Door, Trees};
use crate::Machine as _;
use crate::given::OwnedDevice;
use crate::memory::Region;
use crate::refusal::{Act, Refusal};
use crate::view::{Boot, Cores, NewPartition, NewVcpu, Time};
use shikiri_abi::{NewAreas, PartitionId, PartitionRef, PartitionSlot, Resource, Status};
use shikiri_tree::Gic;

/// Phases, as PARTITION_LIST has them.
const CREATED: u64 = 1;
const BUILDING: u64 = 2;
const HELD: u64 = 3;
const ACTIVE: u64 = 4;
const PAUSED: u64 = 5;
const ENDING: u64 = 6;
const ENDED: u64 = 7;

/// Eight letters of a name.
const LETTERS: u64 = u64::from_le_bytes(*b"abcdefgh");

/// The partition `o` of the description, which has ended.
const OWNER: PartitionRef = PartitionRef { place: PartitionSlot(1), id: PartitionId(3) };

/// A hypervisor with one partition at place 0 and [`OWNER`] at place 1, which copies 1 KiB at once.
#[derive(Default)]
struct Fake {
    state: RefCell<State>,
    trees: RefCell<BTreeMap<String, Vec<u8>>>,
    has_no_room: bool,
}

#[derive(Default)]
struct State {
    phase: u64,
    id: u32,
    calls: Vec<u16>,
    memory: Vec<u8>,
    /// Where images were put, and the entry with `x0`.
    images: Vec<(u64, u64)>,
    entry: (u64, u64),
    note: BTreeMap<u64, [u64; 2]>,
    /// What was said of vCPUs, handles, areas and devices: the call's number, and `x2` to `x4`.
    given: Vec<(u16, [u64; 3])>,
    /// What adding memory is answered.
    memory_status: Option<Status>,
    /// What adding a device is answered.
    device_status: Option<Status>,
    /// What calls of these numbers are answered whatever they ask.
    answers: BTreeMap<u16, [u64; 4]>,
    /// Before the next call of this number somebody else brings the partition into this phase.
    overtaken: Option<(u16, u64)>,
}

impl State {
    fn called(&mut self, number: u16) {
        self.calls.push(number);
        if let Some((_, phase)) = self.overtaken.take_if(|(before, _)| *before == number) {
            self.phase = phase;
        }
    }

    fn word(&self) -> u64 {
        PartitionRef { place: PartitionSlot(0), id: PartitionId(self.id) }.encode()
    }
}

const fn ok(x1: u64, x2: u64, x3: u64) -> [u64; 4] {
    [0, x1, x2, x3]
}

const fn refused(status: Status) -> [u64; 4] {
    [status.code().cast_unsigned(), 0, 0, 0]
}

impl Calls for Fake {
    fn call(&self, number: u16, x: [u64; 6]) -> Option<[u64; 4]> {
        let mut state = self.state.borrow_mut();
        state.called(number);
        let is_free = state.phase == 0;
        if let Some(answer) = state.answers.get(&number) {
            return Some(*answer);
        }
        Some(match number {
            super::CORE_READ if x[0] > 3 => refused(Status::Range),
            super::PARTITION_LIST if x[0] == 1 => ok(OWNER.encode(), ENDED, 0),
            super::PARTITION_LIST if x[0] > 1 => refused(Status::Range),
            super::PARTITION_LIST if is_free => refused(Status::NotFound),
            super::PARTITION_LIST => ok(state.word(), state.phase, 1 << 40),
            super::PARTITION_NAME if x[0] == OWNER.encode() && x[1] == 0 => {
                ok(u64::from(b'o'), 0, 0)
            }
            super::PARTITION_NAME if x[1] == 0 => ok(u64::from(b'l'), 0, 0),
            super::IMAGE_INFO => match (x[0], x[1]) {
                (0, 0) => ok(8 << 20, u64::from(b'k'), 0),
                (1, 0) => ok(5000, u64::from(b'i'), 0),
                (2, 0) => ok(1, LETTERS, LETTERS),
                (2, 1) => ok(LETTERS, LETTERS, LETTERS),
                // It ends with a part.
                (2, 2) => ok(0, 0, 0),
                (0..=2, part) => panic!("part {part} of a name that has ended"),
                _ => refused(Status::Range),
            },
            super::PARTITION_CREATE => {
                (state.phase, state.id) = (CREATED, 7);
                state.note.clear();
                ok(state.word(), 0, 0)
            }
            super::PARTITION_DESTROY => {
                state.phase = 0;
                ok(0, 0, 0)
            }
            super::PARTITION_STOP => {
                state.phase = ENDED;
                ok(0, 0, 0)
            }
            super::IMAGE_ADD => {
                state.images.push((x[1], x[2]));
                ok(0, 0, 0)
            }
            super::VCPU_ADD | super::TALK_SET | super::AREAS_SET => {
                state.given.push((number, [x[1], x[2], x[3]]));
                ok(0, 0, 0)
            }
            super::MEMORY_ADD => {
                state.given.push((number, [x[1], x[2], x[3]]));
                state.memory_status.map_or(ok(0, 0, 0), refused)
            }
            super::DEVICE_ADD => {
                state.given.push((number, [x[1], x[2], x[3]]));
                state.device_status.map_or(ok(0x0901_0000, 34, 0), refused)
            }
            super::LIMIT_SET => {
                state.given.push((number, [x[1], x[2], x[3]]));
                ok(0, 0, 0)
            }
            super::NOTE_SET | super::NOTE_READ if x[0] != state.word() || x[1] > 251 => {
                refused(Status::InvalidParameter)
            }
            super::NOTE_SET => {
                state.note.insert(x[1], [x[2], x[3]]);
                ok(0, 0, 0)
            }
            super::NOTE_READ => {
                let [first, second] = state.note.get(&x[1]).copied().unwrap_or_default();
                ok(first, second, 0)
            }
            super::ENTRY_SET => {
                state.entry = (x[1], x[2]);
                ok(0, 0, 0)
            }
            super::PARTITION_START => match (state.phase, x[1]) {
                (HELD, 0 | 2) => {
                    state.phase = ACTIVE;
                    ok(state.word(), 0, 0)
                }
                (CREATED | ENDED, hold @ (0 | 1)) => {
                    state.phase = if hold == 1 { BUILDING } else { ACTIVE };
                    state.id += 1;
                    ok(state.word(), 0, 0)
                }
                _ => refused(Status::WrongState),
            },
            _ => ok(0, 0, 0),
        })
    }

    fn load(&self, partition: u64, to: u64, bytes: &[u8]) -> Option<[u64; 4]> {
        let mut state = self.state.borrow_mut();
        state.called(super::PARTITION_LOAD);
        if state.phase != HELD || partition != state.word() {
            return Some(refused(Status::WrongState));
        }
        let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap();
        assert_eq!((to, bytes.len() % 8), (0x4000_0000 + length(&state.memory), 0));
        let bytes = &bytes[..bytes.len().min(1 << 10)];
        state.memory.extend(bytes);
        Some(ok(length(bytes), 0, 0))
    }
}

impl Trees for Fake {
    fn gic(&self) -> Option<Gic> {
        Some(Gic::V3)
    }

    fn keep(&self, name: &str, tree: &[u8]) -> io::Result<()> {
        if self.has_no_room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.trees.borrow_mut().insert(name.to_owned(), tree.to_vec());
        Ok(())
    }

    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        self.trees.borrow().get(name).cloned()
    }

    fn forget(&self, name: &str) {
        self.trees.borrow_mut().remove(name);
    }
}

fn linux() -> NewPartition {
    NewPartition {
        name: "l".to_owned(),
        vcpus: vec![NewVcpu { cores: Cores(1), time: Time::Owned, priority: 0 }],
        memory: vec![Region::first(64 << 20)],
        image: "k".to_owned(),
        boot: Boot::Linux,
        initrd: Some("i".to_owned()),
        cmdline: Some("x".repeat(3_000)),
        console: true,
        ..NewPartition::default()
    }
}

#[test]
fn a_start_of_one_with_a_tree_has_it_built_and_the_next_one_loads_the_tree_and_runs_it() {
    let mut door = Door(Fake::default());
    let id = door.create(&linux()).unwrap();
    {
        let state = door.0.state.borrow();
        assert_eq!(state.images, [(0, 0x4020_0000), (1, 0x43ff_e000)]);
        assert_eq!(state.entry, (0x4020_0000, 0x4000_0000));
    }
    assert_eq!(door.is_held_first(id), Ok(true));
    let life = door.act(id, Act::Start).unwrap();
    assert_eq!((life.id.0, door.0.state.borrow().phase), (8, BUILDING));
    door.0.state.borrow_mut().phase = HELD;
    assert_eq!(door.act(life, Act::Start), Ok(life));
    let state = door.0.state.borrow();
    assert_eq!(state.phase, ACTIVE);
    assert!(state.memory.starts_with(&door.0.trees.borrow()["l"]), "in several calls");
}

/// What a start of a held life answers which somebody else has brought into a phase, before the next call of a number.
fn start_overtaken(before: u16, phase: u64) -> (bool, Result<PartitionRef, Refusal>, Fake) {
    let mut door = Door(Fake::default());
    let id = door.create(&linux()).unwrap();
    let life = door.act(id, Act::Start).unwrap();
    door.0.state.borrow_mut().phase = HELD;
    door.0.state.borrow_mut().overtaken = Some((before, phase));
    let started = door.act(life, Act::Start);
    assert_eq!(door.0.state.borrow().overtaken, None, "it happened");
    (started == Ok(life), started, door.0)
}

#[test]
fn who_comes_second_with_the_tree_has_nothing_to_do() {
    for before in [super::PARTITION_LIST, super::PARTITION_LOAD, super::PARTITION_START] {
        for phase in [ACTIVE, PAUSED] {
            let (is_life, started, _) = start_overtaken(before, phase);
            assert!(is_life, "{before:#x} {phase}: {started:?}");
        }
    }
}

#[test]
fn a_start_of_one_that_was_ended_meanwhile_is_refused_and_leaves_it_so() {
    for (before, phase) in [
        (super::PARTITION_LIST, ENDING),
        (super::PARTITION_LOAD, ENDING),
        (super::PARTITION_LOAD, ENDED),
        (super::PARTITION_START, ENDING),
        (super::PARTITION_START, ENDED),
    ] {
        let (_, started, fake) = start_overtaken(before, phase);
        let status = started.map_err(|refusal| refusal.status);
        assert_eq!(status, Err(Status::WrongState), "{before:#x} {phase}");
        let state = fake.state.borrow();
        assert_eq!((state.phase, state.id), (phase, 8), "no other life has begun: {before:#x}");
    }
}

#[test]
fn a_program_without_an_operating_system_is_started_at_once() {
    let mut door = Door(Fake::default());
    let flat = NewPartition { boot: Boot::Flat, initrd: None, cmdline: None, ..linux() };
    let id = door.create(&flat).unwrap();
    assert_eq!(door.0.state.borrow().entry, (0x4008_0000, 0));
    assert_eq!(door.is_held_first(id), Ok(false));
    door.act(id, Act::Start).unwrap();
    assert_eq!(door.0.state.borrow().phase, ACTIVE);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    for (new, text) in [
        (
            NewPartition { image: "v".to_owned(), ..linux() },
            "there is no image `v`; there are k, i, abcdefghabcdefghabcdefghabcdefghabcdefgh",
        ),
        (
            NewPartition { initrd: Some("v".to_owned()), ..linux() },
            "there is no image `v`; there are k, i",
        ),
        (
            NewPartition { memory: vec![Region::first(26 << 20)], ..linux() },
            "not enough memory: 26M, and what it runs needs 26632K",
        ),
        (
            NewPartition { cmdline: Some("x".repeat(3_976)), ..linux() },
            "cmdline: 4033 bytes say what it is made of, and at most 4032 fit",
        ),
    ] {
        let mut door = Door(Fake::default());
        let refusal = door.create(&new).unwrap_err().to_string();
        assert!(refusal.starts_with(text), "{refusal}");
        assert!(!door.0.state.borrow().calls.contains(&super::PARTITION_CREATE));
    }
}

#[test]
fn without_room_for_its_tree_nothing_is_left_of_it() {
    let mut door = Door(Fake { has_no_room: true, ..Fake::default() });
    let refusal = door.create(&linux()).unwrap_err().to_string();
    assert!(refusal.starts_with("its device tree: "), "{refusal}");
    assert_eq!(door.0.state.borrow().phase, 0);
}

#[test]
fn a_tree_goes_with_its_partition_and_is_made_anew_of_what_is_noted_where_it_is_not_known() {
    let mut door = Door(Fake::default());
    let id = door.create(&linux()).unwrap();
    let tree = door.0.kept("l");
    // As of a system that was restarted: whoever starts it, in whatever state.
    for phase in [CREATED, HELD, ACTIVE, ENDED] {
        door.0.forget("l");
        door.0.state.borrow_mut().phase = phase;
        assert_eq!(door.is_held_first(id), Ok(true));
        assert_eq!(door.0.kept("l"), tree);
    }
    // What cannot be made again is said.
    door.0.forget("l");
    door.0.state.borrow_mut().note.insert(0, [u64::from_le_bytes(*b"whatever"); 2]);
    assert_eq!(door.is_held_first(id), Ok(false), "that is no note of ours");
    let note = "kernel=v memory=64M cores=1";
    door.0.state.borrow_mut().phase = CREATED;
    door.0.state.borrow_mut().note.clear();
    door.set_note(id, note).unwrap();
    assert_eq!(door.made_of(id), Ok(Some(note.to_owned())));
    let refusal = door.act(id, Act::Start).unwrap_err().to_string();
    assert!(refusal.starts_with("there is no image `v`; there are "), "{refusal}");
    door.act(id, Act::Destroy).unwrap();
    assert_eq!(door.0.kept("l"), None);
    // Another one of the name has none.
    door.0.keep("l", b"old").unwrap();
    door.create(&NewPartition { boot: Boot::Flat, initrd: None, cmdline: None, ..linux() })
        .unwrap();
    assert_eq!(door.0.kept("l"), None);
    assert_eq!(door.is_held_first(id), Ok(false));
    let note = "image=k memory=64M cores=0 console=yes";
    assert_eq!(door.made_of(id), Ok(Some(note.to_owned())));
}

#[test]
fn a_tree_that_was_made_anew_and_cannot_be_kept_is_used() {
    let mut door = Door(Fake::default());
    let id = door.create(&linux()).unwrap();
    door.0.forget("l");
    door.0.has_no_room = true;
    let life = door.act(id, Act::Start).unwrap();
    door.0.state.borrow_mut().phase = HELD;
    assert_eq!(door.act(life, Act::Start), Ok(life));
    let state = door.0.state.borrow();
    assert_eq!((state.phase, door.0.kept("l")), (ACTIVE, None));
    assert!(!state.memory.is_empty());
}

/// Everything that can be given.
fn with_all() -> NewPartition {
    let areas = NewAreas { pages: 16, blocks: 8, giants: 1, channels: 2, shares: 4 };
    let vcpu = NewVcpu { cores: Cores(6), time: Time::Owned, priority: 3 };
    let [first, second, kept] =
        [0, 5, 3].map(|number| OwnedDevice { owner: "o".to_owned(), number });
    NewPartition {
        name: "w".to_owned(),
        limits: vec![(Resource::EventPorts, 9)],
        vcpus: vec![vcpu; 3],
        kept_vcpus: 2,
        memory: vec![Region::first(16 << 20), Region { at: 1 << 32, bytes: 4 << 20 }],
        x0: Some(77),
        image: "k".to_owned(),
        handles: 64,
        requests: 4,
        areas,
        devices: vec![first, second],
        kept_devices: vec![kept],
        ..NewPartition::default()
    }
}

#[test]
fn everything_that_can_be_given_is_given_by_its_call() {
    let mut door = Door(Fake::default());
    door.create(&with_all()).unwrap();
    assert_eq!(door.0.state.borrow().entry, (0x4008_0000, 77));
    let owner = OWNER.encode();
    assert_eq!(
        door.0.state.borrow().given,
        [
            (super::LIMIT_SET, [4, 9, 0]),
            (super::LIMIT_SET, [0, 3_000_000, 0]),
            (super::LIMIT_SET, [2, 5120, 0]),
            (super::LIMIT_SET, [5, 3, 0]),
            (super::VCPU_ADD, [6, 0, 3]),
            (super::VCPU_ADD, [6, 0, 3 | 1 << 8]),
            (super::VCPU_ADD, [6, 0, 3 | 1 << 8]),
            (super::MEMORY_ADD, [0x4000_0000, 16 << 20, 0]),
            (super::MEMORY_ADD, [1 << 32, 4 << 20, 0]),
            (super::TALK_SET, [64, 4, 0]),
            (super::AREAS_SET, [16 | 8 << 16 | 1 << 32, 2 | 4 << 16, 0]),
            (super::DEVICE_ADD, [owner, 0, 0]),
            (super::DEVICE_ADD, [owner, 5, 0]),
            (super::DEVICE_ADD, [owner, 3 | 1 << 8, 0]),
        ]
    );
}

#[test]
fn a_device_that_is_not_given_is_named_with_the_reason_and_nothing_is_left() {
    for (status, why) in [
        (Status::NotFound, "`o` has no such device"),
        (Status::WrongState, "`o` has not ended, or will start again by itself"),
        (Status::Exists, "it is given already, or something else has its address or interrupt"),
        (Status::NotSupported, "it masters the bus"),
        (Status::InvalidParameter, "`o` is not of the description"),
        (Status::Range, "it has more registers than can be given in one step"),
    ] {
        let only_kept = NewPartition { devices: vec![], ..with_all() };
        for (new, key) in [(with_all(), "devices: `o:0`"), (only_kept, "kept_devices: `o:3`")] {
            let mut door = Door(Fake::default());
            door.0.state.borrow_mut().device_status = Some(status);
            let refusal = door.create(&new).unwrap_err();
            assert_eq!(refusal.to_string(), format!("{key}: {why}"));
            assert_eq!((refusal.status, door.0.state.borrow().phase), (status, 0));
        }
    }
    let ghost = OwnedDevice { owner: "ghost".to_owned(), number: 1 };
    let mut door = Door(Fake::default());
    let refusal = door.create(&NewPartition { devices: vec![ghost], ..with_all() }).unwrap_err();
    assert_eq!(refusal.to_string(), "devices: `ghost:1`: there is no partition `ghost`");
    assert!(!door.0.state.borrow().calls.contains(&super::PARTITION_CREATE));
}

#[test]
fn memory_that_is_not_given_is_named_with_the_reason_and_nothing_is_left() {
    for (status, why) in [
        (Status::Range, "no whole pages, or beyond its address space of 40 bits"),
        (Status::Exists, "other memory, its interrupt controller or its console is there"),
    ] {
        let mut door = Door(Fake::default());
        door.0.state.borrow_mut().memory_status = Some(status);
        let refusal = door.create(&with_all()).unwrap_err();
        assert_eq!(refusal.to_string(), format!("memory: `16M`: {why}"));
        assert_eq!((refusal.status, door.0.state.borrow().phase), (status, 0));
    }
}

#[test]
fn a_contradiction_does_not_come_to_the_hypervisor() {
    let mut door = Door(Fake::default());
    let refusal = door.create(&NewPartition { handles: 0, ..with_all() }).unwrap_err();
    assert_eq!(refusal.to_string(), "requests: without `handles` nothing can be asked for");
    assert_eq!(door.0.state.borrow().calls, []);
}
