//! The calls about shared memory areas, decoded (C5). Handles are numbers here: whoever has the table looks them up.

use crate::call::{DecodeError, check_unused};
use crate::{AreaClass, PageCount};

/// A decoded call about shared areas (0x30 to 0x37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedCall {
    /// `SHARED_OFFER`
    Offer {
        /// The area.
        area: u64,
        /// The receive port for what its users do; 0 for none.
        events: u64,
    },
    /// `SHARED_WITHDRAW`
    Withdraw(u64),
    /// `SHARED_REVOKE`
    Revoke {
        /// The area.
        area: u64,
        /// The user's number.
        partition: u8,
    },
    /// `SHARED_CREATE`
    Create {
        /// The receive port for its events.
        events: u64,
        /// The most that the area can have.
        pages: PageCount,
        /// The class of the slot.
        class: AreaClass,
    },
    /// `SHARED_CONNECT`
    Connect {
        /// The attachment.
        port: u64,
        /// The other partition's number.
        partition: u8,
        /// The service.
        service: u32,
        /// The word.
        word: u64,
    },
    /// `SHARED_ACCEPT`
    Accept {
        /// The request.
        request: u64,
        /// The offered area.
        area: u64,
        /// Whether the asker may write there.
        is_writable: bool,
    },
    /// `SHARED_STATE`
    State(u64),
    /// `SHARED_DETACH`
    Detach(u64),
}

/// Decodes the calls from 0x30 to 0x37.
pub(crate) fn decode(number: u32, x: &[u64; 6]) -> Result<SharedCall, DecodeError> {
    use SharedCall as C;
    let [a, b, c, d, ..] = *x;
    let used = match number {
        0x31 | 0x36 | 0x37 => 1,
        0x30 | 0x32 => 2,
        0x33 | 0x35 => 3,
        _ => 4,
    };
    check_unused(x, used)?;
    let bad = DecodeError::Argument;
    let partition = u8::try_from(b).map_err(|_| bad(2));
    Ok(match number {
        0x30 => C::Offer { area: a, events: b },
        0x31 => C::Withdraw(a),
        0x32 => C::Revoke { area: a, partition: partition? },
        0x33 => C::Create {
            events: a,
            pages: PageCount::for_bytes(b),
            class: AreaClass::from_code(c).ok_or(bad(3))?,
        },
        0x34 => C::Connect {
            port: a,
            partition: partition?,
            service: u32::try_from(c).map_err(|_| bad(3))?,
            word: d,
        },
        0x35 if c > 1 => return Err(bad(3)),
        0x35 => C::Accept { request: a, area: b, is_writable: c == 1 },
        0x36 => C::State(a),
        _ => C::Detach(a),
    })
}

#[cfg(test)]
mod tests {
    use super::{SharedCall, decode};
    use crate::call::DecodeError;
    use crate::{AreaClass, PageCount};

    #[test]
    fn arguments_arrive_where_they_belong() {
        for (number, x, call) in [
            (0x30, [1, 2, 0, 0], SharedCall::Offer { area: 1, events: 2 }),
            (0x31, [1, 0, 0, 0], SharedCall::Withdraw(1)),
            (0x32, [1, 2, 0, 0], SharedCall::Revoke { area: 1, partition: 2 }),
            (
                0x33,
                [1, 4097, 1, 0],
                SharedCall::Create { events: 1, pages: PageCount(2), class: AreaClass::Block },
            ),
            (
                0x34,
                [1, 2, 3, 4],
                SharedCall::Connect { port: 1, partition: 2, service: 3, word: 4 },
            ),
            (0x35, [1, 2, 1, 0], SharedCall::Accept { request: 1, area: 2, is_writable: true }),
            (0x36, [1, 0, 0, 0], SharedCall::State(1)),
            (0x37, [1, 0, 0, 0], SharedCall::Detach(1)),
        ] {
            let [a, b, c, d] = x;
            assert_eq!(decode(number, &[a, b, c, d, 0, 0]), Ok(call));
        }
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        for (number, x, which) in [
            (0x32, [1, 256, 0, 0], 2),
            (0x33, [1, 1, 3, 0], 3),
            (0x34, [1, 256, 0, 0], 2),
            (0x34, [1, 2, 1 << 32, 0], 3),
            (0x35, [1, 2, 2, 0], 3),
        ] {
            let [a, b, c, d] = x;
            let decoded = decode(number, &[a, b, c, d, 0, 0]);
            assert_eq!(decoded, Err(DecodeError::Argument(which)), "{number:#x} {x:?}");
        }
    }
}
