//! The system counter and the hypervisor's timer.

use shikiri_arch::hw::Clock;

use crate::regs;

/// CNTPCT_EL0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter;

impl Clock for Counter {
    #[inline]
    fn now(&self) -> u64 {
        regs::cntpct_el0()
    }

    #[inline]
    fn frequency_hz(&self) -> u64 {
        regs::cntfrq_el0()
    }
}

/// Programs this core's EL2 physical timer (CNTHP, INTID 26) to fire at `deadline` ticks, or stops it.
#[inline]
pub(crate) fn arm(deadline: Option<u64>) {
    match deadline {
        Some(ticks) => {
            regs::set_cnthp_cval_el2(ticks);
            regs::set_cnthp_ctl_el2(1);
        }
        None => regs::set_cnthp_ctl_el2(0),
    }
}
