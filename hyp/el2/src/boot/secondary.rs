//! The other cores.
#![expect(unsafe_code, reason = "entered from assembly, starts cores by firmware")]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{CoreId, MAX_CORES, Pa};
use shikiri_arch::board::{Board, CoreFact, StartMethod};
use shikiri_arch::hw::{Clock, PhysMem};

use super::log::refuse;
use super::mmu::MmuRegisters;
use super::{cores, image};
use crate::hw::clock::Counter;
use crate::hw::mem::Ram;
use crate::regs;
use crate::world::World;

/// What `secondary_entry` in `start.s` reads with the MMU off.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct SecondaryStart {
    mmu: MmuRegisters,
    stack: u64,
    core: u64,
    /// MPIDR_EL1's affinity and bit 31, which is always set there: what a core knows itself by that starts with nothing.
    mpidr: u64,
}

const EMPTY: SecondaryStart = SecondaryStart {
    mmu: MmuRegisters { ttbr0: 0, tcr: 0, mair: 0, sctlr: 0 },
    stack: 0,
    core: 0,
    mpidr: 0,
};

/// The records of all cores.
static STARTS: shikiri_sync::TicketLock<[SecondaryStart; MAX_CORES], shikiri_sync::rank::Machine> =
    shikiri_sync::TicketLock::new([EMPTY; MAX_CORES]);

/// What `spin_entry` in `start.s` reads with the MMU off: where the records begin and end. A line of its own.
#[repr(C, align(64))]
struct SpinRecords {
    first: AtomicU64,
    end: AtomicU64,
}

#[unsafe(no_mangle)]
static SPIN_RECORDS: SpinRecords = SpinRecords { first: AtomicU64::new(0), end: AtomicU64::new(0) };

/// The world, for cores that come up.
static WORLD: shikiri_sync::Once<&'static World> = shikiri_sync::Once::new();

unsafe extern "C" {
    /// `start.s`; only its address is taken.
    static secondary_entry: u8;
    /// `start.s`; only its address is taken.
    static spin_entry: u8;
}

fn address<T>(place: *const T) -> u64 {
    u64::try_from(place.expose_provenance()).unwrap_or(0)
}

/// Asks the firmware to start every core but this one.
pub(crate) fn start(world: &'static World, board: &Board, mmu: &MmuRegisters) {
    WORLD.call_once(|| world);
    let boot = regs::mpidr_el1() & 0xff_00ff_ffff;
    let others = board.cores.iter().take(board.core_count).enumerate();
    let others = others.filter(|(_, fact)| fact.mpidr != boot);
    // All records before the first start: cores that look at the same place leave it together.
    for (number, fact) in others.clone() {
        fill_record(number, fact, world.boot_core, mmu);
    }
    for (number, fact) in others {
        match fact.start {
            StartMethod::Psci if board.has_psci_by_smc => start_by_psci(number, fact),
            // An SMC that no firmware serves is undefined, or ends nowhere.
            StartMethod::Psci => refuse(format_args!(
                "core {number} (MPIDR {:#x}): the device tree has no way to start it: no PSCI by SMC, no spin table",
                fact.mpidr
            )),
            StartMethod::SpinTable(place) => start_by_table(number, board, place),
        }
    }
}

/// Fills in a core's record and cleans it to memory: the core reads it with its caches off.
fn fill_record(number: usize, fact: &CoreFact, boot_core: CoreId, mmu: &MmuRegisters) {
    let mut starts = STARTS.lock();
    let Some(record) = starts.get_mut(number) else { return };
    let id = CoreId(u8::try_from(number).unwrap_or(u8::MAX));
    let stack = u64::try_from(image::stack_of(id, boot_core).end).unwrap_or(0);
    let mpidr = fact.mpidr | 1 << 31;
    *record = SecondaryStart { mmu: *mmu, stack, core: u64::from(id.0), mpidr };
    Ram.clean_invalidate(Pa(address(record)), 64);
}

fn start_by_psci(number: usize, fact: &CoreFact) {
    let record = STARTS.lock().get(number).map_or(0, |record| address(record));
    let entry = address(core::ptr::addr_of!(secondary_entry));
    if let Err(error) = smccc::psci::cpu_on::<smccc::Smc>(fact.mpidr, entry, record) {
        refuse(format_args!(
            "core {number} (MPIDR {:#x}): the firmware's PSCI CPU_ON answers: {error}",
            fact.mpidr
        ));
    }
}

/// Stores the entry where the core looks, with its caches off, each time that it is woken (Devicetree Specification,
/// 3.8.1, and Linux, Documentation/arch/arm64/booting.rst). Several cores may look at the same place.
fn start_by_table(number: usize, board: &Board, place: Pa) {
    if !board.can_release_at(place) {
        refuse(format_args!(
            "core {number}: its cpu-release-addr {:#x} is not in RAM that the firmware keeps, or not a multiple of 8",
            place.0
        ));
    }
    let records = STARTS.lock();
    let range = records.as_ptr_range();
    SPIN_RECORDS.first.store(address(range.start), Ordering::Relaxed);
    SPIN_RECORDS.end.store(address(range.end), Ordering::Relaxed);
    drop(records);
    Ram.clean_invalidate(Pa(address(&raw const SPIN_RECORDS)), 64);
    Ram.write_u64(place, address(core::ptr::addr_of!(spin_entry)));
    Ram.clean_invalidate(place, 8);
    regs::sev();
}

/// How long all cores together may take, in seconds: far more than any does, also where a loaded host plays 64 of them.
const PATIENCE_S: u64 = 20;

/// Waits until every core is up. A spin table says nothing of a core that does not look at it.
pub(crate) fn wait_for_all(world: &World) {
    let limit = Counter.frequency_hz().saturating_mul(PATIENCE_S);
    let since = Counter.now();
    for (number, shared) in world.cores.iter().enumerate() {
        while !shared.is_up.load(Ordering::Acquire) {
            if Counter.now().saturating_sub(since) > limit {
                refuse(format_args!("core {number} was asked to start and has not come"));
            }
            shikiri_sync::relax();
        }
    }
}

/// Entered from `start.s` with the MMU on, on the core's own stack.
#[unsafe(no_mangle)]
extern "C" fn boot_secondary(number: u64) -> ! {
    let id = CoreId(u8::try_from(number).unwrap_or(u8::MAX));
    let Some(world) = WORLD.get() else { crate::fault::stop() };
    cores::check_core(world, id);
    let core = cores::join(world, id);
    cores::run(core)
}
