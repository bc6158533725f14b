//! Walks over the caches by set and way, as kernels and boot loaders make them to write everything back: which of their
//! operations takes as long as cleaning all of this partition's memory must take.
//!
//! Only by counted instructions does a time say that, and only on cores without FEAT_CCIDX is CCSIDR_EL1 as it is read here.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "reads the caches' geometry and maintains them")]

use core::arch::asm;

use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{memory, println};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

/// Reads one of the registers that describe the caches.
macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading them has no effect.
        unsafe {
            asm!(concat!("mrs {}, ", $register), out(reg) value, options(nostack, preserves_flags));
        }
        value
    }};
}

/// The most that an operation may take that has nothing to clean: an exit, and this program's own loop.
const OPERATION_NS: u64 = 500;

/// How the operands of a level follow each other.
#[derive(Clone, Copy)]
struct Order {
    name: &'static str,
    /// The ways change last, otherwise the sets do.
    by_way: bool,
    /// Both numbers fall.
    descends: bool,
}

/// The Arm ARM's example and TF-A; Linux of old and U-Boot; NetBSD; what is left.
const ORDERS: [Order; 4] = [
    Order { name: "ways down, sets down in each", by_way: true, descends: true },
    Order { name: "sets down, ways down in each", by_way: false, descends: true },
    Order { name: "ways up, sets up in each", by_way: true, descends: false },
    Order { name: "sets up, ways up in each", by_way: false, descends: false },
];

/// A level of cache that holds data.
#[derive(Clone, Copy)]
struct Level {
    /// From 0.
    number: u64,
    ways: u64,
    sets: u64,
    /// Log2 of the bytes of a line.
    line: u64,
}

/// What a walk was seen to do.
#[derive(Default)]
struct Seen {
    operations: u64,
    cleanings: u64,
    /// Ticks of the operations that did not clean.
    rest: u64,
    /// Ticks of those that did.
    cleaning: u64,
}

shikiri_rt::entry!(main);

fn main() {
    case("a_walk_by_set_and_way_cleans_memory_once_for_each_level", || {
        ORDERS.into_iter().try_for_each(once_for_each_level)
    });
    case("the_same_walk_again_cleans_again", || {
        let seen = [walk(ORDERS[0]), walk(ORDERS[0])];
        seen.iter().try_for_each(|seen| equal("cleanings", seen.cleanings, levels().count() as u64))
    });
    done()
}

fn once_for_each_level(order: Order) -> Outcome {
    let seen = walk(order);
    let us = |ticks: u64| ticks * 1_000_000 / timer::frequency();
    println!(
        "walks: {}: {} operations, {} of them clean in {} us, the others take {} us",
        order.name,
        seen.operations,
        seen.cleanings,
        us(seen.cleaning),
        us(seen.rest)
    );
    equal("cleanings", seen.cleanings, levels().count() as u64)?;
    equal("operations", seen.operations, levels().map(|level| level.ways * level.sets).sum())?;
    ensure("short operations", us(seen.rest) <= seen.operations * OPERATION_NS / 1000)
}

/// Walks over all levels. One that cleans more often than it should is left: it would take hours.
fn walk(order: Order) -> Seen {
    let cleaning = shortest_cleaning();
    let most = levels().count() as u64;
    let mut seen = Seen::default();
    for level in levels() {
        let (outer, inner) =
            if order.by_way { (level.ways, level.sets) } else { (level.sets, level.ways) };
        for step in 0..outer * inner {
            let place = if order.descends { outer * inner - 1 - step } else { step };
            let (major, minor) = (place / inner, place % inner);
            let (way, set) = if order.by_way { (major, minor) } else { (minor, major) };
            let ticks = clean_line(level, way, set);
            seen.operations += 1;
            if ticks < cleaning {
                seen.rest += ticks;
                continue;
            }
            seen.cleaning += ticks;
            seen.cleanings += 1;
            if seen.cleanings > most {
                return seen;
            }
        }
    }
    seen
}

/// How many ticks it takes at the least to clean the memory that this program has free, by one instruction for each line.
fn shortest_cleaning() -> u64 {
    let line_bytes = 4 << ((read!("ctr_el0") >> 16) & 0xf);
    timer::ticks(memory::free_pages() * memory::PAGE_BYTES / line_bytes / 1000)
}

/// DC CISW of one line; how many ticks it took.
fn clean_line(level: Level, way: u64, set: u64) -> u64 {
    let way_bits = level.ways.next_power_of_two().trailing_zeros();
    let operand = (way << (32 - way_bits)) | (set << level.line) | (level.number << 1);
    let before = Timer::Virtual.now();
    // SAFETY: cleaning and discarding lines keeps what memory holds.
    unsafe { asm!("dc cisw, {}", in(reg) operand, options(nostack, preserves_flags)) };
    Timer::Virtual.now() - before
}

/// The levels of data cache up to the point of coherency (CLIDR_EL1).
fn levels() -> impl Iterator<Item = Level> {
    let clidr = read!("clidr_el1");
    let coherent = (clidr >> 24) & 7;
    (0..coherent).filter(move |level| (clidr >> (level * 3)) & 7 >= 2).map(|number| {
        // SAFETY: CSSELR_EL1 only selects what CCSIDR_EL1 reads as; nothing else here uses it.
        unsafe {
            asm!("msr csselr_el1, {}", "isb", in(reg) number << 1, options(nostack, preserves_flags));
        }
        let ccsidr = read!("ccsidr_el1");
        let field = |shift: u32, bits: u32| (ccsidr >> shift) & ((1 << bits) - 1);
        Level { number, ways: field(3, 10) + 1, sets: field(13, 15) + 1, line: field(0, 3) + 4 }
    })
}
