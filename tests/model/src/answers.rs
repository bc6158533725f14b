//! What each call is to answer among the random ones of a topic: the list that [`reach`](crate::guests::reach) is given there.
//!
//! `tests/answers.rs` holds these lists against the table of calls: a status that a call's row has and that is on none of them needs a
//! test of its own, which it names.

use shikiri_abi::{Resource, Status};

use crate::calls::{
    ACCEPT, ACCEPT_EVENT, ACCEPT_SHARE, ALLOC, ASK, BIND, CLOSE, CLOSE_HANDLE, CLOSE_OBJECT,
    CONNECT, CONNECT_EVENT, CONNECT_SHARE, CREATE, CREATE_RECEIVE, CREATE_SEND, CREATE_SHARE,
    DETACH, FREE, INFO, KEEP, LIMIT, MASK, NOTIFY, NOTIFY_ME, NOTIFY_OF_OBJECT, OFFER, OPEN, POLL,
    POST, REFUSE, REVOKE, SEND, SEND_EVENT, SPLIT, STATE_OF_EVENT, STATE_OF_SHARE, TAKE,
    TAKE_EVENTS, TRIM, WAIT, WITHDRAW,
};

/// A call, and its answers: each a status, and of a refusal what `x1` says.
pub type Row = (u32, &'static [(Status, u64)]);

const OK: (Status, u64) = (Status::Ok, 0);
const PENDING: (Status, u64) = (Status::Pending, 0);
const AGAIN: (Status, u64) = (Status::Again, 0);
const BAD_HANDLE: (Status, u64) = (Status::BadHandle, 0);
const NOT_PERMITTED: (Status, u64) = (Status::NotPermitted, 0);
const WRONG_STATE: (Status, u64) = (Status::WrongState, 0);
const NOT_OWNER: (Status, u64) = (Status::NotOwner, 0);
const RANGE: (Status, u64) = (Status::Range, 0);
const EMPTY: (Status, u64) = (Status::Empty, 0);
const FULL: (Status, u64) = (Status::Full, 0);
const EXISTS: (Status, u64) = (Status::Exists, 0);
const REFUSED: (Status, u64) = (Status::Refused, 0);
const PEER_GONE: (Status, u64) = (Status::PeerGone, 0);
/// Which argument.
const SECOND: (Status, u64) = (Status::InvalidParameter, 2);
const THIRD: (Status, u64) = (Status::InvalidParameter, 3);
/// Which line of the account.
const NO_PORT: (Status, u64) = over(Resource::EventPorts);
const NO_MEMORY: (Status, u64) = over(Resource::Memory);
const NO_SLOT: (Status, u64) = over(Resource::IpaSpace);
const NO_TABLE: (Status, u64) = over(Resource::ManagementMemory);

const fn over(line: Resource) -> (Status, u64) {
    (Status::OverLimit, line.number() as u64)
}

/// Event ports and control signals.
#[rustfmt::skip]
pub const EVENTS: &[Row] = &[
    (CREATE_SEND, &[OK, NO_PORT, NO_TABLE]),
    (CREATE_RECEIVE, &[OK, NO_PORT, NO_TABLE]),
    (CONNECT_EVENT, &[OK, BAD_HANDLE, WRONG_STATE]),
    (BIND, &[OK, BAD_HANDLE, WRONG_STATE, SECOND, THIRD]),
    (NOTIFY_ME, &[OK, BAD_HANDLE, WRONG_STATE]),
    (MASK, &[OK, BAD_HANDLE]),
    (STATE_OF_EVENT, &[OK, PENDING, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE]),
    (POLL, &[OK, BAD_HANDLE]),
    (TAKE_EVENTS, &[OK]),
    (SEND_EVENT, &[OK, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE]),
    (ASK, &[PENDING, BAD_HANDLE, WRONG_STATE, NO_TABLE, PEER_GONE]),
    (TAKE, &[OK, EMPTY, NO_TABLE]),
    (ACCEPT_EVENT, &[OK, BAD_HANDLE, WRONG_STATE, PEER_GONE]),
    (REFUSE, &[OK, BAD_HANDLE]),
    (CLOSE_HANDLE, &[OK, BAD_HANDLE]),
    (LIMIT, &[OK, BAD_HANDLE]),
];

/// Message areas and channels.
#[rustfmt::skip]
pub const CHANNELS: &[Row] = &[
    (ALLOC, &[OK, AGAIN, RANGE, NO_SLOT]),
    (FREE, &[OK, AGAIN, NOT_OWNER]),
    (INFO, &[OK, NOT_OWNER]),
    (KEEP, &[OK, NOT_OWNER, WRONG_STATE, NO_SLOT]),
    (TRIM, &[OK, AGAIN, NOT_OWNER, WRONG_STATE, RANGE]),
    (SPLIT, &[OK, AGAIN, NOT_OWNER, WRONG_STATE, RANGE]),
    (CREATE, &[OK, BAD_HANDLE, WRONG_STATE, SECOND, NO_TABLE, NO_SLOT]),
    (CONNECT, &[PENDING, BAD_HANDLE, WRONG_STATE, PEER_GONE]),
    (TAKE, &[OK, EMPTY]),
    (ACCEPT, &[OK, BAD_HANDLE, WRONG_STATE, PEER_GONE]),
    (REFUSE, &[OK, BAD_HANDLE]),
    (SEND, &[OK, BAD_HANDLE, NOT_OWNER, WRONG_STATE, RANGE, FULL, REFUSED, PEER_GONE]),
    (NOTIFY, &[OK, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE]),
    (CLOSE, &[OK, BAD_HANDLE]),
    (LIMIT, &[OK, BAD_HANDLE]),
];

/// Shared areas.
#[rustfmt::skip]
pub const SHARES: &[Row] = &[
    (ALLOC, &[OK, AGAIN, RANGE, NO_SLOT, NO_MEMORY]),
    (OFFER, &[OK, AGAIN, NOT_OWNER, BAD_HANDLE, WRONG_STATE, NO_TABLE]),
    (WITHDRAW, &[OK, AGAIN, NOT_OWNER, WRONG_STATE]),
    (REVOKE, &[OK, NOT_OWNER, WRONG_STATE, PEER_GONE]),
    (CREATE_SHARE, &[OK, BAD_HANDLE, WRONG_STATE, RANGE, NO_TABLE, NO_SLOT, NO_MEMORY]),
    (CONNECT_SHARE, &[PENDING, SECOND, PEER_GONE, BAD_HANDLE, WRONG_STATE]),
    (TAKE, &[OK, EMPTY]),
    (ACCEPT_SHARE, &[OK, BAD_HANDLE, NOT_OWNER, WRONG_STATE, PEER_GONE, EXISTS, RANGE]),
    (REFUSE, &[OK, BAD_HANDLE]),
    (STATE_OF_SHARE, &[OK, PENDING, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE]),
    (DETACH, &[OK, AGAIN, BAD_HANDLE, WRONG_STATE]),
    (FREE, &[OK, NOT_OWNER, WRONG_STATE]),
    (INFO, &[OK, NOT_OWNER]),
    (KEEP, &[NOT_OWNER, WRONG_STATE]),
    (LIMIT, &[OK, BAD_HANDLE]),
];

/// Named objects.
#[rustfmt::skip]
pub const OBJECTS: &[Row] = &[
    (OPEN, &[OK, NOT_PERMITTED, EXISTS, NO_TABLE, FULL]),
    (WAIT, &[OK, BAD_HANDLE, EMPTY]),
    (POST, &[OK, BAD_HANDLE, SECOND, RANGE, FULL]),
    (CLOSE_OBJECT, &[OK, BAD_HANDLE]),
    (LIMIT, &[OK, BAD_HANDLE]),
    (NOTIFY_OF_OBJECT, &[OK, BAD_HANDLE, WRONG_STATE]),
];
