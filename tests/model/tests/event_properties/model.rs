//! The model: objects that refer to each other.

use std::collections::{BTreeMap, BTreeSet};

use shikiri_core::event::{Before, Raise};
use shikiri_core::handle::Handle;
use shikiri_core::party::{Refusal, Sharing};

use crate::PARTITIONS;

pub(crate) type Id = usize;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SendIs {
    Idle,
    Queued(usize),
    Taken(Id),
    Connected(Id),
    Refused,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum From {
    Nobody,
    Port(Id),
    Signals,
}

#[derive(Clone, Debug)]
pub(crate) enum Object {
    Send(SendIs),
    Receive { from: From, masked: bool, bound: Option<(u16, Sharing)>, flag: bool, bit: bool },
    Request(Option<Id>),
}

pub(crate) fn is_send(object: &Object) -> bool {
    matches!(object, Object::Send(_))
}

pub(crate) fn is_receive(object: &Object) -> bool {
    matches!(object, Object::Receive { .. })
}

pub(crate) fn is_request(object: &Object) -> bool {
    matches!(object, Object::Request(_))
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) objects: BTreeMap<Id, (usize, Object)>,
    pub(crate) handles: BTreeMap<(usize, u64), Id>,
    pub(crate) next: Id,
    /// By sender and receiver.
    pub(crate) queues: BTreeMap<(usize, usize), Vec<Waiting>>,
    pub(crate) last: [usize; PARTITIONS],
    pub(crate) notify: [Option<Id>; PARTITIONS],
    pub(crate) interrupts: [BTreeSet<u16>; PARTITIONS],
}

/// A port that asked, the service and the word.
pub(crate) type Waiting = (Id, u64, u64);
pub(crate) type Told = Option<(usize, u16)>;

pub(crate) fn told(raise: Option<Raise>) -> Told {
    raise.map(|raise| (usize::from(raise.partition.0), raise.intid.0))
}

impl Model {
    pub(crate) fn add(&mut self, who: usize, handle: Handle, object: Object) -> Id {
        let id = self.next;
        self.next += 1;
        self.objects.insert(id, (who, object));
        assert_eq!(self.handles.insert((who, handle.0), id), None, "a handle came twice");
        id
    }

    pub(crate) fn count(&self, who: usize, is_port: bool) -> usize {
        let counts = |object: &Object| !is_port || !matches!(object, Object::Request(_));
        self.objects.values().filter(|(owner, object)| *owner == who && counts(object)).count()
    }

    pub(crate) fn get(&self, who: usize, handle: Handle) -> Option<(Id, &Object)> {
        let id = *self.handles.get(&(who, handle.0))?;
        Some((id, &self.objects.get(&id)?.1))
    }

    pub(crate) fn send_port(&self, who: usize, handle: Handle) -> Result<(Id, SendIs), Refusal> {
        match self.get(who, handle) {
            Some((id, Object::Send(state))) => Ok((id, state.clone())),
            _ => Err(Refusal::BadHandle),
        }
    }

    pub(crate) fn receive_port(&self, who: usize, handle: Handle) -> Result<Id, Refusal> {
        match self.get(who, handle) {
            Some((id, Object::Receive { .. })) => Ok(id),
            _ => Err(Refusal::BadHandle),
        }
    }

    pub(crate) fn request(&self, who: usize, handle: Handle) -> Result<(Id, Option<Id>), Refusal> {
        match self.get(who, handle) {
            Some((id, Object::Request(asker))) => Ok((id, *asker)),
            _ => Err(Refusal::BadHandle),
        }
    }

    pub(crate) fn set_send(&mut self, id: Id, state: SendIs) {
        self.objects.get_mut(&id).unwrap().1 = Object::Send(state);
    }

    pub(crate) fn source(&mut self, id: Id) -> &mut From {
        match &mut self.objects.get_mut(&id).unwrap().1 {
            Object::Receive { from, .. } => from,
            other => panic!("{other:?} is no receive port"),
        }
    }

    pub(crate) fn owner(&self, id: Id) -> usize {
        self.objects[&id].0
    }

    pub(crate) fn check_idle(state: &SendIs) -> Result<(), Refusal> {
        let is_idle = matches!(state, SendIs::Idle | SendIs::Refused | SendIs::Gone);
        if is_idle { Ok(()) } else { Err(Refusal::WrongState) }
    }

    pub(crate) fn check_free(&mut self, id: Id) -> Result<(), Refusal> {
        if *self.source(id) == From::Nobody { Ok(()) } else { Err(Refusal::WrongState) }
    }

    pub(crate) fn raise(&mut self, who: usize, intid: u16) -> Told {
        self.interrupts[who].insert(intid);
        Some((who, intid))
    }

    /// An event arrives at a port.
    pub(crate) fn arrive(&mut self, id: Id) -> (Told, Before) {
        let (who, object) = self.objects.get_mut(&id).unwrap();
        let who = *who;
        let Object::Receive { masked, bound, flag, bit, .. } = object else { unreachable!() };
        match (*bound, *masked) {
            (Some((intid, Sharing::Alone)), false) => {
                (self.raise(who, intid), Before::AsTheInterrupt)
            }
            _ if *flag => (None, Before::Pending),
            (Some((intid, Sharing::Grouped)), false) => {
                (*flag, *bit) = (true, true);
                (self.raise(who, intid), Before::Idle)
            }
            _ => {
                *flag = true;
                (None, Before::Idle)
            }
        }
    }

    /// What was kept goes out, because the port could not raise and now can.
    pub(crate) fn release(&mut self, id: Id) -> Told {
        let (who, object) = self.objects.get_mut(&id).unwrap();
        let who = *who;
        let Object::Receive { masked: false, bound: Some((intid, sharing)), flag, bit, .. } =
            object
        else {
            return None;
        };
        if !*flag {
            return None;
        }
        match sharing {
            Sharing::Alone => *flag = false,
            Sharing::Grouped => *bit = true,
        }
        let intid = *intid;
        self.raise(who, intid)
    }

    pub(crate) fn tell(&mut self, who: usize) -> Told {
        self.arrive(self.notify[who]?).0
    }

    pub(crate) fn next_sender(&self, who: usize) -> Option<usize> {
        let turn = (1..=PARTITIONS).map(|step| (self.last[who] + step) % PARTITIONS);
        turn.into_iter().find(|from| self.queues.get(&(*from, who)).is_some_and(|q| !q.is_empty()))
    }

    /// Closes an object; what it had at the other end is as if the other had closed it.
    pub(crate) fn close(&mut self, id: Id, answer: SendIs) -> Told {
        let (who, object) = self.objects.remove(&id).unwrap();
        match object {
            Object::Send(SendIs::Queued(to)) => {
                self.queues.get_mut(&(who, to)).unwrap().retain(|(port, _, _)| *port != id);
            }
            Object::Send(SendIs::Taken(request)) => {
                self.objects.get_mut(&request).unwrap().1 = Object::Request(None);
            }
            Object::Send(SendIs::Connected(to)) => *self.source(to) = From::Nobody,
            Object::Send(_) | Object::Request(None) => {}
            Object::Receive { from: From::Port(from), .. } => self.set_send(from, SendIs::Gone),
            Object::Receive { from: From::Signals, .. } => self.notify[who] = None,
            Object::Receive { from: From::Nobody, .. } => {}
            Object::Request(Some(from)) => {
                self.set_send(from, answer);
                return self.tell(self.owner(from));
            }
        }
        None
    }

    pub(crate) fn end(&mut self, who: usize) {
        let own: Vec<Id> = self
            .objects
            .iter()
            .filter(|(_, (owner, _))| *owner == who)
            .map(|(id, _)| *id)
            .collect();
        for id in own {
            self.close(id, SendIs::Gone);
        }
        for from in 0..PARTITIONS {
            let waiting = self.queues.remove(&(from, who)).unwrap_or_default();
            for (port, _, _) in &waiting {
                self.set_send(*port, SendIs::Gone);
            }
            if !waiting.is_empty() {
                self.tell(from);
            }
        }
        self.handles.retain(|(owner, _), _| *owner != who);
        self.last[who] = PARTITIONS - 1;
        self.interrupts[who].clear();
    }
}
