//! Restarting what has ended, further and further apart, and at last no more.

use core::time::Duration;

use shikiri_machine::Cause;

/// Which ends are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartOn {
    /// A fault, or an end with a code other than 0.
    Failure,
    /// Every end but one that the operator or the policy wanted.
    End,
}

/// How a partition is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartRule {
    /// After which ends.
    pub on: RestartOn,
    /// The pause before the first restart.
    pub delay: Duration,
    /// Each pause is so many times the one before.
    pub factor: u32,
    /// The longest pause.
    pub longest: Duration,
    /// After so many restarts within `window` it stays ended; 0: never given up.
    pub give_up_after: u32,
    /// A partition that has lived so long is forgiven what was before.
    pub window: Duration,
}

/// What is remembered of a partition's restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) restarts: u32,
    pub(crate) last: Option<Duration>,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The rule does not want a restart.
    Stay,
    /// It was restarted too often.
    GivenUp,
    /// It is restarted at this time.
    At(Duration),
}

impl RestartRule {
    const fn wants(&self, cause: Cause) -> bool {
        match (self.on, cause) {
            (_, Cause::Stopped) => false,
            (RestartOn::End, _) | (_, Cause::Reset) => true,
            (RestartOn::Failure, cause) => cause.is_failure(),
        }
    }

    /// Whether one that has ended so, and of whose restarts nothing is known but how often it was started in all, is given up.
    /// After a failure only: a job that is started again whenever it is done has many starts behind it that nobody minded.
    pub(crate) const fn has_had_enough(&self, cause: Cause, starts: u32) -> bool {
        cause.is_failure() && self.give_up_after > 0 && starts > self.give_up_after
    }

    /// What follows an end that was seen at `now`.
    pub(crate) fn after(&self, record: &mut Record, cause: Cause, now: Duration) -> After {
        if !self.wants(cause) {
            return After::Stay;
        }
        if record.last.is_some_and(|last| now.saturating_sub(last) >= self.window) {
            *record = Record::default();
        }
        if self.give_up_after > 0 && record.restarts >= self.give_up_after {
            return After::GivenUp;
        }
        let growth = self.factor.checked_pow(record.restarts).unwrap_or(u32::MAX);
        let pause = self.delay.saturating_mul(growth).min(self.longest);
        let at = now.saturating_add(pause);
        record.restarts = record.restarts.saturating_add(1);
        record.last = Some(at);
        After::At(at)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{After, Record, RestartOn, RestartRule};
    use shikiri_machine::Cause;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const RULE: RestartRule = RestartRule {
        on: RestartOn::Failure,
        delay: ms(100),
        factor: 2,
        longest: ms(500),
        give_up_after: 4,
        window: ms(10_000),
    };

    #[test]
    fn pauses_grow_to_the_longest_and_then_it_is_given_up() {
        let mut record = Record::default();
        let mut now = ms(0);
        for pause in [100, 200, 400, 500] {
            let at = now + ms(pause);
            assert_eq!(RULE.after(&mut record, Cause::Fault, now), After::At(at));
            now = at;
        }
        assert_eq!(RULE.after(&mut record, Cause::Fault, now), After::GivenUp);
    }

    #[test]
    fn whoever_lived_long_is_forgiven() {
        let mut record = Record::default();
        assert_eq!(RULE.after(&mut record, Cause::Fault, ms(0)), After::At(ms(100)));
        assert_eq!(RULE.after(&mut record, Cause::Fault, ms(10_099)), After::At(ms(10_299)));
        assert_eq!(RULE.after(&mut record, Cause::Fault, ms(20_299)), After::At(ms(20_399)));
    }

    #[test]
    fn only_the_ends_that_the_rule_means_are_followed_by_a_restart() {
        let every = RestartRule { on: RestartOn::End, ..RULE };
        for (cause, on_failure, on_end) in [
            (Cause::Off, false, true),
            (Cause::Code(0), false, true),
            (Cause::Code(3), true, true),
            (Cause::Fault, true, true),
            (Cause::NotBuilt, true, true),
            (Cause::Reset, true, true),
            (Cause::Other(10), false, true),
            (Cause::Stopped, false, false),
        ] {
            for (rule, wanted) in [(RULE, on_failure), (every, on_end)] {
                let after = rule.after(&mut Record::default(), cause, ms(0));
                assert_eq!(after != After::Stay, wanted, "{cause}");
            }
        }
    }

    #[test]
    fn a_pause_never_overflows() {
        let rule = RestartRule { give_up_after: 0, factor: u32::MAX, ..RULE };
        let mut record = Record::default();
        for turn in 0..100 {
            let pause = if turn == 0 { ms(100) } else { ms(500) };
            assert_eq!(rule.after(&mut record, Cause::Fault, ms(0)), After::At(pause));
        }
    }
}
