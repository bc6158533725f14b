//! `/proc/sysrq-trigger`, as on Linux: what the kernel does when a letter is written there. There is one: `c`, a panic, by which one sees
//! whether the machine is governed again afterwards.

use shikiri_scos_files::{Errno, Step};

use crate::console::say;
use crate::kernel::Kernel;

/// Its number, of those that are miscellaneous.
pub(crate) const DEVICE: u32 = 10 << 8 | 121;

impl Kernel {
    /// Makes the file.
    pub(crate) fn add_trigger(&mut self) {
        if self.files.add_device(b"/proc/sysrq-trigger", DEVICE, 0o200).is_err() {
            say(format_args!("there is no room for /proc/sysrq-trigger"));
        }
    }
}

/// What is written there. EINVAL: not `c`.
pub(crate) fn write(bytes: &[u8]) -> Result<Step<usize>, Errno> {
    match bytes {
        [b'c', ..] => panic!("asked for by /proc/sysrq-trigger"),
        _ => Err(Errno::EINVAL),
    }
}
