//! What a test asks of the specification to choose what happens next. Nothing here says what a call does.

use std::collections::BTreeSet;

use shikiri_abi::{PAGE_BYTES, Rights};

use super::Spec;
use super::channels::Port;
use super::events::{From, Receive};
use super::handles::{Has, Kind, Link, Thing};

impl Spec {
    /// All that a partition has.
    #[must_use]
    pub fn handles(&self, who: usize) -> Vec<(u64, Kind)> {
        self.of(who).things.iter().map(|(handle, thing)| (*handle, thing.kind())).collect()
    }

    /// The kinds of which a partition has something: of what can be connected, something that is.
    #[must_use]
    pub fn in_use(&self, who: usize) -> BTreeSet<Kind> {
        let is_in_use = |thing: &&Thing| match thing {
            Thing::Send(link) | Thing::Port(Port { link, .. }) => {
                matches!(link, Link::Connected(_))
            }
            Thing::Place(place) => {
                !place.is_attachment() || matches!(place.has, Has::Attached { .. })
            }
            Thing::Object(_) => true,
            Thing::Receive(_) | Thing::Request(..) => false,
        };
        self.of(who).things.values().filter(is_in_use).map(Thing::kind).collect()
    }

    /// Whether a port is bound to an interrupt.
    #[must_use]
    pub fn is_bound(&self, who: usize, intid: u16) -> bool {
        self.users_of(who, intid).next().is_some()
    }

    /// The receive ports that are bound to an interrupt, to which nothing sends, and where something can be told.
    #[must_use]
    pub fn idle_ports(&self, who: usize) -> Vec<u64> {
        let is_idle = |thing: &Thing| {
            matches!(thing, Thing::Receive(Receive { from: From::Nobody, bound: Some(_), .. }))
        };
        let is_free = |handle: u64, thing: &Thing| {
            is_idle(thing) && self.has_right((who, handle), Rights::CHANGE)
        };
        let things = self.of(who).things.iter().filter(|(handle, thing)| is_free(**handle, thing));
        things.map(|(handle, _)| *handle).collect()
    }

    /// The message ports of a partition: where their arrivals are, and how many messages have come.
    #[must_use]
    pub fn arrivals(&self, who: usize) -> Vec<(u64, u64)> {
        self.ports_of(who).map(|(_, port)| (port.arrivals, port.delivered)).collect()
    }

    /// The same, of where their credits are.
    #[must_use]
    pub fn credits(&self, who: usize) -> Vec<(u64, u64)> {
        self.ports_of(who).map(|(_, port)| (port.credits, port.delivered)).collect()
    }

    /// All addresses at which a partition has something: where it begins, and its last word.
    #[must_use]
    pub fn addresses(&self, who: usize) -> Vec<u64> {
        let places = self.places_of(who).filter_map(|(_, place)| {
            let pages = self.areas[&place.has.area()?].pages;
            Some([place.at?, place.at? + pages * PAGE_BYTES - 8])
        });
        let ports = self.ports_of(who).map(|(_, port)| [port.arrivals, port.credits]);
        places.chain(ports).flatten().collect()
    }
}
