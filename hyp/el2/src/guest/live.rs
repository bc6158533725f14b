//! A partition's incarnation as the cores see it: its vCPUs, its virtual devices.
//!
//! [`Live`] is made by the partition's worker before the first vCPU runs and taken apart after the last has
//! stopped; in between, cores hold shared references to it. What changes is atomic, under the one device lock
//! (`devices`), or owned by the core that has a vCPU (`Vcpu::own`).
#![expect(unsafe_code, reason = "a vCPU's own state is reached by the core that has it")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use shikiri_abi::{CoreId, Ipa, PartitionId, Resource, VcpuIndex};
use shikiri_arch::idreg::PmuView;
use shikiri_config::{GicVersion, Platform};
use shikiri_core::account::Line;
use shikiri_core::call::CallView;
use shikiri_core::party;
use shikiri_core::power::{LiveVcpus, Start, VcpuPower};
use shikiri_core::psci::PsciView;
use shikiri_core::report::ExitRing;
use shikiri_core::sysreg::PhysicalTimer;
use shikiri_core::vuart::VirtualUart;
use shikiri_pages::{PageBox, PageSlice};
use shikiri_sync::{TicketLock, rank};
use shikiri_vgic::{CpuInterface, Distributor, Quick, QuickSpis, Vgic};

use super::context::Context;
use crate::place::Home;
use crate::world::Slot;

/// No core.
const NOWHERE: u8 = u8::MAX;

/// The device models of a partition, under one lock.
pub(crate) struct Devices {
    /// The virtual GIC's distributor.
    pub(crate) distributor: PageBox<Distributor>,
    /// Its CPU interfaces, one per vCPU.
    pub(crate) interfaces: PageSlice<CpuInterface>,
    /// The virtual UART.
    pub(crate) uart: VirtualUart,
    /// Its ports and requests, if it may talk.
    pub(crate) talk: Option<party::Locked>,
}

impl Devices {
    /// The virtual GIC, opened; `quicks` are the partition's.
    #[inline]
    pub(crate) fn vgic<'a>(&'a mut self, quicks: &'a Quicks) -> Vgic<'a> {
        Vgic::open(&mut self.distributor, &mut self.interfaces, &quicks.vcpus, &quicks.spis)
    }
}

/// What the virtual GIC's short ways need, beside its lock.
pub(crate) struct Quicks {
    /// By vCPU.
    pub(crate) vcpus: PageSlice<Quick>,
    /// By SPI.
    pub(crate) spis: QuickSpis,
}

/// A partition that lives.
pub(crate) struct Live {
    /// Its id.
    pub(crate) id: PartitionId,
    /// Its place in the description.
    pub(crate) slot: &'static Slot,
    /// Its stage-2 root with its VMID, as VTTBR_EL2 holds it.
    pub(crate) vttbr: u64,
    /// Where its virtual devices are.
    pub(crate) platform: Platform,
    /// The virtual GIC's version.
    pub(crate) gic: GicVersion,
    /// Whether it has a virtual UART.
    pub(crate) has_console: bool,
    /// Whether it has the performance monitors of its cores.
    pub(crate) pmu: PmuView,
    /// How often the partition was started, this one included.
    pub(crate) starts: u32,
    /// How many vCPUs it has.
    pub(crate) vcpu_count: u64,
    /// How many of them, the first ones, may be turned on: the others are kept back until they are granted.
    pub(crate) usable: AtomicU8,
    /// Which of the devices that are kept back it was given, a bit for each.
    pub(crate) given: AtomicU64,
    /// The device models.
    pub(crate) devices: TicketLock<Devices, rank::Partition>,
    /// What their timers, SGIs and events need, beside that lock.
    pub(crate) quicks: Quicks,
    /// Its handles, which all cores may look at, if it may talk.
    pub(crate) talk: Option<party::Tables>,
    /// How many of the description's events its worker has looked at.
    pub(crate) events_opened: AtomicUsize,
    /// How many of the description's shared areas its worker has looked at.
    pub(crate) shared_opened: AtomicUsize,
    /// How many of its channels.
    pub(crate) channels_opened: AtomicUsize,
    /// The vCPUs.
    pub(crate) vcpus: PageSlice<Vcpu>,
    /// How many of them are not off.
    pub(crate) powered: LiveVcpus,
    /// vCPUs that have not stopped since.
    pub(crate) to_stop: AtomicU32,
}

impl Live {
    /// The short ways of a vCPU's interrupts.
    #[inline]
    pub(crate) fn quick(&self, index: VcpuIndex) -> Option<&Quick> {
        self.quicks.vcpus.get(usize::from(index.0))
    }

    /// A vCPU by index.
    #[inline]
    pub(crate) fn vcpu(&self, index: VcpuIndex) -> Option<&Vcpu> {
        self.vcpus.get(usize::from(index.0))
    }
}

impl CallView for Live {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn vcpu_count(&self) -> u64 {
        self.usable.load(Ordering::Relaxed).into()
    }

    fn starts(&self) -> u32 {
        self.starts
    }

    fn line(&self, resource: Resource) -> Line {
        self.slot.account_line(resource)
    }
}

impl PsciView for Live {
    fn power(&self, vcpu: VcpuIndex) -> Option<&VcpuPower> {
        let is_usable = vcpu.0 < self.usable.load(Ordering::Relaxed);
        self.vcpu(vcpu).filter(|_| is_usable).map(|vcpu| &vcpu.power)
    }

    fn live(&self) -> &LiveVcpus {
        &self.powered
    }

    fn is_memory(&self, at: Ipa) -> bool {
        self.slot
            .description()
            .memory()
            .any(|memory| at.offset_from(memory.ipa).is_some_and(|offset| offset < memory.bytes))
    }
}

/// What only the core that has the vCPU touches.
#[repr(C)]
pub(crate) struct Own {
    /// The architectural state.
    pub(crate) context: Context,
    /// The emulated physical timer.
    pub(crate) timer: PhysicalTimer,
    /// Whether it waits in WFI.
    pub(crate) is_waiting: bool,
    /// Whether the virtual timer's physical interrupt was held for it when it left its core. Another vCPU may have ended it
    /// since: `Vgic::holds_physical` knows.
    pub(crate) timer_active: bool,
    /// How much of its partition's memory is cleaned, while maintenance by set and way is under way.
    pub(crate) clean: Option<u64>,
}

impl Own {
    /// Brings everything to its state at a start.
    pub(crate) fn start(&mut self, start: Start, mpidr: u64) {
        self.context.start(start.entry, start.context, mpidr);
        self.timer = PhysicalTimer::new();
        self.is_waiting = false;
        self.timer_active = false;
        self.clean = None;
    }
}

/// A vCPU.
#[repr(C)]
pub(crate) struct Vcpu {
    own: UnsafeCell<Own>,
    /// Its last exits: the core that has it adds to them, all may look.
    pub(crate) exits: ExitRing,
    /// Its index in the partition.
    pub(crate) index: VcpuIndex,
    /// Its power state.
    pub(crate) power: VcpuPower,
    /// Its home core.
    pub(crate) home: CoreId,
    /// Whether it shares its core: WFI and WFE trap then.
    pub(crate) is_shared: bool,
    /// Whether it is out of the race on its seat until something wakes it: only then is a new interrupt worth a
    /// word to its home core.
    pub(crate) is_asleep: AtomicBool,
    /// Whether it has stopped for the partition's end.
    pub(crate) has_stopped: AtomicBool,
    /// The operator wants to see its registers: the core that has it shows them.
    pub(crate) dump_is_wanted: AtomicBool,
    /// The core that has it loaded, or `NOWHERE`. Changed under the device lock.
    loaded_on: AtomicU8,
}

// SAFETY: `own` is reached through `Vcpu::own` only, whose contract makes the access exclusive; the rest is
// atomic or never changes.
unsafe impl Sync for Vcpu {}

impl Vcpu {
    /// A vCPU that is off and on no core.
    pub(crate) fn new(own: Own, index: VcpuIndex, home: Home) -> Self {
        Self {
            own: UnsafeCell::new(own),
            exits: ExitRing::new(),
            index,
            power: VcpuPower::new(),
            home: home.core,
            is_shared: home.is_shared,
            is_asleep: AtomicBool::new(false),
            has_stopped: AtomicBool::new(false),
            dump_is_wanted: AtomicBool::new(false),
            loaded_on: AtomicU8::new(NOWHERE),
        }
    }

    /// The vCPU's own state.
    ///
    /// # Safety
    /// The caller runs on the core that the scheduler gave the vCPU to (its home, or the core that it is lent to), or
    /// the partition has no core any more; and no other reference from this function is alive.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "a cell, exclusive by contract")]
    pub(crate) unsafe fn own(&self) -> &mut Own {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.own.get() }
    }

    /// The address of the context, for the vectors.
    #[inline]
    pub(crate) fn context(&self) -> *mut Context {
        self.own.get().cast()
    }

    /// The core that has it loaded.
    #[inline]
    pub(crate) fn loaded_on(&self) -> Option<CoreId> {
        let core = self.loaded_on.load(Ordering::Relaxed);
        (core != NOWHERE).then_some(CoreId(core))
    }

    /// Says where it is loaded; under the device lock.
    #[inline]
    pub(crate) fn set_loaded_on(&self, core: Option<CoreId>) {
        self.loaded_on.store(core.map_or(NOWHERE, |core| core.0), Ordering::Relaxed);
    }
}
