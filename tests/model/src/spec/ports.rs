//! What PORT_READ shows of a table of handles: each entry with how it stands, and who has the other end.
//!
//! It is a call of the policy program's. Here it is what makes all of a partition's connections, queues and pending events visible.

use shikiri_abi::{Ipa, Sharing, WindowSlot};

use super::channels::Port;
use super::events::{From, Receive};
use super::handles::{Has, Link, Place, Thing, index};
use super::signals::Asks;
use super::{Ref, Spec};

/// Nobody has the other end.
const NOBODY: u64 = u64::MAX;
/// The states of what can be connected.
const CONNECTED: u64 = 4;

impl Spec {
    /// The entries of a partition's table, by their index: that with kind and state, the other end, and what else there is to be said. An
    /// area of which nobody was told where it is has no last word.
    #[must_use]
    pub fn ports(&self, who: usize) -> Vec<(u64, u64, Option<u64>)> {
        let things = self.of(who).things.iter();
        let mut all: Vec<_> = things.map(|(handle, thing)| shown(index(*handle), thing)).collect();
        all.sort_unstable_by_key(|(what, ..)| what & 0xffff);
        all
    }
}

fn shown(index: u64, thing: &Thing) -> (u64, u64, Option<u64>) {
    let (kind, state, peer, detail) = match thing {
        Thing::Send(link) => link_of(1, *link),
        Thing::Receive(receive) => (2, flags(receive), NOBODY, Some(bound(receive))),
        Thing::Request(asks, from) => {
            let kind = match asks {
                Asks::Event => 3,
                Asks::Channel => 5,
                Asks::Area => 10,
            };
            (kind, if from.is_some() { 2 } else { 6 }, from.map_or(NOBODY, end), Some(0))
        }
        Thing::Port(Port { link, .. }) => link_of(4, *link),
        Thing::Place(Place { has: Has::Nothing(link), .. }) => link_of(9, *link),
        Thing::Place(place) if place.is_attachment() => (9, CONNECTED, NOBODY, slot(place)),
        Thing::Place(place) => (6, 0, NOBODY, slot(place)),
        Thing::Object(row) => (8, 0, NOBODY, Some(*row as u64)),
    };
    (index | kind << 16 | state << 24, peer, detail)
}

fn link_of(kind: u64, link: Link) -> (u64, u64, u64, Option<u64>) {
    let (state, peer) = match link {
        Link::Idle => (1, NOBODY),
        Link::Queued(to) => (2, to as u64),
        Link::Taken((by, _)) => (3, by as u64),
        Link::Connected(to) => (CONNECTED, end(to)),
        Link::Refused => (5, NOBODY),
        Link::Gone => (6, NOBODY),
    };
    (kind, state, peer, Some(0))
}

fn end((who, handle): Ref) -> u64 {
    who as u64 | index(handle) << 8
}

fn slot(place: &Place) -> Option<u64> {
    let slot = WindowSlot::at(Ipa(place.at?))?;
    Some(u64::from(slot.class.code()) | u64::from(slot.index) << 8)
}

fn flags(receive: &Receive) -> u64 {
    let Receive { from, is_masked, bound, is_pending, .. } = *receive;
    let is_grouped = matches!(bound, Some((_, _, Sharing::Grouped)));
    let all = [from != From::Nobody, is_masked, is_pending, bound.is_some(), is_grouped];
    all.into_iter().zip([1, 2, 4, 8, 16]).map(|(is_set, bit)| if is_set { bit } else { 0 }).sum()
}

fn bound(receive: &Receive) -> u64 {
    receive.bound.map_or(0, |(intid, vcpu, _)| u64::from(intid) | u64::from(vcpu) << 16)
}
