//! Both, in lockstep.

use std::collections::{BTreeSet, VecDeque};

use shikiri_abi::{
    IntId, ObjectKind, ObjectName, PartitionId, PartitionSlot, Resource, Units, VcpuIndex,
};
use shikiri_core::event::{Visitor, nobody_visits};
use shikiri_core::handle::Handle;
use shikiri_core::object::{Got, Object, Objects, Refusal, Wake, check, permit};
use shikiri_core::partition::Holdings;
use shikiri_core::party::{EndStep, Party, Sharing};

use crate::model::{Lack, Model, Opener, Port, Thing};
use crate::real::Side;
use crate::{ENTRIES, HANDLES, KINDS, NAMES, PARTITIONS, ROWS, SHARES};

pub(crate) struct World {
    sides: Vec<Side>,
    objects: Objects<'static>,
    rows: &'static [Object],
    pub(crate) model: Model,
    visitor: Visitor,
    /// Every handle that was ever given, by partition.
    given: Vec<Vec<Handle>>,
    ids: u32,
    /// What slow cores have still to tell: the real one's and the model's.
    slow: VecDeque<(Wake, (usize, BTreeSet<usize>))>,
    /// Who got the answer that nothing is there, or no room, and was not told since. What the calls answered and
    /// which interrupts came, and nothing else, goes in here.
    owed: BTreeSet<(usize, usize, Lack)>,
    is_looking: bool,
    pub(crate) calls: u64,
    /// The answers that were seen.
    pub(crate) seen: BTreeSet<String>,
}

pub(crate) type Step = (u8, u8, u8, u8, u8);

impl World {
    pub(crate) fn new() -> Self {
        let rows: &'static [Object] = Vec::leak((0..ROWS).map(|_| Object::new()).collect());
        let ids = u32::try_from(PARTITIONS).unwrap();
        Self {
            sides: (0..ids).map(|id| Side::new(usize::try_from(id).unwrap(), id + 1)).collect(),
            objects: Objects::new(rows),
            rows,
            model: Model::default(),
            visitor: Visitor::new(),
            given: vec![Vec::new(); PARTITIONS],
            ids,
            slow: VecDeque::new(),
            owed: BTreeSet::new(),
            is_looking: false,
            calls: 0,
            seen: BTreeSet::new(),
        }
    }

    /// A handle that the call is about, more often than not.
    fn pick(&self, who: usize, which: u8, is_port: bool) -> Handle {
        let ports = self.model.ports[who].keys().copied().filter(|_| is_port);
        let openers = self.model.rows.iter().flatten().filter_map(|thing| thing.openers.get(&who));
        let open = openers.map(|opener| opener.handle).filter(|_| !is_port);
        let live: Vec<u64> = ports.chain(open).collect();
        if which < 230 && !live.is_empty() {
            return Handle(live[usize::from(which) % live.len()]);
        }
        let from = if which >= 248 { (who + 1) % PARTITIONS } else { who };
        let given = &self.given[from];
        if which >= 252 || given.is_empty() {
            return Handle(u64::from(which) << 14 | 3);
        }
        given[usize::from(which) % given.len()]
    }

    /// All that a refusal must not change.
    fn snapshot(&self) -> String {
        if !self.is_looking {
            return String::new();
        }
        let sides = self.sides.iter();
        let seen = sides.map(|side| (&side.entries, &side.pending, &side.cold));
        format!("{:?} {:?}", seen.collect::<Vec<_>>(), self.rows)
    }

    fn agree<T: PartialEq + std::fmt::Debug>(
        &mut self,
        call: &'static str,
        before: &str,
        real: &Result<T, Refusal>,
        expected: &Result<T, Refusal>,
    ) {
        self.calls += 1;
        assert_eq!(real, expected, "{call}");
        match real {
            Ok(_) => self.seen.insert(call.to_string()),
            Err(refusal) => self.seen.insert(format!("{call}: {refusal:?}")),
        };
        // Those two note that the partition waits.
        if real.is_err() && !matches!(real, Err(Refusal::Empty | Refusal::Full)) {
            assert_eq!(before, self.snapshot(), "a refusal changed something: {real:?}");
        }
    }

    /// What an operation has made due is told now, or by a slow core later.
    fn wake(&mut self, real: Wake, row: usize, due: BTreeSet<usize>, is_slow: bool) {
        assert_eq!(real.is_empty(), due.is_empty());
        if is_slow {
            self.slow.push_back((real, (row, due)));
        } else {
            self.tell(real, row, &due);
        }
    }

    fn tell(&mut self, mut real: Wake, row: usize, due: &BTreeSet<usize>) {
        let sides = &self.sides;
        let peer = |slot: PartitionSlot| {
            assert!(!nobody_visits([&self.visitor], slot), "looked at without a visit");
            Some(sides[usize::from(slot.0)].shared())
        };
        let mut told = Vec::new();
        while let Some(sent) = self.objects.tell(&mut real, &self.visitor, peer) {
            let raise = sent.arrival.raise.unwrap();
            told.push((usize::from(raise.partition.0), raise.intid.0));
        }
        assert_eq!(told, self.model.tell(row, due));
        for (who, _) in told {
            self.settle(row, who);
        }
        let slots = (0..=u8::MAX).map(PartitionSlot);
        assert!(slots.into_iter().all(|slot| nobody_visits([&self.visitor], slot)));
    }

    /// The partition was told, and tries again; or it has given up.
    fn settle(&mut self, row: usize, who: usize) {
        self.owed.retain(|(at, waiter, _)| (*at, *waiter) != (row, who));
    }

    pub(crate) fn step(&mut self, (kind, who, a, b, c): Step) {
        let who = usize::from(who) % PARTITIONS;
        self.is_looking = c.is_multiple_of(8);
        let is_slow = c >= 192;
        match kind % 16 {
            0..=2 => self.open(who, a, b),
            3..=5 => self.try_take(who, a, is_slow),
            6..=9 => self.post(who, a, b, is_slow),
            10 => self.close(who, a, is_slow),
            11 => self.notify(who, a, b),
            12 => self.create_port(who),
            13 => self.close_port(who, a),
            14 => self.catch_up(),
            _ if a < 60 => self.end(who, is_slow),
            _ => {}
        }
        self.check();
    }

    fn open(&mut self, who: usize, a: u8, b: u8) {
        let before = self.snapshot();
        let name = NAMES[usize::from(a) % NAMES.len()];
        let there = self.model.rows.iter().flatten().find(|thing| thing.name == name);
        let kind = match there {
            Some(thing) if b < 200 => thing.kind,
            _ => KINDS[usize::from(b) % KINDS.len()],
        };
        let object = ObjectName::new(name.as_bytes()).unwrap();
        let (mut party, holdings) = self.sides[who].open();
        let real = permit(ENTRIES.into_iter(), party.slot(), &object)
            .and_then(|rows| self.objects.open(&mut party, holdings, rows, (&object, kind)));
        let expected = self.expect_open(who, name, kind);
        let outcome = real.map(|opened| opened.is_new);
        self.agree("open", &before, &outcome, &expected.map(|(_, is_new)| is_new));
        let (Ok(opened), Ok((row, is_new))) = (real, expected) else { return };
        let thing = self.model.rows[row].get_or_insert_with(|| Thing::new(name, kind));
        let opener = thing.openers.entry(who).or_insert(Opener {
            handle: opened.handle.0,
            opens: 0,
            held: 0,
            posted: false,
            waiting: false,
            lacking: false,
            port: None,
        });
        opener.opens += 1;
        assert_eq!(opener.handle, opened.handle.0, "the same handle each time");
        assert!(!is_new || thing.openers.len() == 1);
        if !self.given[who].contains(&opened.handle) {
            self.given[who].push(opened.handle);
        }
    }

    /// The row, and whether the object is new.
    fn expect_open(
        &self,
        who: usize,
        name: &str,
        kind: ObjectKind,
    ) -> Result<(usize, bool), Refusal> {
        let mut rows = match (name, who) {
            ("other", _) | ("solo", 2) => return Err(Refusal::NotPermitted),
            ("solo", _) => 0..1,
            _ => 1..ROWS,
        };
        let things = &self.model.rows;
        let found =
            rows.clone().find(|row| things[*row].as_ref().is_some_and(|it| it.name == name));
        let is_new = found.is_none();
        let row = found.or_else(|| rows.find(|row| things[*row].is_none())).ok_or(Refusal::Full)?;
        if let Some(thing) = &things[row] {
            if thing.kind != kind {
                return Err(Refusal::Exists);
            }
            if thing.openers.contains_key(&who) {
                return Ok((row, false));
            }
        }
        let shares = u64::try_from(self.model.open_count(who)).unwrap();
        if self.model.handles(who) >= HANDLES || shares >= SHARES {
            return Err(Refusal::OverLimit(Resource::ManagementMemory));
        }
        Ok((row, is_new))
    }

    fn try_take(&mut self, who: usize, a: u8, is_slow: bool) {
        let (handle, before) = (self.pick(who, a, false), self.snapshot());
        let side = &self.sides[who];
        let real = self.objects.try_take(side.shared(), side.slot, handle);
        let row = self.model.row(who, handle);
        let expected = row.and_then(|row| {
            let thing = self.model.thing(row);
            if !thing.is_there_for(who) {
                thing.openers.get_mut(&who).unwrap().waiting = true;
                self.owed.insert((row, who, Lack::Thing));
                return Err(Refusal::Empty);
            }
            let opener = thing.openers.get_mut(&who).unwrap();
            Ok(match thing.kind {
                ObjectKind::Event => {
                    opener.posted = false;
                    Got::Event
                }
                ObjectKind::Semaphore { units, .. } => {
                    thing.count -= 1;
                    if units == Units::Held {
                        opener.held += 1
                    } else {
                        thing.units -= 1
                    }
                    let lost = thing.lost.pop_first().map(|(_, id)| PartitionId(id));
                    Got::Unit { lost }
                }
                ObjectKind::Queue { .. } => Got::Message(thing.queue.pop_front().unwrap()),
            })
        });
        let (got, wake) = match real {
            Ok((got, wake)) => (Ok(got), Some(wake)),
            Err(refusal) => (Err(refusal), None),
        };
        self.agree("try", &before, &got, &expected);
        if let (Ok(row), Some(wake)) = (row, wake) {
            let due = self.model.thing(row).due();
            self.wake(wake, row, due, is_slow);
        }
    }

    fn post(&mut self, who: usize, a: u8, b: u8, is_slow: bool) {
        let (handle, before) = (self.pick(who, a, false), self.snapshot());
        let row = self.model.row(who, handle);
        let takes =
            row.is_ok_and(|row| matches!(self.model.thing(row).kind, ObjectKind::Queue { .. }));
        let word = u64::from(b);
        let message = if takes || b > 250 { [word, !word, 5] } else { [0; 3] };
        let side = &self.sides[who];
        let real = self.objects.post(side.shared(), side.slot, handle, message);
        let expected = row.and_then(|row| {
            if !takes && message != [0; 3] {
                return Err(Refusal::Argument(2));
            }
            let thing = self.model.thing(row);
            let held: u32 = thing.openers.values().map(|opener| opener.held).sum();
            let has_room = thing.has_room();
            let opener = thing.openers.get_mut(&who).unwrap();
            match thing.kind {
                ObjectKind::Event => thing.openers.values_mut().for_each(|it| it.posted = true),
                ObjectKind::Semaphore { .. } if opener.held > 0 => {
                    opener.held -= 1;
                    thing.count += 1;
                }
                ObjectKind::Semaphore { maximum, .. } => {
                    if thing.count + held >= maximum {
                        return Err(Refusal::Range);
                    }
                    thing.count += 1;
                    thing.units += 1;
                }
                ObjectKind::Queue { .. } if !has_room => {
                    opener.lacking = true;
                    self.owed.insert((row, who, Lack::Room));
                    return Err(Refusal::Full);
                }
                ObjectKind::Queue { .. } => thing.queue.push_back(message),
            }
            Ok(())
        });
        let (done, wake) = match real {
            Ok(wake) => (Ok(()), Some(wake)),
            Err(refusal) => (Err(refusal), None),
        };
        self.agree("post", &before, &done, &expected);
        if let (Ok(row), Some(wake)) = (row, wake) {
            let due = self.model.thing(row).due();
            self.wake(wake, row, due, is_slow);
        }
    }

    fn close(&mut self, who: usize, a: u8, is_slow: bool) {
        let (handle, before) = (self.pick(who, a, false), self.snapshot());
        let (mut party, holdings) = self.sides[who].open();
        let real = self.objects.close(&mut party, holdings, handle);
        let row = self.model.row(who, handle);
        let (done, wake) = match real {
            Ok(wake) => (Ok(()), Some(wake)),
            Err(refusal) => (Err(refusal), None),
        };
        self.agree("close", &before, &done, &row.map(|_| ()));
        let (Ok(row), Some(wake)) = (row, wake) else { return };
        let opener = self.model.opener(row, who);
        opener.opens -= 1;
        let due = if opener.opens > 0 {
            BTreeSet::new()
        } else {
            self.settle(row, who);
            self.model.leave(row, who, self.sides[who].id)
        };
        self.wake(wake, row, due, is_slow);
    }

    fn notify(&mut self, who: usize, a: u8, b: u8) {
        let (handle, before) = (self.pick(who, a, false), self.snapshot());
        let port = (b < 240).then(|| self.pick(who, b, true));
        let (mut party, _) = self.sides[who].open();
        let real = self.objects.set_notify(&mut party, handle, port);
        let real = real.map(|raise| raise.map(|raise| raise.intid.0));
        let expected = self.expect_notify(who, handle, port);
        self.agree("notify", &before, &real, &expected);
        if let (Ok(row), Ok(Some(_))) = (self.model.row(who, handle), real) {
            self.settle(row, who);
        }
    }

    fn expect_notify(
        &mut self,
        who: usize,
        handle: Handle,
        port: Option<Handle>,
    ) -> Result<Option<u16>, Refusal> {
        let row = self.model.row(who, handle)?;
        let chosen = match port {
            None => None,
            Some(port) => {
                let state = *self.model.ports[who].get(&port.0).ok_or(Refusal::BadHandle)?;
                match state.of {
                    Some(of) if of == row => return Ok(None),
                    Some(_) => return Err(Refusal::WrongState),
                    None => Some((port.0, state.intid)),
                }
            }
        };
        self.model.unhook(row, who);
        let Some((port, intid)) = chosen else { return Ok(None) };
        self.model.opener(row, who).port = Some(port);
        self.model.ports[who].get_mut(&port).unwrap().of = Some(row);
        let thing = self.model.thing(row);
        let (is_there, has_room) = (thing.is_there_for(who), thing.has_room());
        let is_queue = matches!(thing.kind, ObjectKind::Queue { .. });
        let opener = thing.openers.get_mut(&who).unwrap();
        opener.waiting |= !is_there;
        opener.lacking |= is_queue && !has_room;
        Ok((is_there || has_room).then_some(intid))
    }

    fn create_port(&mut self, who: usize) {
        let used: BTreeSet<u16> = self.model.ports[who].values().map(|port| port.intid).collect();
        let intid = (40..).find(|intid| !used.contains(intid)).unwrap();
        let (mut party, holdings) = self.sides[who].open();
        let Ok(port) = party.create_receive(holdings.account_mut()) else {
            assert_eq!(self.model.handles(who), HANDLES);
            return;
        };
        assert_eq!(party.bind(port, IntId(intid), VcpuIndex(0), Sharing::Alone), Ok(None));
        self.model.ports[who].insert(port.0, Port { intid, of: None });
        self.given[who].push(port);
    }

    fn close_port(&mut self, who: usize, a: u8) {
        let port = self.pick(who, a, true);
        let (mut party, holdings) = self.sides[who].open();
        let real = party.close(None, port, holdings.account_mut());
        let there = self.model.ports[who].remove(&port.0);
        assert_eq!(real.is_ok(), there.is_some(), "an object is not closed as a port");
        // The guest itself gives up being told.
        if let Some(Port { of: Some(row), .. }) = there {
            self.settle(row, who);
        }
    }

    /// The slow cores catch up.
    pub(crate) fn catch_up(&mut self) {
        while let Some((wake, (row, due))) = self.slow.pop_front() {
            self.tell(wake, row, &due);
        }
    }

    /// Ends a partition and starts its name again.
    pub(crate) fn end(&mut self, who: usize, is_slow: bool) {
        let own = |thing: &Option<Thing>| {
            thing.as_ref().is_some_and(|thing| thing.openers.contains_key(&who))
        };
        let mut open: VecDeque<usize> =
            (0..ROWS).filter(|row| own(&self.model.rows[*row])).collect();
        loop {
            let (mut party, holdings) = self.sides[who].open();
            let (was_one, wake) = self.objects.end_step(&mut party, holdings);
            let row = open.pop_front();
            assert_eq!(row.is_some(), was_one);
            let Some(row) = row else {
                assert!(wake.is_empty());
                break;
            };
            self.settle(row, who);
            let due = self.model.leave(row, who, self.sides[who].id);
            self.wake(wake, row, due, is_slow);
        }
        let (mut party, holdings) = self.sides[who].open();
        while party.end_step(None, holdings.account_mut()).0 != EndStep::Done {}
        assert!(holdings.account().is_zero(), "charged after the end");
        assert!(nobody_visits([&self.visitor], self.sides[who].slot));
        self.ids += 1;
        self.sides[who] = Side::new(who, self.ids);
        self.model.ports[who].clear();
        self.given[who].clear();
    }

    pub(crate) fn check(&mut self) {
        for side in &self.sides {
            let used = side.holdings.account().line(Resource::ManagementMemory).used;
            let open = self.model.open_count(usize::from(side.slot.0));
            assert_eq!(usize::try_from(used), Ok(open), "each object that is open is paid for");
        }
        let used = self.model.rows.iter().flatten().count();
        assert_eq!(usize::from(self.objects.used()), used);
        for thing in self.model.rows.iter().flatten() {
            let held: u32 = thing.openers.values().map(|opener| opener.held).sum();
            assert_eq!(thing.count + held, thing.units, "units are lost or made");
        }
        for (row, who, lack) in self.owed.iter().filter(|_| self.slow.is_empty()) {
            let thing = self.model.rows[*row].as_ref().unwrap();
            let is_there = match lack {
                Lack::Thing => thing.is_there_for(*who),
                Lack::Room => thing.has_room(),
            };
            let has_port = self.model.port_of(*row, *who).is_some();
            assert!(!is_there || !has_port, "{who} waits for what is there, and was not told");
        }
        let parties: Vec<(Party<'_>, &Holdings)> = self
            .sides
            .iter_mut()
            .map(|side| {
                let (party, holdings) = side.open();
                (party, &*holdings)
            })
            .collect();
        assert_eq!(check(&self.objects, &parties), Ok(()));
    }
}
