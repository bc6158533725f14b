//! What a policy says, checked.

use core::time::Duration;

use shikiri_abi::Resource;
use shikiri_machine::{NewPartition, resource_word};

use crate::restart::RestartRule;

/// A policy: what the file says, with every name known and every amount read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The partitions that it is about, in the file's order.
    pub partitions: Vec<Entry>,
    /// What is granted; the first that fits a request decides.
    pub grants: Vec<Grant>,
    /// Who may ask whom for connections: positions in `partitions`.
    pub talk: Vec<(usize, usize)>,
    /// Nobody else may, whatever the description permits.
    pub forbids_other_talk: bool,
}

impl Policy {
    /// Whether a `[[talk]]` names these two.
    #[must_use]
    pub fn may_talk(&self, from: &str, to: &str) -> bool {
        let is = |position: usize, name| {
            self.partitions.get(position).is_some_and(|entry| entry.name == name)
        };
        self.talk.iter().any(|pair| is(pair.0, from) && is(pair.1, to))
    }
}

/// A partition of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is made of, if it is not the description's.
    pub create: Option<NewPartition>,
    /// Limits to set.
    pub limits: Vec<(Resource, u64)>,
    /// When it is started.
    pub start: Start,
    /// What happens when it has ended; `None` leaves that to the description.
    pub restart: Option<RestartRule>,
}

/// When a partition is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Not by the policy.
    Never,
    /// Once these are active, and those have ended without failure, for so long.
    When {
        /// Positions of those that have to be active.
        active: Vec<usize>,
        /// Positions of those that have to have ended, their last life without failure.
        ended: Vec<usize>,
        /// How long that has to have been so.
        delay: Duration,
    },
}

/// A rule for requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Positions of those that it is for; `None`: for all.
    pub to: Option<Vec<usize>>,
    /// What it grants.
    pub of: Good,
    /// The most that a grant leads to: of a resource its limit, of core time what is used (all that the vCPUs are promised). `None`: no
    /// bound of its own.
    pub up_to: Option<u64>,
    /// How much of what may be handed out stays.
    pub keep: u64,
    /// Whether a request that does not fit gets what does.
    pub or_less: bool,
}

/// What a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    /// More of a resource.
    Resource(Resource),
    /// The vCPUs that are kept back for a partition, as many as it asks for.
    Vcpus,
    /// A device that is kept back for a partition: this one, or any.
    Device(Option<u8>),
}

impl Good {
    /// The file's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resource(resource) => resource_word(resource),
            Self::Vcpus => VCPUS,
            Self::Device(_) => DEVICE,
        }
    }
}

/// The file's word for [`Good::Vcpus`].
pub(crate) const VCPUS: &str = "vcpus";
/// The file's word for [`Good::Device`].
pub(crate) const DEVICE: &str = "device";

impl Grant {
    /// The rule in a few words, for messages.
    #[must_use]
    pub fn name(&self, number: usize) -> String {
        format!("grant {} ({})", number.saturating_add(1), self.of.word())
    }
}
