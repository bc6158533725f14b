//! What can go wrong with a call, as results: on this side, on the way, on the other side.

use core::fmt;

use crate::pool::TakeError;

/// How a call ended at the other side, if not with a result; the code of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The service has no such method.
    NoSuchMethod,
    /// The arguments are not what the method takes.
    BadArguments,
    /// The server let the call go without an answer.
    Abandoned,
    /// There was no free buffer for the reply, and the server does not wait for one.
    NoBuffer,
    /// Arguments or result are larger than a buffer, or than the other side's context.
    TooLarge,
    /// The server behind an intermediary is gone.
    PeerGone,
    /// The message was no request, or its buffer does not exist.
    BadMessage,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoSuchMethod,
        Self::BadArguments,
        Self::Abandoned,
        Self::NoBuffer,
        Self::TooLarge,
        Self::PeerGone,
        Self::BadMessage,
    ];

    /// The code in a reply; 0 is success.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::NoSuchMethod => 1,
            Self::BadArguments => 2,
            Self::Abandoned => 3,
            Self::NoBuffer => 4,
            Self::TooLarge => 5,
            Self::PeerGone => 6,
            Self::BadMessage => 7,
        }
    }

    /// The status with this code.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// Why a message was not sent. Nothing of it is left then: a buffer that was taken for it is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// No buffer is free.
    NoBuffer,
    /// A buffer is free, but there is no memory for it.
    NoMemory,
    /// The transport has no room for the message now.
    Full,
    /// No buffer of any area is large enough.
    TooLarge,
    /// The value cannot be marshalled (a sequence without a length, or its `Serialize` failed).
    NotMarshalled,
    /// The peer is gone.
    PeerGone,
    /// The transport refuses it for a reason of its own, which has this code: over a channel the hypervisor's status.
    Transport(i64),
}

impl SendError {
    /// Whether waiting may help: something is used up at the moment, and comes back.
    #[must_use]
    pub const fn is_shortage(self) -> bool {
        matches!(self, Self::NoBuffer | Self::NoMemory | Self::Full)
    }
}

/// What a try that is repeated fails by.
pub(crate) trait Shortage {
    /// Whether waiting may help.
    fn is_shortage(&self) -> bool;

    /// Whether a buffer is missing: that one is free again is told by a message.
    fn is_of_buffers(&self) -> bool;
}

impl Shortage for SendError {
    fn is_shortage(&self) -> bool {
        (*self).is_shortage()
    }

    fn is_of_buffers(&self) -> bool {
        matches!(self, Self::NoBuffer | Self::NoMemory)
    }
}

impl Shortage for CallError {
    fn is_shortage(&self) -> bool {
        (*self).is_shortage()
    }

    fn is_of_buffers(&self) -> bool {
        matches!(self, Self::Send(why) if why.is_of_buffers())
    }
}

impl From<TakeError> for SendError {
    fn from(why: TakeError) -> Self {
        match why {
            TakeError::NoBuffer => Self::NoBuffer,
            TakeError::NoMemory => Self::NoMemory,
        }
    }
}

/// Why the payload of a message was not taken. Its buffer, if it has one of ours, is free in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The message names a buffer that does not exist or is not taken, or more bytes than it has.
    BadReference,
    /// The payload is larger than the memory that it is to be copied to.
    TooLarge,
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The request was not sent.
    Send(SendError),
    /// As many calls are in flight as this client has slots for.
    Busy,
    /// The peer went away while the call was in flight. Whether it was executed is not known.
    PeerGone,
    /// The reply is not what the method returns, or its buffer does not exist.
    BadReply,
    /// The reply is larger than the memory that it is to be copied to.
    TooLarge,
    /// The other side answers with this.
    Refused(Status),
    /// The call has ended before and its result was taken.
    Over,
    /// The deadline came first, and the call was left.
    TooLate,
}

impl CallError {
    /// Whether waiting may help: something is used up at the moment, and comes back.
    #[must_use]
    pub const fn is_shortage(self) -> bool {
        match self {
            Self::Send(why) => why.is_shortage(),
            Self::Busy => true,
            Self::PeerGone
            | Self::BadReply
            | Self::TooLarge
            | Self::Refused(_)
            | Self::Over
            | Self::TooLate => false,
        }
    }
}

impl From<SendError> for CallError {
    fn from(why: SendError) -> Self {
        match why {
            SendError::PeerGone => Self::PeerGone,
            SendError::NoBuffer
            | SendError::NoMemory
            | SendError::Full
            | SendError::TooLarge
            | SendError::NotMarshalled
            | SendError::Transport(_) => Self::Send(why),
        }
    }
}

impl From<FetchError> for CallError {
    fn from(why: FetchError) -> Self {
        match why {
            FetchError::BadReference => Self::BadReply,
            FetchError::TooLarge => Self::TooLarge,
        }
    }
}

/// What an intermediary tells its caller of a call that it made itself.
impl From<CallError> for Status {
    fn from(why: CallError) -> Self {
        match why {
            CallError::Send(SendError::TooLarge) | CallError::TooLarge => Self::TooLarge,
            CallError::Send(SendError::NotMarshalled | SendError::Transport(_))
            | CallError::Over
            | CallError::TooLate => Self::Abandoned,
            CallError::Send(SendError::PeerGone) | CallError::PeerGone => Self::PeerGone,
            CallError::Send(SendError::NoBuffer | SendError::NoMemory | SendError::Full)
            | CallError::Busy => Self::NoBuffer,
            CallError::BadReply => Self::BadMessage,
            CallError::Refused(status) => status,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send(SendError::NoBuffer) => "no buffer is free",
            Self::Send(SendError::NoMemory) => "no memory for a buffer",
            Self::Send(SendError::Full) => "the transport is full",
            Self::Send(SendError::TooLarge) => "the arguments are larger than a buffer",
            Self::Send(SendError::NotMarshalled) => "the arguments cannot be marshalled",
            Self::Send(SendError::Transport(_)) => "the transport refuses the message",
            Self::Busy => "all call slots are in use",
            Self::Send(SendError::PeerGone) | Self::PeerGone => "the peer is gone",
            Self::BadReply => "the reply is malformed",
            Self::TooLarge => "the reply is larger than the memory for it",
            Self::Refused(Status::NoSuchMethod) => "the service has no such method",
            Self::Refused(Status::BadArguments) => "the service did not understand the arguments",
            Self::Refused(Status::Abandoned) => "the service did not answer",
            Self::Refused(Status::NoBuffer) => "no buffer was free for the reply",
            Self::Refused(Status::TooLarge) => "too large for the other side",
            Self::Refused(Status::PeerGone) => "the server behind the intermediary is gone",
            Self::Refused(Status::BadMessage) => "the other side did not understand the message",
            Self::Over => "the call's result was taken before",
            Self::TooLate => "the deadline came before the result",
        })
    }
}

impl core::error::Error for CallError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_code_of_its_own_and_zero_is_none() {
        for (index, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.code()), index + 1);
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
        assert_eq!((Status::from_code(0), Status::from_code(8)), (None, None));
    }

    #[test]
    fn every_conversion_says_what_it_says() {
        let table = [
            (SendError::NoBuffer, CallError::Send(SendError::NoBuffer), true, Status::NoBuffer),
            (SendError::NoMemory, CallError::Send(SendError::NoMemory), true, Status::NoBuffer),
            (SendError::Full, CallError::Send(SendError::Full), true, Status::NoBuffer),
            (SendError::TooLarge, CallError::Send(SendError::TooLarge), false, Status::TooLarge),
            (
                SendError::NotMarshalled,
                CallError::Send(SendError::NotMarshalled),
                false,
                Status::Abandoned,
            ),
            (SendError::PeerGone, CallError::PeerGone, false, Status::PeerGone),
            (
                SendError::Transport(-17),
                CallError::Send(SendError::Transport(-17)),
                false,
                Status::Abandoned,
            ),
        ];
        for (why, call, is_shortage, status) in table {
            assert_eq!(CallError::from(why), call);
            assert_eq!((why.is_shortage(), call.is_shortage()), (is_shortage, is_shortage));
            assert_eq!(Status::from(call), status);
        }
        assert_eq!(SendError::from(TakeError::NoBuffer), SendError::NoBuffer);
        assert_eq!(SendError::from(TakeError::NoMemory), SendError::NoMemory);
        assert_eq!(CallError::from(FetchError::BadReference), CallError::BadReply);
        assert_eq!(CallError::from(FetchError::TooLarge), CallError::TooLarge);
        let rest = [
            (CallError::Send(SendError::PeerGone), Status::PeerGone),
            (CallError::Busy, Status::NoBuffer),
            (CallError::BadReply, Status::BadMessage),
            (CallError::TooLarge, Status::TooLarge),
            (CallError::Over, Status::Abandoned),
            (CallError::TooLate, Status::Abandoned),
        ];
        for (call, status) in rest {
            assert_eq!(Status::from(call), status);
            assert_eq!(call.is_shortage(), call == CallError::Busy);
        }
        for status in Status::ALL {
            assert_eq!(Status::from(CallError::Refused(status)), status);
            assert!(!CallError::Refused(status).is_shortage());
        }
    }
}
