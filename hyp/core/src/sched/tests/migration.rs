//! Several cores in simulated time: vCPUs that spin, or sleep and burst, and may run on more than their home.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use shikiri_abi::{CoreId, CoreSet};

use super::simulation::{Behaviour, END, Trace, admitted, behaviour, numbers, ran};
use super::{key, seat};
use crate::sched::{Exchange, Homeward, Inbox, Returned, RunQueue, Terms, VcpuKey};

const CORES: usize = 3;

/// One vCPU: its home, what it does, and where its sleep ends.
struct Vcpu {
    home: usize,
    behaviour: Behaviour,
    burst_left: u64,
    sleeps_until: u64,
}

struct Core {
    queue: RunQueue,
    inbox: Inbox,
    /// Has to look at its inbox and its timers.
    is_called: bool,
    is_idle: bool,
    runs: Option<usize>,
    timer: Option<u64>,
    /// When its sleeping vCPUs wake, by vCPU.
    wakes_at: Vec<Option<u64>>,
    lenders: CoreSet,
}

struct Machine {
    cores: Vec<Core>,
    vcpus: Vec<Vcpu>,
    exchange: Exchange,
    pause: u64,
    now: u64,
    trace: Trace,
    /// Where each piece of the trace was.
    places: Vec<Vec<u8>>,
    /// Since when a vCPU with budget waits beside a core of its set that is idle, by vCPU and core.
    waits: Vec<[Option<u64>; CORES]>,
    longest_wait: u64,
}

impl Machine {
    fn new(homes: &[Vec<Behaviour>], pause: u64) -> Self {
        let all = || {
            homes.iter().enumerate().flat_map(|(home, them)| them.iter().map(move |it| (home, it)))
        };
        let vcpus: Vec<_> = all()
            .map(|(home, behaviour)| Vcpu {
                home,
                behaviour: *behaviour,
                burst_left: behaviour.burst.map_or(u64::MAX, |burst| burst.0),
                sleeps_until: 0,
            })
            .collect();
        let count = vcpus.len();
        let lenders = |core: usize| {
            let core = CoreId(u8::try_from(core).unwrap());
            all()
                .filter(|(home, it)| *home != usize::from(core.0) && it.terms.cores.contains(core))
                .fold(CoreSet::EMPTY, |set, (home, _)| set.union(CoreSet(1 << home)))
        };
        let cores = (0..CORES)
            .map(|core| Core {
                queue: RunQueue::new(CoreId(u8::try_from(core).unwrap())),
                inbox: Inbox::new(),
                is_called: true,
                is_idle: false,
                runs: None,
                timer: None,
                wakes_at: vec![None; count],
                lenders: lenders(core),
            })
            .collect();
        let mut machine = Self {
            cores,
            vcpus,
            exchange: Exchange::new(),
            pause,
            now: 0,
            trace: vec![Vec::new(); count],
            places: vec![Vec::new(); count],
            waits: vec![[None; CORES]; count],
            longest_wait: 0,
        };
        for number in 0..count {
            let Vcpu { home, behaviour, .. } = &machine.vcpus[number];
            let number = u8::try_from(number).unwrap();
            let queue = &mut machine.cores[*home].queue;
            queue.seat(seat(number), Terms { key: key(number, 0), ..behaviour.terms }, 0);
            assert!(queue.wake(seat(number), 0));
        }
        machine
    }

    fn run_until(mut self, end: u64) -> Self {
        while self.now < end {
            while let Some(core) = self.cores.iter().position(|core| core.is_called) {
                self.reschedule(core);
            }
            self.advance();
        }
        self
    }

    fn reschedule(&mut self, core: usize) {
        let now = self.now;
        let id = CoreId(u8::try_from(core).unwrap());
        let it = &mut self.cores[core];
        it.is_called = false;
        if core::mem::take(&mut it.is_idle) {
            self.exchange.leave_idle(id);
        }
        let drained = it.queue.drain(&it.inbox, now);
        for seat in crate::sched::Seat::of(drained.blocked) {
            let who = usize::from(seat.number());
            it.wakes_at[who] = Some(self.vcpus[who].sleeps_until);
        }
        for (who, at) in it.wakes_at.iter_mut().enumerate() {
            if at.take_if(|at| *at <= now).is_some() {
                self.vcpus[who].burst_left = self.vcpus[who].behaviour.burst.unwrap().0;
                it.queue.wake(seat(u8::try_from(who).unwrap()), now);
            }
        }
        let decision = it.queue.pick(now);
        it.runs = decision.run.map(index);
        let search = it.queue.seek_host(&self.exchange, (now, self.pause), |_| true);
        it.timer = [decision.until, search.again].into_iter().flatten().min();
        assert!(it.timer.is_none_or(|timer| timer > now), "a decision that is already over");
        if decision.run.is_none() {
            it.is_idle = true;
            let called = it.queue.enter_idle(&self.exchange, it.lenders);
            called
                .into_iter()
                .flat_map(|called| called.iter())
                .for_each(|lender| self.cores[usize::from(lender.0)].is_called = true);
        }
        for homeward in [decision.give_back, drained.bounce].into_iter().flatten() {
            self.send_home(homeward, Returned::Ready);
        }
        if let Some(loan) = search.loan {
            let host = &mut self.cores[usize::from(loan.to.0)];
            host.is_called = true;
            if host.inbox.offer(loan.visitor).is_err() {
                self.cores[core].queue.returned(loan.visitor.seat, Returned::Ready, 0, now);
            }
        }
    }

    fn send_home(&mut self, it: Homeward, how: Returned) {
        let home = &mut self.cores[usize::from(it.home.0)];
        let _kick = home.inbox.hand_back(it.seat, how, it.used);
        home.is_called = true;
    }

    /// Everybody runs until the next timer, wake-up or end of a burst.
    fn advance(&mut self) {
        self.look_for_waste();
        let timers = self
            .cores
            .iter()
            .flat_map(|core| core.wakes_at.iter().copied().chain([core.timer]).flatten());
        let ends = self
            .cores
            .iter()
            .filter_map(|core| core.runs)
            .map(|who| self.now.saturating_add(self.vcpus[who].burst_left));
        let next = timers.chain(ends).min().unwrap_or(END).min(self.now + 10_000);
        for core in 0..self.cores.len() {
            let Some(who) = self.cores[core].runs else { continue };
            assert!(self.cores[..core].iter().all(|other| other.runs != Some(who)), "on two cores");
            self.trace[who].push((self.now, next));
            self.places[who].push(u8::try_from(core).unwrap());
            let Some((_, sleep)) = self.vcpus[who].behaviour.burst else { continue };
            self.vcpus[who].burst_left -= next - self.now;
            if self.vcpus[who].burst_left == 0 {
                self.vcpus[who].sleeps_until = next + sleep;
                self.fall_asleep(core, who, next);
            }
        }
        self.now = next;
        for core in &mut self.cores {
            let is_due =
                core.wakes_at.iter().copied().chain([core.timer]).flatten().any(|at| at <= next);
            core.is_called |= is_due;
        }
    }

    fn fall_asleep(&mut self, core: usize, who: usize, at: u64) {
        let number = u8::try_from(who).unwrap();
        self.cores[core].is_called = true;
        if self.vcpus[who].home == core {
            self.cores[core].queue.block(seat(number), at);
            self.cores[core].wakes_at[who] = Some(self.vcpus[who].sleeps_until);
        } else {
            assert!(self.cores[core].queue.is_visitor(key(number, 0)));
            let homeward = self.cores[core].queue.dismiss(at).unwrap();
            self.send_home(homeward, Returned::Blocked);
        }
    }

    /// Notes how long a vCPU with budget waits while a core of its set is idle.
    fn look_for_waste(&mut self) {
        for (who, vcpu) in self.vcpus.iter().enumerate() {
            let home = &self.cores[vcpu.home].queue;
            let seat = seat(u8::try_from(who).unwrap());
            let is_there =
                home.ready & !home.lent & seat.bit() != 0 && home.running() != Some(seat);
            let is_renewable = home.entry(seat).unwrap().server.deadline() <= self.now;
            let is_waiting = is_there && (home.spent & seat.bit() == 0 || is_renewable);
            for (core, since) in self.waits[who].iter_mut().enumerate() {
                let is_open = vcpu.behaviour.terms.cores.0 & (1 << core) != 0;
                if is_waiting && is_open && self.cores[core].runs.is_none() {
                    let since = *since.get_or_insert(self.now);
                    self.longest_wait = self.longest_wait.max(self.now - since);
                } else {
                    *since = None;
                }
            }
        }
    }
}

fn index(key: VcpuKey) -> usize {
    usize::from(key.partition.0)
}

/// What has its home on each core: together at most a whole core; with sets of cores.
fn machine() -> impl Strategy<Value = Vec<Vec<Behaviour>>> {
    let homes = [(); CORES].map(|()| admitted().prop_flat_map(behaviour));
    let sets = proptest::collection::vec(0..8_u128, 3 * 7);
    (homes, sets).prop_map(|(homes, sets)| {
        let mut sets = sets.into_iter();
        (0_u32..)
            .zip(homes)
            .map(|(home, mut them)| {
                for it in &mut them {
                    it.terms.cores = CoreSet(sets.next().unwrap() | 1 << home);
                }
                them
            })
            .collect()
    })
}

proptest! {
    /// Wherever they run: never outside of their sets, never on two cores at a time (`advance`), and never more than
    /// their reservations.
    #[test]
    #[cfg_attr(miri, ignore = "every interval of a long simulation: minutes under Miri, and no unsafe code")]
    fn a_vcpu_that_moves_stays_in_its_set_and_its_budget(homes in machine(), pause in 1..30_u64) {
        let machine = Machine::new(&homes, pause).run_until(END);
        for (who, vcpu) in machine.vcpus.iter().enumerate() {
            let (budget, period) = numbers(&vcpu.behaviour.terms);
            for core in &machine.places[who] {
                prop_assert!(vcpu.behaviour.terms.cores.contains(CoreId(*core)), "{who} on {core}");
            }
            let trace = &machine.trace[who];
            for (at, (from, _)) in trace.iter().enumerate() {
                for (_, to) in trace.iter().skip(at).step_by(1 + trace.len() / 40) {
                    let bound = (budget * (to - from)).div_ceil(period) + 2 * budget;
                    prop_assert!(ran(trace, *from, *to) <= bound, "{from}..{to} of {who}");
                }
            }
        }
    }

    /// Lending takes nothing from anybody: who is always ready gets the whole budget in every period, whether it moves, hosts
    /// or stays.
    #[test]
    fn everybody_gets_the_budget_though_vcpus_move(homes in machine(), pause in 1..30_u64) {
        let machine = Machine::new(&homes, pause).run_until(END);
        for (who, vcpu) in machine.vcpus.iter().enumerate() {
            let (budget, period) = numbers(&vcpu.behaviour.terms);
            if vcpu.behaviour.burst.is_some() {
                continue;
            }
            for start in (0..END - period).step_by(usize::try_from(period).unwrap()) {
                prop_assert_eq!(ran(&machine.trace[who], start, start + period), budget, "{} in {}..", who, start);
            }
        }
    }

    /// Nobody with budget left waits longer than a pause beside a core of its set that is idle.
    #[test]
    fn no_core_of_its_set_is_idle_while_a_vcpu_waits(homes in machine(), pause in 1..30_u64) {
        let machine = Machine::new(&homes, pause).run_until(END);
        // Others of its home may go first, one in each pause.
        let most = homes.iter().map(Vec::len).max().unwrap_or(0);
        let bound = pause * u64::try_from(most).unwrap();
        prop_assert!(machine.longest_wait <= bound, "{} > {bound}", machine.longest_wait);
    }
}

/// A spinner of higher priority has the core for 60 of 100 ticks; beside it 4 of 10 ticks cannot be had at home.
#[test]
fn a_vcpu_gets_elsewhere_what_its_busy_home_cannot_give_p5() {
    let spinner = Terms { priority: 9, ..super::reserved(0, 60, 100) };
    let moves = super::reserved(1, 4, 10);
    let got = |cores| {
        let terms = [spinner, Terms { cores, ..moves }];
        let home = terms.map(|terms| Behaviour { terms, burst: None });
        let machine = Machine::new(&[home.to_vec()], 1).run_until(1000);
        (ran(&machine.trace[0], 0, 1000), ran(&machine.trace[1], 0, 1000))
    };
    assert_eq!(got(CoreSet(0b01)), (600, 160), "at home alone");
    assert_eq!(got(CoreSet(0b11)), (600, 400), "its whole reservation");
}
