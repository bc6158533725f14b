//! The calls about message areas and message channels, decoded. Handles are numbers here: whoever has the table looks them up.

use crate::call::{DecodeError, check_unused};
use crate::{AreaClass, PageCount};

/// A decoded call about message areas (0x20 to 0x27) or message channels (0x28 to 0x2f).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageCall {
    /// `AREA_ALLOC` with handle 0
    Alloc {
        /// The size.
        pages: PageCount,
        /// The class of the slot.
        class: AreaClass,
    },
    /// `AREA_ALLOC` with the handle of an area that is being made
    AllocMore(u64),
    /// `AREA_FREE`
    Free(u64),
    /// `AREA_INFO`
    Info(u64),
    /// `AREA_KEEP`
    Keep(u64),
    /// `AREA_TRIM`
    Trim {
        /// The area.
        area: u64,
        /// What stays.
        pages: PageCount,
    },
    /// `AREA_SPLIT`
    Split {
        /// The area.
        area: u64,
        /// What stays.
        pages: PageCount,
        /// The class of the slot of a new area.
        class: AreaClass,
        /// The area that the tail goes to; 0 for a new one.
        tail: u64,
    },
    /// `CHANNEL_CREATE`
    Create {
        /// The receive port for its events.
        events: u64,
        /// Slots of its window.
        slots: u16,
        /// Their class.
        class: AreaClass,
    },
    /// `CHANNEL_CONNECT`
    Connect {
        /// The message port.
        port: u64,
        /// The other partition's number.
        partition: u8,
        /// The service.
        service: u32,
        /// The word.
        word: u64,
    },
    /// `CHANNEL_ACCEPT`
    Accept {
        /// The request.
        request: u64,
        /// The message port.
        port: u64,
    },
    /// `CHANNEL_SEND`
    Send {
        /// The message port.
        port: u64,
        /// The area; 0 for none.
        area: u64,
        /// How much of it is meant.
        bytes: u64,
        /// The short message.
        short: [u64; 3],
    },
    /// `CHANNEL_NOTIFY`
    Notify(u64),
    /// `CHANNEL_CLOSE`
    Close(u64),
    /// `EVENT_PAGE`
    EventPage,
}

/// Decodes the calls from 0x20 to 0x2f.
pub(crate) fn decode(number: u32, x: &[u64; 6]) -> Result<MessageCall, DecodeError> {
    use MessageCall as C;
    let [a, b, c, d, e, f] = *x;
    let used = match number {
        0x2e => 0,
        0x21..=0x23 | 0x2c | 0x2d => 1,
        0x24 | 0x2a => 2,
        0x20 | 0x28 => 3,
        0x25 | 0x29 => 4,
        0x2b => 6,
        _ => return Err(DecodeError::NotSupported),
    };
    check_unused(x, used)?;
    let bad = DecodeError::Argument;
    Ok(match number {
        0x20 => {
            let class = AreaClass::from_code(b).ok_or(bad(2))?;
            match c {
                0 => C::Alloc { pages: PageCount::for_bytes(a), class },
                handle => C::AllocMore(handle),
            }
        }
        0x21 => C::Free(a),
        0x22 => C::Info(a),
        0x23 => C::Keep(a),
        0x24 => C::Trim { area: a, pages: PageCount::for_bytes(b) },
        0x25 => {
            let class = AreaClass::from_code(c).ok_or(bad(3))?;
            C::Split { area: a, pages: PageCount::for_bytes(b), class, tail: d }
        }
        0x28 => C::Create {
            events: a,
            slots: u16::try_from(b).map_err(|_| bad(2))?,
            class: AreaClass::from_code(c).ok_or(bad(3))?,
        },
        0x29 => C::Connect {
            port: a,
            partition: u8::try_from(b).map_err(|_| bad(2))?,
            service: u32::try_from(c).map_err(|_| bad(3))?,
            word: d,
        },
        0x2a => C::Accept { request: a, port: b },
        0x2b => C::Send { port: a, area: b, bytes: c, short: [d, e, f] },
        0x2c => C::Notify(a),
        0x2d => C::Close(a),
        _ => C::EventPage,
    })
}

#[cfg(test)]
mod tests {
    use super::{MessageCall, decode};
    use crate::call::DecodeError;
    use crate::{AreaClass, PageCount};

    #[test]
    fn arguments_arrive_where_they_belong() {
        let x = [1, 2, 3, 4, 5, 6];
        let send = MessageCall::Send { port: 1, area: 2, bytes: 3, short: [4, 5, 6] };
        assert_eq!(decode(0x2b, &x), Ok(send));
        let alloc = MessageCall::Alloc { pages: PageCount(2), class: AreaClass::Block };
        assert_eq!(decode(0x20, &[4097, 1, 0, 0, 0, 0]), Ok(alloc));
        assert_eq!(decode(0x20, &[4097, 1, 9, 0, 0, 0]), Ok(MessageCall::AllocMore(9)));
        let trim = MessageCall::Trim { area: 9, pages: PageCount(2) };
        assert_eq!(decode(0x24, &[9, 4097, 0, 0, 0, 0]), Ok(trim));
        let (pages, class) = (PageCount(2), AreaClass::Giant);
        let split = MessageCall::Split { area: 9, pages, class, tail: 8 };
        assert_eq!(decode(0x25, &[9, 4097, 2, 8, 0, 0]), Ok(split));
        let create = MessageCall::Create { events: 7, slots: 60, class: AreaClass::Giant };
        assert_eq!(decode(0x28, &[7, 60, 2, 0, 0, 0]), Ok(create));
        let connect = MessageCall::Connect { port: 1, partition: 2, service: 3, word: 4 };
        assert_eq!(decode(0x29, &[1, 2, 3, 4, 0, 0]), Ok(connect));
        assert_eq!(
            decode(0x2a, &[1, 2, 0, 0, 0, 0]),
            Ok(MessageCall::Accept { request: 1, port: 2 })
        );
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        for (number, x, which) in [
            (0x20, [1, 3, 0, 0, 0, 0], 2),
            (0x25, [1, 1, 3, 0, 0, 0], 3),
            (0x28, [1, 0x1_0000, 0, 0, 0, 0], 2),
            (0x28, [1, 1, 3, 0, 0, 0], 3),
            (0x29, [1, 256, 0, 0, 0, 0], 2),
            (0x29, [1, 2, 1 << 32, 0, 0, 0], 3),
        ] {
            assert_eq!(decode(number, &x), Err(DecodeError::Argument(which)), "{number:#x} {x:?}");
        }
    }
}
