//! The policy program: who it is, what it may hand out, what it may load.

use shikiri_abi::RESOURCE_COUNT;

/// The longest that an answer may take, in milliseconds.
pub const MAX_ANSWER_MS: u32 = 60_000;
/// The most files that the policy program may load.
pub const MAX_POLICY_IMAGES: usize = 64;

/// What becomes of a request that the policy program does not answer in time, or cannot, as there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It is refused.
    Refused,
    /// It is granted as asked, if what may be handed out suffices.
    Granted,
}

/// Who makes policy, and what may be handed out (P7, P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The position of the partition that holds the policy capability.
    pub partition: Option<usize>,
    /// Places for partitions that are made at run time, behind those of the description.
    pub spare: usize,
    /// What becomes of a request without an answer.
    pub default: Unanswered,
    /// How long an answer may take.
    pub answer_ms: u32,
    /// The most that may be handed out, by `Resource::number`; `None` is unset.
    pub handout: [Option<u64>; RESOURCE_COUNT],
}

/// A file that the policy program may load into partitions that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyImage<'a> {
    /// What the description calls it.
    pub name: &'a str,
    /// The blob's index.
    pub blob: usize,
}
