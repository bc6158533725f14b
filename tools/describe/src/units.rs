//! Sizes, times and shares as a person writes them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use shikiri_abi::{PAGE_BYTES, Resource};

use crate::cores::percent;

/// A size in bytes: a number, or a string such as `"256MiB"`, `"4K"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A time in microseconds: a string such as `"500us"`, `"10ms"`, `"2s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Micros(pub(crate) u64);

/// A share in parts per million: a string such as `"20%"`, `"12.5%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(pub(crate) u64);

/// Reads a size in bytes, as a description has it: for sizes on a command line.
///
/// # Errors
/// What a size is; the same words as for one in a description.
pub fn size(text: &str) -> Result<u64, String> {
    Size::parse(text).map(|Size(bytes)| bytes).ok_or_else(|| Size::refusal(text))
}

/// An amount of a resource, which the accounts count in parts per million, pages and pieces, as a description has it: `60%`, `128MiB`, `4`.
pub(crate) fn stated(resource: Resource, value: u64) -> String {
    match resource {
        Resource::CoreTime | Resource::BusShare => format!("{}%", percent(value)),
        Resource::IpaSpace | Resource::Memory | Resource::ManagementMemory => {
            Size(value.saturating_mul(PAGE_BYTES)).to_string().replace(' ', "")
        }
        Resource::EventPorts | Resource::Devices | Resource::CacheShare => value.to_string(),
    }
}

/// So many of what has this word: `1 core`, `2 cores`.
pub(crate) fn how_many<N: fmt::Display + PartialEq + From<u8>>(count: N, word: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {word}{plural}")
}

/// Splits a number from its unit.
fn split(text: &str) -> (&str, &str) {
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

fn whole(number: &str) -> Option<u64> {
    number.replace('_', "").parse().ok()
}

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text);
        let shift = match unit {
            "" | "B" => 0,
            "K" | "KiB" => 10,
            "M" | "MiB" => 20,
            "G" | "GiB" => 30,
            _ => return None,
        };
        whole(number)?.checked_mul(1 << shift).map(Self)
    }
}

impl Micros {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text);
        let factor = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            _ => return None,
        };
        whole(number)?.checked_mul(factor).map(Self)
    }
}

impl Share {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text);
        if unit != "%" {
            return None;
        }
        let (whole_part, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 4 {
            return None;
        }
        let fraction = if fraction.is_empty() { 0 } else { whole(&format!("{fraction:0<4}"))? };
        whole(whole_part)?.checked_mul(10_000)?.checked_add(fraction).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        match self.0 {
            large if large >= 1 << 20 => write!(f, "{} KiB", large.div_ceil(1 << 10)),
            small => write!(f, "{small} bytes"),
        }
    }
}

/// Reads a unit from a string, and from a plain number where that is unambiguous.
macro_rules! unit {
    ($name:ident, $plain_number:literal, $expecting:literal, $pattern:literal, $example:literal) => {
        impl $name {
            /// What is wrong with a text that is none.
            fn refusal(text: &str) -> String {
                format!(concat!("`{}` is not ", $expecting), text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl Visitor<'_> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).ok_or_else(|| E::custom($name::refusal(text)))
                    }

                    fn visit_i64<E: Error>(self, number: i64) -> Result<$name, E> {
                        let value = if $plain_number { u64::try_from(number).ok() } else { None };
                        value.map($name).ok_or_else(|| {
                            E::custom(format!(concat!("`{}` is not ", $expecting), number))
                        })
                    }
                }
                deserializer.deserialize_any(Read)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                if $plain_number {
                    json_schema!({
                        "description": $expecting,
                        "examples": [$example],
                        "anyOf": [
                            { "type": "string", "pattern": $pattern },
                            { "type": "integer", "minimum": 0 }
                        ]
                    })
                } else {
                    json_schema!({
                        "description": $expecting,
                        "examples": [$example],
                        "type": "string",
                        "pattern": $pattern
                    })
                }
            }
        }
    };
}

unit!(
    Size,
    true,
    "a size such as \"256MiB\", \"64K\" or a number of bytes",
    "^[0-9_]+ ?(B|K|KiB|M|MiB|G|GiB)?$",
    "256MiB"
);
unit!(
    Micros,
    false,
    "a time such as \"500us\", \"10ms\" or \"2s\"",
    "^[0-9_]+ ?(us|ms|s)$",
    "10ms"
);
unit!(Share, false, "a share such as \"20%\" or \"12.5%\"", "^[0-9_]+(\\.[0-9]{1,4})? ?%$", "20%");

#[cfg(test)]
mod tests {
    use super::{Micros, Share, Size, size};

    #[test]
    fn sizes_are_binary() {
        assert_eq!(Size::parse("256MiB"), Some(Size(256 << 20)));
        assert_eq!(Size::parse("4 K"), Some(Size(4096)));
        assert_eq!(Size::parse("1_000"), Some(Size(1000)));
        assert_eq!(Size::parse("1.5G"), None);
        assert_eq!(Size::parse("1MB"), None);
        assert_eq!(Size::parse("99999999999G"), None);
    }

    #[test]
    fn a_size_on_the_command_line_is_one_of_a_description() {
        assert_eq!(size("512M"), Ok(512 << 20));
        let words = r#"`256MB` is not a size such as "256MiB", "64K" or a number of bytes"#;
        assert_eq!(size("256MB"), Err(words.into()));
        assert!(["", "M", "1g", "12 parsecs", "99999999999G"].iter().all(|it| size(it).is_err()));
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(Micros::parse("10ms"), Some(Micros(10_000)));
        assert_eq!(Micros::parse("10"), None);
    }

    #[test]
    fn shares_have_four_decimals() {
        assert_eq!(Share::parse("12.5%"), Some(Share(125_000)));
        assert_eq!(Share::parse("0.0001%"), Some(Share(1)));
        assert_eq!(Share::parse("0.00001%"), None);
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        assert_eq!(Size(256 << 20).to_string(), "256 MiB");
        assert_eq!(Size(512).to_string(), "512 bytes");
        assert_eq!(Size((1 << 20) + 1).to_string(), "1025 KiB");
        assert_eq!(Size(0).to_string(), "0 bytes");
    }
}
