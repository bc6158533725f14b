//! A name as a console prefix shows it.

use super::NAME_BYTES;
use core::fmt;

/// Up to [`NAME_BYTES`] bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_BYTES],
    used: u8,
}

impl Name {
    /// No name.
    pub const EMPTY: Self = Self { bytes: [0; NAME_BYTES], used: 0 };

    /// As much of `text` as fits, whole characters only.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut name = Self::EMPTY;
        for character in text.chars() {
            let mut encoded = [0; 4];
            let encoded = character.encode_utf8(&mut encoded).as_bytes();
            let start = usize::from(name.used);
            let end = start.saturating_add(encoded.len());
            let (Some(place), Ok(used)) = (name.bytes.get_mut(start..end), u8::try_from(end))
            else {
                break;
            };
            place.copy_from_slice(encoded);
            name.used = used;
        }
        name
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.used)).unwrap_or_default()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole characters were copied.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_keep_whole_characters_up_to_31_bytes() {
        assert_eq!(Name::new("linux").as_str(), "linux");
        assert_eq!(Name::new("0123456789012345678901234567890123").as_bytes().len(), 31);
        assert_eq!(Name::new("012345678901234567890123456789ä").as_bytes().len(), 30);
        assert_eq!(Name::EMPTY.as_str(), "");
    }
}
