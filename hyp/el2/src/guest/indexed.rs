//! Accesses to device models by instructions that move their base register on: fetches the instruction that has no
//! syndrome. What it means is `shikiri_arch::indexed`'s to say.

use shikiri_abi::{Ipa, Pa};
use shikiri_arch::exit::{self, Abort, MmioAccess};
use shikiri_arch::hw::PhysMem as _;
use shikiri_arch::indexed::{Indexed, output_address};

use super::context::Context;
use super::live::Live;
use crate::hw::mem::Ram;
use crate::regs;

/// TCR_EL1.HA: walks set access flags.
const TCR_HA: u64 = 1 << 39;
/// SPSR_EL2.M[3:2]: the exception level.
const LEVEL: u64 = 3 << 2;

/// The load or store behind an abort with the syndrome `esr`, which says too little of it; `None` if it is of another
/// form, or its code does not lie in memory of the partition's own.
#[cold]
#[inline(never)]
pub(super) fn access(
    context: &Context,
    live: &Live,
    esr: u64,
    abort: &Abort,
) -> Option<MmioAccess> {
    let state = regs::spsr_el2();
    if !exit::is_mmio_without_syndrome(esr) || exit::is_aarch32(state) {
        return None;
    }
    // A walk that would write to a table which cannot be written so may end in an exception at EL2 (Arm ARM D8.5.2).
    if regs::tcr_el1() & TCR_HA != 0 {
        return None;
    }
    let instruction = fetch(live, stage1(regs::elr_el2(), state & LEVEL == 0)?)?;
    let indexed = Indexed::decode(instruction)?;
    indexed.access(context.read_x(indexed.base()), regs::far_el2(), (abort.kind, abort.ipa))
}

/// Where the guest's own tables place an address of its code. The register of the guest's that this goes through is left as
/// it was.
fn stage1(va: u64, is_el0: bool) -> Option<Ipa> {
    let guests = regs::par_el1();
    if is_el0 {
        regs::at_s1e0r(va);
    } else {
        regs::at_s1e1r(va);
    }
    // The result can be read behind a context synchronization event (Arm ARM D8.15).
    regs::isb();
    let found = regs::par_el1();
    regs::set_par_el1(guests);
    output_address(found, va)
}

/// Reads one instruction, once, of the partition's own memory.
fn fetch(live: &Live, at: Ipa) -> Option<u32> {
    let found =
        live.slot.work.lock().as_ref().and_then(|work| work.holdings.translate(Ipa(at.0 & !7)));
    // Behind the lock: what a partition owns does not move while a vCPU of it is on its core.
    let (pa, _) = found?;
    // A guest whose caches are off has written around a line that EL2 may find.
    Ram.clean_invalidate(pa, 8);
    let bytes = Ram.read_u64(Pa(pa.0)).to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    Some(u32::from_le_bytes(if at.0 & 4 == 0 { [a, b, c, d] } else { [e, f, g, h] }))
}
