//! A reservation as a hard constant-bandwidth server.
//!
//! A server has a deadline and what is left of its budget until then. Running consumes; with nothing left it
//! is *spent* until the deadline, where the next period begins with a fresh budget. A vCPU that blocks keeps
//! both, but on waking it may go on with them only if that is no more than its share of the time to the
//! deadline (`left / (deadline − now) ≤ budget / period`); else a new period begins at that moment. So a vCPU
//! that sleeps and bursts can never crowd out one that is always ready, and the EDF bound (sum of shares
//! ≤ 1 ⇒ every deadline is met) holds for any mixture.

/// A period's longest length: 2^43 ticks, more than two hours at 1 GHz. Keeps every sum far from 2^64.
pub const MAX_PERIOD: u64 = 1 << 43;

/// `budget` ticks in every `period` ticks, `1 ≤ budget ≤ period ≤ 2^43`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    budget: u64,
    period: u64,
}

/// A budget of zero, above its period, or a period above 2^43 ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReservation;

impl Reservation {
    /// Checks the two numbers, in ticks.
    ///
    /// # Errors
    /// [`BadReservation`] if they are out of range.
    pub const fn new(budget: u64, period: u64) -> Result<Self, BadReservation> {
        if budget == 0 || budget > period || period > MAX_PERIOD {
            Err(BadReservation)
        } else {
            Ok(Self { budget, period })
        }
    }

    /// Ticks per period.
    #[must_use]
    pub const fn budget(self) -> u64 {
        self.budget
    }

    /// The period in ticks.
    #[must_use]
    pub const fn period(self) -> u64 {
        self.period
    }

    /// The share of a core in parts per million, rounded up; 1 to 1,000,000.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        let share = self.budget.saturating_mul(1_000_000).div_ceil(self.period);
        let [a, b, c, d, ..] = share.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// Something is left of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left;

/// The server's state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    reservation: Reservation,
    left: u64,
    deadline: u64,
    /// What it took above its budgets, because a timer came late.
    debt: u64,
}

impl Server {
    pub(super) const fn new(reservation: Reservation, now: u64) -> Self {
        let deadline = now.saturating_add(reservation.period);
        Self { reservation, left: reservation.budget, deadline, debt: 0 }
    }

    /// For a vCPU that owns its core: it has no deadline and nothing is counted.
    pub(super) const fn unlimited() -> Self {
        let reservation = Reservation { budget: MAX_PERIOD, period: MAX_PERIOD };
        Self { reservation, left: u64::MAX, deadline: u64::MAX, debt: 0 }
    }

    /// Another budget in a period of the same length, from the next one on; what is left of this one is no more than that.
    pub(super) fn reserve(&mut self, reservation: Reservation) {
        self.reservation = reservation;
        self.left = self.left.min(reservation.budget);
    }

    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    pub(super) const fn budget(&self) -> u64 {
        self.reservation.budget
    }

    pub(super) const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The deadline of the period that begins at this one.
    pub(super) const fn next_deadline(&self) -> u64 {
        self.deadline.saturating_add(self.reservation.period)
    }

    /// How long it may run elsewhere from now on: as long as its budget lasts if it is paid, else until the period ends.
    pub(super) fn allowance(&self, now: u64, is_paid: bool) -> u64 {
        if is_paid { self.left } else { self.deadline.saturating_sub(now) }
    }

    /// Pays for `used` ticks elsewhere that ended at about `now`; `None` if nothing is left. What it used after its
    /// period had ended is paid from the next one's budget.
    pub(super) fn consume_elsewhere(&mut self, used: u64, now: u64) -> Option<Left> {
        let late = now.saturating_sub(self.deadline).min(used);
        let left = self.consume(used.saturating_sub(late));
        if late == 0 {
            return left;
        }
        let _has_budget = self.renew(now);
        self.consume(late)
    }

    /// Pays for `elapsed` ticks; `None` if nothing is left.
    pub(super) const fn consume(&mut self, elapsed: u64) -> Option<Left> {
        self.debt = self.debt.saturating_add(elapsed.saturating_sub(self.left));
        self.left = self.left.saturating_sub(elapsed);
        self.left_over()
    }

    /// Becomes ready: goes on with what is left, or begins a new period now.
    pub(super) fn wake(&mut self, now: u64) -> Option<Left> {
        let Reservation { budget, period } = self.reservation;
        let ahead = u128::from(self.deadline.saturating_sub(now));
        let is_within_share = u128::from(self.left).saturating_mul(period.into())
            <= ahead.saturating_mul(budget.into());
        if self.deadline <= now || !is_within_share {
            self.begin(now);
        }
        self.left_over()
    }

    /// Begins the period that holds `now`, counted on from the deadline, which has passed. Budget of
    /// the periods between, and what was left of the last one, is lost: it cannot be saved up.
    pub(super) fn renew(&mut self, now: u64) -> Option<Left> {
        let Reservation { budget, period } = self.reservation;
        let missed = now.saturating_sub(self.deadline).checked_div(period).unwrap_or(0);
        self.debt = self.debt.saturating_sub(missed.saturating_mul(budget));
        self.begin(self.deadline.saturating_add(missed.saturating_mul(period)));
        self.left_over()
    }

    /// A new period from `start`, its budget less the debt.
    const fn begin(&mut self, start: u64) {
        let Reservation { budget, period } = self.reservation;
        self.deadline = start.saturating_add(period);
        self.left = budget.saturating_sub(self.debt);
        self.debt = self.debt.saturating_sub(budget);
    }

    const fn left_over(&self) -> Option<Left> {
        if self.left == 0 { None } else { Some(Left) }
    }
}
