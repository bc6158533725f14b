//! A machine as the programs of the system control OS see it: its partitions and their accounts, what can be done to them, and
//! the units in which people write amounts.
//!
//! [`Machine`] is the door: policy calls, made by whoever implements it. The shell and the policy program know nothing else of the
//! hypervisor, and their tests run on a machine of their own.

mod amount;
mod device;
mod door;
mod given;
mod layout;
mod look;
mod memory;
mod refusal;
mod table;
mod view;
mod words;

pub use amount::{
    Amount, BadAmount, Span, is_enforced, resource_named, resource_word, resource_words,
};
pub use device::{Device, Events, PATH as DEVICE, replace};
pub use door::{Calls, Door, Trees};
pub use given::{MOST_VCPUS, OwnedDevice};
pub use layout::{FLAT_AT, image_number};
pub use look::{End, Exit, Stand, Thing, What};
pub use memory::Region;
pub use refusal::{Act, Over, Refusal, Rule};
pub use shikiri_abi::{NewAreas, Status};
pub use shikiri_tree::Gic;
pub use table::{Align, Table};
pub use view::{
    Account, Asked, Boot, Cause, Cores, Line, NewPartition, NewVcpu, Partition, Phase, Time, Wanted,
};

use shikiri_abi::{PartitionRef, Resource};

/// The machine that this program's system is a part of.
#[must_use]
pub fn open() -> Box<dyn Machine> {
    Box::new(Door(Device::open()))
}

/// What can be seen of a machine and done to it (P7). Each is one policy call, or a few.
pub trait Machine {
    /// Its partitions that have an id, in the order of their places.
    ///
    /// # Errors
    /// The caller may not make policy.
    fn partitions(&self) -> Result<Vec<Partition>, Refusal>;

    /// A partition's account.
    ///
    /// # Errors
    /// It has gone, or the caller may not make policy.
    fn account(&self, id: PartitionRef) -> Result<Account, Refusal>;

    /// What may be handed out, and what is.
    ///
    /// # Errors
    /// The caller may not make policy.
    fn handout(&self) -> Result<Account, Refusal>;

    /// The files that partitions made at run time can be given, by name.
    ///
    /// # Errors
    /// The caller may not make policy.
    fn images(&self) -> Result<Vec<String>, Refusal>;

    /// Makes a partition of nothing, as `new` says, and does not start it.
    ///
    /// # Errors
    /// The first step that was refused; nothing is left of the partition then.
    fn create(&mut self, new: &NewPartition) -> Result<PartitionRef, Refusal>;

    /// What a partition that was made is made of, in the words of [`NewPartition::note`], if whoever made it has noted that.
    ///
    /// # Errors
    /// It has gone, is of the description, or the caller may not make policy.
    fn made_of(&self, id: PartitionRef) -> Result<Option<String>, Refusal>;

    /// Whether [`Act::Start`] only has it built and held, for its device tree, and has to come again once it is held.
    ///
    /// # Errors
    /// The caller may not make policy.
    fn is_held_first(&self, id: PartitionRef) -> Result<bool, Refusal>;

    /// Sets or unsets the limit of a resource.
    ///
    /// # Errors
    /// More is in use, or may not be handed out.
    fn set_limit(
        &mut self,
        id: PartitionRef,
        resource: Resource,
        limit: Option<u64>,
    ) -> Result<(), Refusal>;

    /// Does what needs no more than a word: see [`Act`]. Answers the partition's id, which is new after a start.
    /// A start of what is held first, and already runs because somebody else has come first, is done.
    ///
    /// # Errors
    /// The partition has gone, or is in a state where that cannot be done.
    fn act(&mut self, id: PartitionRef, act: Act) -> Result<PartitionRef, Refusal>;

    /// Takes the notices of ended partitions that wait; what they say is seen in [`Machine::partitions`] too. Whose lives they
    /// were.
    ///
    /// # Errors
    /// The caller may not make policy.
    fn take_notices(&mut self) -> Result<Vec<PartitionRef>, Refusal>;

    /// Takes the oldest request of a partition for more.
    ///
    /// # Errors
    /// The caller may not make policy.
    fn take_request(&mut self) -> Result<Option<Asked>, Refusal>;

    /// Answers a request that was taken: with how much is granted (of a peer 0), or with a refusal.
    ///
    /// # Errors
    /// Not so much may be handed out, and the request stays open; or whoever asked has gone, or waits no more.
    fn answer(&mut self, asked: &Asked, granted: Option<u64>) -> Result<(), Refusal>;

    /// Says that `from` may ask `to` for connections, or may no longer.
    ///
    /// # Errors
    /// One of them has gone.
    fn permit(&mut self, from: PartitionRef, to: PartitionRef, may: bool) -> Result<(), Refusal>;

    /// What a partition has written to its console, as far as it is kept, from this position on; the position behind it.
    ///
    /// # Errors
    /// It has gone, or has no console.
    fn console(&self, id: PartitionRef, from: u64) -> Result<(Vec<u8>, u64), Refusal>;

    /// Gives the machine's keyboard to a partition.
    ///
    /// # Errors
    /// It has gone, or has no console now.
    fn focus(&mut self, id: PartitionRef) -> Result<(), Refusal>;

    /// The ports, areas and other things that a partition has handles of, in the order of its table.
    ///
    /// # Errors
    /// It has gone, or does not live.
    fn things(&self, id: PartitionRef) -> Result<Vec<Thing>, Refusal>;

    /// The last exits of a partition's vCPU, newest first.
    ///
    /// # Errors
    /// It has gone, does not live, or has no such vCPU.
    fn exits(&self, id: PartitionRef, vcpu: u8) -> Result<Vec<Exit>, Refusal>;
}
