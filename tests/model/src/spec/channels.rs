//! Message channels: two ports that are connected. A message is three words, and may take an area along: that is the receiver's from then
//! on, in a slot of its port's window.

use std::collections::BTreeMap;

use shikiri_abi::channel::{
    ADDRESS, AREA, ARRIVALS, BYTES, CONNECTED, CONSUMED, MAX_WINDOW, PAGES, POLLS, POSTED,
    SEQUENCE, SHORT, STARVED, STATE, entry,
};
use shikiri_abi::{AreaClass, MessageCall, PAGE_BYTES, Resource, Status};

use super::events::{From, unconnected};
use super::handles::{Has, Link, Place, Thing};
use super::signals::{Ask, Asks};
use super::{
    Done, FULL, Outcome, PEER_GONE, RANGE, Ref, Refusal, Seen, Spec, Told, WRONG_STATE, argument,
    over,
};

/// A message port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Where it is told.
    pub(super) events: Option<u64>,
    /// The window: the areas that can lie there, and their class.
    pub(super) slots: u64,
    pub(super) class: AreaClass,
    /// The addresses of its pages: what has come, which its guest reads, and what may come, which its guest writes.
    pub(super) arrivals: u64,
    pub(super) credits: u64,
    pub(super) link: Link,
    /// How many messages have come, and how many peers.
    pub(super) delivered: u64,
    peers: u64,
    /// Its sender was told that there is no room.
    is_starved: bool,
    /// Words of the two pages that are not zero: of the ring, and of the credits.
    ring: BTreeMap<usize, u64>,
    pub(super) given: BTreeMap<usize, u64>,
    /// Its place among the ports: ends come to these in order.
    pub(super) row: usize,
}

impl Port {
    /// A word of its arrivals.
    pub(super) fn arrived(&self, word: usize) -> u64 {
        match word {
            STATE => {
                self.peers << 1
                    | if matches!(self.link, Link::Connected(_)) { CONNECTED } else { 0 }
            }
            STARVED => u64::from(self.is_starved),
            _ => self.ring.get(&word).copied().unwrap_or(0),
        }
    }

    fn credit(&self, word: usize) -> u64 {
        self.given.get(&word).copied().unwrap_or(0)
    }

    /// One more message may come, whatever its guest has written.
    fn has_credit(&self) -> bool {
        let offered = self.credit(POSTED).wrapping_sub(self.delivered);
        let waiting = self.delivered.wrapping_sub(self.credit(CONSUMED));
        (1..=ARRIVALS).contains(&offered) && waiting < ARRIVALS
    }

    /// Its guest has taken all that had come, and does not look by itself.
    fn wants_event(&self) -> bool {
        self.credit(POLLS) == 0 && self.credit(CONSUMED) == self.delivered
    }
}

impl Spec {
    pub(super) fn channel(&mut self, who: usize, call: MessageCall, seen: &Seen<'_>) -> Outcome {
        match call {
            MessageCall::Create { events, slots, class } => {
                self.create_port(who, events, (u64::from(slots), class), seen)
            }
            MessageCall::Connect { port, partition: to, service, word } => {
                self.ask(who, Asks::Channel, Ask { port, to, service, word })
            }
            MessageCall::Accept { request, port } => {
                self.accept_channel((who, request), (who, port))
            }
            MessageCall::Send { port, area, bytes, short } => {
                self.send((who, port), (area, bytes, short), seen)
            }
            MessageCall::Notify(port) => self.notify((who, port)),
            MessageCall::Close(port) => {
                self.port((who, port))?;
                Ok(Done::told(self.close_port((who, port), Some(seen))))
            }
            other => panic!("{other:?} is not of channels"),
        }
    }

    /// Areas in a port's window.
    pub(super) fn in_window(&self, who: usize, port: u64) -> u64 {
        self.places_of(who).filter(|(_, place)| place.window == Some(port)).count() as u64
    }

    fn create_port(
        &mut self,
        who: usize,
        events: u64,
        (slots, class): (u64, AreaClass),
        seen: &Seen<'_>,
    ) -> Outcome {
        self.check_events((who, events))?;
        if slots > u64::from(MAX_WINDOW) {
            return Err(argument(2));
        }
        let used: Vec<usize> = self.ports_of(who).map(|(_, port)| port.row).collect();
        let row = (0..self.sizes.ports).find(|row| !used.contains(row));
        let row = row.ok_or(over(Resource::ManagementMemory))?;
        self.check_room(who, slots + 1)?;
        let pages = if class == AreaClass::Page { slots + 2 } else { 2 };
        self.check_slots(who, AreaClass::Page, pages)?;
        self.check_slots(who, class, slots)?;
        let pages = slots * class.pages().0;
        let cost = [
            (Resource::ManagementMemory, 2),
            (Resource::Memory, pages),
            (Resource::IpaSpace, pages + 2),
            (Resource::ManagementMemory, 2 + slots * class.most_tables()),
        ];
        self.check_charge(who, &cost)?;
        let [handle, arrivals, credits] = seen.values(&[Status::Ok]);
        assert_ne!(arrivals, credits);
        for page in [arrivals, credits] {
            self.check_address(who, AreaClass::Page, page);
        }
        let (link, ring, given) = (Link::Idle, BTreeMap::new(), BTreeMap::new());
        let (events, delivered, peers, is_starved) = (Some(events), 0, 0, false);
        let port = Port {
            events,
            slots,
            class,
            arrivals,
            credits,
            link,
            delivered,
            peers,
            is_starved,
            ring,
            given,
            row,
        };
        self.add(who, handle, Thing::Port(port));
        self.tie((who, events.unwrap_or(0)), From::Own(handle));
        Ok(Done::with([handle, arrivals, credits]))
    }

    fn accept_channel(&mut self, request: Ref, port: Ref) -> Outcome {
        let from = self.request(request, Asks::Channel)?;
        self.port(port)?;
        let from = from.ok_or(PEER_GONE)?;
        self.check_idle(port)?;
        self.remove(request);
        for (end, other) in [(port, from), (from, port)] {
            let end = self.port_mut(end);
            end.link = Link::Connected(other);
            end.peers += 1;
            end.is_starved = false;
        }
        let mut told = self.tell_about(port);
        told.append(&mut self.tell_about(from));
        Ok(Done::told(told))
    }

    fn peer(&self, port: Ref) -> Result<Ref, Refusal> {
        match self.port(port)?.link {
            Link::Connected(peer) => Ok(peer),
            other => Err(unconnected(other)),
        }
    }

    fn send(
        &mut self,
        port: Ref,
        (area, bytes, short): (u64, u64, [u64; 3]),
        seen: &Seen<'_>,
    ) -> Outcome {
        let to = self.peer(port)?;
        let area = (area != 0).then_some((port.0, area));
        let mut pages = 0;
        if let Some(area) = area {
            let Has::Own(id) = self.area(area)?.has else { return Err(WRONG_STATE) };
            pages = self.areas[&id].pages;
        }
        if bytes > pages * PAGE_BYTES {
            return Err(RANGE);
        }
        let receiver = self.port(to).expect("a peer is there");
        if area.is_some_and(|area| self.place(area).class != receiver.class || receiver.slots == 0)
        {
            return Err(RANGE);
        }
        let has_slot = area.is_none() || self.in_window(to.0, to.1) < receiver.slots;
        if !receiver.has_credit() || !has_slot {
            self.port_mut(to).is_starved = true;
            return Err(FULL);
        }
        let first = entry(receiver.delivered);
        let [handle, at] = match area {
            None => [0; 2],
            Some(area) => self.hand_over(area, to, [AREA, ADDRESS].map(|word| first + word), seen),
        };
        let receiver = self.port_mut(to);
        let is_told = receiver.wants_event();
        receiver.delivered = receiver.delivered.wrapping_add(1);
        let words = [
            (SEQUENCE, receiver.delivered),
            (AREA, handle),
            (ADDRESS, at),
            (BYTES, bytes),
            (SHORT, short[0]),
            (SHORT + 1, short[1]),
            (SHORT + 2, short[2]),
            (PAGES, pages),
        ];
        receiver.ring.extend(words.map(|(word, value)| (first + word, value)));
        Ok(Done::told(if is_told { self.tell_about(to) } else { vec![] }))
    }

    /// An area is another's. *Choice*: its handle there, and its address, which stand in these words of the arrivals.
    fn hand_over(&mut self, area: Ref, to: Ref, words: [usize; 2], seen: &Seen<'_>) -> [u64; 2] {
        let Thing::Place(place) = self.remove(area) else { panic!("an area was checked") };
        let arrivals = self.port(to).expect("a peer is there").arrivals;
        let read =
            |word: usize| (seen.load)(to.0, arrivals + 8 * word as u64).expect("it is mapped");
        let [handle, at] = words.map(read);
        self.check_address(to.0, place.class, at);
        let place = Place { at: Some(at), window: Some(to.1), ..place };
        self.add(to.0, handle, Thing::Place(place));
        [handle, at]
    }

    fn notify(&mut self, port: Ref) -> Outcome {
        let peer = self.peer(port)?;
        let was_starved = std::mem::take(&mut self.port_mut(port).is_starved);
        Ok(Done::told(if was_starved { self.tell_about(peer) } else { vec![] }))
    }

    /// A port goes. What lies in its window is its partition's own from then on.
    pub(super) fn close_port(&mut self, port: Ref, seen: Option<&Seen<'_>>) -> Told {
        let (who, handle) = port;
        let peer = self.peer(port).ok();
        self.cut(port);
        let told = peer.map_or_else(Told::new, |peer| self.tell_about(peer));
        let Thing::Port(Port { events, .. }) = self.remove(port) else {
            panic!("a port was checked")
        };
        if let Some(events) = events {
            self.tie((who, events), From::Nobody);
        }
        let mut joined = 0;
        for thing in self.of_mut(who).things.values_mut() {
            if let Thing::Place(place) = thing
                && place.window == Some(handle)
            {
                place.window = None;
                joined += if let Has::Freed { tables, .. } = place.has { tables } else { 0 };
            }
        }
        // Some of it may be in the middle of being freed.
        self.of_mut(who).freeing += joined;
        if let Some(seen) = seen.filter(|_| joined > 0) {
            self.settle_freeing(who, seen);
        }
        told
    }
}
