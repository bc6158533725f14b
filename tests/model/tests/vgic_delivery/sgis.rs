//! SGIs: whom they reach, who is told, and from whom they are.

use shikiri_abi::VcpuIndex;
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Frame, Here, Model, SgiRegister, VcpuSet, send_sgi1r, write_without_lock};

use crate::vgic_support::Machine;
use crate::{BOTH, GICD, edge_spi};

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
