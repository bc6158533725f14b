//! Both, in lockstep.

use std::collections::BTreeSet;

use shikiri_abi::{IntId, PartitionId, PartitionSlot, Resource, VcpuIndex};
use shikiri_core::event::{Raise, Visitor, nobody_visits};
use shikiri_core::handle::Handle;
use shikiri_core::party::{Ask, EndStep, Party, Refusal, Sharing, SignalKind, check};

use crate::model::{From, Model, Object, SendIs, Told, is_receive, is_request, is_send, told};
use crate::real::{Side, meet};
use crate::{HANDLES, INTIDS, PARTITIONS, PORTS, RECORDS, USABLE};

pub(crate) struct World {
    pub(crate) sides: Vec<Side>,
    pub(crate) model: Model,
    pub(crate) visitor: Visitor,
    /// Every handle that was ever given, by partition.
    pub(crate) given: Vec<Vec<Handle>>,
    pub(crate) ids: u32,
    /// What is pending in the real one's interrupt controllers.
    pub(crate) interrupts: [BTreeSet<u16>; PARTITIONS],
    pub(crate) calls: u64,
    /// The answers that were seen.
    pub(crate) seen: Vec<(&'static str, Option<Refusal>)>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Charges that nobody refunds must not panic again.
            std::mem::forget(std::mem::take(&mut self.sides));
        }
    }
}

pub(crate) type Step = (u8, u8, u8, u8, u8);

impl World {
    pub(crate) fn new() -> Self {
        let ids = u32::try_from(PARTITIONS).unwrap();
        let sides = (0..ids).map(|id| Side::new(usize::try_from(id).unwrap(), id + 1)).collect();
        let model = Model { last: [PARTITIONS - 1; PARTITIONS], ..Model::default() };
        let given = vec![Vec::new(); PARTITIONS];
        Self {
            sides,
            model,
            visitor: Visitor::new(),
            given,
            ids,
            interrupts: Default::default(),
            calls: 0,
            seen: Vec::new(),
        }
    }

    /// A handle that the call is about, more often than not.
    pub(crate) fn pick_of(&self, who: usize, which: u8, is_wanted: fn(&Object) -> bool) -> Handle {
        let live = self.model.handles.iter().filter(|((owner, _), id)| {
            *owner == who && self.model.objects.get(id).is_some_and(|(_, object)| is_wanted(object))
        });
        let live: Vec<u64> = live.map(|((_, handle), _)| *handle).collect();
        if which >= 170 || live.is_empty() {
            return self.pick(who, which);
        }
        Handle(live[usize::from(which) % live.len()])
    }

    pub(crate) fn pick(&self, who: usize, which: u8) -> Handle {
        let from = if which >= 248 { (who + 1) % PARTITIONS } else { who };
        let given = &self.given[from];
        if which >= 252 || given.is_empty() {
            return Handle(u64::from(which) << 14 | 3);
        }
        // Mostly one of the last.
        let back =
            usize::from(which) % if which < 200 { given.len().min(HANDLES) } else { given.len() };
        given[given.len() - 1 - back]
    }

    pub(crate) fn note(&mut self, raise: Option<Raise>) -> Told {
        if let Some(raise) = raise {
            self.interrupts[usize::from(raise.partition.0)].insert(raise.intid.0);
        }
        told(raise)
    }

    /// All that a refusal must not change.
    pub(crate) fn snapshot(&self) -> String {
        let sides = self.sides.iter();
        let seen = sides.map(|side| (&side.entries, &side.pending, &side.cold, &side.records));
        format!("{:?}", seen.collect::<Vec<_>>())
    }

    pub(crate) fn agree<T: PartialEq + std::fmt::Debug>(
        &mut self,
        call: &'static str,
        before: &str,
        real: Result<T, Refusal>,
        expected: Result<T, Refusal>,
    ) -> Option<T> {
        self.calls += 1;
        assert_eq!(real, expected);
        let answer = (call, real.as_ref().err().copied());
        if !self.seen.contains(&answer) {
            self.seen.push(answer);
        }
        if real.is_err() {
            assert_eq!(before, self.snapshot(), "a refusal changed something: {real:?}");
        }
        real.ok()
    }

    pub(crate) fn step(&mut self, (kind, who, a, b, c): Step) {
        let who = usize::from(who) % PARTITIONS;
        match kind % 17 {
            0 | 1 => self.create(who, true),
            2 | 3 => self.create(who, false),
            4 => self.connect(who, a, b),
            5 => self.bind(who, a, b, c),
            6 => self.set_notify(who, a),
            7 => self.mask(who, a, b),
            8 => self.poll(who, a),
            9 => self.take(who),
            10 => self.send(who, a),
            11 => self.ask(who, a, b, c),
            12 => self.take_signal(who),
            13 => self.accept(who, a, b),
            14 => self.refuse(who, a),
            15 => self.close(who, a),
            _ if a < 60 => self.end(who),
            _ => {
                // The guest takes its most urgent interrupt.
                let next = self.interrupts[who].pop_first();
                assert_eq!(next, self.model.interrupts[who].pop_first());
            }
        }
        self.check();
    }

    pub(crate) fn create(&mut self, who: usize, is_send: bool) {
        let before = self.snapshot();
        let (mut party, account) = self.sides[who].open();
        let real = if is_send { party.create_send(account) } else { party.create_receive(account) };
        let is_full = self.model.count(who, false) >= HANDLES;
        let has_ports = u64::try_from(self.model.count(who, true)).unwrap() >= PORTS;
        let expected = if is_full {
            Err(Refusal::OverLimit(Resource::ManagementMemory))
        } else if has_ports {
            Err(Refusal::OverLimit(Resource::EventPorts))
        } else {
            Ok(())
        };
        self.agree("create", &before, real.map(|_| ()), expected);
        let Ok(handle) = real else { return };
        let receive = Object::Receive {
            from: From::Nobody,
            masked: false,
            bound: None,
            flag: false,
            bit: false,
        };
        let object = if is_send { Object::Send(SendIs::Idle) } else { receive };
        self.model.add(who, handle, object);
        self.given[who].push(handle);
    }

    pub(crate) fn connect(&mut self, who: usize, a: u8, b: u8) {
        let (send, receive, before) =
            (self.pick_of(who, a, is_send), self.pick_of(who, b, is_receive), self.snapshot());
        let real = self.sides[who].open().0.connect(send, receive);
        let expected = (|| {
            let (from, state) = self.model.send_port(who, send)?;
            let to = self.model.receive_port(who, receive)?;
            Model::check_idle(&state)?;
            self.model.check_free(to)?;
            *self.model.source(to) = From::Port(from);
            self.model.set_send(from, SendIs::Connected(to));
            Ok(())
        })();
        self.agree("connect", &before, real, expected);
    }

    pub(crate) fn bind(&mut self, who: usize, a: u8, b: u8, c: u8) {
        let (port, before) = (self.pick_of(who, a, is_receive), self.snapshot());
        let intid = INTIDS[usize::from(b) % INTIDS.len()];
        let vcpu = VcpuIndex(if c >= 250 { 2 } else { c & 1 });
        let sharing = if c & 2 == 0 { Sharing::Alone } else { Sharing::Grouped };
        let real = self.sides[who].open().0.bind(port, IntId(intid), vcpu, sharing);
        let expected = (|| {
            let id = self.model.receive_port(who, port)?;
            if !USABLE.contains(&intid) {
                return Err(Refusal::Argument(2));
            }
            if vcpu.0 > 1 {
                return Err(Refusal::Argument(3));
            }
            let users = self.model.objects.values().filter_map(|(owner, object)| match object {
                Object::Receive { bound: Some((used, how)), .. }
                    if *owner == who && *used == intid =>
                {
                    Some(*how)
                }
                _ => None,
            });
            let users: Vec<Sharing> = users.collect();
            let fits = users.is_empty()
                || (sharing == Sharing::Grouped
                    && users.iter().all(|how| *how == Sharing::Grouped));
            let Some((_, Object::Receive { bound, .. })) = self.model.objects.get_mut(&id) else {
                unreachable!();
            };
            if !fits || bound.is_some() {
                return Err(Refusal::WrongState);
            }
            *bound = Some((intid, sharing));
            Ok(self.model.release(id))
        })();
        let real = real.map(|raise| self.note(raise));
        self.agree("bind", &before, real, expected);
    }

    pub(crate) fn set_notify(&mut self, who: usize, a: u8) {
        let (port, before) = (self.pick_of(who, a, is_receive), self.snapshot());
        let real = self.sides[who].open().0.set_notify(port);
        let expected = (|| {
            let id = self.model.receive_port(who, port)?;
            if self.model.notify[who] == Some(id) {
                return Ok(None);
            }
            self.model.check_free(id)?;
            if let Some(former) = self.model.notify[who].replace(id) {
                *self.model.source(former) = From::Nobody;
            }
            *self.model.source(id) = From::Signals;
            let waits = self.model.next_sender(who).is_some();
            Ok(if waits { self.model.tell(who) } else { None })
        })();
        let real = real.map(|raise| self.note(raise));
        self.agree("set_notify", &before, real, expected);
    }

    pub(crate) fn mask(&mut self, who: usize, a: u8, b: u8) {
        let (port, before, is_mask) =
            (self.pick_of(who, a, is_receive), self.snapshot(), b & 1 == 0);
        let shared = self.sides[who].shared();
        let real = if is_mask {
            shared.mask(port).map(|()| None)
        } else {
            shared.unmask(self.sides[who].slot, port)
        };
        let expected = (|| {
            let id = self.model.receive_port(who, port)?;
            let Some((_, Object::Receive { masked, .. })) = self.model.objects.get_mut(&id) else {
                unreachable!();
            };
            let was_masked = std::mem::replace(masked, is_mask);
            Ok(if was_masked && !is_mask { self.model.release(id) } else { None })
        })();
        let real = real.map_err(Refusal::from).map(|raise| self.note(raise));
        self.agree("mask", &before, real, expected);
    }

    pub(crate) fn poll(&mut self, who: usize, a: u8) {
        let (port, before) = (self.pick_of(who, a, is_receive), self.snapshot());
        let Self { sides, interrupts, .. } = self;
        let clear = |intid: IntId, _| Some(interrupts[who].remove(&intid.0));
        let real = sides[who].shared().poll(port, clear);
        let expected = (|| {
            let id = self.model.receive_port(who, port)?;
            let Some((_, Object::Receive { bound, flag, bit, .. })) =
                self.model.objects.get_mut(&id)
            else {
                unreachable!();
            };
            let mut was_pending = std::mem::take(flag);
            *bit = false;
            if let Some((intid, Sharing::Alone)) = bound {
                was_pending |= self.model.interrupts[who].remove(intid);
            }
            Ok(was_pending)
        })();
        self.agree("poll", &before, real, expected);
    }

    pub(crate) fn take(&mut self, who: usize) {
        let real = self.sides[who].shared().take(0);
        let mut expected = 0;
        for ((owner, handle), id) in &self.model.handles {
            if *owner != who {
                continue;
            }
            if let Some((_, Object::Receive { bound, flag, bit, .. })) =
                self.model.objects.get_mut(id)
                && std::mem::take(bit)
                && matches!(bound, Some((_, Sharing::Grouped)))
                && std::mem::take(flag)
            {
                expected |= 1 << (handle & 0xffff);
            }
        }
        assert_eq!(real, expected);
        assert_eq!(self.sides[who].shared().take(1), 0, "a word that is not there");
    }

    pub(crate) fn send(&mut self, who: usize, a: u8) {
        let (port, before) = (self.pick_of(who, a, is_send), self.snapshot());
        let sides = &self.sides;
        let peer = |slot: PartitionSlot| {
            assert!(!nobody_visits([&self.visitor], slot), "looked at without a visit");
            Some(sides[usize::from(slot.0)].shared())
        };
        let sent = self.sides[who].shared().send(port, &self.visitor, peer);
        let real = sent.map(|sent| sent.arrival);
        let expected = match self.model.send_port(who, port) {
            Err(error) => Err(error),
            Ok((_, SendIs::Connected(to))) => Ok(self.model.arrive(to)),
            Ok((_, SendIs::Idle | SendIs::Queued(_) | SendIs::Taken(_))) => {
                Err(Refusal::WrongState)
            }
            Ok((_, SendIs::Refused)) => Err(Refusal::Refused),
            Ok((_, SendIs::Gone)) => Err(Refusal::PeerGone),
        };
        let real = real.map(|arrival| (self.note(arrival.raise), arrival.before));
        self.agree("send", &before, real, expected);
        let slots = (0..=u8::MAX).map(PartitionSlot);
        assert!(slots.into_iter().all(|slot| nobody_visits([&self.visitor], slot)));
    }

    pub(crate) fn ask(&mut self, who: usize, a: u8, b: u8, c: u8) {
        let (port, before) = (self.pick_of(who, a, is_send), self.snapshot());
        let to = usize::from(b) % PARTITIONS;
        let (service, word) = (u64::from(b), u64::from(c));
        let slot = self.sides[to].slot;
        let ask = Ask { port, service, word };
        let real = meet(&mut self.sides, who, Some(slot), |party, peer, _| party.ask(peer, ask));
        let expected = (|| {
            let (id, state) = self.model.send_port(who, port)?;
            Model::check_idle(&state)?;
            let waiting = |((from, _), queue): (&(usize, usize), &Vec<_>)| {
                if *from == who { queue.len() } else { 0 }
            };
            if self.model.queues.iter().map(waiting).sum::<usize>() >= RECORDS {
                return Err(Refusal::OverLimit(Resource::ManagementMemory));
            }
            let was_quiet = self.model.next_sender(to).is_none();
            self.model.queues.entry((who, to)).or_default().push((id, service, word));
            self.model.set_send(id, SendIs::Queued(to));
            Ok(if was_quiet { self.model.tell(to) } else { None })
        })();
        let real = real.map(|raise| self.note(raise));
        self.agree("ask", &before, real, expected);
    }

    pub(crate) fn take_signal(&mut self, who: usize) {
        let before = self.snapshot();
        let sender = self.sides[who].open().0.next_sender();
        let real = meet(&mut self.sides, who, sender, |party, peer, _| party.take_signal(peer));
        let expected = match self.model.next_sender(who) {
            None => Err(Refusal::Empty),
            Some(_) if self.model.count(who, false) >= HANDLES => {
                Err(Refusal::OverLimit(Resource::ManagementMemory))
            }
            Some(from) => {
                let queue = self.model.queues.get_mut(&(from, who)).unwrap();
                let (id, service, word) = queue.remove(0);
                self.model.last[who] = from;
                Ok((id, PartitionId(self.sides[from].id), service, word))
            }
        };
        match (real, expected) {
            (Ok(signal), Ok((port, from, service, word))) => {
                self.seen.push(("take_signal", None));
                assert_eq!(signal.kind, SignalKind::EventConnect);
                assert_eq!((signal.from, signal.service, signal.word), (from, service, word));
                let request = self.model.add(who, signal.request, Object::Request(Some(port)));
                self.model.set_send(port, SendIs::Taken(request));
                self.given[who].push(signal.request);
            }
            (real, expected) => {
                self.agree("take_signal", &before, real.map(|_| ()), expected.map(|_| ()));
            }
        }
    }

    pub(crate) fn accept(&mut self, who: usize, a: u8, b: u8) {
        let (request, receive, before) =
            (self.pick_of(who, a, is_request), self.pick_of(who, b, is_receive), self.snapshot());
        let other = self.sides[who].open().0.other_end(request);
        let real = meet(&mut self.sides, who, other, |party, peer, _| {
            party.accept(peer, request, receive)
        });
        let expected = (|| {
            let (id, from) = self.model.request(who, request)?;
            let to = self.model.receive_port(who, receive)?;
            let from = from.ok_or(Refusal::PeerGone)?;
            self.model.check_free(to)?;
            self.model.objects.remove(&id);
            *self.model.source(to) = From::Port(from);
            self.model.set_send(from, SendIs::Connected(to));
            let owner = self.model.owner(from);
            Ok(self.model.tell(owner))
        })();
        let real = real.map(|raise| self.note(raise));
        self.agree("accept", &before, real, expected);
    }

    pub(crate) fn refuse(&mut self, who: usize, a: u8) {
        let (request, before) = (self.pick_of(who, a, is_request), self.snapshot());
        let other = self.sides[who].open().0.other_end(request);
        let real = meet(&mut self.sides, who, other, |party, peer, _| party.refuse(peer, request));
        let expected = (|| {
            let (id, _) = self.model.request(who, request)?;
            Ok(self.model.close(id, SendIs::Refused))
        })();
        let real = real.map(|raise| self.note(raise));
        self.agree("refuse", &before, real, expected);
    }

    pub(crate) fn close(&mut self, who: usize, a: u8) {
        let (handle, before) = (self.pick(who, a), self.snapshot());
        let other = self.sides[who].open().0.other_end(handle);
        if other.is_some() {
            // Without the other party nothing happens.
            let (mut party, account) = self.sides[who].open();
            assert_eq!(party.close(None, handle, account), Err(Refusal::Moved));
            assert_eq!(before, self.snapshot());
        }
        let real = meet(&mut self.sides, who, other, |party, peer, account| {
            party.close(peer, handle, account)
        });
        let expected = match self.model.get(who, handle) {
            None => Err(Refusal::BadHandle),
            Some((id, object)) => {
                let bound = match object {
                    Object::Receive { bound, .. } => *bound,
                    _ => None,
                };
                let raise = self.model.close(id, SendIs::Refused);
                let unused = bound.map(|(intid, _)| intid).filter(|intid| {
                    !self.model.objects.values().any(|(owner, object)| {
                        *owner == who
                            && matches!(object, Object::Receive { bound: Some((used, _)), .. } if used == intid)
                    })
                });
                if let Some(intid) = unused {
                    self.model.interrupts[who].remove(&intid);
                }
                Ok((raise, unused))
            }
        };
        let real = real.map(|closed| {
            if let Some(IntId(intid)) = closed.unused {
                self.interrupts[who].remove(&intid);
            }
            (self.note(closed.raise), closed.unused.map(|intid| intid.0))
        });
        self.agree("close", &before, real, expected);
    }

    /// Ends a partition and starts its name again.
    pub(crate) fn end(&mut self, who: usize) {
        let mut other = None;
        // An entry needs at most two steps, and a sender's records one each.
        for _ in 0..2 * HANDLES + 2 * PARTITIONS + 2 {
            let (step, raise) = meet(&mut self.sides, who, other, |party, peer, account| {
                party.end_step(peer, account)
            });
            self.note(raise);
            other = match step {
                EndStep::Again => None,
                EndStep::Meet(slot) => Some(slot),
                EndStep::Done => {
                    assert!(self.sides[who].account.is_zero(), "charged after the end");
                    assert!(nobody_visits([&self.visitor], self.sides[who].slot));
                    self.ids += 1;
                    self.sides[who] = Side::new(who, self.ids);
                    self.given[who].clear();
                    self.interrupts[who].clear();
                    self.model.end(who);
                    return;
                }
            };
        }
        panic!("the end does not come");
    }

    pub(crate) fn check(&mut self) {
        assert_eq!(self.interrupts, self.model.interrupts);
        for who in 0..PARTITIONS {
            let charged = self.sides[who].account.line(Resource::EventPorts).used;
            assert_eq!(usize::try_from(charged), Ok(self.model.count(who, true)));
        }
        let parties: Vec<Party<'_>> = self.sides.iter_mut().map(|side| side.open().0).collect();
        assert_eq!(check(&parties), Ok(()));
    }
}
