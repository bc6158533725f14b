//! What is to be done now: the machine as it is, compared with what the policy wants.

use core::time::Duration;

use shikiri_abi::{PartitionRef, Resource, Status};
use shikiri_machine::{NewPartition, Partition, Phase, Refusal, Span};

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
    Create(usize, NewPartition),
    /// See that the device tree is known of the partition that was made for the entry at this position.
    Describe(usize, NewPartition),
    /// Set a limit.
    Limit(usize, PartitionRef, Resource, u64),
    /// Let the first ask the second for connections.
    Permit(PartitionRef, PartitionRef),
    /// Start it.
    Start(usize, PartitionRef),
    /// Tell the operator.
    Say(String),
}

/// What is remembered about a partition of the policy.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// Its limits are set.
    is_prepared: bool,
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
    /// Which pairs of the policy's `talk` are permitted already, by the ids of their lives.
    permitted: Vec<Option<(PartitionRef, PartitionRef)>>,
    next: Option<Duration>,
}

impl Engine {
    /// A policy that has looked at nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let memories = vec![Memory::default(); policy.partitions.len()];
        let permitted = vec![None; policy.talk.len()];
        Self { policy, memories, permitted, next: None }
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
        for position in 0..self.policy.partitions.len() {
            self.look_at(position, seen, &mut actions);
        }
        self.permit(seen, &mut actions);
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
        if let Action::Permit(from, to) = action {
            // It was started meanwhile, by this very look perhaps: the next one names its new life.
            let meant = self.permitted.iter_mut().filter(|it| **it == Some((*from, *to)));
            meant.for_each(|it| *it = None);
            return (refusal.status != Status::PeerGone).then(|| refusal.to_string());
        }
        let (Action::Create(position, _)
        | Action::Describe(position, _)
        | Action::Limit(position, ..)
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
        memory.is_prepared &= !matches!(action, Action::Limit(..) | Action::Describe(..));
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
            let limits = entry.limits.iter();
            actions.extend(
                limits.map(|(it, limit)| Action::Limit(position, partition.id, *it, *limit)),
            );
            if let Some(new) = entry.create.as_ref().filter(|new| new.wants_tree()) {
                // Whoever made it may have taken its device tree along: it is not started before that is known.
                actions.push(Action::Describe(position, new.clone()));
                self.next = earlier(self.next, Some(seen.now));
                return;
            }
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

    fn permit(&mut self, seen: Seen<'_>, actions: &mut Vec<Action>) {
        let id = |position: &usize| {
            let name = &self.policy.partitions.get(*position)?.name;
            seen.partitions.iter().find(|it| it.name == *name).map(|it| it.id)
        };
        for ((from, to), permitted) in self.policy.talk.iter().zip(&mut self.permitted) {
            let Some(pair) = id(from).zip(id(to)) else { continue };
            if *permitted != Some(pair) {
                *permitted = Some(pair);
                actions.push(Action::Permit(pair.0, pair.1));
            }
        }
    }
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// There is no partition of this name.
fn missing(position: usize, entry: &Entry, memory: &mut Memory, actions: &mut Vec<Action>) {
    if let Some(new) = &entry.create {
        // Its limits are among what it is made of.
        *memory = Memory { is_prepared: true, refusals: memory.refusals, ..Memory::default() };
        actions.push(Action::Create(position, new.clone()));
    } else if !memory.is_missed {
        memory.is_missed = true;
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
