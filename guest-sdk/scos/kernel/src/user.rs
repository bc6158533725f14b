//! A system call while it is done: its arguments, who calls, and copies from and to the program.

use alloc::vec::Vec;

use shikiri_scos_core::{Access, Pool, Space};
use shikiri_scos_files::{DescriptionId, Errno, Place};

use crate::arch::Ram;
use crate::kernel::Kernel;
use crate::process::Process;
use crate::thread::{Thread, Wait};

/// The longest path, with the byte that ends it.
const PATH_BYTES: usize = 4096;
/// The most bytes that one call moves.
pub(crate) const MOST_BYTES: u64 = 64 << 10;
/// AT_FDCWD.
const WORKING_DIRECTORY: i32 = -100;

/// What a call answers.
pub(crate) enum Outcome {
    /// This value.
    Value(u64),
    /// Nothing yet: to be tried again.
    Wait(Wait),
    /// This value, but later: nothing is tried again.
    Later(u64, Wait),
    /// Nothing: the thread has ended, or has other registers.
    Gone,
}

/// What a call gives.
pub(crate) type Answer = Result<Outcome, Errno>;

/// A value.
pub(crate) fn value(number: impl TryInto<u64>) -> Answer {
    number.try_into().map(Outcome::Value).map_err(|_| Errno::EOVERFLOW)
}

/// Done, with nothing to say.
pub(crate) fn done() -> Answer {
    Ok(Outcome::Value(0))
}

/// A system call.
pub(crate) struct User<'k> {
    pub(crate) kernel: &'k mut Kernel,
    pub(crate) thread: u32,
    pub(crate) process: u32,
    pub(crate) arguments: [u64; 6],
}

impl User<'_> {
    /// An argument, as it is.
    pub(crate) fn long(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or(0)
    }

    /// An argument of 32 bits; the upper half of the register means nothing.
    pub(crate) fn word(&self, index: usize) -> u32 {
        (self.long(index) & 0xffff_ffff) as u32
    }

    /// The same, signed.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.word(index).cast_signed()
    }

    /// The process.
    pub(crate) fn me(&mut self) -> Result<&mut Process, Errno> {
        self.kernel.processes.get_mut(&self.process).ok_or(Errno::ESRCH)
    }

    /// The thread.
    pub(crate) fn my_thread(&mut self) -> Result<&mut Thread, Errno> {
        self.kernel.threads.get_mut(&self.thread).ok_or(Errno::ESRCH)
    }

    /// The address space, and the frames that it takes from.
    pub(crate) fn space(&mut self) -> Result<(&mut Space, &mut Pool<Ram>), Errno> {
        let process = self.kernel.processes.get(&self.process).ok_or(Errno::ESRCH)?;
        let (space, _) = self.kernel.spaces.get_mut(&process.space).ok_or(Errno::EFAULT)?;
        Ok((space, &mut self.kernel.pool))
    }

    /// Copies a number of bytes that the kernel has chosen.
    pub(crate) fn read_array<const N: usize>(&mut self, address: u64) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        let (space, pool) = self.space()?;
        space.read(pool, address, &mut bytes)?;
        Ok(bytes)
    }

    /// A word of 64 bits.
    pub(crate) fn read_long(&mut self, address: u64) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.read_array(address)?))
    }

    /// Copies bytes from the program, at most [`MOST_BYTES`].
    pub(crate) fn read_bytes(&mut self, address: u64, count: u64) -> Result<Vec<u8>, Errno> {
        let mut bytes = buffer(count);
        let (space, pool) = self.space()?;
        space.read(pool, address, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies to the program.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (space, pool) = self.space()?;
        space.write(pool, address, bytes)
    }

    /// Checks that the program may write there.
    pub(crate) fn check_writable(&mut self, address: u64, count: u64) -> Result<(), Errno> {
        let (space, pool) = self.space()?;
        space.check(pool, address, count, Access::Write)
    }

    /// A text that a 0 ends, of at most `most` bytes with it; the error if it is longer.
    pub(crate) fn read_text(
        &mut self,
        address: u64,
        most: usize,
        longer: Errno,
    ) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < most {
            // Up to the end of the page: what is behind it may not be there.
            let count = (4096 - (at & 4095)).min((most - text.len()) as u64);
            let mut piece = [0; 4096];
            let piece = piece.get_mut(..count as usize).ok_or(Errno::EFAULT)?;
            let (space, pool) = self.space()?;
            space.read(pool, at, piece)?;
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(piece.get(..end).unwrap_or(&[]));
                return Ok(text);
            }
            text.extend_from_slice(piece);
            at = at.checked_add(count).ok_or(Errno::EFAULT)?;
        }
        Err(longer)
    }

    /// A path.
    pub(crate) fn path(&mut self, address: u64) -> Result<Vec<u8>, Errno> {
        self.read_text(address, PATH_BYTES, Errno::ENAMETOOLONG)
    }

    /// Where a path is looked up: by a directory's descriptor or AT_FDCWD.
    pub(crate) fn place<'p>(&mut self, directory: i32, path: &'p [u8]) -> Result<Place<'p>, Errno> {
        self.kernel.refresh(path);
        let from = match directory {
            WORKING_DIRECTORY => self.me()?.directory,
            _ if path.first() == Some(&b'/') => self.me()?.directory,
            number => {
                let id = self.description(number)?;
                self.kernel.files.directory(id)?
            }
        };
        Ok(Place { from, path })
    }

    /// What a descriptor stands for.
    pub(crate) fn description(&mut self, number: i32) -> Result<DescriptionId, Errno> {
        self.me()?.descriptors.get(number)
    }

    /// When the call is over at the latest: the first try says, the others have it from there.
    pub(crate) fn deadline(&mut self, first: Option<u64>) -> Result<Option<u64>, Errno> {
        let call = &mut self.my_thread()?.call;
        if !call.is_open {
            call.deadline = first;
        }
        Ok(call.deadline)
    }

    /// Whether this is the first try.
    pub(crate) fn is_first(&mut self) -> Result<bool, Errno> {
        Ok(!self.my_thread()?.call.is_open)
    }

    /// The time in nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.kernel.clock.now()
    }
}

/// A buffer of so many bytes, at most [`MOST_BYTES`].
pub(crate) fn buffer(count: u64) -> Vec<u8> {
    alloc::vec![0; count.min(MOST_BYTES) as usize]
}
