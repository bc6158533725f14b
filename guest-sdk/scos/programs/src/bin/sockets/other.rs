//! Another process, which has mapped a file and waits (C8).

use std::fs::File;
use std::io::{Error, PipeWriter, Read as _, Write as _};

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::socket::{map, peek, poke, read_to, write_from};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Such a process.
pub(crate) struct Other {
    child: i32,
    goes_on: PipeWriter,
}

impl Other {
    /// Begins one, and waits until it has touched all its pages.
    pub(crate) fn mapping(file: &File, bytes: u64) -> Result<Self, Error> {
        let (mut has_begun, mut begins) = std::io::pipe()?;
        let (mut wait, goes_on) = std::io::pipe()?;
        let child = os::in_child(|| {
            let Ok(address) = map(file, 0, bytes) else { return 1 };
            (0..bytes).step_by(PAGE as usize).for_each(|at| poke(address + at, peek(address + at)));
            if begins.write_all(b"x").is_err() || wait.read_exact(&mut [0]).is_err() {
                return 2;
            }
            if !is_gone(address, bytes).unwrap_or(false) {
                return 3;
            }
            std::hint::black_box(peek(address));
            0
        });
        let child = child.map_err(Error::from_raw_os_error)?;
        drop(begins);
        has_begun.read_exact(&mut [0])?;
        Ok(Self { child, goes_on })
    }

    /// Lets it look at what it had mapped: how it ends. By a signal, if what it gives to calls is EFAULT, on every page; with a number that
    /// says what was otherwise, else.
    pub(crate) fn look(mut self) -> Result<Ended, Error> {
        self.goes_on.write_all(b"x")?;
        os::wait(self.child, 0).map(|(_, ended)| ended).map_err(Error::from_raw_os_error)
    }
}

/// Whether every page is EFAULT to calls, which write into it and read from it.
pub(crate) fn is_gone(address: u64, bytes: u64) -> Result<bool, Error> {
    let (reader, mut writer) = std::io::pipe()?;
    // So that a read does not wait.
    writer.write_all(b"x")?;
    let is_fault = |result: Result<u64, Error>| {
        result.err().and_then(|error| error.raw_os_error()) == Some(libc::EFAULT)
    };
    Ok((0..bytes)
        .step_by(PAGE as usize)
        .map(|at| address + at)
        .all(|page| is_fault(write_from(&writer, page, 1)) && is_fault(read_to(&reader, page, 1))))
}
