//! Lending: an idle core runs a vCPU whose home is busy (P5).
//!
//! The home picks one of its ready vCPUs that waits for its turn and whose set holds an idle core; marks it
//! lent; and puts it into that core's [`Inbox`](super::Inbox). There it is the *visitor*: it runs while the host
//! has nothing of its own to do, and goes home when it blocks, when the host's own work comes, or when its
//! allowance is used up. The vCPU belongs to the host from the offer to the return, and to the home otherwise;
//! both hand-overs are release/acquire.
//!
//! **Who pays.** The reservation stays at home and its vCPU pays for what it used when it comes back, as if it had
//! run there: the allowance is what is left of its budget, and what it uses of that after its period has ended is
//! paid from the next one's. So a vCPU never gets more by moving than it reserved, only sooner. One with
//! [`Excess::Slack`] whose budget is used up is lent unpaid, until its next period begins.
//!
//! **What a move may cost others.** A core lends at most once in a *pause*, and is called by idle cores at most
//! once in a pause. So a vCPU that makes its core idle and busy in quick turns cannot make other cores
//! lend and take back all the time; what it can take from them is bounded by a few exits per pause.

use shikiri_abi::{CoreId, CoreSet};

use super::inbox::MAX_ALLOWANCE;
use super::{Excess, Exchange, Returned, RunQueue, Running, Seat, VcpuKey};

/// A vCPU of another core's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Which vCPU.
    pub key: VcpuKey,
    /// Its home core.
    pub home: CoreId,
    /// Its seat there.
    pub seat: Seat,
    /// How many ticks it may run before it goes home, 1 to [`MAX_ALLOWANCE`].
    pub allowance: u64,
}

/// A visitor that goes home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a vCPU that does not come home runs nowhere"]
pub struct Homeward {
    /// Which vCPU.
    pub key: VcpuKey,
    /// Its home core.
    pub home: CoreId,
    /// Its seat there.
    pub seat: Seat,
    /// How many ticks it has run here.
    pub used: u64,
}

/// A vCPU to be offered to an idle core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a vCPU that is lent and not offered runs nowhere"]
pub struct Loan {
    /// What to put into the other core's inbox.
    pub visitor: Visitor,
    /// The idle core.
    pub to: CoreId,
}

/// What [`RunQueue::seek_host`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a loan is to be carried out"]
pub struct Search {
    /// A vCPU that goes to another core now.
    pub loan: Option<Loan>,
    /// When to search again at the latest; `None`: an idle core will call.
    pub again: Option<u64>,
}

/// Where a seat's vCPU is, and who pays meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Away {
    to: CoreId,
    is_paid: bool,
}

/// A core's visitor and what it has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) visitor: Visitor,
    pub(super) used: u64,
}

impl Visit {
    /// How many ticks it may still run here.
    pub(super) const fn left(&self) -> u64 {
        self.visitor.allowance.saturating_sub(self.used)
    }

    pub(super) const fn homeward(&self) -> Homeward {
        let Visitor { key, home, seat, .. } = self.visitor;
        Homeward { key, home, seat, used: self.used }
    }
}

/// How a core stands to the [`Exchange`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// It has entered itself as one with too much.
    is_entered: bool,
    /// It does not enter itself before.
    not_before: u64,
}

impl Standing {
    pub(super) const NEW: Self = Self { is_entered: false, not_before: 0 };
}

impl RunQueue {
    /// Whether ready vCPUs wait that could run elsewhere, if a core of theirs is idle.
    #[must_use]
    pub fn has_surplus(&self) -> bool {
        self.waiting() != 0
    }

    /// Whether [`RunQueue::seek_host`] may have something to do. Cores none of whose vCPUs may run elsewhere never have.
    #[must_use]
    #[inline]
    pub const fn has_to_seek(&self) -> bool {
        self.ready & self.movable & !self.lent != 0 || self.standing.is_entered
    }

    /// Looks for an idle core for a vCPU that waits, after each [`RunQueue::pick`]. `pause` is the least time in
    /// ticks between two loans; `may_go` says which vCPUs the caller can let go at this moment.
    ///
    /// The loan's host has been taken out of the exchange for it: its inbox gets the visitor, and it is kicked.
    /// If the inbox does not take the visitor, [`RunQueue::returned`] undoes the loan.
    pub fn seek_host(
        &mut self,
        exchange: &Exchange,
        (now, pause): (u64, u64),
        may_go: impl Fn(VcpuKey) -> bool,
    ) -> Search {
        if !self.has_to_seek() {
            return Search::default();
        }
        let Search { loan, again } = self.search(exchange, (now, pause), &may_go);
        // One whose budget is used up may go as soon as it has a new one, even if it would not have its turn here.
        let renewal = self.next_replenishment(self.ready & self.movable & !self.lent & self.spent);
        Search { loan, again: super::earlier(again, renewal) }
    }

    fn search(
        &mut self,
        exchange: &Exchange,
        (now, pause): (u64, u64),
        may_go: &dyn Fn(VcpuKey) -> bool,
    ) -> Search {
        let is_called = self.standing.is_entered && !exchange.is_surplus(self.core);
        if is_called {
            self.standing = Standing { is_entered: false, not_before: now.saturating_add(pause) };
        }
        if !self.has_surplus() {
            self.leave(exchange, now, pause);
            return Search::default();
        }
        let idle = if is_called || self.standing.is_entered {
            exchange.idle()
        } else if now < self.standing.not_before {
            return Search { loan: None, again: Some(self.standing.not_before) };
        } else {
            self.standing.is_entered = true;
            exchange.enter_surplus(self.core)
        };
        let loan = self.claim(exchange, idle, now, may_go);
        if loan.is_some() {
            self.leave(exchange, now, pause);
            self.standing.not_before = now.saturating_add(pause);
        }
        let is_to_ask = self.has_surplus() && !self.standing.is_entered;
        Search { loan, again: is_to_ask.then_some(self.standing.not_before) }
    }

    /// Takes this core's entry out of the exchange. If an idle core has done so already, its call is still to
    /// come: the pause begins here.
    fn leave(&mut self, exchange: &Exchange, now: u64, pause: u64) {
        if core::mem::take(&mut self.standing.is_entered) && !exchange.leave_surplus(self.core) {
            self.standing.not_before = now.saturating_add(pause);
        }
    }

    /// Lends to the first of the idle cores that nobody else takes.
    pub(super) fn claim(
        &mut self,
        exchange: &Exchange,
        idle: CoreSet,
        now: u64,
        may_go: &dyn Fn(VcpuKey) -> bool,
    ) -> Option<Loan> {
        let mut idle = idle;
        loop {
            let loan = self.lend(idle, now, may_go)?;
            if exchange.claim(loan.to) {
                return Some(loan);
            }
            self.returned(loan.visitor.seat, Returned::Ready, 0, now);
            idle = idle.without(CoreSet::one(loan.to));
        }
    }

    /// Chooses the most urgent vCPU that may go to one of these cores, and marks it lent.
    pub(super) fn lend(
        &mut self,
        idle: CoreSet,
        now: u64,
        may_go: &dyn Fn(VcpuKey) -> bool,
    ) -> Option<Loan> {
        let others = idle.without(CoreSet::one(self.core));
        let mut waiting = self.waiting();
        loop {
            let seat = self.most_urgent(waiting)?;
            waiting &= !seat.bit();
            let is_paid = self.spent & seat.bit() == 0;
            let Some(entry) = self.place(seat).and_then(Option::as_mut) else { continue };
            let Some(to) = entry.terms.cores.intersection(others).first() else { continue };
            let allowance = entry.server.allowance(now, is_paid).min(MAX_ALLOWANCE);
            if allowance == 0 || !may_go(entry.terms.key) {
                continue;
            }
            entry.away = Away { to, is_paid };
            let key = entry.terms.key;
            self.lent |= seat.bit();
            return Some(Loan { visitor: Visitor { key, home: self.core, seat, allowance }, to });
        }
    }

    /// Takes a lent vCPU back, which has run for `used` ticks. It is ready if it was so, or if it was woken
    /// meanwhile.
    pub fn returned(&mut self, seat: Seat, how: Returned, used: u64, now: u64) {
        let bit = seat.bit();
        if self.lent & bit == 0 {
            return;
        }
        let is_woken = self.woken & bit != 0;
        self.lent &= !bit;
        self.woken &= !bit;
        if let Some(entry) = self.place(seat).and_then(Option::as_mut)
            && entry.away.is_paid
        {
            let has_budget = entry.server.consume_elsewhere(used, now).is_some();
            self.spent = if has_budget { self.spent & !bit } else { self.spent | bit };
        }
        // One that is ready has never slept: its budget and its deadline go on.
        if how == Returned::Blocked {
            self.ready &= !bit;
            if is_woken {
                self.wake(seat, now);
            }
        }
    }

    /// The core that a lent vCPU is on, or on its way to or from.
    #[must_use]
    pub fn host_of(&self, seat: Seat) -> Option<CoreId> {
        self.entry(seat).filter(|_| self.lent & seat.bit() != 0).map(|entry| entry.away.to)
    }

    /// Takes a visitor in, if there is no other; it runs when nobody else wants to.
    ///
    /// # Errors
    /// The visitor itself, if there is one already or the core has an owner: it is to be handed back.
    pub fn host(&mut self, visitor: Visitor) -> Result<(), Homeward> {
        let visit = Visit { visitor, used: 0 };
        if self.visitor.is_some() || self.owner.is_some() {
            return Err(visit.homeward());
        }
        self.visitor = Some(visit);
        Ok(())
    }

    /// The core has nothing to run: it is entered in the exchange, unless a vCPU owns it, which no other core's comings and
    /// goings may disturb; then it is not left either. Those of the `lenders` that have something to lend are to be kicked.
    #[must_use = "a core that is not kicked does not know that it was called"]
    pub fn enter_idle(&self, exchange: &Exchange, lenders: CoreSet) -> Option<CoreSet> {
        self.owner.is_none().then(|| exchange.enter_idle(self.core, lenders))
    }

    /// Whether this vCPU is the visitor here.
    #[must_use]
    #[inline]
    pub fn is_visitor(&self, key: VcpuKey) -> bool {
        self.visitor.is_some_and(|visit| visit.visitor.key == key)
    }

    /// Lets the visitor go: it blocked, was turned off, or its partition ends.
    pub fn dismiss(&mut self, now: u64) -> Option<Homeward> {
        self.account(now);
        if self.running == Running::Visitor {
            self.running = Running::Nobody;
        }
        self.visitor.take().map(|visit| visit.homeward())
    }

    /// Ready vCPUs that do not run, that may run on several cores, and that have budget left or may use slack.
    fn waiting(&self) -> u32 {
        let running = self.running().map_or(0, Seat::bit);
        self.ready & self.movable & !self.lent & !running & (!self.spent | self.greedy)
    }

    /// Notes of a new seat what [`RunQueue::waiting`] asks.
    pub(super) fn note_mobility(&mut self, seat: Seat, cores: CoreSet, excess: Excess) {
        let bit = seat.bit();
        self.movable = if cores.len() > 1 { self.movable | bit } else { self.movable & !bit };
        self.greedy = if excess == Excess::Slack { self.greedy | bit } else { self.greedy & !bit };
    }
}
