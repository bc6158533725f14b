//! The registers, one by one; and accesses that no sane guest makes.

mod vgic_support;

use proptest::prelude::*;
use shikiri_abi::{IntId, VcpuIndex};
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Access, Frame, Here, Line, Model, SgiRegister, Sleep, Vgic};
use vgic_support::Machine;

const GICD: Frame = Frame::Distributor;
const BYTE: u8 = 0;
const WORD: u8 = 2;
const DOUBLE: u8 = 3;

fn gicr(vcpu: u8) -> Frame {
    Frame::Redistributor(VcpuIndex(vcpu))
}

fn machine(model: Model, spis: u16, vcpus: usize) -> Machine {
    let mut machine = Machine::new(model, spis, vcpus, 1, 4);
    machine.load(0, 0);
    machine
}

#[test]
fn gicv3_is_identified_as_the_architecture_says() {
    let mut m = machine(Model::V3, 256, 2);
    assert_eq!(m.read(0, GICD, 0x0, WORD), 0x50, "ARE and DS, nothing enabled");
    assert_eq!(m.read(0, GICD, 0x4, WORD), 0x0148_0008, "A3V, 10 ID bits, 288 INTIDs, no LPIs");
    assert_eq!(m.read(0, GICD, 0x8, WORD) & 0xfff, 0x43b);
    assert_eq!(m.read(0, GICD, 0xffe8, WORD) & 0xf0, 0x30, "GICv3");
    assert_eq!(m.read(0, gicr(1), 0xffe8, WORD) & 0xf0, 0x30, "GICv3");
    assert_eq!(m.read(0, GICD, 0xfff4, WORD), 0xf0);
}

#[test]
fn gicv2_is_identified_as_the_architecture_says() {
    let mut m = machine(Model::V2, 988, 8);
    assert_eq!(m.read(0, GICD, 0x0, WORD), 0);
    assert_eq!(m.read(0, GICD, 0x4, WORD), 0xff, "1024 INTIDs, 8 CPUs");
    assert_eq!(m.read(0, GICD, 0xfe8, WORD) & 0xf0, 0x20, "GICv2");
    let mut m = machine(Model::V2, 32, 1);
    assert_eq!(m.read(0, GICD, 0x4, WORD), 1);
}

#[test]
fn group_enables_are_kept_and_the_rest_of_control_is_fixed() {
    let mut m = machine(Model::V3, 32, 1);
    m.write(0, GICD, 0, WORD, 0xffff_ffff);
    assert_eq!(m.read(0, GICD, 0, WORD), 0x53);
    m.write(0, GICD, 0, WORD, 2);
    assert_eq!(m.read(0, GICD, 0, WORD), 0x52);
    let mut m = machine(Model::V2, 32, 1);
    m.write(0, GICD, 0, WORD, 0xffff_ffff);
    assert_eq!(m.read(0, GICD, 0, WORD), 3);
}

#[test]
fn redistributors_tell_who_they_are_and_which_is_last() {
    let mut m = machine(Model::V3, 32, 20);
    for vcpu in 0..20_u8 {
        let n = u64::from(vcpu);
        let last = if vcpu == 19 { 0x10 } else { 0 };
        let expected = (n / 16) << 40 | (n % 16) << 32 | n << 8 | last;
        assert_eq!(m.read(0, gicr(vcpu), 8, DOUBLE), expected);
        assert_eq!(m.read(0, gicr(vcpu), 8, WORD), expected & 0xffff_ffff);
        assert_eq!(m.read(0, gicr(vcpu), 12, WORD), expected >> 32);
    }
    assert_eq!(m.read(0, gicr(20), 8, DOUBLE), 0, "there is no 21st");
}

#[test]
fn a_redistributor_wakes_when_it_is_told_to() {
    let mut m = machine(Model::V3, 32, 1);
    assert_eq!(m.read(0, gicr(0), 0x14, WORD), 6, "asleep after reset");
    m.write(0, gicr(0), 0x14, WORD, 0);
    assert_eq!(m.read(0, gicr(0), 0x14, WORD), 0);
    m.write(0, gicr(0), 0x14, WORD, 2);
    assert_eq!(m.read(0, gicr(0), 0x14, WORD), 6);
    assert_eq!(m.read(0, gicr(0), 0, WORD), 0, "no LPIs, no write pending");
}

/// Set and clear registers of every word: what was set reads in both, and what was cleared in neither.
#[test]
fn set_and_clear_registers_show_the_same_bits() {
    for model in [Model::V2, Model::V3] {
        let mut m = machine(model, 988, 1);
        for (set, clear) in [(0x100, 0x180), (0x200, 0x280), (0x300, 0x380)] {
            for word in 1..32_u32 {
                let valid = if word == 31 { 0x0fff_ffff } else { 0xffff_ffff };
                m.write(0, GICD, set + word * 4, WORD, 0xffff_ffff);
                assert_eq!(m.read(0, GICD, set + word * 4, WORD), valid, "{set:#x} {word}");
                assert_eq!(m.read(0, GICD, clear + word * 4, WORD), valid);
                m.write(0, GICD, clear + word * 4, WORD, 0x0f0f_0000);
                assert_eq!(m.read(0, GICD, set + word * 4, WORD), valid & !0x0f0f_0000);
                m.write(0, GICD, clear + word * 4, WORD, 0xffff_ffff);
                assert_eq!(m.read(0, GICD, clear + word * 4, WORD), 0);
            }
        }
    }
}

#[test]
fn words_beyond_the_last_spi_are_not_there() {
    for model in [Model::V2, Model::V3] {
        let mut m = machine(model, 64, 1);
        for offset in [0x8c, 0x10c, 0x20c, 0x30c, 0x460, 0xc18] {
            m.write(0, GICD, offset, WORD, 0xffff_ffff);
            assert_eq!(m.read(0, GICD, offset, WORD), 0, "{offset:#x}");
        }
        m.raise(0, 96, 0);
        m.raise(0, 1019, 0);
        m.write(0, GICD, 0, WORD, 3);
        m.cores[0].set_groups(3);
        m.cores[0].set_priority_mask(0xf8);
        assert_eq!(m.acknowledge(0), SPURIOUS);
    }
}

#[test]
fn private_registers_are_the_distributors_on_gicv2_and_the_redistributors_on_gicv3() {
    let mut m = machine(Model::V3, 32, 2);
    m.write(0, GICD, 0x100, WORD, 0xffff_ffff);
    assert_eq!(m.read(0, GICD, 0x100, WORD), 0);
    assert_eq!(m.read(0, gicr(0), 0x1_0100, WORD), 0);
    m.write(0, gicr(1), 0x1_0100, WORD, 0x0800_0001);
    assert_eq!(m.read(0, gicr(1), 0x1_0180, WORD), 0x0800_0001);
    assert_eq!(m.read(0, gicr(0), 0x1_0180, WORD), 0);
    let mut m = machine(Model::V2, 32, 2);
    assert_eq!(m.read(0, GICD, 0x100, WORD), 0xffff, "SGIs are always enabled");
    m.write(0, GICD, 0x180, WORD, 0xffff_ffff);
    assert_eq!(m.read(0, GICD, 0x100, WORD), 0xffff);
    m.write(0, GICD, 0x100, WORD, 1 << 27);
    assert_eq!(m.read(0, GICD, 0x100, WORD), 0x0800_ffff);
    m.unload(0);
    m.load(0, 1);
    assert_eq!(m.read(0, GICD, 0x100, WORD), 0xffff, "banked");
}

#[test]
fn priorities_have_five_bits_and_are_accessible_as_bytes() {
    for (model, frame, base) in
        [(Model::V2, GICD, 0x400), (Model::V3, gicr(0), 0x1_0400), (Model::V3, GICD, 0x420)]
    {
        let mut m = machine(model, 32, 1);
        m.write(0, frame, base, WORD, 0x1234_56ff);
        assert_eq!(m.read(0, frame, base, WORD), 0x1030_50f8);
        assert_eq!(m.read(0, frame, base + 1, BYTE), 0x50);
        m.write(0, frame, base + 3, BYTE, 0xa7);
        assert_eq!(m.read(0, frame, base, WORD), 0xa030_50f8);
        assert_eq!(m.read(0, frame, base + 4, WORD), 0);
        m.write(0, frame, base + 0x1c, WORD, 0x8080_8080);
        assert_eq!(m.read(0, frame, base + 0x1c, WORD), 0x8080_8080);
    }
}

#[test]
fn triggers_of_sgis_are_fixed_and_others_are_kept() {
    let mut m = machine(Model::V3, 32, 1);
    assert_eq!(m.read(0, gicr(0), 0x1_0c00, WORD), 0xaaaa_aaaa);
    m.write(0, gicr(0), 0x1_0c00, WORD, 0);
    assert_eq!(m.read(0, gicr(0), 0x1_0c00, WORD), 0xaaaa_aaaa);
    m.write(0, gicr(0), 0x1_0c04, WORD, 0xffff_0000);
    assert_eq!(m.read(0, gicr(0), 0x1_0c04, WORD), 0xaaaa_0000);
    m.write(0, GICD, 0xc0c, WORD, 0x8000_0002);
    assert_eq!(m.read(0, GICD, 0xc0c, WORD), 0x8000_0002);
    assert_eq!(m.read(0, GICD, 0xc08, WORD), 0);
}

#[test]
fn routes_read_as_written_and_follow_to_the_physical_interrupt() {
    let mut m = machine(Model::V3, 32, 3);
    assert!(Vgic::open(&mut m.dist, &mut m.cpus, &m.quicks, &m.spis).link(IntId(40), IntId(90)));
    let offset = 0x6000 + 40 * 8;
    m.write(0, GICD, offset, DOUBLE, 2);
    assert_eq!(m.read(0, GICD, offset, DOUBLE), 2);
    assert_eq!(m.physical.routes.borrow().get(&90), Some(&2));
    m.write(0, GICD, offset, WORD, 1);
    m.write(0, GICD, offset + 4, WORD, 0xff);
    assert_eq!(m.read(0, GICD, offset, DOUBLE), 0xff_0000_0001);
    assert_eq!(m.physical.routes.borrow().get(&90), Some(&1), "no vCPU has that affinity 3");
    m.write(0, GICD, offset, DOUBLE, 1 << 31 | 0xff_00ff_ffff);
    assert_eq!(m.read(0, GICD, offset, DOUBLE), 0xff_80ff_ffff, "1 of N");
    m.write(0, GICD, offset, DOUBLE, u64::MAX);
    assert_eq!(m.read(0, GICD, offset, DOUBLE), 0xff_80ff_ffff, "reserved bits are zero");
    m.write(0, GICD, 0x6000 + 31 * 8, DOUBLE, 1);
    assert_eq!(m.read(0, GICD, 0x6000 + 31 * 8, DOUBLE), 0, "no PPI has a route");
}

#[test]
fn targets_are_banked_for_private_interrupts_and_absent_on_a_uniprocessor() {
    let mut m = machine(Model::V2, 32, 3);
    assert_eq!(m.read(0, GICD, 0x800, WORD), 0x0101_0101);
    m.write(0, GICD, 0x820, WORD, 0xff04_0201);
    assert_eq!(m.read(0, GICD, 0x820, WORD), 0x0704_0201, "three CPUs");
    m.unload(0);
    m.load(0, 2);
    assert_eq!(m.read(0, GICD, 0x81c, WORD), 0x0404_0404);
    m.write(0, GICD, 0x800, WORD, 0);
    assert_eq!(m.read(0, GICD, 0x800, BYTE), 4);
    let mut m = machine(Model::V2, 32, 1);
    m.write(0, GICD, 0x820, WORD, 0xffff_ffff);
    assert_eq!(m.read(0, GICD, 0x800, WORD), 0);
    assert_eq!(m.read(0, GICD, 0x820, WORD), 0);
}

#[test]
fn enables_of_linked_interrupts_follow_to_the_physical_ones() {
    for model in [Model::V2, Model::V3] {
        let mut m = machine(model, 32, 1);
        assert!(
            Vgic::open(&mut m.dist, &mut m.cpus, &m.quicks, &m.spis).link(IntId(40), IntId(90))
        );
        assert!(
            !Vgic::open(&mut m.dist, &mut m.cpus, &m.quicks, &m.spis).link(IntId(64), IntId(91)),
            "no such SPI"
        );
        assert!(
            !Vgic::open(&mut m.dist, &mut m.cpus, &m.quicks, &m.spis).link(IntId(27), IntId(27)),
            "no SPI"
        );
        m.write(0, GICD, 0x104, WORD, 0xffff_ffff);
        assert!(m.physical.enabled.borrow().iter().eq(&[90]));
        m.write(0, GICD, 0x184, WORD, 1 << 8);
        assert!(m.physical.enabled.borrow().is_empty());
    }
}

#[test]
fn what_is_linked_late_begins_without_a_past_and_as_the_guest_has_set_it() {
    for model in [Model::V2, Model::V3] {
        for is_enabled in [false, true] {
            let mut m = machine(model, 32, 2);
            m.physical.active.borrow_mut().insert(40);
            m.physical.enabled.borrow_mut().insert(40);
            m.write(0, GICD, 0x104, WORD, 0xffff_feff);
            if is_enabled {
                m.write(0, GICD, 0x104, WORD, 1 << 8);
            }
            m.physical.enabled.borrow_mut().clear();
            m.write(0, GICD, 0x184, WORD, 1 << 9);
            if model == Model::V2 {
                m.write(0, GICD, 0x828, BYTE, 2);
            } else {
                m.write(0, GICD, 0x6140, DOUBLE, 1);
            }
            assert!(m.physical.enabled.borrow().is_empty(), "nothing stands behind it");
            assert!(m.physical.routes.borrow().is_empty());
            m.link_late(0, 40);
            assert!(m.physical.active.borrow().is_empty());
            assert_eq!(m.physical.enabled.borrow().contains(&40), is_enabled);
            assert_eq!(m.physical.enabled.borrow().len(), usize::from(is_enabled), "no other");
            assert_eq!(m.physical.routes.borrow().get(&40), Some(&1));
            m.write(0, GICD, 0x184, WORD, 1 << 8);
            assert!(m.physical.enabled.borrow().is_empty());
            m.write(0, GICD, 0x104, WORD, 1 << 8);
            assert!(m.physical.enabled.borrow().iter().eq(&[40]));
        }
    }
}

#[test]
fn what_the_guest_has_made_of_an_spi_ends_as_it_began_when_it_is_linked_late() {
    for model in [Model::V2, Model::V3] {
        for core in [0, 1] {
            // Pending, or taken and not ended yet, at the vCPU that is loaded on core 0.
            for is_taken in [false, true] {
                let mut m = Machine::running(model, 2, 4);
                if model == Model::V2 {
                    m.write(0, GICD, 0x828, BYTE, 1);
                }
                m.write(0, GICD, 0x104, WORD, 1 << 8);
                m.write(0, GICD, 0x204, WORD, 1 << 8);
                if is_taken {
                    assert_eq!(m.acknowledge(0), 40);
                }
                m.link_late(core, 40);
                m.drain();
                if !is_taken {
                    assert_eq!(m.acknowledge(0), 40);
                }
                assert!(m.fire(0, 40), "the device's own");
                m.drain();
                m.end(0, 40);
                m.drain();
                assert!(m.physical.active.borrow().contains(&40), "it is still to be taken");
                assert_eq!(m.acknowledge(0), 40);
                m.end(0, 40);
                m.drain();
                assert!(m.physical.active.borrow().is_empty());
                assert_eq!(m.acknowledge(0), SPURIOUS);
            }
        }
    }
}

#[test]
fn a_deactivation_in_end_of_interrupt_mode_0_is_ignored() {
    for model in [Model::V2, Model::V3] {
        let mut m = Machine::running(model, 1, 4);
        m.write(0, GICD, 0x304, WORD, 1);
        m.deactivate(0, 32);
        assert_eq!(m.read(0, GICD, 0x304, WORD), 1);
        m.cores[0].set_split_end(true);
        m.deactivate(0, 32);
        assert_eq!(m.read(0, GICD, 0x304, WORD), 0);
    }
}

#[test]
fn gicv2_deactivates_through_the_second_page_of_its_cpu_interface() {
    let mut m = Machine::running(Model::V2, 1, 4);
    m.cores[0].set_split_end(true);
    m.write(0, GICD, 0x304, WORD, 1);
    m.write(0, Frame::Deactivate, 4, WORD, 32);
    assert_eq!(m.read(0, GICD, 0x304, WORD), 1);
    m.write(0, Frame::Deactivate, 0, WORD, 32);
    assert_eq!(m.read(0, GICD, 0x304, WORD), 0);
    assert_eq!(m.read(0, Frame::Deactivate, 0, WORD), 0);
}

/// Every offset at which a frame has registers, every size, several values: nothing panics, and nothing is shown beyond
/// the access size that the register takes.
#[test]
#[cfg_attr(miri, ignore = "exhaustive: long under Miri, and no unsafe code")]
fn no_access_to_any_offset_stops_anything() {
    for model in [Model::V2, Model::V3] {
        for spis in [0, 32, 988] {
            let mut m = Machine::new(model, spis, 3, 1, 2);
            m.load(0, 0);
            for frame in [GICD, gicr(0), gicr(2), gicr(3), gicr(255), Frame::Deactivate] {
                for offset in (0..0x1000).chain(0x6000..0x6100).chain(0xff00..0x1_1000) {
                    let size = u8::try_from(offset & 3).unwrap();
                    let aligned = offset & !((1 << size) - 1);
                    for value in [u64::MAX, 0] {
                        let _ = m.mmio(0, frame, aligned, size, Access::Write(value));
                    }
                    let _ = m.mmio(0, frame, aligned, size, Access::Read);
                    let _ = m.mmio(0, frame, offset, 3, Access::Read);
                }
            }
            let _ = m.mmio(0, GICD, u32::MAX, 0, Access::Write(u64::MAX));
            let _ = m.mmio(0, GICD, 0x100, 255, Access::Read);
        }
    }
}

#[test]
fn a_misaligned_access_reads_zero_and_writes_nothing() {
    let mut m = machine(Model::V3, 32, 1);
    m.write(0, GICD, 0x106, WORD, 0xffff_ffff);
    m.write(0, GICD, 0x104, 1, 0xffff);
    m.write(0, GICD, 0x104, DOUBLE, u64::MAX);
    assert_eq!(m.read(0, GICD, 0x104, WORD), 0);
    assert_eq!(m.read(0, GICD, 2, WORD), 0);
    assert_eq!(m.read(0, GICD, 0, BYTE), 0);
}

/// A hostile guest and a hostile interface: list registers hold anything the guest can bring about.
fn hostile(model: Model, steps: &[(u8, u32, u64)]) {
    let mut m = Machine::new(model, 64, 3, 2, 2);
    m.load(0, 0);
    m.load(1, 1);
    m.is_delayed = true;
    for (kind, offset, value) in steps {
        let core = usize::from(kind & 1);
        let vcpu = VcpuIndex(u8::try_from(value % 5).unwrap());
        let intid = u16::try_from(offset & 0x7ff).unwrap();
        let size = kind >> 1 & 3;
        match kind >> 3 & 15 {
            0..=3 => {
                let _ = m.mmio(core, GICD, offset & 0xffff, size, Access::Write(*value));
            }
            4 | 5 => {
                let frame = Frame::Redistributor(vcpu);
                let _ = m.mmio(core, frame, offset & 0x1_ffff, size, Access::Write(*value));
            }
            6 => {
                let _ = m.mmio(core, GICD, offset & 0xffff, size, Access::Read);
            }
            7 => m.send_sgi(core, SgiRegister::Group1, *value),
            8 => {
                m.acknowledge(core);
            }
            9 => m.end(core, *offset & 0x1fff),
            10 if m.loaded[core].is_some() => m.deactivate(core, *offset),
            10 => {}
            11 => m.sync(core),
            12 => {
                let here = Here { hw: &m.cores[core], vcpu: m.loaded[core].map(VcpuIndex) };
                let mut vgic = Vgic::open(&mut m.dist, &mut m.cpus, &m.quicks, &m.spis);
                let _ = vgic.raise(here, IntId(intid), vcpu);
                let line = if kind & 2 == 0 { Line::High } else { Line::Low };
                let _ = vgic.set_line(here, IntId(intid), vcpu, line);
                let _ = vgic.holds_physical(vcpu, IntId(intid));
                let _ = vgic.has_deliverable(here, vcpu, Sleep::PowerDown);
            }
            13 => {
                m.unload(core);
                let next = u8::try_from(value % 3).unwrap();
                if m.core_of(next).is_none() {
                    m.load(core, next);
                }
            }
            14 => m.cores[core].set_groups(*offset),
            _ => m.cores[core].set_split_end(kind & 2 == 0),
        }
    }
    m.drain();
}

proptest! {
    #![proptest_config(shikiri_model::cases(200))]

    #[test]
    fn a_hostile_guest_of_gicv3_stops_nothing(steps in prop::collection::vec((any::<u8>(), any::<u32>(), any::<u64>()), 1..shikiri_model::steps(400))) {
        hostile(Model::V3, &steps);
    }

    #[test]
    fn a_hostile_guest_of_gicv2_stops_nothing(steps in prop::collection::vec((any::<u8>(), any::<u32>(), any::<u64>()), 1..shikiri_model::steps(400))) {
        hostile(Model::V2, &steps);
    }
}
