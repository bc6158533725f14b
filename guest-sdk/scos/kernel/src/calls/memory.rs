//! Memory of a program.

use shikiri_scos_core::{Area, PAGE, Protection, USER_END};
use shikiri_scos_files::{Errno, Mappable};

use crate::areas::View;
use crate::user::{Answer, User, done, value};

const MAP_SHARED: u32 = 1;
const MAP_PRIVATE: u32 = 2;
const MAP_TYPE: u32 = 15;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
const MADV_DONTNEED: u32 = 4;

pub(super) fn brk(user: &mut User<'_>) -> Answer {
    let wanted = user.long(0);
    let (space, pool) = user.space()?;
    let (start, end) = (space.heap_start, space.heap_end);
    if wanted < start || wanted >= USER_END {
        return value(end);
    }
    let (from, to) = (end.next_multiple_of(PAGE), wanted.next_multiple_of(PAGE));
    let is_done = if to > from {
        let area = Area { start: from, end: to, protection: Protection::DATA, is_shared: false };
        space.is_free(from, to) && space.map(pool, area).is_ok()
    } else {
        to == from || space.unmap(pool, to, from).is_ok()
    };
    if is_done {
        space.heap_end = wanted;
    }
    value(space.heap_end)
}

pub(super) fn mmap(user: &mut User<'_>) -> Answer {
    let (hint, size, flags) = (user.long(0), user.long(1), user.word(3));
    let protection = Protection::from_bits(user.long(2))?;
    let is_shared = match flags & MAP_TYPE {
        MAP_SHARED | 3 => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    let offset = user.long(5);
    if size == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let size =
        size.checked_next_multiple_of(PAGE).filter(|size| *size < USER_END).ok_or(Errno::ENOMEM)?;
    let file = match flags & MAP_ANONYMOUS {
        0 => {
            let id = user.description(user.int(4))?;
            match user.kernel.files.mappable(id, is_shared, protection.is_writable)? {
                Mappable::Area(area, place) => {
                    let may_write = user.kernel.files.mappable(id, true, true).is_ok();
                    let bytes = size;
                    let view = View { area: (area, place), offset, bytes, protection, may_write };
                    return map_area(user, hint, flags, &view);
                }
                Mappable::Copy => Some(id),
            }
        }
        _ => None,
    };
    let start = place(user, hint, size, flags)?;
    let area = Area { start, end: start.saturating_add(size), protection, is_shared };
    let (space, pool) = user.space()?;
    space.map(pool, area)?;
    let filled = match file {
        Some(id) => copy_file(user, id, offset, area),
        None if is_shared => {
            let (space, pool) = user.space()?;
            space.populate(pool, area.start, area.end)
        }
        None => Ok(()),
    };
    if let Err(error) = filled {
        let (space, pool) = user.space()?;
        space.unmap(pool, area.start, area.end)?;
        return Err(error);
    }
    value(start)
}

/// Maps the area that a file stands for.
fn map_area(user: &mut User<'_>, hint: u64, flags: u32, view: &View) -> Answer {
    let start = place(user, hint, view.bytes, flags)?;
    let asid = user.me()?.space;
    let mapping = user.kernel.map_area(asid, start, view)?;
    if let Err(error) = user.kernel.files.map_area(view.area.0, mapping) {
        let (space, pool) = user.space()?;
        space.unmap(pool, start, start.saturating_add(view.bytes))?;
        return Err(error);
    }
    value(start)
}

/// Where a mapping goes.
fn place(user: &mut User<'_>, hint: u64, size: u64, flags: u32) -> Result<u64, Errno> {
    let (space, _) = user.space()?;
    let end = hint.checked_add(size);
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0 {
        let end = end.filter(|end| *end <= USER_END).ok_or(Errno::ENOMEM)?;
        if !hint.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if flags & MAP_FIXED_NOREPLACE != 0 && !space.is_free(hint, end) {
            return Err(Errno::EEXIST);
        }
        return Ok(hint);
    }
    let hint = hint & !(PAGE - 1);
    let fits = hint >= 0x1_0000
        && hint.checked_add(size).is_some_and(|end| end <= USER_END && space.is_free(hint, end));
    if fits {
        return Ok(hint);
    }
    space.find_room(size).ok_or(Errno::ENOMEM)
}

/// Copies what the file has of the mapping.
fn copy_file(
    user: &mut User<'_>,
    id: shikiri_scos_files::DescriptionId,
    offset: u64,
    area: Area,
) -> Result<(), Errno> {
    let bytes = user.kernel.files.fstat(id)?.bytes.saturating_sub(offset);
    let bytes = bytes.min(area.end - area.start);
    let asid = user.me()?.space;
    let kernel = &mut *user.kernel;
    // The files and the space at once: the space is put back whatever happens.
    let Some((mut space, users)) = kernel.spaces.remove(&asid) else { return Err(Errno::EFAULT) };
    let copied = kernel.fill_from_file(&mut space, id, offset, bytes, area.start);
    kernel.spaces.insert(asid, (space, users));
    copied
}

pub(super) fn munmap(user: &mut User<'_>) -> Answer {
    let (start, size) = (user.long(0), user.long(1));
    let end = end_of(start, size)?;
    if end > start {
        let (space, pool) = user.space()?;
        space.unmap(pool, start, end)?;
        return done();
    }
    Err(Errno::EINVAL)
}

pub(super) fn mprotect(user: &mut User<'_>) -> Answer {
    let (start, size) = (user.long(0), user.long(1));
    let protection = Protection::from_bits(user.long(2))?;
    let end = end_of(start, size)?;
    if end > start {
        let (space, pool) = user.space()?;
        space.protect(pool, start, end, protection)?;
    }
    done()
}

pub(super) fn madvise(user: &mut User<'_>) -> Answer {
    let (start, size, advice) = (user.long(0), user.long(1), user.word(2));
    let end = end_of(start, size)?;
    if advice > 25 {
        return Err(Errno::EINVAL);
    }
    if advice == MADV_DONTNEED && end > start {
        let (space, pool) = user.space()?;
        space.discard(pool, start, end)?;
    }
    done()
}

/// Where a range of pages ends.
fn end_of(start: u64, size: u64) -> Result<u64, Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let end = size.checked_next_multiple_of(PAGE).and_then(|size| start.checked_add(size));
    end.filter(|end| *end <= USER_END).ok_or(Errno::EINVAL)
}
