//! More that is pending or active than there are list registers: the order, what is pushed out, and who is told of it.

use shikiri_abi::VcpuIndex;
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Frame, Model};

use crate::vgic_support::Machine;
use crate::{BOTH, GICD, edge_spi, priority};

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
