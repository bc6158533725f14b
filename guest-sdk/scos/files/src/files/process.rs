//! The descriptors of a process and what they stand for.

use super::{DescriptionId, Files};
use crate::abi::fcntl::{
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_GETPIPE_SZ, F_SETFD, F_SETFL, F_SETPIPE_SZ,
    FD_CLOEXEC, O_CLOEXEC, O_LARGEFILE, O_PATH,
};
use crate::description::What;
use crate::descriptors::Descriptor;
use crate::socket::Channels;
use crate::{Descriptors, Errno};

impl<C: Channels> Files<C> {
    /// Gives a description the lowest free descriptor; of `flags`, O_CLOEXEC counts. On failure the description is released.
    ///
    /// # Errors
    /// EMFILE.
    pub fn install(
        &mut self,
        descriptors: &mut Descriptors,
        id: DescriptionId,
        flags: u32,
    ) -> Result<i32, Errno> {
        let added = descriptors.add(0, descriptor(id, flags & O_CLOEXEC != 0));
        if added.is_err() {
            self.release(id);
        }
        added
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&mut self, descriptors: &mut Descriptors, number: i32) -> Result<(), Errno> {
        let id = descriptors.remove(number)?;
        self.release(id);
        Ok(())
    }

    /// Another descriptor for the same description.
    ///
    /// # Errors
    /// EBADF, EMFILE.
    pub fn dup(&mut self, descriptors: &mut Descriptors, number: i32) -> Result<i32, Errno> {
        self.duplicate(descriptors, number, 0, false)
    }

    /// Makes `to` stand for what `from` does; what it was is closed. Flags: O_CLOEXEC.
    ///
    /// # Errors
    /// EINVAL for twice the same number (`dup2` is the kernel's to tell apart) and for other flags; EBADF.
    pub fn dup3(
        &mut self,
        descriptors: &mut Descriptors,
        from: i32,
        to: i32,
        flags: u32,
    ) -> Result<i32, Errno> {
        if from == to || flags & !O_CLOEXEC != 0 {
            return Err(Errno::EINVAL);
        }
        let id = descriptors.get(from)?;
        let former = descriptors.put(to, descriptor(id, flags & O_CLOEXEC != 0))?;
        self.retain(id);
        if let Some(former) = former {
            self.release(former);
        }
        Ok(to)
    }

    fn duplicate(
        &mut self,
        descriptors: &mut Descriptors,
        number: i32,
        least: u32,
        is_closed_on_exec: bool,
    ) -> Result<i32, Errno> {
        let id = descriptors.get(number)?;
        let added = descriptors.add(least, descriptor(id, is_closed_on_exec))?;
        self.retain(id);
        Ok(added)
    }

    /// `fcntl`: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL and what there is for pipes.
    ///
    /// # Errors
    /// EBADF; EINVAL for other commands; EMFILE; those of a pipe's size.
    pub fn fcntl(
        &mut self,
        descriptors: &mut Descriptors,
        number: i32,
        command: u32,
        argument: u64,
    ) -> Result<i32, Errno> {
        let open = descriptors.descriptor(number)?;
        match command {
            F_DUPFD | F_DUPFD_CLOEXEC => {
                let least = u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
                if least >= descriptors.limit() {
                    return Err(Errno::EINVAL);
                }
                self.duplicate(descriptors, number, least, command == F_DUPFD_CLOEXEC)
            }
            F_GETFD => Ok(i32::from(open.is_closed_on_exec)),
            F_SETFD => {
                let is_closed = argument & u64::from(FD_CLOEXEC) != 0;
                descriptors.set_closed_on_exec(number, is_closed)?;
                Ok(0)
            }
            F_GETFL => self.flags(open.description),
            F_SETFL => {
                // What is above 32 bits is no flag.
                let flags = u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(0);
                self.description_mut(open.description)?.set_flags(flags);
                Ok(0)
            }
            F_GETPIPE_SZ => int(self.pipe_of(open.description)?.capacity()),
            F_SETPIPE_SZ => self.set_pipe_capacity(open.description, argument),
            _ => Err(Errno::EINVAL),
        }
    }

    fn flags(&self, id: DescriptionId) -> Result<i32, Errno> {
        let description = self.description(id)?;
        let kind = match description.what {
            What::Path => O_PATH,
            What::File | What::Directory => O_LARGEFILE,
            _ => 0,
        };
        i32::try_from(description.flags | kind).map_err(|_| Errno::EINVAL)
    }

    fn pipe_of(&self, id: DescriptionId) -> Result<&crate::pipe::Pipe, Errno> {
        match self.description(id)?.what {
            What::Pipe(number, _) => self.pipes.get(&number).ok_or(Errno::EBADF),
            _ => Err(Errno::EBADF),
        }
    }

    fn set_pipe_capacity(&mut self, id: DescriptionId, bytes: u64) -> Result<i32, Errno> {
        let What::Pipe(number, _) = self.description(id)?.what else { return Err(Errno::EBADF) };
        let payer = self.pipes.get(&number).ok_or(Errno::EBADF)?.payer();
        let left = self.pipe_bytes_left(payer);
        let pipe = self.pipes.get_mut(&number).ok_or(Errno::EBADF)?;
        // An `int`, as the manual has it.
        int(pipe.set_capacity(bytes & u64::from(u32::MAX), left, &mut self.wakes)?)
    }

    /// The same descriptors for a new process.
    #[must_use]
    pub fn fork(&mut self, descriptors: &Descriptors) -> Descriptors {
        for (_, id) in descriptors.iter() {
            self.retain(id);
        }
        descriptors.copy()
    }

    /// Closes those with O_CLOEXEC.
    pub fn exec(&mut self, descriptors: &mut Descriptors) {
        while let Some(id) = descriptors.remove_closed_on_exec() {
            self.release(id);
        }
    }

    /// Closes all.
    pub fn exit(&mut self, descriptors: &mut Descriptors) {
        while let Some(id) = descriptors.remove_first() {
            self.release(id);
        }
    }
}

const fn descriptor(description: DescriptionId, is_closed_on_exec: bool) -> Descriptor {
    Descriptor { description, is_closed_on_exec }
}

fn int(number: usize) -> Result<i32, Errno> {
    i32::try_from(number).map_err(|_| Errno::EOVERFLOW)
}
