//! Trapped system registers: asks the core, applies the answer.

use shikiri_arch::exit::{SysregAccess, SysregEncoding};
use shikiri_arch::hw::Clock;
use shikiri_vgic::{Here, SgiRegister};

use super::context::Context;
use super::sync::{Next, advance};
use super::{irq, run};
use crate::hw::clock::Counter;
use crate::percore::{CoreLocal, Loaded};

/// The emulated physical timer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhysicalTimer {
    ctl: u64,
    cval: u64,
}

impl PhysicalTimer {
    pub(crate) const fn new() -> Self {
        Self { ctl: 0, cval: 0 }
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        (self.ctl & 3 == 1).then_some(self.cval)
    }

    pub(crate) fn line(&self, now: u64) -> bool {
        self.deadline().is_some_and(|due| due <= now)
    }
}

const SGI1R: SysregEncoding = SysregEncoding::new(3, 0, 12, 11, 5);
const ASGI1R: SysregEncoding = SysregEncoding::new(3, 0, 12, 11, 6);
const SGI0R: SysregEncoding = SysregEncoding::new(3, 0, 12, 11, 7);
const CNTP_TVAL: SysregEncoding = SysregEncoding::new(3, 3, 14, 2, 0);
const CNTP_CTL: SysregEncoding = SysregEncoding::new(3, 3, 14, 2, 1);
const CNTP_CVAL: SysregEncoding = SysregEncoding::new(3, 3, 14, 2, 2);

/// Serves a trapped register access.
#[inline]
pub(crate) fn serve(core: &mut CoreLocal, loaded: Loaded, context: &mut Context, access: &SysregAccess) -> Next {
    let Loaded { live, vcpu } = loaded;
    let value = context.read_x(access.rt);
    let sgi = match access.register {
        SGI1R => Some(SgiRegister::Group1),
        SGI0R => Some(SgiRegister::Group0),
        ASGI1R => Some(SgiRegister::OtherGroup1),
        _ => None,
    };
    if let Some(register) = sgi {
        let kick = {
            let interface = core.interface(live);
            let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
            live.devices.lock().vgic().send_sgi(here, register, value)
        };
        run::kick_vcpus(core.world, live, kick);
        advance();
        return Next::Resume;
    }
    let timer = &mut run::own(vcpu).timer;
    let now = Counter.now();
    let mut read = 0;
    match (access.register, access.is_read) {
        (CNTP_CTL, true) => read = (timer.ctl & 3) | (u64::from(timer.ctl & 1 == 1 && timer.cval <= now) << 2),
        (CNTP_CTL, false) => timer.ctl = value & 3,
        (CNTP_CVAL, true) => read = timer.cval,
        (CNTP_CVAL, false) => timer.cval = value,
        (CNTP_TVAL, true) => read = timer.cval.wrapping_sub(now) & 0xffff_ffff,
        (CNTP_TVAL, false) => {
            let [a, b, c, d, ..] = value.to_le_bytes();
            timer.cval = now.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d])));
        }
        _ => {}
    }
    if access.is_read {
        context.write_x(access.rt, read);
    } else {
        irq::update_physical_timer(core);
        run::arm(core);
    }
    advance();
    Next::Resume
}
