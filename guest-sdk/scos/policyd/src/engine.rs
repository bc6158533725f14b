//! What is to be done now: the machine as it is, compared with what the policy wants.

use core::time::Duration;
use std::collections::BTreeSet;

use shikiri_abi::{PartitionRef, Resource, Status};
use shikiri_machine::{NewPartition, Partition, Phase, Refusal, Span};

use crate::notes::{Note, Notes};
use crate::policy::{Entry, Policy, Start};
use crate::restart::{After, Record};

/// The first pause before something that was refused is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The machine as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its partitions.
    pub partitions: &'a [Partition],
    /// When, since some moment.
    pub now: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this partition; it is for the entry at this position.
    Create(usize, Box<NewPartition>),
    /// Set a limit.
    Limit(usize, PartitionRef, Resource, u64),
    /// Set a limit, if none is set: nobody knows what was granted before, or set by hand.
    LimitIfUnset(usize, PartitionRef, Resource, u64),
    /// Let the first ask the second for connections.
    Permit(PartitionRef, PartitionRef),
    /// Let it do so no more.
    Forbid(PartitionRef, PartitionRef),
    /// Start it.
    Start(usize, PartitionRef),
    /// Let it go on, if it is held for a device tree that is known: it was made by hand, and has begun again by itself.
    GoOn(PartitionRef),
    /// Tell the operator.
    Say(String),
}

/// What is remembered about a partition of the policy.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// Its limits are set.
    is_prepared: bool,
    /// Which limits the policy has set: what they are since is others' will.
    limits: Vec<(Resource, u64)>,
    /// Somebody before may have set its limits.
    is_found: bool,
    /// Since when the conditions of its start hold.
    holds_since: Option<Duration>,
    /// The life that the policy began last.
    began: Option<PartitionRef>,
    /// The life whose end was dealt with.
    dealt_with: Option<PartitionRef>,
    /// When it is started again.
    restart_at: Option<Duration>,
    restarts: Record,
    /// When what was refused is tried again, and how often it was.
    retry_at: Option<Duration>,
    refusals: u32,
    /// The operator knows that there is no such partition.
    is_missed: bool,
}

/// The policy at work.
#[derive(Clone, Debug)]
pub struct Engine {
    policy: Policy,
    memories: Vec<Memory>,
    /// Of which pairs, by words for their lives, it was said already whether they may talk.
    judged: BTreeSet<(u64, u64)>,
    next: Option<Duration>,
}

impl Engine {
    /// A policy that has looked at nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let memories = vec![Memory::default(); policy.partitions.len()];
        Self { policy, memories, judged: BTreeSet::new(), next: None }
    }

    /// Goes on where a policy program before this one has stopped, by the notes that it has left.
    pub fn go_on(&mut self, notes: &str) {
        self.judged = Notes::read_judged(notes).collect();
        for (name, note) in Notes::read(notes) {
            let named = |entry: &Entry| entry.name == name;
            let position = self.policy.partitions.iter().position(named);
            let Some(memory) = position.and_then(|it| self.memories.get_mut(it)) else { continue };
            match note {
                Note::Limit(resource, limit) => memory.limits.push((resource, limit)),
                Note::Began(life) => memory.began = Some(life),
                Note::DealtWith(life) => memory.dealt_with = Some(life),
                Note::Again(at) => memory.restart_at = Some(at),
                Note::Restarts(record) => memory.restarts = record,
            }
        }
    }

    /// What the policy program after this one has to know, and cannot see: for [`Engine::go_on`].
    #[must_use]
    pub fn notes(&self) -> String {
        let mut notes = Notes::default();
        for (entry, memory) in self.policy.partitions.iter().zip(&self.memories) {
            let limits = memory.limits.iter();
            let limits = limits.map(|(resource, limit)| Note::Limit(*resource, *limit));
            let rest = [
                memory.began.map(Note::Began),
                memory.dealt_with.map(Note::DealtWith),
                memory.restart_at.map(Note::Again),
                (memory.restarts != Record::default()).then_some(Note::Restarts(memory.restarts)),
            ];
            limits.chain(rest.into_iter().flatten()).for_each(|note| notes.add(&entry.name, note));
        }
        self.judged.iter().for_each(|pair| notes.add_judged(*pair));
        notes.text()
    }

    /// Goes on without notes: those of the program before went with its system. `found` is the machine as it is, `told` whose ends nobody had
    /// been told of yet. Limits that are set stay as they are. Who has ended in failure, more often than is put up with, and
    /// before the eyes of that program, was given up by it, or was about to be started the last time: it stays ended. What there
    /// is to say of it.
    pub fn find(&mut self, found: &[Partition], told: &[PartitionRef]) -> Vec<String> {
        let mut said = Vec::new();
        for (entry, memory) in self.policy.partitions.iter().zip(&mut self.memories) {
            let Some(partition) = found.iter().find(|it| it.name == entry.name) else { continue };
            memory.is_found = true;
            let (Phase::Ended, Some(rule), Some(cause)) =
                (partition.phase, &entry.restart, partition.cause)
            else {
                continue;
            };
            if told.contains(&partition.id) || !rule.has_had_enough(cause, partition.starts) {
                continue;
            }
            memory.dealt_with = Some(partition.id);
            let (name, id, starts) = (&entry.name, partition.id_text(), partition.starts);
            said.push(format!(
                "{name} (id {id}) had ended ({cause}) and was started {starts} times: it stays so"
            ));
        }
        said
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When it has to look again although nothing has happened.
    #[must_use]
    pub const fn next_look(&self) -> Option<Duration> {
        self.next
    }

    /// Looks at the machine; what is to be done, in this order. Doing it or not, the next look sees what came of it; of a start
    /// [`Engine::started`] is told.
    pub fn look(&mut self, seen: Seen<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.next = None;
        // Before anybody is started.
        self.judge_talk(seen.partitions, &mut actions);
        for position in 0..self.policy.partitions.len() {
            self.look_at(position, seen, &mut actions);
        }
        self.let_go_on(seen.partitions, &mut actions);
        actions
    }

    /// The partition of the entry at this position was started, and lives this life now: perhaps only to be held for its device tree, which
    /// whoever made it knows of; then it is started again.
    pub fn started(&mut self, position: usize, life: PartitionRef) {
        if let Some(memory) = self.memories.get_mut(position) {
            memory.began = Some(life);
        }
    }

    /// An action was refused: it is tried again later and later.
    pub fn refused(&mut self, action: &Action, refusal: &Refusal, now: Duration) -> Option<String> {
        if let Action::Permit(from, to) | Action::Forbid(from, to) = action {
            // It was started meanwhile: the next look names its new life.
            self.judged.remove(&(from.encode(), to.encode()));
            return (refusal.status != Status::PeerGone).then(|| refusal.to_string());
        }
        if matches!(action, Action::GoOn(_)) {
            if matches!(refusal.status, Status::PeerGone | Status::WrongState) {
                return None;
            }
            // Nothing happens to one that is held: nobody else would have it looked at again.
            self.next = earlier(self.next, Some(now.saturating_add(RETRY)));
            return Some(format!("{refusal}; tried again in {}", Span(RETRY)));
        }
        let (Action::Create(position, _)
        | Action::Limit(position, ..)
        | Action::LimitIfUnset(position, ..)
        | Action::Start(position, _)) = action
        else {
            return Some(refusal.to_string());
        };
        let name = &self.policy.partitions.get(*position)?.name;
        let memory = self.memories.get_mut(*position)?;
        let growth = 2_u32.checked_pow(memory.refusals).unwrap_or(u32::MAX);
        let pause = RETRY.saturating_mul(growth).min(LONGEST_RETRY);
        memory.refusals = memory.refusals.saturating_add(1);
        memory.retry_at = Some(now.saturating_add(pause));
        if matches!(action, Action::Start(_, id) if memory.dealt_with == Some(*id)) {
            memory.restart_at = memory.retry_at;
        }
        if let Action::Limit(_, _, which, _) | Action::LimitIfUnset(_, _, which, _) = action {
            memory.limits.retain(|(set, _)| set != which);
            memory.is_prepared = false;
        }
        self.next = earlier(self.next, memory.retry_at);
        Some(format!("{name}: {refusal}; tried again in {}", Span(pause)))
    }

    fn look_at(&mut self, position: usize, seen: Seen<'_>, actions: &mut Vec<Action>) {
        let (Some(entry), Some(memory)) =
            (self.policy.partitions.get(position), self.memories.get_mut(position))
        else {
            return;
        };
        if let Some(at) = memory.retry_at {
            if seen.now < at {
                self.next = earlier(self.next, Some(at));
                return;
            }
            memory.retry_at = None;
        }
        let Some(partition) = seen.partitions.iter().find(|it| it.name == entry.name) else {
            missing(position, entry, memory, actions);
            return;
        };
        memory.is_missed = false;
        if !memory.is_prepared {
            memory.is_prepared = true;
            set_limits(position, entry, memory, partition.id, actions);
        }
        let start = match partition.phase {
            // It is built, and gets its device tree before it runs.
            Phase::Held
                if memory.began == Some(partition.id)
                    || entry.create.as_ref().is_some_and(NewPartition::wants_tree) =>
            {
                Some(seen.now)
            }
            Phase::Active | Phase::Paused | Phase::Held => {
                memory.refusals = 0;
                None
            }
            Phase::Building | Phase::Ending => None,
            Phase::Ended if partition.starts > 0 => {
                after_an_end(entry, memory, partition, seen.now, actions);
                memory.restart_at
            }
            Phase::Created | Phase::Ended => first_start(&self.policy, entry, memory, seen),
        };
        match start {
            Some(at) if at <= seen.now => {
                memory.restart_at = None;
                actions.push(Action::Start(position, partition.id));
            }
            other => self.next = earlier(self.next, other),
        }
    }

    /// Those that others have made are held when they have begun again by themselves, and nobody else may look. Who has begun one from a shell
    /// looks as well: whoever comes second finds it running.
    fn let_go_on(&self, seen: &[Partition], actions: &mut Vec<Action>) {
        let held = seen.iter().filter(|it| it.is_dynamic && it.phase == Phase::Held);
        for Partition { id, name, .. } in held {
            let is_own = |entry: &Entry| entry.name == *name && entry.create.is_some();
            let is_started = |it: &Action| matches!(it, Action::Start(_, started) if started == id);
            if !self.policy.partitions.iter().any(is_own) && !actions.iter().any(is_started) {
                actions.push(Action::GoOn(*id));
            }
        }
    }

    /// Says of each life once to whom it may talk.
    fn judge_talk(&mut self, seen: &[Partition], actions: &mut Vec<Action>) {
        let lives: BTreeSet<u64> = seen.iter().map(|it| it.id.encode()).collect();
        self.judged.retain(|(from, to)| lives.contains(from) && lives.contains(to));
        for from in seen {
            for to in seen.iter().filter(|to| to.name != from.name) {
                let is_named = self.policy.may_talk(&from.name, &to.name);
                if (is_named || self.policy.forbids_other_talk)
                    && self.judged.insert((from.id.encode(), to.id.encode()))
                {
                    let action = if is_named { Action::Permit } else { Action::Forbid };
                    actions.push(action(from.id, to.id));
                }
            }
        }
    }
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Sets the limits that were not set yet, by this policy program or one before it. What was granted or set by hand since stays.
fn set_limits(
    position: usize,
    entry: &Entry,
    memory: &mut Memory,
    id: PartitionRef,
    actions: &mut Vec<Action>,
) {
    for (resource, limit) in &entry.limits {
        if memory.limits.contains(&(*resource, *limit)) {
            continue;
        }
        memory.limits.retain(|(set, _)| set != resource);
        memory.limits.push((*resource, *limit));
        let action = if memory.is_found { Action::LimitIfUnset } else { Action::Limit };
        actions.push(action(position, id, *resource, *limit));
    }
}

/// There is no partition of this name.
fn missing(position: usize, entry: &Entry, memory: &mut Memory, actions: &mut Vec<Action>) {
    if let Some(new) = &entry.create {
        // Its limits are among what it is made of.
        let (limits, refusals) = (entry.limits.clone(), memory.refusals);
        *memory = Memory { is_prepared: true, limits, refusals, ..Memory::default() };
        actions.push(Action::Create(position, Box::new(new.clone())));
    } else if !memory.is_missed {
        // What is made under this name later is another one, of which nothing is known.
        *memory = Memory { is_missed: true, ..Memory::default() };
        let name = &entry.name;
        actions.push(Action::Say(format!("{name}: neither the description nor `create` makes it")));
    }
}

/// When one that was never started is to be.
fn first_start(
    policy: &Policy,
    entry: &Entry,
    memory: &mut Memory,
    seen: Seen<'_>,
) -> Option<Duration> {
    let Start::When { active, ended, delay } = &entry.start else { return None };
    let find = |position: &usize| {
        let name = &policy.partitions.get(*position)?.name;
        seen.partitions.iter().find(|it| it.name == *name)
    };
    let is_active = |position| find(position).is_some_and(|it| it.phase == Phase::Active);
    let is_over = |position| {
        find(position).is_some_and(|it| {
            it.phase == Phase::Ended && it.cause.is_some_and(|cause| !cause.is_failure())
        })
    };
    if !active.iter().all(is_active) || !ended.iter().all(is_over) {
        memory.holds_since = None;
        return None;
    }
    Some(memory.holds_since.get_or_insert(seen.now).saturating_add(*delay))
}

/// One that had been started has ended: decides, once for each life, whether it will be again.
fn after_an_end(
    entry: &Entry,
    memory: &mut Memory,
    partition: &Partition,
    now: Duration,
    actions: &mut Vec<Action>,
) {
    let (Some(rule), Some(cause)) = (&entry.restart, partition.cause) else { return };
    if memory.dealt_with == Some(partition.id) {
        return;
    }
    memory.dealt_with = Some(partition.id);
    memory.restart_at = None;
    let (name, id) = (&entry.name, partition.id_text());
    match rule.after(&mut memory.restarts, cause, now) {
        After::Stay => {}
        After::GivenUp => {
            let text = format!("{name} (id {id}) has ended ({cause}) too often: it stays so");
            actions.push(Action::Say(text));
        }
        After::At(at) => {
            memory.restart_at = Some(at);
            let pause = Span(at.saturating_sub(now));
            let text = format!("{name} (id {id}) has ended ({cause}): started again in {pause}");
            actions.push(Action::Say(text));
        }
    }
}

#[cfg(test)]
mod tests;
