//! What the roles share.

use shikiri_object::{Object, Waiting};
use shikiri_rt::event::{Bound, ReceivePort, Sharing};
use shikiri_rt::gic;
use shikiri_rt::hvc::partition::Refusal;
use shikiri_test_guests::Failure;
pub(crate) use shikiri_test_guests::answers::{made, refused_for as refused, soon};
pub(crate) use shikiri_test_guests::interrupts::{came, count};

/// The first interrupt for objects.
pub(crate) const FIRST: u32 = 64;

/// A port with an interrupt of its own, which is enabled.
pub(crate) fn port(intid: u32) -> Result<Bound, Failure> {
    let bound = made(ReceivePort::new())?.bind(intid, Sharing::Alone);
    let bound = made(bound.map_err(|(_, refusal)| refusal))?;
    gic::enable(intid);
    Ok(bound)
}

/// An object and a port for it.
pub(crate) fn waiting<T: Object>(
    object: Result<T, Refusal>,
    intid: u32,
) -> Result<Waiting<T>, Failure> {
    let waiting = Waiting::new(made(object)?, port(intid)?);
    made(waiting.map_err(|(_, _, refusal)| refusal))
}
