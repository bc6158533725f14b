//! What the kernel itself says on the console.

use core::fmt::{self, Write};

use crate::arch;

/// Writes to the console's device.
struct Device;

impl Write for Device {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    arch::write_bytes(line.as_bytes());
                    arch::write_bytes(b"\r\n");
                }
                None => arch::write_bytes(line.as_bytes()),
            }
        }
        Ok(())
    }
}

/// Prints a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // The device takes everything.
    let _result: fmt::Result = Device.write_fmt(format_args!("scos: {line}\n"));
}
