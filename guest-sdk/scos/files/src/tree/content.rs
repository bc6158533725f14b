//! What is in a file: blocks that were written, a stretch of the archive that it came from, or what the system shows there.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec;

use crate::Errno;
use crate::number::{length, wide};

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 4096;

/// The longest file.
pub(crate) const LONGEST: u64 = i64::MAX.unsigned_abs();

/// Blocks that files may still take.
#[derive(Debug)]
pub(crate) struct Space {
    free: u64,
    all: u64,
}

/// What is in a file.
#[derive(Debug)]
pub(crate) enum Content {
    /// As the archive has it; copied when it is first written to.
    Archived(&'static [u8]),
    /// What the system shows, and does not charge; copied as well.
    Shown(Box<[u8]>),
    /// Written: what has no block is 0.
    Written(Blocks),
}

/// The blocks of a file.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    bytes: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Space {
    /// So many bytes, rounded down to blocks.
    pub(crate) fn new(bytes: u64) -> Self {
        let all = bytes.checked_div(BLOCK).unwrap_or(0);
        Self { free: all, all }
    }

    /// Blocks, and those that are free.
    pub(crate) const fn state(&self) -> (u64, u64) {
        (self.all, self.free)
    }

    /// Takes blocks.
    ///
    /// # Errors
    /// ENOSPC: none is taken then.
    pub(crate) fn take(&mut self, blocks: u64) -> Result<(), Errno> {
        self.free = self.free.checked_sub(blocks).ok_or(Errno::ENOSPC)?;
        Ok(())
    }

    /// Gives blocks back.
    pub(crate) fn give(&mut self, blocks: u64) {
        self.free = self.free.saturating_add(blocks).min(self.all);
    }
}

/// In which block a byte is, and where in it.
fn place(at: u64) -> (u64, usize) {
    (at.checked_div(BLOCK).unwrap_or(0), length(at.checked_rem(BLOCK).unwrap_or(0)))
}

impl Content {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self::Written(Blocks::default())
    }

    /// What is in it while nobody has written to it.
    fn unwritten(&self) -> Option<&[u8]> {
        match self {
            Self::Archived(bytes) => Some(bytes),
            Self::Shown(bytes) => Some(bytes),
            Self::Written(_) => None,
        }
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Written(blocks) => blocks.bytes,
            _ => self.unwritten().map_or(0, |bytes| wide(bytes.len())),
        }
    }

    /// Blocks that it has taken.
    pub(crate) fn blocks(&self) -> u64 {
        match self {
            Self::Archived(_) | Self::Shown(_) => 0,
            Self::Written(blocks) => wide(blocks.blocks.len()),
        }
    }

    /// Reads from `at` on: how many bytes; 0 at the end and behind it.
    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> usize {
        if let Self::Written(blocks) = self {
            return blocks.read(at, out);
        }
        let rest = self.unwritten().and_then(|bytes| bytes.get(length(at)..)).unwrap_or(&[]);
        let count = rest.len().min(out.len());
        copy(out, rest.get(..count).unwrap_or(&[]));
        count
    }

    /// Writes from `at` on: how many bytes, fewer than there are if the space ends.
    ///
    /// # Errors
    /// ENOSPC if there is none at all; EFBIG at the end of the longest file.
    pub(crate) fn write(
        &mut self,
        at: u64,
        data: &[u8],
        space: &mut Space,
    ) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        let room = LONGEST.checked_sub(at).filter(|room| *room > 0).ok_or(Errno::EFBIG)?;
        let data = data.get(..length(room)).unwrap_or(data);
        self.written(space)?.write(at, data, space)
    }

    /// Makes it so long: what is added is 0.
    ///
    /// # Errors
    /// EFBIG; ENOSPC if it is the archive's and has to be copied.
    pub(crate) fn set_bytes(&mut self, bytes: u64, space: &mut Space) -> Result<(), Errno> {
        if bytes > LONGEST {
            return Err(Errno::EFBIG);
        }
        match self {
            Self::Archived(_) | Self::Shown(_) if bytes == 0 => *self = Self::new(),
            Self::Archived(_) | Self::Shown(_) if bytes == self.bytes() => {}
            _ => self.written(space)?.set_bytes(bytes, space),
        }
        Ok(())
    }

    /// The blocks, copied from the archive if need be.
    fn written(&mut self, space: &mut Space) -> Result<&mut Blocks, Errno> {
        if let Some(bytes) = self.unwritten() {
            let mut blocks = Blocks::default();
            if blocks.write(0, bytes, space) != Ok(bytes.len()) {
                blocks.set_bytes(0, space);
                return Err(Errno::ENOSPC);
            }
            *self = Self::Written(blocks);
        }
        match self {
            Self::Written(blocks) => Ok(blocks),
            Self::Archived(_) | Self::Shown(_) => Err(Errno::EIO),
        }
    }
}

impl Blocks {
    fn read(&self, at: u64, out: &mut [u8]) -> usize {
        let count = wide(out.len()).min(self.bytes.saturating_sub(at));
        let mut done = 0;
        while done < count {
            let (block, offset) = place(at.saturating_add(done));
            let rest = out.get_mut(length(done)..length(count)).unwrap_or(&mut []);
            let step = rest.len().min(length(BLOCK).saturating_sub(offset));
            let rest = rest.get_mut(..step).unwrap_or(&mut []);
            match self.blocks.get(&block).and_then(|block| block.get(offset..)) {
                Some(bytes) => copy(rest, bytes),
                None => rest.fill(0),
            }
            done = done.saturating_add(wide(step));
        }
        length(count)
    }

    fn write(&mut self, at: u64, data: &[u8], space: &mut Space) -> Result<usize, Errno> {
        let mut done = 0;
        while done < data.len() {
            let here = at.saturating_add(wide(done));
            let (block, offset) = place(here);
            let rest = data.get(done..).unwrap_or(&[]);
            let Some(bytes) = self.block(block, space) else { break };
            let bytes = bytes.get_mut(offset..).unwrap_or(&mut []);
            let step = rest.len().min(bytes.len());
            copy(bytes, rest.get(..step).unwrap_or(&[]));
            done = done.saturating_add(step);
            self.bytes = self.bytes.max(here.saturating_add(wide(step)));
        }
        if done == 0 && !data.is_empty() { Err(Errno::ENOSPC) } else { Ok(done) }
    }

    /// The block with this number; none if there is no space for it.
    fn block(&mut self, number: u64, space: &mut Space) -> Option<&mut Box<[u8]>> {
        match self.blocks.entry(number) {
            Entry::Occupied(there) => Some(there.into_mut()),
            Entry::Vacant(hole) => {
                space.take(1).ok()?;
                Some(hole.insert(vec![0; length(BLOCK)].into_boxed_slice()))
            }
        }
    }

    fn set_bytes(&mut self, bytes: u64, space: &mut Space) {
        let (last, offset) = place(bytes);
        // What is cut off must not come back when the file grows again.
        if let Some(tail) = self.blocks.get_mut(&last).and_then(|block| block.get_mut(offset..)) {
            tail.fill(0);
        }
        let first_gone = if offset == 0 { last } else { last.saturating_add(1) };
        let gone = self.blocks.split_off(&first_gone);
        space.give(wide(gone.len()));
        self.bytes = bytes;
    }
}

/// Copies as much as both have room for.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Content, LONGEST, Space};
    use crate::Errno;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Resize(u64),
        Read(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = 0..20_000_u64;
        let data = prop::collection::vec(any::<u8>(), 0..9000);
        prop_oneof![
            (at.clone(), data).prop_map(|(at, data)| Step::Write(at, data)),
            at.clone().prop_map(Step::Resize),
            (at, 0..9000_usize).prop_map(|(at, count)| Step::Read(at, count)),
        ]
    }

    fn written(reference: &mut Vec<u8>, at: u64, data: &[u8]) {
        let (at, end) = (at as usize, at as usize + data.len());
        if !data.is_empty() {
            reference.resize(reference.len().max(end), 0);
            reference[at..end].copy_from_slice(data);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_is_a_vector_of_bytes(
            archived in prop::collection::vec(any::<u8>(), 0..9000),
            is_shown in any::<bool>(),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let mut reference = archived.clone();
            let mut space = Space::new(1 << 20);
            let mut content = if is_shown {
                Content::Shown(archived.into())
            } else {
                Content::Archived(archived.leak())
            };
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        prop_assert_eq!(content.write(at, &data, &mut space), Ok(data.len()));
                        written(&mut reference, at, &data);
                    }
                    Step::Resize(bytes) => {
                        content.set_bytes(bytes, &mut space).unwrap();
                        reference.resize(bytes as usize, 0);
                    }
                    Step::Read(at, count) => {
                        let mut out = vec![0xa5; count];
                        let read = content.read(at, &mut out);
                        let rest = reference.get(at as usize..).unwrap_or(&[]);
                        prop_assert_eq!(&out[..read], &rest[..rest.len().min(count)]);
                    }
                }
                prop_assert_eq!(content.bytes(), reference.len() as u64);
                let (all, free) = space.state();
                prop_assert_eq!(all - free, content.blocks());
            }
        }
    }

    #[test]
    fn a_write_ends_where_the_space_ends_and_a_cut_gives_it_back() {
        let mut space = Space::new(2 * BLOCK + 1);
        let mut content = Content::new();
        assert_eq!(content.write(100, &[1; 9000], &mut space), Ok(8192 - 100));
        assert_eq!(content.write(8192, &[1], &mut space), Err(Errno::ENOSPC));
        content.set_bytes(1, &mut space).unwrap();
        assert_eq!(space.state(), (2, 1));
    }

    #[test]
    fn a_file_that_is_mostly_hole_takes_what_was_written() {
        let mut space = Space::new(2 * BLOCK);
        let mut content = Content::new();
        assert_eq!(content.write(LONGEST - 2, &[7; 9], &mut space), Ok(2));
        assert_eq!(content.write(LONGEST, &[7], &mut space), Err(Errno::EFBIG));
        assert_eq!(content.set_bytes(LONGEST + 1, &mut space), Err(Errno::EFBIG));
        assert_eq!((content.bytes(), content.blocks()), (LONGEST, 1));
    }

    #[test]
    fn an_archived_file_that_cannot_be_copied_stays_as_it_is() {
        let mut space = Space::new(BLOCK);
        let mut content = Content::Archived(&[3; 5000]);
        assert_eq!(content.write(0, &[1], &mut space), Err(Errno::ENOSPC));
        assert_eq!(space.state(), (1, 1));
        assert!(matches!(content, Content::Archived(_)));
        content.set_bytes(0, &mut space).unwrap();
        assert_eq!(content.write(0, &[1], &mut space), Ok(1));
    }
}
