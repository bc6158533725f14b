//! The machine: what all cores share.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use shikiri_abi::{CoreId, IntId, Pa, PageCount, PartitionId, PartitionSlot, Resource};
use shikiri_arch::board::OwnRegisters;
use shikiri_arch::exit::MmioAccess;
use shikiri_arch::idreg::IdTable;
use shikiri_config::{
    Bundle, DRAFT_VCPUS, Draft, Interrupt, MAX_PARTITIONS, MAX_SHARED, Partition, Talk, Unanswered,
};
use shikiri_core::account::Line;
use shikiri_core::area::Areas;
use shikiri_core::console::Name;
use shikiri_core::handle::Handle;
use shikiri_core::invariants::Audit;
use shikiri_core::lifecycle::start::{self, Complete, Other};
use shikiri_core::lifecycle::{EndCause, Lifecycle, Phase};
use shikiri_core::object::Objects;
use shikiri_core::partition::build::{Builder, HardwarePage};
use shikiri_core::partition::{FrameStore, Holdings};
use shikiri_core::policy::{HandOut, News, Notices, Requests};
use shikiri_core::sched::{Admitted, CoreBook, Exchange};
use shikiri_core::share::Claim;
use shikiri_core::vmid::{VmidLease, VmidPool};
use shikiri_core::vuart::ConsolePort;
use shikiri_drivers::{BcmPower, Gic, Gich, Trigger};
use shikiri_pages::PageBox;
use shikiri_stage2::Format;
use shikiri_sync::{TicketLock, rank};

use crate::console::{self, Console, say};
use crate::guest::live::Live;
use crate::guest::{books, kept};
use crate::hw::mem::Ram;
use crate::percore::CoreShared;
use crate::place::{Described, DraftCell, Homes, Peers};

/// The SGI that asks a core to bring its vCPU's list registers up to date.
pub(crate) const SGI_SYNC: u16 = 0;
/// The SGI that asks a core to look at its inbox.
pub(crate) const SGI_SCHEDULE: u16 = 1;

/// What the partition's worker holds between its steps.
pub(crate) struct Work {
    /// The incarnation's account and all that stands on it.
    pub(crate) holdings: Holdings,
    /// How far the build is.
    pub(crate) builder: Option<Builder>,
    /// Its VMID.
    pub(crate) vmid: Option<VmidLease>,
    /// The incarnation, once it is complete.
    pub(crate) live: Option<PageBox<Live>>,
}

/// One partition of the description, over all its incarnations; or a place for those that are made at run time.
pub(crate) struct Slot {
    /// Its number.
    pub(crate) number: PartitionSlot,
    /// What describes it.
    described: Described,
    /// Its life.
    pub(crate) lifecycle: TicketLock<Lifecycle, rank::Machine>,
    /// The life's phase, for cores that only look.
    phase: AtomicU8,
    /// What its worker holds. The worker runs on vCPU 0's home core.
    pub(crate) work: TicketLock<Option<Work>, rank::Tables>,
    /// Its incarnation, while cores may look at it (`guest::worker::live`).
    pub(crate) live: AtomicPtr<Live>,
    /// Its console's two byte streams.
    pub(crate) port: ConsolePort,
    /// Where its vCPUs live.
    pub(crate) homes: Homes,
    /// Whom it may ask for connections now, and whose requests it gets: a bit for each place.
    pub(crate) peers: Peers,
    /// The policy program has started it: who did so knows, and the console does not tell.
    pub(crate) is_quiet: AtomicBool,
    /// A life of it has opened all that the description gives it.
    pub(crate) has_ends: AtomicBool,
    /// How many partitions were made here, one after another.
    pub(crate) made: AtomicU32,
    /// Which of its devices are given to partitions that were made, a bit for each: until they are back it cannot be started. Bits
    /// are set under its lifecycle's lock.
    pub(crate) given: AtomicU64,
}

/// Who owns a physical interrupt, one word: bits 0 to 15 the slot's number + 1, bits 16 to 31 what the owner sees; 0 is nobody. A
/// device that is given away takes its routes with it.
#[derive(Debug, Default)]
pub(crate) struct Route(AtomicU32);

impl Route {
    /// From here on it is `owner`'s.
    fn set(&self, owner: PartitionSlot, virtual_id: IntId) {
        let word = u32::from(owner.0).saturating_add(1) | u32::from(virtual_id.0) << 16;
        self.0.store(word, Ordering::Relaxed);
    }
}

impl Slot {
    /// A partition of the description, which was never started.
    pub(crate) fn new(
        number: PartitionSlot,
        description: Partition<'static>,
        homes: Homes,
    ) -> Self {
        let peers = Peers::new(description.talk);
        Self::with(number, (Described::fixed(description), homes, peers), Lifecycle::new())
    }

    /// A place for partitions that are made at run time.
    pub(crate) fn spare(number: PartitionSlot, draft: &'static DraftCell, homes: Homes) -> Self {
        let peers = Peers::new(Talk::default());
        Self::with(number, (Described::draft(draft), homes, peers), Lifecycle::spare())
    }

    fn with(
        number: PartitionSlot,
        (described, homes, peers): (Described, Homes, Peers),
        lifecycle: Lifecycle,
    ) -> Self {
        let key = u32::from(number.0);
        let phase = AtomicU8::new(lifecycle.phase().code());
        Self {
            number,
            described,
            lifecycle: TicketLock::with_key(lifecycle, key),
            phase,
            work: TicketLock::with_key(None, key),
            live: AtomicPtr::new(core::ptr::null_mut()),
            port: ConsolePort::new(),
            homes,
            peers,
            is_quiet: AtomicBool::new(false),
            has_ends: AtomicBool::new(false),
            made: AtomicU32::new(0),
            given: AtomicU64::new(0),
        }
    }

    /// What describes it: for its worker, for cores that have a vCPU of it or visit it, and under the lifecycle's lock. Of one that
    /// is only being created there is nothing yet.
    #[inline]
    pub(crate) fn description(&self) -> &Partition<'static> {
        self.described.get()
    }

    /// Whether its partitions are made at run time.
    pub(crate) const fn is_spare(&self) -> bool {
        self.described.is_draft()
    }

    /// Its draft, while it is being created; `lifecycle` is its own, and locked.
    pub(crate) fn draft<'l>(&'l self, lifecycle: &'l mut Lifecycle) -> Option<&'l mut Draft> {
        self.described.draft_of(lifecycle)
    }

    /// The draft becomes what describes the partition, until [`Slot::withdraw`]; `lifecycle` is its own, and locked.
    pub(crate) fn publish(&self, lifecycle: &mut Lifecycle) {
        self.described.publish(lifecycle);
    }

    /// Nothing describes the partition any more, of which nothing is left; `lifecycle` is its own, and locked.
    pub(crate) fn withdraw(&self, lifecycle: &mut Lifecycle) {
        self.described.withdraw(lifecycle);
    }

    /// Reads what describes it, or its draft; `lifecycle` is its own, and locked.
    pub(crate) fn read<R>(
        &self,
        lifecycle: &mut Lifecycle,
        read: impl FnOnce(&Partition<'_>) -> R,
    ) -> R {
        // One place that reads: what it does is in the code once.
        let view;
        let partition = match self.draft(lifecycle) {
            Some(draft) => {
                view = draft.view();
                &view
            }
            None => self.description(),
        };
        read(partition)
    }

    /// Its name.
    pub(crate) fn name(&self) -> Name {
        let mut lifecycle = self.lifecycle.lock();
        self.read(&mut lifecycle, |partition| Name::new(partition.name))
    }

    /// One line of the present incarnation's account.
    pub(crate) fn account_line(&self, resource: Resource) -> Line {
        self.work
            .lock()
            .as_ref()
            .map_or(Line::default(), |work| work.holdings.account().line(resource))
    }

    /// The phase at this moment.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_code(self.phase.load(Ordering::Acquire))
    }

    /// Publishes a phase; under the lifecycle's lock.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase.code(), Ordering::Release);
    }
}

/// What the policy program's calls keep.
pub(crate) struct Policy {
    /// The place of the partition that holds the capability.
    pub(crate) holder: Option<PartitionSlot>,
    /// Its books.
    pub(crate) books: TicketLock<PolicyBooks, rank::Policy>,
    /// What becomes of a request that is not answered.
    pub(crate) default: Unanswered,
    /// How long an answer may take, in ticks.
    pub(crate) answer_ticks: u64,
    /// A name is being given: no two calls give the same one.
    pub(crate) is_naming: AtomicBool,
}

/// The books of the policy program's calls.
pub(crate) struct PolicyBooks {
    /// Ends that it has not been told of.
    pub(crate) notices: Notices<'static>,
    /// What partitions ask for.
    pub(crate) requests: Requests<'static>,
    /// What it has handed out.
    pub(crate) handout: HandOut<'static>,
    /// What is promised of each core.
    pub(crate) cores: CoreBook,
    /// Slots for message areas that partitions made at run time can still be given together: each may hold an area, and each area
    /// has a row in the ledger's registry.
    pub(crate) area_rows: u64,
    /// The promises to partitions that were made at run time, by place behind the description's.
    pub(crate) promises: &'static mut [[Option<Admitted>; DRAFT_VCPUS]],
    /// Whether it has been told since it looked last.
    pub(crate) news: News,
    /// The incarnation that wants to be told, and at which receive port.
    pub(crate) told_at: Option<(PartitionId, Handle)>,
}

/// The machine.
pub(crate) struct World {
    /// The checked bundle.
    pub(crate) bundle: Bundle<'static>,
    /// The partitions of the description.
    pub(crate) slots: &'static [Slot],
    /// The cores.
    pub(crate) cores: &'static [CoreShared],
    /// The one that booted.
    pub(crate) boot_core: CoreId,
    /// Where idle cores and busy ones find each other.
    pub(crate) exchange: Exchange,
    /// Who owns which physical interrupt, by INTID.
    pub(crate) routes: &'static [Route],
    /// The interrupt controller.
    pub(crate) gic: Gic,
    /// GICv2's virtual interface control.
    pub(crate) gich: Option<Gich>,
    /// GICv2's virtual CPU interface, a page for the guests.
    pub(crate) gicv: Option<Pa>,
    /// The registers that no guest's table may lead to.
    pub(crate) own_registers: OwnRegisters,
    /// The console UART's interrupt.
    pub(crate) uart_intid: IntId,
    /// Interrupts that were nobody's.
    pub(crate) stray_interrupts: AtomicU64,
    /// All frames: whose they are, and which are free.
    pub(crate) frames: FrameStore<'static, Ram>,
    /// Taken by whoever waits for a partition's lock with another's in hand.
    pub(crate) meeting: TicketLock<(), rank::Meeting>,
    /// Free VMIDs.
    pub(crate) vmids: TicketLock<VmidPool, rank::Ledger>,
    /// The format of all stage-2 tables.
    pub(crate) format: Format,
    /// The guests' view of the feature registers.
    pub(crate) ids: &'static IdTable,
    /// What the policy program keeps here, if the description gives the capability to somebody, or answers requests by itself.
    pub(crate) policy: Option<&'static Policy>,
    /// Named objects.
    pub(crate) objects: Objects<'static>,
    /// Where each shared area of the description is.
    pub(crate) shared: [Claim; MAX_SHARED],
    /// The console.
    pub(crate) console: &'static TicketLock<Console, rank::Console>,
    /// Whether the hypervisor has written to the console since it was tended.
    pub(crate) console_is_due: AtomicBool,
    /// The next partition id.
    pub(crate) next_id: AtomicU32,
    /// Counter ticks per millisecond.
    pub(crate) ticks_per_ms: u64,
    /// Whether PSCI can turn the machine off.
    pub(crate) has_psci: bool,
    /// What turns a board without PSCI off, if that is known.
    pub(crate) bcm_power: TicketLock<Option<BcmPower>, rank::Machine>,
}

impl World {
    /// The partition that owns a physical interrupt, and the number that it expects.
    #[inline]
    pub(crate) fn owner_of(&self, physical: IntId) -> Option<(&'static Slot, IntId)> {
        let route = self.routes.get(usize::from(physical.0))?;
        let [low, high, a, b] = route.0.load(Ordering::Relaxed).to_le_bytes();
        let owner = u16::from_le_bytes([low, high]).checked_sub(1)?;
        Some((self.slots.get(usize::from(owner))?, IntId(u16::from_le_bytes([a, b]))))
    }

    /// The interrupts of the device with this path go to `owner`, as `description` has them.
    pub(crate) fn route_device(
        &self,
        description: &Partition<'_>,
        path: &str,
        owner: PartitionSlot,
    ) {
        for interrupt in description.interrupts().filter(|interrupt| interrupt.path == path) {
            if let Some(route) = self.routes.get(usize::from(interrupt.physical.0)) {
                route.set(owner, interrupt.virtual_id);
            }
        }
    }

    /// What a partition gets mapped of the interrupt controller: GICv2's virtual CPU interface, whose second page
    /// (GICC_DIR) is emulated.
    pub(crate) fn virtual_cpu_interface(&self, slot: &Slot) -> Option<HardwarePage> {
        let ipa = slot.description().platform.cpu_interface;
        self.gicv.map(|pa| HardwarePage { ipa, pa, pages: PageCount(1) })
    }

    /// Sets the trigger and the priority of an owned interrupt, once, on the boot core (16 share a register);
    /// it stays disabled until its guest enables it.
    pub(crate) fn prepare_interrupt(&self, interrupt: &Interrupt<'_>) {
        let trigger = if interrupt.edge { Trigger::Edge } else { Trigger::Level };
        self.gic.spis().set_trigger(interrupt.physical, trigger);
        self.gic.spis().set_priority(interrupt.physical, 0xa0);
    }

    /// Whether a complete partition waits for no other one: what [`start::may_start`] says.
    pub(crate) fn may_start(&self, live: &Live) -> bool {
        let Partition { start_order, autostart, .. } = *live.slot.description();
        let partners = self.bundle.partners(usize::from(live.slot.number.0));
        let is_to_end = live.slot.lifecycle.lock().cause().is_some();
        let own = Complete { start_order, autostart, starts: live.starts, is_to_end, partners };
        let others = self.slots.iter().filter(|other| !other.is_spare()).map(|other| {
            let Partition { start_order, autostart, .. } = *other.description();
            let (phase, has_ends) = (other.phase(), other.has_ends.load(Ordering::Acquire));
            Other { number: other.number, start_order, autostart, phase, has_ends }
        });
        start::may_start(&own, others)
    }

    /// Where a moderated device's register lies, if the access is within what the partition owns, and has.
    pub(crate) fn moderated(&self, live: &Live, access: &MmioAccess) -> Option<Pa> {
        let description = live.slot.description();
        description.devices().filter(|device| device.moderated).find_map(|device| {
            let offset = access.ipa.offset_from(device.ipa)?;
            let end = offset.checked_add(access.bytes())?;
            // Registers of such devices are words at most; a bus may answer a double word with an abort.
            let is_plain = access.bytes() <= 4 && access.ipa.is_aligned(access.bytes());
            let is_inside = end <= device.bytes && is_plain;
            let is_open = !device.is_kept || !kept::is_closed(live, device.path);
            (is_inside && is_open).then(|| device.pa.wrapping_add(offset))
        })
    }

    /// Compares all books on frames with one another. Takes time in proportion to the machine's RAM, during which
    /// this core does nothing else and nobody gets or gives a frame: for the operator and the tests.
    pub(crate) fn audit(&self) -> Audit {
        let before = self.moment();
        let mut audit = Audit::default();
        let mem = (&Ram, &self.own_registers);
        for slot in self.slots {
            let work = slot.work.lock();
            let holdings = work.as_ref().map(|work| &work.holdings);
            let is_right = self
                .frames
                .with_books(|ledger, _pool| audit.partition(ledger, mem, slot.number, holdings));
            if !is_right {
                return audit;
            }
        }
        // A call holds its partition's lock from the pool to the ledger: with all of them no frame is in a call's hands. Whoever calls
        // meanwhile waits for one pass over the ledger, and so does a guest that is about to take an abort.
        let mut works: [_; MAX_PARTITIONS] = core::array::from_fn(|_| None);
        for (place, slot) in works.iter_mut().zip(self.slots) {
            *place = Some(slot.work.lock());
        }
        let is_quiet = works.iter().flatten().all(|work| {
            let holdings = work.as_ref().map(|work| &work.holdings);
            holdings.and_then(Holdings::areas).is_none_or(Areas::is_quiet)
        });
        self.frames.with_books(|ledger, pool| audit.frames(ledger, pool));
        drop(works);
        // Nor is one in a worker's, or on its way into an area.
        if !is_quiet || before.is_none() || before != self.moment() {
            audit.forget_frames();
        }
        audit
    }

    /// Whether somebody has had books on frames to write since this was last asked: the ledger, the pool, or what a partition holds.
    pub(crate) fn take_books_written(&self) -> bool {
        let held = self.slots.iter().fold(false, |is, slot| slot.work.take_written() | is);
        self.frames.take_written() | held
    }

    /// How many lives have begun and how many partitions live, if none is being built or taken apart. Lives only
    /// begin and end: two equal answers mean that none did in between, and so that no frame was in a worker's hands.
    fn moment(&self) -> Option<(u64, u64)> {
        let begun = u64::from(self.next_id.load(Ordering::Relaxed));
        let living = self.slots.iter().try_fold(0_u64, |living, slot| {
            let is_living = lives(slot.lifecycle.lock().phase())?;
            Some(living.saturating_add(u64::from(is_living)))
        })?;
        Some((begun, living))
    }

    /// Turns the machine off when every partition has ended by itself and none will restart.
    pub(crate) fn power_off_if_all_ended(&self) {
        let is_over = self.slots.iter().all(|slot| {
            let lifecycle = slot.lifecycle.lock();
            matches!(
                lifecycle.phase(),
                Phase::Ended | Phase::Free | Phase::Created | Phase::Leaving
            ) && lifecycle.restart_at().is_none()
                && lifecycle.cause() != Some(EndCause::Operator)
        });
        if is_over {
            say!(self, "all partitions have ended: powering off");
            self.power_off();
        }
    }

    /// Turns the machine off, the last words first.
    pub(crate) fn power_off(&self) -> ! {
        books::tell(self);
        console::flush(self);
        if self.has_psci {
            // A firmware that refuses leaves the machine on; there is nobody left to tell.
            smccc::psci::system_off::<smccc::Smc>().unwrap_or_default();
        } else if let Some(power) = self.bcm_power.lock().as_mut() {
            power.halt();
        }
        crate::fault::stop()
    }
}

/// The routing table of the description.
pub(crate) fn routes(bundle: &Bundle<'_>, table: &[Route]) {
    for (owner, partition) in (0..).map(PartitionSlot).zip(bundle.partitions()) {
        for interrupt in partition.interrupts() {
            if let Some(route) = table.get(usize::from(interrupt.physical.0)) {
                route.set(owner, interrupt.virtual_id);
            }
        }
    }
}

/// Whether a partition in this phase lives; `None` while it is being built or taken apart.
pub(crate) const fn lives(phase: Phase) -> Option<bool> {
    match phase {
        Phase::Ended | Phase::Free | Phase::Created | Phase::Leaving => Some(false),
        Phase::Active | Phase::Held | Phase::Paused => Some(true),
        Phase::Building | Phase::Ending | Phase::TearingDown => None,
    }
}
