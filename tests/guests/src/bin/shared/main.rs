//! Shared memory areas between two partitions, or three: `role=` on the command line says which one this is (C5). The owner offers areas and
//! does what a word of the first one tells it; the user looks what that does to its accesses.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "maps the window region")]

mod forms;
mod hog;
mod limited;
mod owner;
mod three;
mod tools;
mod user;

use shikiri_abi::WINDOWS;
use shikiri_rt::mmu::{self, Access};
use shikiri_rt::{irq, platform};
use shikiri_test_guests::fault;

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    irq::set_handler(tools::count);
    irq::unmask();
    // SAFETY: nothing else lies there.
    let mapped = unsafe { mmu::map(tools::VIEW, WINDOWS.0, tools::SEEN, Access::Data) };
    if mapped.is_err() {
        return;
    }
    match platform::value_of("role") {
        Some("owner") => owner::serve(),
        Some("hog") => hog::run(),
        Some("limited") => limited::run(),
        Some("second") => three::second(),
        _ => user::run(),
    }
}
