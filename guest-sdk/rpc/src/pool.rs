//! The buffer pool of one shared area (B1).
//!
//! The control area is at the start of the area, in 64-bit words: `A[0]` the number of buffers, then for each buffer
//! a flag (1 free, 0 taken) and a reference (byte offset from the start of the area; 0 = no memory yet). Buffers are
//! taken first fit, by an atomic swap, without a lock; they are found again by their reference.
//!
//! Key types: [`Pool`] one side's view of the area, [`Buffer`] a taken buffer, [`Reference`] what is told the peer.
//! The count and the size of buffers are read or given once; all other words are the peer's too and are checked at
//! each use. A taken buffer is a value: it gives itself back when it is dropped, or is handed over to the peer. Which
//! entries this side has as values it knows by itself, so that a flag that the peer sets gives none of them out twice.
//!
//! A buffer cannot be used after it was handed over:
//!
//! ```compile_fail,E0382
//! # fn with(mut buffer: shikiri_rpc::Buffer<'_>) {
//! let reference = buffer.hand_over();
//! buffer.write(b"too late");
//! # }
//! ```
//!
//! nor after it was given back, nor given back twice:
//!
//! ```compile_fail,E0382
//! # fn with(buffer: shikiri_rpc::Buffer<'_>) {
//! let first = buffer.give_back();
//! let second = buffer.give_back();
//! # }
//! ```
//!
//! nor copied, nor kept longer than the pool:
//!
//! ```compile_fail,E0505
//! # fn with(pool: shikiri_rpc::Pool<'_>) {
//! let buffer = pool.take();
//! drop(pool);
//! drop(buffer);
//! # }
//! ```

use crate::area::{Area, WORD_BYTES};
use crate::facade::atomic::{AtomicU64, Ordering};
use crate::source::Source;

mod held;

use held::Held;

/// The most buffers that a pool may have.
pub const MAX_BUFFERS: usize = 4096;
/// The size of a buffer unless another is asked for: 5 KB.
pub const DEFAULT_BUFFER_BYTES: usize = 5 * 1024;

const TAKEN: u64 = 0;
const FREE: u64 = 1;
/// No memory yet.
const UNFILLED: u64 = 0;

/// A buffer by its place: the byte offset from the start of its area. What a peer gives is only a number until a
/// pool has found it in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference(pub u32);

/// Why there is no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// The count is above [`MAX_BUFFERS`].
    Count,
    /// The control area, or with eager filling the buffers, do not fit into the area, or the area has 4 GiB or more.
    Area,
    /// The size of a buffer is zero.
    Size,
}

/// Why no buffer was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeError {
    /// All are taken (or there are none at all).
    NoBuffer,
    /// One is free, but has no memory yet, and the source has none.
    NoMemory,
}

/// Why a reference was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseError {
    /// No buffer has this reference.
    Absent,
    /// The buffer is free: it was given back before.
    AlreadyFree,
    /// This side has it as a [`Buffer`], which alone gives it back: its number came a second time.
    Held,
}

/// One side's view of a pool.
pub struct Pool<'a> {
    area: Area<'a>,
    count: usize,
    buffer_bytes: usize,
    source: Option<&'a (dyn Source + 'a)>,
    held: Held,
    faults: AtomicU64,
}

impl<'a> Pool<'a> {
    /// Makes the control area for `count` buffers of `buffer_bytes` (rounded up to 8) right behind it, all free.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is written then.
    pub fn create(area: Area<'a>, count: usize, buffer_bytes: usize) -> Result<Self, PoolError> {
        let buffer_bytes = round_up(buffer_bytes)?;
        let first = table_bytes(area, count)?;
        let size = count.checked_mul(buffer_bytes).and_then(|size| size.checked_add(first));
        if size.is_none_or(|size| size > area.bytes()) {
            return Err(PoolError::Area);
        }
        let place = |index: usize| first.saturating_add(index.saturating_mul(buffer_bytes));
        Self::format(area, count, |index| u64::try_from(place(index)).unwrap_or(UNFILLED));
        Self::attach(area, buffer_bytes)
    }

    /// Makes the control area for `count` buffers that get their memory from `source` when they are first taken.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is written then.
    pub fn create_lazy(
        area: Area<'a>,
        count: usize,
        buffer_bytes: usize,
        source: &'a (dyn Source + 'a),
    ) -> Result<Self, PoolError> {
        round_up(buffer_bytes)?;
        table_bytes(area, count)?;
        Self::format(area, count, |_| UNFILLED);
        Self::attach_lazy(area, buffer_bytes, source)
    }

    /// Joins the pool that the other side has made. The size of its buffers is agreed beforehand; it is not read from
    /// memory that the other side can change. Buffers without memory are passed over.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn attach(area: Area<'a>, buffer_bytes: usize) -> Result<Self, PoolError> {
        let buffer_bytes = round_up(buffer_bytes)?;
        // Read once: later changes of the word mean nothing to this side.
        let count = area.word(0).map_or(0, |word| word.load(Ordering::Acquire));
        let count = usize::try_from(count).map_err(|_| PoolError::Count)?;
        table_bytes(area, count)?;
        let (held, faults) = (Held::new(), AtomicU64::new(0));
        Ok(Self { area, count, buffer_bytes, source: None, held, faults })
    }

    /// Joins a pool, and fills buffers that have no memory yet from `source`.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn attach_lazy(
        area: Area<'a>,
        buffer_bytes: usize,
        source: &'a (dyn Source + 'a),
    ) -> Result<Self, PoolError> {
        Ok(Self { source: Some(source), ..Self::attach(area, buffer_bytes)? })
    }

    /// Takes the first free buffer.
    ///
    /// # Errors
    /// [`TakeError`]: an answer, not a fault.
    pub fn take(&self) -> Result<Buffer<'_>, TakeError> {
        self.take_among(self.count)
    }

    /// Takes the first free buffer for a request: the last one of several is left to the replies, so that requests
    /// alone never stop them.
    pub(crate) fn take_for_request(&self) -> Result<Buffer<'_>, TakeError> {
        self.take_among(self.count.saturating_sub(1).max(1).min(self.count))
    }

    /// Takes over a buffer that the peer has handed over. It stays taken, and is this side's.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub fn adopt(&self, reference: Reference) -> Result<Buffer<'_>, ReleaseError> {
        let (index, data) = self.find(reference).ok_or(ReleaseError::Absent)?;
        let (flag, _) = self.entry(index).ok_or(ReleaseError::Absent)?;
        if flag.load(Ordering::Acquire) == FREE {
            return Err(ReleaseError::AlreadyFree);
        }
        if !self.held.enter(index) {
            return Err(ReleaseError::Held);
        }
        Ok(Buffer { pool: self, index, reference, data })
    }

    /// Gives back the buffer with this reference.
    ///
    /// # Errors
    /// [`ReleaseError`]; nothing has changed then.
    pub fn release(&self, reference: Reference) -> Result<(), ReleaseError> {
        let (index, _) = self.find(reference).ok_or(ReleaseError::Absent)?;
        self.release_entry(index)
    }

    /// How many buffers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The size of each in bytes, a multiple of 8.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// How many are taken now, by either side.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.entries().filter(|(flag, _)| flag.load(Ordering::Relaxed) != FREE).count()
    }

    /// How many have memory.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.entries().filter(|(_, place)| place.load(Ordering::Relaxed) != UNFILLED).count()
    }

    /// How often the peer, or this side, was caught: a reference in the table that leads outside, a buffer that was
    /// dropped and had been given back already, one that was free in the table and this side's all the same.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Writes the table, the count last: who sees it sees the table.
    fn format(area: Area<'a>, count: usize, place: impl Fn(usize) -> u64) {
        for index in 0..count {
            if let Some((flag, reference)) = entry(area, index) {
                reference.store(place(index), Ordering::Relaxed);
                flag.store(FREE, Ordering::Relaxed);
            }
        }
        if let (Some(word), Ok(count)) = (area.word(0), u64::try_from(count)) {
            word.store(count, Ordering::Release);
        }
    }

    /// Takes the first free one of the first `count`.
    fn take_among(&self, count: usize) -> Result<Buffer<'_>, TakeError> {
        let mut why = TakeError::NoBuffer;
        for (index, (flag, reference)) in self.entries().enumerate().take(count) {
            // A look first: a swap takes the cache line away from the other side.
            if flag.load(Ordering::Relaxed) != FREE || flag.swap(TAKEN, Ordering::Acquire) != FREE {
                continue;
            }
            if !self.held.enter(index) {
                // The peer has set the flag. Taken it stays, until who has it gives it back.
                self.faults.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            match self.place(reference) {
                Ok((reference, data)) => return Ok(Buffer { pool: self, index, reference, data }),
                Err(unusable) => why = unusable,
            }
            self.held.leave(index);
            flag.swap(FREE, Ordering::Release);
        }
        Err(why)
    }

    /// Where a buffer that was just taken is; gives it memory if it has none.
    fn place(&self, word: &AtomicU64) -> Result<(Reference, Area<'a>), TakeError> {
        let mut place = word.load(Ordering::Relaxed);
        if place == UNFILLED {
            let obtained = self.source.and_then(|source| source.obtain(self.buffer_bytes));
            place = obtained.map(u64::from).ok_or(TakeError::NoMemory)?;
            word.store(place, Ordering::Relaxed);
        }
        let reference = u32::try_from(place).ok().map(Reference);
        let found = reference.and_then(|reference| Some((reference, self.data(reference)?)));
        found.ok_or_else(|| {
            self.faults.fetch_add(1, Ordering::Relaxed);
            TakeError::NoMemory
        })
    }

    /// The entry with this reference, and its memory.
    fn find(&self, reference: Reference) -> Option<(usize, Area<'a>)> {
        let data = self.data(reference)?;
        let is_it = |index: usize| {
            let place = self.entry(index).map(|(_, place)| place.load(Ordering::Relaxed));
            place == Some(u64::from(reference.0))
        };
        // Where it is if the pool was filled in order; else wherever it is.
        let likely = self.likely_index(reference).filter(|index| is_it(*index));
        let index = likely.or_else(|| (0..self.count).find(|index| is_it(*index)))?;
        Some((index, data))
    }

    fn likely_index(&self, reference: Reference) -> Option<usize> {
        let offset = usize::try_from(reference.0).ok()?;
        let index = offset.checked_sub(table_bytes(self.area, self.count).ok()?)?;
        index.checked_div(self.buffer_bytes)
    }

    /// The memory that a reference means: whole words of the area behind the control area, or nothing.
    fn data(&self, reference: Reference) -> Option<Area<'a>> {
        let offset = usize::try_from(reference.0).ok()?;
        let is_behind = offset >= table_bytes(self.area, self.count).ok()?;
        if !is_behind || !offset.is_multiple_of(WORD_BYTES) {
            return None;
        }
        self.area.part(offset.div_ceil(WORD_BYTES), self.buffer_bytes.div_ceil(WORD_BYTES))
    }

    /// Gives back an entry that this side does not have as a value.
    fn release_entry(&self, index: usize) -> Result<(), ReleaseError> {
        if self.held.has(index) {
            return Err(ReleaseError::Held);
        }
        let (flag, _) = self.entry(index).ok_or(ReleaseError::Absent)?;
        match flag.swap(FREE, Ordering::AcqRel) {
            FREE => Err(ReleaseError::AlreadyFree),
            _ => Ok(()),
        }
    }

    fn entries(&self) -> impl Iterator<Item = (&'a AtomicU64, &'a AtomicU64)> {
        (0..self.count).map_while(|index| self.entry(index))
    }

    fn entry(&self, index: usize) -> Option<(&'a AtomicU64, &'a AtomicU64)> {
        entry(self.area, index)
    }
}

/// Flag and reference of a buffer.
fn entry(area: Area<'_>, index: usize) -> Option<(&AtomicU64, &AtomicU64)> {
    let flag = index.checked_mul(2)?.checked_add(1)?;
    Some((area.word(flag)?, area.word(flag.checked_add(1)?)?))
}

/// The size of the control area, if the count is in range and the area holds it.
fn table_bytes(area: Area<'_>, count: usize) -> Result<usize, PoolError> {
    if count > MAX_BUFFERS {
        return Err(PoolError::Count);
    }
    let bytes = count.saturating_mul(2).saturating_add(1).saturating_mul(WORD_BYTES);
    if bytes > area.bytes() || u32::try_from(area.bytes()).is_err() {
        return Err(PoolError::Area);
    }
    Ok(bytes)
}

fn round_up(buffer_bytes: usize) -> Result<usize, PoolError> {
    let rounded = buffer_bytes.checked_next_multiple_of(WORD_BYTES).ok_or(PoolError::Area)?;
    if rounded == 0 { Err(PoolError::Size) } else { Ok(rounded) }
}

/// A taken buffer: this side's alone, as far as the peer keeps to the rules. Dropping it gives it back.
#[must_use = "a buffer that is dropped is given back"]
pub struct Buffer<'p> {
    pool: &'p Pool<'p>,
    index: usize,
    reference: Reference,
    data: Area<'p>,
}

impl<'p> Buffer<'p> {
    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.bytes()
    }

    /// What the peer is told.
    #[must_use]
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Copies bytes to its start; `None`, and nothing written, if they do not fit.
    pub fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.data.write(bytes)
    }

    /// Copies bytes from its start, each word read once; `None`, and nothing read, if it does not have so many.
    pub fn read(&self, into: &mut [u8]) -> Option<()> {
        self.data.read(into)
    }

    /// Its words.
    pub(crate) fn area(&mut self) -> Area<'p> {
        self.data
    }

    /// Leaves the buffer to the peer, which gives it back: it stays taken, and this side has it no more.
    ///
    /// Before the peer is told: from then on it may give the buffer back.
    pub fn hand_over(self) -> Reference {
        let reference = self.reference;
        self.pool.held.leave(self.index);
        core::mem::forget(self);
        reference
    }

    /// Gives it back now, and tells whether that was as it should be.
    ///
    /// # Errors
    /// [`ReleaseError`]: the peer has changed the table, or has given the buffer back.
    pub fn give_back(self) -> Result<(), ReleaseError> {
        let result = self.pool.release_taken(self.index, self.reference);
        core::mem::forget(self);
        result
    }
}

impl Pool<'_> {
    /// Gives back a buffer whose entry is known: a look whether it is still there, instead of a search.
    fn release_taken(&self, index: usize, reference: Reference) -> Result<(), ReleaseError> {
        // Before the flag: who finds that free may be another of this side's threads.
        self.held.leave(index);
        let place = self.entry(index).map(|(_, place)| place.load(Ordering::Relaxed));
        if place == Some(u64::from(reference.0)) {
            return self.release_entry(index);
        }
        self.release(reference)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if self.pool.release_taken(self.index, self.reference).is_err() {
            self.pool.faults.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
