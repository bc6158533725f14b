//! What the holder of a handle may do with it.

/// Rights of a handle. Each handle is made with [`Rights::ALL`]; HANDLE_LIMIT takes rights from it, and nothing gives them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rights(u64);

impl Rights {
    /// None: only the partition's end, or the other side, does anything with what the handle names.
    pub const NONE: Self = Self(0);
    /// Bit 0, to use it: send, poll, mask, take, post, answer, and ask how it stands.
    pub const USE: Self = Self(1);
    /// Bit 1, to change what it is: connect, bind, tell events there, close.
    pub const CHANGE: Self = Self(2);
    /// All of them.
    pub const ALL: Self = Self(3);

    /// The bits, as HANDLE_LIMIT takes and answers them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The rights with these bits; none if there is a bit that means nothing.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::Rights;

    #[test]
    fn a_bit_without_a_meaning_is_no_right() {
        let known = [Rights::NONE, Rights::USE, Rights::CHANGE, Rights::ALL];
        for bits in 0..64 {
            let rights = usize::try_from(bits).ok().and_then(|at| known.get(at).copied());
            assert_eq!(Rights::from_bits(bits), rights);
        }
        for bit in 2..64 {
            assert_eq!(Rights::from_bits(1 << bit | 1), None, "bit {bit}");
        }
    }

    #[test]
    fn all_rights_contain_each_and_each_only_itself_and_none() {
        let known = [Rights::NONE, Rights::USE, Rights::CHANGE, Rights::ALL];
        for one in known {
            for other in known {
                let expected = one == Rights::ALL || other == Rights::NONE || one == other;
                assert_eq!(one.contain(other), expected, "{one:?} {other:?}");
            }
        }
    }
}
