//! Memory in a program's space that is not of the kernel's frames: message areas (C8).
//!
//! Such memory is another partition's from one moment to the next. So its pages are mapped at once, as a whole, never copied by a fork, and
//! taken away as a whole, by the program or by the kernel; after the latter the place may stay taken, and what touches it gets SIGBUS.

use shikiri_scos_files::Errno;

use crate::space::Area;
use crate::{Memory, PAGE, Pool, Protection, Space};

/// The most of these in a space, those included whose place stays taken.
const MOST: usize = 512;

/// Memory that a program sees and that is not of the kernel's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Where the program sees it.
    pub start: u64,
    /// The first address above it.
    pub end: u64,
    /// Where it is.
    pub physical: u64,
    /// Whether the program may be permitted to write there.
    pub may_write: bool,
    /// Whose it is: a number of the kernel's.
    pub owner: u64,
    /// It was taken away by the kernel.
    pub is_gone: bool,
}

impl Guest {
    /// Where a byte is, while it is there.
    pub(crate) fn physical_of(&self, address: u64) -> Result<u64, Errno> {
        let offset = address.checked_sub(self.start).filter(|_| !self.is_gone);
        self.physical.checked_add(offset.ok_or(Errno::EFAULT)?).ok_or(Errno::EFAULT)
    }

    const fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end
    }
}

impl Space {
    /// Maps such memory, in place of what was there.
    ///
    /// # Errors
    /// As [`Space::map`]; EACCES to execute it, or to write where it may not be; ENOMEM for one more than there may be.
    pub fn map_guest<M: Memory>(
        &mut self,
        pool: &mut Pool<M>,
        guest: Guest,
        protection: Protection,
    ) -> Result<(), Errno> {
        if protection.is_executable || protection.is_writable && !guest.may_write {
            return Err(Errno::EACCES);
        }
        if self.guests.len() >= MOST {
            return Err(Errno::ENOMEM);
        }
        let (start, end) = (guest.start, guest.end);
        self.map(pool, Area { start, end, protection, is_shared: true })?;
        let mut at = start;
        while at < end {
            let placed = guest.physical_of(at).and_then(|physical| {
                let (table, index) = self.make_leaf_table(pool, at)?;
                pool.memory.write_entry(table, index, protection.leaf(physical));
                Ok(())
            });
            if let Err(error) = placed {
                self.unmap(pool, start, end)?;
                return Err(error);
            }
            at = at.saturating_add(PAGE);
        }
        let place = self.guests.partition_point(|other| other.start < start);
        self.guests.insert(place, guest);
        Ok(())
    }

    /// Takes such memory away from the program; its place stays taken, or is free.
    pub fn revoke<M: Memory>(&mut self, pool: &mut Pool<M>, start: u64, is_place_kept: bool) {
        let found = self.guests.iter_mut().find(|guest| guest.start == start);
        let Some(guest) = found else { return };
        guest.is_gone = true;
        let end = guest.end;
        self.give_pages(pool, start, end);
        // Where too many areas would come of it, the place stays taken as well.
        if !is_place_kept {
            let _is_free = self.unmap(pool, start, end);
        }
    }

    /// The memory that is mapped at an address, or was.
    #[must_use]
    pub fn guest_at(&self, address: u64) -> Option<&Guest> {
        let after = self.guests.partition_point(|guest| guest.start <= address);
        self.guests.get(after.checked_sub(1)?).filter(|guest| address < guest.end)
    }

    /// Such memory that was unmapped since the last time.
    pub fn unmapped(&mut self) -> Option<Guest> {
        self.unmapped.pop()
    }

    /// Such memory of a space that is about to end.
    #[must_use]
    pub fn guests(&self) -> &[Guest] {
        &self.guests
    }

    /// The range, and all of such memory that it overlaps.
    pub(crate) fn with_whole_guests(&self, start: u64, end: u64) -> (u64, u64) {
        let overlapped = self.guests.iter().filter(|guest| guest.overlaps(start, end));
        overlapped.fold((start, end), |(first, last), guest| {
            (first.min(guest.start), last.max(guest.end))
        })
    }

    /// Such memory in this range is unmapped.
    pub(crate) fn forget_guests(&mut self, start: u64, end: u64) {
        let gone = self.guests.extract_if(.., |guest| guest.overlaps(start, end));
        self.unmapped.extend(gone.filter(|guest| !guest.is_gone));
    }

    /// # Errors
    /// EACCES for a protection that such memory in the range may not have.
    pub(crate) fn check_guests(
        &self,
        start: u64,
        end: u64,
        protection: Protection,
    ) -> Result<(), Errno> {
        let is_refused = self.guests.iter().any(|guest| {
            guest.overlaps(start, end)
                && (protection.is_executable || protection.is_writable && !guest.may_write)
        });
        if is_refused { Err(Errno::EACCES) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Guest;
    use crate::testing::{Host, pool};
    use crate::{Access, Area, PAGE, Pool, Protection, Space};
    use shikiri_scos_files::Errno;

    const AT: u64 = 0x50_0000;
    const PLACE: u64 = 0x80_0000_0000;

    fn guest() -> Guest {
        let (start, end) = (AT, AT + 2 * PAGE);
        Guest { start, end, physical: PLACE, may_write: true, owner: 9, is_gone: false }
    }

    fn space() -> (Pool<Host>, Space) {
        let mut pool = pool(32);
        let mut space = Space::new(&mut pool, 7).unwrap();
        space.map_guest(&mut pool, guest(), Protection::DATA).unwrap();
        (pool, space)
    }

    #[test]
    fn the_kernel_copies_from_and_to_it_across_its_borders() {
        let (mut pool, mut space) = space();
        let beside =
            Area { start: AT - PAGE, end: AT, protection: Protection::DATA, is_shared: false };
        space.map(&mut pool, beside).unwrap();
        space.write(&mut pool, AT - 2, b"abcd").unwrap();
        assert_eq!(pool.memory.guest_bytes(PLACE, 2), b"cd");
        let mut back = [0; 4];
        space.read(&mut pool, AT - 2, &mut back).unwrap();
        assert_eq!(&back, b"abcd");
        assert_eq!(space.check(&mut pool, AT, 2 * PAGE, Access::Write), Ok(()));
        assert_eq!(space.write(&mut pool, AT + 2 * PAGE - 1, b"xy"), Err(Errno::EFAULT));
    }

    #[test]
    fn what_was_revoked_is_there_no_more_and_its_place_is_taken() {
        let (mut pool, mut space) = space();
        space.revoke(&mut pool, AT, true);
        assert_eq!(space.read(&mut pool, AT, &mut [0; 4]), Err(Errno::EFAULT));
        assert_eq!(space.touch(&mut pool, AT, Access::Read), Err(Errno::EFAULT));
        assert!(space.guest_at(AT + PAGE).unwrap().is_gone && !space.is_free(AT, AT + PAGE));
        space.protect(&mut pool, AT, AT + PAGE, Protection::DATA).unwrap();
        assert_eq!(space.touch(&mut pool, AT, Access::Read), Err(Errno::EFAULT));
        space.unmap(&mut pool, AT, AT + PAGE).unwrap();
        assert!(space.unmapped().is_none() && space.is_free(AT, AT + 2 * PAGE));
    }

    #[test]
    fn what_was_sent_leaves_its_place_free_and_places_that_are_kept_have_an_end() {
        let (mut pool, mut space) = space();
        space.revoke(&mut pool, AT, false);
        assert!(space.guest_at(AT).is_none() && space.is_free(AT, AT + 2 * PAGE));
        assert!(space.unmapped().is_none(), "its owner knows");
        let at = |number: u64| {
            let start = AT + number * 2 * PAGE;
            Guest { start, end: start + 2 * PAGE, ..guest() }
        };
        for number in (0..512).rev() {
            space.map_guest(&mut pool, at(number), Protection::DATA).unwrap();
            space.revoke(&mut pool, at(number).start, true);
        }
        assert_eq!(space.map_guest(&mut pool, at(600), Protection::DATA), Err(Errno::ENOMEM));
        assert!((0..512).all(|number| space.guest_at(at(number).end - 1)
            == Some(&Guest { is_gone: true, ..at(number) })));
        space.unmap(&mut pool, AT, AT + 2 * PAGE).unwrap();
        assert_eq!(space.map_guest(&mut pool, at(600), Protection::DATA), Ok(()));
    }

    #[test]
    fn it_is_unmapped_as_a_whole_whatever_takes_its_place() {
        let (mut pool, mut space) = space();
        space.unmap(&mut pool, AT + PAGE, AT + 2 * PAGE).unwrap();
        assert_eq!((space.unmapped(), space.unmapped()), (Some(guest()), None));
        assert!(space.is_free(AT, AT + 2 * PAGE));
        space.map_guest(&mut pool, guest(), Protection::DATA).unwrap();
        let over =
            Area { start: AT, end: AT + PAGE, protection: Protection::DATA, is_shared: false };
        space.map(&mut pool, over).unwrap();
        assert_eq!(space.unmapped(), Some(guest()));
        assert!(space.guest_at(AT).is_none() && space.is_free(AT + PAGE, AT + 2 * PAGE));
    }

    #[test]
    fn it_is_not_executed_nor_written_where_it_may_not_be() {
        let (mut pool, mut space) = space();
        let read_only =
            Guest { start: AT + 4 * PAGE, end: AT + 5 * PAGE, may_write: false, ..guest() };
        let readable = Protection { is_readable: true, ..Protection::default() };
        assert_eq!(space.map_guest(&mut pool, read_only, Protection::DATA), Err(Errno::EACCES));
        assert_eq!(space.map_guest(&mut pool, read_only, Protection::CODE), Err(Errno::EACCES));
        space.map_guest(&mut pool, read_only, readable).unwrap();
        let (start, end) = (read_only.start, read_only.end);
        assert_eq!(space.protect(&mut pool, start, end, Protection::DATA), Err(Errno::EACCES));
        assert_eq!(space.protect(&mut pool, AT, AT + PAGE, Protection::CODE), Err(Errno::EACCES));
        assert_eq!(space.write(&mut pool, start, b"x"), Err(Errno::EFAULT));
        assert_eq!(space.check(&mut pool, start, 1, Access::Write), Err(Errno::EFAULT));
    }

    #[test]
    fn a_fork_does_not_have_it_and_no_frame_is_lost() {
        let (mut pool, mut space) = space();
        let child = space.fork(&mut pool, 8).unwrap();
        assert!(child.guests().is_empty() && child.is_free(AT, AT + 2 * PAGE));
        child.end(&mut pool);
        assert_eq!(space.guests(), [guest()]);
        space.end(&mut pool);
        assert_eq!(pool.free(), 32);
    }
}
