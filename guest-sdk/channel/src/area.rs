//! A message area as an owned value.
#![expect(unsafe_code, reason = "gives its memory away when it goes")]

use core::mem;
use core::ops::{Deref, DerefMut};

use shikiri_abi::{AreaClass, PageCount, Status};
use shikiri_arrivals::Parcel;
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::Handle;

use crate::table::Home;
use crate::windows::{Memory, Windows};

/// A message area: memory of this partition's alone, as a slice of bytes. [`send`](crate::Channel::send) moves it to a peer, dropping
/// frees it.
///
/// Its length is how many bytes are meant: what was asked for, or what the sender said; up to its capacity, whole pages.
#[derive(Debug)]
pub struct Area {
    handle: Handle,
    /// Empty if the place is not seen: an area of 1 GiB behind the 126th slot.
    memory: Memory,
    /// At most 1 GiB.
    length: u32,
    class: AreaClass,
    /// The port in whose window it lies.
    home: Option<Home>,
}

impl Area {
    /// Makes an area of so many bytes, all 0, in a slot of this class: that of the windows that it shall be sent to. The vCPU makes
    /// calls until it is complete, some 256 KiB with each.
    ///
    /// # Errors
    /// `NotSupported` if the partition has no areas; `Range` if the class does not hold it; `OverLimit`, `NoMemory`.
    pub fn alloc(windows: Windows, class: AreaClass, bytes: usize) -> Result<Self, Refusal> {
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        let message::Area { handle, address, pages } = message::alloc(wanted, class)?;
        let memory = windows.memory(address, pages);
        let mut area = Self { handle, class, memory, length: 0, home: None };
        area.set_len(bytes);
        Ok(area)
    }

    /// An area that has come to a port.
    #[inline]
    pub(crate) fn received(
        (windows, class, home): (Windows, AreaClass, Home),
        parcel: &Parcel,
    ) -> Self {
        let memory = windows.memory(parcel.address, parcel.pages);
        let bytes = usize::try_from(parcel.bytes).unwrap_or(usize::MAX);
        let length = u32::try_from(bytes.min(memory.bytes())).unwrap_or(0);
        Self { handle: Handle(parcel.handle), class, memory, length, home: Some(home) }
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> AreaClass {
        self.class
    }

    /// How many bytes it has; those behind its length are whatever was written there before, by any of its owners.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.bytes()
    }

    /// How large it is in pages.
    #[must_use]
    pub fn pages(&self) -> PageCount {
        self.memory.pages()
    }

    /// Changes its length, up to its capacity.
    pub fn set_len(&mut self, length: usize) {
        self.length = u32::try_from(length.min(self.capacity())).unwrap_or(0);
    }

    /// Its virtual address, a multiple of 4096 (0 if it is not seen).
    #[must_use]
    pub fn address(&self) -> usize {
        self.memory.address()
    }

    /// Its handle in calls.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// The area as a handle in calls, for who frees it otherwise, or offers it to others.
    #[must_use]
    pub fn into_handle(self) -> Handle {
        let handle = self.handle;
        mem::forget(self);
        handle
    }

    /// Keeps an area that was received: it is charged as the partition's own, stays where it is, and its port's window has another
    /// slot instead. An own one stays as it is.
    ///
    /// # Errors
    /// `OverLimit`; it is as it was then.
    pub fn keep(&mut self) -> Result<(), Refusal> {
        let Some(home) = self.home else { return Ok(()) };
        match message::keep(self.handle) {
            // Its port was closed, and it has been the partition's own since.
            Err(refusal) if refusal.status() == Some(Status::WrongState) => {}
            other => other?,
        }
        self.home = None;
        home.has_room();
        Ok(())
    }

    /// Frees the pages behind its first bytes: they go back to the partition's account. Its length is at most these bytes then. One in
    /// a port's window is [kept](Area::keep) first.
    ///
    /// # Errors
    /// `WrongState` if it lies in a window; `Range` if no page would stay or it has fewer; `OverLimit`, `NoMemory` for tables: it may be
    /// smaller then.
    pub fn trim(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        // SAFETY: whoever borrows its memory borrows `self`, which is borrowed exclusively.
        let trimmed = unsafe { message::trim(self.handle, wanted) };
        self.look_again(bytes, trimmed.is_ok());
        trimmed
    }

    /// Makes the pages behind its first bytes another area, in a slot of this class, without copying or clearing: what was written there
    /// is in the other one, page by page in any order. Its length is at most these bytes then, the other one's is its capacity.
    ///
    /// # Errors
    /// `WrongState` if it lies in a window; `Range` if no page would stay or go, or the class does not hold those that go; `OverLimit`,
    /// `NoMemory`: then some pages may have gone, which are freed.
    pub fn split_off(
        &mut self,
        windows: Windows,
        class: AreaClass,
        bytes: usize,
    ) -> Result<Self, Refusal> {
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        // SAFETY: as for `trim`.
        let split = unsafe { message::split(self.handle, wanted, class) };
        self.look_again(bytes, split.is_ok());
        match split {
            Ok(message::Area { handle, address, pages }) => {
                let memory = windows.memory(address, pages);
                let mut area = Self { handle, class, memory, length: 0, home: None };
                area.set_len(area.capacity());
                Ok(area)
            }
            Err((refusal, gone)) => {
                if let Some(gone) = gone {
                    // SAFETY: nobody has seen it.
                    let _freed = unsafe { message::free(gone) };
                }
                Err(refusal)
            }
        }
    }

    /// Takes over how many pages it has now; if they are fewer, or as wanted, no more than these bytes are meant.
    fn look_again(&mut self, bytes: usize, is_done: bool) {
        let before = self.capacity();
        if let Ok(message::Area { pages, .. }) = message::info(self.handle) {
            self.memory.shrink(pages);
        }
        if is_done || self.capacity() < before {
            self.set_len(self.meant().min(bytes));
        }
    }

    /// Whether it lies in a port's window, and so takes room there.
    #[must_use]
    pub const fn is_in_window(&self) -> bool {
        self.home.is_some()
    }

    /// How many bytes are meant.
    #[inline]
    fn meant(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0)
    }

    /// The same, as calls have it.
    #[inline]
    pub(crate) fn length(&self) -> u64 {
        u64::from(self.length)
    }

    /// The port in whose window it lies.
    #[inline]
    pub(crate) const fn home(&self) -> Option<Home> {
        self.home
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: whoever borrowed its memory borrowed `self`.
        let _freed = unsafe { message::free(self.handle) };
        if let Some(home) = self.home {
            home.has_room();
        }
    }
}

impl Deref for Area {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.memory.bytes_of(self.meant())
    }
}

impl DerefMut for Area {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.meant();
        self.memory.bytes_of_mut(length)
    }
}
