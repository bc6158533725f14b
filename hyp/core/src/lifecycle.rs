//! A partition's life: built, active, ending, torn down, and perhaps started again (P2).
//!
//! ```text
//!   Ended ──start──▶ Building ──built──▶ Active ──end──▶ Ending ──stopped──▶ TearingDown ──empty──▶ Ended
//!     ▲                 │ failed                                                  ▲                  │
//!     └──── (restart policy, after its delay) ◀──────────────────────────────────┴──────────────────┘
//! ```
//!
//! The policy program can have one *held* when it is built (`Building` ▸ `Held` ▸ `Active`), and *pause* one that is active
//! (`Active` ▸ `Paused` ▸ `Active`); either can be ended as an active one can. A place for partitions that are made at run
//! time is `Free` at first: `Free` ▸ create ▸ `Created` ▸ start ▸ `Building` … `Ended` ▸ destroy ▸ `Leaving` ▸ `Free`.
//!
//! [`Lifecycle`] is the record under the lock of the machine's decisions; [`Phase`] is what cores look at without
//! it. A restart is a new incarnation with a new id under the same name; ids are never used twice.

mod farewell;
pub mod start;

pub use farewell::Farewell;
pub use shikiri_abi::EndCause;

use shikiri_abi::{Hold, PartitionId, PartitionState};
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
    /// Is built, and waits for another start; its vCPUs are off.
    Held,
    /// Its vCPUs are kept off their cores.
    Paused,
    /// Nobody's: a place for a partition that is made at run time.
    Free,
    /// Has an id and a name, and is being described; owns nothing.
    Created,
    /// Is being destroyed: cores let go of its vCPUs' seats.
    Leaving,
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
            Self::Held => 5,
            Self::Paused => 6,
            Self::Free => 7,
            Self::Created => 8,
            Self::Leaving => 9,
        }
    }

    /// Whether an incarnation is there whose vCPUs may have something to do: it is active, or paused.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Active | Self::Paused)
    }

    /// Whether nothing lives, and only the policy program can change that: the place is free, or its partition is still being
    /// described, or about to go.
    #[must_use]
    pub const fn is_policys(self) -> bool {
        matches!(self, Self::Free | Self::Created | Self::Leaving)
    }

    /// The phase of a byte that [`Phase::code`] made.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Building,
            2 => Self::Active,
            3 => Self::Ending,
            4 => Self::TearingDown,
            5 => Self::Held,
            6 => Self::Paused,
            7 => Self::Free,
            8 => Self::Created,
            9 => Self::Leaving,
            _ => Self::Ended,
        }
    }

    /// The phase as others are told it; none of a place where there is nobody.
    #[must_use]
    pub const fn told(self) -> Option<PartitionState> {
        Some(match self {
            Self::Free => return None,
            Self::Created => PartitionState::Created,
            Self::Building => PartitionState::Building,
            Self::Held => PartitionState::Held,
            Self::Active => PartitionState::Active,
            Self::Paused => PartitionState::Paused,
            Self::Ending | Self::TearingDown => PartitionState::Ending,
            Self::Ended => PartitionState::Ended,
            Self::Leaving => PartitionState::Leaving,
        })
    }

    /// For tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Building => "building",
            Self::Active => "active",
            Self::Ending | Self::TearingDown => "ending",
            Self::Held => "held",
            Self::Paused => "paused",
            Self::Free => "free",
            Self::Created => "created",
            Self::Leaving => "being destroyed",
        }
    }
}

/// Whether an end counts as a failure for the restart policy.
const fn is_failure(cause: EndCause) -> bool {
    matches!(cause, EndCause::Fault) || matches!(cause, EndCause::Code(code) if code != 0)
}

/// Whether somebody wants an end now, whatever the restart policy and what came before.
const fn is_wish(cause: EndCause) -> bool {
    matches!(
        cause,
        EndCause::Operator | EndCause::OperatorRestart | EndCause::Policy | EndCause::PolicyRestart
    )
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

/// How far apart a partition's restarts are at least in the long run, in milliseconds: ending, building and reporting
/// one is work for all (the console's), and a guest that ends itself at once must not make it without bound.
pub const RESTART_SPACING_MS: u64 = 100;
/// So many restarts may come sooner than that, after a quiet time.
pub const RESTART_BURST: u64 = 4;
/// How far apart a partition's full reports are at least in the long run, in milliseconds: at 115,200 baud one takes 200.
pub const REPORT_SPACING_MS: u64 = 1000;
/// So many full reports may come at once, after a quiet time.
pub const REPORT_BURST: u64 = 3;

/// The record of one partition of the description.
#[derive(Debug)]
pub struct Lifecycle {
    phase: Phase,
    id: PartitionId,
    starts: u32,
    cause: Option<EndCause>,
    hold: Hold,
    restart_at: Option<u64>,
    window_start: u64,
    restarts_in_window: u32,
    /// When the next restart would come if all were [`RESTART_SPACING_MS`] apart, in ticks.
    spaced_at: u64,
    /// When the next full report would come if all were [`REPORT_SPACING_MS`] apart, in ticks.
    reported_at: u64,
    /// The incarnation that was reported last.
    reported: PartitionId,
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
            hold: Hold::No,
            restart_at: None,
            window_start: 0,
            restarts_in_window: 0,
            spaced_at: 0,
            reported_at: 0,
            reported: PartitionId(0),
        }
    }

    /// A place for partitions that are made at run time.
    #[must_use]
    pub const fn spare() -> Self {
        let mut life = Self::new();
        life.phase = Phase::Free;
        life
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

    /// How its last life began, and one that follows without the policy program does too: who has a life held loads something into its
    /// memory, which each start clears.
    #[must_use]
    pub const fn hold(&self) -> Hold {
        self.hold
    }

    /// When it will be started again, in ticks.
    #[must_use]
    pub const fn restart_at(&self) -> Option<u64> {
        self.restart_at
    }

    /// A partition appears at a free place, under `id`; its first life has the same id.
    ///
    /// # Errors
    /// [`WrongPhase`] unless the place is free.
    pub const fn create(&mut self, id: PartitionId) -> Result<(), WrongPhase> {
        if !matches!(self.phase, Phase::Free) {
            return Err(WrongPhase(self.phase));
        }
        *self = Self::new();
        self.phase = Phase::Created;
        self.id = id;
        Ok(())
    }

    /// Begins to destroy a partition that was made at run time; again is no mistake. Nothing starts it any more.
    ///
    /// # Errors
    /// [`WrongPhase`] unless it has ended, or was never started.
    pub const fn destroy(&mut self) -> Result<(), WrongPhase> {
        if !matches!(self.phase, Phase::Ended | Phase::Created | Phase::Leaving) {
            return Err(WrongPhase(self.phase));
        }
        self.restart_at = None;
        self.phase = Phase::Leaving;
        Ok(())
    }

    /// Nothing of a destroyed partition is left: its place is free.
    pub const fn destroyed(&mut self) {
        *self = Self::spare();
    }

    /// Starts a new incarnation under `id`.
    ///
    /// # Errors
    /// [`WrongPhase`] unless it has ended, or was created and never started.
    pub const fn start(&mut self, id: PartitionId, hold: Hold) -> Result<(), WrongPhase> {
        if !matches!(self.phase, Phase::Ended | Phase::Created) {
            return Err(WrongPhase(self.phase));
        }
        self.phase = Phase::Building;
        self.id = id;
        self.starts = self.starts.saturating_add(1);
        self.cause = None;
        self.hold = hold;
        self.restart_at = None;
        Ok(())
    }

    /// The incarnation is complete: it is active or held. An end that was asked for meanwhile takes effect now.
    pub const fn built(&mut self) -> Phase {
        self.phase = match (self.cause, self.hold) {
            (Some(_), _) => Phase::TearingDown,
            (None, Hold::No) => Phase::Active,
            (None, Hold::WhenBuilt) => Phase::Held,
        };
        self.phase
    }

    /// Lets a held incarnation go on.
    ///
    /// # Errors
    /// [`WrongPhase`] unless it is held.
    pub const fn release(&mut self) -> Result<(), WrongPhase> {
        self.change(Phase::Held, Phase::Active)
    }

    /// Keeps an active incarnation's vCPUs off their cores.
    ///
    /// # Errors
    /// [`WrongPhase`] unless it is active.
    pub const fn pause(&mut self) -> Result<(), WrongPhase> {
        self.change(Phase::Active, Phase::Paused)
    }

    /// Lets a paused incarnation go on.
    ///
    /// # Errors
    /// [`WrongPhase`] unless it is paused.
    pub const fn resume(&mut self) -> Result<(), WrongPhase> {
        self.change(Phase::Paused, Phase::Active)
    }

    const fn change(&mut self, from: Phase, to: Phase) -> Result<(), WrongPhase> {
        if self.phase.code() != from.code() {
            return Err(WrongPhase(self.phase));
        }
        self.phase = to;
        Ok(())
    }

    /// The incarnation could not be built; what it has goes back.
    pub const fn failed(&mut self) {
        self.cause = Some(EndCause::NotBuilt);
        self.phase = Phase::TearingDown;
    }

    /// Asks for the end. The first cause stands, except that the operator's or the policy program's wish about a restart
    /// counts also while the end is under way. True if the vCPUs are to be stopped now.
    pub const fn end(&mut self, cause: EndCause) -> bool {
        match self.phase {
            Phase::Active | Phase::Held | Phase::Paused => {
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
                if is_wish(cause) {
                    self.cause = Some(cause);
                }
                false
            }
            Phase::Ended => {
                // A restart that is called off is an end by whoever does it: with it the machine stays on.
                if self.restart_at.is_some()
                    && matches!(cause, EndCause::Operator | EndCause::Policy)
                {
                    (self.restart_at, self.cause) = (None, Some(cause));
                }
                false
            }
            Phase::Free | Phase::Created | Phase::Leaving => false,
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
            Some(EndCause::Reset | EndCause::OperatorRestart | EndCause::PolicyRestart) => true,
            Some(EndCause::Operator | EndCause::Policy | EndCause::NotBuilt) | None => false,
            Some(cause) => match restart.policy {
                RestartPolicy::Never => false,
                RestartPolicy::OnFault => is_failure(cause),
                RestartPolicy::Always => true,
            },
        };
        if !wants {
            return After::Stay;
        }
        let is_asked_for =
            matches!(self.cause, Some(EndCause::OperatorRestart | EndCause::PolicyRestart));
        if !is_asked_for && self.is_too_often(restart, now, ticks_per_ms) {
            return After::GivenUp;
        }
        let at = if is_asked_for {
            now
        } else {
            let delay = u64::from(restart.delay_ms).saturating_mul(ticks_per_ms);
            self.space(now.saturating_add(delay), ticks_per_ms)
        };
        self.restart_at = Some(at);
        After::StartAt(at)
    }

    /// When a restart may be that is wanted at `wanted`, and counts it: in any `t` milliseconds there are at most
    /// `RESTART_BURST + 1 + t / RESTART_SPACING_MS` of them (a leaky bucket in one word).
    fn space(&mut self, wanted: u64, ticks_per_ms: u64) -> u64 {
        let spacing = RESTART_SPACING_MS.saturating_mul(ticks_per_ms);
        let earliest = self.spaced_at.saturating_sub(spacing.saturating_mul(RESTART_BURST));
        let at = wanted.max(earliest);
        self.spaced_at = self.spaced_at.max(at).saturating_add(spacing);
        at
    }

    /// Whether nothing was reported of this life yet: a life ends by one fault, however many vCPUs fault together.
    pub fn is_first_report(&mut self) -> bool {
        core::mem::replace(&mut self.reported, self.id) != self.id
    }

    /// Whether a fault at `now` is reported in full, and counts it if so: in any `t` milliseconds there are at most
    /// `REPORT_BURST + t / REPORT_SPACING_MS` full reports. A partition that crashes and restarts without end must not
    /// take the line.
    pub fn reports_in_full(&mut self, now: u64, ticks_per_ms: u64) -> bool {
        let spacing = REPORT_SPACING_MS.saturating_mul(ticks_per_ms);
        let ahead = spacing.saturating_mul(REPORT_BURST.saturating_sub(1));
        let is_in_full = now >= self.reported_at.saturating_sub(ahead);
        if is_in_full {
            self.reported_at = self.reported_at.max(now).saturating_add(spacing);
        }
        is_in_full
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
mod tests;
