//! The report of an unexpected exit.

use crate::console::say;
use crate::percore::{CoreLocal, Loaded};
use crate::regs;

/// Reports the exit that the loaded vCPU has just made.
pub(crate) fn fault(core: &CoreLocal, loaded: Loaded) {
    say!(
        core.world,
        "partition {} vCPU {}: unexpected exit, ESR {:#x} PC {:#x} FAR {:#x}",
        loaded.live.slot.description.name,
        loaded.vcpu.index.0,
        regs::esr_el2(),
        regs::elr_el2(),
        regs::far_el2()
    );
}
