//! Starting a partition: one with a device tree is built and held, loaded, and then let run.

use shikiri_abi::{PartitionRef, Status};

use super::{Calls, Door, PARTITION_START, Trees, refusal};
use crate::memory::MEMORY_AT;
use crate::refusal::{Act, Refusal, Rule};
use crate::view::{NewPartition, Partition, Phase};

/// When a partition that is started runs.
#[derive(Clone, Copy, Debug)]
enum Run {
    /// As soon as it is built.
    WhenBuilt,
    /// It is held when it is built.
    NotYet,
    /// Now, if it is held; else no life begins.
    IfHeld,
}

impl<C: Calls + Trees> Door<C> {
    /// Keeps a partition's tree, or that it has none.
    pub(super) fn remember(&self, new: &NewPartition, tree: Option<&[u8]>) -> Result<(), Refusal> {
        let Some(tree) = tree else {
            self.0.forget(&new.name);
            return Ok(());
        };
        let kept = self.0.keep(&new.name, tree);
        kept.map_err(|error| Refusal::by(Rule::NoTree(error.to_string())))
    }

    /// The partition's tree, and the phase that it is in.
    pub(super) fn tree(&self, it: PartitionRef) -> Result<Option<(Vec<u8>, Phase)>, Refusal> {
        let partition = self.at(u64::from(it.place.0))?.filter(|there| there.id == it);
        let Some(made) = partition.filter(|there| there.is_dynamic) else { return Ok(None) };
        let tree = match self.0.kept(&made.name) {
            None => self.tree_anew(&made)?,
            kept => kept,
        };
        Ok(tree.map(|tree| (tree, made.phase)))
    }

    /// Makes the tree anew of one that is made, by what is noted at it, and keeps it if there is room: the system that made it has been restarted.
    fn tree_anew(&self, made: &Partition) -> Result<Option<Vec<u8>>, Refusal> {
        // Another program, that makes partitions in its own way, notes what it likes, or nothing.
        let new = NewPartition::read_note(&made.name, &self.note(made.id)?).ok();
        let Some(new) = new.filter(NewPartition::wants_tree) else { return Ok(None) };
        let tree = self.plan(&new)?.tree;
        // What is not kept is made anew the next time.
        let _kept = self.remember(&new, tree.as_deref());
        Ok(tree)
    }

    /// Starts a partition; one with a tree in two steps, of which this does the next one.
    pub(super) fn start(&self, it: PartitionRef) -> Result<PartitionRef, Refusal> {
        let started = match self.tree(it)? {
            None => return self.run(it, Run::WhenBuilt),
            Some((tree, Phase::Held)) => self.load(it, &tree).and_then(|()| self.release(it)),
            Some(_) => self.run(it, Run::NotYet),
        };
        match started {
            // Somebody else has come first.
            Err(refusal) if refusal.status == Status::WrongState && self.has_begun(it)? => Ok(it),
            started => started,
        }
    }

    /// Lets a held life run. If it was ended meanwhile, no other one begins, which would find no tree.
    fn release(&self, it: PartitionRef) -> Result<PartitionRef, Refusal> {
        self.run(it, Run::IfHeld)
    }

    /// Whether this life has begun to run, and is not over.
    fn has_begun(&self, it: PartitionRef) -> Result<bool, Refusal> {
        let now = self.at(u64::from(it.place.0))?.filter(|there| there.id == it);
        Ok(now.is_some_and(|it| matches!(it.phase, Phase::Active | Phase::Paused)))
    }

    fn run(&self, it: PartitionRef, when: Run) -> Result<PartitionRef, Refusal> {
        let hold = match when {
            Run::WhenBuilt => 0,
            Run::NotYet => 1,
            Run::IfHeld => 2,
        };
        let x = [it.encode(), hold, 0, 0, 0, 0];
        let [word, ..] = self.call((Act::Start.word(), Some(it)), PARTITION_START, x)?;
        Ok(PartitionRef::decode(word).unwrap_or(it))
    }

    fn load(&self, it: PartitionRef, tree: &[u8]) -> Result<(), Refusal> {
        // The call copies words.
        let mut words = tree.to_vec();
        words.resize(tree.len().next_multiple_of(8), 0);
        let (step, mut rest, mut to) = ("device tree", words.as_slice(), MEMORY_AT);
        while !rest.is_empty() {
            let answer = self.0.load(it.encode(), to, rest);
            let none = Refusal::new(step, Some(it), Status::NotSupported);
            let [status, values @ ..] = answer.ok_or(none)?;
            let status = Status::from_code(status.cast_signed()).unwrap_or(Status::NotSupported);
            let [copied, ..] = values;
            rest = match usize::try_from(copied) {
                Ok(copied) if status == Status::Ok && copied > 0 => {
                    rest.get(copied..).unwrap_or(&[])
                }
                _ => return Err(refusal(step, Some(it), status, values)),
            };
            to = to.saturating_add(copied);
        }
        Ok(())
    }
}
