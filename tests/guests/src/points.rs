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
    Connect,
    TakeSignal,
    Accept,
    AwaitConnection,
    Post,
    Notify,
    /// The first, another, and all further calls of making an area.
    AllocBegin,
    AllocMore,
    AllocAll,
    Trim,
    Write,
    Send,
    SendShort,
    AwaitMessage,
    Read,
    Keep,
    /// The first, and all further calls of freeing an area.
    FreeBegin,
    FreeAll,
    AwaitClose,
    ClosePort,
    CloseReceive,
}

/// What a client does, from the first call to the last.
pub const CLIENT: &[Step] = &[
    Step::CreateReceive,
    Step::Bind,
    Step::CreatePort,
    Step::Connect,
    Step::AwaitConnection,
    Step::Post,
    Step::AllocBegin,
    Step::AllocMore,
    Step::AllocAll,
    Step::Trim,
    Step::Write,
    Step::Send,
    Step::AwaitMessage,
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
    Step::TakeSignal,
    Step::CreateReceive,
    Step::Bind,
    Step::CreatePort,
    Step::Accept,
    Step::Post,
    Step::AwaitMessage,
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
