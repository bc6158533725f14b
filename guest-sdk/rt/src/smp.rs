//! The other vCPUs: a stack and a start for each.
#![expect(unsafe_code, reason = "starts vCPUs on stacks of their own")]

use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use shikiri_hvc::{Conduit, psci};

use crate::memory::PAGE_BYTES;
use crate::mmu::{Access, NoMemory, Regime, Tables};
use crate::platform::{MAX_VCPUS, platform};
use crate::{power, reg};

/// For each vCPU: guard, 4 pages of stack, guard, 2 pages of exception stack.
const STACK_PAGES: u64 = 4;
const EXCEPTION_STACK_PAGES: u64 = 2;
const PAGES_PER_VCPU: u64 = STACK_PAGES + EXCEPTION_STACK_PAGES + 2;

/// For how many vCPUs, the first included, there are stacks.
static PREPARED: AtomicU64 = AtomicU64::new(1);
/// What each vCPU is told when it starts.
static BLOCKS: [StartBlock; MAX_VCPUS] = [const { StartBlock::new() }; MAX_VCPUS];

/// What start.s reads with the MMU off, at these offsets; one cache line each, so that cleaning one does not
/// touch another.
#[repr(C, align(64))]
struct StartBlock {
    exception_stack: AtomicU64,
    stack: AtomicU64,
    index: AtomicU64,
    ttbr0: AtomicU64,
    tcr: AtomicU64,
    mair: AtomicU64,
    sctlr: AtomicU64,
    entry: AtomicPtr<()>,
}

const _: () = assert!(size_of::<StartBlock>() == 64, "start.s has these offsets");

impl StartBlock {
    const fn new() -> Self {
        Self {
            exception_stack: AtomicU64::new(0),
            stack: AtomicU64::new(0),
            index: AtomicU64::new(0),
            ttbr0: AtomicU64::new(0),
            tcr: AtomicU64::new(0),
            mair: AtomicU64::new(0),
            sctlr: AtomicU64::new(0),
            entry: AtomicPtr::new(core::ptr::null_mut()),
        }
    }
}

/// Why a vCPU was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The device tree has no such vCPU.
    NoSuchVcpu,
    /// There was no memory for its stacks.
    NoStack,
    /// PSCI refused, with this code.
    Psci(i32),
}

/// This vCPU's index in the device tree.
#[must_use]
pub fn index() -> usize {
    usize::try_from(reg::tpidr_el1()).unwrap_or(0)
}

/// How many vCPUs there are.
#[must_use]
pub fn count() -> usize {
    platform().vcpus
}

/// Starts vCPU `index`; it runs `entry`, and turns itself off when that returns. It may be started again then.
///
/// # Errors
/// See [`StartError`]; `Psci(ALREADY_ON)` if it runs, `Psci(ON_PENDING)` if it was started and has not begun yet.
#[expect(clippy::as_conversions, reason = "a function's address has no other spelling")]
pub fn start(index: usize, entry: fn()) -> Result<(), StartError> {
    let block = BLOCKS.get(index).ok_or(StartError::NoSuchVcpu)?;
    let mpidr = platform().mpidr(index).ok_or(StartError::NoSuchVcpu)?;
    let number = u64::try_from(index).unwrap_or(u64::MAX);
    if number == 0 || number >= PREPARED.load(Ordering::Relaxed) {
        return Err(if number == 0 {
            StartError::Psci(psci::code::ALREADY_ON)
        } else {
            StartError::NoStack
        });
    }
    // What it was started for before stays: it is taken out when it begins.
    let (null, entry) = (core::ptr::null_mut(), entry as *mut ());
    if block.entry.compare_exchange(null, entry, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return Err(StartError::Psci(psci::code::ON_PENDING));
    }
    let address = u64::try_from((&raw const *block).expose_provenance()).unwrap_or(0);
    clean(address);
    // SAFETY: the entry is start.s's, the block is complete and cleaned, the stacks in it are this vCPU's own.
    match unsafe { psci::cpu_on(Conduit::Hvc, mpidr, secondary_entry(), address) } {
        psci::code::SUCCESS => Ok(()),
        code => {
            block.entry.store(null, Ordering::Release);
            Err(StartError::Psci(code))
        }
    }
}

/// Starts all other vCPUs with `entry`; how many run now, this one included.
pub fn start_all(entry: fn()) -> usize {
    let others = (1..count()).filter(|index| start(*index, entry).is_ok()).count();
    others.saturating_add(1)
}

/// Takes stacks for all vCPUs but the first, as far as memory goes, and fills in their start blocks.
pub(crate) fn reserve_stacks(tables: &mut Tables<'_>, vcpus: usize) -> Result<(), NoMemory> {
    for (index, block) in (0_u64..).zip(&BLOCKS).take(vcpus).skip(1) {
        // A page is kept for each table that the guards may need.
        if tables.free().pages() < PAGES_PER_VCPU.wrapping_add(2) {
            break;
        }
        let base = tables.free().take(PAGES_PER_VCPU).ok_or(NoMemory)?;
        let stack = page(base, STACK_PAGES.wrapping_add(1));
        for guard in [base, stack] {
            tables.map(guard, guard, PAGE_BYTES, Access::Nothing)?;
        }
        block.stack.store(stack, Ordering::Relaxed);
        block.exception_stack.store(page(base, PAGES_PER_VCPU), Ordering::Relaxed);
        block.index.store(index, Ordering::Relaxed);
        PREPARED.store(index.wrapping_add(1), Ordering::Relaxed);
    }
    Ok(())
}

/// Gives every vCPU the same translation as the first.
pub(crate) fn publish_regime(regime: &Regime) {
    for block in &BLOCKS {
        block.ttbr0.store(regime.ttbr0, Ordering::Relaxed);
        block.tcr.store(regime.tcr, Ordering::Relaxed);
        block.mair.store(regime.mair, Ordering::Relaxed);
        block.sctlr.store(regime.sctlr, Ordering::Relaxed);
    }
}

/// Runs what this vCPU was started for.
pub(crate) fn run_entry() -> ! {
    let null = core::ptr::null_mut();
    let entry = BLOCKS.get(index()).map_or(null, |block| block.entry.swap(null, Ordering::AcqRel));
    if !entry.is_null() {
        // SAFETY: only `start` stores a pointer that is not null, and it stores a `fn()`.
        let entry = unsafe { core::mem::transmute::<*mut (), fn()>(entry) };
        entry();
    }
    let _refused: i32 = psci::cpu_off(Conduit::Hvc);
    power::hang()
}

fn page(base: u64, pages: u64) -> u64 {
    base.wrapping_add(pages.wrapping_mul(PAGE_BYTES))
}

/// Cleans the cache line at `address` to the point of coherency: who reads it next has its cache off.
fn clean(address: u64) {
    // SAFETY: cleaning writes back what is there.
    unsafe { asm!("dc cvac, {}", in(reg) address, options(nostack, preserves_flags)) };
    reg::dsb_sy();
}

/// The address of start.s's entry for further vCPUs.
fn secondary_entry() -> u64 {
    let address: u64;
    // SAFETY: only computes an address.
    unsafe {
        asm!("adrp {0}, rt_secondary_start", "add {0}, {0}, :lo12:rt_secondary_start", out(reg) address,
            options(nostack, preserves_flags));
    }
    address
}
