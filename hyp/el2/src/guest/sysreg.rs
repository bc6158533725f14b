//! Trapped system registers: asks the core, applies the answer.

use shikiri_abi::IntId;
use shikiri_arch::exit::SysregAccess;
use shikiri_arch::hw::Clock;
use shikiri_core::sysreg::{SysregOutcome, decide};
use shikiri_vgic::{Here, SgiRegister, VcpuSet, send_sgi1r};

use super::context::Context;
use super::sync::{Next, advance, advance_in_place, undefined};
use super::{irq, run};
use crate::hw::clock::Counter;
use crate::hw::gic::SystemRegisters;
use crate::percore::{CoreLocal, Leave, Loaded};

/// A write of `value` to ICC_SGI1R_EL1 by the loaded vCPU. Its cost is a promise: what is not done in place comes last.
#[inline(always)]
pub(crate) fn send_sgi1r_of(core: &mut CoreLocal, value: u64) -> Next {
    let Some(Loaded { live, vcpu }) = core.loaded else { return Next::Leave };
    // Only a GICv3 has the register.
    let here = Here { hw: &SystemRegisters, vcpu: Some(vcpu.index) };
    let ring = |target| run::ring(core.world, live, target);
    let sent = send_sgi1r(&live.quicks.vcpus, here, value, ring);
    advance_in_place();
    if sent.own.is_none() && sent.kick.is_empty() {
        return Next::Resume;
    }
    finish_sgi1r(core, sent.kick, sent.own)
}

/// What sending an SGI has left.
#[cold]
#[inline(never)]
fn finish_sgi1r(core: &CoreLocal, mut kick: VcpuSet, own: Option<IntId>) -> Next {
    let Some(Loaded { live, vcpu }) = core.loaded else { return Next::Leave };
    if let Some(intid) = own {
        let interface = core.interface(live);
        let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
        let raised = live.devices.lock().vgic(&live.quicks).raise(here, intid, vcpu.index);
        kick = kick.union(raised.kick);
    }
    run::kick_vcpus(core.world, live, kick);
    Next::Resume
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
    match decide(*access, value, (core.world.ids, live.pmu), timer, Counter.now()) {
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
