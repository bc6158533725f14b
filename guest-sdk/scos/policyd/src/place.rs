//! Where something stands in a policy file: in words, and by the keys that lead there, so that the line can be told.

use core::ops::Range;

use toml::de::{DeTable, DeValue};

/// A place in the file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    words: String,
    /// The table's word, its number among those, and the keys in it.
    table: (&'static str, usize),
    keys: Vec<String>,
}

/// What is wrong, and where.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    place: Place,
    why: String,
}

impl Place {
    /// The table of this word and number, from 0; a person knows it by these words.
    pub(crate) fn table(word: &'static str, number: usize, words: String) -> Self {
        Self { words, table: (word, number), keys: Vec::new() }
    }

    /// A key in it.
    pub(crate) fn key(&self, key: &str) -> Self {
        let mut keys = self.keys.clone();
        keys.push(key.to_owned());
        Self { words: format!("{}: {key}", self.words), table: self.table, keys }
    }

    /// That something is wrong here.
    pub(crate) fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong { place: self.clone(), why: why.into() }
    }

    /// Where the last key stands that is there; of a table that cannot be found nowhere.
    pub(crate) fn span(&self, text: &str) -> Option<Range<usize>> {
        let file = DeTable::parse(text).ok()?;
        let (word, number) = self.table;
        let tables = file.get_ref().get(word)?.get_ref().as_array()?;
        let table = tables.get(number)?;
        let (mut at, mut value) = (table.span(), table.get_ref());
        for wanted in &self.keys {
            let DeValue::Table(table) = value else { break };
            let Some((key, inner)) = table.iter().find(|(key, _)| key.get_ref() == wanted) else {
                break;
            };
            (at, value) = (key.span(), inner.get_ref());
        }
        Some(at)
    }
}

impl Wrong {
    /// Where in the file with this text.
    pub(crate) fn span(&self, text: &str) -> Option<Range<usize>> {
        self.place.span(text)
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        format!("{}: {}", self.place.words, self.why)
    }
}
