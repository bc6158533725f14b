//! Events that others can cause as often as they like: requests of partitions, for connections and for more. Each interrupt is followed by
//! a quiet time, so that whoever asks without end takes no more than a little of the programs' time.

use crate::arch;
use crate::kernel::Kernel;

/// How long an event that others cause is not listened to after it came, in ns: what comes meanwhile is looked at then, all at once.
const QUIET_NS: u64 = 1_000_000;

/// The interrupts that are not listened to, and until when.
#[derive(Debug, Default)]
pub(crate) struct Quiet([Option<(u32, u64)>; 2]);

impl Kernel {
    /// Listens to an interrupt no more for a while. It was just taken.
    pub(crate) fn be_quiet(&mut self, intid: u32) {
        let until = self.clock.now().saturating_add(QUIET_NS);
        if let Some(place) = self.quiet.0.iter_mut().find(|place| place.is_none()) {
            arch::disable_interrupt(intid);
            *place = Some((intid, until));
        }
    }

    /// Listens again to what was quiet for long enough.
    pub(crate) fn listen_again(&mut self) {
        if self.quiet.0 == [None; 2] {
            return;
        }
        let now = self.clock.now();
        for place in &mut self.quiet.0 {
            if let Some((intid, until)) = *place
                && until <= now
            {
                *place = None;
                arch::enable_interrupt(intid);
            }
        }
    }
}

impl Quiet {
    /// When the first of them is listened to again.
    pub(crate) fn next(&self) -> Option<u64> {
        self.0.iter().flatten().map(|(_, until)| *until).min()
    }
}
