//! What programs may do with pages.

use shikiri_scos_files::Errno;

/// What a program may do with pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Read.
    pub is_readable: bool,
    /// Write, and then read as well.
    pub is_writable: bool,
    /// Execute, and then read as well.
    pub is_executable: bool,
}

impl Protection {
    /// To be read and written.
    pub const DATA: Self = Self { is_readable: true, is_writable: true, is_executable: false };

    /// To be read and executed.
    pub const CODE: Self = Self { is_readable: true, is_writable: false, is_executable: true };

    /// From PROT_READ, PROT_WRITE and PROT_EXEC.
    ///
    /// # Errors
    /// EINVAL for other bits; EACCES for pages that can be written and executed: there are none here.
    pub fn from_bits(bits: u64) -> Result<Self, Errno> {
        if bits & !7 != 0 {
            return Err(Errno::EINVAL);
        }
        let wanted = Self {
            is_readable: bits & 1 != 0,
            is_writable: bits & 2 != 0,
            is_executable: bits & 4 != 0,
        };
        if wanted.is_writable && wanted.is_executable { Err(Errno::EACCES) } else { Ok(wanted) }
    }

    pub(super) fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.is_readable || self.is_writable || self.is_executable,
            Access::Write => self.is_writable,
            Access::Execute => self.is_executable,
        }
    }
}

/// How memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Written.
    Write,
    /// Executed.
    Execute,
}
