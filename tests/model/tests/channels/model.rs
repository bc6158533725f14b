//! What areas and channels are, without a table, a page or a lock: who has what, who is connected to whom, and what each call answers.
//!
//! An area is somebody's; it is his own, or lies in the window of one of his ports. A port is connected to one other port, or is not. A
//! request waits in its sender's queue, or was taken. Handles and addresses are the hypervisor's to choose: [`Model`] is told of them.

use std::collections::BTreeMap;

use shikiri_abi::channel::ARRIVALS;
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Resource};
use shikiri_core::party::Refusal;

use crate::SIZES;

pub(crate) const PARTITIONS: usize = 3;
/// Requests of each partition that can wait.
const RECORDS: usize = 4;
/// The interrupt of each partition's control signals.
pub(crate) const SIGNALS: u16 = 39;

pub(crate) type Id = usize;
/// Which interrupts came where.
pub(crate) type Told = Vec<(u8, u16)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Own,
    Window(Id),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) owner: usize,
    pub(crate) handle: u64,
    pub(crate) address: Ipa,
    pub(crate) class: AreaClass,
    pub(crate) pages: u64,
    pub(crate) tables: u64,
    pub(crate) home: Home,
    /// What its guest has written there.
    pub(crate) stamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Idle,
    Queued(usize),
    Taken(Id),
    Connected(Id),
    Refused,
    Gone,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) owner: usize,
    pub(crate) handle: u64,
    pub(crate) events: u64,
    pub(crate) intid: u16,
    pub(crate) class: AreaClass,
    pub(crate) slots: u64,
    pub(crate) arrivals: Ipa,
    pub(crate) credits: Ipa,
    pub(crate) link: Link,
    /// Messages that have come, and peers.
    pub(crate) delivered: u64,
    pub(crate) peers: u64,
    /// What its guest says in the credits.
    pub(crate) posted: u64,
    pub(crate) consumed: u64,
    pub(crate) polls: u64,
    /// A sender was told that there is no room.
    pub(crate) is_starved: bool,
}

/// A request that was taken: by whom, and whose port asked, if it has not gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    owner: usize,
    handle: u64,
    from: Option<Id>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) areas: BTreeMap<Id, Area>,
    pub(crate) ports: BTreeMap<Id, Port>,
    pub(crate) requests: BTreeMap<Id, Request>,
    /// Where a partition sees which of its ports are pending.
    pub(crate) pending: [Option<Ipa>; PARTITIONS],
    /// Ports that have asked, with their words, by sender and receiver, the oldest first.
    queues: BTreeMap<(usize, usize), Vec<(Id, u64)>>,
    next: Id,
}

/// Where a message has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) port: Id,
    pub(crate) number: u64,
    pub(crate) area: Option<Id>,
}

impl Model {
    pub(crate) fn new_id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    pub(crate) fn area(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let mut all = self.areas.iter();
        let found = all.find(|(_, area)| (area.owner, area.handle) == (who, handle));
        found.map(|(id, _)| *id).ok_or(Refusal::NotOwner)
    }

    pub(crate) fn port(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let mut all = self.ports.iter();
        let found = all.find(|(_, port)| (port.owner, port.handle) == (who, handle));
        found.map(|(id, _)| *id).ok_or(Refusal::BadHandle)
    }

    fn request(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let mut all = self.requests.iter();
        let found = all.find(|(_, request)| (request.owner, request.handle) == (who, handle));
        found.map(|(id, _)| *id).ok_or(Refusal::BadHandle)
    }

    pub(crate) fn ports_of(&self, who: usize) -> impl Iterator<Item = (Id, &Port)> {
        let all = self.ports.iter().map(|(id, port)| (*id, port));
        all.filter(move |(_, port)| port.owner == who)
    }

    fn in_window(&self, port: Id) -> u64 {
        self.areas.values().filter(|area| area.home == Home::Window(port)).count() as u64
    }

    /// Slots of a class that nobody has use for yet.
    fn free_slots(&self, who: usize, class: AreaClass) -> u64 {
        let own = |area: &&Area| (area.owner, area.class, area.home) == (who, class, Home::Own);
        let own = self.areas.values().filter(own).count() as u64;
        let kept = self.ports_of(who).map(|(_, port)| {
            let pages = if class == AreaClass::Page { 2 } else { 0 };
            pages + if port.class == class { port.slots } else { 0 }
        });
        let shown = class == AreaClass::Page && self.pending[who].is_some();
        u64::from(SIZES.windows.of(class)) - own - kept.sum::<u64>() - u64::from(shown)
    }

    /// What is charged: event ports, memory, IPA space, management memory, beyond a partition that has nothing.
    pub(crate) fn charged(&self, who: usize) -> [u64; 4] {
        let mut all = [0; 4];
        let mut add = |more: [u64; 4]| {
            all.iter_mut().zip(more).for_each(|(line, more)| *line += more);
        };
        for area in self.areas.values().filter(|area| area.owner == who && area.home == Home::Own) {
            add([0, area.pages, area.pages, area.tables]);
        }
        for (_, port) in self.ports_of(who) {
            let pages = port.slots * port.class.pages().0;
            add([1, pages, pages + 2, 2 + port.slots * port.class.most_tables()]);
        }
        add([0, 0, u64::from(self.pending[who].is_some()), 0]);
        all
    }

    /// Frames that are in use for areas and ports.
    pub(crate) fn frames(&self) -> u64 {
        let areas: u64 = self.areas.values().map(|area| area.pages + area.tables).sum();
        areas + 2 * self.ports.len() as u64
    }

    pub(crate) fn alloc(&self, who: usize, pages: u64, class: AreaClass) -> Result<(), Refusal> {
        if pages == 0 || pages > class.pages().0 {
            return Err(Refusal::Range);
        }
        self.check_slots(who, class, 1)
    }

    fn check_slots(&self, who: usize, class: AreaClass, count: u64) -> Result<(), Refusal> {
        let has_room = self.free_slots(who, class) >= count;
        if has_room { Ok(()) } else { Err(Refusal::OverLimit(Resource::IpaSpace)) }
    }

    pub(crate) fn free(&mut self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let id = self.area(who, handle)?;
        self.areas.remove(&id);
        Ok(id)
    }

    pub(crate) fn keep(&mut self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let id = self.area(who, handle)?;
        let Area { class, home, .. } = self.areas[&id];
        if home == Home::Own {
            return Err(Refusal::WrongState);
        }
        self.check_slots(who, class, 1)?;
        self.areas.get_mut(&id).unwrap().home = Home::Own;
        Ok(id)
    }

    pub(crate) fn trim(&mut self, who: usize, handle: u64, pages: u64) -> Result<Id, Refusal> {
        let id = self.area(who, handle)?;
        let area = self.areas.get_mut(&id).unwrap();
        if area.home != Home::Own {
            return Err(Refusal::WrongState);
        }
        if pages == 0 || pages > area.pages {
            return Err(Refusal::Range);
        }
        area.pages = pages;
        Ok(id)
    }

    pub(crate) fn create(
        &self,
        who: usize,
        events: u64,
        (slots, class): (u64, AreaClass),
    ) -> Result<(), Refusal> {
        if self.ports_of(who).any(|(_, port)| port.events == events) {
            return Err(Refusal::WrongState);
        }
        if slots > 60 {
            return Err(Refusal::Argument(2));
        }
        if self.ports_of(who).count() >= usize::from(SIZES.ports) {
            return Err(Refusal::OverLimit(Resource::ManagementMemory));
        }
        let pages = if class == AreaClass::Page { slots + 2 } else { 2 };
        self.check_slots(who, AreaClass::Page, pages)?;
        self.check_slots(who, class, slots)
    }

    pub(crate) fn connect(
        &mut self,
        who: usize,
        handle: u64,
        (to, word): (usize, u64),
    ) -> Result<Told, Refusal> {
        if to == who || to >= PARTITIONS {
            return Err(Refusal::PeerGone);
        }
        let id = self.port(who, handle)?;
        self.check_idle(id)?;
        let waiting = |(pair, queue): (&(usize, usize), &Vec<_>)| {
            if pair.0 == who { queue.len() } else { 0 }
        };
        if self.queues.iter().map(waiting).sum::<usize>() >= RECORDS {
            return Err(Refusal::OverLimit(Resource::ManagementMemory));
        }
        let was_quiet = self.queues.iter().all(|(pair, queue)| pair.1 != to || queue.is_empty());
        self.queues.entry((who, to)).or_default().push((id, word));
        self.link(id, Link::Queued(to));
        Ok(if was_quiet { vec![(to as u8, SIGNALS)] } else { vec![] })
    }

    fn check_idle(&self, id: Id) -> Result<(), Refusal> {
        match self.ports[&id].link {
            Link::Idle | Link::Refused | Link::Gone => Ok(()),
            Link::Queued(_) | Link::Taken(_) | Link::Connected(_) => Err(Refusal::WrongState),
        }
    }

    fn link(&mut self, id: Id, link: Link) {
        self.ports.get_mut(&id).unwrap().link = link;
    }

    /// Whether a signal waits.
    pub(crate) fn has_signal(&self, who: usize) -> Result<(), Refusal> {
        let waits = self.queues.iter().any(|(pair, queue)| pair.1 == who && !queue.is_empty());
        if waits { Ok(()) } else { Err(Refusal::Empty) }
    }

    /// A signal was taken; whose turn it is shows `event_properties`. It is the oldest of its sender's.
    pub(crate) fn taken(&mut self, who: usize, handle: u64, word: u64) {
        let mut queues = self.queues.iter_mut().filter(|(pair, _)| pair.1 == who);
        let of = queues.find(|(_, queue)| queue.first().is_some_and(|first| first.1 == word));
        let (_, queue) = of.expect("no sender's oldest request has this word");
        let (port, _) = queue.remove(0);
        let id = self.new_id();
        self.requests.insert(id, Request { owner: who, handle, from: Some(port) });
        self.link(port, Link::Taken(id));
    }

    pub(crate) fn refuse(&mut self, who: usize, handle: u64) -> Result<Told, Refusal> {
        let id = self.request(who, handle)?;
        let from = self.requests.remove(&id).unwrap().from;
        Ok(from.map(|port| self.lose(port, Link::Refused)).into_iter().collect())
    }

    /// A port's request is answered, or its peer gone: who is told.
    fn lose(&mut self, port: Id, link: Link) -> (u8, u16) {
        self.link(port, link);
        self.tells(port)
    }

    fn tells(&self, port: Id) -> (u8, u16) {
        let Port { owner, intid, .. } = self.ports[&port];
        (owner as u8, intid)
    }

    pub(crate) fn accept(&mut self, who: usize, request: u64, port: u64) -> Result<Told, Refusal> {
        let request = self.request(who, request)?;
        let port = self.port(who, port)?;
        let from = self.requests[&request].from.ok_or(Refusal::PeerGone)?;
        self.check_idle(port)?;
        self.requests.remove(&request);
        for (end, other) in [(port, from), (from, port)] {
            let end = self.ports.get_mut(&end).unwrap();
            end.link = Link::Connected(other);
            end.peers += 1;
            end.is_starved = false;
        }
        Ok(vec![self.tells(port), self.tells(from)])
    }

    fn connection(&self, who: usize, handle: u64) -> Result<(Id, Id), Refusal> {
        let id = self.port(who, handle)?;
        match self.ports[&id].link {
            Link::Connected(peer) => Ok((id, peer)),
            Link::Refused => Err(Refusal::Refused),
            Link::Gone => Err(Refusal::PeerGone),
            Link::Idle | Link::Queued(_) | Link::Taken(_) => Err(Refusal::WrongState),
        }
    }

    pub(crate) fn send(
        &mut self,
        who: usize,
        port: u64,
        (area, bytes): (u64, u64),
    ) -> Result<(Sent, Told), Refusal> {
        let (_, to) = self.connection(who, port)?;
        let area = if area == 0 { None } else { Some(self.area(who, area)?) };
        let size = area.map_or(0, |id| self.areas[&id].pages * PAGE_BYTES);
        if bytes > size {
            return Err(Refusal::Range);
        }
        let receiver = self.ports[&to];
        if area.is_some_and(|id| self.areas[&id].class != receiver.class || receiver.slots == 0) {
            return Err(Refusal::Range);
        }
        let number = receiver.delivered;
        let has_credit = (1..=ARRIVALS).contains(&receiver.posted.wrapping_sub(number))
            && number.wrapping_sub(receiver.consumed) < ARRIVALS;
        let has_slot = area.is_none() || self.in_window(to) < receiver.slots;
        if !has_credit || !has_slot {
            self.ports.get_mut(&to).unwrap().is_starved = true;
            return Err(Refusal::Full);
        }
        if let Some(area) = area.and_then(|id| self.areas.get_mut(&id)) {
            (area.owner, area.home) = (receiver.owner, Home::Window(to));
        }
        self.ports.get_mut(&to).unwrap().delivered += 1;
        let is_told = receiver.polls == 0 && receiver.consumed == number;
        let told = if is_told { vec![self.tells(to)] } else { vec![] };
        Ok((Sent { port: to, number, area }, told))
    }

    pub(crate) fn notify(&mut self, who: usize, handle: u64) -> Result<Told, Refusal> {
        let (id, peer) = self.connection(who, handle)?;
        let port = self.ports.get_mut(&id).unwrap();
        let was_starved = std::mem::take(&mut port.is_starved);
        Ok(if was_starved { vec![self.tells(peer)] } else { vec![] })
    }

    pub(crate) fn close(&mut self, who: usize, handle: u64) -> Result<Told, Refusal> {
        let id = self.port(who, handle)?;
        Ok(self.remove_port(id))
    }

    fn remove_port(&mut self, id: Id) -> Told {
        let port = self.ports[&id];
        let mut told = vec![];
        match port.link {
            Link::Connected(peer) => told.push(self.lose(peer, Link::Gone)),
            Link::Queued(to) => {
                let queue = self.queues.get_mut(&(port.owner, to)).unwrap();
                queue.retain(|(asker, _)| *asker != id);
            }
            Link::Taken(by) => self.requests.get_mut(&by).unwrap().from = None,
            Link::Idle | Link::Refused | Link::Gone => {}
        }
        self.ports.remove(&id);
        for area in self.areas.values_mut().filter(|area| area.home == Home::Window(id)) {
            area.home = Home::Own;
        }
        told
    }

    /// Asks for the page of pending ports: once it is there it stays.
    pub(crate) fn show_pending(&self, who: usize) -> Result<(), Refusal> {
        if self.pending[who].is_some() {
            return Ok(());
        }
        self.check_slots(who, AreaClass::Page, 1)
    }

    /// A partition ends: all that it had is gone, and whoever had to do with it is told.
    pub(crate) fn end(&mut self, who: usize) -> Told {
        let mut told = vec![];
        let ports: Vec<_> = self.ports_of(who).map(|(id, _)| id).collect();
        for id in ports {
            told.append(&mut self.remove_port(id));
        }
        self.pending[who] = None;
        self.areas.retain(|_, area| area.owner != who);
        let requests = std::mem::take(&mut self.requests);
        let (own, others) = requests.into_iter().partition(|(_, request)| request.owner == who);
        self.requests = others;
        let own: BTreeMap<Id, Request> = own;
        for port in own.into_values().filter_map(|request| request.from) {
            told.push(self.lose(port, Link::Gone));
        }
        let waiting = self.queues.iter_mut().filter(|(pair, _)| pair.1 == who);
        let waiting: Vec<_> = waiting.flat_map(|(_, queue)| queue.drain(..)).collect();
        for (port, _) in waiting {
            told.push(self.lose(port, Link::Gone));
        }
        told
    }
}
