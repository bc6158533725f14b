//! What is seen: partitions, accounts; and what a new partition is made of.

use core::fmt;

use shikiri_abi::{EndCause, NewAreas, PartitionRef, PartitionState, RESOURCE_COUNT, Resource};

use crate::amount::Span;
use crate::given::OwnedDevice;
use crate::memory::Region;

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made, and owns what it was given; was never started.
    Created,
    /// Is being put together.
    Building,
    /// Is put together, and can be loaded before it runs.
    Held,
    /// Runs.
    Active,
    /// Is there and does not run.
    Paused,
    /// Is being stopped and taken apart.
    Ending,
    /// Owns nothing; can be started again.
    Ended,
}

impl Phase {
    /// The phase of PARTITION_LIST's number. One that is being destroyed is ending, and so is what has come later than this program:
    /// nothing is begun with it until it is something else.
    pub(crate) const fn of(code: u8) -> Self {
        match PartitionState::from_code(code) {
            Some(PartitionState::Created) => Self::Created,
            Some(PartitionState::Building) => Self::Building,
            Some(PartitionState::Held) => Self::Held,
            Some(PartitionState::Active) => Self::Active,
            Some(PartitionState::Paused) => Self::Paused,
            Some(PartitionState::Ended) => Self::Ended,
            Some(PartitionState::Ending | PartitionState::Leaving) | None => Self::Ending,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Building => "building",
            Self::Held => "held",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ending => "ending",
            Self::Ended => "ended",
        })
    }
}

/// Why a partition ended last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It turned itself off.
    Off,
    /// It asked for a reset.
    Reset,
    /// It ended itself with this code.
    Code(u32),
    /// It faulted.
    Fault,
    /// The operator or the policy program stopped it.
    Stopped,
    /// It could not be put together.
    NotBuilt,
    /// Something that has come later than this program, by its number.
    Other(u8),
}

impl Cause {
    /// The cause of PARTITION_LIST's number and code; none of 0.
    pub(crate) const fn of(number: u8, code: u32) -> Option<Self> {
        Some(match EndCause::decode(number, code) {
            Some(EndCause::Off) => Self::Off,
            Some(EndCause::Reset) => Self::Reset,
            Some(EndCause::Code(code)) => Self::Code(code),
            Some(EndCause::Fault) => Self::Fault,
            Some(
                EndCause::Operator
                | EndCause::OperatorRestart
                | EndCause::Policy
                | EndCause::PolicyRestart,
            ) => Self::Stopped,
            Some(EndCause::NotBuilt) => Self::NotBuilt,
            None if number == 0 => return None,
            None => Self::Other(number),
        })
    }

    /// Whether it counts as a failure: a fault, or a code other than 0.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Fault | Self::NotBuilt)
            || matches!(self, Self::Code(code) if code != 0)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.pad("off"),
            Self::Reset => f.pad("reset"),
            Self::Code(code) => f.pad(&format!("code {code}")),
            Self::Fault => f.pad("fault"),
            Self::Stopped => f.pad("stopped"),
            Self::NotBuilt => f.pad("not built"),
            Self::Other(number) => f.pad(&format!("cause {number}")),
        }
    }
}

/// How many cores can be named.
const MOST_CORES: u32 = 64;

/// Cores by number, 0 to 63: as many as VCPU_ADD can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cores(pub u64);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut core = 0_u32;
        while core < MOST_CORES {
            let first = core;
            while self.has(core) {
                core = core.saturating_add(1);
            }
            if core > first {
                let last = core.saturating_sub(1);
                let comma = if text.is_empty() { "" } else { "," };
                text += &match last.saturating_sub(first) {
                    0 => format!("{comma}{first}"),
                    1 => format!("{comma}{first},{last}"),
                    _ => format!("{comma}{first}-{last}"),
                };
            }
            core = core.saturating_add(1);
        }
        f.pad(if text.is_empty() { "-" } else { &text })
    }
}

impl Cores {
    /// Whether a core is one of them.
    #[must_use]
    pub fn has(self, core: u32) -> bool {
        1_u64.checked_shl(core).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The core with the highest number.
    #[must_use]
    pub const fn last(self) -> Option<u32> {
        self.0.checked_ilog2()
    }

    /// Reads `0`, `1-3`, `0,2-3`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = Self::read(text);
        read.ok_or_else(|| {
            let last = MOST_CORES.saturating_sub(1);
            format!("`{text}` are no cores such as `0` or `1-3`, 0 to {last}")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut cores = 0_u64;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            if first > last || last >= MOST_CORES {
                return None;
            }
            for core in first..=last {
                cores |= 1_u64.checked_shl(core)?;
            }
        }
        Some(Self(cores))
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its place, and the id of its present or last life: new with each start, 0 before the first.
    pub id: PartitionRef,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// Why its last life ended.
    pub cause: Option<Cause>,
    /// How many vCPUs it has.
    pub vcpus: u32,
    /// How often it was started.
    pub starts: u32,
    /// Whether it was made at run time, and can be destroyed.
    pub is_dynamic: bool,
    /// Whether it holds the policy capability.
    pub makes_policy: bool,
}

impl Partition {
    /// Its id for a table: `-` before its first life.
    #[must_use]
    pub fn id_text(&self) -> String {
        if self.id.id.0 == 0 { "-".to_owned() } else { self.id.id.0.to_string() }
    }
}

/// A line of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The limit; `None` is unset, which is not zero.
    pub limit: Option<u64>,
    /// What is charged now.
    pub used: u64,
    /// The most that ever was.
    pub high: u64,
}

impl Line {
    /// What is left below the limit; `None` without one.
    #[must_use]
    pub fn left(self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }
}

/// An account: a line for each resource (P3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The lines, by the resources' numbers.
    pub lines: [Line; RESOURCE_COUNT],
}

impl Account {
    /// The line of a resource.
    #[must_use]
    pub fn line(&self, resource: Resource) -> Line {
        self.lines.get(usize::from(resource.number())).copied().unwrap_or_default()
    }
}

/// A partition has asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub from: PartitionRef,
    /// For what.
    pub wanted: Wanted,
    /// Which of all requests that were ever made.
    pub number: u64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So much more of a resource; of core time it is [`Wanted::Time`].
    More(Resource, u64),
    /// More time for this vCPU of its own, in ppm of that one's core.
    Time(u8, u64),
    /// So many of its vCPUs that are kept back.
    Vcpus(u64),
    /// The device that is kept back under this number.
    Device(u8),
    /// That it may ask the partition at this place for connections.
    Peer(u64),
    /// What this program knows nothing of, by its number.
    Other(u64),
}

/// A vCPU's right to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// It owns its core.
    Owned,
    /// So many microseconds of every period.
    Reservation {
        /// The budget in microseconds.
        budget_us: u32,
        /// The period in microseconds.
        period_us: u32,
    },
}

impl Time {
    /// A reservation, of spans as people write them. Whether the period has room for the budget is said with the rest of what is
    /// wrong, by [`NewPartition::contradiction`].
    ///
    /// # Errors
    /// What is too long, in words: more than some 71 minutes.
    pub fn reservation(budget: Span, period: Span) -> Result<Self, String> {
        let us = |span: Span| {
            u32::try_from(span.0.as_micros()).map_err(|_| format!("`{span}` is too long"))
        };
        Ok(Self::Reservation { budget_us: us(budget)?, period_us: us(period)? })
    }

    /// The share of a core, in parts per million; a reservation's is rounded up.
    #[must_use]
    pub fn ppm(self) -> u64 {
        match self {
            Self::Owned => 1_000_000,
            Self::Reservation { budget_us, period_us } => {
                (u64::from(budget_us) * 1_000_000).div_ceil(u64::from(period_us.max(1)))
            }
        }
    }
}

/// A vCPU that a new partition gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewVcpu {
    /// Where it may run.
    pub cores: Cores,
    /// How much of them it gets.
    pub time: Time,
    /// Among ready vCPUs the higher one runs first.
    pub priority: u8,
}

/// How an image is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    /// As a program without an operating system: 512 KiB behind the start of its memory, at its first byte.
    #[default]
    Flat,
    /// By Linux's boot protocol for arm64: 2 MiB behind it, with a device tree.
    Linux,
}

/// What a new partition is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPartition {
    /// Its name: 1 to 31 of `a`–`z`, `0`–`9`, `_`, `-`.
    pub name: String,
    /// Limits of its account, set before it is given anything.
    pub limits: Vec<(Resource, u64)>,
    /// Its vCPUs.
    pub vcpus: Vec<NewVcpu>,
    /// So many of them, the last ones, are kept back until it asks for them and is granted them.
    pub kept_vcpus: u8,
    /// Its memory: what it runs, its RAM disk and its device tree lie in the first region.
    pub memory: Vec<Region>,
    /// What its vCPU 0 finds in `x0`, if it is given no device tree.
    pub x0: Option<u64>,
    /// The image of the bundle that it runs, by name.
    pub image: String,
    /// How that is started.
    pub boot: Boot,
    /// The image that is its RAM disk.
    pub initrd: Option<String>,
    /// The command line in its device tree.
    pub cmdline: Option<String>,
    /// Whether it has a console.
    pub console: bool,
    /// How many handles it has: event ports, message ports, areas, and requests of others that it has taken.
    pub handles: u16,
    /// How many requests of its own can wait at others.
    pub requests: u16,
    /// Its places for message areas, its message ports, and its shares in shared areas.
    pub areas: NewAreas,
    /// Devices of partitions of the description that do not run; they are back when it is destroyed.
    pub devices: Vec<OwnedDevice>,
    /// Such devices that are kept back until it asks for them, by their numbers here, and is granted them.
    pub kept_devices: Vec<OwnedDevice>,
}

impl NewPartition {
    /// Whether it finds a device tree: Linux needs one, and it is where a RAM disk and a command line are said.
    #[must_use]
    pub const fn wants_tree(&self) -> bool {
        matches!(self.boot, Boot::Linux) || self.initrd.is_some() || self.cmdline.is_some()
    }

    /// All its memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.iter().map(|region| region.bytes).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use shikiri_abi::PartitionState;

    use super::{Cause, Cores, Phase};

    #[test]
    fn each_state_is_told_and_what_has_come_later_is_on_its_way() {
        for state in PartitionState::ALL {
            let phase = Phase::of(state.code()).to_string();
            let told = match state {
                PartitionState::Building => "building".to_owned(),
                PartitionState::Leaving => "ending".to_owned(),
                state => state.to_string(),
            };
            assert_eq!(phase, told);
        }
        for code in (9..=u8::MAX).chain([0]) {
            assert_eq!(Phase::of(code), Phase::Ending, "{code}");
        }
    }

    #[test]
    fn a_cause_that_has_come_later_is_told_by_its_number_and_0_is_none() {
        assert_eq!(Cause::of(0, 7), None);
        assert_eq!(Cause::of(3, 7), Some(Cause::Code(7)));
        for stopped in [5, 6, 8, 9] {
            assert_eq!(Cause::of(stopped, 7), Some(Cause::Stopped), "{stopped}");
        }
        for number in 10..=u8::MAX {
            let cause = Cause::of(number, 7).unwrap();
            assert_eq!(cause, Cause::Other(number));
            assert_eq!(cause.to_string(), format!("cause {number}"));
            assert!(!cause.is_failure(), "nobody knows that it was one");
        }
    }

    #[test]
    fn cores_are_written_as_they_are_read() {
        for (text, written) in
            [("0", "0"), ("0,1", "0,1"), ("1-3", "1-3"), ("0,2-4,7", "0,2-4,7"), ("63", "63")]
        {
            let cores = Cores::parse(text).unwrap();
            assert_eq!(cores.to_string(), written);
            assert_eq!(cores.last(), written.rsplit([',', '-']).next().unwrap().parse().ok());
        }
        assert_eq!((Cores::default().to_string().as_str(), Cores::default().last()), ("-", None));
        for bad in ["", "3-1", "64", "62-64", "x", "1,", "-"] {
            let why = format!("`{bad}` are no cores such as `0` or `1-3`, 0 to 63");
            assert_eq!(Cores::parse(bad), Err(why));
        }
    }
}
