//! The areas of one leg, to which more can be added while calls are under way.

use spin::once::Once;

use crate::error::{FetchError, SendError};
use crate::facade::atomic::{AtomicU32, Ordering};
use crate::message::Kind;
use crate::pool::{Buffer, Pool, Reference, TakeError};

/// The most areas that a leg can have.
pub const MAX_AREAS: usize = 8;

/// Up to [`MAX_AREAS`] pools, by number. Both sides add the same areas in the same order; a side tells the other of a
/// new one by a call of its own, before it uses it.
pub struct Pools<'a> {
    pools: [Once<Pool<'a>>; MAX_AREAS],
    /// The number of the next to be added.
    next: AtomicU32,
}

impl<'a> Pools<'a> {
    /// No area: every payload has to be inline.
    #[must_use]
    pub fn new() -> Self {
        Self { pools: [const { Once::new() }; MAX_AREAS], next: AtomicU32::new(0) }
    }

    /// Adds an area; its number.
    ///
    /// # Errors
    /// The pool, if there are [`MAX_AREAS`] already.
    #[expect(
        clippy::result_large_err,
        reason = "the pool itself comes back: nothing here allocates"
    )]
    pub fn add(&self, pool: Pool<'a>) -> Result<u8, Pool<'a>> {
        // A look first: refusals must not move the number on and on.
        if usize::try_from(self.next.load(Ordering::Relaxed)).is_ok_and(|next| next >= MAX_AREAS) {
            return Err(pool);
        }
        // Each number is given to one caller only: nobody ever waits in `call_once`.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let cell = usize::try_from(number).ok().and_then(|index| self.pools.get(index));
        match (cell, u8::try_from(number)) {
            (Some(cell), Ok(number)) => {
                cell.call_once(|| pool);
                Ok(number)
            }
            _ => Err(pool),
        }
    }

    /// The area with this number.
    #[must_use]
    pub fn get(&self, number: u8) -> Option<&Pool<'a>> {
        self.pools.get(usize::from(number))?.get()
    }

    /// How many buffers are taken now, in all areas.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.each().map(|(_, pool)| pool.in_use()).fold(0, usize::saturating_add)
    }

    /// Takes a buffer of at least so many bytes from the first area that has one, for a message of this kind.
    pub(crate) fn take(&self, bytes: usize, kind: Kind) -> Result<(u8, Buffer<'_>), SendError> {
        let mut why = SendError::TooLarge;
        for (number, pool) in self.each().filter(|(_, pool)| pool.buffer_bytes() >= bytes) {
            let taken = match kind {
                Kind::Request => pool.take_for_request(),
                Kind::Reply => pool.take(),
            };
            match taken {
                Ok(buffer) => return Ok((number, buffer)),
                // That there is no memory behind a free one is said only if all areas say so.
                Err(TakeError::NoMemory) if why == SendError::NoBuffer => {}
                Err(shortage) => why = shortage.into(),
            }
        }
        Err(why)
    }

    /// Takes over a buffer that the peer has sent with a message.
    pub(crate) fn adopt(&self, area: u8, reference: Reference) -> Result<Buffer<'_>, FetchError> {
        let pool = self.get(area).ok_or(FetchError::BadReference)?;
        pool.adopt(reference).map_err(|_| FetchError::BadReference)
    }

    fn each(&self) -> impl Iterator<Item = (u8, &Pool<'a>)> {
        (0..).zip(&self.pools).map_while(|(number, cell)| Some((number, cell.get()?)))
    }
}

impl Default for Pools<'_> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::area::Area;
    use crate::facade::atomic::AtomicU64;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn another_area_helps_and_a_ninth_is_handed_back_b3() {
        let memory: Vec<_> = (0..9).map(|_| words(3 + 4)).collect();
        let pool = |index: usize| Pool::create(Area::new(&memory[index]), 1, 32).unwrap();
        let pools = Pools::new();
        assert_eq!(pools.take(1, Kind::Request).err(), Some(SendError::TooLarge));
        assert_eq!(pools.add(pool(0)).ok(), Some(0));
        let (first, held) = pools.take(32, Kind::Request).unwrap();
        assert_eq!((first, pools.take(1, Kind::Request).err()), (0, Some(SendError::NoBuffer)));
        assert_eq!(pools.take(33, Kind::Request).err(), Some(SendError::TooLarge));
        assert_eq!(pools.add(pool(1)).ok(), Some(1));
        let (second, other) = pools.take(1, Kind::Request).unwrap();
        assert_eq!((second, pools.in_use()), (1, 2));
        assert!(pools.adopt(1, other.hand_over()).is_ok(), "given back at once");
        assert_eq!(pools.adopt(7, held.reference()).err(), Some(FetchError::BadReference));
        for index in 2..8 {
            assert_eq!(pools.add(pool(index)).ok(), u8::try_from(index).ok());
        }
        assert!(pools.add(pool(8)).is_err() && pools.get(8).is_none());
    }
}
