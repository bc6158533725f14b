//! The end of the kernel by a bug of its own: what is known is printed, and the partition ends.
#![expect(unsafe_code, reason = "called from the vectors")]

use core::fmt::{self, Write as _};
use core::panic::PanicInfo;

use super::{cpu, uart};

/// The codes that the partition ends with.
const CODE_PANIC: u32 = 101;
const CODE_EXCEPTION: u32 = 102;

/// The console without anything in between.
struct Raw;

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        uart::write_bytes(text.as_bytes());
        Ok(())
    }
}

fn print(arguments: fmt::Arguments<'_>) {
    // The console takes everything.
    let _result: fmt::Result = Raw.write_fmt(arguments);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print(format_args!("scos: KERNEL PANIC: {info}\n"));
    cpu::end(CODE_PANIC)
}

#[unsafe(no_mangle)]
extern "C" fn scos_kernel_exception(esr: u64, elr: u64, far: u64) -> ! {
    print(format_args!("scos: KERNEL EXCEPTION: esr {esr:#x}, elr {elr:#x}, far {far:#x}\n"));
    cpu::end(CODE_EXCEPTION)
}
