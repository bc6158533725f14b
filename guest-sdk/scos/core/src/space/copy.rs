//! The kernel's copies from and to programs, and the check before them: by the tables, never by a program's address.

use shikiri_scos_files::Errno;

use super::{Access, Space};
use crate::{FRAME_BYTES, Memory, PAGE, Pool};

impl Space {
    /// Copies from a program.
    ///
    /// # Errors
    /// EFAULT, ENOMEM.
    pub fn read<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Errno> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (offset, length) = in_page(at, rest.len());
            let (now, later) = rest.split_at_mut(length);
            if let Some(physical) = self.guest_place(at, Some(Access::Read))? {
                pool.memory.read_guest(physical, now);
            } else {
                let frame = self.touch(pool, at, Access::Read)?;
                pool.memory.read(frame, offset, now);
            }
            rest = later;
            at = at.checked_add(length as u64).ok_or(Errno::EFAULT)?;
        }
        Ok(())
    }

    /// Copies to a program. What lies before a page that cannot be written has been written.
    ///
    /// # Errors
    /// EFAULT, ENOMEM.
    pub fn write<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.put(pool, address, bytes, Some(Access::Write))
    }

    /// Copies to mapped pages, whatever their protection: for who loads a program.
    ///
    /// # Errors
    /// EFAULT, ENOMEM.
    pub fn fill<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.put(pool, address, bytes, None)
    }

    fn put<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        bytes: &[u8],
        access: Option<Access>,
    ) -> Result<(), Errno> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (offset, length) = in_page(at, rest.len());
            let (now, later) = rest.split_at(length);
            let protection = self.area_of(at).ok_or(Errno::EFAULT)?.protection;
            if access.is_some_and(|access| !protection.allows(access)) {
                return Err(Errno::EFAULT);
            }
            if let Some(physical) = self.guest_place(at, access)? {
                pool.memory.write_guest(physical, now);
            } else {
                let frame = self.frame_of(pool, at, protection)?;
                pool.memory.write(frame, offset, now);
                if protection.is_executable {
                    pool.memory.clean_code(frame);
                }
            }
            rest = later;
            at = at.checked_add(length as u64).ok_or(Errno::EFAULT)?;
        }
        Ok(())
    }

    /// Checks that `bytes` bytes can be used so, and gives them frames.
    ///
    /// # Errors
    /// EFAULT, ENOMEM.
    pub fn check<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        address: u64,
        bytes: u64,
        access: Access,
    ) -> Result<(), Errno> {
        let end = address.checked_add(bytes).ok_or(Errno::EFAULT)?;
        let mut at = address;
        while at < end {
            if self.guest_place(at, Some(access))?.is_none() {
                self.touch(pool, at, access)?;
            }
            at = (at & !PAGE.wrapping_sub(1)).saturating_add(PAGE);
        }
        Ok(())
    }

    /// Where a byte of other memory than the frames is, that may be used so; `None` if there is none at this address.
    fn guest_place(&self, address: u64, access: Option<Access>) -> Result<Option<u64>, Errno> {
        let Some(guest) = self.guest_at(address) else { return Ok(None) };
        let protection = self.area_of(address).ok_or(Errno::EFAULT)?.protection;
        if access.is_some_and(|access| !protection.allows(access)) {
            return Err(Errno::EFAULT);
        }
        guest.physical_of(address).map(Some)
    }
}

/// The offset of an address in its page, and how many of `bytes` are in this page.
fn in_page(address: u64, bytes: usize) -> (usize, usize) {
    let offset = usize::try_from(address & PAGE.wrapping_sub(1)).unwrap_or(0);
    (offset, bytes.min(FRAME_BYTES.saturating_sub(offset)))
}
