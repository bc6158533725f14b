//! The steps of a message channel's life (C4), for the guest that ends at each of them and for the test outside, which
//! looks that none was left out: `tests/qemu` includes this file. That no call and no step is forgotten is checked
//! while the guests are compiled (`complete.rs`).

/// The two sides of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who asks.
    Client,
    /// Who accepts.
    Server,
}

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// This hypercall, of the table: once, or until it does not answer AGAIN.
    Call(&'static str),
    /// Such a call that is refused, and changes nothing.
    Refused(&'static str),
    /// Accesses to a port's pages or to the area, or looks for what the peer does.
    Access,
}

/// Makes the enum, and the table of what each step is: the same list, so that none is in one of them alone.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident: $makes:expr,)*) => {
        /// One hypercall, or one access to the pages of a port or to an area.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names of the calls, and of what is waited for")]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$step),*];

            /// What it is.
            #[must_use]
            pub const fn makes(self) -> Makes {
                use Makes::{Access, Call, Refused};
                match self {
                    $(Self::$step => $makes,)*
                }
            }
        }
    };
}

steps! {
    CreateReceive: Call("EVENT_CREATE_RECEIVE"),
    Bind: Call("EVENT_BIND"),
    CreatePort: Call("CHANNEL_CREATE"),
    /// The port for control signals.
    CreateNotice: Call("EVENT_CREATE_RECEIVE"),
    BindNotice: Call("EVENT_BIND"),
    NotifySignals: Call("SIGNAL_NOTIFY"),
    /// To a partition that does not exist.
    ConnectToNobody: Refused("CHANNEL_CONNECT"),
    Connect: Call("CHANNEL_CONNECT"),
    /// Again until one has come.
    TakeSignal: Call("SIGNAL_TAKE"),
    Refuse: Call("SIGNAL_REFUSE"),
    AwaitRefusal: Access,
    /// With what is no message port.
    AcceptWithWrongPort: Refused("CHANNEL_ACCEPT"),
    Accept: Call("CHANNEL_ACCEPT"),
    AwaitConnection: Access,
    Post: Access,
    Notify: Call("CHANNEL_NOTIFY"),
    /// More than the class holds.
    AllocTooLarge: Refused("AREA_ALLOC"),
    /// Of a class of which the partition has no place.
    AllocOverLimit: Refused("AREA_ALLOC"),
    /// The first, another, and all further calls of making an area.
    AllocBegin: Call("AREA_ALLOC"),
    AllocMore: Call("AREA_ALLOC"),
    AllocAll: Call("AREA_ALLOC"),
    /// The first, and all further calls: of making its tail an area, of freeing that, and of freeing its new tail.
    SplitBegin: Call("AREA_SPLIT"),
    SplitAll: Call("AREA_SPLIT"),
    FreeTailBegin: Call("AREA_FREE"),
    FreeTailAll: Call("AREA_FREE"),
    TrimBegin: Call("AREA_TRIM"),
    TrimAll: Call("AREA_TRIM"),
    Write: Access,
    /// By what is no message port.
    SendByWrongPort: Refused("CHANNEL_SEND"),
    /// An area that is not there.
    SendNotOwned: Refused("CHANNEL_SEND"),
    /// More bytes than the area has.
    SendTooMuch: Refused("CHANNEL_SEND"),
    /// While the peer has offered to take nothing: FULL.
    SendFull: Refused("CHANNEL_SEND"),
    AwaitRoom: Access,
    /// Until the peer has met FULL.
    AwaitStarved: Access,
    /// Again while there is no room.
    Send: Call("CHANNEL_SEND"),
    SendShort: Call("CHANNEL_SEND"),
    AwaitMessage: Access,
    Info: Call("AREA_INFO"),
    Read: Access,
    Keep: Call("AREA_KEEP"),
    /// The first, and all further calls of freeing an area.
    FreeBegin: Call("AREA_FREE"),
    FreeAll: Call("AREA_FREE"),
    AwaitClose: Access,
    ClosePort: Call("CHANNEL_CLOSE"),
    CloseReceive: Call("HANDLE_CLOSE"),
    CloseNotice: Call("HANDLE_CLOSE"),
}

/// What a client does, from the first call to the last.
pub const CLIENT: &[Step] = &[
    Step::CreateReceive,
    Step::Bind,
    Step::CreatePort,
    Step::ConnectToNobody,
    Step::Connect,
    Step::AwaitRefusal,
    Step::Connect,
    Step::AwaitConnection,
    Step::AllocTooLarge,
    Step::AllocOverLimit,
    Step::AllocBegin,
    Step::AllocMore,
    Step::AllocAll,
    Step::SplitBegin,
    Step::SplitAll,
    Step::FreeTailBegin,
    Step::FreeTailAll,
    Step::TrimBegin,
    Step::TrimAll,
    Step::Write,
    Step::SendByWrongPort,
    Step::SendNotOwned,
    Step::SendTooMuch,
    Step::Send,
    Step::AwaitStarved,
    Step::Post,
    Step::Notify,
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
    Step::AcceptWithWrongPort,
    Step::Accept,
    Step::Post,
    Step::AwaitMessage,
    Step::Info,
    Step::Read,
    Step::Write,
    Step::SendFull,
    Step::AwaitRoom,
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

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
