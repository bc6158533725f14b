//! Physical interrupts: all of them come to EL2.

use core::sync::atomic::Ordering;

use shikiri_abi::IntId;
use shikiri_arch::hw::{Clock, ListRegisters};
use shikiri_core::sched::earlier;
use shikiri_drivers::{Acknowledged, CoreGic, CpuInterface, SystemInterface};
use shikiri_vgic::{Here, Line, Quick};

use super::run;
use super::sync::Next;
use crate::console;
use crate::hw::clock::{self, Counter};
use crate::hw::gic::{MappedRegisters, SystemRegisters};
use crate::percore::{CoreLocal, Loaded};
use crate::world::{SGI_SCHEDULE, SGI_SYNC};

/// The hypervisor timer's PPI.
const HYP_TIMER: u16 = 26;
/// The virtual interface's maintenance PPI.
const MAINTENANCE: u16 = 25;
/// The virtual timer's PPI.
const VIRTUAL_TIMER: u16 = run::VIRTUAL_TIMER.0;

/// Interrupts that one visit to EL2 handles at most before guests run again: a device that never falls
/// silent cannot hold the core.
const BATCH: u32 = 16;

/// Takes one interrupt. What is frequent is done in place, without a lock and with nothing looked at twice, and what it
/// leaves is done last: these costs are promises.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
pub(crate) fn on_interrupt(core: &mut CoreLocal) -> Next {
    let left = match &core.gic {
        CoreGic::V3(_) => take_one(core, &SystemInterface, &SystemRegisters, |quick| {
            quick.sync_v3(&SystemRegisters)
        }),
        CoreGic::V2(gic) => {
            // A GICv2 without it is refused at boot.
            let Some(gich) = core.world.gich.as_ref() else { return Next::Leave };
            let registers = MappedRegisters(gich);
            take_one(core, gic, &registers, |quick| quick.sync_v2(&registers))
        }
    };
    if let Left::Nothing = left { Next::Resume } else { serve_left(core, left) }
}

#[inline(never)]
fn serve_left(core: &mut CoreLocal, left: Left) -> Next {
    match left {
        Left::Nothing => Next::Resume,
        Left::Timer => fire_timer(core),
        Left::Mail => take_mail(core),
        Left::Interrupt(interrupt) => on_other_interrupt(core, interrupt),
    }
}

/// What [`take_one`] leaves to be done.
enum Left {
    Nothing,
    /// The virtual timer's interrupt, which was ended.
    Timer,
    /// Mail, whose SGI was deactivated.
    Mail,
    /// This interrupt, of which nothing was done.
    Interrupt(Acknowledged),
}

#[inline(always)]
fn take_one(
    core: &CoreLocal,
    gic: &impl CpuInterface,
    registers: &impl ListRegisters,
    serve_mail: impl FnOnce(&Quick) -> bool,
) -> Left {
    let interrupt = gic.acknowledge();
    match interrupt.intid().0 {
        VIRTUAL_TIMER => {
            gic.end(interrupt);
            match core.quick() {
                Some(quick) if quick.fire(registers, run::VIRTUAL_TIMER) => Left::Nothing,
                _ => Left::Timer,
            }
        }
        SGI_SYNC => {
            // The mail is looked at after the acknowledge: earlier it may not be there yet, and nobody kicks again.
            gic.order_loads();
            gic.end(interrupt);
            gic.deactivate(interrupt);
            match core.quick() {
                Some(quick) if serve_mail(quick) => Left::Nothing,
                _ => Left::Mail,
            }
        }
        _ => Left::Interrupt(interrupt),
    }
}

/// Takes any other interrupt, in general.
#[inline(never)]
fn on_other_interrupt(core: &mut CoreLocal, interrupt: Acknowledged) -> Next {
    let intid = interrupt.intid();
    if intid.0 >= IntId::END_SPI.0 {
        return Next::Resume;
    }
    core.gic.end(interrupt);
    if intid.0 == MAINTENANCE {
        core.gic.deactivate(interrupt);
        return maintain(core);
    }
    let next = serve_rare(core, intid);
    if !is_left_active(core, intid) {
        core.gic.deactivate(interrupt);
    }
    next
}

/// Takes what is pending while this core is in the scheduler.
pub(crate) fn take_pending(core: &mut CoreLocal) {
    for _ in 0..BATCH {
        if crate::regs::isr_el1() & (1 << 7) == 0 {
            return;
        }
        // Whatever it is, the scheduler looks at everything next.
        let _next = on_interrupt(core);
    }
}

/// Whether the interrupt's active state is now its guest's to end.
fn is_left_active(core: &CoreLocal, intid: IntId) -> bool {
    intid.is_spi() && core.world.owner_of(intid).is_some()
}

/// The interrupts that are no part of a promise.
fn serve_rare(core: &mut CoreLocal, intid: IntId) -> Next {
    match intid.0 {
        SGI_SCHEDULE => {
            // As for mail: the inbox is looked at next.
            core.gic.order_loads();
            Next::Leave
        }
        HYP_TIMER if on_hyp_timer(core) => Next::Leave,
        HYP_TIMER => Next::Resume,
        _ if core.world.uart_intid == intid => {
            console::on_interrupt(core);
            Next::Resume
        }
        _ => {
            deliver(core, intid);
            Next::Resume
        }
    }
}

/// The loaded vCPU's virtual timer has fired: a linked interrupt, whose end deactivates the physical one.
#[inline(never)]
fn fire_timer(core: &CoreLocal) -> Next {
    let Some(Loaded { live, vcpu }) = core.loaded else {
        // Nobody is loaded: a timer that was stopped when its vCPU left. It has been ended; nothing holds it.
        core.gic.deactivate_intid(run::VIRTUAL_TIMER);
        return Next::Resume;
    };
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
    let kick = live.devices.lock().vgic(&live.quicks).fire(here, run::VIRTUAL_TIMER, vcpu.index);
    // It is for the vCPU that is loaded here, but what it displaces may be another's.
    run::kick_vcpus(core.world, live, kick);
    Next::Resume
}

/// Mail with more than SGIs in it: events, or something for the virtual GIC.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
fn take_mail(core: &CoreLocal) -> Next {
    if let Some(Loaded { live, vcpu }) = core.loaded
        && let Some(quick) = live.quick(vcpu.index)
        && quick.sync_spis(&core.interface(live), vcpu.index, &live.quicks.spis)
    {
        return Next::Resume;
    }
    sync(core)
}

/// The virtual interface has something to report.
#[inline(never)]
fn maintain(core: &CoreLocal) -> Next {
    if core.world.gich.is_some()
        && let Some(Loaded { live, .. }) = core.loaded
        && core.quick().is_some_and(|quick| quick.end_linked(&core.interface(live)))
    {
        return Next::Resume;
    }
    sync(core)
}

/// Brings the loaded vCPU's list registers up to date.
#[inline(never)]
fn sync(core: &CoreLocal) -> Next {
    let Some(Loaded { live, vcpu }) = core.loaded else { return Next::Resume };
    let interface = core.interface(live);
    let kick = live.devices.lock().vgic(&live.quicks).sync(&interface, vcpu.index);
    if !kick.is_empty() {
        run::kick_vcpus(core.world, live, kick);
    }
    Next::Resume
}

/// The hypervisor timer: the loaded vCPU's physical timer, or time for the scheduler.
fn on_hyp_timer(core: &mut CoreLocal) -> bool {
    let now = Counter.now();
    clock::arm(None);
    if core.timer_at.is_some_and(|due| due <= now) {
        update_physical_timer(core);
    }
    let asked = earlier(core.wake_at.next(), earlier(core.ask_at, core.console_at.get()));
    let is_due = asked.is_some_and(|due| due <= now);
    if !is_due {
        run::arm(core);
    }
    is_due
}

/// Brings the line of the loaded vCPU's emulated physical timer up to date, and its next deadline.
pub(crate) fn update_physical_timer(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded else { return };
    let timer = run::own(vcpu).timer;
    let now = Counter.now();
    let level = if timer.level(now) { Line::High } else { Line::Low };
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
    let kick = live.devices.lock().vgic(&live.quicks).set_line(
        here,
        run::PHYSICAL_TIMER,
        vcpu.index,
        level,
    );
    run::kick_vcpus(core.world, live, kick);
    core.timer_at = timer.deadline().filter(|due| *due > now);
}

/// A device's interrupt goes to its owner, with the number that its guest expects (V3).
fn deliver(core: &mut CoreLocal, physical: IntId) {
    let Some((slot, virtual_id)) = core.world.owner_of(physical) else {
        // Nobody's: it was enabled by the firmware, or its owner has just ended.
        core.world.gic.spis().disable(physical);
        core.world.stray_interrupts.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let lifecycle = slot.lifecycle.lock();
    let live = super::worker::live(slot).filter(|_| lifecycle.phase().is_alive());
    let Some(live) = live else {
        drop(lifecycle);
        core.world.gic.spis().disable(physical);
        core.gic.deactivate_intid(physical);
        return;
    };
    let interface = core.interface(live);
    let vcpu = core
        .loaded
        .filter(|loaded| core::ptr::eq(loaded.live, live))
        .map(|loaded| loaded.vcpu.index);
    let here = Here { hw: &interface, vcpu };
    let kick =
        live.devices.lock().vgic(&live.quicks).fire(here, virtual_id, shikiri_abi::VcpuIndex(0));
    run::kick_vcpus(core.world, live, kick);
}
