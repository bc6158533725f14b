//! Cores that hear of each other late: kicks and maintenance interrupts are served at random moments.
//!
//! When exactly a change takes effect on another core is then open. What must hold: no acknowledge without
//! a raise, no raise without a later acknowledge, and physical interrupts that come to rest.

mod vgic_support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use shikiri_abi::{IntId, VcpuIndex};
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Frame, Model, SgiRegister, Vgic};
use vgic_support::Machine;

const GICD: Frame = Frame::Distributor;
const VCPUS: u8 = 3;
const EDGES: [u16; 4] = [40, 41, 42, 43];
const LINKED: [u16; 2] = [50, 51];
const SGIS: [u16; 2] = [2, 3];

type Step = (u8, u16, u16, u16);

/// Raises and acknowledges of one interrupt (of one vCPU, if it is an SGI).
#[derive(Default)]
struct Count {
    raises: u32,
    acknowledges: u32,
    is_open: bool,
}

struct World {
    machine: Machine,
    is_v2: bool,
    counts: BTreeMap<(u8, u16), Count>,
    taken: Vec<Vec<u32>>,
}

impl World {
    fn new(model: Model, cores: usize, registers: usize) -> Self {
        let mut machine = Machine::new(model, 32, usize::from(VCPUS), cores, registers);
        for spi in LINKED {
            assert!(
                Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
                    .link(IntId(spi), IntId(spi))
            );
        }
        let is_v2 = model == Model::V2;
        for vcpu in 0..VCPUS {
            machine.load(0, vcpu);
            machine.cores[0].set_priority_mask(0xf8);
            machine.cores[0].set_groups(3);
            if !is_v2 {
                machine.write(0, Frame::Redistributor(VcpuIndex(vcpu)), 0x1_0100, 2, 0xffff);
            }
            machine.unload(0);
        }
        machine.load(0, 0);
        machine.write(0, GICD, 0, 2, 3);
        machine.write(0, GICD, 0x104, 2, 0xffff_ffff);
        machine.write(0, GICD, 0xc08, 2, 0xaaaa_aaaa);
        machine.write(0, GICD, 0xc0c, 2, 0xaaaa_aaaa);
        for spi in 32..64_u32 {
            if is_v2 {
                machine.write(0, GICD, 0x800 + spi, 0, 1 << (spi % 3));
            } else {
                machine.write(0, GICD, 0x6000 + spi * 8, 3, u64::from(spi % 3));
            }
        }
        machine.is_delayed = true;
        let taken = (0..VCPUS).map(|_| Vec::new()).collect();
        Self { machine, is_v2, counts: BTreeMap::new(), taken }
    }

    fn note_raise(&mut self, vcpu: u8, intid: u16) {
        let count = self.counts.entry((vcpu, intid)).or_default();
        count.raises += 1;
        count.is_open = true;
    }

    fn step(&mut self, (kind, a, b, c): Step) {
        // Short and general ways take turns at random: they must come to the same.
        self.machine.takes_short_ways = c & 0x8000 == 0;
        let core = usize::from(a) % self.machine.cores.len();
        let pick = |from: &[u16]| from[usize::from(b) % from.len()];
        match kind % 12 {
            0 | 1 => {
                let intid = pick(&EDGES);
                self.note_raise(0, intid);
                self.machine.raise(core, intid, 0);
            }
            2 => {
                let intid = pick(&LINKED);
                if self.machine.fire(core, intid) {
                    self.note_raise(0, intid);
                }
            }
            3 => self.sgi(core, pick(&SGIS), c),
            4 | 5 => self.acknowledge(core),
            6 => self.end(core),
            7 => self.machine.sync(core),
            8 => self.switch(core, u8::try_from(b % u16::from(VCPUS)).unwrap()),
            9 => self.setting(core, b, c),
            10 if self.machine.is_due(core) => self.machine.sync(core),
            11 if self.machine.loaded[core].is_some() => {
                // A read, which may have to be repeated after kicks.
                let offset = if c & 1 == 0 { 0x204 } else { 0x304 };
                self.machine.read(core, GICD, offset, 2);
            }
            _ => {}
        }
    }

    fn sgi(&mut self, core: usize, intid: u16, c: u16) {
        let Some(sender) = self.machine.loaded[core] else { return };
        let target = u8::try_from(c % u16::from(VCPUS)).unwrap();
        let list = 1_u64 << target;
        if self.is_v2 {
            self.note_raise(target, intid | u16::from(sender) << 10);
            self.machine.write(core, GICD, 0xf00, 2, list << 16 | u64::from(intid));
        } else {
            self.note_raise(target, intid);
            self.machine.send_sgi(core, SgiRegister::Group1, u64::from(intid) << 24 | list);
        }
    }

    /// Enable, priority or target of an SPI.
    fn setting(&mut self, core: usize, b: u16, c: u16) {
        if self.machine.loaded[core].is_none() {
            return;
        }
        let intid = [40, 41, 42, 43, 50, 51][usize::from(b) % 6];
        let bit = 1 << (intid % 32);
        match c % 4 {
            0 => self.machine.write(core, GICD, 0x184, 2, bit),
            1 => self.machine.write(core, GICD, 0x104, 2, bit),
            2 => self.machine.write(core, GICD, 0x400 + intid, 0, u64::from(c >> 2 & 3) * 0x40),
            _ if self.is_v2 => {
                self.machine.write(core, GICD, 0x800 + intid, 0, 1 << (((c >> 2) & 0xff) % 3));
            }
            _ => {
                self.machine.write(core, GICD, 0x6000 + intid * 8, 3, u64::from((c >> 2) % 3));
            }
        }
    }

    fn acknowledge(&mut self, core: usize) {
        let Some(vcpu) = self.machine.loaded[core] else { return };
        let value = self.machine.cores[core].acknowledge();
        if value == SPURIOUS {
            return;
        }
        let intid = u16::try_from(value).unwrap();
        let owner = if intid & 0x3ff < 16 { vcpu } else { 0 };
        let count = self.counts.entry((owner, intid)).or_default();
        count.acknowledges += 1;
        count.is_open = false;
        assert!(count.acknowledges <= count.raises, "INTID {intid} was never raised for this");
        self.taken[usize::from(vcpu)].push(value);
    }

    fn end(&mut self, core: usize) {
        let Some(vcpu) = self.machine.loaded[core] else { return };
        if let Some(value) = self.taken[usize::from(vcpu)].pop() {
            self.machine.cores[core].end(value);
        }
    }

    fn switch(&mut self, core: usize, vcpu: u8) {
        self.machine.unload(core);
        if self.machine.core_of(vcpu).is_none() {
            self.machine.load(core, vcpu);
        }
    }

    /// Everything comes to rest: all is enabled, every vCPU runs and serves what it gets.
    fn finish(&mut self) {
        self.machine.is_delayed = false;
        for core in 0..self.machine.cores.len() {
            self.machine.unload(core);
        }
        self.machine.load(0, 0);
        self.machine.write(0, GICD, 0x104, 2, 0xffff_ffff);
        for round in 0..3 * u32::from(VCPUS) {
            self.machine.unload(0);
            self.machine.load(0, u8::try_from(round % u32::from(VCPUS)).unwrap());
            for _ in 0..200 {
                self.end(0);
                self.machine.drain();
                self.acknowledge(0);
                self.machine.drain();
            }
        }
        for ((vcpu, intid), count) in &self.counts {
            assert!(!count.is_open, "INTID {intid} of vCPU {vcpu} is lost");
        }
        assert!(self.machine.physical.active.borrow().is_empty(), "held for nothing");
        assert!(self.taken.iter().all(Vec::is_empty));
        assert_eq!(self.machine.read(0, GICD, 0x304, 2), 0);
        assert_eq!(self.machine.read(0, GICD, 0x204, 2), 0);
        assert_eq!(self.machine.read(0, GICD, 0, 2) >> 31, 0, "RWP");
    }
}

fn nothing_is_lost(model: Model, cores: usize, registers: usize, steps: &[Step]) {
    let mut world = World::new(model, cores, registers);
    for step in steps {
        world.step(*step);
    }
    world.finish();
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..shikiri_model::steps(300))
}

proptest! {
    #![proptest_config(shikiri_model::cases(300))]

    #[test]
    fn gicv3_loses_nothing_and_invents_nothing(cores in 1..4_usize, registers in 1..5_usize, steps in steps()) {
        nothing_is_lost(Model::V3, cores, registers, &steps);
    }

    #[test]
    fn gicv2_loses_nothing_and_invents_nothing(cores in 1..4_usize, registers in 1..5_usize, steps in steps()) {
        nothing_is_lost(Model::V2, cores, registers, &steps);
    }
}
