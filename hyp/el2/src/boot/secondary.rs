//! The other cores.
#![expect(unsafe_code, reason = "entered from assembly, starts cores by firmware")]

use core::sync::atomic::Ordering;

use shikiri_abi::{CoreId, MAX_CORES, Pa};
use shikiri_arch::hw::PhysMem;

use super::log::refuse;
use super::mmu::MmuRegisters;
use super::tree::{Board, CoreFact, StartMethod};
use super::{image, machine};
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
}

const EMPTY: SecondaryStart =
    SecondaryStart { mmu: MmuRegisters { ttbr0: 0, tcr: 0, mair: 0, sctlr: 0 }, stack: 0, core: 0 };

/// The records of all cores.
static STARTS: shikiri_sync::TicketLock<[SecondaryStart; MAX_CORES], shikiri_sync::rank::Machine> =
    shikiri_sync::TicketLock::new([EMPTY; MAX_CORES]);

/// The world, for cores that come up.
static WORLD: shikiri_sync::Once<&'static World> = shikiri_sync::Once::new();

unsafe extern "C" {
    /// `start.s`; only its address is taken.
    static secondary_entry: u8;
}

/// Asks the firmware to start every core but this one.
pub(crate) fn start(world: &'static World, board: &Board, mmu: &MmuRegisters) {
    WORLD.call_once(|| world);
    let entry =
        u64::try_from(core::ptr::addr_of!(secondary_entry).expose_provenance()).unwrap_or(0);
    let boot = regs::mpidr_el1() & 0xff_00ff_ffff;
    for (number, fact) in board.cores.iter().take(board.core_count).enumerate() {
        if fact.mpidr == boot {
            continue;
        }
        let record = record(number, world.boot_core, mmu);
        start_one(number, fact, entry, record);
    }
}

/// Fills in a core's record and cleans it to memory: the core reads it with its caches off.
fn record(number: usize, boot_core: CoreId, mmu: &MmuRegisters) -> u64 {
    let mut starts = STARTS.lock();
    let Some(record) = starts.get_mut(number) else { return 0 };
    let id = CoreId(u8::try_from(number).unwrap_or(u8::MAX));
    let stack = u64::try_from(image::stack_of(id, boot_core).end).unwrap_or(0);
    *record = SecondaryStart { mmu: *mmu, stack, core: u64::from(id.0) };
    let at = u64::try_from(core::ptr::from_ref(record).expose_provenance()).unwrap_or(0);
    Ram.clean_invalidate(Pa(at), 64);
    at
}

fn start_one(number: usize, fact: &CoreFact, entry: u64, record: u64) {
    match fact.start {
        StartMethod::Psci => {
            if let Err(error) = smccc::psci::cpu_on::<smccc::Smc>(fact.mpidr, entry, record) {
                refuse(format_args!(
                    "core {number} (MPIDR {:#x}): the firmware's PSCI CPU_ON answers {error:?}",
                    fact.mpidr
                ));
            }
        }
        StartMethod::SpinTable(_) => {
            refuse(format_args!("core {number}: spin tables are not served yet"))
        }
    }
}

/// Waits until every core is up.
pub(crate) fn wait_for_all(world: &World) {
    for shared in world.cores {
        while !shared.is_up.load(Ordering::Acquire) {
            shikiri_sync::relax();
        }
    }
}

/// Entered from `start.s` with the MMU on, on the core's own stack.
#[unsafe(no_mangle)]
extern "C" fn boot_secondary(number: u64) -> ! {
    let id = CoreId(u8::try_from(number).unwrap_or(u8::MAX));
    let Some(world) = WORLD.get() else { crate::fault::stop() };
    let core = machine::join(world, id);
    machine::run(core)
}
