//! Ports and objects that stay as they are.

use core::mem::ManuallyDrop;
use core::ops::Deref;

use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::{self, Handle, Rights};

use super::{Bound, Failed, Sender};

/// Something that can be used and not changed: it is not connected otherwise, told about elsewhere, or closed, whoever in the partition
/// has its handle. It lasts as long as the partition; dropped, it stays.
///
/// The hypervisor holds it to that: rights that were taken from a handle do not come back. What is on the other side notices
/// nothing.
#[derive(Debug)]
pub struct Sealed<T>(ManuallyDrop<T>);

impl<T> Sealed<T> {
    /// Seals `value`, whose handle this is: for libraries of other things that have handles.
    ///
    /// # Errors
    /// The value again, and why: `BadHandle` if it is an area's handle, or none.
    pub fn new(value: T, handle: Handle) -> Result<Self, Failed<T>> {
        match talk::limit(handle, Rights::USE) {
            Ok(_left) => Ok(Self(ManuallyDrop::new(value))),
            Err(refusal) => Err((value, refusal)),
        }
    }
}

impl<T> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Sender {
    /// Leaves it connected where it is: from here on it only sends.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn seal(self) -> Result<Sealed<Self>, Failed<Self>> {
        let handle = self.0.0;
        Sealed::new(self, handle)
    }
}

impl Bound {
    /// Leaves it with the interrupt and the sender that it has: from here on it is polled, masked and unmasked. What its sender
    /// leaves free when it goes is not connected again.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn seal(self) -> Result<Sealed<Self>, Failed<Self>> {
        let handle = self.port.0;
        Sealed::new(self, handle)
    }
}

/// What a handle's holder may still do with it.
///
/// # Errors
/// `BadHandle` if it is an area's, or none.
pub fn rights(handle: Handle) -> Result<Rights, Refusal> {
    talk::limit(handle, Rights::ALL)
}
