//! Event ports. An event is one bit: that it has come. Events that come while it is set are one event with it.
//!
//! A receive port has one source. Bound to an interrupt that it has alone, its bit is the interrupt itself, unless it is masked; grouped
//! with others, a bitmap of the partition says which of them it was.

use shikiri_abi::{AreaClass, Resource, Sharing, Status, TalkCall};

use super::handles::{Link, Thing, index};
use super::{
    BAD_HANDLE, Done, Outcome, PEER_GONE, REFUSED, Ref, Refusal, Seen, Spec, Told, WRONG_STATE,
    argument,
};

/// Who sends events to a receive port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum From {
    #[default]
    Nobody,
    /// A send port.
    Port(Ref),
    /// Requests that come for the partition, and answers to its own.
    Signals,
    /// A message port or a shared area of the same partition.
    Own(u64),
    /// A named object, by its row.
    Object(usize),
}

/// A receive port.
#[derive(Clone, Debug, Default)]
pub(super) struct Receive {
    pub(super) from: From,
    pub(super) is_masked: bool,
    /// Its interrupt, where that goes first, and who else has it.
    pub(super) bound: Option<(u16, u8, Sharing)>,
    /// An event has come that is no interrupt.
    pub(super) is_pending: bool,
    /// Its bit in the bitmap.
    is_marked: bool,
}

impl Receive {
    /// Nothing sends here yet.
    pub(super) fn check_free(&self) -> Result<(), Refusal> {
        if self.from == From::Nobody { Ok(()) } else { Err(WRONG_STATE) }
    }
}

impl Spec {
    pub(super) fn talk(&mut self, who: usize, call: TalkCall, seen: &Seen<'_>) -> Outcome {
        match call {
            TalkCall::CreateSend => self.create_event_port(who, Thing::Send(Link::Idle), seen),
            TalkCall::CreateReceive => {
                self.create_event_port(who, Thing::Receive(Receive::default()), seen)
            }
            TalkCall::Connect { send, receive } => self.connect_ports((who, send), (who, receive)),
            TalkCall::Bind { port, intid, vcpu, sharing } => {
                self.bind((who, port), (intid.0, vcpu.0), sharing)
            }
            TalkCall::Mask(port) => {
                self.receive_mut((who, port))?.is_masked = true;
                Ok(Done::nothing())
            }
            TalkCall::Unmask(port) => {
                let was_masked = std::mem::take(&mut self.receive_mut((who, port))?.is_masked);
                let told = if was_masked { self.release((who, port)) } else { vec![] };
                Ok(Done::told(told))
            }
            TalkCall::State(port) => match self.send_port((who, port))? {
                Link::Connected(_) => Ok(Done::nothing()),
                Link::Queued(_) | Link::Taken(_) => Ok(Done::pending(vec![])),
                other => Err(unconnected(other)),
            },
            TalkCall::Poll(port) => self.poll((who, port)),
            TalkCall::Take(word) => Ok(Done::with([self.take_marked(who, u64::from(word)), 0, 0])),
            TalkCall::Send(port) => match self.send_port((who, port))? {
                Link::Connected(to) => Ok(Done::told(self.arrive(to))),
                other => Err(unconnected(other)),
            },
            TalkCall::Close(handle) => self.close((who, handle)),
            TalkCall::Limit { handle, keep } => self.limit((who, handle), keep),
            TalkCall::Notify(port) => self.notify_of_signals((who, port)),
            TalkCall::Ask { .. }
            | TalkCall::TakeSignal
            | TalkCall::Accept { .. }
            | TalkCall::Refuse(_) => self.signal(who, call, seen),
            TalkCall::Peer(_) | TalkCall::PeerName(..) => {
                panic!("{call:?} looks at the description")
            }
        }
    }

    fn create_event_port(&mut self, who: usize, thing: Thing, seen: &Seen<'_>) -> Outcome {
        self.check_room(who, 1)?;
        self.check_charge(who, &[(Resource::EventPorts, 1)])?;
        let [handle, ..] = seen.values(&[Status::Ok]);
        self.add(who, handle, thing);
        Ok(Done::with([handle, 0, 0]))
    }

    fn send_port(&self, port: Ref) -> Result<Link, Refusal> {
        if let Some(Thing::Send(link)) = self.thing(port) { Ok(*link) } else { Err(BAD_HANDLE) }
    }

    fn connect_ports(&mut self, send: Ref, receive: Ref) -> Outcome {
        self.send_port(send)?;
        self.receive(receive)?;
        self.check_idle(send)?;
        self.receive(receive)?.check_free()?;
        self.receive_mut(receive)?.from = From::Port(send);
        self.set_link(send, Link::Connected(receive));
        Ok(Done::nothing())
    }

    fn bind(&mut self, port: Ref, (intid, vcpu): (u16, u8), sharing: Sharing) -> Outcome {
        self.receive(port)?;
        if !(32..1020).contains(&intid) || self.sizes.devices.contains(&intid) {
            return Err(argument(2));
        }
        if vcpu >= self.sizes.vcpus {
            return Err(argument(3));
        }
        let users: Vec<Sharing> = self.users_of(port.0, intid).collect();
        let all_share =
            sharing == Sharing::Grouped && users.iter().all(|its| *its == Sharing::Grouped);
        if !users.is_empty() && !all_share {
            return Err(WRONG_STATE);
        }
        let receive = self.receive_mut(port)?;
        if receive.bound.is_some() {
            return Err(WRONG_STATE);
        }
        receive.bound = Some((intid, vcpu, sharing));
        Ok(Done::told(self.release(port)))
    }

    /// How the ports share an interrupt that are bound to it.
    pub(super) fn users_of(&self, who: usize, intid: u16) -> impl Iterator<Item = Sharing> {
        self.of(who).things.values().filter_map(move |thing| match thing {
            Thing::Receive(Receive { bound: Some((its, _, sharing)), .. }) if *its == intid => {
                Some(*sharing)
            }
            _ => None,
        })
    }

    fn raise(&mut self, who: usize, intid: u16) -> Told {
        self.of_mut(who).interrupts.insert(intid);
        vec![(u8::try_from(who).expect("few partitions"), intid)]
    }

    /// A guest takes its most urgent interrupt.
    pub fn take_interrupt(&mut self, who: usize) -> Option<u16> {
        self.of_mut(who).interrupts.pop_first()
    }

    /// The interrupts that were raised, and that the guest has not taken.
    #[must_use]
    pub fn interrupts(&self, who: usize) -> Vec<u16> {
        self.of(who).interrupts.iter().copied().collect()
    }

    /// An event comes to a receive port: who is told.
    pub(super) fn arrive(&mut self, port: Ref) -> Told {
        let receive = self.receive_mut(port).expect("a receive port is connected");
        match (receive.bound, receive.is_masked) {
            (Some((intid, _, Sharing::Alone)), false) => self.raise(port.0, intid),
            _ if receive.is_pending => vec![],
            (Some((intid, _, Sharing::Grouped)), false) => {
                (receive.is_pending, receive.is_marked) = (true, true);
                self.of_mut(port.0).marks.insert(index(port.1));
                self.raise(port.0, intid)
            }
            _ => {
                receive.is_pending = true;
                vec![]
            }
        }
    }

    /// An event that was kept comes out, since the port can raise now.
    fn release(&mut self, port: Ref) -> Told {
        let receive = self.receive_mut(port).expect("a receive port is released");
        let (Some((intid, _, sharing)), false, true) =
            (receive.bound, receive.is_masked, receive.is_pending)
        else {
            return vec![];
        };
        match sharing {
            Sharing::Alone => receive.is_pending = false,
            Sharing::Grouped => {
                receive.is_marked = true;
                self.of_mut(port.0).marks.insert(index(port.1));
            }
        }
        self.raise(port.0, intid)
    }

    /// Whether an event had come; it has not from here on.
    fn poll(&mut self, port: Ref) -> Outcome {
        let receive = self.receive_mut(port)?;
        receive.is_marked = false;
        let (mut had_come, bound) = (std::mem::take(&mut receive.is_pending), receive.bound);
        if let Some((intid, _, Sharing::Alone)) = bound {
            had_come |= self.of_mut(port.0).interrupts.remove(&intid);
        }
        Ok(Done::with([u64::from(had_come), 0, 0]))
    }

    /// The ports of one word of the bitmap that have an event; they have none from here on.
    fn take_marked(&mut self, who: usize, word: u64) -> u64 {
        let mut taken = 0;
        self.of_mut(who).marks.retain(|index| index / 64 != word);
        for (handle, thing) in &mut self.of_mut(who).things {
            if let Thing::Receive(receive) = thing
                && index(*handle) / 64 == word
                && std::mem::take(&mut receive.is_marked)
                && matches!(receive.bound, Some((_, _, Sharing::Grouped)))
                && std::mem::take(&mut receive.is_pending)
            {
                taken |= 1 << (index(*handle) % 64);
            }
        }
        taken
    }

    /// EVENT_PAGE: once it is there it stays.
    pub(super) fn show_marked(&mut self, who: usize, seen: &Seen<'_>) -> Outcome {
        if let Some(at) = self.of(who).shown {
            return Ok(Done::with([at, 0, 0]));
        }
        self.check_slots(who, AreaClass::Page, 1)?;
        self.check_charge(who, &[(Resource::IpaSpace, 1)])?;
        let [at, ..] = seen.values(&[Status::Ok]);
        self.check_address(who, AreaClass::Page, at);
        self.of_mut(who).shown = Some(at);
        Ok(Done::with([at, 0, 0]))
    }

    /// Where a partition sees which of its ports have an event, and for each word of its handles what is set there, and what may be.
    /// *Choice*: whether the bit of a port that was polled or closed is left until its word is taken.
    #[must_use]
    pub fn shown(&self, who: usize) -> Option<(u64, Vec<[u64; 2]>)> {
        let own = self.of(who);
        let mut words = vec![[0; 2]; self.sizes.handles.div_ceil(64)];
        let mut set = |index: u64, of: usize| {
            words[usize::try_from(index / 64).expect("a handle's")][of] |= 1 << (index % 64);
        };
        for (handle, thing) in &own.things {
            if let Thing::Receive(Receive { is_pending: true, is_marked: true, .. }) = thing {
                set(index(*handle), 0);
            }
        }
        own.marks.iter().for_each(|index| set(*index, 1));
        Some((own.shown?, words))
    }

    /// HANDLE_CLOSE: of event ports and requests.
    fn close(&mut self, what: Ref) -> Outcome {
        match self.thing(what) {
            Some(Thing::Send(_) | Thing::Receive(_) | Thing::Request(..)) => {
                Ok(Done::told(self.close_thing(what, Link::Refused)))
            }
            _ => Err(BAD_HANDLE),
        }
    }

    /// A port or request goes: whoever was connected, or had asked, finds that out, and `answer` in the case of a request.
    pub(super) fn close_thing(&mut self, what: Ref, answer: Link) -> Told {
        match self.thing(what).cloned() {
            Some(Thing::Receive(receive)) => self.close_receive(what.0, &receive),
            Some(Thing::Request(..)) => return self.answer(what, answer),
            _ => self.cut(what),
        }
        self.of_mut(what.0).things.remove(&what.1);
        vec![]
    }

    fn close_receive(&mut self, who: usize, receive: &Receive) {
        match receive.from {
            From::Port(from) => self.set_link(from, Link::Gone),
            From::Signals => self.of_mut(who).notify = None,
            From::Own(told) => match self.thing_mut((who, told)) {
                Some(Thing::Port(port)) => port.events = None,
                Some(Thing::Place(place)) => place.events = None,
                other => panic!("{other:?} tells nobody"),
            },
            From::Object(_) | From::Nobody => {}
        }
        // The last port of an interrupt takes it along.
        if let Some((intid, ..)) = receive.bound
            && self.users_of(who, intid).count() == 1
        {
            self.of_mut(who).interrupts.remove(&intid);
        }
    }

    /// A receive port tells of a thing of the same partition from here on, or no more.
    pub(super) fn tie(&mut self, events: Ref, from: From) {
        self.receive_mut(events).expect("the port was checked").from = from;
    }
}

/// Why nothing can be sent over a link that is not connected.
pub(super) const fn unconnected(link: Link) -> Refusal {
    match link {
        Link::Refused => REFUSED,
        Link::Gone => PEER_GONE,
        Link::Idle | Link::Queued(_) | Link::Taken(_) | Link::Connected(_) => WRONG_STATE,
    }
}
