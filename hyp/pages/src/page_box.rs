//! Values that live in frames.
#![expect(unsafe_code, reason = "typed access to memory that a linear token stands for")]

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use zerocopy::{FromBytes, FromZeros};

use crate::direct_map::DirectMap;
use crate::frames::Frames;

/// A `T` in frames of its own: a `Box` without a heap.
///
/// [`PageBox::into_frames`] ends the value and gives the frames back; dropping the box instead leaks both, as
/// [`Frames`] says.
#[must_use = "a box that is dropped loses its frames: give them back with `into_frames`"]
pub struct PageBox<T> {
    frames: Frames,
    value: NonNull<T>,
}

// SAFETY: the box owns its value as `Box` does.
unsafe impl<T: Send> Send for PageBox<T> {}
// SAFETY: `&PageBox<T>` gives `&T` and nothing more.
unsafe impl<T: Sync> Sync for PageBox<T> {}

impl<T> PageBox<T> {
    /// How many frames a `T` needs: what its partition is charged.
    pub const PAGES: PageCount = pages_for::<T>(1);

    /// Moves `value` into the frames. For a large `T` use [`PageBox::zeroed`] or [`PageBox::init_with`], which
    /// need no copy of it on the stack.
    ///
    /// # Panics
    /// If the frames are fewer than [`PageBox::PAGES`].
    pub fn new(frames: Frames, value: T) -> Self {
        Self::init_with(frames, |place| place.write(value))
    }

    /// Has `init` construct the value in place; it returns the place's reference as the proof that it did.
    ///
    /// # Panics
    /// If the frames are fewer than [`PageBox::PAGES`], or if `init` returns a reference to something else.
    pub fn init_with(
        frames: Frames,
        init: impl for<'a> FnOnce(&'a mut MaybeUninit<T>) -> &'a mut T,
    ) -> Self {
        let value = place::<T>(&frames, 1);
        // SAFETY: `place` checked size and alignment; the frames are ours alone; any bytes are a `MaybeUninit`.
        let slot = unsafe { value.cast::<MaybeUninit<T>>().as_mut() };
        let made = ptr::from_mut(init(slot));
        assert!(ptr::eq(made, value.as_ptr()), "page box: constructed in another place");
        Self { frames, value }
    }

    /// Clears the frames and takes the zero bytes as the value.
    ///
    /// # Panics
    /// If the frames are fewer than [`PageBox::PAGES`].
    pub fn zeroed<M: DirectMap>(mut frames: Frames, map: &M) -> Self
    where
        T: FromZeros,
    {
        let value = place::<T>(&frames, 1);
        frames.zero(map);
        Self { frames, value }
    }

    /// The physical address of the value.
    #[must_use]
    pub const fn base(&self) -> Pa {
        self.frames.base()
    }

    /// Drops the value and returns its frames.
    pub fn into_frames(self) -> Frames {
        let Self { frames, value } = self;
        // SAFETY: the value was constructed, and the box that could reach it is gone.
        unsafe { value.drop_in_place() };
        frames
    }
}

impl<T> PageBox<T> {
    /// Moves the value out and returns it with its frames.
    pub fn into_parts(self) -> (T, Frames) {
        let Self { frames, value } = self;
        // SAFETY: the value was constructed, and the box that could reach it is gone.
        (unsafe { value.read() }, frames)
    }

    /// Gives the frames up for ever: for what lives as long as the machine.
    #[must_use]
    pub fn leak(self) -> &'static mut T {
        let Self { frames: _, mut value } = self;
        // SAFETY: the value was constructed in memory that nobody else reaches, and never goes back.
        unsafe { value.as_mut() }
    }
}

impl<T> Deref for PageBox<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was constructed in memory that only this box reaches.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for PageBox<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value was constructed in memory that only this box reaches; `&mut self`.
        unsafe { self.value.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for PageBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// Several `T` in frames of their own: a boxed slice without a heap.
#[must_use = "a slice that is dropped loses its frames: give them back with `into_frames`"]
pub struct PageSlice<T> {
    frames: Frames,
    values: NonNull<[T]>,
}

// SAFETY: the slice owns its values as `Box<[T]>` does.
unsafe impl<T: Send> Send for PageSlice<T> {}
// SAFETY: `&PageSlice<T>` gives `&[T]` and nothing more.
unsafe impl<T: Sync> Sync for PageSlice<T> {}

impl<T> PageSlice<T> {
    /// How many frames `length` values need; saturates.
    #[must_use]
    pub const fn pages(length: usize) -> PageCount {
        pages_for::<T>(length)
    }

    /// Fills the frames with `value(0)`, `value(1)` … `value(length − 1)`.
    ///
    /// # Panics
    /// If the frames are fewer than [`PageSlice::pages`] says.
    pub fn from_fn(frames: Frames, length: usize, mut value: impl FnMut(usize) -> T) -> Self {
        let first = place::<T>(&frames, length);
        for index in 0..length {
            // SAFETY: `place` checked that `length` values fit.
            let slot = unsafe { first.add(index) };
            // SAFETY: inside the frames, aligned, and ours alone.
            unsafe { slot.write(value(index)) };
        }
        Self { frames, values: NonNull::slice_from_raw_parts(first, length) }
    }

    /// Clears the frames and takes the zero bytes as the values.
    ///
    /// # Panics
    /// If the frames are fewer than [`PageSlice::pages`] says.
    pub fn zeroed<M: DirectMap>(mut frames: Frames, length: usize, map: &M) -> Self
    where
        T: FromZeros,
    {
        let first = place::<T>(&frames, length);
        frames.zero(map);
        Self { frames, values: NonNull::slice_from_raw_parts(first, length) }
    }

    /// Takes whatever the frames hold as the values: for storage that is written before it is read, and too large to
    /// clear at boot.
    ///
    /// # Safety
    /// The memory has been written since the machine (or, in tests, the allocation) began: RAM that the loader or
    /// the hardware has initialised.
    ///
    /// # Panics
    /// If the frames are fewer than [`PageSlice::pages`] says.
    pub unsafe fn as_found(frames: Frames, length: usize) -> Self
    where
        T: FromBytes,
    {
        let first = place::<T>(&frames, length);
        Self { frames, values: NonNull::slice_from_raw_parts(first, length) }
    }

    /// The physical address of the first value.
    #[must_use]
    pub const fn base(&self) -> Pa {
        self.frames.base()
    }

    /// Drops the values and returns their frames.
    pub fn into_frames(self) -> Frames {
        let Self { frames, values } = self;
        // SAFETY: the values were constructed, and the slice that could reach them is gone.
        unsafe { values.drop_in_place() };
        frames
    }
}

impl<T> PageSlice<T> {
    /// Gives the frames up for ever: for what lives as long as the machine.
    #[must_use]
    pub fn leak(self) -> &'static mut [T] {
        let Self { frames: _, mut values } = self;
        // SAFETY: the values were constructed in memory that nobody else reaches, and never goes back.
        unsafe { values.as_mut() }
    }
}

impl<T> Deref for PageSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the values were constructed in memory that only this slice reaches.
        unsafe { self.values.as_ref() }
    }
}

impl<T> DerefMut for PageSlice<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the values were constructed in memory that only this slice reaches; `&mut self`.
        unsafe { self.values.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for PageSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        <[T]>::fmt(self, f)
    }
}

/// The frames that `length` values of `T` need: at least one.
const fn pages_for<T>(length: usize) -> PageCount {
    pages_of(size_of::<T>().saturating_mul(length))
}

const fn pages_of(bytes: usize) -> PageCount {
    // Widening: a size is at most 2^63, and the constant context has no `From`.
    #[expect(clippy::as_conversions, reason = "usize to u64 in a constant, widening")]
    let bytes = bytes as u64;
    let pages = bytes.div_ceil(PAGE_BYTES);
    PageCount(if pages == 0 { 1 } else { pages })
}

/// The first byte of the frames as the place of `length` values, checked for size and alignment.
fn place<T>(frames: &Frames, length: usize) -> NonNull<T> {
    const { assert!(align_of::<T>() <= 4096, "a frame aligns to 4 KiB only") };
    check_size(frames, size_of::<T>().saturating_mul(length));
    frames.as_ptr().cast()
}

/// Out of line: the same for all types.
#[inline(never)]
fn check_size(frames: &Frames, bytes: usize) {
    assert!(
        pages_of(bytes) <= frames.pages(),
        "page box: {bytes} bytes do not fit {}",
        frames.range()
    );
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests compute with small numbers")]
mod tests {
    use core::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;
    use std::string::String;

    use shikiri_abi::{PAGE_BYTES, Pa, PageCount};

    use super::{PageBox, PageSlice};
    use crate::frames::Frames;
    use crate::pool::FramePool;
    use crate::testing::{RAM, Ram};

    fn pool(ram: &Ram) -> FramePool<&Ram> {
        // SAFETY: the RAM is the test's own.
        unsafe { FramePool::new(ram, &[ram.range()], &[], &[]) }.unwrap()
    }

    fn take(pool: &mut FramePool<&Ram>, pages: u64) -> Frames {
        pool.take(PageCount(pages), PAGE_BYTES).unwrap()
    }

    /// Counts how often a value of its kind was dropped.
    struct Counted(Rc<Cell<u32>>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_value_lives_in_its_frames_and_ends_when_they_are_given_back() {
        let ram = Ram::new(2);
        let mut pool = pool(&ram);
        let total = pool.free_pages();
        let drops = Rc::new(Cell::new(0));
        let boxed = PageBox::new(take(&mut pool, 1), (Counted(drops.clone()), 7u64));
        assert_eq!(boxed.1, 7);
        assert!(boxed.base() >= Pa(RAM));
        pool.give(boxed.into_frames());
        assert_eq!((drops.get(), pool.free_pages()), (1, total));
    }

    #[test]
    fn large_values_are_made_in_place() {
        type Large = [u64; 1 << 15];
        let ram = Ram::new(2);
        let mut pool = pool(&ram);
        assert_eq!(PageBox::<Large>::PAGES, PageCount(64));
        let mut zeroed = PageBox::<Large>::zeroed(take(&mut pool, 64), &&ram);
        assert!(zeroed.iter().all(|word| *word == 0), "fresh RAM is full of dirt");
        zeroed[9] = 1;
        pool.give(zeroed.into_frames());
        let made =
            PageBox::<[u64; 512]>::init_with(take(&mut pool, 1), |place| place.write([3; 512]));
        assert_eq!(made.iter().sum::<u64>(), 3 * 512);
    }

    #[test]
    fn a_value_made_elsewhere_is_not_taken_for_one_made_in_place() {
        let ram = Ram::new(2);
        let mut pool = pool(&ram);
        let frames = take(&mut pool, 1);
        let other = std::boxed::Box::into_raw(std::boxed::Box::new(1));
        let elsewhere = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: a live allocation that nothing else refers to.
            PageBox::<u64>::init_with(frames, |_| unsafe { &mut *other }).into_frames()
        }));
        // SAFETY: from `into_raw`, and the reference is gone with the closure.
        drop(unsafe { std::boxed::Box::from_raw(other) });
        assert!(elsewhere.is_err());
    }

    #[test]
    fn slices_hold_their_values_in_order() {
        let ram = Ram::new(2);
        let mut pool = pool(&ram);
        let total = pool.free_pages();
        assert_eq!(PageSlice::<[u8; 3000]>::pages(2), PageCount(2));
        assert_eq!(PageSlice::<u8>::pages(0), PageCount(1));
        assert_eq!(PageSlice::<u64>::pages(usize::MAX), PageCount(1 << 52));
        let drops = Rc::new(Cell::new(0));
        let counted = PageSlice::from_fn(take(&mut pool, 1), 5, |n| (n, Counted(drops.clone())));
        assert!(counted.iter().enumerate().all(|(n, value)| value.0 == n));
        pool.give(counted.into_frames());
        assert_eq!(drops.get(), 5);
        let mut words = PageSlice::<u32>::zeroed(take(&mut pool, 2), 1025, &&ram);
        assert_eq!((words.len(), words.iter().max()), (1025, Some(&0)));
        words[1024] = 1;
        pool.give(words.into_frames());
        assert_eq!(pool.free_pages(), total);
    }

    #[test]
    fn frames_that_are_too_few_are_refused_by_address() {
        let ram = Ram::new(2);
        let mut pool = pool(&ram);
        let frames = take(&mut pool, 1);
        let refused =
            catch_unwind(AssertUnwindSafe(|| PageSlice::<u64>::zeroed(frames, 513, &&ram).len()));
        let message = refused.err().and_then(|e| e.downcast_ref::<String>().cloned()).unwrap();
        assert!(message.contains("4104 bytes do not fit pa:0x4000"), "{message}");
    }
}
