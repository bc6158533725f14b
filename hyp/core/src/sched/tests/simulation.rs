//! One core in simulated time: vCPUs that spin, and vCPUs that sleep and burst, under random reservations.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use shikiri_abi::CoreId;

use super::{reserved, seat};
use crate::sched::{Excess, RunQueue, Share, Terms};

/// What a vCPU does: always ready, or in turns so long awake (of its own running) and so long asleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behaviour {
    pub(super) terms: Terms,
    pub(super) burst: Option<(u64, u64)>,
}

/// When each vCPU ran: `(from, to)` in order.
pub(super) type Trace = Vec<Vec<(u64, u64)>>;

struct Core {
    queue: RunQueue,
    now: u64,
    /// Per vCPU: what its burst has left, or when it wakes.
    burst_left: Vec<u64>,
    wakes_at: Vec<Option<u64>>,
    trace: Trace,
    /// When nobody ran.
    idle: Vec<(u64, u64)>,
}

impl Core {
    fn new(vcpus: &[Behaviour]) -> Self {
        let mut queue = RunQueue::new(CoreId(0));
        for (number, vcpu) in (0..).zip(vcpus) {
            queue.seat(seat(number), vcpu.terms, 0);
            assert!(queue.wake(seat(number), 0));
        }
        Self {
            queue,
            now: 0,
            burst_left: vcpus.iter().map(|v| v.burst.map_or(u64::MAX, |b| b.0)).collect(),
            wakes_at: vec![None; vcpus.len()],
            trace: vec![Vec::new(); vcpus.len()],
            idle: Vec::new(),
        }
    }

    /// One decision and the time until the next; the timer comes `late` ticks after it was due.
    fn step(&mut self, vcpus: &[Behaviour], late: u64) {
        for (number, vcpu) in (0..).zip(vcpus) {
            let at = &mut self.wakes_at[usize::from(number)];
            if at.take_if(|at| *at <= self.now).is_some() {
                self.burst_left[usize::from(number)] = vcpu.burst.unwrap().0;
                assert!(self.queue.wake(seat(number), self.now));
            }
        }
        let decision = self.queue.pick(self.now);
        let timer = decision.until.map_or(u64::MAX, |until| {
            assert!(until > self.now, "a decision that is already over");
            until.saturating_add(late)
        });
        let wake = self.wakes_at.iter().flatten().copied().min().unwrap_or(u64::MAX);
        let runs = decision.run.map(|key| usize::from(key.partition.0));
        let done = runs.map_or(u64::MAX, |who| self.now.saturating_add(self.burst_left[who]));
        let next = timer.min(wake).min(done).min(self.now + 10_000);
        match runs {
            None => self.idle.push((self.now, next)),
            Some(who) => {
                self.trace[who].push((self.now, next));
                if let Some((_, sleep)) = vcpus[who].burst {
                    self.burst_left[who] -= next - self.now;
                    if self.burst_left[who] == 0 {
                        self.queue.block(seat(u8::try_from(who).unwrap()), next);
                        self.wakes_at[who] = Some(next + sleep);
                    }
                }
            }
        }
        self.now = next;
    }

    fn run_until(vcpus: &[Behaviour], end: u64, mut late: impl FnMut() -> u64) -> Self {
        let mut core = Self::new(vcpus);
        while core.now < end {
            core.step(vcpus, late());
        }
        core
    }
}

/// The ticks that a trace has in `from..to`.
pub(super) fn ran(trace: &[(u64, u64)], from: u64, to: u64) -> u64 {
    trace.iter().map(|(a, b)| (*b).min(to).saturating_sub((*a).max(from))).sum()
}

/// Budgets in ticks and periods that together fill at most one core.
pub(super) fn admitted() -> impl Strategy<Value = Vec<Terms>> {
    let shares = proptest::collection::vec((20..400_u64, 1..100_u64), 1..7);
    (shares, any::<bool>())
        .prop_map(|(shares, is_full)| {
            let sum: u64 = shares.iter().map(|(_, weight)| weight).sum();
            let whole = if is_full { sum } else { sum + 50 };
            (0..)
                .zip(shares)
                .filter_map(|(number, (period, weight))| {
                    let budget = period * weight / whole;
                    (budget > 0).then(|| reserved(number, budget, period))
                })
                .collect::<Vec<_>>()
        })
        .prop_map(|terms| {
            (0..).zip(terms).map(|(n, t)| Terms { key: super::key(n, 0), ..t }).collect()
        })
}

pub(super) fn behaviour(terms: Vec<Terms>) -> impl Strategy<Value = Vec<Behaviour>> {
    let bursts =
        proptest::collection::vec(proptest::option::of((1..80_u64, 0..300_u64)), terms.len());
    bursts.prop_map(move |bursts| {
        terms.iter().zip(bursts).map(|(terms, burst)| Behaviour { terms: *terms, burst }).collect()
    })
}

pub(super) fn numbers(terms: &Terms) -> (u64, u64) {
    match terms.share {
        Share::Reserved(reservation) => (reservation.budget(), reservation.period()),
        Share::Owned => panic!("not reserved"),
    }
}

pub(super) const END: u64 = 3000;

proptest! {
    /// Whatever the others do and wherever it sleeps: at most `budget · L / period + 2 · budget` in any L ticks,
    /// plus one lateness of the timer.
    #[test]
    fn no_vcpu_exceeds_its_budget(
        vcpus in admitted().prop_flat_map(behaviour),
        priorities in proptest::collection::vec(0..3_u8, 7),
        lateness in proptest::collection::vec(0..15_u64, 1..20),
    ) {
        let mut vcpus = vcpus;
        for (vcpu, priority) in vcpus.iter_mut().zip(priorities) {
            vcpu.terms.priority = priority;
        }
        let mut late = lateness.iter().copied().cycle();
        let core = Core::run_until(&vcpus, END, || late.next().unwrap());
        let most_late = lateness.iter().copied().max().unwrap();
        for (vcpu, trace) in vcpus.iter().zip(&core.trace) {
            let (budget, period) = numbers(&vcpu.terms);
            for (at, (from, _)) in trace.iter().enumerate() {
                for (_, to) in trace.iter().skip(at).step_by(1 + trace.len() / 40) {
                    let bound = (budget * (to - from)).div_ceil(period) + 2 * budget + most_late;
                    prop_assert!(ran(trace, *from, *to) <= bound, "{from}..{to} of {vcpu:?}");
                }
            }
        }
    }

    /// Among equal priorities each vCPU that is always ready gets its whole budget, and no more, in every one
    /// of its periods, whatever the others do.
    #[test]
    fn every_admitted_vcpu_gets_its_budget_in_every_period(
        vcpus in admitted().prop_flat_map(behaviour)
    ) {
        let core = Core::run_until(&vcpus, END, || 0);
        for (vcpu, trace) in vcpus.iter().zip(&core.trace) {
            let (budget, period) = numbers(&vcpu.terms);
            for start in (0..END - period).step_by(usize::try_from(period).unwrap()) {
                let got = ran(trace, start, start + period);
                if vcpu.burst.is_none() {
                    prop_assert_eq!(got, budget, "in {}.. of {:?}", start, vcpu);
                }
            }
        }
    }

    /// A vCPU that bursts gets each burst done within the periods that its budget needs for it, after each
    /// wake-up: the others' spinning does not delay it further.
    #[test]
    fn a_burst_is_done_within_its_periods(vcpus in admitted().prop_flat_map(behaviour)) {
        let core = Core::run_until(&vcpus, END, || 0);
        for (vcpu, trace) in vcpus.iter().zip(&core.trace) {
            let Some((burst, sleep)) = vcpu.burst else { continue };
            let (budget, period) = numbers(&vcpu.terms);
            // What was left of the period before, and the last, partly used one.
            let most = (burst.div_ceil(budget) + 1) * period;
            let mut done = 0;
            let mut woken = 0;
            for (from, to) in trace {
                done += to - from;
                if done == burst {
                    prop_assert!(to - woken <= most, "woken {woken}, done {to}: {vcpu:?}");
                    (done, woken) = (0, to + sleep);
                }
            }
        }
    }

    /// With slack allowed the core is idle only when nobody is ready.
    #[test]
    fn slack_keeps_the_core_busy(vcpus in admitted().prop_flat_map(behaviour)) {
        let mut vcpus = vcpus;
        for vcpu in &mut vcpus {
            vcpu.terms.excess = Excess::Slack;
        }
        let core = Core::run_until(&vcpus, END, || 0);
        let has_spinner = vcpus.iter().any(|vcpu| vcpu.burst.is_none());
        prop_assert!(!has_spinner || core.idle.is_empty(), "{:?}", core.idle);
        for (vcpu, trace) in vcpus.iter().zip(&core.trace) {
            let (budget, period) = numbers(&vcpu.terms);
            if vcpu.burst.is_none() {
                for start in (0..END - period).step_by(usize::try_from(period).unwrap()) {
                    prop_assert!(ran(trace, start, start + period) >= budget);
                }
            }
        }
    }
}
