//! Trapped system registers: asks the core, applies the answer.

use shikiri_arch::exit::SysregAccess;
use shikiri_arch::hw::Clock;
use shikiri_core::sysreg::{SysregOutcome, decide};
use shikiri_vgic::{Here, SgiRegister};

use super::context::Context;
use super::sync::{Next, advance, undefined};
use super::{irq, run};
use crate::hw::clock::Counter;
use crate::percore::{CoreLocal, Leave, Loaded};

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
        live.devices.lock().vgic().send_sgi(here, register, value)
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
                live.devices.lock().vgic().deactivate(here, value)
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
