//! What each core has: its own block, reached through TPIDR_EL2, and the part that others may touch.
#![expect(unsafe_code, reason = "TPIDR_EL2 and the vectors hold raw pointers")]

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shikiri_abi::CoreId;
use shikiri_core::event::Visitor;
use shikiri_core::power::Start;
use shikiri_core::sched::{Alarms, Inbox, RunQueue};
use shikiri_drivers::{CoreGic, CoreTarget};
use shikiri_sync::{KickSet, Once};
use shikiri_vgic::Quick;

use crate::guest::context::Context;
use crate::guest::live::{Live, Vcpu};
use crate::hw::gic::VirtualInterface;
use crate::report::Unserved;
use crate::world::World;

/// What other cores may touch.
pub(crate) struct CoreShared {
    /// What they leave for the scheduler.
    pub(crate) inbox: Inbox,
    /// The home cores of vCPUs that live elsewhere and may come here. One that a partition had that was destroyed stays: it is then
    /// called for nothing.
    pub(crate) lenders: KickSet,
    /// Whether the core takes part: set once, when it is up.
    pub(crate) is_up: AtomicBool,
    /// How the interrupt controller addresses it, once it is up.
    target: Once<CoreTarget>,
    /// The PSCI or spin-table identity.
    pub(crate) mpidr: u64,
    /// Whose memory the core looks at without a lock.
    pub(crate) visitor: Visitor,
    /// Ticks that the core waited in EL2, for the operator.
    pub(crate) idle_ticks: AtomicU64,
}

impl CoreShared {
    /// A core that is not up.
    pub(crate) fn new(mpidr: u64) -> Self {
        Self {
            inbox: Inbox::new(),
            lenders: KickSet::new(),
            is_up: AtomicBool::new(false),
            target: Once::new(),
            mpidr,
            visitor: Visitor::new(),
            idle_ticks: AtomicU64::new(0),
        }
    }

    /// How to address it, once it is up.
    #[inline]
    pub(crate) fn announced(&self) -> Option<&CoreTarget> {
        self.target.get()
    }

    /// How to address it; before it is up, by its affinity.
    #[inline]
    pub(crate) fn target(&self) -> &CoreTarget {
        self.target.call_once(|| CoreTarget::from_mpidr(self.mpidr))
    }

    /// The core is up and is addressed so.
    pub(crate) fn announce(&self, target: CoreTarget) {
        self.target.call_once(|| target);
        self.is_up.store(true, Ordering::Release);
    }
}

/// The vCPU that is on this core.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    /// Its partition.
    pub(crate) live: &'static Live,
    /// Itself.
    pub(crate) vcpu: &'static Vcpu,
}

/// What an exit leaves to be done once the vCPU's registers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing: the scheduler was asked for.
    #[default]
    Nothing,
    /// It waits for an interrupt.
    Wait,
    /// It waits for an interrupt and starts anew then.
    Suspend(Start),
    /// It turns itself off.
    Off,
    /// It has made an exit that cannot be served: its partition is reported, and ends.
    Fault(Unserved),
    /// It asked for cache maintenance by set and way.
    CleanMemory,
}

/// A core's own block. The vectors know the offsets of the first two fields.
#[repr(C)]
pub(crate) struct CoreLocal {
    /// The context that the vectors store into.
    pub(crate) context: *mut Context,
    /// Top of the stack for our own faults.
    pub(crate) fault_stack: usize,
    /// Which core this is.
    pub(crate) id: CoreId,
    /// The machine.
    pub(crate) world: &'static World,
    /// HCR_EL2 without the wait traps.
    pub(crate) hcr: u64,
    /// This core's part of the interrupt controller.
    pub(crate) gic: CoreGic,
    /// The vCPU whose EL1 state and list registers are here.
    pub(crate) loaded: Option<Loaded>,
    /// The vCPUs that live here.
    pub(crate) queue: RunQueue,
    /// When a waiting vCPU's timer is due, by seat.
    pub(crate) wake_at: Alarms,
    /// When the scheduler wants to be asked again.
    pub(crate) ask_at: Option<u64>,
    /// When the loaded vCPU's physical timer is due.
    pub(crate) timer_at: Option<u64>,
    /// What the last exit left to be done.
    pub(crate) leave: Leave,
    /// When the console has to be looked at again, or a request's time is over.
    pub(crate) console_at: Cell<Option<u64>>,
    /// When the time is over for the answer to a request that was made here.
    pub(crate) request_at: Cell<Option<u64>>,
}

const _: () = assert!(offset_of!(CoreLocal, context) == 0);
const _: () = assert!(offset_of!(CoreLocal, fault_stack) == 8);

impl CoreLocal {
    /// A core that has just come up. A call writes it to its place; inlined, it is built on the stack and copied.
    #[inline(never)]
    pub(crate) fn new(
        id: CoreId,
        world: &'static World,
        gic: CoreGic,
        hcr: u64,
        fault_stack: usize,
    ) -> Self {
        Self {
            context: null_mut(),
            fault_stack,
            id,
            world,
            hcr,
            gic,
            loaded: None,
            queue: RunQueue::new(id),
            wake_at: Alarms::new(),
            ask_at: None,
            timer_at: None,
            leave: Leave::Nothing,
            console_at: Cell::new(None),
            request_at: Cell::new(None),
        }
    }

    /// What others see of this core.
    #[inline]
    pub(crate) fn shared(&self) -> Option<&'static CoreShared> {
        self.world.cores.get(usize::from(self.id.0))
    }

    /// The short ways of the loaded vCPU's interrupts.
    #[inline]
    pub(crate) fn quick(&self) -> Option<&'static Quick> {
        self.loaded.and_then(|Loaded { live, vcpu }| live.quick(vcpu.index))
    }

    /// The virtual interrupt interface of this core for a partition.
    #[inline]
    pub(crate) fn interface<'a>(&'a self, live: &'a Live) -> VirtualInterface<'a> {
        VirtualInterface { core: self, live: Some(live) }
    }
}

impl CoreLocal {
    /// Leaves the list registers empty and the virtual interface off, whatever firmware left there.
    pub(crate) fn clear_virtual_interface(&self) {
        shikiri_vgic::clear_hardware(&VirtualInterface { core: self, live: None });
    }
}

// SAFETY: the block is used by its own core only; it is made on the boot core or on its own.
unsafe impl Send for CoreLocal {}
