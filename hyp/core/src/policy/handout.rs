//! The hand-out account: what the policy program has given by limits, against the most that the description allows (P7).
//!
//! A limit is a promise, and is reserved here in full when it is set, whether it is used or not: so what all partitions can
//! take together is never more than what may be handed out. A limit below what is in use takes nothing away, and so
//! gives nothing back either: what was in use stays reserved until the limit is set again, or the place is given back. A partition of the description has its own limits besides, and
//! only what is above them is handed out.

use shikiri_abi::{PartitionSlot, RESOURCE_COUNT, Resource};

/// What a place has been given.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Its limits.
    limits: Limits,
    /// What the description gave it: nothing of that is handed out.
    own: Limits,
    /// What it had in use, or was promised, when its limit was set.
    in_use: Limits,
}

impl Page {
    /// A place that nobody has: nothing is its own, and no limit is set.
    pub const NOTHING: Self = Self {
        limits: [UNSET; RESOURCE_COUNT],
        own: [0; RESOURCE_COUNT],
        in_use: [0; RESOURCE_COUNT],
    };
}

/// A limit for each resource, or `UNSET`.
type Limits = [u64; RESOURCE_COUNT];
const UNSET: u64 = u64::MAX;

/// How a line of the account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The most that may be handed out.
    pub limit: Option<u64>,
    /// What is.
    pub used: u64,
}

/// The account.
#[derive(Debug)]
pub struct HandOut<'a> {
    limits: Limits,
    /// By place.
    pages: &'a mut [Page],
}

/// So much cannot be handed out; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch(
    /// Of what.
    pub Resource,
);

impl<'a> HandOut<'a> {
    /// Nothing is handed out, to as many places as there are pages.
    #[must_use]
    pub fn new(limits: [Option<u64>; RESOURCE_COUNT], pages: &'a mut [Page]) -> Self {
        pages.fill(Page::NOTHING);
        Self { limits: encode(limits), pages }
    }

    /// Notes what the description gives to a partition: its limits, none of which is handed out.
    pub fn describe(&mut self, place: PartitionSlot, own: [Option<u64>; RESOURCE_COUNT]) {
        if let Some(page) = self.pages.get_mut(usize::from(place.0)) {
            *page = Page { limits: encode(own), own: encode(own), in_use: [0; RESOURCE_COUNT] };
        }
    }

    /// A place's limits.
    #[must_use]
    pub fn limits(&self, place: PartitionSlot) -> [Option<u64>; RESOURCE_COUNT] {
        let page = self.pages.get(usize::from(place.0));
        page.map_or([Some(0); RESOURCE_COUNT], |page| page.limits.map(decode))
    }

    /// One of a place's limits.
    #[must_use]
    pub fn limit(&self, place: PartitionSlot, resource: Resource) -> Option<u64> {
        self.pages.get(usize::from(place.0)).map_or(Some(0), |page| at(&page.limits, resource))
    }

    /// How a line stands.
    #[must_use]
    pub fn line(&self, resource: Resource) -> Given {
        let used = self.pages.iter().map(|page| given(page, resource));
        Given { limit: at(&self.limits, resource), used: used.fold(0, u64::saturating_add) }
    }

    /// Sets a limit higher, where what is in use has not changed the reservation.
    ///
    /// # Errors
    /// As [`HandOut::set`].
    pub fn raise(
        &mut self,
        place: PartitionSlot,
        resource: Resource,
        limit: u64,
    ) -> Result<(), TooMuch> {
        let page = self.pages.get(usize::from(place.0)).ok_or(TooMuch(resource))?;
        let in_use = page.in_use.get(usize::from(resource.number())).copied().unwrap_or(0);
        self.set(place, resource, Some(limit), in_use)
    }

    /// Whether a place that uses so much can be charged so much more by the limit that it has: then nobody has to be asked (P4). One
    /// without a limit is not.
    #[must_use]
    pub fn is_within(
        &self,
        place: PartitionSlot,
        resource: Resource,
        (used, more): (u64, u64),
    ) -> bool {
        let need = used.saturating_add(more);
        self.limit(place, resource).is_some_and(|limit| need <= limit)
    }

    /// Makes sure that a place that uses so much can be charged so much more: if its limit does not allow it, or it has none, it has
    /// one now that just does. Answers the limit.
    ///
    /// # Errors
    /// As [`HandOut::set`].
    pub fn cover(
        &mut self,
        place: PartitionSlot,
        resource: Resource,
        (used, more): (u64, u64),
    ) -> Result<u64, TooMuch> {
        let need = used.saturating_add(more).min(UNSET.wrapping_sub(1));
        let before = *self.pages.get(usize::from(place.0)).ok_or(TooMuch(resource))?;
        match at(&before.limits, resource) {
            Some(limit) if limit >= need => return Ok(limit),
            Some(_) => {}
            // What it has without a limit nobody has handed out.
            None => {
                let own = self.pages.get_mut(usize::from(place.0));
                let own = own.and_then(|it| it.own.get_mut(usize::from(resource.number())));
                if let Some(own) = own.filter(|own| **own == UNSET) {
                    *own = used;
                }
            }
        }
        self.set(place, resource, Some(need), used).map(|()| need).inspect_err(|_| {
            if let Some(page) = self.pages.get_mut(usize::from(place.0)) {
                *page = before;
            }
        })
    }

    /// Sets a limit, of a place that has so much in use.
    ///
    /// # Errors
    /// [`TooMuch`]: together with what all others have been given it is more than may be handed out; or it is unset, which would
    /// be without bound where the hand-out has one.
    pub fn set(
        &mut self,
        place: PartitionSlot,
        resource: Resource,
        limit: Option<u64>,
        in_use: u64,
    ) -> Result<(), TooMuch> {
        let most = at(&self.limits, resource);
        let Given { used, .. } = self.line(resource);
        let page = self.pages.get_mut(usize::from(place.0)).ok_or(TooMuch(resource))?;
        let mut next = *page;
        if let Some(line) = next.limits.get_mut(usize::from(resource.number())) {
            *line = limit.unwrap_or(UNSET);
        }
        if let Some(line) = next.in_use.get_mut(usize::from(resource.number())) {
            *line = in_use;
        }
        if let Some(most) = most {
            // Less than before is always possible, also where more is out than may be.
            let (before, after) = (given(page, resource), given(&next, resource));
            let others = used.saturating_sub(before);
            let is_boundless = limit.is_none() && at(&next.own, resource).is_some();
            if is_boundless || (after > before && others.saturating_add(after) > most) {
                return Err(TooMuch(resource));
            }
        }
        *page = next;
        Ok(())
    }

    /// The first resource of which a place could be charged without bound although the hand-out has one: a partition that
    /// is made at run time needs limits for those before it starts.
    #[must_use]
    pub fn boundless(&self, place: PartitionSlot) -> Option<Resource> {
        let page = self.pages.get(usize::from(place.0))?;
        Resource::ALL.into_iter().find(|resource| {
            at(&self.limits, *resource).is_some()
                && at(&page.limits, *resource).is_none()
                && at(&page.own, *resource).is_some()
        })
    }

    /// Takes all limits of a place back: its partition is destroyed.
    pub fn take_back(&mut self, place: PartitionSlot) {
        if let Some(page) = self.pages.get_mut(usize::from(place.0)) {
            *page = Page::NOTHING;
        }
    }
}

fn encode(limits: [Option<u64>; RESOURCE_COUNT]) -> Limits {
    limits.map(|limit| limit.unwrap_or(UNSET))
}

fn decode(limit: u64) -> Option<u64> {
    (limit != UNSET).then_some(limit)
}

fn at(limits: &Limits, resource: Resource) -> Option<u64> {
    limits.get(usize::from(resource.number())).copied().and_then(decode)
}

/// What a place has been given of a resource beyond its own.
fn given(page: &Page, resource: Resource) -> u64 {
    match (at(&page.limits, resource), at(&page.own, resource)) {
        (Some(limit), Some(own)) => {
            let in_use = page.in_use.get(usize::from(resource.number())).copied().unwrap_or(0);
            limit.max(in_use).saturating_sub(own)
        }
        // Without a limit nothing is promised; and whose own is without bound gets nothing by one.
        (None, _) | (Some(_), None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Given, HandOut, Page, TooMuch};
    use shikiri_abi::{PartitionSlot, Resource};

    const A: PartitionSlot = PartitionSlot(0);
    const B: PartitionSlot = PartitionSlot(5);
    const C: PartitionSlot = PartitionSlot(63);

    fn memory(limit: u64) -> HandOut<'static> {
        let mut limits = [None; 8];
        limits[2] = Some(limit);
        HandOut::new(limits, std::boxed::Box::leak(std::boxed::Box::new([Page::NOTHING; 64])))
    }

    #[test]
    fn a_limit_below_what_is_in_use_gives_nothing_back_p7() {
        let mut book = memory(100);
        assert_eq!(book.set(A, Resource::Memory, Some(100), 0), Ok(()));
        assert_eq!(book.set(A, Resource::Memory, Some(0), 60), Ok(()));
        assert_eq!(book.line(Resource::Memory), Given { limit: Some(100), used: 60 });
        assert_eq!(book.set(B, Resource::Memory, Some(41), 0), Err(TooMuch(Resource::Memory)));
        assert_eq!(book.set(B, Resource::Memory, Some(40), 0), Ok(()));
        assert_eq!(book.raise(A, Resource::Memory, 60), Ok(()), "it is reserved already");
        assert_eq!(book.raise(A, Resource::Memory, 61), Err(TooMuch(Resource::Memory)));
        book.take_back(A);
        assert_eq!(book.set(B, Resource::Memory, Some(100), 0), Ok(()));
    }

    #[test]
    fn what_is_promised_to_all_together_is_never_more_than_may_be_handed_out() {
        let mut book = memory(100);
        book.set(B, Resource::Memory, Some(60), 0).unwrap();
        assert_eq!(book.set(C, Resource::Memory, Some(41), 0), Err(TooMuch(Resource::Memory)));
        assert_eq!(book.limit(C, Resource::Memory), None);
        book.set(C, Resource::Memory, Some(40), 0).unwrap();
        assert_eq!(book.line(Resource::Memory), Given { limit: Some(100), used: 100 });
        book.set(B, Resource::Memory, Some(10), 0).unwrap();
        book.set(C, Resource::Memory, Some(90), 0).unwrap();
        book.take_back(C);
        assert_eq!(book.line(Resource::Memory).used, 10);
    }

    #[test]
    fn a_partition_of_the_description_is_given_what_is_above_its_own() {
        let mut book = memory(100);
        let mut own = [None; 8];
        own[2] = Some(1000);
        book.describe(A, own);
        book.set(A, Resource::Memory, Some(1100), 0).unwrap();
        assert_eq!(book.line(Resource::Memory).used, 100);
        assert_eq!(book.set(A, Resource::Memory, Some(1101), 0), Err(TooMuch(Resource::Memory)));
        // Less than its own gives nothing to others.
        book.set(A, Resource::Memory, Some(5), 0).unwrap();
        assert_eq!(book.line(Resource::Memory).used, 0);
        assert_eq!(book.set(A, Resource::Memory, None, 0), Err(TooMuch(Resource::Memory)));
        assert_eq!(book.limit(A, Resource::Memory), Some(5));
    }

    #[test]
    fn where_the_hand_out_has_a_bound_nobody_is_left_without_one_p7() {
        let mut book = memory(100);
        assert_eq!(book.boundless(B), Some(Resource::Memory));
        book.set(B, Resource::Memory, Some(0), 0).unwrap();
        assert_eq!(book.boundless(B), None);
        assert_eq!(book.set(B, Resource::Memory, None, 0), Err(TooMuch(Resource::Memory)));
        // Whose own is without bound by the description stays so.
        book.describe(A, [None; 8]);
        assert_eq!(book.boundless(A), None);
        book.set(A, Resource::Memory, Some(7), 0).unwrap();
        book.set(A, Resource::Memory, None, 0).unwrap();
    }

    #[test]
    fn what_a_limit_lacks_is_handed_out_and_no_more_p8() {
        let mut book = memory(100);
        let memory = Resource::Memory;
        let given = |book: &HandOut<'_>| book.line(memory).used;
        // Enough by its own limit: nothing is handed out.
        let mut own = [None; 8];
        own[2] = Some(1000);
        book.describe(A, own);
        assert_eq!(book.cover(A, memory, (900, 100)), Ok(1000));
        assert_eq!((book.limit(A, memory), given(&book)), (Some(1000), 0));
        assert_eq!(book.cover(A, memory, (990, 30)), Ok(1020));
        assert_eq!((book.limit(A, memory), given(&book)), (Some(1020), 20));
        // Without a limit: what it has is its own, and it has a limit from here on.
        book.describe(B, [None; 8]);
        assert_eq!(book.cover(B, memory, (500, 81)), Err(TooMuch(memory)));
        assert_eq!((book.limit(B, memory), given(&book)), (None, 20));
        assert_eq!(book.cover(B, memory, (500, 80)), Ok(580));
        assert_eq!((book.limit(B, memory), given(&book)), (Some(580), 100));
        assert_eq!(book.cover(B, memory, (560, 20)), Ok(580), "P4");
        assert_eq!(book.cover(B, memory, (560, 21)), Err(TooMuch(memory)));
        // One that was lowered below what it uses: that is reserved already.
        book.set(B, memory, Some(0), 560).unwrap();
        assert_eq!(given(&book), 80);
        assert_eq!(book.cover(B, memory, (560, 20)), Ok(580));
        // Of what was made nothing is its own.
        assert_eq!(book.cover(C, memory, (0, 1)), Err(TooMuch(memory)));
        book.set(B, memory, Some(0), 0).unwrap();
        assert_eq!(book.cover(C, memory, (0, 1)), Ok(1));
        assert_eq!(given(&book), 21);
    }

    #[test]
    fn what_a_limit_allows_once_it_does_not_allow_twice_p4() {
        let mut book = memory(100);
        let memory = Resource::Memory;
        let mut own = [None; 8];
        own[2] = Some(1000);
        book.describe(A, own);
        // Two ask at once, and nobody else is asked for either: only the first is charged.
        assert!(book.is_within(A, memory, (900, 100)));
        assert!(!book.is_within(A, memory, (1000, 100)));
        assert!(!book.is_within(A, memory, (900, 101)));
        assert!(!book.is_within(A, memory, (900, u64::MAX)));
        book.set(A, memory, Some(950), 900).unwrap();
        assert!(!book.is_within(A, memory, (900, 51)), "it was lowered meanwhile");
        assert!(!book.is_within(B, memory, (0, 1)), "no limit says nothing");
        assert!(!book.is_within(PartitionSlot(64), memory, (0, 1)), "nobody");
    }

    #[test]
    fn a_resource_without_a_bound_is_handed_out_freely() {
        let mut book = memory(100);
        book.set(B, Resource::EventPorts, Some(u64::MAX - 1), 0).unwrap();
        book.set(C, Resource::EventPorts, Some(u64::MAX - 1), 0).unwrap();
        assert_eq!(book.line(Resource::EventPorts), Given { limit: None, used: u64::MAX });
        book.set(B, Resource::EventPorts, None, 0).unwrap();
        assert_eq!(book.boundless(C), Some(Resource::Memory));
    }
}
