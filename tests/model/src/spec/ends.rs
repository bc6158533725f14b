//! Ends: a partition goes piece by piece, and between two pieces the others go on. Whoever had to do with a piece finds it gone and is
//! told; what is left of it is nothing, and nothing is charged then.
//!
//! *Choice*: the order. It is written down here as the hypervisor has it, so that each step can be compared: message ports; what is shared;
//! areas; named objects; the other handles; requests that wait for the partition.

use shikiri_abi::Resource;

use super::handles::{Has, Link, Thing, index};
use super::signals::Asks;
use super::{Ref, Seen, Spec, Told};

/// How far an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Message ports, shared areas and areas.
    Areas,
    /// Named objects.
    Objects,
    /// The other handles, up to this index, and then the requests. `None`: it has not begun with them.
    Handles(Option<u64>),
}

/// Handles that one step goes over at most, and requests.
const HANDLES: u64 = 64;
const REQUESTS: usize = 16;

impl Spec {
    /// A partition begins to end: its guest makes no more calls and takes no more interrupts.
    pub fn begin_end(&mut self, who: usize) {
        self.of_mut(who).ending = Some(Stage::Areas);
    }

    /// Whether requests for this partition are refused, because its own handles go.
    pub(super) fn closes_handles(&self, who: usize) -> bool {
        matches!(self.of(who).ending, Some(Stage::Handles(Some(_))))
    }

    /// One step of an end: whether its stage is over, and who is told. The partition is gone when the last one is.
    ///
    /// # Panics
    /// The hypervisor has chosen what it may not.
    pub fn end_step(&mut self, who: usize, seen: &Seen<'_>) -> (bool, Told) {
        let stage = self.of(who).ending.expect("it ends");
        let (is_over, told) = match stage {
            Stage::Areas => self.end_areas(who, seen),
            Stage::Objects => self.end_objects(who),
            Stage::Handles(from) => self.end_handles(who, from.unwrap_or(0)),
        };
        if is_over {
            self.of_mut(who).ending = match stage {
                Stage::Areas => Some(Stage::Objects),
                Stage::Objects => Some(Stage::Handles(None)),
                Stage::Handles(_) => {
                    self.bury(who);
                    return (true, told);
                }
            };
        }
        (is_over, told)
    }

    fn bury(&mut self, who: usize) {
        let own = self.partitions[who].take().expect("it lives");
        assert!(
            own.things.is_empty() && own.asked.is_empty() && own.freeing == 0,
            "{own:?} is left"
        );
    }

    fn end_areas(&mut self, who: usize, seen: &Seen<'_>) -> (bool, Told) {
        let port = self.ports_of(who).min_by_key(|(_, port)| port.row);
        if let Some((handle, _)) = port {
            return (false, self.close_port((who, handle), Some(seen)));
        }
        let shared = self.places_of(who).filter(|(_, place)| place.row.is_some());
        if let Some((handle, _)) = shared.min_by_key(|(_, place)| place.row) {
            let (_, told) = self.leave((who, handle), seen);
            return (false, told);
        }
        let Some(slot) = seen.slot else {
            assert_eq!(self.places_of(who).count(), 0, "areas of {who} are left");
            // Last it sees its ports' events no more.
            return (self.of_mut(who).shown.take().is_none(), vec![]);
        };
        self.end_area(who, slot, seen);
        (false, vec![])
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

    /// The object of the lowest row is left; over when there was none.
    fn end_objects(&mut self, who: usize) -> (bool, Told) {
        let row = self.rows_of(who).pop_first();
        if let Some(row) = row {
            self.leave_object(who, row);
        }
        (row.is_none(), vec![])
    }

    /// Goes over the handles from `from` on, up to the first whose other end is another partition's.
    fn end_handles(&mut self, who: usize, from: u64) -> (bool, Told) {
        let mut left: Vec<u64> = self.of(who).things.keys().copied().collect();
        left.retain(|handle| index(*handle) >= from);
        left.sort_unstable_by_key(|handle| index(*handle));
        for handle in left {
            if index(handle) >= from + HANDLES {
                self.of_mut(who).ending = Some(Stage::Handles(Some(from + HANDLES)));
                return (false, vec![]);
            }
            self.of_mut(who).ending = Some(Stage::Handles(Some(index(handle))));
            let meets = self.meets((who, handle));
            let told = self.close_thing((who, handle), Link::Gone);
            if meets {
                return (false, told);
            }
        }
        let behind = self.sizes.handles as u64;
        self.of_mut(who).ending = Some(Stage::Handles(Some(behind)));
        self.end_requests(who)
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
    fn end_requests(&mut self, who: usize) -> (bool, Told) {
        let Some(from) = self.next_sender(who) else { return (true, vec![]) };
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
        (false, last.map_or_else(Told::new, |port| self.tell_about(port)))
    }
}
