//! Delivery: from a raise to the guest's acknowledge and end, with the hardware's interface modelled.

mod pressure;
mod sgis;
#[path = "../vgic_support/mod.rs"]
mod vgic_support;

use shikiri_abi::VcpuIndex;
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Access, Frame, Model, SgiRegister, Sleep, Vgic};
use vgic_support::Machine;

const GICD: Frame = Frame::Distributor;
const BOTH: [Model; 2] = [Model::V2, Model::V3];

/// Enables an SPI, edge-triggered, for vCPU 0.
fn edge_spi(machine: &mut Machine, intid: u16) {
    let n = u32::from(intid);
    let config = 0xc00 + n / 16 * 4;
    let old = machine.read(0, GICD, config, 2);
    machine.write(0, GICD, config, 2, old | 2 << (n % 16 * 2));
    level_spi(machine, intid);
}

/// Enables an SPI, level-triggered as after reset, for vCPU 0.
fn level_spi(machine: &mut Machine, intid: u16) {
    let n = u32::from(intid);
    if machine.is_v2 {
        machine.write(0, GICD, 0x800 + n, 0, 1);
    }
    machine.write(0, GICD, 0x100 + n / 32 * 4, 2, 1 << (n % 32));
}

fn priority(machine: &mut Machine, intid: u16, value: u64) {
    machine.write(0, GICD, 0x400 + u32::from(intid), 0, value);
}

#[test]
fn an_edge_is_delivered_once() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        edge_spi(&mut machine, 40);
        assert!(!machine.raise(0, 40, 0));
        assert!(!machine.raise(0, 40, 0), "in a list register, and one interrupt with it");
        assert_eq!(machine.acknowledge(0), 40);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        machine.end(0, 40);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        assert!(!machine.raise(0, 40, 0));
        assert_eq!(machine.acknowledge(0), 40);
    }
}

#[test]
fn an_edge_while_active_is_delivered_after_the_end() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        edge_spi(&mut machine, 40);
        machine.raise(0, 40, 0);
        assert_eq!(machine.acknowledge(0), 40);
        assert!(!machine.raise(0, 40, 0), "active is not pending");
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        machine.end(0, 40);
        assert_eq!(machine.acknowledge(0), 40);
    }
}

#[test]
fn an_edge_while_disabled_is_kept() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        edge_spi(&mut machine, 40);
        machine.write(0, GICD, 0x184, 2, 1 << 8);
        machine.raise(0, 40, 0);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        assert_eq!(machine.read(0, GICD, 0x204, 2), 1 << 8);
        machine.write(0, GICD, 0x104, 2, 1 << 8);
        assert_eq!(machine.acknowledge(0), 40);
    }
}

#[test]
fn a_level_is_delivered_until_it_drops() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        level_spi(&mut machine, 33);
        machine.set_line(0, 33, 0, true);
        for _ in 0..3 {
            assert_eq!(machine.acknowledge(0), 33);
            assert_eq!(machine.read(0, GICD, 0x204, 2), 2, "active and pending");
            assert_eq!(machine.read(0, GICD, 0x304, 2), 2);
            machine.end(0, 33);
        }
        machine.set_line(0, 33, 0, false);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        assert_eq!(machine.read(0, GICD, 0x204, 2), 0);
    }
}

#[test]
fn a_level_that_drops_before_the_acknowledge_is_not_delivered() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        level_spi(&mut machine, 33);
        machine.set_line(0, 33, 0, true);
        machine.set_line(0, 33, 0, false);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
    }
}

#[test]
fn a_linked_interrupt_ends_without_an_exit_on_gicv3_and_with_one_on_gicv2() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
            .link(shikiri_abi::IntId(45), shikiri_abi::IntId(45));
        level_spi(&mut machine, 45);
        for _ in 0..3 {
            assert!(machine.fire(0, 45));
            assert!(!machine.fire(0, 45), "active until its end");
            assert_eq!(machine.acknowledge(0), 45);
            let writes = machine.cores[0].writes.get();
            machine.cores[0].end(45);
            if model == Model::V2 {
                assert!(machine.is_due(0), "its end is reported");
                machine.drain();
                assert!(machine.physical.active.borrow().is_empty());
                continue;
            }
            assert!(!machine.is_due(0), "no maintenance interrupt");
            assert!(machine.physical.active.borrow().is_empty());
            assert_eq!(machine.cores[0].writes.get(), writes);
        }
    }
}

#[test]
fn the_timer_takes_one_list_register_write_a_tick_on_gicv3_and_two_on_gicv2() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        let (frame, offset) = match model {
            Model::V2 => (GICD, 0x100),
            Model::V3 => (Frame::Redistributor(VcpuIndex(0)), 0x1_0100),
        };
        machine.write(0, frame, offset, 2, 1 << 27);
        for _ in 0..3 {
            let writes = machine.cores[0].writes.get();
            assert!(machine.fire(0, 27));
            assert_eq!(machine.acknowledge(0), 27);
            machine.end(0, 27);
            assert!(machine.cores[0].active_ppis.borrow().is_empty());
            let each = if model == Model::V2 { 2 } else { 1 };
            assert_eq!(machine.cores[0].writes.get(), writes + each);
        }
    }
}

/// Where a vCPU's own interrupts have this register.
fn private(machine: &Machine, vcpu: u8, register: u32) -> (Frame, u32) {
    if machine.is_v2 {
        (GICD, register)
    } else {
        (Frame::Redistributor(VcpuIndex(vcpu)), 0x1_0000 + register)
    }
}

#[test]
fn a_level_that_fell_before_it_was_enabled_is_not_delivered() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        let (frame, enable) = private(&machine, 0, 0x100);
        let (_, pending) = private(&machine, 0, 0x200);
        assert!(machine.fire(0, 27));
        assert_eq!(machine.read(0, frame, pending, 2), 1 << 27, "pending, though disabled");
        machine.fall(0, 27);
        machine.write(0, frame, enable, 2, 1 << 27);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        assert_eq!(machine.read(0, frame, pending, 2), 0);
        assert!(machine.fire(0, 27), "and can fire again");
        assert_eq!(machine.acknowledge(0), 27);
    }
}

#[test]
fn a_level_reads_pending_for_as_long_as_its_line_is_asserted() {
    for model in BOTH {
        for intid in [27, 45] {
            let mut machine = Machine::running(model, 1, 4);
            Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
                .link(shikiri_abi::IntId(45), shikiri_abi::IntId(45));
            level_spi(&mut machine, 45);
            let (frame, enable) = private(&machine, 0, 0x100);
            machine.write(0, frame, enable, 2, 1 << 27);
            let (frame, pending) =
                if intid == 27 { private(&machine, 0, 0x200) } else { (GICD, 0x204) };
            let bit = 1 << (intid % 32);
            for _ in 0..2 {
                assert!(machine.fire(0, intid));
                assert_eq!(machine.read(0, frame, pending, 2), bit);
                // In a list register, and not taken.
                machine.fall(0, intid);
                assert_eq!(machine.read(0, frame, pending, 2), 0, "{model:?} {intid}");
                assert_eq!(machine.acknowledge(0), SPURIOUS);
                assert!(machine.physical.active.borrow().is_empty());
                assert!(machine.cores[0].active_ppis.borrow().is_empty());
            }
            // What was taken is its guest's to end, whatever its line does.
            assert!(machine.fire(0, intid));
            assert_eq!(machine.acknowledge(0), u32::from(intid));
            machine.fall(0, intid);
            assert_eq!(machine.read(0, frame, pending, 2), 0);
            machine.end(0, u32::from(intid));
            assert!(machine.fire(0, intid));
        }
    }
}

#[test]
fn an_edge_that_fired_stays_pending() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
            .link(shikiri_abi::IntId(45), shikiri_abi::IntId(45));
        edge_spi(&mut machine, 45);
        assert!(machine.fire(0, 45));
        machine.fall(0, 45);
        assert_eq!(machine.read(0, GICD, 0x204, 2), 1 << 13);
        machine.write(0, GICD, 0x184, 2, 1 << 13);
        machine.write(0, GICD, 0x104, 2, 1 << 13);
        assert_eq!(machine.acknowledge(0), 45);
    }
}

#[test]
fn a_start_begins_without_what_the_timer_had_fired() {
    for model in BOTH {
        let mut machine = Machine::running(model, 2, 4);
        let (frame, enable) = private(&machine, 0, 0x100);
        machine.write(0, frame, enable, 2, 1 << 27);
        assert!(machine.fire(0, 27));
        machine.unload(0);
        Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
            .reset_interface(VcpuIndex(0));
        machine.load(0, 0);
        machine.cores[0].set_groups(3);
        machine.cores[0].set_priority_mask(0xf8);
        assert!(machine.cores[0].active_ppis.borrow().is_empty());
        assert_eq!(machine.acknowledge(0), SPURIOUS, "{model:?}");
    }
}

#[test]
fn a_vcpu_with_its_power_down_wakes_though_its_interface_is_off() {
    for model in BOTH {
        let mut machine = Machine::running(model, 2, 4);
        let (frame, enable) = private(&machine, 0, 0x100);
        machine.write(0, frame, enable, 2, 1 << 27 | 1);
        machine.cores[0].set_groups(0);
        machine.cores[0].set_priority_mask(0);
        assert!(!machine.has_reason(0, 0, Sleep::PowerDown));
        // What has come while it was still on its core, and what comes when it has left it.
        let is_woken = model == Model::V3;
        machine.fire(0, 27);
        assert_eq!(machine.has_reason(0, 0, Sleep::PowerDown), is_woken);
        assert!(!machine.has_reason(0, 0, Sleep::Standby));
        machine.unload(0);
        assert_eq!(machine.has_reason(0, 0, Sleep::PowerDown), is_woken);
        let mut machine = Machine::running(model, 2, 4);
        machine.write(0, frame, enable, 2, 1);
        machine.cores[0].set_groups(0);
        machine.unload(0);
        assert!(!machine.has_reason(0, 0, Sleep::PowerDown));
        match model {
            Model::V2 => machine.write(1, GICD, 0xf00, 2, 1 << 16),
            Model::V3 => machine.send_sgi(1, SgiRegister::Group1, 1),
        }
        assert_eq!(machine.has_reason(0, 0, Sleep::PowerDown), is_woken);
        assert!(!machine.has_reason(0, 0, Sleep::Standby));
    }
}

#[test]
fn who_ends_the_timer_of_a_vcpu_that_is_off_its_core_wakes_it() {
    for (register, is_taken) in [(0x380, true), (0x280, false)] {
        let mut machine = Machine::running(Model::V3, 2, 4);
        let (frame, enable) = private(&machine, 0, 0x100);
        let (_, register) = private(&machine, 0, register);
        machine.write(0, frame, enable, 2, 1 << 27);
        machine.fire(0, 27);
        assert_eq!(if is_taken { machine.acknowledge(0) } else { 27 }, 27);
        machine.unload(0);
        let ended = machine.mmio(1, frame, register, 2, Access::Write(1 << 27));
        assert!(ended.kick.contains(VcpuIndex(0)), "its deadline counts again");
        machine.load(0, 0);
        assert!(machine.cores[0].active_ppis.borrow().is_empty());
        assert!(machine.fire(0, 27));
    }
}

#[test]
fn the_timer_stays_owed_while_its_vcpu_is_not_loaded() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        let (frame, offset) = match model {
            Model::V2 => (GICD, 0x100),
            Model::V3 => (Frame::Redistributor(VcpuIndex(0)), 0x1_0100),
        };
        machine.write(0, frame, offset, 2, 1 << 27);
        machine.fire(0, 27);
        machine.unload(0);
        assert!(machine.cores[0].active_ppis.borrow().is_empty());
        assert!(machine.has_deliverable(0, 0));
        machine.load(0, 0);
        assert!(machine.cores[0].active_ppis.borrow().contains(&27));
        assert_eq!(machine.acknowledge(0), 27);
        machine.unload(0);
        assert!(!machine.has_deliverable(0, 0), "it is active, and running");
        machine.load(0, 0);
        machine.end(0, 27);
        assert!(machine.cores[0].active_ppis.borrow().is_empty());
    }
}

#[test]
fn a_route_change_takes_a_pending_interrupt_along() {
    let mut machine = Machine::running(Model::V3, 2, 4);
    edge_spi(&mut machine, 40);
    machine.raise(0, 40, 0);
    machine.write(0, GICD, 0x6000 + 40 * 8, 3, 1);
    assert_eq!(machine.acknowledge(0), SPURIOUS);
    assert_eq!(machine.acknowledge(1), 40);
    machine.raise(0, 40, 0);
    machine.write(1, GICD, 0x6000 + 40 * 8, 3, 0);
    assert_eq!(machine.acknowledge(0), SPURIOUS, "still active on vCPU 1");
    machine.end(1, 40);
    assert_eq!(machine.acknowledge(0), 40, "pending goes to the new target");
}

#[test]
fn one_of_several_targets_is_an_online_one() {
    for model in BOTH {
        let mut machine = Machine::new(model, 32, 3, 1, 4);
        machine.load(0, 2);
        machine.cores[0].set_groups(3);
        machine.cores[0].set_priority_mask(0xf8);
        machine.write(0, GICD, 0, 2, 3);
        edge_spi(&mut machine, 40);
        match model {
            Model::V2 => machine.write(0, GICD, 0x800 + 40, 0, 0b111),
            Model::V3 => machine.write(0, GICD, 0x6000 + 40 * 8, 3, 1 << 31),
        }
        machine.raise(0, 40, 0);
        assert_eq!(machine.acknowledge(0), 40, "{model:?}");
    }
}

#[test]
fn a_read_of_another_vcpus_active_state_is_exact() {
    let mut machine = Machine::running(Model::V3, 2, 4);
    edge_spi(&mut machine, 40);
    machine.write(0, GICD, 0x6000 + 40 * 8, 3, 1);
    machine.raise(0, 40, 0);
    assert_eq!(machine.read(0, GICD, 0x204, 2), 1 << 8);
    // Taken and ended by the hardware alone, without an exit.
    let acknowledged = machine.cores[1].acknowledge();
    assert_eq!(machine.read(0, GICD, 0x204, 2), 0);
    assert_eq!(machine.read(0, GICD, 0x304, 2), 1 << 8);
    machine.cores[1].end(acknowledged);
    assert_eq!(machine.read(0, GICD, 0x304, 2), 0);
}

#[test]
fn a_disable_shows_write_pending_until_the_other_core_has_seen_it() {
    let mut machine = Machine::running(Model::V3, 2, 4);
    edge_spi(&mut machine, 40);
    machine.write(0, GICD, 0x6000 + 40 * 8, 3, 1);
    machine.raise(0, 40, 0);
    machine.is_delayed = true;
    machine.write(0, GICD, 0x184, 2, 1 << 8);
    assert_eq!(machine.read(0, GICD, 0, 2) >> 31, 1);
    machine.drain();
    assert_eq!(machine.read(0, GICD, 0, 2) >> 31, 0);
    assert_eq!(machine.cores[1].acknowledge(), SPURIOUS);
    assert_eq!(machine.read(0, GICD, 0x204, 2), 1 << 8, "it stays pending");
}

#[test]
fn a_reset_leaves_no_physical_interrupt_active() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 4);
        Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
            .link(shikiri_abi::IntId(45), shikiri_abi::IntId(77));
        level_spi(&mut machine, 45);
        assert!(machine.physical.enabled.borrow().contains(&77));
        machine.physical.active.borrow_mut().insert(77);
        let kick = Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
            .fire(
                shikiri_vgic::Here { hw: &machine.cores[0], vcpu: Some(VcpuIndex(0)) },
                shikiri_abi::IntId(45),
                VcpuIndex(0),
            );
        assert!(kick.is_empty());
        machine.unload(0);
        Vgic::open(&mut machine.dist, &mut machine.cpus, &machine.quicks, &machine.spis)
            .reset(&machine.cores[0]);
        assert!(machine.physical.active.borrow().is_empty());
        assert!(machine.physical.enabled.borrow().is_empty());
        machine.load(0, 0);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        assert_eq!(machine.read(0, GICD, 0, 2) & 3, 0);
        level_spi(&mut machine, 45);
        assert!(machine.physical.enabled.borrow().contains(&77), "the link is still there");
    }
}
