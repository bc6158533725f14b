//! Why something was not done, in words that name the rule.

use core::fmt;

use shikiri_abi::{PAGE_BYTES, PartitionRef, Resource, Status};

use crate::amount::{Amount, resource_word};
use crate::view::{Line, Partition, Phase};

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

    /// Whether it can be done to one in this state.
    const fn is_for(self, phase: Phase) -> bool {
        match self {
            Self::Start => matches!(phase, Phase::Created | Phase::Held | Phase::Ended),
            Self::Pause => matches!(phase, Phase::Active),
            Self::Resume => matches!(phase, Phase::Paused),
            Self::End => !matches!(phase, Phase::Created | Phase::Ended),
            Self::Restart => !matches!(phase, Phase::Created),
            Self::Destroy => matches!(phase, Phase::Created | Phase::Ended),
        }
    }

    /// To whom it can be done, in words.
    const fn only(self) -> &'static str {
        match self {
            Self::Start => "one that is created or ended can be started",
            Self::Pause => "one that is active can be paused",
            Self::Resume => "one that is paused can be resumed",
            Self::End => "one that lives can be ended",
            Self::Restart => "one that was started before can be restarted",
            Self::Destroy => "one that is created or ended can be destroyed",
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

/// What is not kept to.
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
    /// The partition of this name is in a state in which that cannot be; only such a one has it or can have it done.
    State(String, Phase, &'static str),
    /// A limit is more than can be handed out, of which so much may be and is; `None` is no limit.
    HandOut(Resource, Option<u64>, Line),
    /// Something else, in words.
    Other(String),
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
            Self::State(name, phase, only) => write!(f, "{name} is {phase}: only {only}"),
            Self::HandOut(resource, limit, Line { limit: most, used, .. }) => {
                let amount = |value| Amount { resource: *resource, value };
                let limit =
                    limit.map_or("no limit".to_owned(), |it| format!("a limit of {}", amount(it)));
                let most = most.map_or("nothing".to_owned(), |it| amount(it).to_string());
                let (over, used) = (Over::Handout(*resource), amount(*used));
                write!(
                    f,
                    "{}: {limit} is over {over}: {most} in all, {used} of it given already",
                    resource_word(*resource)
                )
            }
            Self::Other(text) => f.write_str(text),
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
            Rule::Key(..) | Rule::Other(_) => Status::InvalidParameter,
            Rule::State(..) => Status::WrongState,
            Rule::HandOut(..) => Status::OverLimit,
        };
        Self::new("create", None, status).for_that(rule)
    }

    /// What is done to a partition does not fit its state, which this is now.
    #[must_use]
    pub fn of_state(act: Act, now: &Partition) -> Self {
        let plain = Self::new(act.word(), Some(now.id), Status::WrongState);
        // It may have changed since: that would be no reason.
        if act.is_for(now.phase) {
            return plain;
        }
        plain.for_that(Rule::State(now.name.clone(), now.phase, act.only()))
    }

    /// The same refusal, with the rule that is behind its status.
    #[must_use]
    pub(crate) fn for_that(self, rule: Rule) -> Self {
        Self { rule: Some(rule), ..self }
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
    use super::{Act, Over, Refusal, Rule};
    use crate::view::{Line, Partition, Phase};
    use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource, Status};

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
    fn what_does_not_fit_a_state_says_which_state_that_is_and_which_fits() {
        let mut it = Partition {
            id: PartitionRef { place: PartitionSlot(1), id: PartitionId(7) },
            name: "w".to_owned(),
            phase: Phase::Active,
            cause: None,
            vcpus: 1,
            starts: 1,
            is_dynamic: true,
            makes_policy: false,
        };
        for (act, phase, text) in [
            (
                Act::Start,
                Phase::Active,
                "w is active: only one that is created or ended can be started",
            ),
            (Act::Pause, Phase::Ended, "w is ended: only one that is active can be paused"),
            (Act::Resume, Phase::Active, "w is active: only one that is paused can be resumed"),
            (Act::End, Phase::Ended, "w is ended: only one that lives can be ended"),
            (
                Act::Restart,
                Phase::Created,
                "w is created: only one that was started before can be restarted",
            ),
            (
                Act::Destroy,
                Phase::Paused,
                "w is paused: only one that is created or ended can be destroyed",
            ),
            // It has changed since it was refused.
            (Act::Resume, Phase::Paused, "resume of partition 7: wrong state"),
        ] {
            it.phase = phase;
            let refusal = Refusal::of_state(act, &it);
            assert_eq!((refusal.status, refusal.to_string().as_str()), (Status::WrongState, text));
        }
    }

    #[test]
    fn a_new_partition_s_mistake_is_said_with_its_rule() {
        let there = vec!["a".to_owned(), "b".to_owned()];
        let hand_out = Line { limit: Some(65_536), used: 1024, high: 1024 };
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
            (
                Rule::HandOut(Resource::Memory, Some(1 << 18), hand_out),
                "memory: a limit of 1G is over what may be handed out of memory: 256M in all, 4M of it given already",
            ),
            (
                Rule::HandOut(
                    Resource::CoreTime,
                    None,
                    Line { limit: Some(2_500_000), used: 0, high: 0 },
                ),
                "core_time: no limit is over what may be handed out of core time: 250% in all, 0% of it given already",
            ),
        ] {
            assert_eq!(Refusal::by(rule).to_string(), text);
        }
    }
}
