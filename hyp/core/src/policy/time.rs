//! More time for a vCPU while it runs (P8): what a request for core time comes to at its reservation.

use shikiri_config::CoreTime;

use super::Refusal;

/// A vCPU's time before and after a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Its right to time now.
    pub before: CoreTime,
    /// With what is granted.
    pub after: CoreTime,
    /// How much of it is above what describes the vCPU, in us of budget.
    pub extra_us: u32,
}

impl Growth {
    /// Gives a vCPU, which has `extra_us` above its description already, so many ppm of its core more; whole us of budget, so
    /// that it may be a little less.
    ///
    /// # Errors
    /// `NoCore` if its period has not so much left, which of an owned core is never the case; `Argument` for less than 1 us.
    pub fn new(described: CoreTime, extra_us: u32, ppm: u32) -> Result<Self, Refusal> {
        let before = grown(described, extra_us);
        let CoreTime::Reservation { budget_us, period_us } = before else {
            return Err(Refusal::NoCore(0));
        };
        let more = u64::from(ppm).saturating_mul(u64::from(period_us)) / 1_000_000;
        let more_us = u32::try_from(more).unwrap_or(u32::MAX);
        if more_us == 0 {
            return Err(Refusal::Argument(2));
        }
        if more_us > period_us.saturating_sub(budget_us) {
            let left = 1_000_000_u64.saturating_sub(before.ppm());
            return Err(Refusal::NoCore(u32::try_from(left).unwrap_or(0)));
        }
        let extra_us = extra_us.saturating_add(more_us);
        Ok(Self { before, after: grown(described, extra_us), extra_us })
    }

    /// What the account is charged for it, in ppm.
    #[must_use]
    pub fn ppm(&self) -> u64 {
        self.after.ppm().saturating_sub(self.before.ppm())
    }
}

/// A right to time with so many us of budget more.
#[must_use]
pub const fn grown(described: CoreTime, extra_us: u32) -> CoreTime {
    match described {
        CoreTime::Owned => CoreTime::Owned,
        CoreTime::Reservation { budget_us, period_us } => {
            CoreTime::Reservation { budget_us: budget_us.saturating_add(extra_us), period_us }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, grown};
    use crate::policy::Refusal;
    use shikiri_config::CoreTime;

    const TIME: CoreTime = CoreTime::Reservation { budget_us: 2_000, period_us: 10_000 };

    #[test]
    fn a_share_becomes_budget_of_the_same_period_p8() {
        let first = Growth::new(TIME, 0, 100_000).unwrap();
        assert_eq!((first.before, first.extra_us, first.ppm()), (TIME, 1_000, 100_000));
        let second = Growth::new(TIME, first.extra_us, 50_000).unwrap();
        assert_eq!((second.before, second.extra_us), (first.after, 1_500));
        assert_eq!(second.after, grown(TIME, 1_500));
        assert_eq!(grown(TIME, 0), TIME);
    }

    #[test]
    fn the_account_is_never_charged_more_than_was_granted() {
        let odd = CoreTime::Reservation { budget_us: 77, period_us: 333 };
        for ppm in [3_004, 6_007, 99_999, 500_000] {
            let growth = Growth::new(odd, 5, ppm).unwrap();
            assert!((1..=u64::from(ppm)).contains(&growth.ppm()), "{ppm}: {growth:?}");
        }
    }

    #[test]
    fn a_period_has_no_more_than_itself() {
        assert_eq!(Growth::new(TIME, 0, 800_000).unwrap().ppm(), 800_000);
        assert_eq!(Growth::new(TIME, 0, 800_100), Err(Refusal::NoCore(800_000)));
        assert_eq!(Growth::new(TIME, 8_000, 100), Err(Refusal::NoCore(0)));
        assert_eq!(Growth::new(CoreTime::Owned, 0, 1), Err(Refusal::NoCore(0)));
        assert_eq!(Growth::new(TIME, 0, 99), Err(Refusal::Argument(2)));
    }
}
