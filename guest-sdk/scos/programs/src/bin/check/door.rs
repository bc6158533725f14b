//! `/dev/shikiri`, for who may make policy: a timer is made, held and loaded; bad addresses are EFAULT and change nothing.
#![expect(unsafe_code, reason = "makes calls with bad addresses")]

use std::fs::OpenOptions;
use std::io::Error;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use shikiri_machine::{
    Act, Asked, Cores, Device, Machine, NewPartition, NewVcpu, Phase, Region, Time, Wanted,
};
use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::{os, partitions};

/// The `ioctl` that makes a policy call.
const CALL: u64 = 0xc038_5340;
const PARTITION_LIST: u64 = 0x100;
const POLICY_NOTIFY: u64 = 0x109;
const PARTITION_LOAD: u64 = 0x119;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
/// Where a partition's memory begins.
const MEMORY: u64 = 0x4000_0000;
/// Addresses that no program may use, as those of the topic `pointers`.
const BAD: [u64; 5] = [8, 0x7000_0000, 0xffff_ff80_4008_0000, 0x1234_5678_9abc_def0, u64::MAX - 3];

/// An `ioctl` of the device with these seven words: what it answers, and the words afterwards.
fn call(device: u64, mut words: [u64; 7]) -> (i64, [u64; 7]) {
    // SAFETY: seven words are read and written, and these are seven.
    let answer = unsafe { os::call(29, [device, CALL, (&raw mut words) as u64, 0, 0, 0]) };
    (answer, words)
}

pub(crate) fn check() {
    let device = OpenOptions::new().read(true).write(true).open("/dev/shikiri").unwrap();
    let device = u64::try_from(device.as_raw_fd()).unwrap();
    for bad in BAD {
        // SAFETY: the address is not mapped, so nothing of this program's is written.
        let answer = unsafe { os::call(29, [device, CALL, bad, 0, 0, 0]) };
        equal("words_at_a_bad_address_are_efault", answer, EFAULT);
    }
    for number in [0, 0xff, 0x200, u64::MAX, POLICY_NOTIFY] {
        let (answer, _) = call(device, [number, 0, 0, 0, 0, 0, 0]);
        equal("other_numbers_are_einval", answer, EINVAL);
    }
    let (answer, words) = call(device, [PARTITION_LIST, 0, 0, 0, 0, 0, 0]);
    equal("a_call_is_made", (answer, words[0]), (0, 0));
    loads(device);
}

/// The request that waits, once there is one.
fn taken() -> Asked {
    let mut machine = shikiri_machine::open();
    let request = |machine: &mut dyn Machine| machine.take_request().map_err(Error::other);
    partitions::when(machine.as_mut(), request).unwrap()
}

/// Takes a request and ends without an answer.
pub(crate) fn takes() {
    let asked = taken();
    println!("ok took {:?}", asked.wanted);
}

/// Takes a request and grants half of it.
pub(crate) fn answers() {
    let asked = taken();
    println!("ok answers {:?}", asked.wanted);
    let Wanted::More(_, amount) = asked.wanted else { return };
    equal("it_is_granted", shikiri_machine::open().answer(&asked, Some(amount / 2)), Ok(()));
    equal("and_over", shikiri_machine::open().take_request(), Ok(None));
}

/// Whoever listens is told, and goes on being told when others that have listened since are gone.
pub(crate) fn listens() {
    let device = Device::open();
    let mut first = device.events().unwrap();
    let mut is_told = |others: &str| {
        let what = format!("the_first_one_that_listens_is_told{others}");
        let mut machine = shikiri_machine::open();
        let id = machine.create(&small_timer()).unwrap();
        equal(&what, first.wait(Some(Duration::from_secs(60))).ok(), Some(true));
        machine.act(id, Act::Destroy).unwrap();
        equal(&what, first.wait(Some(Duration::from_secs(60))).ok(), Some(true));
    };
    is_told("");
    let mut second = device.events().unwrap();
    is_told("_beside_another");
    equal("and_so_is_the_other", second.wait(Some(Duration::from_secs(60))).ok(), Some(true));
    drop(second);
    is_told("_when_that_has_closed");
    let child = os::in_child(|| i32::from(Device::open().events().is_err())).unwrap();
    equal("another_program_listens_and_ends", os::wait(child, 0), Ok((child, os::Ended::Exit(0))));
    is_told("_when_that_program_has_ended");
}

/// A timer to be made.
fn small_timer() -> NewPartition {
    let time = Time::Reservation { budget_us: 1000, period_us: 10_000 };
    NewPartition {
        name: "w".to_owned(),
        vcpus: vec![NewVcpu { cores: Cores(8), time, priority: 0 }],
        memory: vec![Region::first(2 << 20)],
        image: "timer".to_owned(),
        ..NewPartition::default()
    }
}

/// The statuses are the hypervisor's: 0, WRONG_STATE, ALIGNMENT, RANGE, INVALID_PARAMETER.
fn loads(device: u64) {
    let [wrong_state, alignment, range, invalid] = [-19_i64, -24, -23, -3].map(i64::cast_unsigned);
    let mut machine = shikiri_machine::open();
    let new = NewPartition { cmdline: Some("ticks=1".to_owned()), ..small_timer() };
    let id = machine.create(&new).unwrap();
    let data = vec![0x5a_u8; 80_000];
    let load = |id: u64, to, from, bytes| {
        let (answer, words) = call(device, [PARTITION_LOAD, id, to, from, bytes, 0, 0]);
        (answer, words[0], words[1])
    };
    let from = data.as_ptr() as u64;
    let early = load(id.encode(), MEMORY, from, 4096);
    equal("one_that_is_not_held_is_not_loaded", (early.0, early.1), (0, wrong_state));
    let id = machine.act(id, Act::Start).unwrap();
    holds("a_start_has_it_held_first", machine.is_held_first(id).unwrap());
    reaches(machine.as_mut(), Phase::Held);
    let word = id.encode();
    for bad in BAD {
        equal("a_load_from_a_bad_address_is_efault", load(word, MEMORY, bad, 4096).0, EFAULT);
    }
    let page_end = os::map(4096, libc::PROT_READ, libc::MAP_PRIVATE).unwrap() as u64 + 4088;
    equal("the_last_word_of_a_page_is_loaded", load(word, MEMORY, page_end, 8), (0, 0, 8));
    holds("and_none_behind_it", load(word, MEMORY, from, 80_000) == (0, 0, 64 << 10));
    equal(
        "an_address_of_the_program_need_not_be_aligned",
        load(word, MEMORY, from + 1, 8),
        (0, 0, 8),
    );
    for (what, to, bytes, status) in [
        ("a_length_is_whole_words", MEMORY, 12, alignment),
        ("a_place_is_whole_words", MEMORY + 4, 8, alignment),
        ("a_place_is_in_its_memory", MEMORY + (2 << 20), 8, range),
    ] {
        let (answer, is, _) = load(word, to, from, bytes);
        equal(what, (answer, is), (0, status));
    }
    let (answer, words) = call(device, [PARTITION_LOAD, word, MEMORY, from, 8, 1, 0]);
    equal("what_is_reserved_is_zero", (answer, words[0]), (0, invalid));
    let life = machine.act(id, Act::Start).unwrap();
    equal("it_runs_afterwards", life, id);
    reaches(machine.as_mut(), Phase::Ended);
    holds("and_is_gone", machine.act(life, Act::Destroy).is_ok());
}

/// Waits until the partition that is made here is in this phase.
fn reaches(machine: &mut dyn Machine, phase: Phase) {
    let is_there = |machine: &mut dyn Machine| {
        let partitions = machine.partitions().map_err(Error::other)?;
        Ok(partitions.iter().any(|it| it.name == "w" && it.phase == phase).then_some(()))
    };
    partitions::when(machine, is_there).unwrap();
}
