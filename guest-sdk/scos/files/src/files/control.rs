//! `ioctl`, and the console's own side.

use super::pair::Pair;
use super::{DescriptionId, Files, Signal};
use crate::Errno;
use crate::abi::fcntl::O_NONBLOCK;
use crate::abi::ioctl::{FIONBIO, FIONREAD};
use crate::abi::socket::Record;
use crate::description::What;
use crate::number::wide;
use crate::socket::Channels;
use crate::tree::Kind;

impl<C: Channels> Files<C> {
    /// Controls what is open. What [`crate::abi::ioctl::transfer`] says is copied is in `data`, and is copied out of it after success.
    /// Which process group may become the foreground one, and whose terminal it is (TIOCSCTTY, [`Files::set_console_owner`]), the kernel
    /// knows. FIOCLEX and FIONCLEX are [`Files::fcntl`]'s.
    ///
    /// # Errors
    /// ENOTTY for what it does not have; EINVAL, EFAULT if `data` is too short; EBADF.
    pub fn ioctl(
        &mut self,
        id: DescriptionId,
        request: u32,
        argument: u64,
        data: &mut [u8],
    ) -> Result<i32, Errno> {
        let description = self.descriptions.get_mut(&id).ok_or(Errno::EBADF)?;
        match (request, &description.what) {
            (_, What::Path) => return Err(Errno::EBADF),
            (FIONBIO, _) => {
                let is_on = *data.first_chunk::<4>().ok_or(Errno::EFAULT)? != [0; 4];
                let flags = description.flags & !O_NONBLOCK;
                description.set_flags(if is_on { flags | O_NONBLOCK } else { flags });
            }
            (_, What::Terminal) => {
                self.terminal.control(request, argument, data, &mut self.wakes)?;
            }
            (FIONREAD, _) => {
                let waiting = i32::try_from(self.readable(id)?).unwrap_or(i32::MAX);
                *data.first_chunk_mut().ok_or(Errno::EFAULT)? = waiting.to_le_bytes();
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    /// Bytes that can be read.
    fn readable(&self, id: DescriptionId) -> Result<u64, Errno> {
        let description = self.description(id)?;
        match (&description.what, description.node) {
            (What::File, Some(node)) => match &self.tree.node(node)?.kind {
                Kind::File(_) | Kind::Area(_) => {
                    Ok(self.stat_of(node)?.bytes.saturating_sub(description.position))
                }
                _ => Err(Errno::ENOTTY),
            },
            (What::Socket(socket), _) => {
                let is_there = socket.connected().is_ok_and(|connected| connected.next.is_some());
                Ok(if is_there { wide(Record::BYTES) } else { 0 })
            }
            (What::Pipe(number, _) | What::Pair(Pair { from: number, .. }), _) => {
                let pipe = self.pipes.get(number).ok_or(Errno::EBADF)?;
                Ok(wide(pipe.waiting()))
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    /// The number (major << 8 | minor) of a device that the kernel carries out itself: read, write and ioctl do not come here.
    #[must_use]
    pub fn device(&self, id: DescriptionId) -> Option<u32> {
        match self.description(id).ok()?.what {
            What::Device(number) => Some(number),
            _ => None,
        }
    }

    /// The hypervisor, as the kernel has it.
    pub const fn channels(&self) -> &C {
        &self.channels
    }

    /// Bytes that were typed. What has no room is lost, as on Linux.
    pub fn console_input(&mut self, bytes: &[u8]) {
        self.terminal.receive(bytes, &mut self.wakes);
    }

    /// Takes bytes for the console; how many. To be asked after each system call and input.
    pub fn console_output(&mut self, out: &mut [u8]) -> usize {
        self.terminal.output(out, &mut self.wakes)
    }

    /// Whose terminal the console is: the session, and the process group in its foreground, which gets the signals. 0 is nobody.
    pub const fn set_console_owner(&mut self, session: u32, foreground: u32) {
        self.terminal.set_owner(session, foreground);
    }

    /// The next signal for a process group (^C and its like), until there is none.
    pub fn signal(&mut self) -> Option<Signal> {
        self.terminal.signal()
    }
}
