//! Ends with the time of its first instruction, for the bench: a guest without a device tree, made at run time.
#![no_std]
#![no_main]

use shikiri_rt::power;

shikiri_rt::entry!(main);

fn main() {
    power::end(u32::try_from(shikiri_rt::entry_time() & 0xffff_ffff).unwrap_or(0))
}
