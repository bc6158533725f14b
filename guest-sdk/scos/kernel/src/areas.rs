//! Message areas in the address spaces of programs, and what the hypervisor's interrupts tell (C8).

use shikiri_scos_core::{Guest, PAGE, Protection, Space};
use shikiri_scos_files::socket::Arrived;
use shikiri_scos_files::{AreaId, Errno, Mapping};

use crate::console::say;
use crate::hypervisor::Event;
use crate::kernel::Kernel;

/// What of an area is mapped, and how.
pub(crate) struct View {
    /// The area, and where it is.
    pub(crate) area: (AreaId, Arrived),
    /// From which of its bytes on; whole pages.
    pub(crate) offset: u64,
    /// How many bytes; whole pages.
    pub(crate) bytes: u64,
    pub(crate) protection: Protection,
    /// Whether the program may write there.
    pub(crate) may_write: bool,
}

impl View {
    /// All of an area, to be read and written.
    pub(crate) fn of((area, place): (AreaId, Arrived)) -> Self {
        Self {
            area: (area, place),
            offset: 0,
            bytes: place.pages.saturating_mul(PAGE),
            protection: Protection::DATA,
            may_write: true,
        }
    }
}

impl Kernel {
    /// Maps an area into an address space at an address. The files are told by the caller.
    ///
    /// # Errors
    /// ENXIO for what lies behind the area; those of the space.
    pub(crate) fn map_area(
        &mut self,
        asid: u16,
        start: u64,
        view: &View,
    ) -> Result<Mapping, Errno> {
        let (area, place) = view.area;
        let end = view.offset.checked_add(view.bytes);
        if end.is_none_or(|end| end > place.pages.saturating_mul(PAGE)) {
            return Err(Errno::ENXIO);
        }
        let guest = Guest {
            start,
            end: start.checked_add(view.bytes).ok_or(Errno::ENOMEM)?,
            physical: place.address.saturating_add(view.offset),
            may_write: view.may_write,
            owner: area.number(),
            is_gone: false,
        };
        let (space, _) = self.spaces.get_mut(&asid).ok_or(Errno::EFAULT)?;
        space.map_guest(&mut self.pool, guest, view.protection)?;
        Ok(Mapping { space: u64::from(asid), address: start })
    }

    /// Before a program runs: what was unmapped is told to the files, and what is another's is taken away.
    pub(crate) fn settle_areas(&mut self) {
        if self.has_requests {
            self.has_requests = self.files.signal_event();
        }
        while let Some((asid, guest)) = self.unmapped() {
            self.forget_area(asid, &guest);
        }
        while let Some(revoked) = self.files.revoked() {
            let asid = u16::try_from(revoked.mapping.space).unwrap_or(0);
            if let Some((space, _)) = self.spaces.get_mut(&asid) {
                space.revoke(&mut self.pool, revoked.mapping.address, revoked.is_place_kept);
            }
        }
    }

    /// What was unmapped from any space.
    fn unmapped(&mut self) -> Option<(u16, Guest)> {
        let mut spaces = self.spaces.iter_mut();
        spaces.find_map(|(asid, (space, _))| space.unmapped().map(|guest| (*asid, guest)))
    }

    /// A space is about to end, with the areas that are mapped there.
    pub(crate) fn forget_areas(&mut self, space: &mut Space) {
        let (_, asid) = space.root();
        while let Some(guest) = space.unmapped() {
            self.forget_area(asid, &guest);
        }
        for guest in space.guests().iter().filter(|guest| !guest.is_gone) {
            self.forget_area(asid, guest);
        }
    }

    fn forget_area(&mut self, asid: u16, guest: &Guest) {
        let mapping = Mapping { space: u64::from(asid), address: guest.start };
        self.files.unmap_area(AreaId::of(guest.owner), mapping);
    }

    /// An interrupt that is no device's.
    pub(crate) fn channel_event(&mut self, intid: u32) {
        match self.files.channels().event(intid) {
            Some(Event::Port(port)) => self.files.port_event(port),
            // A request of our own may have been answered as well: its port tells.
            Some(Event::Requests) => {
                self.be_quiet(intid);
                self.has_requests = true;
            }
            // A port's that was just closed.
            None if intid >= 32 => {}
            None => say(format_args!("interrupt {intid} is nobody's")),
        }
    }
}
