//! Requests for more: held by the hypervisor until the policy program has answered, or its time is over (P8).
//!
//! A partition has one request at a time, so that there is always room, and whoever asks most often waits behind everybody who
//! asked before: the oldest is taken first.
//!
//! ```text
//!   (none) ──ask──▶ waiting ──take──▶ taken ──answer, or time is over──▶ answered ──read──▶ (none)
//!                      └────────cancel, end of the asker────────▶ (none)
//! ```
//!
//! What was taken by a life of the policy program that has ended is taken again by the next.

use shikiri_abi::{IntId, Ipa, PartitionId, PartitionSlot, Wish};

use crate::handle::Handle;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// So much was granted, perhaps not what was asked for.
    Granted(u64),
    /// The device was granted, which is there.
    Placed(DevicePlace),
    /// It was refused.
    Refused,
}

/// Where a device is: bits 0 to 15 its first interrupt, or 0; bits 16 to 63 where its registers begin. One word, as each request has
/// room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevicePlace(u64);

impl DevicePlace {
    /// Of registers that begin there, within the guest's 40 bits, and its first interrupt, if it has any.
    #[must_use]
    pub fn new(Ipa(at): Ipa, intid: Option<IntId>) -> Self {
        let intid = intid.map_or(0, |IntId(intid)| u64::from(intid));
        Self(at << 16 | intid)
    }
}

impl Decision {
    /// The results of a call that tells it; `None`: it was refused.
    #[must_use]
    pub fn results(self) -> Option<[u64; 3]> {
        match self {
            Self::Granted(amount) => Some([amount, 0, 0]),
            Self::Placed(DevicePlace(place)) => Some([place >> 16, place & 0xffff, 0]),
            Self::Refused => None,
        }
    }
}

/// A request, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The asker's place.
    pub place: PartitionSlot,
    /// The asker.
    pub id: PartitionId,
    /// What it wants.
    pub wish: Wish,
    /// Which of those that were ever made at its place a peer is: an answer is for no other.
    pub peer: u32,
    /// Where it is told of the answer.
    pub port: Option<Handle>,
    /// When the time for an answer is over, in ticks.
    pub until: u64,
}

/// How it stands with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// By this life of the policy program.
    Taken(PartitionId),
    Answered(Decision),
}

/// A request with its number and its stage; a place has one or none.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    number: u64,
    request: Request,
    stage: Stage,
}

/// All requests.
#[derive(Debug)]
pub struct Requests<'a> {
    /// By place.
    rows: &'a mut [Option<Held>],
    next: u64,
}

/// What a guest's question or wish to cancel met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not asked.
    Nothing,
    /// There is no answer yet.
    Open,
    /// This is the answer.
    Answered(Decision),
}

impl<'a> Requests<'a> {
    /// None, of as many places as there are rows.
    #[must_use]
    pub fn new(rows: &'a mut [Option<Held>]) -> Self {
        rows.fill(None);
        Self { rows, next: 0 }
    }

    /// Notes a request. False, and nothing has changed, if the asker has one that it has not read the answer of.
    pub fn ask(&mut self, request: Request) -> bool {
        let number = self.next;
        let Some(row) = self.rows.get_mut(usize::from(request.place.0)) else { return false };
        if row.is_some_and(|held| held.request.id == request.id) {
            return false;
        }
        *row = Some(Held { number, request, stage: Stage::Waiting });
        self.next = number.saturating_add(1);
        true
    }

    /// How it stands with a partition's request; an answer is told once.
    pub fn read(&mut self, place: PartitionSlot, id: PartitionId) -> Standing {
        let Some(row) = self.row_of(place, id) else { return Standing::Nothing };
        match row.map(|held| held.stage) {
            Some(Stage::Answered(decision)) => {
                *row = None;
                Standing::Answered(decision)
            }
            Some(Stage::Waiting | Stage::Taken(_)) => Standing::Open,
            None => Standing::Nothing,
        }
    }

    /// Takes a request back, if there is no answer yet; tells what it met.
    pub fn cancel(&mut self, place: PartitionSlot, id: PartitionId) -> Standing {
        let Some(row) = self.row_of(place, id) else { return Standing::Nothing };
        match row.map(|held| held.stage) {
            Some(Stage::Answered(decision)) => Standing::Answered(decision),
            Some(Stage::Waiting | Stage::Taken(_)) => {
                *row = None;
                Standing::Open
            }
            None => Standing::Nothing,
        }
    }

    /// Takes the oldest request that this life of the policy program has not seen; with the number that tells it from all others.
    pub fn take(&mut self, by: PartitionId) -> Option<(u64, Request)> {
        let is_new = |held: &Held| match held.stage {
            Stage::Waiting => true,
            Stage::Taken(other) => other != by,
            Stage::Answered(_) => false,
        };
        let unseen = self.rows.iter_mut().flatten().filter(|held| is_new(held));
        let oldest = unseen.min_by_key(|held| held.number)?;
        oldest.stage = Stage::Taken(by);
        Some((oldest.number, oldest.request))
    }

    /// Whether [`Requests::take`] would find one.
    #[must_use]
    pub fn is_quiet(&self, by: PartitionId) -> bool {
        !self.rows.iter().flatten().any(|held| match held.stage {
            Stage::Waiting => true,
            Stage::Taken(other) => other != by,
            Stage::Answered(_) => false,
        })
    }

    /// The request with this number that the policy program has taken of a partition; none if it was cancelled, is answered, or was
    /// never taken. One that the partition has made since has another number.
    #[must_use]
    pub fn taken(&self, place: PartitionSlot, id: PartitionId, number: u64) -> Option<Request> {
        let held = self.rows.get(usize::from(place.0))?.as_ref()?;
        let is_taken = held.request.id == id && matches!(held.stage, Stage::Taken(_));
        (is_taken && held.number == number).then_some(held.request)
    }

    /// Whether a partition has a request that the policy program has taken and not answered.
    #[must_use]
    pub fn is_taken(&self, place: PartitionSlot, id: PartitionId) -> bool {
        let held = self.rows.get(usize::from(place.0)).and_then(Option::as_ref);
        held.is_some_and(|held| held.request.id == id && matches!(held.stage, Stage::Taken(_)))
    }

    /// Whether this very request is still without an answer.
    #[must_use]
    pub fn is_open(&self, request: &Request) -> bool {
        let held = self.rows.get(usize::from(request.place.0)).and_then(Option::as_ref);
        held.is_some_and(|held| {
            held.request == *request && !matches!(held.stage, Stage::Answered(_))
        })
    }

    /// The answer to a partition's open request.
    pub fn answer(&mut self, place: PartitionSlot, id: PartitionId, decision: Decision) {
        let row = self.row_of(place, id).and_then(Option::as_mut);
        if let Some(held) = row.filter(|held| !matches!(held.stage, Stage::Answered(_))) {
            held.stage = Stage::Answered(decision);
        }
    }

    /// A request whose time is over without an answer.
    #[must_use]
    pub fn overdue(&self, now: u64) -> Option<Request> {
        let open = |held: &&Held| !matches!(held.stage, Stage::Answered(_));
        let mut open = self.rows.iter().flatten().filter(open);
        open.find(|held| held.request.until <= now).map(|held| held.request)
    }

    /// When the next one's is.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let open = |held: &&Held| !matches!(held.stage, Stage::Answered(_));
        self.rows.iter().flatten().filter(open).map(|held| held.request.until).min()
    }

    /// Forgets the request of a partition that has ended.
    pub fn forget(&mut self, place: PartitionSlot) {
        if let Some(row) = self.rows.get_mut(usize::from(place.0)) {
            *row = None;
        }
    }

    fn row_of(&mut self, place: PartitionSlot, id: PartitionId) -> Option<&mut Option<Held>> {
        let row = self.rows.get_mut(usize::from(place.0))?;
        row.is_some_and(|held| held.request.id == id).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, DevicePlace, Held, Request, Requests, Standing};
    use shikiri_abi::{IntId, Ipa, PartitionId, PartitionSlot, Resource, Wish};

    const POLICY: PartitionId = PartitionId(1);
    const NEXT_POLICY: PartitionId = PartitionId(50);

    fn wish(place: u8) -> Request {
        Request {
            place: PartitionSlot(place),
            id: PartitionId(u32::from(place) + 10),
            wish: Wish::More(Resource::Memory, 7),
            peer: 0,
            port: None,
            until: u64::from(place) * 100,
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum At {
        Nothing,
        Waiting,
        Taken,
        Granted,
        Refused,
    }

    const ALL: [At; 5] = [At::Nothing, At::Waiting, At::Taken, At::Granted, At::Refused];
    const PLACE: PartitionSlot = PartitionSlot(3);
    const ID: PartitionId = PartitionId(13);

    fn at(rows: &mut [Option<Held>], stage: At) -> Requests<'_> {
        let mut requests = Requests::new(rows);
        if stage == At::Nothing {
            return requests;
        }
        assert!(requests.ask(wish(3)));
        if stage == At::Waiting {
            return requests;
        }
        assert_eq!(requests.take(POLICY), Some((0, wish(3))));
        match stage {
            At::Granted => requests.answer(PLACE, ID, Decision::Granted(5)),
            At::Refused => requests.answer(PLACE, ID, Decision::Refused),
            At::Nothing | At::Waiting | At::Taken => {}
        }
        requests
    }

    /// Where a request stands, found out without changing it.
    fn stage(requests: &mut Requests<'_>) -> At {
        let is_taken = requests.taken(PLACE, ID, 0).is_some();
        match requests.cancel(PLACE, ID) {
            Standing::Nothing => At::Nothing,
            Standing::Open if is_taken => At::Taken,
            Standing::Open => At::Waiting,
            Standing::Answered(Decision::Granted(_) | Decision::Placed(..)) => At::Granted,
            Standing::Answered(Decision::Refused) => At::Refused,
        }
    }

    type Operation = fn(&mut Requests<'_>) -> bool;
    type Row = (&'static str, Operation, [(bool, At); 5]);

    /// Each operation at each stage: whether it does something, and what is there afterwards.
    #[test]
    fn each_operation_at_each_stage_does_what_it_should_p8() {
        use At::{Granted, Nothing, Refused, Taken, Waiting};
        let still = |changed| [Nothing, Waiting, Taken, Granted, Refused].map(|at| (changed, at));
        let none = still(false);
        let matrix: [Row; 9] = [
            ("ask", |it| it.ask(wish(3)), {
                let mut row = none;
                row[0] = (true, Waiting);
                row
            }),
            ("take", |it| it.take(POLICY).is_some(), {
                let mut row = none;
                row[1] = (true, Taken);
                row
            }),
            ("take by the next life", |it| it.take(NEXT_POLICY).is_some(), {
                let mut row = none;
                (row[1], row[2]) = ((true, Taken), (true, Taken));
                row
            }),
            ("taken", |it| it.taken(PLACE, ID, 0).is_some(), {
                let mut row = none;
                row[2] = (true, Taken);
                row
            }),
            ("is taken", |it| it.is_taken(PLACE, ID), {
                let mut row = none;
                row[2] = (true, Taken);
                row
            }),
            (
                "answer",
                |it| {
                    let before = it.next_due().is_some();
                    it.answer(PLACE, ID, Decision::Granted(9));
                    before && it.next_due().is_none()
                },
                [
                    (false, Nothing),
                    (true, Granted),
                    (true, Granted),
                    (false, Granted),
                    (false, Refused),
                ],
            ),
            (
                "read",
                |it| matches!(it.read(PLACE, ID), Standing::Answered(_)),
                [
                    (false, Nothing),
                    (false, Waiting),
                    (false, Taken),
                    (true, Nothing),
                    (true, Nothing),
                ],
            ),
            (
                "cancel",
                |it| it.cancel(PLACE, ID) == Standing::Open,
                [
                    (false, Nothing),
                    (true, Nothing),
                    (true, Nothing),
                    (false, Granted),
                    (false, Refused),
                ],
            ),
            (
                "the asker ends",
                |it| {
                    it.forget(PLACE);
                    true
                },
                [Nothing; 5].map(|at| (true, at)),
            ),
        ];
        for (name, operation, row) in matrix {
            for (before, (does, after)) in ALL.into_iter().zip(row) {
                let mut rows = [None; 8];
                let mut requests = at(&mut rows, before);
                assert_eq!(operation(&mut requests), does, "{name} at {before:?}");
                assert_eq!(stage(&mut requests), after, "{name} at {before:?}");
            }
        }
    }

    #[test]
    fn an_answer_tells_how_much_or_where_p8() {
        let placed = |at, intid| Decision::Placed(DevicePlace::new(Ipa(at), intid));
        for (decision, results) in [
            (Decision::Granted(7), Some([7, 0, 0])),
            (placed(0xff_ffff_f000, Some(IntId(1019))), Some([0xff_ffff_f000, 1019, 0])),
            (placed(0x901_0000, None), Some([0x901_0000, 0, 0])),
            (Decision::Refused, None),
        ] {
            assert_eq!(decision.results(), results);
        }
    }

    #[test]
    fn who_asked_first_is_served_first_however_often_others_ask_p8() {
        let mut rows = [None; 8];
        let mut requests = Requests::new(&mut rows);
        assert!(requests.ask(wish(5)) && requests.ask(wish(2)));
        let mut served = std::vec::Vec::new();
        for _ in 0..6 {
            // Two that ask again as soon as they are served, and one that asks once.
            let (_, next) = requests.take(POLICY).unwrap();
            served.push(next.place.0);
            requests.answer(next.place, next.id, Decision::Granted(1));
            requests.read(next.place, next.id);
            if served.len() == 2 {
                assert!(requests.ask(wish(7)));
            }
            if next.place.0 != 7 {
                assert!(requests.ask(next));
            }
        }
        assert_eq!(served, [5, 2, 5, 7, 2, 5]);
    }

    #[test]
    fn an_answer_is_for_the_request_that_was_taken_and_no_later_one() {
        let mut rows = [None; 8];
        let mut requests = Requests::new(&mut rows);
        let other = Request { wish: Wish::Peer(PartitionSlot(1)), ..wish(3) };
        assert!(requests.ask(wish(3)));
        let (first, _) = requests.take(POLICY).unwrap();
        requests.cancel(PLACE, ID);
        assert!(requests.ask(other));
        let (second, _) = requests.take(POLICY).unwrap();
        assert_eq!(requests.taken(PLACE, ID, first), None, "cancelled");
        assert_eq!(requests.taken(PLACE, ID, second), Some(other));
    }

    #[test]
    fn another_life_of_the_asker_has_another_request() {
        let mut rows = [None; 8];
        let mut requests = at(&mut rows, At::Taken);
        let next = Request { id: PartitionId(99), ..wish(3) };
        assert_eq!(requests.read(PLACE, next.id), Standing::Nothing);
        assert!(requests.ask(next));
        assert_eq!(requests.taken(PLACE, ID, 0), None);
        requests.answer(PLACE, ID, Decision::Refused);
        assert_eq!(requests.read(PLACE, next.id), Standing::Open);
    }

    #[test]
    fn what_is_not_answered_is_overdue_at_its_time_and_not_before() {
        let mut rows = [None; 8];
        let mut requests = Requests::new(&mut rows);
        assert!(requests.ask(wish(4)) && requests.ask(wish(2)));
        assert_eq!((requests.next_due(), requests.overdue(199)), (Some(200), None));
        assert_eq!(requests.overdue(200), Some(wish(2)));
        requests.answer(PartitionSlot(2), PartitionId(12), Decision::Refused);
        assert_eq!((requests.next_due(), requests.overdue(399)), (Some(400), None));
        assert_eq!(requests.take(POLICY).map(|(_, it)| it), Some(wish(4)));
        assert_eq!(requests.overdue(400), Some(wish(4)));
        assert!(requests.is_quiet(POLICY) && !requests.is_quiet(NEXT_POLICY));
        assert!(!requests.ask(wish(60)), "no such place");
    }
}
