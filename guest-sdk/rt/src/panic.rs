//! What a panic does: it prints where and why, and ends the partition. One that happens meanwhile ends it at once.

use core::panic::PanicInfo;

use crate::{console, power, reg, trap};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    reg::mask_irq();
    if trap::begin_last_words() {
        console::write_in_panic(format_args!("vCPU {}: {info}\n", reg::tpidr_el1()));
    }
    power::end(power::CODE_PANIC)
}
