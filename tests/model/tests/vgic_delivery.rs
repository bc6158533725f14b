//! Delivery: from a raise to the guest's acknowledge and end, with the hardware's interface modelled.

mod vgic_support;

use shikiri_abi::VcpuIndex;
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{
    Access, Frame, Here, Model, SgiRegister, Sleep, VcpuSet, Vgic, send_sgi1r, write_without_lock,
};
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
        assert!(machine.raise(0, 40, 0), "pending already");
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
fn more_pending_than_list_registers_come_in_priority_order() {
    for model in BOTH {
        for registers in [1, 2, 4, 16] {
            let mut machine = Machine::running(model, 1, registers);
            // 20 SPIs, raised from the least to the most urgent.
            for n in 0..20_u16 {
                edge_spi(&mut machine, 32 + n);
                priority(&mut machine, 32 + n, u64::from(19 - n) * 8);
            }
            for n in 0..20_u16 {
                machine.raise(0, 32 + n, 0);
            }
            for n in (0..20_u32).rev() {
                let acknowledged = machine.acknowledge(0);
                assert_eq!(acknowledged, 32 + n, "{model:?} {registers}");
                machine.end(0, acknowledged);
            }
            assert_eq!(machine.acknowledge(0), SPURIOUS);
        }
    }
}

#[test]
fn nested_interrupts_beyond_the_list_registers_end_in_order() {
    for model in BOTH {
        for registers in [1, 2, 4] {
            let mut machine = Machine::running(model, 1, registers);
            for n in 0..16_u16 {
                edge_spi(&mut machine, 32 + n);
                priority(&mut machine, 32 + n, u64::from(30 - n) * 8);
            }
            for n in 0..16_u32 {
                machine.raise(0, u16::try_from(32 + n).unwrap(), 0);
                assert_eq!(machine.acknowledge(0), 32 + n, "each preempts the one before");
            }
            assert_eq!(machine.read(0, GICD, 0x304, 2), 0xffff);
            // Raised again while active, half of them evicted.
            for n in 0..16_u16 {
                machine.raise(0, 32 + n, 0);
            }
            for n in (0..16_u32).rev() {
                machine.end(0, 32 + n);
                assert_eq!(machine.read(0, GICD, 0x304, 2), (1 << n) - 1, "{model:?} {registers}");
                assert_eq!(machine.acknowledge(0), 32 + n, "the one that was raised again");
                machine.end(0, 32 + n);
            }
            assert_eq!(machine.acknowledge(0), SPURIOUS);
            assert_eq!(machine.read(0, GICD, 0x204, 2), 0);
        }
    }
}

#[test]
fn a_new_priority_does_not_keep_an_active_interrupt_active() {
    for model in BOTH {
        // The priority is written by the vCPU that has it, or by another.
        for writer in [0, 1] {
            let mut machine = Machine::running(model, 2, 4);
            edge_spi(&mut machine, 40);
            priority(&mut machine, 40, 0x80);
            machine.raise(0, 40, 0);
            assert_eq!(machine.acknowledge(0), 40);
            machine.write(writer, GICD, 0x400 + 40, 0, 0x40);
            // It comes again meanwhile, and is more urgent than itself: that waits for its end.
            machine.raise(0, 40, 0);
            assert_eq!(machine.acknowledge(0), SPURIOUS);
            machine.end(0, 40);
            assert_eq!(machine.read(0, GICD, 0x304, 2), 0, "{model:?} {writer}");
            machine.cores[0].set_priority_mask(0x80);
            assert_eq!(machine.acknowledge(0), 40, "with its new priority");
            machine.end(0, 40);
            assert_eq!(machine.read(0, GICD, 0x304, 2), 0);
        }
    }
}

#[test]
fn an_end_of_what_a_register_made_inactive_ends_nothing_else() {
    for model in BOTH {
        for (registers, writer) in [(1, 0), (2, 0), (2, 1), (4, 1)] {
            let mut machine = Machine::running(model, 2, registers);
            for (n, urgency) in [(0, 0x80), (1, 0x60), (2, 0x40)] {
                edge_spi(&mut machine, 40 + n);
                priority(&mut machine, 40 + n, urgency);
                machine.raise(0, 40 + n, 0);
                assert_eq!(machine.acknowledge(0), u32::from(40 + n));
            }
            machine.write(writer, GICD, 0x384, 2, 1 << 10);
            assert_eq!(machine.read(0, GICD, 0x304, 2), 3 << 8);
            machine.end(0, 42);
            assert_eq!(machine.read(0, GICD, 0x304, 2), 3 << 8, "{model:?} {registers} {writer}");
            machine.end(0, 41);
            assert_eq!(machine.read(0, GICD, 0x304, 2), 1 << 8);
            machine.end(0, 40);
            assert_eq!(machine.read(0, GICD, 0x304, 2), 0);
        }
    }
}

#[test]
fn split_ends_deactivate_in_any_order_beyond_the_list_registers() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 2);
        machine.cores[0].set_split_end(true);
        for n in 0..10_u16 {
            edge_spi(&mut machine, 32 + n);
        }
        for n in 0..10_u16 {
            machine.raise(0, 32 + n, 0);
        }
        let mut taken = 0_u64;
        for _ in 0..10 {
            let acknowledged = machine.acknowledge(0);
            assert_ne!(acknowledged, SPURIOUS);
            taken |= 1 << (acknowledged - 32);
            machine.end(0, acknowledged);
        }
        assert_eq!(taken, 0x3ff);
        assert_eq!(machine.read(0, GICD, 0x304, 2), 0x3ff);
        for n in [3, 9, 0, 1, 8, 7, 2, 5, 4, 6] {
            machine.deactivate(0, 32 + n);
            taken &= !(1 << n);
            assert_eq!(machine.read(0, GICD, 0x304, 2), taken, "{model:?}");
        }
    }
}

#[test]
fn a_split_end_that_finds_no_list_register_deactivates_nothing() {
    for model in BOTH {
        for counts in [false, true] {
            let mut machine = Machine::running(model, 1, 2);
            machine.cores[0].set_split_end(true);
            machine.cores[0].counts_split_ends.set(counts);
            for n in 0..5_u16 {
                edge_spi(&mut machine, 32 + n);
                priority(&mut machine, 32 + n, 0x80 - 0x10 * u64::from(n));
                machine.raise(0, 32 + n, 0);
                assert_eq!(machine.acknowledge(0), 32 + u32::from(n));
            }
            for n in (0..5).rev() {
                machine.end(0, 32 + n);
                assert_eq!(machine.read(0, GICD, 0x304, 2), 0x1f, "{model:?}, {n}");
            }
        }
    }
}

#[test]
fn a_disabled_group_in_the_list_registers_does_not_hide_the_other_group() {
    for model in BOTH {
        let mut machine = Machine::running(model, 1, 2);
        for n in 0..4_u16 {
            edge_spi(&mut machine, 32 + n);
        }
        // SPIs 32 and 33 in group 0 (more urgent), 34 and 35 in group 1.
        machine.write(0, GICD, 0x84, 2, 0b1100);
        priority(&mut machine, 34, 0x80);
        priority(&mut machine, 35, 0x80);
        machine.cores[0].set_groups(2);
        for n in 0..4_u16 {
            machine.raise(0, 32 + n, 0);
        }
        assert_eq!(machine.acknowledge(0), 34);
        machine.end(0, 34);
        assert_eq!(machine.acknowledge(0), 35);
        machine.end(0, 35);
        assert_eq!(machine.acknowledge(0), SPURIOUS);
        machine.cores[0].set_groups(3);
        machine.drain();
        assert_eq!(machine.acknowledge(0), 32);
        machine.end(0, 32);
        assert_eq!(machine.acknowledge(0), 33);
    }
}

#[test]
fn one_group_alone_is_quiet_while_more_is_pending_than_list_registers() {
    for (model, groups) in BOTH.into_iter().flat_map(|model| [(model, 1), (model, 2)]) {
        let mut machine = Machine::running(model, 1, 2);
        for n in 0..6_u16 {
            edge_spi(&mut machine, 32 + n);
        }
        // Three of each group.
        machine.write(0, GICD, 0x84, 2, 0b11_1000);
        machine.cores[0].set_groups(groups);
        for n in 0..6_u16 {
            machine.raise(0, 32 + n, 0);
        }
        assert!(!machine.cores[0].is_maintenance(), "{model:?}, {groups}");
        // The other one is announced when it comes.
        machine.cores[0].set_groups(3);
        assert!(machine.cores[0].is_maintenance(), "{model:?}, {groups}");
    }
}

#[test]
fn an_sgi_reaches_each_listed_vcpu() {
    let mut machine = Machine::running(Model::V3, 3, 4);
    for vcpu in 0..3_u8 {
        let own = Frame::Redistributor(VcpuIndex(vcpu));
        machine.write(usize::from(vcpu), own, 0x1_0100, 2, 0xffff);
        machine.write(usize::from(vcpu), own, 0x1_0080, 2, 0xffff);
    }
    machine.send_sgi(0, SgiRegister::Group1, (5 << 24) | 0b101);
    assert_eq!(machine.acknowledge(0), 5);
    assert_eq!(machine.acknowledge(1), SPURIOUS);
    assert_eq!(machine.acknowledge(2), 5);
    machine.end(0, 5);
    machine.end(2, 5);
    machine.send_sgi(1, SgiRegister::Group1, (7 << 24) | (1 << 40));
    assert_eq!(machine.acknowledge(0), 7);
    assert_eq!(machine.acknowledge(1), SPURIOUS, "all but the sender");
    assert_eq!(machine.acknowledge(2), 7);
    machine.send_sgi(0, SgiRegister::Group0, (9 << 24) | 0b010);
    assert_eq!(machine.acknowledge(1), SPURIOUS, "it is in group 1");
}

#[test]
fn who_is_told_of_its_mail_at_once_needs_no_kick() {
    for model in BOTH {
        let machine = Machine::new(model, 32, 4, 1, 4);
        let here = Here { hw: &machine.cores[0], vcpu: Some(VcpuIndex(0)) };
        let mut asked = Vec::new();
        let ring = |vcpu: VcpuIndex| {
            asked.push(vcpu.0);
            vcpu.0 == 2
        };
        // To 1, 2, 3 and 7, which does not exist.
        let kick = if model == Model::V3 {
            send_sgi1r(&machine.quicks, here, (5 << 24) | 0b1000_1110, ring).kick
        } else {
            write_without_lock(&machine.quicks, here, GICD, 0xf00, 2, 0x8e_0005, ring).unwrap()
        };
        assert_eq!((asked, kick), (vec![1, 2, 3], VcpuSet(0b1010)));
        // Who has not looked at its mail yet is not told again.
        let ring = |_| panic!("told twice");
        let kick = if model == Model::V3 {
            send_sgi1r(&machine.quicks, here, (6 << 24) | 0b1110, ring).kick
        } else {
            write_without_lock(&machine.quicks, here, GICD, 0xf00, 2, 0x0e_0006, ring).unwrap()
        };
        assert!(kick.is_empty());
    }
}

#[test]
fn sgis_reach_64_vcpus_by_affinity() {
    let mut machine = Machine::new(Model::V3, 32, 64, 1, 4);
    machine.load(0, 0);
    machine.write(0, GICD, 0, 2, 3);
    for vcpu in 0..64 {
        machine.write(0, Frame::Redistributor(VcpuIndex(vcpu)), 0x1_0100, 2, 2);
    }
    // Aff1 = 3, Aff0 15 and 0: vCPUs 63 and 48.
    machine.send_sgi(0, SgiRegister::Group1, (1 << 24) | (3 << 16) | 0x8001);
    for vcpu in 0..64 {
        let own = Frame::Redistributor(VcpuIndex(vcpu));
        let expected = if vcpu == 63 || vcpu == 48 { 2 } else { 0 };
        assert_eq!(machine.read(0, own, 0x1_0200, 2), expected, "{vcpu}");
    }
    // Aff1 = 4, Aff2 = 1, Aff3 = 1 and a range selector reach nobody.
    for bad in [4 << 16, 1 << 32, 1 << 48, 1 << 44] {
        machine.send_sgi(0, SgiRegister::Group1, (1 << 24) | bad | 1);
    }
    let first = Frame::Redistributor(VcpuIndex(0));
    assert_eq!(machine.read(0, first, 0x1_0200, 2), 0);
}

#[test]
fn an_sgi_of_gicv2_is_pending_once_for_each_sender() {
    let mut machine = Machine::running(Model::V2, 3, 4);
    for sender in [1, 2, 1] {
        machine.write(sender, GICD, 0xf00, 2, (1 << 16) | 4);
    }
    assert_eq!(machine.read(0, GICD, 0xf24, 0), 0b110);
    assert_eq!(machine.acknowledge(0), 4 | (1 << 10));
    assert_eq!(machine.acknowledge(0), SPURIOUS, "active");
    machine.write(0, GICD, 0xf00, 2, (2 << 24) | 4);
    machine.end(0, 4 | (1 << 10));
    let next = machine.acknowledge(0);
    assert_eq!(next, 4, "from itself");
    machine.end(0, next);
    assert_eq!(machine.acknowledge(0), 4 | (2 << 10));
    machine.end(0, 4 | (2 << 10));
    assert_eq!(machine.acknowledge(0), SPURIOUS);
    machine.write(0, GICD, 0xf24, 0, 0b111);
    machine.write(0, GICD, 0xf14, 0, 0b101);
    assert_eq!(machine.acknowledge(0), 4 | (1 << 10));
    machine.end(0, 4 | (1 << 10));
    assert_eq!(machine.acknowledge(0), SPURIOUS, "the other senders were removed");
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

#[test]
fn an_sgi_keeps_its_sender_when_another_vcpu_switches_the_distributor() {
    let mut machine = Machine::running(Model::V2, 3, 4);
    let sgi_to_0 = (1 << 16) | 3;
    machine.write(1, GICD, 0xf00, 2, sgi_to_0);
    assert_eq!(machine.acknowledge(0), 3 | 1 << 10);
    machine.end(0, 3 | 1 << 10);
    machine.is_delayed = true;
    machine.write(2, GICD, 0xf00, 2, sgi_to_0);
    machine.sync(0);
    machine.write(1, GICD, 0, 2, 0);
    machine.write(1, GICD, 0, 2, 3);
    machine.drain();
    assert_eq!(machine.acknowledge(0), 3 | 2 << 10);
    machine.end(0, 3 | 2 << 10);
    machine.drain();
    assert_eq!(machine.acknowledge(0), SPURIOUS);
}

/// GICv2: a write to GICD_CPENDSGIR that names nobody takes back what is in the list registers if there is mail; it must
/// put it there again, since the kick behind the mail finds none any more.
#[test]
fn a_cleared_sgi_that_nobody_sent_hides_no_interrupt() {
    let mut machine = Machine::running(Model::V2, 2, 4);
    edge_spi(&mut machine, 40);
    machine.raise(0, 40, 0);
    machine.is_delayed = true;
    machine.write(1, GICD, 0xf00, 2, 1 << 16 | 5);
    machine.write(0, GICD, 0xf10, 2, 0);
    machine.drain();
    machine.is_delayed = false;
    let first = machine.acknowledge(0);
    machine.end(0, first);
    let second = machine.acknowledge(0);
    machine.end(0, second);
    assert_eq!([first, second].map(|taken| taken & 0x3ff), [5, 40]);
}

/// Two vCPUs of GICv3 with one list register each; SPIs 40 and 41 go to whoever is online. Both are pending and belong to
/// vCPU 1, since vCPU 0 came online later.
fn two_for_anybody() -> Machine {
    let mut machine = Machine::new(Model::V3, 64, 2, 2, 1);
    machine.load(1, 1);
    machine.write(1, GICD, 0, 2, 3);
    for intid in [40, 41] {
        machine.write(1, GICD, 0x100 + 4, 2, 1 << (intid - 32));
        machine.write(1, GICD, 0x6000 + u32::from(intid) * 8, 3, 1 << 31);
        machine.write(1, GICD, 0xc00 + 8, 2, u64::MAX);
        machine.raise(1, intid, 0);
    }
    machine
}

fn unmask(machine: &mut Machine, core: usize) {
    machine.cores[core].set_groups(3);
    machine.cores[core].set_priority_mask(0xf8);
}

#[test]
fn what_a_load_has_no_room_for_is_told_to_who_gets_it() {
    let mut machine = two_for_anybody();
    machine.unload(1);
    machine.load(0, 0);
    unmask(&mut machine, 0);
    machine.load(1, 1);
    assert_eq!(machine.acknowledge(0), 40, "the lowest that is online");
}

/// Also the interrupt of a vCPU's own timer may push another one out, which then is somebody else's.
#[test]
fn what_a_timer_displaces_is_told_to_who_gets_it() {
    let mut machine = two_for_anybody();
    machine.load(0, 0);
    unmask(&mut machine, 0);
    machine.write(1, Frame::Redistributor(VcpuIndex(1)), 0x1_0100, 2, 1 << 27);
    machine.is_delayed = true;
    assert!(machine.fire(1, 27));
    assert!(machine.kicked.contains(&0), "a kick for vCPU 0");
    machine.drain();
    assert_eq!(machine.acknowledge(0), 40);
}
