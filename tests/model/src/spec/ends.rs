//! Ends: a partition goes piece by piece, and between two pieces the others go on. Whoever had to do with a piece finds it gone and is
//! told; what is left of it is nothing, and nothing is charged then.
//!
//! Areas go back last: whoever can be told has been told by then.
//!
//! *Choice*: the order. It is written down here as the hypervisor has it, so that each step can be compared: message ports; what is shared;
//! named objects; the other handles; requests that wait for the partition; areas.

use shikiri_abi::Resource;

use super::handles::{Has, Link, Place, Thing, index};
use super::signals::Asks;
use super::{Ref, Seen, Spec, Told};

/// How far an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Message ports, shared areas and named objects.
    Shared,
    /// The other handles, from this index on, and then the requests.
    Handles(u64),
    /// Areas: nobody else has anything to do with the partition.
    Areas,
}

/// Handles that one step goes over at most, and requests.
const HANDLES: u64 = 64;
const REQUESTS: usize = 16;

impl Spec {
    /// A partition begins to end: its guest makes no more calls and takes no more interrupts.
    pub fn begin_end(&mut self, who: usize) {
        self.of_mut(who).ending = Some(Stage::Shared);
    }

    /// Whether requests for this partition are refused, because its own handles go.
    pub(super) fn closes_handles(&self, who: usize) -> bool {
        matches!(self.of(who).ending, Some(Stage::Handles(_) | Stage::Areas))
    }

    /// One step of an end: whether it was the last one, and who is told. The partition is gone then.
    ///
    /// # Panics
    /// The hypervisor has chosen what it may not.
    pub fn end_step(&mut self, who: usize, seen: &Seen<'_>) -> (bool, Told) {
        let told = match self.of(who).ending.expect("it ends") {
            Stage::Shared => self.end_shared(who, seen),
            Stage::Handles(from) => self.end_handles(who, from),
            Stage::Areas if self.end_areas(who, seen) => vec![],
            Stage::Areas => {
                self.bury(who);
                return (true, vec![]);
            }
        };
        (false, told)
    }

    fn bury(&mut self, who: usize) {
        let own = self.partitions[who].take().expect("it lives");
        assert!(
            own.things.is_empty() && own.asked.is_empty() && own.freeing == 0,
            "{own:?} is left"
        );
    }

    /// The port of the lowest row goes, the share of the lowest row, or the object. If there was none, its handles are next.
    fn end_shared(&mut self, who: usize, seen: &Seen<'_>) -> Told {
        let port = self.ports_of(who).min_by_key(|(_, port)| port.row);
        if let Some((handle, _)) = port {
            return self.close_port((who, handle), Some(seen));
        }
        if let Some(handle) = self.next_share(who, |place| !place.is_copy()) {
            return self.leave((who, handle), seen).1;
        }
        match self.rows_of(who).pop_first() {
            Some(row) => self.leave_object(who, row),
            None => self.of_mut(who).ending = Some(Stage::Handles(0)),
        }
        vec![]
    }

    /// The share of the lowest row of those that are asked for.
    fn next_share(&self, who: usize, is_it: impl Fn(&Place) -> bool) -> Option<u64> {
        let shared = self.places_of(who).filter(|(_, place)| place.row.is_some() && is_it(place));
        shared.min_by_key(|(_, place)| place.row).map(|(handle, _)| handle)
    }

    /// Gives back the second tables of what was shared, then areas; false if there was none.
    fn end_areas(&mut self, who: usize, seen: &Seen<'_>) -> bool {
        if let Some(handle) = self.next_share(who, |_| true) {
            self.leave((who, handle), seen);
            return true;
        }
        let Some(slot) = seen.slot else {
            assert_eq!(self.places_of(who).count(), 0, "areas of {who} are left");
            // Last it sees its ports' events no more.
            return self.of_mut(who).shown.take().is_some();
        };
        self.end_area(who, slot, seen);
        true
    }

    /// Any area is next; it is unmapped first. *Choice*: which, and how much of it is freed by a step.
    fn end_area(&mut self, who: usize, slot: u64, seen: &Seen<'_>) {
        let is_it = |at: Option<u64>| at.is_none_or(|at| at == slot);
        let mut all: Vec<_> = self.places_of(who).filter(|(_, place)| is_it(place.at)).collect();
        // One whose address the guest was not told of is it if no other is.
        all.sort_by_key(|(_, place)| place.at.is_none());
        let (handle, place) = all.first().expect("an area of this slot");
        let area: Ref = (who, *handle);
        match place.has {
            Has::Freed { pages, .. } => {
                let memory = Resource::Memory;
                let left = seen.used[usize::from(memory.number())];
                if left + pages == self.used(who, memory) {
                    self.remove(area);
                }
            }
            _ => self.unmap(area),
        }
        self.settle_freeing(who, seen);
    }

    /// Goes over the handles from `from` on, up to the first whose other end is another partition's. Areas keep theirs.
    fn end_handles(&mut self, who: usize, from: u64) -> Told {
        let is_area = |thing: &Thing| matches!(thing, Thing::Place(_));
        let things = self.of(who).things.iter().filter(|(_, thing)| !is_area(thing));
        let mut left: Vec<u64> = things.map(|(handle, _)| *handle).collect();
        left.retain(|handle| (from..from + HANDLES).contains(&index(*handle)));
        left.sort_unstable_by_key(|handle| index(*handle));
        for handle in left {
            self.of_mut(who).ending = Some(Stage::Handles(index(handle)));
            let meets = self.meets((who, handle));
            let told = self.close_thing((who, handle), Link::Gone);
            if meets {
                return told;
            }
        }
        let behind = self.sizes.handles as u64;
        self.of_mut(who).ending = Some(Stage::Handles(behind.min(from + HANDLES)));
        if behind > from + HANDLES { vec![] } else { self.end_requests(who) }
    }

    /// Whether another partition has the other end.
    fn meets(&self, thing: Ref) -> bool {
        let other = match self.thing(thing) {
            Some(Thing::Receive(receive)) => match receive.from {
                super::events::From::Port((other, _)) => Some(other),
                _ => None,
            },
            Some(Thing::Request(_, from)) => from.map(|(other, _)| other),
            _ => match self.link(thing) {
                Some(
                    Link::Queued(other) | Link::Taken((other, _)) | Link::Connected((other, _)),
                ) => Some(other),
                _ => None,
            },
        };
        other.is_some_and(|other| other != thing.0)
    }

    /// Requests that wait are withdrawn, of one sender by a step: many of event ports, which have one place to be told at, or one other.
    /// When none is left, the areas are next.
    fn end_requests(&mut self, who: usize) -> Told {
        let Some(from) = self.next_sender(who) else {
            self.of_mut(who).ending = Some(Stage::Areas);
            return vec![];
        };
        let mut last = None;
        for _ in 0..REQUESTS {
            let next = self
                .of(from)
                .asked
                .iter()
                .find(|asked| asked.to == who)
                .map(|asked| (from, asked.port));
            let Some(port) = next else { break };
            let tells_itself = self.asks(port) != Some(Asks::Event);
            if tells_itself && last.is_some() {
                break;
            }
            self.oldest(from, who);
            self.set_link(port, Link::Gone);
            last = Some(port);
            if tells_itself {
                break;
            }
        }
        last.map_or_else(Told::new, |port| self.tell_about(port))
    }
}
