//! A message area as an owned value.

use core::mem;
use core::ops::{Deref, DerefMut};

use shikiri_abi::{AreaClass, PageCount, Status, WindowSlot};
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
    class: AreaClass,
    /// None if the place is not seen: an area of 1 GiB behind the 126th slot.
    memory: Option<Memory>,
    length: usize,
    /// The port in whose window it lies.
    home: Option<Home>,
}

impl Area {
    /// Makes an area of so many bytes, all 0, in a slot of this class: that of the windows that it shall be sent to. The vCPU makes
    /// calls until it is complete, some 256 KiB with each.
    ///
    /// # Errors
    /// `Range` if the class does not hold it; `OverLimit`, `NoMemory`.
    pub fn alloc(windows: Windows, class: AreaClass, bytes: usize) -> Result<Self, Refusal> {
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        let message::Area { handle, address, pages } = message::alloc(wanted, class)?;
        let memory = windows.memory(address, pages);
        let mut area = Self { handle, class, memory, length: 0, home: None };
        area.set_len(bytes);
        Ok(area)
    }

    /// An area that has come to a port.
    pub(crate) fn received(windows: Windows, parcel: Parcel, home: Home) -> Self {
        let Parcel { handle, address, pages, bytes } = parcel;
        let class = WindowSlot::at(address).map_or(AreaClass::Page, |slot| slot.class);
        let memory = windows.memory(address, pages);
        let handle = Handle(handle);
        let mut area = Self { handle, class, memory, length: 0, home: Some(home) };
        area.set_len(usize::try_from(bytes).unwrap_or(usize::MAX));
        area
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> AreaClass {
        self.class
    }

    /// How many bytes it has; those behind its length are whatever was written there before, by any of its owners.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.as_ref().map_or(0, Memory::bytes)
    }

    /// How large it is in pages.
    #[must_use]
    pub fn pages(&self) -> PageCount {
        PageCount::for_bytes(u64::try_from(self.capacity()).unwrap_or(0))
    }

    /// Changes its length, up to its capacity.
    pub fn set_len(&mut self, length: usize) {
        self.length = length.min(self.capacity());
    }

    /// Its virtual address, a multiple of 4096 (0 if it is not seen).
    #[must_use]
    pub fn address(&self) -> usize {
        self.memory.as_ref().map_or(0, Memory::address)
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

    /// Whether it lies in a port's window, and so takes room there.
    #[must_use]
    pub const fn is_in_window(&self) -> bool {
        self.home.is_some()
    }

    /// Forgets an area that was sent: it is the peer's.
    pub(crate) fn has_gone(mut self) {
        let home = self.home.take();
        mem::forget(self);
        if let Some(home) = home {
            home.has_room();
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // It is ours until here.
        let _freed = message::free(self.handle);
        if let Some(home) = self.home {
            home.has_room();
        }
    }
}

impl Deref for Area {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| memory.bytes_of(self.length))
    }
}

impl DerefMut for Area {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Some(memory) => memory.bytes_of_mut(self.length),
            None => &mut [],
        }
    }
}
