//! Values that can be written in several ways: a number or a list, a name or a table.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_spanned::Spanned;

use super::{DeviceTable, Policy, RegionText, RestartTable};
use crate::units::Size;

/// `cores = 2` or `cores = [0, 1]`.
#[derive(Clone, Debug)]
pub(crate) enum Cores {
    /// Any that many.
    Count(u32),
    /// These.
    List(Vec<Spanned<u32>>),
}

/// `memory = "64MiB"`, `memory = { size = …, at = … }` or a list of such.
#[derive(Clone, Debug)]
pub(crate) enum MemoryText {
    /// That much, anywhere.
    Size(Size),
    /// One region.
    Region(Box<RegionText>),
    /// Several regions.
    List(Vec<Spanned<RegionText>>),
}

/// `"/pl031@9010000"` or `{ path = "/pl031@9010000", … }`.
#[derive(Clone, Debug)]
pub(crate) enum DeviceText {
    /// The path alone.
    Path(String),
    /// More.
    Table(Box<DeviceTable>),
}

/// `to = "anyone"` or `to = ["a", "b"]`.
#[derive(Clone, Debug)]
pub(crate) enum Askers {
    /// Whoever may ask the partition at all.
    Anyone,
    /// These.
    Listed(Vec<Spanned<String>>),
}

/// `restart = "always"` or `restart = { policy = "always", … }`.
#[derive(Clone, Debug)]
pub(crate) enum RestartText {
    /// The policy alone.
    Policy(Policy),
    /// More.
    Table(Box<RestartTable>),
}

/// Reads a value that may have several shapes, with an error message that names them.
macro_rules! shapes {
    ($name:ident, $expecting:literal, $schema:expr, { $($method:item)* }) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl<'de> Visitor<'de> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    $($method)*
                }
                deserializer.deserialize_any(Read)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        }
    };
}

shapes!(
    Cores,
    "a number of cores, or a list of core numbers",
    |_| json_schema!({
        "description": "A number of cores, or a list of core numbers.",
        "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 127 } }
        ]
    }),
    {
        fn visit_i64<E: Error>(self, count: i64) -> Result<Cores, E> {
            u32::try_from(count)
                .map(Cores::Count)
                .map_err(|_| E::custom(format!("`{count}` is not a number of cores")))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Cores, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Cores::List)
        }
    }
);

shapes!(
    Askers,
    "a list of partitions, or `\"anyone\"`",
    |_| json_schema!({
        "description": "A list of partitions, or `\"anyone\"`: whoever may ask the partition at all.",
        "anyOf": [
            { "type": "array", "items": { "type": "string" } },
            { "const": "anyone" }
        ]
    }),
    {
        fn visit_str<E: Error>(self, word: &str) -> Result<Askers, E> {
            match word {
                "anyone" => Ok(Askers::Anyone),
                _ => Err(E::custom(format!(
                    "`{word}` is no list of partitions, expected `[\"{word}\"]` or `\"anyone\"`"
                ))),
            }
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Askers, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Askers::Listed)
        }
    }
);

shapes!(
    MemoryText,
    "a size, a table with `size`, or a list of such tables",
    |generator| {
        let (size, region) =
            (generator.subschema_for::<Size>(), generator.subschema_for::<RegionText>());
        json_schema!({
            "description": "A size, a region, or a list of regions.",
            "anyOf": [size, region, { "type": "array", "items": region }]
        })
    },
    {
        fn visit_i64<E: Error>(self, bytes: i64) -> Result<MemoryText, E> {
            u64::try_from(bytes)
                .map(|bytes| MemoryText::Size(Size(bytes)))
                .map_err(|_| E::custom(format!("`{bytes}` is not a size")))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<MemoryText, E> {
            let text = serde::de::value::StrDeserializer::new(text);
            Deserialize::deserialize(text).map(MemoryText::Size)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MemoryText, A::Error> {
            let region = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
            Ok(MemoryText::Region(Box::new(region)))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<MemoryText, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(MemoryText::List)
        }
    }
);

shapes!(
    DeviceText,
    "a path in the board's device tree, or a table with `path`",
    |generator| {
        let table = generator.subschema_for::<DeviceTable>();
        json_schema!({
            "description": "A path in the board's device tree, or a table with `path`.",
            "anyOf": [{ "type": "string", "pattern": "^/" }, table]
        })
    },
    {
        fn visit_str<E: Error>(self, path: &str) -> Result<DeviceText, E> {
            Ok(DeviceText::Path(path.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DeviceText, A::Error> {
            let table = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
            Ok(DeviceText::Table(Box::new(table)))
        }
    }
);

shapes!(
    RestartText,
    "\"never\", \"on-fault\", \"always\", or a table with `policy`",
    |generator| {
        let (policy, table) =
            (generator.subschema_for::<Policy>(), generator.subschema_for::<RestartTable>());
        json_schema!({
            "description": "A policy, or a table with `policy`.",
            "anyOf": [policy, table]
        })
    },
    {
        fn visit_str<E: Error>(self, policy: &str) -> Result<RestartText, E> {
            let policy = serde::de::value::StrDeserializer::new(policy);
            Deserialize::deserialize(policy).map(RestartText::Policy)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RestartText, A::Error> {
            let table = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
            Ok(RestartText::Table(Box::new(table)))
        }
    }
);
