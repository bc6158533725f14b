//! The calls about named objects, one function per row of the call table. `shikiri_object` makes values of them.

pub use shikiri_abi::Message;

use crate::partition::{Refusal, function, request};
use crate::talk::Handle;

/// Calls `OBJECT_OPEN`: the object's handle, and whether no partition had it open. `name` is the guest's physical address
/// of `length` bytes, and a multiple of 64; `kind` is what `shikiri_abi::ObjectKind::encode` gives.
///
/// # Errors
/// `InvalidParameter`; `NotPermitted`; `OverLimit`; `Range` or `Alignment` of the address; `Full` if all objects of the entry are
/// there; `Exists` if the object is another kind, or was made with other parameters.
pub fn open(name: u64, length: u64, kind: [u64; 4]) -> Result<(Handle, bool), Refusal> {
    let [kind, first, maximum, spent] = kind;
    request::<OPEN>([name, length, kind, first, maximum, spent])
        .map(|[object, is_new, _]| (Handle(object), is_new == 1))
}

/// Calls `OBJECT_WAIT`: a queue's message; of a semaphore, in the first word, the id of a partition that went while it held
/// units, or 0.
///
/// # Errors
/// `BadHandle`; `Empty`: the object's port is raised when there is something.
pub fn wait(object: Handle) -> Result<Message, Refusal> {
    request::<WAIT>([object.0, 0, 0, 0, 0, 0])
}

/// Calls `OBJECT_POST`. The message is a queue's, and zero for the others.
///
/// # Errors
/// `BadHandle`; `Range`: a semaphore has its most units; `Full`: the object's port is raised when there is room;
/// `InvalidParameter` for a word that is not zero although the object is no queue.
pub fn post(object: Handle, [first, second, third]: Message) -> Result<(), Refusal> {
    request::<POST>([object.0, first, second, third, 0, 0]).map(|_| ())
}

/// Calls `OBJECT_NOTIFY`: `port` is raised for the object, or none.
///
/// # Errors
/// `BadHandle` of either; `WrongState` if something is connected to the port.
pub fn notify(object: Handle, port: Option<Handle>) -> Result<(), Refusal> {
    let Handle(port) = port.unwrap_or(Handle(0));
    request::<NOTIFY>([object.0, port, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `OBJECT_CLOSE`.
///
/// # Errors
/// `BadHandle`.
pub fn close(object: Handle) -> Result<(), Refusal> {
    request::<CLOSE>([object.0, 0, 0, 0, 0, 0]).map(|_| ())
}

/// How many rows have their wrapper here.
pub(crate) const CALLS: usize = 5;

const OPEN: u32 = function("OBJECT_OPEN", 6);
const WAIT: u32 = function("OBJECT_WAIT", 1);
const POST: u32 = function("OBJECT_POST", 4);
const NOTIFY: u32 = function("OBJECT_NOTIFY", 2);
const CLOSE: u32 = function("OBJECT_CLOSE", 1);
