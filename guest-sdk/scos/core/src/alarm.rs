//! Times at which the kernel wants to be interrupted, so that none of them leaves programs without a turn.

/// The least time that a program has before an interrupt that somebody's timer asks for, in ns: it gets on, however short the timers are.
const LEAST_NS: u64 = 20_000;

/// When a program that is entered now is interrupted at the latest, if it is to be at `wanted`.
#[must_use]
pub const fn interrupt_at(wanted: u64, now: u64) -> u64 {
    let earliest = now.saturating_add(LEAST_NS);
    if wanted < earliest { earliest } else { wanted }
}

/// A process's timer of `setitimer(ITIMER_REAL)`, in ns. As on Linux it rings no more while its last signal is not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// When it rings.
    pub at: Option<u64>,
    /// And how long after that again; 0: not again.
    pub interval: u64,
}

impl Alarm {
    /// When somebody has to look at it; `is_pending`: its signal has come and was not delivered.
    #[must_use]
    pub const fn due(&self, is_pending: bool) -> Option<u64> {
        if is_pending { None } else { self.at }
    }

    /// Looks at it: whether it rings. It goes on with the first multiple of its interval that is still to come.
    pub fn expire(&mut self, now: u64, is_pending: bool) -> bool {
        let Some(at) = self.at.filter(|at| *at <= now) else { return false };
        let missed = now.saturating_sub(at).checked_div(self.interval);
        self.at = missed.map(|missed| {
            at.saturating_add(missed.saturating_add(1).saturating_mul(self.interval))
        });
        !is_pending
    }
}

#[cfg(test)]
mod tests {
    use super::{Alarm, LEAST_NS, interrupt_at};

    #[test]
    fn a_program_has_its_time_before_the_shortest_timer() {
        for wanted in [0, 999, 1000, 1001] {
            assert_eq!(interrupt_at(wanted, 1000), 1000 + LEAST_NS);
        }
        assert_eq!(interrupt_at(1001 + LEAST_NS, 1000), 1001 + LEAST_NS);
        assert_eq!(interrupt_at(u64::MAX, 1000), u64::MAX);
        assert_eq!(interrupt_at(0, u64::MAX), u64::MAX);
    }

    #[test]
    fn an_alarm_whose_signal_waits_rings_no_more() {
        let mut alarm = Alarm { at: Some(10), interval: 1 };
        assert_eq!((alarm.due(false), alarm.due(true)), (Some(10), None));
        assert!(!alarm.expire(9, false));
        assert!(alarm.expire(10, false));
        assert_eq!(alarm.at, Some(11));
        assert!(!alarm.expire(1_000_000, true));
        assert_eq!(alarm.at, Some(1_000_001), "what was missed is not made up for");
        assert!(alarm.expire(1_000_001, false));
    }

    #[test]
    fn an_alarm_without_an_interval_rings_once() {
        let mut alarm = Alarm { at: Some(10), interval: 0 };
        assert!(alarm.expire(u64::MAX, false));
        assert_eq!(alarm, Alarm::default());
        assert!(!alarm.expire(u64::MAX, false));
    }

    #[test]
    fn an_alarm_keeps_its_rhythm() {
        let mut alarm = Alarm { at: Some(100), interval: 30 };
        assert!(alarm.expire(170, false));
        assert_eq!(alarm.at, Some(190));
    }
}
