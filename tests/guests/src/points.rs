//! The steps of a message channel's life (C4), for the guest that ends at each of them and for the test outside, which
//! looks that none was left out: `tests/qemu` includes this file.

/// The two sides of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who asks.
    Client,
    /// Who accepts.
    Server,
}

/// One hypercall, or one access to the pages of a port or to an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the calls, and of what is waited for")]
pub enum Step {
    CreateReceive,
    Bind,
    CreatePort,
    /// The port for control signals.
    CreateNotice,
    BindNotice,
    NotifySignals,
    Connect,
    TakeSignal,
    Refuse,
    AwaitRefusal,
    Accept,
    AwaitConnection,
    Post,
    Notify,
    /// The first, another, and all further calls of making an area.
    AllocBegin,
    AllocMore,
    AllocAll,
    Trim,
    Split,
    Write,
    Send,
    SendShort,
    AwaitMessage,
    Info,
    Read,
    Keep,
    /// The first, and all further calls of freeing an area.
    FreeBegin,
    FreeAll,
    AwaitClose,
    ClosePort,
    CloseReceive,
    CloseNotice,
}

impl Step {
    /// The call that it makes, or its own name where it waits, or looks at memory.
    #[must_use]
    pub const fn call(self) -> &'static str {
        match self {
            Self::CreateReceive | Self::CreateNotice => "EVENT_CREATE_RECEIVE",
            Self::Bind | Self::BindNotice => "EVENT_BIND",
            Self::CreatePort => "CHANNEL_CREATE",
            Self::NotifySignals => "SIGNAL_NOTIFY",
            Self::Connect => "CHANNEL_CONNECT",
            Self::TakeSignal => "SIGNAL_TAKE",
            Self::Refuse => "SIGNAL_REFUSE",
            Self::Accept => "CHANNEL_ACCEPT",
            Self::Notify => "CHANNEL_NOTIFY",
            Self::AllocBegin | Self::AllocMore | Self::AllocAll => "AREA_ALLOC",
            Self::Trim => "AREA_TRIM",
            Self::Split => "AREA_SPLIT",
            Self::Send | Self::SendShort => "CHANNEL_SEND",
            Self::Info => "AREA_INFO",
            Self::Keep => "AREA_KEEP",
            Self::FreeBegin | Self::FreeAll => "AREA_FREE",
            Self::ClosePort => "CHANNEL_CLOSE",
            Self::CloseReceive | Self::CloseNotice => "HANDLE_CLOSE",
            Self::Post => "the credits page is written",
            Self::Write | Self::Read => "the area is accessed",
            Self::AwaitConnection | Self::AwaitRefusal | Self::AwaitMessage | Self::AwaitClose => {
                "the arrivals page is read"
            }
        }
    }
}

/// What a client does, from the first call to the last.
pub const CLIENT: &[Step] = &[
    Step::CreateReceive,
    Step::Bind,
    Step::CreatePort,
    Step::Connect,
    Step::AwaitRefusal,
    Step::Connect,
    Step::AwaitConnection,
    Step::Post,
    Step::AllocBegin,
    Step::AllocMore,
    Step::AllocAll,
    Step::Split,
    Step::Trim,
    Step::Write,
    Step::Send,
    Step::AwaitMessage,
    Step::Info,
    Step::Read,
    Step::Post,
    Step::Keep,
    Step::FreeBegin,
    Step::FreeAll,
    Step::AllocAll,
    Step::Write,
    Step::Send,
    Step::AwaitMessage,
    Step::ClosePort,
    Step::CloseReceive,
];

/// What a server does.
pub const SERVER: &[Step] = &[
    Step::CreateNotice,
    Step::BindNotice,
    Step::NotifySignals,
    Step::TakeSignal,
    Step::Refuse,
    Step::CreateReceive,
    Step::Bind,
    Step::CreatePort,
    Step::TakeSignal,
    Step::Accept,
    Step::Post,
    Step::AwaitMessage,
    Step::Info,
    Step::Read,
    Step::Write,
    Step::Post,
    Step::Notify,
    Step::Send,
    Step::AwaitMessage,
    Step::SendShort,
    Step::AwaitClose,
    Step::ClosePort,
    Step::FreeBegin,
    Step::FreeAll,
    Step::CloseReceive,
    Step::CloseNotice,
];

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// Its steps; it can end before each, and behind the last.
    #[must_use]
    pub const fn steps(self) -> &'static [Step] {
        match self {
            Self::Client => CLIENT,
            Self::Server => SERVER,
        }
    }
}
