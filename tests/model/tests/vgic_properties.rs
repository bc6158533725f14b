//! Random operations by several vCPUs, on fewer cores, against the ideal GIC.

mod vgic_support;

use proptest::prelude::*;
use shikiri_abi::{IntId, VcpuIndex};
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Frame, Model, SgiRegister, Vgic};
use vgic_support::Machine;
use vgic_support::ideal::{Ideal, SPIS};

const GICD: Frame = Frame::Distributor;
const VCPUS: u8 = 3;

/// The interrupts that are used: few, so that things meet. The last two SPIs are linked to physical ones,
/// as is the timer's PPI 27; PPI 30 and SPI 33 have lines.
const INTIDS: [u16; 14] = [0, 1, 15, 27, 30, 31, 32, 33, 34, 35, 36, 63, 64, 65];
const LINKED: [u16; 2] = [64, 65];
const LINES: [u16; 2] = [30, 33];

/// One step, before it is known what is possible: a kind and three numbers.
type Step = (u8, u16, u16, u16);

struct World {
    machine: Machine,
    ideal: Ideal,
}

fn pick<T: Copy>(from: &[T], number: u16) -> T {
    from[usize::from(number) % from.len()]
}

impl World {
    fn new(model: Model, cores: usize, registers: usize) -> Self {
        let mut machine = Machine::new(model, SPIS, usize::from(VCPUS), cores, registers);
        for spi in LINKED {
            assert!(
                Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
                    .link(IntId(spi), IntId(spi))
            );
        }
        let is_v2 = model == Model::V2;
        let mut world = Self { machine, ideal: Ideal::new(is_v2, usize::from(VCPUS)) };
        world.machine.load(0, 0);
        // Most of it enabled: random steps then disable this and that.
        world.write_control(3);
        for vcpu in 0..VCPUS {
            for intid in INTIDS {
                world.write_bit(vcpu, intid, 0x100, true);
            }
            world.machine.unload(0);
            world.machine.load(0, (vcpu + 1) % VCPUS);
            world.set_interface(0, 0xf8, 3);
        }
        world
    }

    fn set_interface(&mut self, core: usize, mask: u32, groups: u32) {
        let vcpu = self.machine.loaded[core].unwrap();
        self.machine.cores[core].set_priority_mask(mask);
        self.machine.cores[core].set_groups(groups);
        let cpu = &mut self.ideal.cpus[usize::from(vcpu)];
        cpu.mask = mask;
        cpu.groups = groups;
        self.machine.drain();
    }

    fn write_control(&mut self, groups: u32) {
        self.machine.write(0, GICD, 0, 2, u64::from(groups));
        self.ideal.groups = groups;
    }

    /// Frame and offset of a word register that has this interrupt.
    fn place(&self, vcpu: u8, intid: u16, register: u32) -> (Frame, u32) {
        let offset = register + u32::from(intid / 32) * 4;
        if intid >= 32 || self.ideal.is_v2 {
            (GICD, offset)
        } else {
            (Frame::Redistributor(VcpuIndex(vcpu)), 0x1_0000 + offset)
        }
    }

    /// A core from which this vCPU's registers can be reached: any on GICv3, its own on GICv2.
    fn reaching_core(&self, vcpu: u8, intid: u16, number: u16) -> Option<usize> {
        if intid < 32 && self.ideal.is_v2 {
            return self.machine.core_of(vcpu);
        }
        let loaded: Vec<_> = (0..self.machine.loaded.len())
            .filter(|core| self.machine.loaded[*core].is_some())
            .collect();
        (!loaded.is_empty()).then(|| pick(&loaded, number))
    }

    /// Writes a 1 to a set or clear register; `is_direct` says that the ideal GIC takes it too.
    fn write_bit(&mut self, vcpu: u8, intid: u16, register: u32, is_effective: bool) {
        let Some(core) = self.reaching_core(vcpu, intid, u16::from(vcpu)) else { return };
        let (frame, offset) = self.place(vcpu, intid, register);
        self.machine.write(core, frame, offset, 2, 1 << (intid % 32));
        let is_sgi_v2 = self.ideal.is_v2 && intid < 16;
        if register == 0x380 {
            self.ideal.end_early(vcpu, intid);
        }
        let irq = self.ideal.irq_mut(vcpu, intid);
        match register {
            _ if !is_effective => {}
            0x100 => irq.is_enabled = true,
            0x180 if !is_sgi_v2 => irq.is_enabled = false,
            0x200 if !is_sgi_v2 => irq.is_latched = true,
            0x280 if !is_sgi_v2 => irq.is_latched = false,
            0x300 => irq.is_active = true,
            _ => {}
        }
    }

    fn step(&mut self, (kind, a, b, c): Step) {
        // Short and general ways take turns at random: they must come to the same.
        self.machine.takes_short_ways = c & 0x8000 == 0;
        let vcpu = u8::try_from(a % u16::from(VCPUS)).unwrap();
        let intid = pick(&INTIDS, b);
        let core = usize::from(c) % self.machine.cores.len();
        match kind % 16 {
            0 => self.write_bit(vcpu, intid, 0x100, true),
            1 => self.write_bit(vcpu, intid, 0x180, true),
            2 => self.write_bit(vcpu, intid, 0x200, true),
            3 => self.write_bit(vcpu, intid, 0x280, true),
            4 => self.change_active(vcpu, intid, c),
            5 => self.change_setting(vcpu, intid, c),
            6 => self.raise(core, vcpu, intid),
            7 if c & 8 == 0 => self.fire(core, b),
            7 => self.fall(core, b),
            8 => {
                let intid = pick(&LINES, b);
                let is_high = c & 1 == 0;
                self.machine.set_line(core, intid, vcpu, is_high);
                self.ideal_line(vcpu, intid, is_high);
            }
            9 => self.sgi(core, b, c),
            10 | 11 => self.acknowledge(core),
            12 => self.end(core),
            13 => self.deactivate_or_mode(core, b),
            14 => self.switch(core, vcpu),
            _ => self.interface_or_control(core, a, b),
        }
    }

    fn ideal_line(&mut self, vcpu: u8, intid: u16, is_high: bool) {
        let irq = self.ideal.irq_mut(vcpu, intid);
        if is_high && !irq.is_line_high && irq.is_edge {
            irq.is_latched = true;
        }
        irq.is_line_high = is_high;
    }

    /// GICD_ISACTIVER and GICD_ICACTIVER. What is made inactive while it is handled leaves its end without an object,
    /// which must end nothing else; to make it active again before would give that end another one.
    fn change_active(&mut self, vcpu: u8, intid: u16, c: u16) {
        if c & 1 != 0 {
            self.write_bit(vcpu, intid, 0x380, true);
        } else if !self.ideal.is_in_service(vcpu, intid) {
            self.write_bit(vcpu, intid, 0x300, true);
        }
    }

    /// Priority, group, trigger, target.
    fn change_setting(&mut self, vcpu: u8, intid: u16, c: u16) {
        let Some(core) = self.reaching_core(vcpu, intid, c) else { return };
        let is_priority = c & 3 == 0;
        if !is_priority && self.ideal.is_in_service(vcpu, intid) {
            return;
        }
        let value = u64::from(c >> 2);
        match c & 3 {
            0 => {
                let (frame, offset) = self.place(vcpu, intid, 0x400);
                let offset = offset - u32::from(intid / 32) * 4 + u32::from(intid);
                let priority = value % 4 * 0x40;
                self.machine.write(core, frame, offset, 0, priority);
                self.ideal.irq_mut(vcpu, intid).priority = u32::try_from(priority).unwrap();
            }
            1 => self.toggle_word(core, vcpu, intid, 0x80, value & 1),
            2 if intid >= 16 => {
                let (frame, base) = self.place(vcpu, intid, 0xc00);
                let offset = base - u32::from(intid / 32) * 4 + u32::from(intid / 16) * 4;
                let bit = 2 << (intid % 16 * 2);
                let old = self.machine.read(core, frame, offset, 2);
                let new = if value & 1 == 0 { old & !bit } else { old | bit };
                self.machine.write(core, frame, offset, 2, new);
                self.ideal.irq_mut(vcpu, intid).is_edge = value & 1 == 1;
            }
            3 if intid >= 32 => self.route(core, intid, value),
            _ => {}
        }
    }

    fn toggle_word(&mut self, core: usize, vcpu: u8, intid: u16, register: u32, value: u64) {
        let (frame, offset) = self.place(vcpu, intid, register);
        let bit = 1 << (intid % 32);
        let old = self.machine.read(core, frame, offset, 2);
        let new = if value == 0 { old & !bit } else { old | bit };
        self.machine.write(core, frame, offset, 2, new);
        self.ideal.irq_mut(vcpu, intid).is_group1 = value == 1;
    }

    fn route(&mut self, core: usize, intid: u16, value: u64) {
        let target = value % (u64::from(VCPUS) + 1);
        let is_there = target < u64::from(VCPUS);
        if self.ideal.is_v2 {
            let byte = if is_there { 1 << target } else { 0 };
            self.machine.write(core, GICD, 0x800 + u32::from(intid), 0, byte);
        } else {
            self.machine.write(core, GICD, 0x6000 + u32::from(intid) * 8, 3, target);
        }
        self.ideal.irq_mut(0, intid).target = is_there.then(|| u8::try_from(target).unwrap());
    }

    fn raise(&mut self, core: usize, vcpu: u8, intid: u16) {
        if self.ideal.is_v2 && intid < 16 {
            return;
        }
        let irq = self.ideal.irq_mut(vcpu, intid);
        let was_pending = irq.is_pending();
        irq.is_latched = true;
        let said = self.machine.raise(core, intid, vcpu);
        // Of one in a list register nobody says that it was pending.
        let is_local = intid < 32 && self.machine.loaded[core] == Some(vcpu);
        assert!(!is_local || !said || was_pending, "{intid} was not pending");
    }

    fn fire(&mut self, core: usize, b: u16) {
        let intid = pick(&[27, 64, 65], b);
        if self.machine.fire(core, intid) {
            let vcpu = self.machine.loaded[core].unwrap_or(0);
            self.ideal.irq_mut(vcpu, intid).is_latched = true;
        }
    }

    /// The line of a level that has fired falls, and its pending bit is read.
    fn fall(&mut self, core: usize, b: u16) {
        let Some(vcpu) = self.machine.loaded[core] else { return };
        let intid = pick(&[27, 64, 65], b);
        let held = if intid < 32 {
            &self.machine.cores[core].active_ppis
        } else {
            &self.machine.physical.active
        };
        let irq = self.ideal.irq_mut(vcpu, intid);
        if !held.borrow().contains(&intid) || irq.is_edge || irq.is_active {
            return;
        }
        irq.is_latched = false;
        self.machine.fall(core, intid);
        let (frame, offset) = self.place(vcpu, intid, 0x200);
        let read = self.machine.read(core, frame, offset, 2);
        assert_eq!(read & 1 << (intid % 32), 0);
    }

    fn sgi(&mut self, core: usize, b: u16, c: u16) {
        let Some(sender) = self.machine.loaded[core] else { return };
        let intid = pick(&[0, 1, 15], b);
        let is_broadcast = c & 8 != 0;
        let list = u64::from(c >> 4 & 7);
        if self.ideal.is_v2 {
            let value = u64::from(is_broadcast) << 24 | list << 16 | u64::from(intid);
            self.machine.write(core, GICD, 0xf00, 2, value);
        } else {
            let value = u64::from(is_broadcast) << 40 | u64::from(intid) << 24 | list;
            self.machine.send_sgi(core, SgiRegister::Group1, value);
        }
        for target in 0..VCPUS {
            let is_listed = list & (1 << target) != 0;
            if if is_broadcast { target != sender } else { is_listed } {
                let is_v2 = self.ideal.is_v2;
                let irq = self.ideal.irq_mut(target, intid);
                if is_v2 {
                    irq.senders.insert(sender);
                } else {
                    irq.is_latched = true;
                }
            }
        }
    }

    fn acknowledge(&mut self, core: usize) {
        let Some(vcpu) = self.machine.loaded[core] else { return };
        let taken = self.machine.cores[core].acknowledge();
        if taken != SPURIOUS {
            let (_, intids) = self.ideal.signalled(vcpu);
            assert!(intids.contains(&u16::try_from(taken & 0x3ff).unwrap()));
            self.ideal.acknowledge(vcpu, taken);
        }
        self.machine.drain();
    }

    fn end(&mut self, core: usize) {
        let Some(vcpu) = self.machine.loaded[core] else { return };
        if let Some(taken) = self.ideal.end(vcpu) {
            self.machine.end(core, taken);
        }
    }

    /// DIR for something that was dropped, or, when nothing is being handled, the other EOImode.
    fn deactivate_or_mode(&mut self, core: usize, b: u16) {
        let Some(vcpu) = self.machine.loaded[core] else { return };
        let cpu = &mut self.ideal.cpus[usize::from(vcpu)];
        if cpu.stack.is_empty() && cpu.dropped.is_empty() {
            cpu.is_split = b & 1 == 0;
            self.machine.cores[core].set_split_end(b & 1 == 0);
        } else if cpu.is_split && !cpu.dropped.is_empty() {
            let at = usize::from(b) % cpu.dropped.len();
            let taken = cpu.dropped.remove(at);
            self.ideal.irq_mut(vcpu, u16::try_from(taken & 0x3ff).unwrap()).is_active = false;
            self.machine.deactivate(core, taken);
        }
    }

    fn switch(&mut self, core: usize, vcpu: u8) {
        self.machine.unload(core);
        if self.machine.core_of(vcpu).is_none() {
            self.machine.load(core, vcpu);
        }
    }

    fn interface_or_control(&mut self, core: usize, a: u16, b: u16) {
        if self.machine.loaded[core].is_none() {
            return;
        }
        match a % 4 {
            0 if self.machine.loaded[0].is_some() => self.write_control(u32::from(b % 4)),
            1 => self.machine.sync(core),
            _ => self.set_interface(
                core,
                pick(&[0xf8, 0xc0, 0x80, 0x08], a >> 2),
                pick(&[3, 3, 1, 2], b),
            ),
        }
        self.machine.drain();
    }

    /// Pending and active bits as every loaded vCPU reads them.
    fn check_registers(&mut self) {
        for core in 0..self.machine.cores.len() {
            let Some(vcpu) = self.machine.loaded[core] else { continue };
            for owner in 0..VCPUS {
                if self.ideal.is_v2 && owner != vcpu {
                    continue;
                }
                for word in 0..=2 {
                    let (frame, pending) = self.place(owner, word * 32, 0x200);
                    let (_, active) = self.place(owner, word * 32, 0x300);
                    let read = self.machine.read(core, frame, pending, 2);
                    assert_eq!(
                        read,
                        self.ideal.pending_word(owner, word),
                        "pending {owner} {word}"
                    );
                    let read = self.machine.read(core, frame, active, 2);
                    assert_eq!(read, self.ideal.active_word(owner, word), "active {owner} {word}");
                }
            }
        }
    }
}

fn agree(model: Model, cores: usize, registers: usize, steps: &[Step]) {
    let mut world = World::new(model, cores, registers);
    world.ideal.check(&mut world.machine);
    for (number, step) in steps.iter().enumerate() {
        world.step(*step);
        world.ideal.check(&mut world.machine);
        if number % 7 == 0 {
            world.check_registers();
            world.ideal.check(&mut world.machine);
        }
    }
    world.check_registers();
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..shikiri_model::steps(count))
}

proptest! {
    #![proptest_config(shikiri_model::cases(400))]

    #[test]
    fn gicv3_agrees_with_the_ideal_gic(cores in 1..4_usize, registers in 1..5_usize, steps in steps(200)) {
        agree(Model::V3, cores, registers, &steps);
    }

    #[test]
    fn gicv2_agrees_with_the_ideal_gic(cores in 1..4_usize, registers in 1..5_usize, steps in steps(200)) {
        agree(Model::V2, cores, registers, &steps);
    }
}
