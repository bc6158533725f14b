//! Lending: an idle core runs a vCPU whose home is busy (P5).
//!
//! Only slack is lent. The home picks one of its ready vCPUs that does not run, that may use slack, and whose
//! set holds an idle core; marks it lent; and puts it into that core's [`Inbox`](super::Inbox). There it is the
//! *visitor*: it runs, unpaid, while the host has nothing of its own to do, and goes back when it blocks
//! or the host's own work comes. Its reservation stays at home, unused meanwhile. The vCPU belongs to the
//! host from the offer to the return, and to the home otherwise; both hand-overs are release/acquire.

use shikiri_abi::{CoreId, CoreSet};

use super::{Excess, Returned, RunQueue, Running, Seat, VcpuKey};

/// A vCPU of another core's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Which vCPU.
    pub key: VcpuKey,
    /// Its home core.
    pub home: CoreId,
    /// Its seat there.
    pub seat: Seat,
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

impl RunQueue {
    /// Whether [`RunQueue::lend`] may find something, if a core is idle: then this core stands in
    /// [`Exchange::surplus`](super::Exchange).
    #[must_use]
    pub fn has_surplus(&self) -> bool {
        self.waiting().next().is_some()
    }

    /// Chooses a vCPU for an idle core and marks it lent. If that core's inbox does not take it,
    /// [`RunQueue::returned`] undoes this.
    pub fn lend(&mut self, idle: CoreSet) -> Option<Loan> {
        let others = idle.without(CoreSet::one(self.core));
        let (seat, key, to) = self.waiting().find_map(|(seat, key, cores)| {
            cores.intersection(others).first().map(|to| (seat, key, to))
        })?;
        self.lent |= seat.bit();
        Some(Loan { visitor: Visitor { key, home: self.core, seat }, to })
    }

    /// Takes a lent vCPU back. It is ready if it was so, or if it was woken meanwhile.
    pub fn returned(&mut self, seat: Seat, how: Returned, now: u64) {
        let bit = seat.bit();
        if self.lent & bit == 0 {
            return;
        }
        let is_ready = how == Returned::Ready || self.woken & bit != 0;
        self.lent &= !bit;
        self.woken &= !bit;
        self.ready &= !bit;
        if is_ready {
            self.wake(seat, now);
        }
    }

    /// Takes a visitor in, if there is no other; it runs when nobody else wants to.
    ///
    /// # Errors
    /// The visitor itself, if there is one already or the core has an owner: it is to be handed back.
    pub fn host(&mut self, visitor: Visitor) -> Result<(), Visitor> {
        if self.visitor.is_some() || self.owner.is_some() {
            return Err(visitor);
        }
        self.visitor = Some(visitor);
        Ok(())
    }

    /// Lets the visitor go: it blocked, was turned off, or its partition ends.
    pub fn dismiss(&mut self) -> Option<Visitor> {
        if self.running == Running::Visitor {
            self.running = Running::Nobody;
        }
        self.visitor.take()
    }

    /// Ready vCPUs that do not run, and may use slack on several cores.
    fn waiting(&self) -> impl Iterator<Item = (Seat, VcpuKey, CoreSet)> {
        let running = self.running().map_or(0, Seat::bit);
        Seat::of(self.ready & !self.lent & !running)
            .filter_map(|seat| self.terms(seat).map(|terms| (seat, terms)))
            .filter(|(_, terms)| terms.excess == Excess::Slack && terms.cores.len() > 1)
            .map(|(seat, terms)| (seat, terms.key, terms.cores))
    }
}
