//! Crashes, in the way that the command line names (`crash=KIND`, default `read`).
//!
//! The kinds are the arms of [`crash`]. `wait_ms=N` crashes only after so long; `vcpu=N` on that vCPU. What the
//! run-time can catch it reports before it ends the partition; what it cannot is the hypervisor's to handle.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "crashing takes what safe Rust does not let through")]

use core::arch::asm;
use core::fmt;

use shikiri_rt::hvc::{Conduit, psci, raw};
use shikiri_rt::{mmio, mmu, platform, power, println, reg, smp, timer};

/// An address that no partition owns: above the platform's devices, below the end of the IPA space.
const NOWHERE: u64 = 0x70_0000_0000;

shikiri_rt::entry!(main);

fn main() {
    let kind = platform::value_of("crash").unwrap_or("read");
    println!("crash: {kind}");
    match platform::number_of("vcpu").and_then(|index| usize::try_from(index).ok()) {
        None | Some(0) => crash(),
        Some(index) => match smp::start(index, crash) {
            Ok(()) => power::idle(),
            Err(error) => println!("crash: vCPU {index} did not start: {error:?}"),
        },
    }
}

fn crash() {
    timer::spin(platform::number_of("wait_ms").unwrap_or(0).saturating_mul(1000));
    let address = platform::number_of("at").unwrap_or(NOWHERE);
    // SAFETY: nothing is there; that is the point.
    let nowhere = unsafe { mmio::Registers::new(address, 4) };
    match platform::value_of("crash").unwrap_or("read") {
        "read" => println!("read {:#x}", nowhere.read32(0)),
        "write" => nowhere.write32(0, 1),
        "exec" => execute(address),
        "undef" => run(0),
        "svc" => run(1),
        "brk" => run(2),
        "smc" => println!("smc: {:#x?}", unknown_call(Conduit::Smc)),
        "hvc" => println!("hvc: {:#x?}", unknown_call(Conduit::Hvc)),
        "overflow" => println!("{}", overflow(1)),
        "print" => println!("never seen whole: {}", Unprintable(nowhere)),
        "panic" => assert_eq!(smp::count(), 0, "asked to panic"),
        "end" => power::end(u32::try_from(platform::number_of("code").unwrap_or(7)).unwrap_or(7)),
        "reset" => psci::system_reset(Conduit::Hvc),
        "off" => power::off(),
        "wfi" => wait_masked(),
        "loop" => spin_masked(),
        "vectors" => lose_vectors(),
        "tables" => lose_tables(address),
        kind => println!("crash: no such kind: {kind}"),
    }
    println!("crash: still here");
}

/// Reads what is not there while the console is taken for the text.
struct Unprintable(mmio::Registers);

impl fmt::Display for Unprintable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0.read32(0))
    }
}

/// Jumps to `address`, mapped executable first.
fn execute(address: u64) {
    // SAFETY: the range is above RAM and devices, nothing uses it.
    let mapped = unsafe { mmu::map(address, address, 4096, mmu::Access::Anything) };
    assert_eq!(mapped, Ok(()));
    // SAFETY: it faults.
    unsafe { asm!("blr {}", in(reg) address, clobber_abi("C")) };
}

/// Executes an instruction that has no handler here.
fn run(which: u32) {
    match which {
        // SAFETY: an undefined instruction raises an exception.
        0 => unsafe { asm!("udf #0") },
        // SAFETY: a supervisor call raises an exception.
        1 => unsafe { asm!("svc #0") },
        // SAFETY: a breakpoint raises an exception.
        _ => unsafe { asm!("brk #0") },
    }
}

fn unknown_call(conduit: Conduit) -> raw::Results {
    // SAFETY: a function id that nobody has; where the conduit itself is missing it raises an exception.
    unsafe { raw::call(conduit, 0xC600_BEEF, [0; 6]) }
}

/// Uses up the stack.
#[expect(unconditional_recursion, reason = "it ends at the guard page")]
fn overflow(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    let [below, ..] = core::hint::black_box(frame.map(|value| value.wrapping_add(1)));
    overflow(below).wrapping_add(below)
}

/// Waits for an interrupt that cannot come.
fn wait_masked() {
    reg::mask_irq();
    loop {
        reg::wfi();
    }
}

fn spin_masked() {
    reg::mask_irq();
    loop {
        core::hint::black_box(());
    }
}

/// Points the vectors at an address where nothing is and faults: the fetch of the vector goes to the hypervisor,
/// and the abort that it gives back leads to the same vector.
fn lose_vectors() {
    // SAFETY: the range is above RAM and devices, nothing uses it.
    let mapped = unsafe { mmu::map(NOWHERE, NOWHERE, 4096, mmu::Access::Anything) };
    assert_eq!(mapped, Ok(()));
    // SAFETY: nothing runs afterwards but faults.
    unsafe { asm!("msr vbar_el1, {0}", "isb", "brk #0", in(reg) NOWHERE) };
}

/// Points the translation tables there, where nothing is: the next fetch needs a walk that stage 2 refuses.
fn lose_tables(address: u64) {
    // SAFETY: nothing runs afterwards but faults.
    unsafe {
        asm!("msr ttbr0_el1, {0}", "isb", "tlbi vmalle1", "dsb sy", "isb", in(reg) address & 0xffff_ffff_f000);
    }
}
