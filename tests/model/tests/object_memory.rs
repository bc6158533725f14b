//! What a named object costs its opener, and where its name is read (V4, P3 d).

use shikiri_abi::{Ipa, Pa, PageCount, PartitionId, PartitionSlot, Resource};
use shikiri_arch::hw::PhysMem as _;
use shikiri_config::{GicVersion, Memory, PartitionSpec, Place};
use shikiri_core::invariants::Violation;
use shikiri_core::object::{Refusal, read_name};
use shikiri_core::partition::Holdings;
use shikiri_core::partition::build::HardwarePage;
use shikiri_model::description;
use shikiri_model::machine::{Machine, RAM_BASE};

const BASE: u64 = 0x4000_0000;
/// One page, at the end of RAM, and one behind a hole.
const SECOND: u64 = BASE + 0x10_0000;
const GICV: HardwarePage =
    HardwarePage { ipa: Ipa(0x0801_0000), pa: Pa(0x0804_0000), pages: PageCount(1) };

fn living() -> (Machine, Holdings) {
    let mut spec = PartitionSpec::new("any", GicVersion::V2);
    spec.entry = Ipa(BASE);
    spec.vcpus = vec![description::vcpu()];
    let last = Place::At(Pa(RAM_BASE + (4 << 20) - 4096));
    spec.memory = [(BASE, Place::Any), (SECOND, last)]
        .map(|(ipa, place)| Memory { ipa: Ipa(ipa), bytes: 4096, place })
        .into();
    let bundle = description::bundle(&description::system(GicVersion::V2, 1, vec![spec]));
    let machine = Machine::new(4, &bundle, &[]);
    let (holdings, result) = machine.build(&bundle, 0, Some(GICV));
    assert_eq!(result, Ok(()));
    (machine, holdings)
}

fn put(machine: &Machine, holdings: &Holdings, at: u64, bytes: &[u8]) {
    let mut padded = [0xff; 64];
    padded[..bytes.len()].copy_from_slice(bytes);
    for (index, word) in padded.as_chunks::<8>().0.iter().enumerate() {
        let (pa, _) = holdings.translate(Ipa(at + 8 * index as u64)).unwrap();
        machine.ram.write_u64(pa, u64::from_le_bytes(*word));
    }
}

#[test]
fn a_name_is_copied_from_the_partitions_own_memory() {
    let (machine, holdings) = living();
    let read = |at: u64, length: u8| read_name(&machine.ram, &holdings, Ipa(at), length);
    let longest = [b'n'; 63];
    for at in [BASE, BASE + 64, BASE + 4032, SECOND, SECOND + 4032] {
        put(&machine, &holdings, at, &longest);
        assert_eq!(read(at, 63).unwrap().as_bytes(), longest);
        assert_eq!(read(at, 1).unwrap().as_bytes(), b"n");
        put(&machine, &holdings, at, b"log/7");
        assert_eq!(read(at, 5).unwrap().as_bytes(), b"log/7");
        assert_eq!(read(at, 6), Err(Refusal::Argument(1)), "a byte that no name has");
        assert_eq!(read(at, 0), Err(Refusal::Argument(1)));
        assert_eq!(read(at, 65), Err(Refusal::Argument(2)), "more than is read");
        for offset in [1, 8, 32, 63] {
            assert_eq!(read(at + offset, 1), Err(Refusal::Alignment));
        }
    }
    for at in [0, BASE - 64, BASE + 4096, SECOND - 64, SECOND + 4096, 0x0801_0000, !63] {
        assert_eq!(read(at, 1), Err(Refusal::Address), "{at:#x}");
    }
    machine.end(holdings);
}

#[test]
fn a_share_is_paid_for_and_no_frame_stands_for_it() {
    let (machine, mut holdings) = living();
    let used = |holdings: &Holdings| holdings.account().line(Resource::ManagementMemory).used;
    let (before, free) = (used(&holdings), machine.store.free_pages());
    holdings.account_mut().set_limit(Resource::ManagementMemory, Some(before + 2));
    for count in 1..=2 {
        assert_eq!(holdings.charge_share(), Ok(()));
        assert_eq!((holdings.shares(), used(&holdings)), (count, before + count));
        machine.audit([&holdings]).unwrap();
    }
    let refused = holdings.charge_share().unwrap_err();
    assert_eq!((refused.resource, refused.asked), (Resource::ManagementMemory, 1));
    assert_eq!((holdings.shares(), machine.store.free_pages()), (2, free));
    // A page that is charged and is neither a frame nor a share is still found.
    holdings.account_mut().set_limit(Resource::ManagementMemory, None);
    let stray = holdings.account_mut().charge(Resource::ManagementMemory, 1).unwrap();
    let slot = PartitionSlot(0);
    assert!(matches!(machine.audit([&holdings]), Err(Violation::Books(of, _)) if of == slot));
    holdings.account_mut().refund(stray);
    for _ in 0..2 {
        holdings.refund_share();
    }
    assert_eq!((holdings.shares(), used(&holdings)), (0, before));
    assert_eq!(holdings.account().owner(), PartitionId(1));
    machine.end(holdings);
}
