//! Debian's Linux in a partition that is made at run time, with a device tree made here.

extern crate alloc;

use alloc::vec::Vec;

use shikiri_abi::{Ipa, Resource};
use shikiri_policy::{Cause, Partition, State, Time, image};
use shikiri_rt::{console, gic, heap, platform, println, reg, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure};
use shikiri_tree::{Gic, Machine, Platform};

use crate::tools::{ended, made, wait, wait_for};

const RAM: u64 = 0x4000_0000;
const BYTES: u64 = 192 << 20;
/// A multiple of 2 MiB; the tree is below it.
const KERNEL: Ipa = Ipa(RAM + (2 << 20));
const INITRD: Ipa = Ipa(RAM + (128 << 20));
const VCPUS: u8 = 2;

/// Where the kernel comes from.
#[derive(Clone, Copy, PartialEq)]
enum From {
    /// The bundle's images: copied when the partition is built.
    Bundle,
    /// This partition's own memory.
    Own,
}

/// The test says by a character when it has seen the guest's shell.
pub(crate) fn linux() -> ! {
    case("linux_is_made_from_nothing_with_a_tree_of_this_programs_own", || {
        ensure("a heap", heap::init(64) > 0)?;
        for from in [From::Bundle, From::Own] {
            live(from)?;
        }
        Ok(())
    });
    done()
}

fn live(from: From) -> Outcome {
    let new = made(Partition::create("debian"))?;
    // What it has besides its memory is counted apart.
    made(new.set_limit(Resource::Memory, Some(BYTES >> 12)))?;
    made(new.set_limit(Resource::CoreTime, Some(1_000_000)))?;
    for core in 1..=VCPUS {
        made(new.add_vcpu(&[core], Time::reserved(5_000, 10_000), 0))?;
    }
    made(new.add_memory(Ipa(RAM), BYTES))?;
    let initrd_bytes = made(new.add_image(made(image("linux/initrd.cpio"))?, INITRD))?;
    if from == From::Bundle {
        made(new.add_image(made(image("linux/Image"))?, KERNEL))?;
    }
    made(new.set_entry(KERNEL, RAM))?;
    made(new.set_console(true))?;
    let life = made(new.start_held())?;
    wait_for(life, State::Held)?;
    if from == From::Own {
        let [start, end] = platform::platform().ram_disk;
        ensure("a kernel", end > start)?;
        let bytes = end - start;
        let before = reg::now();
        made(life.load(KERNEL, Ipa(start), bytes.next_multiple_of(8)))?;
        println!("loaded {} KiB in {} us", bytes >> 10, to_us(reg::now() - before));
    }
    load_tree(life, initrd_bytes)?;
    made(life.start())?;
    wait("the test", || Ok(console::read_byte().is_some()))?;
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    made(life.destroy())
}

/// Linux's tree, in its memory below the kernel.
fn load_tree(life: Partition, initrd_bytes: u64) -> Outcome {
    let gic = match gic::version() {
        gic::Version::V2 => Gic::V2,
        gic::Version::V3 => Gic::V3,
    };
    let blob = Machine {
        name: "debian",
        gic,
        vcpus: VCPUS,
        memory: &[(RAM, BYTES)],
        platform: Platform::usual(gic),
        has_console: true,
        cmdline: Some("console=ttyAMA0 quiet"),
        initrd: Some((INITRD.0, initrd_bytes)),
    }
    .to_dtb();
    // What is loaded is words.
    let words: Vec<u64> = blob
        .chunks(8)
        .map(|bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        })
        .collect();
    let start = words.as_ptr().expose_provenance() as u64;
    made(life.load(Ipa(RAM), Ipa(start), words.len() as u64 * 8))
}

fn to_us(ticks: u64) -> u64 {
    ticks * 1_000_000 / timer::frequency()
}
