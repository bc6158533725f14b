//! A core becomes a part of the world, and enters the run loop.
#![expect(unsafe_code, reason = "hands each core its block, and leaves the stack of its start")]

use shikiri_abi::{CoreId, PAGE_BYTES, PageCount};
use shikiri_arch::hw::Clock;
use shikiri_arch::idreg::GicView;
use shikiri_core::frame::FrameState;
use shikiri_core::sched::{Excess, Terms, VcpuKey};
use shikiri_drivers::check_virtual_interface;
use shikiri_pages::PageBox;
use shikiri_stage2::Format;

use super::image;
use super::log::refuse;
use super::machine::share;

use crate::guest::{self, setup};
use crate::hw::clock::Counter;
use crate::percore::CoreLocal;
use crate::regs;
use crate::world::{self, World};

/// The physical priority of interrupts that guests cause; the others have 0x80.
const GUESTS_PRIORITY: u8 = 0xa0;

/// Refuses a core that lacks what the boot core has: guests see that one's features, and the stage-2 tables have its format.
#[inline(never)]
pub(crate) fn check_core(world: &World, id: CoreId) {
    let view = match world.gich {
        Some(_) => GicView::MemoryMapped,
        None => GicView::SystemRegisters,
    };
    let format = Format::new(regs::id_aa64mmfr0_el1(), regs::id_aa64mmfr2_el1());
    let has_format = format.is_some_and(|own| world.format.holds_on(own));
    if !has_format || !world.ids.holds_on(&guest::ids::view(view)) {
        refuse(format_args!(
            "core {} (MIDR {:#x}) lacks features of core {}, which booted, or differs in CTR_EL0 or DCZID_EL0",
            id.0,
            regs::midr_el1(),
            world.boot_core.0
        ));
    }
}

/// Makes this core a part of the world; its block.
#[expect(clippy::mut_from_ref, reason = "the block is new memory, not a part of the world")]
pub(crate) fn join(world: &'static World, id: CoreId) -> &'static mut CoreLocal {
    crate::hw::tlb::note_errata();
    let hcr = setup::start_core(world.format);
    let (gic, target) = match world.gic.start_core(regs::mpidr_el1()) {
        Ok(started) => started,
        Err(error) => refuse(format_args!("core {}: {error}", id.0)),
    };
    if world.gich.is_none()
        && let Err(error) = check_virtual_interface(regs::ich_vtr_el2())
    {
        refuse(format_args!("core {}: {error}", id.0));
    }
    let Some((frames, stack)) = ({
        let take = |pages| world.frames.take(FrameState::Hypervisor, pages, PAGE_BYTES);
        take(PageBox::<CoreLocal>::PAGES).zip(take(PageCount(1)))
    }) else {
        refuse(format_args!("there is not enough RAM for core {}", id.0));
    };
    let top = stack.as_ptr().addr().get().saturating_add(4096);
    let core =
        PageBox::init_with(frames, |place| place.write(CoreLocal::new(id, world, gic, hcr, top)))
            .leak();
    core.clear_virtual_interface();
    seat_vcpus(core);
    for ppi in [25, 26, 27, world::SGI_SYNC, world::SGI_SCHEDULE] {
        core.gic.private().enable(shikiri_abi::IntId(ppi));
    }
    // What a guest can cause without end comes after what the scheduler and the operator need: among equal
    // priorities the lowest INTID would be first, and a flood of SGIs to a sibling would hide the timer.
    for caused_by_guests in [world::SGI_SYNC, 25, 27] {
        core.gic.private().set_priority(shikiri_abi::IntId(caused_by_guests), GUESTS_PRIORITY);
    }
    // It is the boot core's, which is the first here, until one comes that nobody owns; of several such cores the last has it.
    let may_have_console = id == world.boot_core || !core.queue.is_owned();
    if may_have_console && world.uart_intid.is_spi() {
        world.gic.route(world.uart_intid, &target);
        world.gic.spis().enable(world.uart_intid);
    }
    let block = u64::try_from(core::ptr::from_ref(core).expose_provenance()).unwrap_or(0);
    // SAFETY: this core's own block.
    unsafe { regs::set_tpidr_el2(block) };
    if let Some(shared) = core.shared() {
        shared.announce(target);
    }
    core
}

/// Seats the vCPUs whose home this core is, and notes where those live that may come here.
fn seat_vcpus(core: &mut CoreLocal) {
    let world = core.world;
    for slot in world.slots {
        let vcpus = slot.description().vcpus();
        for ((index, home), vcpu) in (0_u8..).zip(slot.homes.iter()).zip(vcpus) {
            if home.core == core.id {
                let key = VcpuKey { partition: slot.number, vcpu: shikiri_abi::VcpuIndex(index) };
                let terms = Terms {
                    key,
                    share: share(vcpu.time),
                    priority: vcpu.priority,
                    excess: Excess::Stop,
                    cores: vcpu.cores,
                };
                core.queue.seat(home.seat, terms, Counter.now());
            } else if vcpu.cores.contains(core.id) {
                let shared = core.shared();
                let _is_new = shared.is_some_and(|shared| shared.lenders.insert(home.core));
            }
        }
    }
}

/// Enters the run loop on a fresh stack.
pub(crate) fn run(core: &'static mut CoreLocal) -> ! {
    let stack = image::stack_of(core.id, core.world.boot_core);
    let stack = u64::try_from(stack.end).unwrap_or(0);
    // SAFETY: the block is this core's, and nothing of the present stack is used again.
    unsafe { guest::run_core_on(core, stack) }
}
