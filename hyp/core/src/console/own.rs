//! The hypervisor's own text.

use super::Multiplexer;
use core::fmt;

impl Multiplexer {
    /// How much of the hypervisor's own text can be queued now, in bytes.
    #[must_use]
    pub fn own_room(&self) -> usize {
        self.own.room()
    }
}

impl fmt::Write for Multiplexer {
    /// Queues text of the hypervisor: boot messages, reports, the operator console's answers.
    ///
    /// What does not fit in [`super::OWN_BYTES`] is dropped and counted, and the count is shown in its place:
    /// a flood of reports must not hold up a core.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.own_lost > 0 && self.own.room() >= NOTICE_ROOM.saturating_add(text.len()) {
            let lost = core::mem::take(&mut self.own_lost);
            // There is room for the notice, so this recurses once only.
            self.write_fmt(format_args!(
                "\n[{lost} bytes of the hypervisor's text did not fit]\n"
            ))?;
        }
        let mut bytes = text.bytes();
        if self.own_lost == 0 {
            for byte in bytes.by_ref() {
                if !self.own.push(byte) {
                    self.own_lost = 1;
                    break;
                }
            }
        }
        let rest = u32::try_from(bytes.count()).unwrap_or(u32::MAX);
        self.own_lost = self.own_lost.saturating_add(rest);
        Ok(())
    }
}

/// Room for the notice about lost text.
const NOTICE_ROOM: usize = 80;
