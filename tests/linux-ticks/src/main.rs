//! A program for the Linux guest that prints the virtual counter, and nothing else. With it the
//! measurements tell how many instructions have passed since the guest's first one; busybox has no
//! command that reads the counter.

#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "a program without a runtime is entered by assembly")]

core::arch::global_asm!(include_str!("ticks.s"));

/// Never reached: there is nothing in Rust that could panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
