//! Named objects: what there is, and what a name looks like (V4).

use core::fmt;

use crate::Ipa;
use crate::call::{DecodeError, check_unused};

/// The most bytes of a name.
pub const OBJECT_NAME_BYTES: usize = 63;
/// The most messages that a queue can hold.
pub const QUEUE_DEPTH: usize = 64;
/// A name is read from guest memory at a multiple of this many bytes, so that it does not cross a page.
pub const OBJECT_NAME_ALIGN: u64 = 64;
/// Words of a message.
pub const MESSAGE_WORDS: usize = 3;

/// A message of a queue: 24 bytes, which fit the registers of one call.
pub type Message = [u64; MESSAGE_WORDS];

/// A name: 1 to 63 printable ASCII characters without spaces and `*`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ObjectName {
    length: u8,
    bytes: [u8; OBJECT_NAME_BYTES],
}

impl ObjectName {
    /// The name with these bytes; `None` if there are too few, too many, or one that no name has.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let length = u8::try_from(name.len()).ok()?;
        let mut bytes = [0; OBJECT_NAME_BYTES];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        let is_allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'*';
        (length > 0 && name.iter().all(is_allowed)).then_some(Self { length, bytes })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.as_bytes()).unwrap_or("?"))
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// What becomes of a unit that was taken from a semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// The partition that took it holds it until it posts it back. Units that it holds when it ends or closes the
    /// semaphore are released, and a later wait is told whose they were.
    Held,
    /// It is used up: for a semaphore that counts things to be fetched.
    Spent,
}

/// What an object is, with the parameters that it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A post is seen once by each partition that has the object open at that moment.
    Event,
    /// A number of units to be taken and posted.
    Semaphore {
        /// Units at the beginning, at most `maximum`.
        initial: u32,
        /// The most units there can be, those that are held included; at least 1.
        maximum: u32,
        /// What becomes of a unit that was taken.
        units: Units,
    },
    /// Messages, each seen by one partition, the oldest first.
    Queue {
        /// The most messages that wait, 1 to [`QUEUE_DEPTH`].
        depth: u8,
    },
}

impl ObjectKind {
    /// The registers of `OBJECT_OPEN` from `x3` on.
    #[must_use]
    pub fn encode(self) -> [u64; 4] {
        match self {
            Self::Event => [1, 0, 0, 0],
            Self::Semaphore { initial, maximum, units } => {
                let is_spent = u64::from(units == Units::Spent);
                [2, u64::from(initial), u64::from(maximum), is_spent]
            }
            Self::Queue { depth } => [3, u64::from(depth), 0, 0],
        }
    }

    /// Reads the registers of `OBJECT_OPEN` from `x3` on.
    ///
    /// # Errors
    /// The position of the first that is out of range, or not zero although unused.
    fn decode([kind, first, second, third]: [u64; 4]) -> Result<Self, u8> {
        let unused = |values: &[(u8, u64)]| match values.iter().find(|(_, value)| *value != 0) {
            Some((position, _)) => Err(*position),
            None => Ok(()),
        };
        match kind {
            1 => unused(&[(1, first), (2, second), (3, third)]).map(|()| Self::Event),
            2 => {
                let maximum = u32::try_from(second).ok().filter(|maximum| *maximum > 0);
                let initial = u32::try_from(first).map_err(|_| 1)?;
                let maximum = maximum.ok_or(2)?;
                if initial > maximum {
                    return Err(1);
                }
                let units = match third {
                    0 => Units::Held,
                    1 => Units::Spent,
                    _ => return Err(3),
                };
                Ok(Self::Semaphore { initial, maximum, units })
            }
            3 => {
                let is_possible = |depth: &u8| (1..=QUEUE_DEPTH).contains(&usize::from(*depth));
                let depth = u8::try_from(first).ok().filter(is_possible);
                let depth = depth.ok_or(1)?;
                unused(&[(2, second), (3, third)]).map(|()| Self::Queue { depth })
            }
            _ => Err(0),
        }
    }
}

/// A decoded call about named objects. Handles are numbers here: whoever has the table looks them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectCall {
    /// `OBJECT_OPEN`
    Open {
        /// Where the name is.
        name: Ipa,
        /// Its length, 1 to [`OBJECT_NAME_BYTES`].
        length: u8,
        /// What the object is.
        kind: ObjectKind,
    },
    /// `OBJECT_WAIT`: the object.
    Wait(u64),
    /// `OBJECT_POST`
    Post {
        /// The object.
        object: u64,
        /// A queue's message; zero for the others.
        message: Message,
    },
    /// `OBJECT_NOTIFY`
    Notify {
        /// The object.
        object: u64,
        /// The receive port, if any.
        port: Option<u64>,
    },
    /// `OBJECT_CLOSE`: the object.
    Close(u64),
}

/// Decodes the calls from 0x38 to 0x3c.
pub(crate) fn decode(number: u32, x: &[u64; 6]) -> Result<ObjectCall, DecodeError> {
    let [a, b, c, d, e, f] = *x;
    let used = match number {
        0x38 => 6,
        0x39 | 0x3c => 1,
        0x3a => 4,
        0x3b => 2,
        _ => return Err(DecodeError::NotSupported),
    };
    check_unused(x, used)?;
    Ok(match number {
        0x38 => {
            let is_possible = |length: &u8| (1..=OBJECT_NAME_BYTES).contains(&usize::from(*length));
            let length = u8::try_from(b).ok().filter(is_possible);
            let length = length.ok_or(DecodeError::Argument(2))?;
            let kind = ObjectKind::decode([c, d, e, f])
                .map_err(|position| DecodeError::Argument(position.saturating_add(3)))?;
            ObjectCall::Open { name: Ipa(a), length, kind }
        }
        0x39 => ObjectCall::Wait(a),
        0x3a => ObjectCall::Post { object: a, message: [b, c, d] },
        0x3b => ObjectCall::Notify { object: a, port: (b != 0).then_some(b) },
        _ => ObjectCall::Close(a),
    })
}

#[cfg(test)]
mod tests {
    use super::{OBJECT_NAME_BYTES, ObjectCall, ObjectKind, ObjectName, Units, decode};
    use crate::Ipa;
    use crate::call::DecodeError;
    use std::string::ToString as _;

    #[test]
    fn names_have_1_to_63_printable_bytes() {
        for length in 0..=300 {
            let name = std::vec![b'n'; length];
            let found = ObjectName::new(&name);
            assert_eq!(found.is_some(), (1..=OBJECT_NAME_BYTES).contains(&length), "{length}");
            assert!(found.is_none_or(|found| found.as_bytes() == name));
        }
        for byte in 0..=u8::MAX {
            let is_allowed = (0x21..=0x7e).contains(&byte) && byte != b'*';
            assert_eq!(ObjectName::new(&[b'a', byte, b'z']).is_some(), is_allowed, "{byte:#x}");
        }
        assert_eq!(ObjectName::new(b"log/1").unwrap().to_string(), "log/1");
    }

    #[test]
    fn every_kind_comes_back_from_its_registers() {
        let semaphore = |initial, maximum, units| ObjectKind::Semaphore { initial, maximum, units };
        let kinds = [
            ObjectKind::Event,
            semaphore(0, 1, Units::Held),
            semaphore(u32::MAX, u32::MAX, Units::Spent),
            ObjectKind::Queue { depth: 1 },
            ObjectKind::Queue { depth: 64 },
        ];
        for kind in kinds {
            assert_eq!(ObjectKind::decode(kind.encode()), Ok(kind));
        }
    }

    #[test]
    fn registers_out_of_range_are_named() {
        let wrong = [
            ([0, 0, 0, 0], 0),
            ([4, 0, 0, 0], 0),
            ([1, 1, 0, 0], 1),
            ([1, 0, 1, 0], 2),
            ([1, 0, 0, 1], 3),
            ([2, 0, 0, 0], 2),
            ([2, 2, 1, 0], 1),
            ([2, 1 << 32, 1, 0], 1),
            ([2, 0, 1 << 32, 0], 2),
            ([2, 0, 1, 2], 3),
            ([3, 0, 0, 0], 1),
            ([3, 65, 0, 0], 1),
            ([3, 257, 0, 0], 1),
            ([3, 1, 1, 0], 2),
            ([3, 1, 0, 1], 3),
        ];
        for (registers, position) in wrong {
            assert_eq!(ObjectKind::decode(registers), Err(position), "{registers:?}");
        }
    }
    #[test]
    fn arguments_arrive_where_they_belong() {
        let kind = ObjectKind::Semaphore { initial: 4, maximum: 5, units: Units::Spent };
        let open = ObjectCall::Open { name: Ipa(0x4000_0040), length: 63, kind };
        assert_eq!(decode(0x38, &[0x4000_0040, 63, 2, 4, 5, 1]), Ok(open));
        assert_eq!(decode(0x39, &[9, 0, 0, 0, 0, 0]), Ok(ObjectCall::Wait(9)));
        let post = ObjectCall::Post { object: 9, message: [1, 2, u64::MAX] };
        assert_eq!(decode(0x3a, &[9, 1, 2, u64::MAX, 0, 0]), Ok(post));
        let notify = |port| Ok(ObjectCall::Notify { object: 9, port });
        assert_eq!(decode(0x3b, &[9, 7, 0, 0, 0, 0]), notify(Some(7)));
        assert_eq!(decode(0x3b, &[9, 0, 0, 0, 0, 0]), notify(None));
        assert_eq!(decode(0x3c, &[9, 0, 0, 0, 0, 0]), Ok(ObjectCall::Close(9)));
    }

    #[test]
    fn arguments_out_of_range_of_a_call_are_named() {
        for (x, register) in [
            ([64, 0, 1, 0, 0, 0], 2),
            ([64, 64, 1, 0, 0, 0], 2),
            ([64, 257, 1, 0, 0, 0], 2),
            ([64, 1, 0, 0, 0, 0], 3),
            ([64, 1, 3, 65, 0, 0], 4),
            ([64, 1, 2, 0, 0, 0], 5),
            ([64, 1, 2, 0, 1, 2], 6),
            ([64, 1, 1, 0, 0, 1], 6),
        ] {
            assert_eq!(decode(0x38, &x), Err(DecodeError::Argument(register)), "{x:?}");
        }
    }
}
