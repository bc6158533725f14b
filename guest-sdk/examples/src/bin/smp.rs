//! Starts all vCPUs; each reports, sends its successor an SGI and turns itself off.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};

use shikiri_rt::{gic, irq, println, reg, smp};

const BATON: u32 = 1;

static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static PASSED: AtomicUsize = AtomicUsize::new(0);

shikiri_rt::entry!(main);

fn main() {
    irq::set_handler(baton);
    prepare();
    let running = smp::start_all(secondary);
    while ARRIVED.load(Ordering::Acquire) < running {
        reg::yield_now();
    }
    println!("smp: {running} of {} vCPUs run", smp::count());
    gic::send_sgi(BATON, 1 % running);
    irq::wait_until(|| PASSED.load(Ordering::Acquire) == running);
    println!("smp: the SGI went round");
}

fn secondary() {
    prepare();
    irq::wait_until(|| PASSED.load(Ordering::Acquire) >= smp::index());
}

fn prepare() {
    gic::enable(BATON);
    irq::unmask();
    println!("smp: vCPU {} with MPIDR {:#x}", smp::index(), reg::mpidr() & 0xff_00ff_ffff);
    ARRIVED.fetch_add(1, Ordering::Release);
}

/// Hands the SGI on; vCPU 0 gets it last.
fn baton(_intid: u32) {
    let next = smp::index().wrapping_add(1) % ARRIVED.load(Ordering::Acquire);
    PASSED.fetch_add(1, Ordering::Release);
    if smp::index() != 0 {
        gic::send_sgi(BATON, next);
    }
}
