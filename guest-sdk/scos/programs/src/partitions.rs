//! Waiting for what becomes of partitions.

use std::io::{Error, Result};

use shikiri_machine::{Device, Machine};

/// Looks at the machine, and again whenever it has told of something, until there is an answer. Takes the notices of ends, without which
/// nothing is told any more: for programs that make policy themselves, with no policy program beside them.
///
/// # Errors
/// Nobody may make policy here, or the device tells nothing.
pub fn when<T>(
    machine: &mut dyn Machine,
    mut look: impl FnMut(&mut dyn Machine) -> Result<Option<T>>,
) -> Result<T> {
    let mut events = Device::open().events()?;
    loop {
        machine.take_notices().map_err(Error::other)?;
        if let Some(found) = look(machine)? {
            return Ok(found);
        }
        events.wait(None)?;
    }
}
