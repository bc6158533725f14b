//! Trapped system registers: asks the core, applies the answer.

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::exit::SysregAccess;
use shikiri_arch::hw::Clock;
use shikiri_core::sysreg::{SysregOutcome, decide};
use shikiri_vgic::{Here, SgiRegister, VcpuSet, send_sgi1r};

use super::context::Context;
use super::live::Live;
use super::sync::{Next, advance, undefined};
use super::{irq, run};
use crate::hw::clock::Counter;
use crate::percore::{CoreLocal, Leave, Loaded};

/// A write to ICC_SGI1R_EL1 by the loaded vCPU.
#[inline(never)]
pub(crate) fn send_sgi1r_of(context: &mut Context, core: &mut CoreLocal, rt: u8) -> Next {
    let Some(Loaded { live, vcpu }) = core.loaded else { return Next::Leave };
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
    let sent = send_sgi1r(&live.quicks.vcpus, here, context.read_x(rt));
    let kick = match sent.own {
        None => sent.kick,
        Some(intid) => sent.kick.union(raise_own(core, live, vcpu.index, intid)),
    };
    if !kick.is_empty() {
        run::kick_receivers(core.world, live, kick);
    }
    advance();
    Next::Resume
}

/// Makes an SGI of the loaded vCPU pending that has no short way.
#[cold]
#[inline(never)]
fn raise_own(core: &CoreLocal, live: &Live, own: VcpuIndex, intid: IntId) -> VcpuSet {
    let interface = core.interface(live);
    let here = Here { hw: &interface, vcpu: Some(own) };
    live.devices.lock().vgic(&live.quicks).raise(here, intid, own).kick
}

/// Sends an SGI of the loaded vCPU, and moves its PC on.
#[inline]
pub(crate) fn send_sgi(
    core: &CoreLocal,
    loaded: Loaded,
    (register, value): (SgiRegister, u64),
) -> Next {
    let Loaded { live, vcpu } = loaded;
    let kick = {
        let interface = core.interface(live);
        let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
        live.devices.lock().vgic(&live.quicks).send_sgi(here, register, value)
    };
    if !kick.is_empty() {
        run::kick_vcpus(core.world, live, kick);
    }
    advance();
    Next::Resume
}

/// Serves a trapped register access.
#[inline]
pub(crate) fn serve(
    core: &mut CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    access: &SysregAccess,
) -> Next {
    let Loaded { live, vcpu } = loaded;
    let value = context.read_x(access.rt);
    let timer = &mut run::own(vcpu).timer;
    match decide(*access, value, core.world.ids, timer, Counter.now()) {
        SysregOutcome::Sgi { register, value } => return send_sgi(core, loaded, (register, value)),
        SysregOutcome::Deactivate(value) => {
            let kick = {
                let interface = core.interface(live);
                let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
                live.devices.lock().vgic(&live.quicks).deactivate(here, value)
            };
            run::kick_vcpus(core.world, live, kick);
        }
        SysregOutcome::Read(value) => {
            context.write_x(access.rt, value);
            advance();
            return Next::after_writing(access.rt);
        }
        SysregOutcome::Ignored => {}
        SysregOutcome::TimerChanged => {
            irq::update_physical_timer(core);
            run::arm(core);
        }
        SysregOutcome::CleanMemory => {
            advance();
            core.leave = Leave::CleanMemory;
            return Next::Leave;
        }
        SysregOutcome::Undefined => return undefined(core),
    }
    advance();
    Next::Resume
}
