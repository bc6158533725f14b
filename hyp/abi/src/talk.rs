//! The calls by which partitions talk, decoded. Handles are numbers here: whoever has the table looks them up.

use core::fmt;

use crate::call::{DecodeError, check_unused};
use crate::{IntId, NamePart, Rights, VcpuIndex};

/// A decoded call about ports, requests and peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TalkCall {
    /// `EVENT_CREATE_SEND`
    CreateSend,
    /// `EVENT_CREATE_RECEIVE`
    CreateReceive,
    /// `EVENT_CONNECT`
    Connect {
        /// The send port.
        send: u64,
        /// The receive port.
        receive: u64,
    },
    /// `EVENT_BIND`
    Bind {
        /// The receive port.
        port: u64,
        /// The SPI; whether it is one is not known here.
        intid: IntId,
        /// Where it goes first.
        vcpu: VcpuIndex,
        /// How many ports share it.
        sharing: Sharing,
    },
    /// `EVENT_MASK` with 1: the receive port.
    Mask(u64),
    /// `EVENT_MASK` with 0: the receive port.
    Unmask(u64),
    /// `EVENT_STATE`: the send port.
    State(u64),
    /// `EVENT_POLL`: the receive port.
    Poll(u64),
    /// `EVENT_TAKE`: the word.
    Take(u16),
    /// `EVENT_SEND`: the send port.
    Send(u64),
    /// `HANDLE_CLOSE`
    Close(u64),
    /// `HANDLE_LIMIT`
    Limit {
        /// The handle.
        handle: u64,
        /// Which rights stay, if they are there.
        keep: Rights,
    },
    /// `SIGNAL_NOTIFY`: the receive port.
    Notify(u64),
    /// `SIGNAL_ASK`
    Ask {
        /// The send port.
        port: u64,
        /// The other partition's number.
        partition: u8,
        /// The service.
        service: u32,
        /// The word.
        word: u64,
    },
    /// `SIGNAL_TAKE`
    TakeSignal,
    /// `SIGNAL_ACCEPT`
    Accept {
        /// The request.
        request: u64,
        /// The receive port.
        receive: u64,
    },
    /// `SIGNAL_REFUSE`: the request.
    Refuse(u64),
    /// `PEER_INFO`: the partition's number.
    Peer(u8),
    /// `PEER_NAME`: the partition's number, and which part of its name.
    PeerName(u8, NamePart),
}

/// How many ports share an INTID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// None: the port has it alone.
    Alone,
    /// Any number; the pending bitmap tells them apart.
    Grouped,
}

/// What a control signal asks for: bits 56 to 63 of what `SIGNAL_TAKE` answers in x1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// To connect a send port of the sender's to a receive port of the receiver's.
    EventConnect,
    /// To connect a message port of the sender's to one of the receiver's.
    ChannelConnect,
    /// To attach a shared area of the receiver's.
    AreaAttach,
}

impl SignalKind {
    /// All of them, by number.
    pub const ALL: [Self; 3] = [Self::EventConnect, Self::ChannelConnect, Self::AreaAttach];

    /// The number: 0, 1 or 2.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::EventConnect => 0,
            Self::ChannelConnect => 1,
            Self::AreaAttach => 2,
        }
    }

    /// The kind with this number; none if it has come later than this.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::EventConnect),
            1 => Some(Self::ChannelConnect),
            2 => Some(Self::AreaAttach),
            _ => None,
        }
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventConnect => "an event connection",
            Self::ChannelConnect => "a message channel",
            Self::AreaAttach => "a shared area",
        })
    }
}

/// Words of 64 handles.
const WORDS: u64 = 1024;

/// Decodes the calls 0x08, 0x09, and from 0x10 to 0x1f.
pub(crate) fn decode(number: u32, x: &[u64; 6]) -> Result<TalkCall, DecodeError> {
    use TalkCall as C;
    let [a, b, c, d, _, _] = *x;
    let used = match number {
        0x10 | 0x11 | 0x1c => 0,
        0x15..=0x1a | 0x1e | 0x1f => 1,
        0x08 | 0x09 | 0x12 | 0x14 | 0x1d => 2,
        0x13 | 0x1b => 4,
        _ => return Err(DecodeError::NotSupported),
    };
    check_unused(x, used)?;
    let bad = DecodeError::Argument;
    let partition = |value: u64, register| u8::try_from(value).map_err(|_| bad(register));
    Ok(match number {
        0x08 => C::PeerName(partition(a, 1)?, NamePart::decode(b).ok_or(bad(2))?),
        0x09 => C::Limit { handle: a, keep: Rights::from_bits(b).ok_or(bad(2))? },
        0x10 => C::CreateSend,
        0x11 => C::CreateReceive,
        0x12 => C::Connect { send: a, receive: b },
        0x13 => C::Bind {
            port: a,
            intid: IntId(u16::try_from(b).map_err(|_| bad(2))?),
            vcpu: VcpuIndex(u8::try_from(c).map_err(|_| bad(3))?),
            sharing: if flag(d, 4)? { Sharing::Grouped } else { Sharing::Alone },
        },
        0x14 => {
            if flag(b, 2)? {
                C::Mask(a)
            } else {
                C::Unmask(a)
            }
        }
        0x15 => C::State(a),
        0x16 => C::Poll(a),
        0x17 => C::Take(u16::try_from(a).ok().filter(|_| a < WORDS).ok_or(bad(1))?),
        0x18 => C::Send(a),
        0x19 => C::Close(a),
        0x1a => C::Notify(a),
        0x1b => C::Ask {
            port: a,
            partition: partition(b, 2)?,
            service: u32::try_from(c).map_err(|_| bad(3))?,
            word: d,
        },
        0x1c => C::TakeSignal,
        0x1d => C::Accept { request: a, receive: b },
        0x1e => C::Refuse(a),
        _ => C::Peer(partition(a, 1)?),
    })
}

/// An argument that is 0 or 1.
fn flag(value: u64, register: u8) -> Result<bool, DecodeError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Argument(register)),
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::{Sharing, SignalKind, TalkCall, decode};
    use crate::call::DecodeError;
    use crate::{CALLS, IntId, NamePart, Rights, VcpuIndex};

    #[test]
    fn the_kinds_of_signals_are_those_that_the_call_table_tells() {
        let told: Vec<_> =
            SignalKind::ALL.iter().map(|kind| format!("{} {kind}", kind.code())).collect();
        let row = CALLS.iter().find(|row| row.name == "SIGNAL_TAKE").unwrap();
        assert!(row.results[0].meaning.ends_with(&told.join(", ")), "{told:?}");
        for code in 0..=u8::MAX {
            let kind = SignalKind::ALL.get(usize::from(code)).copied();
            assert_eq!(SignalKind::from_code(code), kind);
            assert_eq!(kind.map_or(code, SignalKind::code), code);
        }
    }

    #[test]
    fn arguments_arrive_where_they_belong() {
        let bind = TalkCall::Bind {
            port: 9,
            intid: IntId(1019),
            vcpu: VcpuIndex(63),
            sharing: Sharing::Grouped,
        };
        assert_eq!(decode(0x13, &[9, 1019, 63, 1, 0, 0]), Ok(bind));
        let ask = TalkCall::Ask { port: 9, partition: 63, service: u32::MAX, word: u64::MAX };
        assert_eq!(decode(0x1b, &[9, 63, u64::from(u32::MAX), u64::MAX, 0, 0]), Ok(ask));
        assert_eq!(decode(0x14, &[9, 1, 0, 0, 0, 0]), Ok(TalkCall::Mask(9)));
        assert_eq!(decode(0x14, &[9, 0, 0, 0, 0, 0]), Ok(TalkCall::Unmask(9)));
        let limit = |handle, keep| Ok(TalkCall::Limit { handle, keep });
        assert_eq!(decode(0x09, &[u64::MAX, 1, 0, 0, 0, 0]), limit(u64::MAX, Rights::USE));
        assert_eq!(decode(0x09, &[9, 3, 0, 0, 0, 0]), limit(9, Rights::ALL));
        let name = |part| Ok(TalkCall::PeerName(63, part));
        assert_eq!(decode(0x08, &[63, 0, 0, 0, 0, 0]), name(NamePart::First));
        assert_eq!(decode(0x08, &[63, 1, 0, 0, 0, 0]), name(NamePart::Rest));
        assert_eq!(decode(0x17, &[1023, 0, 0, 0, 0, 0]), Ok(TalkCall::Take(1023)));
        assert_eq!(decode(0x18, &[u64::MAX, 0, 0, 0, 0, 0]), Ok(TalkCall::Send(u64::MAX)));
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        for (number, x, register) in [
            (0x13, [9, 1 << 16, 0, 0, 0, 0], 2),
            (0x13, [9, 32, 256, 0, 0, 0], 3),
            (0x13, [9, 32, 0, 2, 0, 0], 4),
            (0x14, [9, 2, 0, 0, 0, 0], 2),
            (0x17, [1024, 0, 0, 0, 0, 0], 1),
            (0x17, [u64::MAX, 0, 0, 0, 0, 0], 1),
            (0x1b, [9, 256, 0, 0, 0, 0], 2),
            (0x1b, [9, 0, 1 << 32, 0, 0, 0], 3),
            (0x1f, [256, 0, 0, 0, 0, 0], 1),
            (0x08, [256, 0, 0, 0, 0, 0], 1),
            (0x08, [3, 2, 0, 0, 0, 0], 2),
            (0x09, [9, 4, 0, 0, 0, 0], 2),
            (0x09, [9, 1 << 63 | 1, 0, 0, 0, 0], 2),
        ] {
            assert_eq!(decode(number, &x), Err(DecodeError::Argument(register)), "{number:#x}");
        }
    }
}
