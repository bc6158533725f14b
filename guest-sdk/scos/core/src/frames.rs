//! Frames: the pages of memory that programs and their tables have.

use alloc::vec::Vec;

use shikiri_scos_files::Errno;

/// Bytes of a frame.
pub const FRAME_BYTES: usize = 4096;
/// The same, for addresses.
pub const PAGE: u64 = 4096;

/// A frame's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub u32);

/// The memory that frames are of. Offsets and lengths lie in the frame.
pub trait Memory {
    /// The physical address of a frame.
    fn physical(&self, frame: Frame) -> u64;
    /// The frame of a physical address.
    fn frame_at(&self, physical: u64) -> Option<Frame>;
    /// Copies out of a frame.
    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]);
    /// Copies into a frame.
    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]);
    /// Fills a frame with zeros.
    fn clear(&mut self, frame: Frame);
    /// Copies a whole frame.
    fn copy(&mut self, from: Frame, to: Frame);
    /// An entry of the table in a frame.
    fn read_entry(&self, table: Frame, index: usize) -> u64;
    /// Changes an entry of the table in a frame.
    fn write_entry(&mut self, table: Frame, index: usize, entry: u64);
    /// Copies out of memory that is not of the frames ([`crate::Guest`]).
    fn read_guest(&self, physical: u64, bytes: &mut [u8]);
    /// Copies into memory that is not of the frames.
    fn write_guest(&mut self, physical: u64, bytes: &[u8]);
    /// Makes what was written to a frame executable.
    fn clean_code(&mut self, frame: Frame);
    /// Forgets the translation of a page whose entry has changed.
    fn forget(&mut self, asid: u16, address: u64);
}

/// All frames: which are free, and how many users each other one has.
#[derive(Debug)]
pub struct Pool<M> {
    /// Their memory.
    pub memory: M,
    free: Vec<u32>,
    users: Vec<u16>,
    /// How often each has been taken.
    lives: Vec<u32>,
}

impl<M: Memory> Pool<M> {
    /// So many frames, all free.
    #[must_use]
    pub fn new(memory: M, count: u32) -> Self {
        let each = usize::try_from(count).unwrap_or(0);
        Self {
            memory,
            free: (0..count).rev().collect(),
            users: core::iter::repeat_n(0, each).collect(),
            lives: core::iter::repeat_n(0, each).collect(),
        }
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// Takes a frame, filled with zeros.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn take(&mut self) -> Result<Frame, Errno> {
        let frame = Frame(self.free.pop().ok_or(Errno::ENOMEM)?);
        if let Some(users) = self.users_of(frame) {
            *users = 1;
        }
        if let Some(lives) =
            usize::try_from(frame.0).ok().and_then(|index| self.lives.get_mut(index))
        {
            *lives = lives.wrapping_add(1);
        }
        self.memory.clear(frame);
        Ok(frame)
    }

    /// Which of its lives a frame is in: another one each time that it is taken.
    #[must_use]
    pub fn life(&self, frame: Frame) -> u32 {
        usize::try_from(frame.0).ok().and_then(|index| self.lives.get(index)).copied().unwrap_or(0)
    }

    /// One more user of a frame that is in use.
    ///
    /// # Errors
    /// ENOMEM if it has 65,535.
    pub fn share(&mut self, frame: Frame) -> Result<(), Errno> {
        let users = self.users_of(frame).filter(|users| **users > 0).ok_or(Errno::ENOMEM)?;
        *users = users.checked_add(1).ok_or(Errno::ENOMEM)?;
        Ok(())
    }

    /// One fewer; with the last one it is free.
    pub fn give(&mut self, frame: Frame) {
        let Some(users) = self.users_of(frame).filter(|users| **users > 0) else { return };
        *users = users.saturating_sub(1);
        if *users == 0 {
            self.free.push(frame.0);
        }
    }

    fn users_of(&mut self, frame: Frame) -> Option<&mut u16> {
        self.users.get_mut(usize::try_from(frame.0).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::pool;
    use shikiri_scos_files::Errno;

    #[test]
    fn a_frame_is_free_again_when_its_last_user_has_gone() {
        let mut pool = pool(1);
        let frame = pool.take().unwrap();
        assert_eq!(pool.take(), Err(Errno::ENOMEM));
        pool.share(frame).unwrap();
        pool.give(frame);
        assert_eq!(pool.free(), 0);
        pool.give(frame);
        assert_eq!(pool.free(), 1);
        // Given once too often: still there once.
        pool.give(frame);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.share(frame), Err(Errno::ENOMEM));
        let life = pool.life(frame);
        assert_eq!(pool.take(), Ok(frame));
        assert_ne!(pool.life(frame), life, "who has it now is told from who had it");
    }
}
