//! Devices that are kept back (P8): a partition's own, which reach it, and which it reaches, when they were granted in this life.

use core::sync::atomic::Ordering;

use shikiri_core::partition::Holdings;
use shikiri_core::policy::Refusal;
use shikiri_core::policy::request::{Decision, DevicePlace};
use shikiri_vgic::{Here, VcpuSet};

use super::live::Live;
use super::run;
use crate::hw::mem::Ram;
use crate::hw::tlb::MachineTlb;
use crate::percore::CoreLocal;
use crate::world::Slot;

/// A device that is kept back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    path: &'static str,
    bit: u64,
}

impl Kept {
    /// The one with this number, if there is one.
    #[inline(never)]
    pub(super) fn find(slot: &Slot, number: u8) -> Option<Self> {
        let path = slot.description().kept_devices().nth(number.into())?;
        Some(Self { path, bit: 1_u64.checked_shl(number.into())? })
    }

    /// Whether this life has it.
    pub(super) fn is_given(self, live: &Live) -> bool {
        live.given.load(Ordering::Acquire) & self.bit != 0
    }

    /// Where it is, as an answer tells it.
    #[inline(never)]
    pub(super) fn place(self, slot: &Slot) -> Decision {
        let description = slot.description();
        let first = description.devices().find(|device| device.path == self.path);
        let interrupt = description.interrupts().find(|interrupt| interrupt.path == self.path);
        let at = first.map(|device| device.ipa).unwrap_or_default();
        Decision::Placed(DevicePlace::new(at, interrupt.map(|interrupt| interrupt.virtual_id)))
    }

    /// Gives it to this life, if it has not got it yet: nothing of it can fail. The partition's work is not locked, and stays what it is,
    /// as its lifecycle and the policy's books are.
    #[cold]
    #[inline(never)]
    pub(super) fn give(self, core: &CoreLocal, live: &Live) -> Result<Decision, Refusal> {
        let slot = live.slot;
        if self.is_given(live) {
            return Ok(self.place(slot));
        }
        let description = slot.description();
        let mut work = slot.work.lock();
        let holdings: &mut Holdings = &mut work.as_mut().ok_or(Refusal::PeerGone)?.holdings;
        holdings.map_kept(description, self.path, (&Ram, &MachineTlb));
        drop(work);
        let interface = core.interface(live);
        let is_here = core.loaded.filter(|loaded| core::ptr::eq(loaded.live, live));
        let mut kicks = VcpuSet::EMPTY;
        let mut devices = live.devices.lock();
        for interrupt in description.interrupts().filter(|it| it.path == self.path) {
            let here = Here { hw: &interface, vcpu: is_here.map(|loaded| loaded.vcpu.index) };
            let mut vgic = devices.vgic(&live.quicks);
            let kick = vgic.link_late(here, interrupt.virtual_id, interrupt.physical);
            kicks = kicks.union(kick);
        }
        drop(devices);
        // What is moderated is let through from here on, and its other vCPUs are told at once that it is there: they use the device, and
        // its interrupts are cleared no more.
        live.given.fetch_or(self.bit, Ordering::Release);
        run::kick_vcpus(core.world, live, kicks);
        Ok(self.place(slot))
    }
}

/// Whether a register of this device is to be kept from this life: it is kept back, and was not given.
pub(crate) fn is_closed(live: &Live, path: &str) -> bool {
    let given = live.given.load(Ordering::Acquire);
    let mut kept = live.slot.description().kept_devices();
    let number = kept.position(|kept| kept == path).and_then(|number| u32::try_from(number).ok());
    let bit = number.and_then(|number| 1_u64.checked_shl(number));
    bit.is_some_and(|bit| given & bit == 0)
}
