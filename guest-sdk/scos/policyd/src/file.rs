//! The policy file as it is written: TOML, unknown keys refused.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) policy: PolicyTable,
    #[serde(default)]
    pub(crate) partition: Vec<PartitionTable>,
    #[serde(default)]
    pub(crate) grant: Vec<GrantTable>,
    #[serde(default)]
    pub(crate) talk: Vec<TalkTable>,
}

/// `[policy]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyTable {
    pub(crate) talk: Scope,
}

/// What the `[[talk]]` tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// They are permitted beside what the description permits.
    #[default]
    Also,
    /// Nothing else is permitted.
    Only,
}

/// `[[partition]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartitionTable {
    pub(crate) name: String,
    pub(crate) create: Option<CreateTable>,
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, Number>,
    #[serde(default)]
    pub(crate) start: bool,
    #[serde(default)]
    pub(crate) after: Vec<String>,
    #[serde(default)]
    pub(crate) after_end_of: Vec<String>,
    pub(crate) delay: Option<String>,
    pub(crate) restart: Option<RestartTable>,
}

/// `create = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTable {
    pub(crate) image: Option<String>,
    pub(crate) kernel: Option<String>,
    pub(crate) initrd: Option<String>,
    pub(crate) cmdline: Option<String>,
    pub(crate) memory: MemoryText,
    pub(crate) x0: Option<u64>,
    pub(crate) cores: String,
    #[serde(default = "one")]
    pub(crate) vcpus: u8,
    #[serde(default)]
    pub(crate) kept_vcpus: u8,
    pub(crate) share: Option<ShareTable>,
    #[serde(default)]
    pub(crate) console: bool,
    #[serde(default)]
    pub(crate) handles: u16,
    #[serde(default)]
    pub(crate) requests: u16,
    #[serde(default)]
    pub(crate) areas: AreasTable,
    #[serde(default)]
    pub(crate) devices: Vec<String>,
    #[serde(default)]
    pub(crate) kept_devices: Vec<String>,
}

/// `memory = "4M"`, or several regions, as in a description.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a size such as `\"4M\"`, `{ size = \"4M\", ipa = 0x8000_0000 }`, or a list of such"
)]
pub(crate) enum MemoryText {
    One(RegionText),
    Several(Vec<RegionText>),
}

/// A region's size, perhaps with its address.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum RegionText {
    Size(String),
    Table(RegionTable),
}

/// `{ size = "4M", ipa = 0x8000_0000 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegionTable {
    pub(crate) size: String,
    pub(crate) ipa: Option<u64>,
}

/// `areas = { … }`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AreasTable {
    pub(crate) pages: u16,
    pub(crate) blocks: u16,
    pub(crate) giants: u16,
    pub(crate) channels: u16,
    pub(crate) shared: u16,
}

/// `share = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareTable {
    pub(crate) budget: String,
    pub(crate) period: String,
    #[serde(default)]
    pub(crate) priority: u8,
}

/// `restart = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartTable {
    pub(crate) on: On,
    pub(crate) delay: Option<String>,
    #[serde(default = "two")]
    pub(crate) factor: u32,
    pub(crate) longest: Option<String>,
    #[serde(default)]
    pub(crate) give_up_after: u32,
    pub(crate) window: Option<String>,
}

/// Which ends are followed by a restart.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum On {
    Failure,
    End,
}

/// `[[grant]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantTable {
    #[serde(default)]
    pub(crate) to: Vec<String>,
    pub(crate) resource: String,
    pub(crate) up_to: Option<Number>,
    pub(crate) keep: Option<Number>,
    #[serde(default)]
    pub(crate) or_less: bool,
    pub(crate) device: Option<u8>,
}

/// `[[talk]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TalkTable {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// An amount: text with its unit, or a plain number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Number {
    Plain(u64),
    Text(String),
}

impl Number {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Plain(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

const fn one() -> u8 {
    1
}

const fn two() -> u32 {
    2
}
