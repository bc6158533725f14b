//! Why something was not done, in words that name the rule.

use core::fmt;

use shikiri_abi::{PAGE_BYTES, PartitionRef, Resource, Status};

use crate::amount::Amount;

/// What can be done to a partition with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Starts it, under a new id.
    Start,
    /// Its vCPUs stop where they are.
    Pause,
    /// They go on.
    Resume,
    /// Ends it.
    End,
    /// Ends it and starts it again.
    Restart,
    /// Forgets one that has ended or was never started; only those made at run time.
    Destroy,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Start, Self::Pause, Self::Resume, Self::End, Self::Restart, Self::Destroy];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::End => "end",
            Self::Restart => "restart",
            Self::Destroy => "destroy",
        }
    }
}

/// The hypervisor refused, or what it would have been asked for cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was being done.
    pub step: &'static str,
    /// To whom.
    pub partition: Option<PartitionRef>,
    /// The status.
    pub status: Status,
    /// What is over, for [`Status::OverLimit`].
    pub over: Option<Over>,
    /// The rule in words: of what did not come to the hypervisor, or of what its status means there.
    pub rule: Option<Rule>,
}

/// What a new partition does not keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// There is no image of this name; there are those.
    Image {
        /// The name.
        wanted: String,
        /// The images that there are.
        there: Vec<String>,
    },
    /// What it runs does not fit into its memory.
    Memory {
        /// Bytes that it needs.
        needs: u64,
        /// Bytes that it has.
        has: u64,
    },
    /// Its device tree is too large.
    Tree {
        /// Its bytes.
        bytes: u64,
        /// The most that there is room for.
        most: u64,
    },
    /// Its device tree cannot be made or kept, for this reason.
    NoTree(String),
    /// What a key says cannot be given, for this reason.
    Key(&'static str, String),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole pages up, so that what is said to be needed is enough.
        let size =
            |bytes: u64| Amount { resource: Resource::Memory, value: bytes.div_ceil(PAGE_BYTES) };
        match self {
            Self::Image { wanted, there } => {
                write!(f, "there is no image `{wanted}`; there are {}", there.join(", "))
            }
            Self::Memory { needs, has } => {
                let (needs, has) = (size(*needs), size(*has));
                write!(f, "not enough memory: {has}, and what it runs needs {needs}")
            }
            Self::Tree { bytes, most } => {
                write!(f, "the device tree is too large: {bytes} bytes, and at most {most} fit")
            }
            Self::NoTree(why) => write!(f, "its device tree: {why}"),
            Self::Key(key, why) => write!(f, "{key}: {why}"),
        }
    }
}

/// Whose limit a request was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The partition's own.
    Own(Resource),
    /// That of all that may be handed out; or the partition has none, and so cannot be given any.
    Handout(Resource),
    /// What a core has left: at most so much, in parts per million.
    Cores(u64),
    /// The vCPUs that are kept back for the partition.
    Vcpus,
}

/// In `x1`: [`Over::Vcpus`].
const VCPUS: u64 = 17;

impl Over {
    /// What `x1` and `x2` say.
    pub(crate) fn decode(which: u64, most: u64) -> Option<Self> {
        if which == VCPUS {
            return Some(Self::Vcpus);
        }
        let resource = Resource::try_from(which & 0xff).ok()?;
        Some(match which >> 8 {
            0 => Self::Own(resource),
            1 => Self::Handout(resource),
            2 => Self::Cores(most),
            _ => return None,
        })
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(resource) => write!(f, "the partition's own limit of {resource}"),
            Self::Handout(resource) => write!(f, "what may be handed out of {resource}"),
            Self::Vcpus => f.write_str("the vCPUs that are kept back for it"),
            Self::Cores(ppm) => {
                let most = Amount { resource: Resource::CoreTime, value: *ppm };
                write!(f, "what these cores have left, {most} at most")
            }
        }
    }
}

impl Refusal {
    /// A refusal of a step with a status.
    #[must_use]
    pub const fn new(step: &'static str, partition: Option<PartitionRef>, status: Status) -> Self {
        Self { step, partition, status, over: None, rule: None }
    }

    /// A refusal by a rule that does not need the hypervisor.
    #[must_use]
    pub(crate) fn by(rule: Rule) -> Self {
        let status = match rule {
            Rule::Image { .. } => Status::NotFound,
            Rule::Memory { .. } | Rule::Tree { .. } => Status::Range,
            Rule::NoTree(_) => Status::NoMemory,
            Rule::Key(..) => Status::InvalidParameter,
        };
        Self { rule: Some(rule), ..Self::new("create", None, status) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.rule {
            return rule.fmt(f);
        }
        f.write_str(self.step)?;
        // One that was never started has no id yet; whoever asks knows its name.
        if let Some(id) = self.partition.filter(|it| it.id.0 != 0) {
            write!(f, " of partition {}", id.id.0)?;
        }
        match (self.status, self.over) {
            (Status::OverLimit, Some(over)) => write!(f, ": over {over}"),
            (Status::NotPermitted, _) => {
                f.write_str(": the caller does not hold the policy capability")
            }
            (status, _) => write!(f, ": {status}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::{Over, Refusal, Rule};
    use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Status};

    #[test]
    fn a_refusal_names_what_whom_and_which_rule() {
        let plain = Refusal::new(
            "start",
            Some(PartitionRef { place: PartitionSlot(1), id: PartitionId(7) }),
            Status::WrongState,
        );
        assert_eq!(plain.to_string(), "start of partition 7: wrong state");
        let over = |which, most| {
            let over = Over::decode(which, most);
            Refusal { status: Status::OverLimit, over, ..plain.clone() }.to_string()
        };
        assert_eq!(over(2, 0), "start of partition 7: over the partition's own limit of memory");
        assert_eq!(over(256, 0), "start of partition 7: over what may be handed out of core time");
        assert_eq!(
            over(512, 250_000),
            "start of partition 7: over what these cores have left, 25% at most"
        );
        assert_eq!(over(17, 0), "start of partition 7: over the vCPUs that are kept back for it");
        assert_eq!(over(u64::MAX, 0), "start of partition 7: over the account's limit");
    }

    #[test]
    fn a_new_partition_s_mistake_is_said_with_its_rule() {
        let there = vec!["a".to_owned(), "b".to_owned()];
        for (rule, text) in [
            (
                Rule::Image { wanted: "c".to_owned(), there },
                "there is no image `c`; there are a, b",
            ),
            (
                Rule::Memory { needs: (40 << 20) + 1, has: 32 << 20 },
                "not enough memory: 32M, and what it runs needs 40964K",
            ),
            (
                Rule::Tree { bytes: 70_000, most: 65_536 },
                "the device tree is too large: 70000 bytes, and at most 65536 fit",
            ),
        ] {
            assert_eq!(Refusal::by(rule).to_string(), text);
        }
    }
}
