//! The vCPU's own power: it suspends itself, and turns itself off until the first one turns it on again.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shikiri_rt::hvc::{Conduit, psci};
use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::{GICC, MAX_VCPUS, platform};
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, reg, smp};
use shikiri_test_guests::fault::{Fault, Piece, attempt};

use crate::act::Worker;
use crate::user;

unsafe extern "C" {
    fn hostile_standby(a: u64, b: u64) -> u64;
    fn hostile_power_down(kept: u64, state: u64) -> u64;
    fn hostile_power_off(kept: u64, b: u64) -> u64;
    fn hostile_resume(a: u64, b: u64) -> u64;
}

/// What pieces.s keeps of a vCPU whose power goes, in cache lines of its own.
#[repr(C, align(64))]
struct Kept([AtomicU64; 24]);

static KEPT: [Kept; MAX_VCPUS] = [const { Kept([const { AtomicU64::new(0) }; 24]) }; MAX_VCPUS];
/// Which vCPUs have turned themselves off, or are about to.
static OFF: [AtomicBool; MAX_VCPUS] = [const { AtomicBool::new(false) }; MAX_VCPUS];

fn kept(index: usize) -> u64 {
    KEPT[index].0.as_ptr().expose_provenance() as u64
}

/// Lets the physical timer come soon: the hypervisor emulates it, and who is suspended goes on then, in whatever order the
/// interrupt controller is.
pub(crate) fn wake_soon() {
    Timer::Physical.set_deadline(reg::now() + timer::ticks(20));
}

pub(crate) fn standby(_worker: &mut Worker) -> Result<u64, Fault> {
    wake_soon();
    // SAFETY: power state 0 is standby: the call returns.
    unsafe { attempt(hostile_standby, 0, 0) }
}

pub(crate) fn power_down(worker: &mut Worker) -> Result<u64, Fault> {
    wake_soon();
    let state = 1 << 16;
    // SAFETY: what is kept is this vCPU's; pieces.s comes back as if it were a call.
    let done = unsafe { attempt(hostile_power_down, kept(smp::index()), state) };
    wake_up(worker);
    done
}

/// Turns this vCPU off, unless it is the first, which turns the others on.
pub(crate) fn off(worker: &mut Worker) -> Result<u64, Fault> {
    let index = smp::index();
    if index == 0 {
        revive();
        return Ok(0);
    }
    OFF[index].store(true, Ordering::Release);
    // SAFETY: as in `power_down`.
    let done = unsafe { attempt(hostile_power_off, kept(index), 0) };
    OFF[index].store(false, Ordering::Release);
    wake_up(worker);
    done
}

/// Turns on those that have turned themselves off. One that is still on is tried again at the next step.
pub(crate) fn revive() {
    for (index, off) in OFF.iter().enumerate().take(smp::count()) {
        if off.load(Ordering::Acquire)
            && let Some(mpidr) = platform().mpidr(index)
            && psci::affinity_info(Conduit::Hvc, mpidr) == Ok(psci::Power::Off)
            // Still: it may have come back in between, and be off for good at the end of its part.
            && off.load(Ordering::Acquire)
        {
            let resume: Piece = hostile_resume;
            // SAFETY: what was kept was written before the vCPU went off.
            let _code =
                unsafe { psci::cpu_on(Conduit::Hvc, mpidr, resume as usize as u64, kept(index)) };
        }
    }
}

/// After a reset of the CPU interface and of EL1's registers. The redistributor is not waited for: others may put it to sleep.
fn wake_up(worker: &mut Worker) {
    gic::set_priority_mask(0xff);
    match gic::version() {
        gic::Version::V2 => {
            // SAFETY: GICC_CTLR of this vCPU.
            unsafe { Registers::new(GICC, 0x2000) }.write32(0, 1);
        }
        gic::Version::V3 => reg::set_icc_igrpen1(1),
    }
    user::allow(&mut worker.page);
}
