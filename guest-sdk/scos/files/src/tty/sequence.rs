//! What keys without a letter send: sequences that begin with ESC (ECMA-48, 5.4; of function keys in application mode ESC O and a letter).
//! They are no part of a line.

const ESC: u8 = 0x1b;

/// How far the sequence has come that is typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sequence {
    /// There is none.
    #[default]
    None,
    /// ESC was typed.
    Begun,
    /// `ESC [`, or `ESC O`: the next letter ends it.
    Open,
    /// So, with parameters.
    WithParameters,
}

/// What a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It belongs to no sequence.
    Outside,
    /// It belongs to one.
    Inside,
    /// It ends the one of the key ↑.
    Up,
}

impl Sequence {
    /// Takes the next byte.
    pub(super) const fn take(&mut self, byte: u8) -> Part {
        let (next, part) = match (*self, byte) {
            (_, ESC) => (Self::Begun, Part::Inside),
            (Self::Begun, b'[' | b'O') => (Self::Open, Part::Inside),
            (Self::Open | Self::WithParameters, b' '..=b'?') => {
                (Self::WithParameters, Part::Inside)
            }
            (Self::Open, b'A') => (Self::None, Part::Up),
            (Self::Open | Self::WithParameters, b'@'..=b'~') => (Self::None, Part::Inside),
            // A lone ESC, or what a sequence cannot have: it ends there.
            _ => (Self::None, Part::Outside),
        };
        *self = next;
        part
    }
}
