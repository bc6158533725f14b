//! Physical interrupts: all of them come to EL2.

use core::sync::atomic::Ordering;

use shikiri_abi::IntId;
use shikiri_arch::hw::Clock;
use shikiri_vgic::{Here, Line};

use super::run;
use crate::console;
use crate::hw::clock::{self, Counter};
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

/// Takes one interrupt while a guest runs. True if the scheduler has to be asked.
#[inline]
pub(crate) fn on_interrupt(core: &mut CoreLocal) -> bool {
    let interrupt = core.gic.acknowledge();
    let intid = interrupt.intid();
    if intid.0 >= IntId::END_SPI.0 {
        return false;
    }
    core.gic.end(interrupt);
    match intid.0 {
        VIRTUAL_TIMER => {
            fire_timer(core);
            false
        }
        SGI_SYNC => {
            core.gic.deactivate(interrupt);
            sync(core);
            false
        }
        MAINTENANCE => {
            core.gic.deactivate(interrupt);
            sync(core);
            false
        }
        _ => {
            let needs_scheduler = serve_rare(core, intid);
            if !is_left_active(core, intid) {
                core.gic.deactivate(interrupt);
            }
            needs_scheduler
        }
    }
}

/// Takes what is pending while this core is in the scheduler.
pub(crate) fn take_pending(core: &mut CoreLocal) {
    for _ in 0..BATCH {
        if crate::regs::isr_el1() & (1 << 7) == 0 {
            return;
        }
        // Whatever it is, the scheduler looks at everything next.
        let _needs_scheduler = on_interrupt(core);
    }
}

/// Whether the interrupt's active state is now its guest's to end.
fn is_left_active(core: &CoreLocal, intid: IntId) -> bool {
    intid.is_spi() && core.world.owner_of(intid).is_some()
}

/// The interrupts that are no part of a promise.
fn serve_rare(core: &mut CoreLocal, intid: IntId) -> bool {
    match intid.0 {
        SGI_SCHEDULE => true,
        HYP_TIMER => on_hyp_timer(core),
        _ if core.world.uart_intid == intid => {
            console::on_interrupt(core);
            false
        }
        _ => {
            deliver(core, intid);
            false
        }
    }
}

/// The loaded vCPU's virtual timer has fired: a hardware-linked interrupt, which its guest deactivates.
#[inline]
fn fire_timer(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded else {
        // Nobody is loaded: a timer that was stopped when its vCPU left. It has been ended; nothing holds it.
        core.gic.deactivate_intid(run::VIRTUAL_TIMER);
        return;
    };
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
    let mut devices = live.devices.lock();
    // Either is for the vCPU that is loaded here: nobody else is to be kicked.
    let _nobody = if core.world.gich.is_some() {
        run::own(vcpu).timer_line = true;
        devices.vgic().set_line(here, run::VIRTUAL_TIMER, vcpu.index, Line::High)
    } else {
        devices.vgic().fire(here, run::VIRTUAL_TIMER, vcpu.index)
    };
}

/// GICv2: the loaded vCPU has ended its virtual timer's interrupt. If the timer has let go of its line, the
/// physical interrupt is deactivated; else it stays, and the interrupt is delivered again.
///
/// On GICv3 the list register does this. On GICv2 it could, but QEMU's does not look at the line again when
/// a virtual end of interrupt deactivates the physical one, and a timer that was late by then never fires again
/// (`timers` and `regs` of the test guests); so one exit per tick is paid there.
fn look_at_timer_line(core: &CoreLocal, loaded: Loaded) {
    let Loaded { live, vcpu } = loaded;
    // CNTV_CTL_EL0: ENABLE, not IMASK, ISTATUS.
    if !run::own(vcpu).timer_line || crate::regs::cntv_ctl_el0() & 7 == 5 {
        return;
    }
    run::own(vcpu).timer_line = false;
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
    let _nobody =
        live.devices.lock().vgic().set_line(here, run::VIRTUAL_TIMER, vcpu.index, Line::Low);
    core.gic.deactivate_intid(run::VIRTUAL_TIMER);
}

/// Brings the loaded vCPU's list registers up to date.
#[inline]
fn sync(core: &mut CoreLocal) {
    let Some(Loaded { live, vcpu }) = core.loaded else { return };
    if core.world.gich.is_some() {
        look_at_timer_line(core, Loaded { live, vcpu });
    }
    let interface = core.interface(live);
    let kick = {
        let mut devices = live.devices.lock();
        devices.vgic().sync(&interface, vcpu.index)
    };
    if !kick.is_empty() {
        run::kick_vcpus(core.world, live, kick);
    }
}

/// The hypervisor timer: the loaded vCPU's physical timer, or time for the scheduler.
fn on_hyp_timer(core: &mut CoreLocal) -> bool {
    let now = Counter.now();
    clock::arm(None);
    if core.timer_at.is_some_and(|due| due <= now) {
        update_physical_timer(core);
    }
    let others = core.wake_at.iter().copied().flatten();
    let asked = [core.ask_at, core.console_at].into_iter().flatten();
    let is_due = others.chain(asked).any(|due| due <= now);
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
    let kick = live.devices.lock().vgic().set_line(here, run::PHYSICAL_TIMER, vcpu.index, level);
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
    let live = super::worker::live(slot)
        .filter(|_| slot.phase() == shikiri_core::lifecycle::Phase::Active);
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
    let kick = live.devices.lock().vgic().fire(here, virtual_id, shikiri_abi::VcpuIndex(0));
    run::kick_vcpus(core.world, live, kick);
}
