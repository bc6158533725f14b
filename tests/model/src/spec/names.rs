//! Named objects: events, semaphores and queues that whoever may open the name has together.
//!
//! Nobody waits in a call. Who finds nothing, or no room, is noted, and told once as soon as that has changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use shikiri_abi::{Message, ObjectCall, ObjectKind, Resource, Status, Units};

use super::events::From;
use super::handles::Thing;
use super::{
    BAD_HANDLE, Done, EMPTY, FULL, Outcome, RANGE, Ref, Refusal, Seen, Spec, Told, argument,
};

/// Who may open names that are, or begin with, a text, and how many objects of such names there can be.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name, or what it begins with.
    pub text: String,
    /// Whether longer names are meant as well.
    pub is_prefix: bool,
    /// Who may.
    pub partitions: BTreeSet<usize>,
    /// How many objects.
    pub objects: usize,
}

/// An object that somebody has open.
#[derive(Clone, Debug)]
pub(super) struct Named {
    name: String,
    kind: ObjectKind,
    openers: BTreeMap<usize, Opener>,
    /// Of a semaphore: the units that are there.
    count: u32,
    /// Partitions that ended with units, by their numbers: which life it was.
    lost: BTreeMap<usize, u32>,
    queue: VecDeque<Message>,
}

/// A partition that has an object open.
#[derive(Clone, Debug)]
struct Opener {
    handle: u64,
    opens: u32,
    /// Units that it has.
    held: u32,
    /// Of an event: it was posted since this one waited.
    is_posted: bool,
    /// It found nothing, or no room.
    waits: bool,
    lacks_room: bool,
    /// Where it is told.
    port: Option<u64>,
}

/// Who is to be told of an object, by its row. Whose core is slow tells later.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    row: usize,
    due: BTreeSet<usize>,
}

impl Named {
    fn new(name: String, kind: ObjectKind) -> Self {
        let count = if let ObjectKind::Semaphore { initial, .. } = kind { initial } else { 0 };
        let (openers, lost, queue) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { name, kind, openers, count, lost, queue }
    }

    fn is_there_for(&self, who: usize) -> bool {
        match self.kind {
            ObjectKind::Event => self.openers[&who].is_posted,
            ObjectKind::Semaphore { .. } => self.count > 0,
            ObjectKind::Queue { .. } => !self.queue.is_empty(),
        }
    }

    fn has_room(&self) -> bool {
        matches!(self.kind, ObjectKind::Queue { depth } if self.queue.len() < usize::from(depth))
    }

    fn opener(&mut self, who: usize) -> &mut Opener {
        self.openers.get_mut(&who).expect("it is open")
    }

    /// Who found nothing and can go on now: once.
    fn due(&mut self) -> BTreeSet<usize> {
        let has_room = self.has_room();
        let there: BTreeSet<usize> =
            self.openers.keys().copied().filter(|who| self.is_there_for(*who)).collect();
        let mut due = BTreeSet::new();
        for (who, opener) in &mut self.openers {
            let is_served = opener.waits && there.contains(who);
            let is_relieved = opener.lacks_room && has_room;
            opener.waits &= !is_served;
            opener.lacks_room &= !is_relieved;
            if is_served || is_relieved {
                due.insert(*who);
            }
        }
        due
    }
}

impl Spec {
    /// A guest writes a name where OBJECT_OPEN will look for it.
    pub fn write_name(&mut self, who: usize, name: &str) {
        name.clone_into(&mut self.of_mut(who).name);
    }

    pub(super) fn object(&mut self, who: usize, call: ObjectCall, seen: &Seen<'_>) -> Outcome {
        match call {
            ObjectCall::Open { kind, .. } => self.open(who, kind, seen),
            ObjectCall::Wait(object) => self.take((who, object)),
            ObjectCall::Post { object, message } => self.post((who, object), message),
            ObjectCall::Notify { object, port } => self.notify_of_object((who, object), port),
            ObjectCall::Close(object) => {
                let row = self.row((who, object))?;
                let opener = self.named(row).opener(who);
                opener.opens -= 1;
                if opener.opens == 0 {
                    self.leave_object(who, row);
                }
                Ok(Done::nothing())
            }
        }
    }

    fn row(&self, object: Ref) -> Result<usize, Refusal> {
        if let Some(Thing::Object(row)) = self.thing(object) { Ok(*row) } else { Err(BAD_HANDLE) }
    }

    fn named(&mut self, row: usize) -> &mut Named {
        self.rows[row].as_mut().expect("somebody has it open")
    }

    /// The rows of the longest rule that fits a name; a name of its own fits best.
    fn rows_for(&self, who: usize, name: &str) -> Result<Range<usize>, Refusal> {
        let (mut first, mut best): (usize, Option<(usize, bool, Range<usize>)>) = (0, None);
        for rule in &self.rules {
            let weight = match rule.is_prefix {
                true if name.starts_with(&rule.text) => rule.text.len() + 1,
                false if name == rule.text => usize::MAX,
                _ => 0,
            };
            if weight > best.as_ref().map_or(0, |(weight, ..)| *weight) {
                best = Some((weight, rule.partitions.contains(&who), first..first + rule.objects));
            }
            first += rule.objects;
        }
        match best {
            Some((_, true, rows)) => Ok(rows),
            _ => Err(Refusal(Status::NotPermitted, 0)),
        }
    }

    fn open(&mut self, who: usize, kind: ObjectKind, seen: &Seen<'_>) -> Outcome {
        let name = self.of(who).name.clone();
        let mut rows = self.rows_for(who, &name)?;
        let its = |row: &usize| self.rows[*row].as_ref().is_some_and(|named| named.name == name);
        let found = rows.clone().find(its);
        let row = found.or_else(|| rows.find(|row| self.rows[*row].is_none())).ok_or(FULL)?;
        if let Some(named) = &mut self.rows[row] {
            if named.kind != kind {
                return Err(Refusal(Status::Exists, 0));
            }
            if let Some(opener) = named.openers.get_mut(&who) {
                opener.opens += 1;
                return Ok(Done::with([opener.handle, 0, 0]));
            }
        }
        self.check_room(who, 1)?;
        self.check_charge(who, &[(Resource::ManagementMemory, 1)])?;
        let [handle, ..] = seen.values(&[Status::Ok]);
        self.add(who, handle, Thing::Object(row));
        let named = self.rows[row].get_or_insert_with(|| Named::new(name, kind));
        let (is_posted, waits, lacks_room, port) = (false, false, false, None);
        named
            .openers
            .insert(who, Opener { handle, opens: 1, held: 0, is_posted, waits, lacks_room, port });
        Ok(Done::with([handle, u64::from(found.is_none()), 0]))
    }

    /// OBJECT_WAIT: takes what is there.
    fn take(&mut self, object: Ref) -> Outcome {
        let (row, who) = (self.row(object)?, object.0);
        let named = self.named(row);
        if !named.is_there_for(who) {
            named.opener(who).waits = true;
            return Err(EMPTY);
        }
        let values = match named.kind {
            ObjectKind::Event => {
                named.opener(who).is_posted = false;
                [0; 3]
            }
            ObjectKind::Semaphore { units, .. } => {
                named.count -= 1;
                named.opener(who).held += u32::from(units == Units::Held);
                let lost = named.lost.pop_first().map_or(0, |(_, id)| u64::from(id));
                [lost, 0, 0]
            }
            ObjectKind::Queue { .. } => named.queue.pop_front().expect("it is there"),
        };
        self.owe(row);
        Ok(Done::with(values))
    }

    fn post(&mut self, object: Ref, message: Message) -> Outcome {
        let (row, who) = (self.row(object)?, object.0);
        let named = self.named(row);
        let is_queue = matches!(named.kind, ObjectKind::Queue { .. });
        if !is_queue && let Some(at) = (2..).zip(message).find(|(_, word)| *word != 0) {
            return Err(argument(at.0));
        }
        let held: u32 = named.openers.values().map(|opener| opener.held).sum();
        let (has_room, has_units) = (named.has_room(), named.opener(who).held > 0);
        match named.kind {
            ObjectKind::Event => {
                named.openers.values_mut().for_each(|opener| opener.is_posted = true)
            }
            ObjectKind::Semaphore { .. } if has_units => {
                named.opener(who).held -= 1;
                named.count += 1;
            }
            ObjectKind::Semaphore { maximum, .. } if named.count + held >= maximum => {
                return Err(RANGE);
            }
            ObjectKind::Semaphore { .. } => named.count += 1,
            ObjectKind::Queue { .. } if !has_room => {
                named.opener(who).lacks_room = true;
                return Err(FULL);
            }
            ObjectKind::Queue { .. } => named.queue.push_back(message),
        }
        self.owe(row);
        Ok(Done::nothing())
    }

    /// Where a partition is told of an object, or nowhere. It is told at once if it need not wait.
    fn notify_of_object(&mut self, object: Ref, port: Option<u64>) -> Outcome {
        let (row, who) = (self.row(object)?, object.0);
        if let Some(port) = port {
            let receive = self.receive((who, port))?;
            if receive.from != From::Object(row) {
                receive.check_free()?;
            }
        }
        self.unhook(who, row);
        let Some(port) = port else { return Ok(Done::nothing()) };
        self.tie((who, port), From::Object(row));
        let named = self.named(row);
        let (is_there, has_room) = (named.is_there_for(who), named.has_room());
        let lacks_room = matches!(named.kind, ObjectKind::Queue { .. }) && !has_room;
        let opener = named.opener(who);
        opener.port = Some(port);
        opener.waits |= !is_there;
        opener.lacks_room |= lacks_room;
        Ok(Done::told(if is_there || has_room { self.arrive((who, port)) } else { vec![] }))
    }

    /// The receive port that is told of an object, if it is still there.
    fn port_of(&self, who: usize, row: usize) -> Option<u64> {
        let port = self.rows[row].as_ref()?.openers.get(&who)?.port?;
        let receive = self.receive((who, port)).ok()?;
        (receive.from == From::Object(row)).then_some(port)
    }

    fn unhook(&mut self, who: usize, row: usize) {
        if let Some(port) = self.port_of(who, row) {
            self.tie((who, port), From::Nobody);
        }
        self.named(row).opener(who).port = None;
    }

    /// A partition has an object open no more. Units that it had are there again; the next one that takes a unit is told whose.
    pub(super) fn leave_object(&mut self, who: usize, row: usize) {
        self.unhook(who, row);
        let id = self.of(who).id;
        let named = self.named(row);
        let Opener { handle, held, .. } = named.openers.remove(&who).expect("it is open");
        if held > 0 {
            named.count += held;
            named.lost.insert(who, id);
        }
        if named.openers.is_empty() {
            self.rows[row] = None;
        }
        self.remove((who, handle));
        self.owe(row);
    }

    /// The rows of the objects that a partition has open.
    pub(super) fn rows_of(&self, who: usize) -> BTreeSet<usize> {
        let things = self.of(who).things.values();
        things
            .filter_map(|thing| if let Thing::Object(row) = thing { Some(*row) } else { None })
            .collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    fn owe(&mut self, row: usize) {
        let due = self.rows[row].as_mut().map_or_else(BTreeSet::new, Named::due);
        if !due.is_empty() {
            self.owed.push_back(Owed { row, due });
        }
    }

    /// How often somebody is still to be told.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// What has been owed longest is told.
    pub fn tell_owed(&mut self) -> Told {
        let Some(Owed { row, due }) = self.owed.pop_front() else { return vec![] };
        let ports = due.into_iter().filter_map(|who| {
            Some((who, self.partitions[who].as_ref().and(self.port_of(who, row))?))
        });
        let ports: Vec<Ref> = ports.collect();
        ports.into_iter().flat_map(|port| self.arrive(port)).collect()
    }
}
