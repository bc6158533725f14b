//! A guest that attacks: random and structured hypercalls, device accesses of every size and kind, random system
//! registers, exceptions of all classes, foreign memory, broken tables; from all its vCPUs at once. A second one of its kind is
//! at the other end of its events, channels, shared areas and objects, and makes calls as wild as its own.
//!
//! Command line: `seed=N` (default 1), `steps=N` actions on each vCPU (default 20000), `peer=N` whom it asks for connections, `brief`
//! (no count for each call about what is there, nor for each class of exception), `shared` (its vCPUs share a core, where WFI comes
//! to EL2), `all` (goes on with those, up to ten times as long, until each has succeeded),
//! `verbose` (each system register before it is accessed), `kinds=LETTERS` (default all): `c` calls, `t` calls about what is
//! there, `m` device accesses, `s` system registers, `e` exceptions, `f` foreign memory, `w` walks through foreign tables, `x`
//! set and way. The seed is printed first, so that a run can be repeated; at the end the counts. What ends the partition on
//! purpose is left out, so that it lives on to attack again.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "attacks")]

mod act;
mod classes;
mod groups;
mod live;
mod opcodes;
mod power;
mod talk;
mod user;
mod values;

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::mmu::Access;
use shikiri_rt::{console, irq, platform, println, reg, smp, trap};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::{done, fault, port};

use act::{Kind, Worker};

global_asm!(include_str!("pieces.s"));

/// How many actions of each kind were done, and how many of all raised an exception.
static COUNTS: [AtomicU64; Kind::ALL.len()] = [const { AtomicU64::new(0) }; Kind::ALL.len()];
static FAULTS: AtomicU64 = AtomicU64::new(0);
static FINISHED: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    // A random write may let interrupts in: they are ended, and masked again.
    for kind in [trap::Kind::Irq, trap::Kind::Fiq, trap::Kind::SError] {
        // SAFETY: `swallow` changes nothing but the masks of interrupts.
        unsafe { trap::set_handler(kind, swallow) };
    }
    println!("hostile: seed {}, {} vCPUs", seed(), smp::count());
    act::break_tables();
    user::prepare();
    classes::wait_once();
    let viewed = port::map_windows(Access::Data);
    assert!(viewed.is_ok(), "mapping the window region");
    // With three vCPUs or more the last one stays off: a target for CPU_ON.
    let workers = if smp::count() > 2 { smp::count() - 1 } else { smp::count() };
    let started = (1..workers).filter(|index| smp::start(*index, attack).is_ok()).count() as u64;
    attack();
    while FINISHED.load(Ordering::Acquire) < started + 1 {
        power::revive();
        reg::yield_now();
    }
    console::init();
    for (kind, count) in Kind::ALL.iter().zip(&COUNTS) {
        println!("hostile: {} {}", kind.name(), count.load(Ordering::Relaxed));
    }
    talk::report();
    classes::report();
    println!("hostile: exceptions {}", FAULTS.load(Ordering::Relaxed));
    println!("ok hostile");
    done()
}

fn seed() -> u64 {
    platform::number_of("seed").unwrap_or(1)
}

/// The masks D, A, I, F in SPSR.
const MASKS: u64 = 0xf << 6;

fn swallow(frame: &mut trap::Frame) {
    let acknowledged = shikiri_rt::gic::acknowledge();
    if acknowledged.intid().is_some() {
        shikiri_rt::gic::end(acknowledged);
    }
    frame.spsr |= MASKS;
}

fn act(worker: &mut Worker, kind: Kind) {
    if worker.act(kind).is_err() {
        FAULTS.fetch_add(1, Ordering::Relaxed);
    }
    COUNTS[kind as usize].fetch_add(1, Ordering::Relaxed);
}

fn attack() {
    irq::mask();
    let index = smp::index() as u64;
    let mut worker = Worker::new(Random::new(seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) + index));
    let kinds = platform::value_of("kinds").unwrap_or("ctmsefwx");
    let steps = platform::number_of("steps").unwrap_or(20_000);
    for _ in 0..steps {
        if smp::index() == 0 {
            power::revive();
        }
        let kind = worker.choose();
        if kinds.contains(kind.letter()) {
            act(&mut worker, kind);
        }
    }
    if platform::has_word("all") {
        let more = (0..10 * steps).take_while(|_| !talk::is_complete());
        more.for_each(|_| act(&mut worker, Kind::Talk));
    }
    FINISHED.fetch_add(1, Ordering::Release);
}
