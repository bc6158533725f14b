//! The one table of handles of each partition.
//!
//! A handle is a number for one thing of one partition: nobody else can use it, it never means anything else, and when the thing goes
//! it means nothing ever again. Each thing takes an entry; so does each slot of a window in which no area lies.

use std::collections::BTreeSet;

use shikiri_abi::{AreaClass, Resource};

use super::areas::AreaId;
use super::channels::Port;
use super::events::Receive;
use super::signals::Asks;
use super::{BAD_HANDLE, NOT_OWNER, Ref, Refusal, Spec, WRONG_STATE, over};

/// What a handle stands for.
#[derive(Clone, Debug)]
pub(super) enum Thing {
    /// A send port.
    Send(Link),
    /// A receive port.
    Receive(Receive),
    /// A request that was taken; who asked, unless that has gone.
    Request(Asks, Option<Ref>),
    /// A message port.
    Port(Port),
    /// An area, or an attachment.
    Place(Place),
    /// A named object that is open: its row.
    Object(usize),
}

/// What handles stand for, as far as guests tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A send port.
    Send,
    /// A receive port.
    Receive,
    /// An area.
    Area,
    /// A message port.
    Port,
    /// An attachment.
    Attachment,
    /// A named object.
    Object,
    /// A request to connect an event port.
    EventRequest,
    /// A request to connect a message port.
    ChannelRequest,
    /// A request for a shared area.
    AttachRequest,
}

/// How it stands with what one asks to have connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Idle,
    /// The request waits for this partition.
    Queued(usize),
    /// The request was taken: there.
    Taken(Ref),
    /// With a receive port, or a message port.
    Connected(Ref),
    Refused,
    /// The other end is gone.
    Gone,
}

/// A slot of the window region with an area in it, or with room for another's.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) class: AreaClass,
    /// The address, as soon as the guest was told of it.
    pub(super) at: Option<u64>,
    /// The message port in whose window it lies; `None`: it is the partition's own.
    pub(super) window: Option<u64>,
    /// The pages that an attachment was paid for; 0: it is an area.
    pub(super) paid: u64,
    /// The receive port that is told what becomes of a shared area.
    pub(super) events: Option<u64>,
    /// Its place among what is shared: ends come to these in order.
    pub(super) row: Option<usize>,
    pub(super) has: Has,
}

/// What lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// An area that is being made: `wanted` pages, `tables` so far.
    Making { wanted: u64, tables: u64 },
    /// An area that nobody else reaches.
    Own(AreaId),
    /// The same, while it is prepared for others or taken back from them.
    Copying(AreaId),
    /// One that others can attach, and who of them was told that it is being left.
    Offered(AreaId, BTreeSet<usize>),
    /// Another's, or what that has left.
    Attached { area: AreaId, may_write: bool, is_left: bool },
    /// No area; how it stands with the request for one.
    Nothing(Link),
    /// What was the last user's: nobody reaches it, and it will be freed.
    Leaving(AreaId),
    /// Nobody reaches it, and it is being freed: its pages, and at most so many tables.
    Freed { pages: u64, tables: u64 },
}

impl Thing {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Send(_) => Kind::Send,
            Self::Receive(_) => Kind::Receive,
            Self::Port(_) => Kind::Port,
            Self::Place(Place { paid: 0, .. }) => Kind::Area,
            Self::Place(_) => Kind::Attachment,
            Self::Object(_) => Kind::Object,
            Self::Request(Asks::Event, _) => Kind::EventRequest,
            Self::Request(Asks::Channel, _) => Kind::ChannelRequest,
            Self::Request(Asks::Area, _) => Kind::AttachRequest,
        }
    }
}

impl Has {
    pub(super) const fn area(&self) -> Option<AreaId> {
        match self {
            Self::Own(area)
            | Self::Copying(area)
            | Self::Offered(area, _)
            | Self::Attached { area, .. }
            | Self::Leaving(area) => Some(*area),
            Self::Making { .. } | Self::Nothing(_) | Self::Freed { .. } => None,
        }
    }
}

impl Place {
    pub(super) const fn is_attachment(&self) -> bool {
        self.paid > 0
    }

    /// Whether of what was shared only its second tables are left.
    pub(super) const fn is_copy(&self) -> bool {
        matches!(self.has, Has::Copying(_) | Has::Leaving(_))
    }
}

/// Where a handle stands in its table.
pub(super) const fn index(handle: u64) -> u64 {
    handle & 0xffff
}

impl Spec {
    /// Whether so many more entries are there.
    pub(super) fn check_room(&self, who: usize, count: u64) -> Result<(), Refusal> {
        let vacant =
            self.ports_of(who).map(|(handle, port)| port.slots - self.in_window(who, handle));
        let used = self.of(who).things.len() as u64 + vacant.sum::<u64>();
        let has_room = used + count <= self.sizes.handles as u64;
        if has_room { Ok(()) } else { Err(over(Resource::ManagementMemory)) }
    }

    /// Adds a thing. *Choice*: any handle that this partition was never given, at an index that nothing else has.
    pub(super) fn add(&mut self, who: usize, handle: u64, thing: Thing) {
        let own = self.of_mut(who);
        assert!(handle != 0 && own.given.insert(handle), "{who} was given {handle:#x} before");
        let is_free = own.things.keys().all(|other| index(*other) != index(handle));
        assert!(is_free, "{handle:#x} of {who} stands where another does");
        own.things.insert(handle, thing);
    }

    pub(super) fn remove(&mut self, (who, handle): Ref) -> Thing {
        self.of_mut(who).things.remove(&handle).expect("the thing is there")
    }

    pub(super) fn thing(&self, (who, handle): Ref) -> Option<&Thing> {
        self.partitions.get(who)?.as_ref()?.things.get(&handle)
    }

    pub(super) fn thing_mut(&mut self, (who, handle): Ref) -> Option<&mut Thing> {
        self.partitions.get_mut(who)?.as_mut()?.things.get_mut(&handle)
    }

    pub(super) fn receive(&self, port: Ref) -> Result<&Receive, Refusal> {
        if let Some(Thing::Receive(receive)) = self.thing(port) {
            Ok(receive)
        } else {
            Err(BAD_HANDLE)
        }
    }

    pub(super) fn receive_mut(&mut self, port: Ref) -> Result<&mut Receive, Refusal> {
        match self.thing_mut(port) {
            Some(Thing::Receive(receive)) => Ok(receive),
            _ => Err(BAD_HANDLE),
        }
    }

    /// Who has asked for this, by a request that was taken.
    pub(super) fn request(&self, request: Ref, wanted: Asks) -> Result<Option<Ref>, Refusal> {
        match self.thing(request) {
            Some(Thing::Request(asks, from)) if *asks == wanted => Ok(*from),
            _ => Err(BAD_HANDLE),
        }
    }

    pub(super) fn port(&self, port: Ref) -> Result<&Port, Refusal> {
        if let Some(Thing::Port(port)) = self.thing(port) { Ok(port) } else { Err(BAD_HANDLE) }
    }

    /// A message port that is known to be there.
    pub(super) fn port_mut(&mut self, port: Ref) -> &mut Port {
        match self.thing_mut(port) {
            Some(Thing::Port(port)) => port,
            other => panic!("{other:?} is no message port"),
        }
    }

    /// An area, in whatever state: an attachment is none.
    pub(super) fn area(&self, area: Ref) -> Result<&Place, Refusal> {
        match self.thing(area) {
            Some(Thing::Place(place)) if !place.is_attachment() => Ok(place),
            _ => Err(NOT_OWNER),
        }
    }

    /// An area or attachment that is known to be there.
    pub(super) fn place(&self, place: Ref) -> &Place {
        match self.thing(place) {
            Some(Thing::Place(place)) => place,
            other => panic!("{other:?} is no place"),
        }
    }

    pub(super) fn place_mut(&mut self, place: Ref) -> &mut Place {
        match self.thing_mut(place) {
            Some(Thing::Place(place)) => place,
            other => panic!("{other:?} is no place"),
        }
    }

    pub(super) fn places_of(&self, who: usize) -> impl Iterator<Item = (u64, &Place)> {
        self.of(who).things.iter().filter_map(|(handle, thing)| match thing {
            Thing::Place(place) => Some((*handle, place)),
            _ => None,
        })
    }

    pub(super) fn ports_of(&self, who: usize) -> impl Iterator<Item = (u64, &Port)> {
        self.of(who).things.iter().filter_map(|(handle, thing)| match thing {
            Thing::Port(port) => Some((*handle, port)),
            _ => None,
        })
    }

    /// All areas and attachments of everybody.
    pub(super) fn places(&self) -> impl Iterator<Item = (Ref, &Place)> {
        let living = (0..self.partitions.len()).filter(|who| self.lives(*who));
        living
            .flat_map(|who| self.places_of(who).map(move |(handle, place)| ((who, handle), place)))
    }

    /// How it stands with what can be connected.
    pub(super) fn link(&self, asker: Ref) -> Option<Link> {
        match self.thing(asker)? {
            Thing::Send(link)
            | Thing::Port(Port { link, .. })
            | Thing::Place(Place { has: Has::Nothing(link), .. }) => Some(*link),
            _ => None,
        }
    }

    pub(super) fn set_link(&mut self, asker: Ref, new: Link) {
        match self.thing_mut(asker) {
            Some(Thing::Send(link) | Thing::Port(Port { link, .. })) => *link = new,
            Some(Thing::Place(place)) => place.has = Has::Nothing(new),
            other => panic!("{other:?} asks for nothing"),
        }
    }

    /// Neither is it connected, nor does a request for that wait for an answer.
    pub(super) fn check_idle(&self, asker: Ref) -> Result<(), Refusal> {
        match self.link(asker) {
            Some(Link::Idle | Link::Refused | Link::Gone) => Ok(()),
            Some(Link::Queued(_) | Link::Taken(_) | Link::Connected(_)) | None => Err(WRONG_STATE),
        }
    }
}
