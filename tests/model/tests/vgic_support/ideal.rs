//! The ideal GIC: what the architecture says about each interrupt, with no list registers, no residency and
//! no other cores to be told. Everything happens at once.

use std::collections::BTreeSet;

use super::Machine;

/// The SPIs that the properties use.
pub(crate) const SPIS: u16 = 64;

/// One interrupt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Irq {
    pub(crate) is_enabled: bool,
    pub(crate) is_latched: bool,
    pub(crate) is_line_high: bool,
    pub(crate) is_active: bool,
    pub(crate) is_group1: bool,
    pub(crate) is_edge: bool,
    pub(crate) priority: u32,
    /// GICv2 SGIs: who sent it.
    pub(crate) senders: BTreeSet<u8>,
    /// SPIs: where it goes.
    pub(crate) target: Option<u8>,
}

impl Irq {
    pub(crate) fn is_pending(&self) -> bool {
        self.is_latched || !self.senders.is_empty() || (self.is_line_high && !self.is_edge)
    }
}

/// One vCPU's interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    pub(crate) private: Vec<Irq>,
    pub(crate) mask: u32,
    pub(crate) groups: u32,
    pub(crate) is_split: bool,
    /// What was acknowledged and not ended, innermost last, with its group priority, and whether a register made it
    /// inactive since: its end drops the priority and no more.
    pub(crate) stack: Vec<(u32, u32, bool)>,
    /// What was ended with EOImode 1 and not deactivated.
    pub(crate) dropped: Vec<u32>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Ideal {
    pub(crate) is_v2: bool,
    pub(crate) groups: u32,
    pub(crate) cpus: Vec<Interface>,
    pub(crate) spis: Vec<Irq>,
}

impl Ideal {
    pub(crate) fn new(is_v2: bool, vcpus: usize) -> Self {
        let private = (0..32)
            .map(|n| Irq { is_edge: n < 16, is_enabled: is_v2 && n < 16, ..Irq::default() })
            .collect();
        let cpu = Interface { private, ..Interface::default() };
        let target = if is_v2 && vcpus > 1 { None } else { Some(0) };
        Self {
            is_v2,
            groups: 0,
            cpus: vec![cpu; vcpus],
            spis: vec![Irq { target, ..Irq::default() }; usize::from(SPIS)],
        }
    }

    pub(crate) fn irq(&self, vcpu: u8, intid: u16) -> &Irq {
        match intid.checked_sub(32) {
            None => &self.cpus[usize::from(vcpu)].private[usize::from(intid)],
            Some(spi) => &self.spis[usize::from(spi)],
        }
    }

    pub(crate) fn irq_mut(&mut self, vcpu: u8, intid: u16) -> &mut Irq {
        match intid.checked_sub(32) {
            None => &mut self.cpus[usize::from(vcpu)].private[usize::from(intid)],
            Some(spi) => &mut self.spis[usize::from(spi)],
        }
    }

    /// Whether some vCPU has acknowledged the interrupt and its end is still to come.
    pub(crate) fn is_in_service(&self, vcpu: u8, intid: u16) -> bool {
        self.cpus.iter().enumerate().any(|(index, cpu)| {
            (intid >= 32 || index == usize::from(vcpu))
                && cpu
                    .stack
                    .iter()
                    .map(|(taken, ..)| taken)
                    .chain(&cpu.dropped)
                    .any(|taken| taken & 0x3ff == u32::from(intid))
        })
    }

    /// A register made the interrupt inactive: who has acknowledged it has still to drop its priority.
    pub(crate) fn end_early(&mut self, vcpu: u8, intid: u16) {
        self.irq_mut(vcpu, intid).is_active = false;
        for (index, cpu) in self.cpus.iter_mut().enumerate() {
            if intid >= 32 || index == usize::from(vcpu) {
                let is_it = |taken: u32| taken & 0x3ff == u32::from(intid);
                cpu.dropped.retain(|taken| !is_it(*taken));
                for entry in cpu.stack.iter_mut().filter(|entry| is_it(entry.0)) {
                    entry.2 = true;
                }
            }
        }
    }

    fn running(&self, vcpu: u8) -> u32 {
        self.cpus[usize::from(vcpu)].stack.last().map_or(256, |(_, priority, _)| *priority)
    }

    /// The interrupts that the vCPU might acknowledge now: the most urgent ones, if they are urgent enough.
    pub(crate) fn signalled(&self, vcpu: u8) -> (u32, BTreeSet<u16>) {
        let cpu = &self.cpus[usize::from(vcpu)];
        let mut best = (u32::MAX, BTreeSet::new());
        for intid in 0..32 + SPIS {
            let irq = self.irq(vcpu, intid);
            let group = 1 << u32::from(irq.is_group1);
            let is_mine = intid < 32 || irq.target == Some(vcpu);
            let is_ready = irq.is_pending() && irq.is_enabled && !irq.is_active && is_mine;
            if !is_ready || self.groups & group == 0 || cpu.groups & group == 0 {
                continue;
            }
            if irq.priority < best.0 {
                best = (irq.priority, BTreeSet::new());
            }
            if irq.priority == best.0 {
                best.1.insert(intid);
            }
        }
        // Binary points at their minimum: all five bits of a priority decide about preemption.
        if best.0 < cpu.mask && best.0 < self.running(vcpu) { best } else { (256, BTreeSet::new()) }
    }

    /// The vCPU acknowledged this.
    pub(crate) fn acknowledge(&mut self, vcpu: u8, taken: u32) {
        let intid = u16::try_from(taken & 0x3ff).unwrap();
        let is_by_sender = self.is_v2 && intid < 16;
        let irq = self.irq_mut(vcpu, intid);
        if is_by_sender {
            let sender = u8::try_from(taken >> 10).unwrap();
            assert!(irq.senders.remove(&sender), "SGI {intid} was not sent by {sender}");
        }
        irq.is_latched = false;
        irq.is_active = true;
        let priority = irq.priority;
        self.cpus[usize::from(vcpu)].stack.push((taken, priority, false));
    }

    /// The vCPU ends what it acknowledged last, which is returned.
    pub(crate) fn end(&mut self, vcpu: u8) -> Option<u32> {
        let cpu = &mut self.cpus[usize::from(vcpu)];
        let (taken, _, is_early) = cpu.stack.pop()?;
        if is_early {
            return Some(taken);
        }
        if cpu.is_split {
            cpu.dropped.push(taken);
        } else {
            self.irq_mut(vcpu, u16::try_from(taken & 0x3ff).unwrap()).is_active = false;
        }
        Some(taken)
    }

    pub(crate) fn pending_word(&self, vcpu: u8, word: u16) -> u64 {
        (0..32)
            .filter(|bit| self.irq(vcpu, word * 32 + bit).is_pending())
            .fold(0, |set, bit| set | 1 << bit)
    }

    pub(crate) fn active_word(&self, vcpu: u8, word: u16) -> u64 {
        (0..32)
            .filter(|bit| self.irq(vcpu, word * 32 + bit).is_active)
            .fold(0, |set, bit| set | 1 << bit)
    }

    /// Compares what every vCPU could acknowledge, and what is held physically.
    pub(crate) fn check(&self, machine: &mut Machine) {
        for vcpu in 0..u8::try_from(self.cpus.len()).unwrap() {
            let (priority, intids) = self.signalled(vcpu);
            if let Some(core) = machine.core_of(vcpu) {
                let shown = machine.cores[core].candidate().map(|n| machine.cores[core].fields(n));
                match shown {
                    None => assert!(intids.is_empty(), "lost on vCPU {vcpu}: {intids:?}"),
                    Some(lr) => {
                        let intid = u16::try_from(lr.intid).unwrap();
                        assert!(
                            intids.contains(&intid) && lr.priority == priority,
                            "vCPU {vcpu} is shown {lr:?}, not one of {intids:?} at {priority:#x}"
                        );
                    }
                }
                assert_eq!(machine.has_deliverable(core, vcpu), !intids.is_empty(), "WFI");
                for ppi in machine.cores[core].active_ppis.borrow().iter() {
                    let irq = self.irq(vcpu, *ppi);
                    assert!(irq.is_latched || irq.is_active, "PPI {ppi} is held for nothing");
                }
            } else {
                assert_eq!(machine.has_deliverable(0, vcpu), !intids.is_empty(), "wake {vcpu}");
            }
        }
        for spi in machine.physical.active.borrow().iter() {
            let irq = self.irq(0, *spi);
            assert!(irq.is_latched || irq.is_active, "SPI {spi} is held for nothing");
        }
    }
}
