//! Control signals: a partition asks another to connect an event port, a message port, or an attachment.
//!
//! A request waits at its sender, who has a few of them; the receiver takes from one sender after the other, and from each the oldest.
//! What was taken is the receiver's until it is accepted, refused or closed.

use shikiri_abi::{Resource, Status, TalkCall};

use super::events::From;
use super::handles::{Link, Thing};
use super::{
    BAD_HANDLE, Done, EMPTY, Outcome, PEER_GONE, Ref, Refusal, Seen, Spec, Told, argument, over,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Event,
    Channel,
    Area,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) to: usize,
    pub(super) port: u64,
    service: u32,
    word: u64,
}

/// Whom a request is for, and what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) port: u64,
    pub(super) to: u8,
    pub(super) service: u32,
    pub(super) word: u64,
}

impl Spec {
    pub(super) fn signal(&mut self, who: usize, call: TalkCall, seen: &Seen<'_>) -> Outcome {
        match call {
            TalkCall::Ask { port, partition: to, service, word } => {
                self.ask(who, Asks::Event, Ask { port, to, service, word })
            }
            TalkCall::TakeSignal => self.take_signal(who, seen),
            TalkCall::Accept { request, receive } => {
                self.accept_event((who, request), (who, receive))
            }
            TalkCall::Refuse(request) => match self.thing((who, request)) {
                Some(Thing::Request(..)) => {
                    Ok(Done::told(self.answer((who, request), Link::Refused)))
                }
                _ => Err(BAD_HANDLE),
            },
            other => panic!("{other:?} is no signal"),
        }
    }

    pub(super) fn asks(&self, port: Ref) -> Option<Asks> {
        match self.thing(port)? {
            Thing::Send(_) => Some(Asks::Event),
            Thing::Port(_) => Some(Asks::Channel),
            Thing::Place(place) if place.is_attachment() => Some(Asks::Area),
            _ => None,
        }
    }

    /// Asks another partition; nobody asks itself.
    pub(super) fn ask(&mut self, who: usize, asks: Asks, ask: Ask) -> Outcome {
        let (to, port) = (usize::from(ask.to), (who, ask.port));
        if self.asks(port) != Some(asks) {
            return Err(BAD_HANDLE);
        }
        if asks == Asks::Area && to == who {
            return Err(argument(2));
        }
        if to == who || !self.lives(to) {
            return Err(PEER_GONE);
        }
        self.check_idle(port)?;
        if self.closes_handles(to) {
            return Err(PEER_GONE);
        }
        if self.of(who).asked.len() >= self.sizes.records {
            return Err(over(Resource::ManagementMemory));
        }
        let was_quiet = self.next_sender(to).is_none();
        let Ask { port: handle, service, word, .. } = ask;
        self.of_mut(who).asked.push(Asked { to, port: handle, service, word });
        self.set_link(port, Link::Queued(to));
        Ok(Done::pending(if was_quiet { self.tell(to) } else { vec![] }))
    }

    /// Whose turn it is among those whose requests wait here: the next one behind who was served last.
    pub(super) fn next_sender(&self, who: usize) -> Option<usize> {
        let count = self.partitions.len();
        let first = self.of(who).served.map_or(0, |last| last + 1);
        let waits = |from: &usize| {
            let from = self.partitions[*from].as_ref();
            from.is_some_and(|from| from.asked.iter().any(|asked| asked.to == who))
        };
        (0..count).map(|step| (first + step) % count).find(waits)
    }

    /// The oldest request of one partition for another.
    pub(super) fn oldest(&mut self, from: usize, to: usize) -> Option<Asked> {
        let asked = &mut self.of_mut(from).asked;
        let at = asked.iter().position(|asked| asked.to == to)?;
        Some(asked.remove(at))
    }

    fn take_signal(&mut self, who: usize, seen: &Seen<'_>) -> Outcome {
        let from = self.next_sender(who).ok_or(EMPTY)?;
        self.check_room(who, 1)?;
        let [x1, ..] = seen.values(&[Status::Ok]);
        let Asked { port, service, word, .. } = self.oldest(from, who).expect("a request waits");
        let asks = self.asks((from, port)).expect("it was asked");
        let request = x1 & ((1 << 56) - 1);
        self.add(who, request, Thing::Request(asks, Some((from, port))));
        self.set_link((from, port), Link::Taken((who, request)));
        self.of_mut(who).served = Some(from);
        let number = match asks {
            Asks::Event => 0,
            Asks::Channel => 1,
            Asks::Area => 2,
        };
        let sender = u64::from(self.of(from).id) | u64::from(service) << 32;
        Ok(Done::with([request | number << 56, sender, word]))
    }

    fn accept_event(&mut self, request: Ref, receive: Ref) -> Outcome {
        let from = self.request(request, Asks::Event)?;
        self.receive(receive)?;
        let from = from.ok_or(PEER_GONE)?;
        self.receive(receive)?.check_free()?;
        self.remove(request);
        self.tie(receive, From::Port(from));
        self.set_link(from, Link::Connected(receive));
        Ok(Done::told(self.tell_about(from)))
    }

    /// A request goes with this answer: its sender is told, if it is still there.
    pub(super) fn answer(&mut self, request: Ref, answer: Link) -> Told {
        let Thing::Request(_, Some(from)) = self.remove(request) else { return vec![] };
        self.set_link(from, answer);
        self.tell_about(from)
    }

    /// What asks, or is connected, goes: its request with it, and the other end finds it gone.
    pub(super) fn cut(&mut self, port: Ref) {
        match self.link(port) {
            Some(Link::Queued(_)) => self.of_mut(port.0).asked.retain(|asked| asked.port != port.1),
            Some(Link::Taken(request)) => match self.thing_mut(request) {
                Some(Thing::Request(_, from)) => *from = None,
                other => panic!("{other:?} is no request"),
            },
            Some(Link::Connected(to)) => match self.thing_mut(to) {
                Some(Thing::Receive(receive)) => receive.from = From::Nobody,
                Some(Thing::Port(peer)) => peer.link = Link::Gone,
                other => panic!("nothing connects to {other:?}"),
            },
            Some(Link::Idle | Link::Refused | Link::Gone) | None => {}
        }
    }

    /// SIGNAL_NOTIFY: where the partition is told that a request has come, and that one of its event ports was answered.
    pub(super) fn notify_of_signals(&mut self, port: Ref) -> Outcome {
        self.receive(port)?;
        let (who, handle) = port;
        if self.of(who).notify != Some(handle) {
            self.receive(port)?.check_free()?;
            if let Some(former) = self.of_mut(who).notify.replace(handle) {
                self.tie((who, former), From::Nobody);
            }
            self.tie(port, From::Signals);
        }
        Ok(Done::told(if self.next_sender(who).is_some() { self.tell(who) } else { vec![] }))
    }

    /// A partition is told of control signals, if it wants to be.
    pub(super) fn tell(&mut self, who: usize) -> Told {
        self.of(who).notify.map_or_else(Told::new, |port| self.arrive((who, port)))
    }

    /// Whoever has this is told of it: at its own receive port, if it has one.
    pub(super) fn tell_about(&mut self, what: Ref) -> Told {
        let events = match self.thing(what) {
            Some(Thing::Port(port)) => port.events,
            Some(Thing::Place(place)) => place.events,
            _ => return self.tell(what.0),
        };
        events.map_or_else(Told::new, |events| self.arrive((what.0, events)))
    }

    /// A receive port that is there and has no source yet.
    pub(super) fn check_events(&self, events: Ref) -> Result<(), Refusal> {
        self.receive(events)?.check_free()
    }
}
