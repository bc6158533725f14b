//! A machine with a virtual GIC: cores, vCPUs that are loaded on them, and kicks.
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod ideal;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::ListRegisters;
use shikiri_model::vgic_hw::{PhysicalGic, VirtualInterface};
use shikiri_vgic::{
    Access, CpuInterface, Distributor, Frame, Here, Line, MmioOutcome, Model, Quick, QuickSpis,
    SgiRegister, Sleep, VcpuSet, Vgic, raise_without_lock, send_sgi1r, write_without_lock,
};

/// One partition's virtual GIC on some cores.
pub(crate) struct Machine {
    pub(crate) is_v2: bool,
    pub(crate) dist: Box<Distributor>,
    pub(crate) cpus: Vec<CpuInterface>,
    pub(crate) quicks: Vec<Quick>,
    pub(crate) spis: Box<QuickSpis>,
    pub(crate) cores: Vec<VirtualInterface>,
    /// Which vCPU is loaded on each core.
    pub(crate) loaded: Vec<Option<u8>>,
    pub(crate) physical: Rc<PhysicalGic>,
    /// vCPUs that are on no core and whose timers' lines are asserted.
    pub(crate) timers: BTreeSet<u8>,
    /// vCPUs that were kicked and have not been looked at.
    pub(crate) kicked: BTreeSet<u8>,
    /// Whether kicks and maintenance interrupts wait for [`Machine::drain`].
    pub(crate) is_delayed: bool,
    /// Whether what has a short way ([`Quick`]) takes it, if it can: both must come to the same.
    pub(crate) takes_short_ways: bool,
}

/// Runs `$body` with the opened virtual GIC and the hardware of the core.
macro_rules! with {
    ($machine:expr, $core:expr, |$vgic:ident, $here:ident| $body:expr) => {{
        let here_vcpu = $machine.loaded[$core].map(VcpuIndex);
        #[allow(unused_mut, reason = "not every operation changes it")]
        let mut $vgic =
            Vgic::open(&mut $machine.dist, &mut $machine.cpus, &$machine.quicks, &$machine.spis);
        let $here = Here { hw: &$machine.cores[$core], vcpu: here_vcpu };
        $body
    }};
}

/// A kick or a maintenance interrupt, as EL2 serves it: in a short way if that does it, else in general.
macro_rules! serve {
    ($machine:expr, $core:expr, $vcpu:expr) => {{
        let (hw, quick) = (&$machine.cores[$core], &$machine.quicks[usize::from($vcpu)]);
        let is_short = $machine.takes_short_ways
            && (if $machine.is_v2 { quick.sync_v2(hw) } else { quick.sync_v3(hw) }
                || quick.sync_spis(hw, VcpuIndex($vcpu), &$machine.spis));
        let is_served =
            is_short && (!hw.is_maintenance() || ($machine.is_v2 && quick.end_linked(hw)));
        if is_served {
            VcpuSet::EMPTY
        } else {
            with!($machine, $core, |vgic, here| vgic.sync(here.hw, VcpuIndex($vcpu)))
        }
    }};
}

impl Machine {
    pub(crate) fn new(
        model: Model,
        spis: u16,
        vcpus: usize,
        cores: usize,
        registers: usize,
    ) -> Self {
        let is_v2 = model == Model::V2;
        let physical = Rc::new(PhysicalGic::default());
        let mut machine = Self {
            is_v2,
            dist: Box::default(),
            cpus: (0..vcpus).map(|_| CpuInterface::new()).collect(),
            quicks: (0..vcpus).map(|_| Quick::new()).collect(),
            spis: Box::default(),
            cores: (0..cores)
                .map(|_| VirtualInterface::new(is_v2, registers, physical.clone()))
                .collect(),
            loaded: vec![None; cores],
            physical,
            timers: BTreeSet::new(),
            kicked: BTreeSet::new(),
            is_delayed: false,
            takes_short_ways: true,
        };
        let mut vgic =
            Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis);
        vgic.configure(model, spis);
        vgic.reset(&machine.cores[0]);
        machine
    }

    /// A machine on which each vCPU has its core, everything is enabled at its interface, and both groups
    /// are enabled at the distributor.
    pub(crate) fn running(model: Model, vcpus: usize, registers: usize) -> Self {
        let mut machine = Self::new(model, 64, vcpus, vcpus, registers);
        for vcpu in 0..vcpus {
            machine.load(vcpu, u8::try_from(vcpu).unwrap());
            machine.cores[vcpu].set_groups(3);
            machine.cores[vcpu].set_priority_mask(0xf8);
        }
        machine.write(0, Frame::Distributor, 0, 2, 3);
        machine
    }

    pub(crate) fn core_of(&self, vcpu: u8) -> Option<usize> {
        self.loaded.iter().position(|loaded| *loaded == Some(vcpu))
    }

    pub(crate) fn load(&mut self, core: usize, vcpu: u8) {
        assert!(self.loaded[core].is_none() && self.core_of(vcpu).is_none());
        let kick = with!(self, core, |vgic, here| {
            if vgic.holds_physical(VcpuIndex(vcpu), IntId(27)) {
                here.hw.active_ppis.borrow_mut().insert(27);
            }
            if self.timers.remove(&vcpu) {
                here.hw.asserted_ppis.borrow_mut().insert(27);
            }
            vgic.load(here.hw, VcpuIndex(vcpu))
        });
        self.loaded[core] = Some(vcpu);
        self.kicked.remove(&vcpu);
        self.after(kick);
    }

    pub(crate) fn unload(&mut self, core: usize) {
        let Some(vcpu) = self.loaded[core] else { return };
        let kick = with!(self, core, |vgic, here| {
            let kick = vgic.unload(here.hw, VcpuIndex(vcpu));
            let holds = vgic.holds_physical(VcpuIndex(vcpu), IntId(27));
            let was_active = here.hw.active_ppis.borrow_mut().remove(&27);
            assert_eq!(holds, was_active, "the timer's physical state and its bookkeeping");
            if here.hw.asserted_ppis.borrow_mut().remove(&27) {
                self.timers.insert(vcpu);
            }
            kick
        });
        self.loaded[core] = None;
        self.kicked.remove(&vcpu);
        self.after(kick);
    }

    pub(crate) fn mmio(
        &mut self,
        core: usize,
        frame: Frame,
        offset: u32,
        size: u8,
        access: Access,
    ) -> MmioOutcome {
        let outcome = with!(self, core, |vgic, here| {
            let kick = match access {
                Access::Write(value) if self.takes_short_ways && self.is_v2 => {
                    write_without_lock(&self.quicks, here, frame, offset, size, value, |_| false)
                }
                Access::Read | Access::Write(_) => None,
            };
            let plain = match (access, here.vcpu) {
                _ if !self.takes_short_ways => None,
                (Access::Read, Some(vcpu)) => vgic.read_plain(vcpu, frame, offset, size),
                (Access::Write(value), Some(_)) => {
                    vgic.write_plain(frame, offset, size, value).then_some(0)
                }
                (_, None) => None,
            };
            match (kick, plain) {
                (Some(kick), _) => MmioOutcome { value: 0, kick, is_retry: false },
                (None, Some(value)) => MmioOutcome { value, kick: VcpuSet::EMPTY, is_retry: false },
                (None, None) => vgic.mmio(here, frame, offset, size, access),
            }
        });
        self.after(outcome.kick);
        outcome
    }

    pub(crate) fn write(&mut self, core: usize, frame: Frame, offset: u32, size: u8, value: u64) {
        let outcome = self.mmio(core, frame, offset, size, Access::Write(value));
        assert!(!outcome.is_retry, "writes are done at once");
    }

    /// Reads, repeating the access after kicks as a guest does: at most once.
    pub(crate) fn read(&mut self, core: usize, frame: Frame, offset: u32, size: u8) -> u64 {
        let first = self.mmio(core, frame, offset, size, Access::Read);
        if !first.is_retry {
            return first.value;
        }
        self.drain();
        let second = self.mmio(core, frame, offset, size, Access::Read);
        assert!(!second.is_retry, "one fold of each kicked vCPU answers the read");
        second.value
    }

    pub(crate) fn raise(&mut self, core: usize, intid: u16, vcpu: u8) -> bool {
        // A call or an interrupt of its own: its exception entry is a context synchronization event.
        ListRegisters::synchronize(&self.cores[core]);
        let raised = with!(self, core, |vgic, here| {
            let short = self
                .takes_short_ways
                .then(|| raise_without_lock(&self.quicks, &self.spis, here, IntId(intid)));
            let short = short.flatten();
            short.unwrap_or_else(|| vgic.raise(here, IntId(intid), VcpuIndex(vcpu)))
        });
        self.after(raised.kick);
        raised.was_pending
    }

    /// The device behind an SPI of the same number is given, from this core.
    pub(crate) fn link_late(&mut self, core: usize, intid: u16) {
        let (spi, physical) = (IntId(intid), IntId(intid));
        let kick = with!(self, core, |vgic, here| vgic.link_late(here, spi, physical));
        self.after(kick);
    }

    /// The line of a linked physical interrupt falls: a PPI's of this core.
    pub(crate) fn fall(&mut self, core: usize, intid: u16) {
        self.lines(core, intid).borrow_mut().remove(&intid);
    }

    fn lines(&self, core: usize, intid: u16) -> &RefCell<BTreeSet<u16>> {
        if intid < 32 { &self.cores[core].asserted_ppis } else { &self.physical.asserted }
    }

    /// The line of a linked physical interrupt rises, and it is taken on a core, if it can be.
    pub(crate) fn fire(&mut self, core: usize, intid: u16) -> bool {
        self.lines(core, intid).borrow_mut().insert(intid);
        if intid < 32 {
            let Some(vcpu) = self.loaded[core] else { return false };
            if !self.cores[core].active_ppis.borrow_mut().insert(intid) {
                return false;
            }
            let quick = &self.quicks[usize::from(vcpu)];
            let is_short = self.takes_short_ways && quick.fire(&self.cores[core], IntId(intid));
            let kick = if is_short {
                VcpuSet::EMPTY
            } else {
                with!(self, core, |vgic, here| vgic.fire(here, IntId(intid), VcpuIndex(vcpu)))
            };
            self.after(kick);
            return true;
        }
        let is_enabled = self.physical.enabled.borrow().contains(&intid);
        if !is_enabled || !self.physical.active.borrow_mut().insert(intid) {
            return false;
        }
        let kick = with!(self, core, |vgic, here| vgic.fire(here, IntId(intid), VcpuIndex(0)));
        self.after(kick);
        true
    }

    pub(crate) fn set_line(&mut self, core: usize, intid: u16, vcpu: u8, is_high: bool) {
        let line = if is_high { Line::High } else { Line::Low };
        let kick = with!(self, core, |vgic, here| vgic.set_line(
            here,
            IntId(intid),
            VcpuIndex(vcpu),
            line
        ));
        self.after(kick);
    }

    pub(crate) fn send_sgi(&mut self, core: usize, register: SgiRegister, value: u64) {
        let is_short = self.takes_short_ways && !self.is_v2 && register == SgiRegister::Group1;
        let kick = with!(self, core, |vgic, here| {
            if !is_short || here.vcpu.is_none() {
                vgic.send_sgi(here, register, value)
            } else {
                let sent = send_sgi1r(&self.quicks, here, value, |_| false);
                match (sent.own, here.vcpu) {
                    (Some(intid), Some(own)) => sent.kick.union(vgic.raise(here, intid, own).kick),
                    _ => sent.kick,
                }
            }
        });
        self.after(kick);
    }

    /// Acknowledges on a core, or [`shikiri_model::vgic_hw::SPURIOUS`].
    pub(crate) fn acknowledge(&mut self, core: usize) -> u32 {
        let acknowledged = self.cores[core].acknowledge();
        self.after(VcpuSet::EMPTY);
        acknowledged
    }

    pub(crate) fn end(&mut self, core: usize, acknowledged: u32) {
        self.cores[core].end(acknowledged);
        self.after(VcpuSet::EMPTY);
    }

    pub(crate) fn deactivate(&mut self, core: usize, acknowledged: u32) {
        assert!(self.cores[core].traps_deactivate());
        let kick = with!(self, core, |vgic, here| vgic.deactivate(here, u64::from(acknowledged)));
        self.after(kick);
    }

    pub(crate) fn sync(&mut self, core: usize) {
        let Some(vcpu) = self.loaded[core] else { return };
        let kick = serve!(self, core, vcpu);
        self.kicked.remove(&vcpu);
        self.note(kick);
    }

    pub(crate) fn has_deliverable(&mut self, core: usize, vcpu: u8) -> bool {
        self.has_reason(core, vcpu, Sleep::Standby)
    }

    pub(crate) fn has_reason(&mut self, core: usize, vcpu: u8, sleep: Sleep) -> bool {
        with!(self, core, |vgic, here| vgic.has_deliverable(here, VcpuIndex(vcpu), sleep))
    }

    fn note(&mut self, kick: VcpuSet) {
        for vcpu in kick {
            assert!(usize::from(vcpu.0) < self.cpus.len(), "a kick for nobody");
            if self.core_of(vcpu.0).is_some() {
                self.kicked.insert(vcpu.0);
            }
        }
    }

    fn after(&mut self, kick: VcpuSet) {
        self.note(kick);
        if !self.is_delayed {
            self.drain();
        }
    }

    /// Serves kicks and maintenance interrupts until there are none, which must not take long.
    pub(crate) fn drain(&mut self) {
        for _ in 0..64 {
            let due = (0..self.cores.len()).find(|core| self.is_due(*core));
            match due {
                Some(core) => self.sync(core),
                None => return,
            }
        }
        panic!("kicks or maintenance interrupts without end");
    }

    pub(crate) fn is_due(&self, core: usize) -> bool {
        let Some(vcpu) = self.loaded[core] else { return false };
        self.kicked.contains(&vcpu) || self.cores[core].is_maintenance()
    }
}
