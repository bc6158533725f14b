//! A partition's life: built, active, ending, torn down, and perhaps started again (P2).
//!
//! ```text
//!   Ended ──start──▶ Building ──built──▶ Active ──end──▶ Ending ──stopped──▶ TearingDown ──empty──▶ Ended
//!     ▲                 │ failed                                                  ▲                  │
//!     └──── (restart policy, after its delay) ◀──────────────────────────────────┴──────────────────┘
//! ```
//!
//! [`Lifecycle`] is the record under the lock of the machine's decisions; [`Phase`] is what cores look at without
//! it. A restart is a new incarnation with a new id under the same name; ids are never used twice.

use core::fmt;

use shikiri_abi::PartitionId;
use shikiri_config::{Restart, RestartPolicy};

/// Where a partition stands; small enough for an atomic byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Owns nothing.
    Ended,
    /// Is being put together.
    Building,
    /// Its vCPUs run.
    Active,
    /// Its vCPUs are being stopped.
    Ending,
    /// Is being taken apart.
    TearingDown,
}

impl Phase {
    /// The byte for an atomic.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ended => 0,
            Self::Building => 1,
            Self::Active => 2,
            Self::Ending => 3,
            Self::TearingDown => 4,
        }
    }

    /// The phase of a byte that [`Phase::code`] made.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Building,
            2 => Self::Active,
            3 => Self::Ending,
            4 => Self::TearingDown,
            _ => Self::Ended,
        }
    }

    /// For tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Building => "building",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::TearingDown => "tearing down",
        }
    }
}

/// Why a partition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// PSCI SYSTEM_OFF, or the last vCPU turned itself off.
    Off,
    /// PSCI SYSTEM_RESET: it wants to start again, whatever the policy.
    Reset,
    /// The PARTITION_END call, with the guest's code.
    Code(u32),
    /// An exit that cannot be served; the report says which.
    Fault,
    /// The operator's `stop`.
    Operator,
    /// The operator's `restart`.
    OperatorRestart,
    /// It could not be built.
    NotBuilt,
}

impl EndCause {
    /// Whether this counts as a failure for the restart policy.
    const fn is_failure(self) -> bool {
        matches!(self, Self::Fault) || matches!(self, Self::Code(code) if code != 0)
    }
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("powered itself off"),
            Self::Reset => f.write_str("asked for a reset"),
            Self::Code(code) => write!(f, "ended itself with code {code}"),
            Self::Fault => f.write_str("faulted"),
            Self::Operator => f.write_str("was stopped by the operator"),
            Self::OperatorRestart => f.write_str("was restarted by the operator"),
            Self::NotBuilt => f.write_str("could not be started"),
        }
    }
}

/// What follows when a partition has been torn down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays ended until the operator starts it.
    Stay,
    /// It stays ended because it was restarted too often.
    GivenUp,
    /// It starts again at this time, in ticks.
    StartAt(u64),
}

/// The record of one partition of the description.
#[derive(Debug)]
pub struct Lifecycle {
    phase: Phase,
    id: PartitionId,
    starts: u32,
    cause: Option<EndCause>,
    restart_at: Option<u64>,
    window_start: u64,
    restarts_in_window: u32,
}

/// The request does not fit the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPhase(
    /// The phase that it met.
    pub Phase,
);

impl Lifecycle {
    /// A partition that was never started.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Ended,
            id: PartitionId(0),
            starts: 0,
            cause: None,
            restart_at: None,
            window_start: 0,
            restarts_in_window: 0,
        }
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The id of the incarnation that lives, or lived last; 0 before the first.
    #[must_use]
    pub const fn id(&self) -> PartitionId {
        self.id
    }

    /// How often it was started.
    #[must_use]
    pub const fn starts(&self) -> u32 {
        self.starts
    }

    /// Why it ended last; `None` while it lives.
    #[must_use]
    pub const fn cause(&self) -> Option<EndCause> {
        self.cause
    }

    /// When it will be started again, in ticks.
    #[must_use]
    pub const fn restart_at(&self) -> Option<u64> {
        self.restart_at
    }

    /// Starts a new incarnation under `id`.
    ///
    /// # Errors
    /// [`WrongPhase`] unless it is ended.
    pub const fn start(&mut self, id: PartitionId) -> Result<(), WrongPhase> {
        if !matches!(self.phase, Phase::Ended) {
            return Err(WrongPhase(self.phase));
        }
        self.phase = Phase::Building;
        self.id = id;
        self.starts = self.starts.saturating_add(1);
        self.cause = None;
        self.restart_at = None;
        Ok(())
    }

    /// The incarnation is complete. An end that was asked for meanwhile takes effect now: false.
    pub const fn built(&mut self) -> bool {
        if self.cause.is_some() {
            self.phase = Phase::TearingDown;
            return false;
        }
        self.phase = Phase::Active;
        true
    }

    /// The incarnation could not be built; what it has goes back.
    pub const fn failed(&mut self) {
        self.cause = Some(EndCause::NotBuilt);
        self.phase = Phase::TearingDown;
    }

    /// Asks for the end. The first cause stands, except that the operator's wish about a restart counts
    /// also while the end is under way. True if the vCPUs are to be stopped now.
    pub const fn end(&mut self, cause: EndCause) -> bool {
        match self.phase {
            Phase::Active => {
                self.cause = Some(cause);
                self.phase = Phase::Ending;
                true
            }
            Phase::Building => {
                if self.cause.is_none() {
                    self.cause = Some(cause);
                }
                false
            }
            Phase::Ending | Phase::TearingDown => {
                if matches!(cause, EndCause::Operator | EndCause::OperatorRestart) {
                    self.cause = Some(cause);
                }
                false
            }
            Phase::Ended => {
                if matches!(cause, EndCause::Operator) {
                    self.restart_at = None;
                }
                false
            }
        }
    }

    /// The last vCPU has stopped.
    pub const fn stopped(&mut self) {
        self.phase = Phase::TearingDown;
    }

    /// Nothing is left of the incarnation; decides what follows.
    pub fn torn_down(&mut self, restart: Restart, now: u64, ticks_per_ms: u64) -> After {
        self.phase = Phase::Ended;
        let wants = match self.cause {
            Some(EndCause::Reset | EndCause::OperatorRestart) => true,
            Some(EndCause::Operator | EndCause::NotBuilt) | None => false,
            Some(cause) => match restart.policy {
                RestartPolicy::Never => false,
                RestartPolicy::OnFault => cause.is_failure(),
                RestartPolicy::Always => true,
            },
        };
        if !wants {
            return After::Stay;
        }
        let is_asked_for = self.cause == Some(EndCause::OperatorRestart);
        if !is_asked_for && self.is_too_often(restart, now, ticks_per_ms) {
            return After::GivenUp;
        }
        let delay =
            if is_asked_for { 0 } else { u64::from(restart.delay_ms).saturating_mul(ticks_per_ms) };
        let at = now.saturating_add(delay);
        self.restart_at = Some(at);
        After::StartAt(at)
    }

    /// Counts a restart against the window; a window begins with the first restart after the last one.
    fn is_too_often(&mut self, restart: Restart, now: u64, ticks_per_ms: u64) -> bool {
        if restart.max == 0 {
            return false;
        }
        let window = u64::from(restart.window_ms).saturating_mul(ticks_per_ms);
        if now.saturating_sub(self.window_start) >= window {
            self.window_start = now;
            self.restarts_in_window = 0;
        }
        self.restarts_in_window = self.restarts_in_window.saturating_add(1);
        self.restarts_in_window > restart.max
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{After, EndCause, Lifecycle, Phase, WrongPhase};
    use shikiri_abi::PartitionId;
    use shikiri_config::{Restart, RestartPolicy};

    fn restart(policy: RestartPolicy) -> Restart {
        Restart { policy, max: 3, window_ms: 100, delay_ms: 5 }
    }

    fn active(id: u32) -> Lifecycle {
        let mut life = Lifecycle::new();
        life.start(PartitionId(id)).unwrap();
        assert!(life.built());
        life
    }

    fn after(cause: EndCause, policy: RestartPolicy) -> After {
        let mut life = active(1);
        assert!(life.end(cause));
        life.stopped();
        life.torn_down(restart(policy), 1000, 10)
    }

    #[test]
    fn the_policy_decides_what_follows_each_end() {
        use EndCause::{Code, Fault, Off, Operator, OperatorRestart, Reset};
        use RestartPolicy::{Always, Never, OnFault};
        let again = After::StartAt(1050);
        for (cause, expected) in [
            (Off, [After::Stay, After::Stay, again]),
            (Code(0), [After::Stay, After::Stay, again]),
            (Code(1), [After::Stay, again, again]),
            (Fault, [After::Stay, again, again]),
            (Reset, [again, again, again]),
            (Operator, [After::Stay, After::Stay, After::Stay]),
            (OperatorRestart, [After::StartAt(1000), After::StartAt(1000), After::StartAt(1000)]),
        ] {
            for (policy, expected) in [Never, OnFault, Always].into_iter().zip(expected) {
                assert_eq!(after(cause, policy), expected, "{cause:?} under {policy:?}");
            }
        }
    }

    #[test]
    fn a_partition_that_fails_too_often_is_given_up_until_the_window_has_passed() {
        let mut life = active(1);
        let mut outcomes = std::vec::Vec::new();
        for now in [10_000, 10_100, 10_200, 10_300, 20_000] {
            assert!(life.end(EndCause::Fault));
            life.stopped();
            outcomes.push(life.torn_down(restart(RestartPolicy::OnFault), now, 10));
            life.start(PartitionId(2)).unwrap();
            assert!(life.built());
        }
        let given_up: std::vec::Vec<_> =
            outcomes.iter().map(|after| *after == After::GivenUp).collect();
        assert_eq!(given_up, [false, false, false, true, false]);
    }

    #[test]
    fn an_end_during_the_build_takes_effect_when_it_is_complete() {
        let mut life = Lifecycle::new();
        life.start(PartitionId(1)).unwrap();
        assert!(!life.end(EndCause::Operator));
        assert!(!life.built());
        assert_eq!(life.phase(), Phase::TearingDown);
        assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::Stay);
    }

    #[test]
    fn the_operator_can_stop_what_is_about_to_restart() {
        let mut life = active(1);
        assert!(life.end(EndCause::Fault));
        assert!(!life.end(EndCause::Operator));
        life.stopped();
        assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::Stay);

        let mut life = active(1);
        assert!(life.end(EndCause::Fault));
        life.stopped();
        assert_eq!(life.torn_down(restart(RestartPolicy::Always), 0, 1), After::StartAt(5));
        assert!(!life.end(EndCause::Operator));
        assert_eq!(life.restart_at(), None);
    }

    #[test]
    fn only_an_ended_partition_starts() {
        let mut life = active(1);
        assert_eq!(life.start(PartitionId(2)), Err(WrongPhase(Phase::Active)));
        assert_eq!((life.id(), life.starts()), (PartitionId(1), 1));
    }

    #[test]
    fn phases_survive_their_byte() {
        for phase in
            [Phase::Ended, Phase::Building, Phase::Active, Phase::Ending, Phase::TearingDown]
        {
            assert_eq!(Phase::from_code(phase.code()), phase);
        }
    }
}
