//! The scheduler: which vCPU a core runs, and until when (P5).
//!
//! Each core has a [`RunQueue`], and only that core touches it. A vCPU has one *home* core, where it has a
//! [`Seat`]; other cores reach it there through the home's [`Inbox`] and a kick, never through a lock. Which
//! core becomes the home, and whether its time suffices, is decided once per start in the [`CoreBook`].
//!
//! A vCPU either **owns** its core: it alone has a seat there, runs whenever it is ready, and there is no
//! tick; or it has a **reservation**: `budget` ticks in every `period`. Among ready vCPUs with budget left the
//! higher priority runs, among equals the earliest deadline (EDF). Reservations are hard constant-bandwidth
//! servers ([`server`]); what they promise:
//!
//! - *Budget*: between two replenishments, which are at least a period apart while it stays ready, a vCPU
//!   runs at most its budget; in any `L` ticks at most `budget · L / period + 2 · budget`. What a late timer lets it
//!   take above that is a debt, paid from its next budgets.
//! - *No starvation*: the book admits reservations up to the whole of a core. So among vCPUs of one priority
//!   each that stays ready gets its whole budget in every period (less the cost of switching). A higher priority
//!   takes its budget first; it can delay those below it, and can never take more than its budget.
//! - *Moves*: a vCPU that waits for its turn is lent to an idle core of its set ([`lend`]). It pays at home for what
//!   it uses there, so that it gets no more than it reserved, only sooner; and those at home get no less.
//! - *Slack*: a vCPU with [`Excess::Slack`] also runs, unpaid, when nobody with budget is ready, at home or
//!   lent. With [`Excess::Stop`] it never exceeds its budget.
//!
//! Time is an argument, in ticks of the system counter, and never goes back. Every call is bounded by
//! the 32 seats.

pub mod alarms;
pub mod book;
pub mod exchange;
pub mod inbox;
pub mod lend;
pub mod server;
pub mod terms;

use shikiri_abi::CoreId;

pub use alarms::{Alarms, earlier};
pub use book::{Admitted, CoreBook, NotAdmitted};
pub use exchange::Exchange;
pub use inbox::{Drained, Inbox, Returned};
pub use lend::{Homeward, Loan, Search, Visitor};
pub use server::{BadReservation, Reservation};
pub use terms::{Excess, Seat, Share, Terms, VcpuKey};

use lend::{Away, Standing, Visit};
use server::Server;

/// How many vCPUs have their home on one core at most.
pub const SEATS: usize = 32;

/// What a core does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the decision is to be carried out"]
pub struct Decision {
    /// The vCPU to run; `None`: wait for an interrupt.
    pub run: Option<VcpuKey>,
    /// When to ask again at the latest; `None`: no timer is needed.
    pub until: Option<u64>,
    /// A visitor that has to go: once its state is saved, hand it back, ready, with [`Inbox::hand_back`] at its home.
    pub give_back: Option<Homeward>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    terms: Terms,
    server: Server,
    /// When it last ran in slack: whoever waited longest is next.
    slack_at: u64,
    /// Where it is while it is lent.
    away: Away,
}

/// Who runs on this core since `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Nobody,
    /// Owned, or paid by the seat's budget.
    Seat(Seat),
    Slack(Seat),
    Visitor,
}

/// The vCPUs whose home is one core.
#[derive(Debug)]
pub struct RunQueue {
    core: CoreId,
    entries: [Option<Entry>; SEATS],
    /// Seats that want to run.
    ready: u32,
    /// Seats with a reservation whose budget is used up.
    spent: u32,
    /// Seats whose vCPU is on another core.
    lent: u32,
    /// Lent seats that were woken at home.
    woken: u32,
    /// Seats whose vCPU may run on other cores too.
    movable: u32,
    /// Seats that may use slack.
    greedy: u32,
    /// The seat that owns the core.
    owner: Option<Seat>,
    running: Running,
    since: u64,
    visitor: Option<Visit>,
    standing: Standing,
}

impl RunQueue {
    /// A core's queue without vCPUs.
    #[must_use]
    pub fn new(core: CoreId) -> Self {
        Self {
            core,
            // Not a constant that is repeated: that would be copied with what it leaves open.
            entries: core::array::from_fn(|_| None),
            ready: 0,
            spent: 0,
            lent: 0,
            woken: 0,
            movable: 0,
            greedy: 0,
            owner: None,
            running: Running::Nobody,
            since: 0,
            visitor: None,
            standing: Standing::NEW,
        }
    }

    /// Whether a vCPU has the core for itself.
    #[must_use]
    pub const fn is_owned(&self) -> bool {
        self.owner.is_some()
    }

    /// Seats a vCPU that the [`CoreBook`] admitted; it is blocked. Whoever had the seat is forgotten.
    pub fn seat(&mut self, seat: Seat, terms: Terms, now: u64) {
        self.remove(seat, now);
        if terms.share == Share::Owned {
            self.owner = Some(seat);
        }
        let server = match terms.share {
            Share::Owned => Server::unlimited(),
            Share::Reserved(reservation) => Server::new(reservation, now),
        };
        if let Some(place) = self.place(seat) {
            *place = Some(Entry { terms, server, slack_at: 0, away: Away::default() });
        }
        self.note_mobility(seat, terms.cores, terms.excess);
    }

    /// Forgets a vCPU: its partition ends. It runs on no other core any more. Returns its terms.
    pub fn remove(&mut self, seat: Seat, now: u64) -> Option<Terms> {
        self.account(now);
        if matches!(self.running, Running::Seat(it) | Running::Slack(it) if it == seat) {
            self.running = Running::Nobody;
        }
        for set in [&mut self.ready, &mut self.spent, &mut self.lent, &mut self.woken] {
            *set &= !seat.bit();
        }
        if self.owner == Some(seat) {
            self.owner = None;
        }
        self.place(seat).and_then(Option::take).map(|entry| entry.terms)
    }

    /// Gives a seat another reservation: its next periods have the new budget, this one no more than that.
    pub fn reserve(&mut self, seat: Seat, reservation: Reservation, now: u64) {
        self.account(now);
        if let Some(entry) = self.place(seat).and_then(Option::as_mut)
            && matches!(entry.terms.share, Share::Reserved(_))
        {
            entry.terms.share = Share::Reserved(reservation);
            entry.server.reserve(reservation);
        }
    }

    /// Makes a vCPU ready: started, or an interrupt is there for it. Returns whether it was not so before, and a
    /// new [`RunQueue::pick`] may come out otherwise.
    pub fn wake(&mut self, seat: Seat, now: u64) -> bool {
        let bit = seat.bit();
        if self.lent & bit != 0 {
            self.woken |= bit;
            return false;
        }
        if self.ready & bit != 0 {
            return false;
        }
        let Some(entry) = self.place(seat).and_then(Option::as_mut) else { return false };
        let is_spent = entry.server.wake(now).is_none();
        self.ready |= bit;
        self.spent = if is_spent { self.spent | bit } else { self.spent & !bit };
        true
    }

    /// Takes a vCPU out of the race: it waits for an interrupt, suspended or turned off.
    pub fn block(&mut self, seat: Seat, now: u64) {
        self.account(now);
        self.ready &= !seat.bit();
        if matches!(self.running, Running::Seat(it) | Running::Slack(it) if it == seat) {
            self.running = Running::Nobody;
        }
    }

    /// Charges the time since the last call to whom it ran; a visitor pays at its home.
    pub fn account(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.since);
        self.since = now.max(self.since);
        match self.running {
            Running::Seat(seat) if self.owner.is_none() => {
                if let Some(entry) = self.place(seat).and_then(Option::as_mut)
                    && entry.server.consume(elapsed).is_none()
                {
                    self.spent |= seat.bit();
                }
            }
            Running::Slack(seat) => {
                if let Some(entry) = self.place(seat).and_then(Option::as_mut) {
                    entry.slack_at = now;
                }
            }
            Running::Visitor => {
                if let Some(visit) = &mut self.visitor {
                    visit.used = visit.used.saturating_add(elapsed);
                }
            }
            Running::Seat(_) | Running::Nobody => {}
        }
    }

    /// Decides who runs from now on.
    #[inline]
    pub fn pick(&mut self, now: u64) -> Decision {
        if let Some(owner) = self.owner
            && self.ready & owner.bit() != 0
        {
            self.since = now;
            return self.run(Running::Seat(owner), None);
        }
        self.pick_shared(now)
    }

    /// The seat of the vCPU that runs here; `None` for a visitor or nobody.
    #[must_use]
    pub const fn running(&self) -> Option<Seat> {
        match self.running {
            Running::Seat(seat) | Running::Slack(seat) => Some(seat),
            Running::Nobody | Running::Visitor => None,
        }
    }

    /// A seat's terms; `None` if it is empty.
    #[must_use]
    pub fn terms(&self, seat: Seat) -> Option<&Terms> {
        self.entry(seat).map(|entry| &entry.terms)
    }

    /// How many ticks of its budget a vCPU has left, as of the last [`RunQueue::account`].
    #[must_use]
    pub fn budget_left(&self, seat: Seat) -> Option<u64> {
        self.entry(seat).map(|entry| entry.server.left())
    }

    /// Out of line, so that a core with an owner pays nothing for it.
    #[inline(never)]
    fn pick_shared(&mut self, now: u64) -> Decision {
        self.account(now);
        self.replenish(now);
        let here = self.ready & !self.lent;
        if let Some(seat) = self.most_urgent(here & !self.spent) {
            let until = self.paid_until(seat, here & self.spent, now);
            return self.run(Running::Seat(seat), Some(until));
        }
        let next = self.next_replenishment(here & self.spent);
        if let Some((seat, slice)) = self.next_in_slack(here & self.spent) {
            let turn = now.saturating_add(slice);
            return self.run(Running::Slack(seat), next.map(|next| next.min(turn)));
        }
        let Some(left) = self.visitor.map(|visit| visit.left()).filter(|left| *left > 0) else {
            return self.run(Running::Nobody, next);
        };
        let until = now.saturating_add(left);
        self.run(Running::Visitor, Some(next.map_or(until, |next| next.min(until))))
    }

    /// Whoever is chosen but the visitor sends the visitor home.
    fn run(&mut self, running: Running, until: Option<u64>) -> Decision {
        self.running = running;
        let run = match running {
            Running::Visitor => {
                let run = self.visitor.map(|visit| visit.visitor.key);
                return Decision { run, until, give_back: None };
            }
            Running::Nobody => None,
            Running::Seat(seat) | Running::Slack(seat) => {
                self.entry(seat).map(|entry| entry.terms.key)
            }
        };
        let give_back = self.visitor.take().map(|visit| visit.homeward());
        Decision { run, until, give_back }
    }

    /// Begins the period that `now` lies in for each ready vCPU whose deadline has passed.
    fn replenish(&mut self, now: u64) {
        for seat in Seat::of(self.ready & !self.lent) {
            if let Some(entry) = self.place(seat).and_then(Option::as_mut)
                && entry.server.deadline() <= now
            {
                let has_budget = entry.server.renew(now).is_some();
                self.spent =
                    if has_budget { self.spent & !seat.bit() } else { self.spent | seat.bit() };
            }
        }
    }

    /// Highest priority, then earliest deadline; among equals the one that runs already, so that nobody
    /// switches without need.
    fn most_urgent(&self, set: u32) -> Option<Seat> {
        let running = self.running();
        Seat::of(set).min_by_key(|seat| {
            let (priority, deadline) = self
                .entry(*seat)
                .map_or((0, u64::MAX), |entry| (entry.terms.priority, entry.server.deadline()));
            (core::cmp::Reverse(priority), deadline, Some(*seat) != running)
        })
    }

    /// Until its budget or its period ends, or one of the `spent` gets new budget and goes before it.
    fn paid_until(&self, seat: Seat, spent: u32, now: u64) -> u64 {
        let Some(entry) = self.entry(seat) else { return now };
        let own = now.saturating_add(entry.server.left()).min(entry.server.deadline());
        let (priority, deadline) = (entry.terms.priority, entry.server.deadline());
        Seat::of(spent).filter_map(|other| self.entry(other)).fold(own, |until, other| {
            let goes_before = other.terms.priority > priority
                || (other.terms.priority == priority && other.server.next_deadline() < deadline);
            if goes_before { until.min(other.server.deadline()) } else { until }
        })
    }

    fn next_replenishment(&self, spent: u32) -> Option<u64> {
        Seat::of(spent)
            .filter_map(|seat| self.entry(seat))
            .map(|entry| entry.server.deadline())
            .min()
    }

    /// Highest priority, then whoever waited longest; with the length of its turn.
    fn next_in_slack(&self, spent: u32) -> Option<(Seat, u64)> {
        Seat::of(spent)
            .filter_map(|seat| self.entry(seat).map(|entry| (seat, entry)))
            .filter(|(_, entry)| entry.terms.excess == Excess::Slack)
            .min_by_key(|(_, entry)| (core::cmp::Reverse(entry.terms.priority), entry.slack_at))
            .map(|(seat, entry)| (seat, entry.server.budget()))
    }

    fn entry(&self, seat: Seat) -> Option<&Entry> {
        self.entries.get(usize::from(seat.number())).and_then(Option::as_ref)
    }

    fn place(&mut self, seat: Seat) -> Option<&mut Option<Entry>> {
        self.entries.get_mut(usize::from(seat.number()))
    }
}

#[cfg(test)]
mod tests;
