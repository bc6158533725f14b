//! The calls, before they do anything.
#![expect(unused_variables, missing_docs, clippy::missing_errors_doc, reason = "for a day")]

use alloc::vec::Vec;

use crate::abi::stat::{Stat, StatFs};
use crate::abi::time::Itimerspec;
use crate::{
    Answer, Caller, DescriptionId, Descriptors, Errno, Files, Key, Limits, Mappable, NodeId, Now,
    Place, Signal,
};

type Result<T> = core::result::Result<T, Errno>;

/// The system as a whole.
impl Files {
    /// An empty tree with `/dev` and what is in it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { woken: None }
    }

    /// Fills the tree from a cpio archive ("newc"), whose contents are not copied before they are written to: how many nodes.
    pub fn unpack(&mut self, archive: &'static [u8]) -> Result<usize> {
        Err(Errno::ENOSYS)
    }

    /// What time it is: to be told at each system call and timer interrupt. Wakes who waits for a timer that has expired.
    pub fn set_now(&mut self, now: Now) {}

    /// When the next timer expires, on the monotonic clock: the latest time for the next [`Files::set_now`].
    #[must_use]
    pub fn next_alarm(&self) -> Option<u64> {
        None
    }

    /// The next key whose waiters are to try again, until there is none.
    pub fn woken(&mut self) -> Option<Key> {
        self.woken.take()
    }

    /// A file of the system's own making, as in `/proc`: made with its directories, or replaced. Who has it open reads the former contents.
    pub fn publish(&mut self, path: &[u8], contents: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    /// Takes away such a file, or a directory with all that is in it.
    pub fn retract(&mut self, path: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    /// A device that the kernel carries out itself ([`Files::device`]): made with its directories.
    pub fn add_device(&mut self, path: &[u8], number: u32, mode: u32) -> Result<()> {
        Err(Errno::ENOSYS)
    }
}

/// Names.
impl Files {
    /// The root.
    #[must_use]
    pub fn root(&self) -> NodeId {
        NodeId(1)
    }

    /// Opens a file: `flags` of [`crate::abi::fcntl`] (O_CLOEXEC is [`Files::install`]'s), `mode` for what is made.
    pub fn open(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        flags: u32,
        mode: u32,
    ) -> Result<DescriptionId> {
        Err(Errno::ENOSYS)
    }

    /// The directory that is open (`dirfd`, `fchdir`): ENOTDIR if it is something else.
    pub fn directory(&self, id: DescriptionId) -> Result<NodeId> {
        Err(Errno::ENOSYS)
    }

    /// The directory at a place (`chdir`).
    pub fn enter(&self, caller: &Caller, place: Place<'_>) -> Result<NodeId> {
        Err(Errno::ENOSYS)
    }

    /// The path of a directory (`getcwd`), without the byte that ends it.
    pub fn path_of(&self, directory: NodeId) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS)
    }

    pub fn stat(&self, caller: &Caller, place: Place<'_>, is_followed: bool) -> Result<Stat> {
        Err(Errno::ENOSYS)
    }

    pub fn statfs(&self) -> StatFs {
        StatFs::default()
    }

    pub fn access(&self, caller: &Caller, place: Place<'_>, wanted: u32) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn mkdir(&mut self, caller: &Caller, place: Place<'_>, mode: u32) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn rmdir(&mut self, caller: &Caller, place: Place<'_>) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn unlink(&mut self, caller: &Caller, place: Place<'_>) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn rename(
        &mut self,
        caller: &Caller,
        from: Place<'_>,
        to: Place<'_>,
        flags: u32,
    ) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn link(
        &mut self,
        caller: &Caller,
        from: Place<'_>,
        to: Place<'_>,
        is_followed: bool,
    ) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn symlink(&mut self, caller: &Caller, target: &[u8], place: Place<'_>) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn readlink(&self, caller: &Caller, place: Place<'_>) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS)
    }

    pub fn truncate(&mut self, caller: &Caller, place: Place<'_>, bytes: u64) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn chmod(&mut self, caller: &Caller, place: Place<'_>, mode: u32) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    /// `None` leaves it as it is.
    pub fn chown(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        is_followed: bool,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    /// Times of reading and writing (`utimensat`), in nanoseconds of the time of day; `None` leaves it as it is.
    pub fn set_times(
        &mut self,
        caller: &Caller,
        place: Place<'_>,
        is_followed: bool,
        times_ns: [Option<u64>; 2],
    ) -> Result<()> {
        Err(Errno::ENOSYS)
    }
}

/// Descriptors of a process.
impl Files {
    /// Gives a description the lowest free descriptor; `flags`' O_CLOEXEC counts. On failure the description is closed.
    pub fn install(
        &mut self,
        descriptors: &mut Descriptors,
        id: DescriptionId,
        flags: u32,
    ) -> Result<i32> {
        Err(Errno::ENOSYS)
    }

    pub fn close(&mut self, descriptors: &mut Descriptors, number: i32) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn dup(&mut self, descriptors: &mut Descriptors, number: i32) -> Result<i32> {
        Err(Errno::ENOSYS)
    }

    /// `dup3`: the same number twice is EINVAL (`dup2` is the kernel's to tell apart).
    pub fn dup3(
        &mut self,
        descriptors: &mut Descriptors,
        from: i32,
        to: i32,
        flags: u32,
    ) -> Result<i32> {
        Err(Errno::ENOSYS)
    }

    pub fn fcntl(
        &mut self,
        descriptors: &mut Descriptors,
        number: i32,
        command: u32,
        argument: u64,
    ) -> Result<i32> {
        Err(Errno::ENOSYS)
    }

    /// The same descriptors for a new process.
    pub fn fork(&mut self, descriptors: &Descriptors) -> Descriptors {
        Descriptors::new(descriptors.limit())
    }

    /// Closes those with O_CLOEXEC.
    pub fn exec(&mut self, descriptors: &mut Descriptors) {}

    /// Closes all.
    pub fn exit(&mut self, descriptors: &mut Descriptors) {}
}

/// Descriptions.
impl Files {
    /// One more that has it.
    pub fn retain(&mut self, id: DescriptionId) {}

    /// One fewer; with the last one it goes.
    pub fn release(&mut self, id: DescriptionId) {}

    /// `at` for `pread`: the position stays.
    pub fn read(&mut self, id: DescriptionId, at: Option<u64>, out: &mut [u8]) -> Answer<usize> {
        Err(Errno::ENOSYS)
    }

    /// EPIPE: the kernel raises SIGPIPE.
    pub fn write(&mut self, id: DescriptionId, at: Option<u64>, data: &[u8]) -> Answer<usize> {
        Err(Errno::ENOSYS)
    }

    pub fn seek(&mut self, id: DescriptionId, offset: i64, whence: u32) -> Result<u64> {
        Err(Errno::ENOSYS)
    }

    pub fn getdents64(&mut self, id: DescriptionId, out: &mut [u8]) -> Result<usize> {
        Err(Errno::ENOSYS)
    }

    pub fn fstat(&self, id: DescriptionId) -> Result<Stat> {
        Err(Errno::ENOSYS)
    }

    pub fn ftruncate(&mut self, id: DescriptionId, bytes: u64) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn fchmod(&mut self, caller: &Caller, id: DescriptionId, mode: u32) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn fchown(
        &mut self,
        caller: &Caller,
        id: DescriptionId,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn set_times_of(
        &mut self,
        caller: &Caller,
        id: DescriptionId,
        times_ns: [Option<u64>; 2],
    ) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    /// A pipe: the end for reading and the one for writing. Flags: O_NONBLOCK.
    pub fn pipe(&mut self, flags: u32) -> Result<(DescriptionId, DescriptionId)> {
        Err(Errno::ENOSYS)
    }

    /// Flags: EFD_SEMAPHORE (1), O_NONBLOCK, O_CLOEXEC; others are EINVAL.
    pub fn eventfd(&mut self, initial: u32, flags: u32) -> Result<DescriptionId> {
        Err(Errno::ENOSYS)
    }

    pub fn timerfd_create(&mut self, clock: u32, flags: u32) -> Result<DescriptionId> {
        Err(Errno::ENOSYS)
    }

    /// The former setting is the answer.
    pub fn timerfd_settime(
        &mut self,
        id: DescriptionId,
        flags: u32,
        new: Itimerspec,
    ) -> Result<Itimerspec> {
        Err(Errno::ENOSYS)
    }

    pub fn timerfd_gettime(&self, id: DescriptionId) -> Result<Itimerspec> {
        Err(Errno::ENOSYS)
    }

    /// What [`crate::abi::ioctl::transfer`] says is copied is in `data`, and is copied out of it after success. Which process group may become
    /// the foreground one the kernel has to know. FIOCLEX and FIONCLEX are [`Files::fcntl`]'s.
    pub fn ioctl(
        &mut self,
        id: DescriptionId,
        request: u32,
        argument: u64,
        data: &mut [u8],
    ) -> Result<i32> {
        Err(Errno::ENOSYS)
    }

    /// What could be done now: bits of [`crate::abi::poll`].
    #[must_use]
    pub fn ready(&self, id: DescriptionId) -> u16 {
        0
    }

    /// The keys that are woken when that may have changed.
    pub fn keys(&self, id: DescriptionId) -> impl Iterator<Item = Key> {
        core::iter::empty()
    }

    /// The number of a device that the kernel carries out itself: read, write and ioctl do not come here.
    #[must_use]
    pub fn device(&self, id: DescriptionId) -> Option<u32> {
        None
    }

    /// What a mapping of it would be; `is_shared` with MAP_SHARED, `is_written` with PROT_WRITE.
    pub fn mappable(
        &self,
        id: DescriptionId,
        is_shared: bool,
        is_written: bool,
    ) -> Result<Mappable> {
        Err(Errno::ENOSYS)
    }

    /// The contents, if they are as the archive has them: a program can be loaded from there.
    #[must_use]
    pub fn archived(&self, id: DescriptionId) -> Option<&'static [u8]> {
        None
    }
}

/// The console.
impl Files {
    /// Bytes that were typed. What has no room is lost, as on Linux.
    pub fn console_input(&mut self, bytes: &[u8]) {}

    /// Takes bytes for the console; how many. To be asked after each system call and input.
    pub fn console_output(&mut self, out: &mut [u8]) -> usize {
        0
    }

    /// The next signal for a process group (^C and its like), until there is none.
    pub fn signal(&mut self) -> Option<Signal> {
        None
    }
}
