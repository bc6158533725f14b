//! The specification of ownership, channels, shared areas, events, control signals, names and accounts: what each call answers, whom it
//! tells, and what everybody has then.
//!
//! It knows nothing of the hypervisor but the numbers of its ABI. There are no tables, steps or locks here: an area is an identity with a
//! size and contents, a port is somebody's, a connection is two names of each other, and what is charged is what one has. To be read in this
//! order:
//!
//! | file | what |
//! |---|---|
//! | `handles.rs` | what a partition's one table of handles holds, and who may be meant by a number |
//! | `rights.rs` | what somebody with a handle may still do with it |
//! | `account.rs` | limits, and what each thing costs |
//! | `events.rs` | event ports and interrupts |
//! | `signals.rs` | requests from one partition to another |
//! | `areas.rs` | memory that belongs to one partition at a time |
//! | `channels.rs` | messages, which take areas along |
//! | `shares.rs` | memory that several partitions reach |
//! | `names.rs` | events, semaphores and queues that have names |
//! | `memory.rs` | what a guest finds when it reads and writes |
//! | `ports.rs` | what all of these look like from outside |
//! | `ends.rs` | a partition ends, piece by piece |
//!
//! (`look.rs` is for tests, which ask what there is.)
//!
//! **Answers.** [`Spec::call`] takes what a guest has in its registers and says what it then has there and which interrupts come
//! where ([`Answer`]). A refusal returns before anything is changed: *refused ⇒ unchanged* can be read off each function.
//!
//! **Choices.** Some things are the hypervisor's to choose: which handle, which slot of a window, how many tables an area takes, in how
//! many calls a large one is made or freed. There the specification looks at what was chosen ([`Seen`]), holds it against what may be
//! chosen, and panics otherwise. Each such place says *Choice*.
//!
//! **Left out**: who may ask whom (here everybody may), a machine that runs out of frames, and calls at the same moment.

mod account;
mod areas;
mod channels;
mod ends;
mod events;
mod handles;
mod look;
mod memory;
mod names;
mod ports;
mod rights;
mod shares;
mod signals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shikiri_abi::{Call, RESOURCE_COUNT, Resource, Status};

pub use ends::Stage;
pub use handles::Kind;
pub use names::Rule;

use areas::{Area, AreaId};
use handles::Thing;
use names::{Named, Owed};
use signals::Asked;

/// Something of a partition: which partition, and its handle there.
type Ref = (usize, u64);

/// Which interrupts come where: partitions and INTIDs.
pub type Told = Vec<(u8, u16)>;

/// How much there is of what partitions are built with.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Entries of each table of handles.
    pub handles: usize,
    /// Requests of a partition that can wait for others.
    pub records: usize,
    /// Slots for areas of 4 KiB, of 2 MiB and of 1 GiB.
    pub slots: [u64; 3],
    /// Message ports.
    pub ports: usize,
    /// Areas that are offered, and attachments.
    pub shares: usize,
    /// vCPUs.
    pub vcpus: u8,
    /// Interrupts that a partition may not bind, because a device has them.
    pub devices: BTreeSet<u16>,
}

/// A life of a partition.
#[derive(Clone, Debug)]
struct Partition {
    /// Its identity, which no other life has.
    id: u32,
    things: BTreeMap<u64, Thing>,
    /// Every handle that it was given: none comes twice.
    given: BTreeSet<u64>,
    /// The rights that it has given up of a handle.
    given_up: BTreeMap<u64, u64>,
    limits: [Option<u64>; RESOURCE_COUNT],
    /// What it was charged for when it began: its own memory, vCPUs and tables.
    base: [u64; RESOURCE_COUNT],
    /// Tables of own areas that are being freed: a choice, at most as many as they had.
    freeing: u64,
    /// Its requests that wait for others, the oldest first.
    asked: Vec<Asked>,
    /// Whose request it took last.
    served: Option<usize>,
    /// The receive port that is told of requests.
    notify: Option<u64>,
    /// Interrupts that were raised and that its guest has not taken.
    interrupts: BTreeSet<u16>,
    /// What its guest has written where OBJECT_OPEN looks for a name.
    name: String,
    /// Where it sees which of its ports have an event.
    shown: Option<u64>,
    /// The indices that have been marked there since their word was taken last.
    marks: BTreeSet<u64>,
    /// How far its end has come.
    ending: Option<Stage>,
}

/// The state of everything.
#[derive(Clone, Debug)]
pub struct Spec {
    sizes: Sizes,
    partitions: Vec<Option<Partition>>,
    areas: BTreeMap<AreaId, Area>,
    next_area: AreaId,
    rules: Vec<Rule>,
    rows: Vec<Option<Named>>,
    owed: VecDeque<Owed>,
}

/// What the hypervisor has chosen, as far as one sees it.
pub struct Seen<'s> {
    /// `x0` to `x3` behind the call.
    pub answer: [u64; 4],
    /// What is charged to the caller behind the call.
    pub used: [u64; RESOURCE_COUNT],
    /// What a partition's guest reads at an address.
    pub load: &'s dyn Fn(usize, u64) -> Option<u64>,
    /// How many tables lead to the area that a partition's guest has at an address.
    pub tables: &'s dyn Fn(usize, u64) -> u64,
    /// The slot at which an end goes on, if it has come to the areas.
    pub slot: Option<u64>,
}

/// What a call answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `x0` to `x3`.
    pub registers: [u64; 4],
    /// Which interrupts come where, in this order.
    pub told: Told,
}

/// A refusal: the status in `x0`, and in `x1` which argument or line of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(Status, u8);

const BAD_HANDLE: Refusal = Refusal(Status::BadHandle, 0);
const WRONG_STATE: Refusal = Refusal(Status::WrongState, 0);
const NOT_OWNER: Refusal = Refusal(Status::NotOwner, 0);
const PEER_GONE: Refusal = Refusal(Status::PeerGone, 0);
const RANGE: Refusal = Refusal(Status::Range, 0);
const FULL: Refusal = Refusal(Status::Full, 0);
const EMPTY: Refusal = Refusal(Status::Empty, 0);
const REFUSED: Refusal = Refusal(Status::Refused, 0);

const fn over(line: Resource) -> Refusal {
    Refusal(Status::OverLimit, line.number())
}

const fn argument(number: u8) -> Refusal {
    Refusal(Status::InvalidParameter, number)
}

/// A call that is not refused.
struct Done {
    status: Status,
    values: [u64; 3],
    told: Told,
}

type Outcome = Result<Done, Refusal>;

impl Done {
    fn told(told: Told) -> Self {
        Self { status: Status::Ok, values: [0; 3], told }
    }

    fn nothing() -> Self {
        Self::told(vec![])
    }

    fn with(values: [u64; 3]) -> Self {
        Self { values, ..Self::nothing() }
    }

    fn pending(told: Told) -> Self {
        Self { status: Status::Pending, ..Self::told(told) }
    }

    /// Done, or to be called again with this handle.
    fn or_again(is_done: bool, handle: u64, told: Told) -> Self {
        if is_done {
            return Self::told(told);
        }
        Self { status: Status::Again, values: [handle, 0, 0], told }
    }
}

impl Seen<'_> {
    fn status(&self) -> Status {
        let code = self.answer[0].cast_signed();
        Status::from_code(code).unwrap_or_else(|| panic!("{code} is no status"))
    }

    /// The values of a call that may answer any of these.
    fn values(&self, allowed: &[Status]) -> [u64; 3] {
        let (status, [_, values @ ..]) = (self.status(), self.answer);
        assert!(allowed.contains(&status), "{status:?} {:#x}, where {allowed:?} may be", values[0]);
        values
    }
}

impl Spec {
    /// No partition yet; `rows` named objects at most, of which the rules say who may open which.
    #[must_use]
    pub fn new(partitions: usize, sizes: Sizes, rules: Vec<Rule>) -> Self {
        let rows = rules.iter().map(|rule| rule.objects).sum();
        Self {
            sizes,
            partitions: vec![None; partitions],
            areas: BTreeMap::new(),
            next_area: 0,
            rules,
            rows: vec![None; rows],
            owed: VecDeque::new(),
        }
    }

    /// A partition begins to live: its identity, and what it is charged for from the beginning.
    pub fn start(&mut self, who: usize, id: u32, base: [u64; RESOURCE_COUNT]) {
        assert!(self.partitions[who].is_none(), "{who} lives already");
        self.partitions[who] = Some(Partition {
            id,
            things: BTreeMap::new(),
            given: BTreeSet::new(),
            given_up: BTreeMap::new(),
            limits: [None; RESOURCE_COUNT],
            base,
            freeing: 0,
            asked: Vec::new(),
            served: None,
            notify: None,
            interrupts: BTreeSet::new(),
            name: String::new(),
            shown: None,
            marks: BTreeSet::new(),
            ending: None,
        });
    }

    /// Whether a partition lives; one whose end goes on does.
    #[must_use]
    pub fn lives(&self, who: usize) -> bool {
        self.partitions.get(who).is_some_and(Option::is_some)
    }

    /// A call of a partition's guest: what stands in its registers then, and who is told.
    ///
    /// # Panics
    /// The hypervisor has chosen what it may not; or it is a call of another family.
    pub fn call(&mut self, who: usize, call: &Call, seen: &Seen<'_>) -> Answer {
        let outcome = match self.permitted(who, *call) {
            Call::Talk(call) => self.talk(who, call, seen),
            Call::Message(call) => self.message(who, call, seen),
            Call::Shared(call) => self.share(who, call, seen),
            Call::Object(call) => self.object(who, call, seen),
            other => panic!("{other:?} is not specified here"),
        };
        let (status, values, told) = match outcome {
            Ok(Done { status, values, told }) => (status, values, told),
            Err(Refusal(status, which)) => (status, [u64::from(which), 0, 0], vec![]),
        };
        let [x1, x2, x3] = values;
        Answer { registers: [status.code().cast_unsigned(), x1, x2, x3], told }
    }

    fn of(&self, who: usize) -> &Partition {
        self.partitions[who].as_ref().expect("it lives")
    }

    fn of_mut(&mut self, who: usize) -> &mut Partition {
        self.partitions[who].as_mut().expect("it lives")
    }
}
