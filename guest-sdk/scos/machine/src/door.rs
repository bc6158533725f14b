//! The machine behind policy calls: what [`Machine`] asks for, in the hypervisor's numbers and words.
//!
//! Who makes the calls is [`Calls`]'s business: a device file in the system control OS, a table of answers in the tests.

mod make;
mod note;
mod refused;
mod start;

use std::io;
use std::thread;
use std::time::Duration;

use shikiri_abi::{PartitionRef, Resource, Status, Wish};
use shikiri_tree::Gic;

use crate::Machine;
use crate::look::{Exit, Thing};
use crate::refusal::{Act, Over, Refusal, Rule};
use crate::view::{Account, Asked, Cause, Line, NewPartition, Partition, Phase, Wanted};

/// Makes policy calls.
pub trait Calls {
    /// Makes the call with this number, 0 to 0x1FF, with these arguments (`x1` to `x6`); `x0` to `x3`. `None`: no call can be made.
    fn call(&self, number: u16, x: [u64; 6]) -> Option<[u64; 4]>;

    /// PARTITION_LOAD of bytes of this program's, a multiple of 8: into a held partition, at an address of its memory.
    fn load(&self, partition: u64, to: u64, bytes: &[u8]) -> Option<[u64; 4]>;
}

/// Keeps the device trees of the partitions that are made: the hypervisor clears their memory at each start, and knows of none.
pub trait Trees {
    /// The interrupt controller of the board.
    fn gic(&self) -> Option<Gic>;

    /// Keeps a partition's, by its name.
    ///
    /// # Errors
    /// There is no room.
    fn keep(&self, name: &str, tree: &[u8]) -> io::Result<()>;

    /// The one that is kept for a name.
    fn kept(&self, name: &str) -> Option<Vec<u8>>;

    /// Forgets a name's.
    fn forget(&self, name: &str);
}

/// A machine reached by calls.
#[derive(Debug)]
pub struct Door<C>(pub C);

const PARTITION_LIST: u16 = 0x100;
const PARTITION_NAME: u16 = 0x101;
const LIMIT_READ: u16 = 0x102;
const LIMIT_SET: u16 = 0x103;
const PARTITION_START: u16 = 0x104;
const PARTITION_STOP: u16 = 0x105;
const PARTITION_RESTART: u16 = 0x106;
const PARTITION_PAUSE: u16 = 0x107;
const PARTITION_RESUME: u16 = 0x108;
const NOTICE_TAKE: u16 = 0x10a;
const PARTITION_CREATE: u16 = 0x110;
const PARTITION_DESTROY: u16 = 0x111;
const VCPU_ADD: u16 = 0x112;
const MEMORY_ADD: u16 = 0x113;
const IMAGE_ADD: u16 = 0x114;
const ENTRY_SET: u16 = 0x115;
const CONSOLE_SET: u16 = 0x116;
const TALK_SET: u16 = 0x117;
const PEERS_SET: u16 = 0x118;
pub(crate) const PARTITION_LOAD: u16 = 0x119;
const HANDOUT_READ: u16 = 0x11a;
const IMAGE_INFO: u16 = 0x11b;
const CORE_READ: u16 = 0x11c;
const AREAS_SET: u16 = 0x11d;
const DEVICE_ADD: u16 = 0x11e;
const REQUEST_TAKE: u16 = 0x120;
const REQUEST_ANSWER: u16 = 0x121;
const NOTE_SET: u16 = 0x122;
const NOTE_READ: u16 = 0x123;
const CONSOLE_READ: u16 = 0x128;
const CONSOLE_FOCUS: u16 = 0x129;
const PORT_READ: u16 = 0x12a;
const EXIT_READ: u16 = 0x12b;

/// How much of what a partition has written is kept, and read at once.
const CONSOLE_BYTES: usize = 1024;
/// How many exits of a vCPU are kept.
const KEPT_EXITS: u64 = 16;

/// What a limit that is unset reads as.
const UNSET: u64 = u64::MAX;
/// How often a call that answers AGAIN is made again at once: each does a bounded step.
const TRIES_AT_ONCE: u32 = 100;
/// How often in all, with a pause between: what goes may have last words for a slow UART, and somebody else's before them.
const TRIES: u32 = 30_000;
/// AGAIN is the hypervisor's word for a bounded step that is not the last: no event tells of the next.
const PAUSE: Duration = Duration::from_millis(1);

impl<C: Calls> Door<C> {
    /// Makes a call about a partition; `x1` to `x3`.
    fn call(
        &self,
        (step, partition): (&'static str, Option<PartitionRef>),
        number: u16,
        x: [u64; 6],
    ) -> Result<[u64; 3], Refusal> {
        for tried in 0..TRIES {
            let Some([status, values @ ..]) = self.0.call(number, x) else {
                return Err(Refusal::new(step, partition, Status::NotSupported));
            };
            let status = Status::from_code(status.cast_signed()).unwrap_or(Status::NotSupported);
            match status {
                Status::Ok | Status::Pending => return Ok(values),
                Status::Again if tried < TRIES_AT_ONCE => {}
                Status::Again => thread::sleep(PAUSE),
                status => return Err(refusal(step, partition, status, values)),
            }
        }
        Err(Refusal::new(step, partition, Status::Again))
    }

    /// A call whose only argument is the partition.
    fn simple(
        &self,
        step: &'static str,
        it: PartitionRef,
        number: u16,
    ) -> Result<[u64; 3], Refusal> {
        self.call((step, Some(it)), number, [it.encode(), 0, 0, 0, 0, 0])
    }

    fn name(&self, it: PartitionRef) -> Result<String, Refusal> {
        let part =
            |part| self.call(("name", Some(it)), PARTITION_NAME, [it.encode(), part, 0, 0, 0, 0]);
        let (first, rest) = (part(0)?, part(1)?);
        Ok(text(&[first, rest].concat()))
    }

    /// The partition at a place. It may go between two calls: then there is none.
    fn at(&self, place: u64) -> Result<Option<Partition>, Refusal> {
        let listed = self.call(("list", None), PARTITION_LIST, [place, 0, 0, 0, 0, 0]);
        let [word, state, counts] = match listed {
            Ok(values) => values,
            Err(refusal) if refusal.status == Status::NotFound => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let Some(id) = PartitionRef::decode(word) else { return Ok(None) };
        let name = match self.name(id) {
            Ok(name) => name,
            Err(refusal) if matches!(refusal.status, Status::PeerGone | Status::NotFound) => {
                return Ok(None);
            }
            Err(refusal) => return Err(refusal),
        };
        let [phase, cause, ..] = state.to_le_bytes();
        let [starts, vcpus] = [counts & 0xffff_ffff, counts >> 32 & 0xff];
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Some(Partition {
            id,
            name,
            phase: Phase::of(phase),
            cause: Cause::of(cause, number(state >> 32)),
            vcpus: number(vcpus),
            starts: number(starts),
            is_dynamic: counts >> 40 & 1 != 0,
            makes_policy: counts >> 41 & 1 != 0,
        }))
    }
}

impl<C: Calls> Door<C> {
    fn limit(
        &self,
        id: PartitionRef,
        resource: Resource,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let number = u64::from(resource.number());
        let x = [id.encode(), number, limit.unwrap_or(UNSET), 0, 0, 0];
        let set = self.call(("limit", Some(id)), LIMIT_SET, x).map(|_| ());
        set.map_err(|refusal| self.not_limited(resource, limit, refusal))
    }
}

/// A text in words, zeros behind it.
fn text(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned()
}

/// A name as the calls want it: 32 bytes in four words.
fn name_words(name: &str) -> Option<[u64; 4]> {
    let mut bytes = [0; 32];
    bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}

fn refusal(
    step: &'static str,
    partition: Option<PartitionRef>,
    status: Status,
    [which, most, _]: [u64; 3],
) -> Refusal {
    let over = Over::decode(which, most).filter(|_| status == Status::OverLimit);
    Refusal { over, ..Refusal::new(step, partition, status) }
}

impl<C: Calls + Trees> Machine for Door<C> {
    fn partitions(&self) -> Result<Vec<Partition>, Refusal> {
        let mut all = Vec::new();
        for place in 0..64 {
            match self.at(place) {
                Ok(found) => all.extend(found),
                Err(refusal) if refusal.status == Status::Range => break,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(all)
    }

    fn account(&self, id: PartitionRef) -> Result<Account, Refusal> {
        let mut account = Account::default();
        for (line, resource) in account.lines.iter_mut().zip(Resource::ALL) {
            let number = u64::from(resource.number());
            let x = [id.encode(), number, 0, 0, 0, 0];
            *line = read(self.call(("account", Some(id)), LIMIT_READ, x)?);
        }
        Ok(account)
    }

    fn handout(&self) -> Result<Account, Refusal> {
        let mut account = Account::default();
        for (line, resource) in account.lines.iter_mut().zip(Resource::ALL) {
            let x = [u64::from(resource.number()), 0, 0, 0, 0, 0];
            let [limit, given, _] = self.call(("hand-out", None), HANDOUT_READ, x)?;
            *line = read([limit, given, given]);
        }
        Ok(account)
    }

    fn images(&self) -> Result<Vec<String>, Refusal> {
        let mut images = Vec::new();
        for number in 0.. {
            let x = [number, 0, 0, 0, 0, 0];
            let [_, first, second] = match self.call(("image", None), IMAGE_INFO, x) {
                Ok(values) => values,
                Err(refusal) if refusal.status == Status::Range => break,
                Err(refusal) => return Err(refusal),
            };
            let mut name = vec![first, second];
            for part in 1..=u64::from(u8::MAX) {
                if name.last().is_some_and(|last| last.to_le_bytes().contains(&0)) {
                    break;
                }
                let x = [number, part, 0, 0, 0, 0];
                name.extend(self.call(("image", None), IMAGE_INFO, x)?);
            }
            images.push(text(&name));
        }
        Ok(images)
    }

    fn create(&mut self, new: &NewPartition) -> Result<PartitionRef, Refusal> {
        let step = "create";
        let Some([a, b, c, d]) = name_words(&new.name) else {
            let refusal = Refusal::new(step, None, Status::InvalidParameter);
            return Err(Self::not_made(new, refusal));
        };
        let plan = self.plan(new)?;
        let made = self.call((step, None), PARTITION_CREATE, [a, b, c, d, 0, 0]);
        let [word, ..] = made.map_err(|refusal| Self::not_made(new, refusal))?;
        let Some(id) = PartitionRef::decode(word) else {
            return Err(Refusal::new(step, None, Status::NotSupported));
        };
        if let Err(refusal) = self.furnish(id, new, &plan) {
            // Nothing is left of it; what was refused is what there is to say.
            let _gone = self.act(id, Act::Destroy);
            return Err(refusal);
        }
        Ok(id)
    }

    fn made_of(&self, id: PartitionRef) -> Result<Option<String>, Refusal> {
        self.note(id).map(|note| (!note.is_empty()).then_some(note))
    }

    fn is_held_first(&self, id: PartitionRef) -> Result<bool, Refusal> {
        Ok(self.tree(id)?.is_some())
    }

    fn set_limit(
        &mut self,
        id: PartitionRef,
        resource: Resource,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        self.limit(id, resource, limit)
    }

    fn take_notices(&mut self) -> Result<Vec<PartitionRef>, Refusal> {
        let mut told = Vec::new();
        // One for each place at most, and whatever comes meanwhile is told again.
        for _ in 0..64 {
            match self.call(("notice", None), NOTICE_TAKE, [0; 6]) {
                Ok([word, ..]) => told.extend(PartitionRef::decode(word)),
                Err(refusal) if refusal.status == Status::Empty => break,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(told)
    }

    fn take_request(&mut self) -> Result<Option<Asked>, Refusal> {
        let [word, what, amount] = match self.call(("request", None), REQUEST_TAKE, [0; 6]) {
            Ok(values) => values,
            Err(refusal) if refusal.status == Status::Empty => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let wanted = match Wish::decode(what & 0xff, amount) {
            Ok(Wish::More(resource, amount)) => Wanted::More(resource, amount),
            Ok(Wish::Time(vcpu, ppm)) => Wanted::Time(vcpu.0, ppm.into()),
            Ok(Wish::Vcpus(count)) => Wanted::Vcpus(count.into()),
            Ok(Wish::Peer(place)) => Wanted::Peer(place.0.into()),
            Ok(Wish::Device(number)) => Wanted::Device(number),
            Err(_) => Wanted::Other(what & 0xff),
        };
        Ok(PartitionRef::decode(word).map(|from| Asked { from, wanted, number: what >> 8 }))
    }

    fn answer(&mut self, asked: &Asked, granted: Option<u64>) -> Result<(), Refusal> {
        let is_granted = u64::from(granted.is_some());
        let x = [asked.from.encode(), is_granted, granted.unwrap_or(0), asked.number, 0, 0];
        self.call(("answer", Some(asked.from)), REQUEST_ANSWER, x).map(|_| ())
    }

    fn permit(&mut self, from: PartitionRef, to: PartitionRef, may: bool) -> Result<(), Refusal> {
        let x = [from.encode(), to.encode(), u64::from(may), 0, 0, 0];
        let set = self.call(("permission", Some(from)), PEERS_SET, x).map(|_| ());
        let itself = || Rule::Other("a partition needs no permission to talk to itself".to_owned());
        set.map_err(|refusal| if from == to { refusal.for_that(itself()) } else { refusal })
    }

    fn console(&self, id: PartitionRef, from: u64) -> Result<(Vec<u8>, u64), Refusal> {
        let (mut written, mut from) = (Vec::new(), from);
        // Whoever writes without end is read no further than what is kept at once.
        while written.len() < CONSOLE_BYTES {
            let x = [id.encode(), from, 0, 0, 0, 0];
            let [place, first, second] = match self.call(("console", Some(id)), CONSOLE_READ, x) {
                Ok(values) => values,
                Err(refusal) if refusal.status == Status::Empty => break,
                Err(refusal) => return Err(refusal),
            };
            let bytes = [first.to_le_bytes(), second.to_le_bytes()].concat();
            let count = (place & 0xff).min(16);
            written.extend(bytes.into_iter().take(usize::try_from(count).unwrap_or(0)));
            from = (place >> 8).saturating_add(count);
        }
        Ok((written, from))
    }

    fn focus(&mut self, id: PartitionRef) -> Result<(), Refusal> {
        self.simple("focus", id, CONSOLE_FOCUS).map(|_| ())
    }

    fn things(&self, id: PartitionRef) -> Result<Vec<Thing>, Refusal> {
        let mut things = Vec::new();
        let mut from = 0;
        while from <= u64::from(u16::MAX) {
            let x = [id.encode(), from, 0, 0, 0, 0];
            let words = match self.call(("ports", Some(id)), PORT_READ, x) {
                Ok(words) => words,
                Err(refusal) if refusal.status == Status::Range => break,
                Err(refusal) => return Err(self.not_seen(id, "one that lives has ports", refusal)),
            };
            things.extend(Thing::decode(words));
            let [entry, ..] = words;
            from = (entry & 0xffff).saturating_add(1);
        }
        Ok(things)
    }

    fn exits(&self, id: PartitionRef, vcpu: u8) -> Result<Vec<Exit>, Refusal> {
        let mut exits = Vec::new();
        for back in 0..KEPT_EXITS {
            let x = [id.encode(), u64::from(vcpu), back, 0, 0, 0];
            match self.call(("exits", Some(id)), EXIT_READ, x) {
                Ok(words) => exits.push(Exit::decode(words)),
                Err(refusal) if refusal.status == Status::Range => break,
                Err(refusal) => return Err(self.not_seen(id, "one that lives has exits", refusal)),
            }
        }
        Ok(exits)
    }

    fn act(&mut self, id: PartitionRef, act: Act) -> Result<PartitionRef, Refusal> {
        let before = if act == Act::Start { self.now(id) } else { None };
        let before = before.map(|it| it.phase);
        self.done(id, act).map_err(|refusal| self.not_done(act, (id, before), refusal))
    }
}

impl<C: Calls + Trees> Door<C> {
    fn done(&self, id: PartitionRef, act: Act) -> Result<PartitionRef, Refusal> {
        let step = act.word();
        match act {
            Act::Start => self.start(id),
            Act::Pause => self.simple(step, id, PARTITION_PAUSE).map(|_| id),
            Act::Resume => self.simple(step, id, PARTITION_RESUME).map(|_| id),
            Act::End => self.simple(step, id, PARTITION_STOP).map(|_| id),
            Act::Restart => self.simple(step, id, PARTITION_RESTART).map(|_| id),
            Act::Destroy => {
                let place = u64::from(id.place.0);
                let name = self.at(place)?.filter(|it| it.id == id).map(|it| it.name);
                self.simple(step, id, PARTITION_DESTROY)?;
                name.iter().for_each(|name| self.0.forget(name));
                Ok(id)
            }
        }
    }
}

const fn read([limit, used, high]: [u64; 3]) -> Line {
    Line { limit: if limit == UNSET { None } else { Some(limit) }, used, high }
}

#[cfg(test)]
mod tests;
