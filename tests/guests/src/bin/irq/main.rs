//! The interrupt controller, seen from a guest: delivery, priorities, more pending than there are list
//! registers, ends, register read-back, and other vCPUs. Both GIC versions.
//!
//! Most cases keep interrupts masked and acknowledge by hand, so that each step is seen. Every case starts and
//! ends with all interrupts off; the SPIs are ones that no device of the platform raises.
#![no_std]
#![no_main]

mod local;
mod registers;
mod remote;
mod tools;

use shikiri_rt::{irq, smp};
use shikiri_test_guests::done;

shikiri_rt::entry!(main);

fn main() {
    irq::mask();
    local::run();
    registers::run();
    if smp::count() > 1 {
        remote::run();
    }
    done()
}
