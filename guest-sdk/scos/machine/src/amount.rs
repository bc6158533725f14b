//! Amounts of resources and spans of time, as people write them: the words and units of the system description.

use core::fmt;
use core::time::Duration;

use shikiri_abi::{PAGE_BYTES, Resource};

/// An amount of a resource, in the unit of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Of what.
    pub resource: Resource,
    /// How much: pages, parts per million of a core, or pieces.
    pub value: u64,
}

/// Text that is no amount of that resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAmount {
    text: String,
    wanted: &'static str,
}

impl fmt::Display for BadAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text, self.wanted)
    }
}

impl std::error::Error for BadAmount {}

/// The word of the system description for a resource.
#[must_use]
pub const fn resource_word(resource: Resource) -> &'static str {
    match resource {
        Resource::CoreTime => "core_time",
        Resource::IpaSpace => "ipa_space",
        Resource::Memory => "memory",
        Resource::ManagementMemory => "management_memory",
        Resource::EventPorts => "event_ports",
        Resource::Devices => "devices",
        Resource::CacheShare => "cache_colors",
        Resource::BusShare => "bus_share",
    }
}

/// Whether the hypervisor keeps to a limit of it; the others it records and reads back, and nothing else yet.
#[must_use]
pub const fn is_enforced(resource: Resource) -> bool {
    !matches!(resource, Resource::CacheShare | Resource::BusShare)
}

/// The resource with this word; `-` and `_` are the same.
#[must_use]
pub fn resource_named(word: &str) -> Option<Resource> {
    let word = word.replace('-', "_");
    Resource::ALL.into_iter().find(|resource| resource_word(*resource) == word)
}

/// All their words, for people.
#[must_use]
pub fn resource_words() -> String {
    Resource::ALL.map(resource_word).join(", ")
}

/// How a resource is counted.
enum Unit {
    Share,
    Bytes,
    Pieces,
}

const fn unit(resource: Resource) -> Unit {
    match resource {
        Resource::CoreTime | Resource::BusShare => Unit::Share,
        Resource::IpaSpace | Resource::Memory | Resource::ManagementMemory => Unit::Bytes,
        Resource::EventPorts | Resource::Devices | Resource::CacheShare => Unit::Pieces,
    }
}

impl Amount {
    /// Reads an amount: `64M`, `4KiB` (whole pages) for memory, `150%` for core time, `12` for pieces.
    ///
    /// # Errors
    /// [`BadAmount`] says what is expected.
    pub fn parse(resource: Resource, text: &str) -> Result<Self, BadAmount> {
        let (read, wanted) = match unit(resource) {
            Unit::Share => (share(text), "a share such as `150%` or `12.5%`"),
            Unit::Bytes => (pages(text), "a size of whole pages such as `64M` or `4KiB`"),
            Unit::Pieces => (text.parse().ok(), "a number"),
        };
        read.map(|value| Self { resource, value })
            .ok_or_else(|| BadAmount { text: text.to_owned(), wanted })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match unit(self.resource) {
            Unit::Share => {
                let (whole, rest) = (self.value / 10_000, self.value % 10_000);
                let rest = format!("{rest:04}");
                let rest = rest.trim_end_matches('0');
                let dot = if rest.is_empty() { "" } else { "." };
                format!("{whole}{dot}{rest}%")
            }
            Unit::Bytes => bytes(self.value.saturating_mul(PAGE_BYTES)),
            Unit::Pieces => self.value.to_string(),
        };
        f.pad(&text)
    }
}

fn bytes(bytes: u64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M")] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{}K", bytes >> 10)
}

fn number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

fn pages(text: &str) -> Option<u64> {
    let (number, unit) = number(text);
    let shift = match unit {
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    bytes.is_multiple_of(PAGE_BYTES).then_some(bytes / PAGE_BYTES)
}

fn share(text: &str) -> Option<u64> {
    let (number, unit) = number(text);
    if unit != "%" {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.len() > 4 {
        return None;
    }
    let fraction = format!("{fraction:0<4}").parse::<u64>().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(10_000)?.checked_add(fraction)
}

/// A span of time, written `500us`, `10ms`, `2s`, `1m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many microseconds.
    #[must_use]
    pub fn of_us(us: u32) -> Self {
        Self(Duration::from_micros(us.into()))
    }

    /// Reads a span.
    ///
    /// # Errors
    /// [`BadAmount`] says what is expected.
    pub fn parse(text: &str) -> Result<Self, BadAmount> {
        let (number, unit) = number(text);
        let us = match unit {
            "us" => Some(1),
            "ms" => Some(1_000),
            "s" => Some(1_000_000),
            "m" => Some(60_000_000),
            _ => None,
        };
        us.and_then(|us| number.parse::<u64>().ok()?.checked_mul(us))
            .map(|us| Self(Duration::from_micros(us)))
            .ok_or_else(|| BadAmount {
                text: text.to_owned(),
                wanted: "a time such as `500us`, `10ms`, `2s` or `1m`",
            })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        for (factor, unit) in [(60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")] {
            let count = us.checked_div(factor).unwrap_or(0);
            if count > 0 && us.is_multiple_of(factor) {
                return f.pad(&format!("{count}{unit}"));
            }
        }
        f.pad(&format!("{us}us"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, Span, resource_named, resource_word};
    use shikiri_abi::Resource;

    #[test]
    fn amounts_are_written_as_they_are_read() {
        for (resource, text, value, written) in [
            (Resource::Memory, "64M", 16_384, "64M"),
            (Resource::Memory, "4KiB", 1, "4K"),
            (Resource::IpaSpace, "1GiB", 262_144, "1G"),
            (Resource::ManagementMemory, "1028K", 257, "1028K"),
            (Resource::CoreTime, "150%", 1_500_000, "150%"),
            (Resource::CoreTime, "12.5%", 125_000, "12.5%"),
            (Resource::EventPorts, "12", 12, "12"),
            (Resource::Devices, "0", 0, "0"),
        ] {
            let amount = Amount::parse(resource, text);
            assert_eq!(amount, Ok(Amount { resource, value }), "{text}");
            assert_eq!(amount.map(|amount| amount.to_string()).as_deref(), Ok(written));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_what_is_wanted() {
        for (resource, text) in [
            (Resource::Memory, "64"),
            (Resource::Memory, "1K"),
            (Resource::Memory, "99999999999G"),
            (Resource::Memory, ""),
            (Resource::CoreTime, "1"),
            (Resource::CoreTime, "1.23456%"),
            (Resource::EventPorts, "-1"),
        ] {
            assert!(Amount::parse(resource, text).is_err(), "{text}");
        }
        let error = Amount::parse(Resource::Memory, "lots").map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("`lots` is not a size of whole pages such as `64M` or `4KiB`".into())
        );
    }

    #[test]
    fn resources_have_the_words_of_the_description() {
        for resource in Resource::ALL {
            assert_eq!(resource_named(resource_word(resource)), Some(resource));
        }
        assert_eq!(resource_named("core-time"), Some(Resource::CoreTime));
        assert_eq!(resource_named("cpu"), None);
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in ["500us", "10ms", "2s", "3m"] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Span::parse("60s").map(|span| span.to_string()).as_deref(), Ok("1m"));
        for bad in ["5", "ms", "1h", "1.5s"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }
}
