//! A guest whose vCPUs do their worst to each other's cores, for ever: each floods its siblings with SGIs and makes
//! maintenance by set and way, of the line with which the hypervisor has to clean the whole of its memory.
//!
//! Command line: `setway=N`: one such operation for every N SGIs (default 64; 0 = none); `beat=N`: vCPU 1 prints a
//! line for every N SGIs.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "runs an instruction that it has written")]

use shikiri_rt::{gic, irq, platform, println, smp};
use shikiri_test_guests::code::Page;
use shikiri_test_guests::fault;

/// DC CISW, X0.
const DC_CISW: u32 = 0xd508_7e40;
/// The SGIs that are sent: all but those that the run-time may use itself.
const SGIS: u64 = 16;

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    let started = (1..smp::count()).filter(|index| smp::start(*index, flood).is_ok()).count();
    println!("flood: {} vCPUs flood", started + 1);
    flood();
}

fn flood() {
    let mut page = Page::take();
    let setway = platform::number_of("setway").unwrap_or(64);
    let beat = platform::number_of("beat").unwrap_or(u64::MAX).max(1);
    irq::set_handler(|_intid| {});
    for sgi in 0..SGIS as u32 {
        gic::enable(sgi);
    }
    irq::unmask();
    for sent in 0_u64.. {
        for sibling in (0..smp::count()).filter(|sibling| *sibling != smp::index()) {
            gic::send_sgi((sent % SGIS) as u32, sibling);
        }
        if setway != 0 && sent % setway == setway - 1 {
            // SAFETY: maintenance by set and way, which a hypervisor makes harmless.
            let _moved_on = irq::masked(|| unsafe { page.run(&[DC_CISW], 0, 0) });
        }
        if smp::index() == 1 && sent.is_multiple_of(beat) {
            println!("flood: {sent} SGIs sent");
        }
    }
}
