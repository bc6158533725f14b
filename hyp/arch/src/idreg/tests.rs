//! The view on the cores that the tests of the hypervisor run on, and on one that has everything.

use super::{
    AARCH32, CTR_EL0, DCZID_EL0, FIELDS, FIRST, GicView, IdTable, REVIDR_EL1, Rule, encoding,
};
use crate::exit::SysregEncoding;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::vec::Vec;

/// ID registers of a core: CRm, op2, value.
type Core = &'static [(u8, u8, u64)];

/// Cortex-A72 r0p3.
const A72: Core = &[
    (1, 0, 0x131),
    (1, 1, 0x1_0001 | (1 << 12)),
    (1, 2, 0x0301_0066),
    (1, 4, 0x1020_1105),
    (1, 5, 0x4000_0000),
    (1, 6, 0x0126_0000),
    (1, 7, 0x0210_2211),
    (2, 0, 0x0210_1110),
    (3, 0, 0x1011_0222),
    (4, 0, 0x2222),
    (5, 0, 0x1030_5106),
    (6, 0, 0x1_1120),
    (7, 0, 0x1124),
];

/// Neoverse N1 r3p1, AArch32 at EL0 only.
const N1: Core = &[
    (1, 0, 0x1001_0131),
    (4, 0, 0x1100_0000_1111_1112),
    (4, 1, 0x20),
    (5, 0, 0x0000_0110_3052_0408),
    (6, 0, 0x0000_1000_1021_1120),
    (6, 1, 0x0010_0001),
    (7, 0, 0x0010_1125),
    (7, 1, 0x1021_2122),
    (7, 2, 0x0000_0010_1010_1011),
];

fn view(core: Core, gic: GicView) -> IdTable {
    IdTable::new(
        |register| {
            let row = core.iter().find(|(crm, op2, _)| encoding(*crm, *op2) == register);
            row.map_or(0, |(_, _, value)| *value)
        },
        gic,
    )
}

/// A core whose every field has this value.
fn uniform(field: u64) -> IdTable {
    IdTable::new(|_register| field.wrapping_mul(0x1111_1111_1111_1111), GicView::SystemRegisters)
}

fn read(table: &IdTable, crm: u8, op2: u8) -> u64 {
    table.read(encoding(crm, op2)).unwrap()
}

fn field(table: &IdTable, crm: u8, op2: u8, shift: u32) -> u64 {
    (read(table, crm, op2) >> shift) & 0xf
}

#[test]
fn a_cortex_a72_shows_itself_without_el2_el3_and_pmu() {
    let table = view(A72, GicView::MemoryMapped);
    assert_eq!(read(&table, 4, 0), 0x0012, "EL0 has AArch32, EL1 only AArch64, FP and SIMD");
    assert_eq!(read(&table, 5, 0), 0x00f0_0010_1006);
    assert_eq!(read(&table, 6, 0), 0x1_1120);
    assert_eq!(read(&table, 7, 0), 0x122, "PARange 40 bits, 16-bit ASIDs, mixed endian");
    assert_eq!(read(&table, 1, 0), 0x131, "AArch32 as hardware");
    assert_eq!(read(&table, 1, 2), 6, "CopDbg, no PMU");
    assert_eq!(read(&table, 1, 1), 0x1_0001, "no Security, no Virtualization, GenTimer");
}

#[test]
fn the_gic_field_says_which_interface_the_guest_has() {
    for (gic, value) in [(GicView::MemoryMapped, 0), (GicView::SystemRegisters, 1)] {
        let table = view(N1, gic);
        assert_eq!(field(&table, 4, 0, 24), value);
        assert_eq!(field(&table, 1, 1, 28), value, "ID_PFR1_EL1");
    }
}

#[test]
fn a_neoverse_n1_loses_ras_and_loregions_and_keeps_atomics() {
    let table = view(N1, GicView::SystemRegisters);
    assert_eq!(read(&table, 4, 0), 0x1100_0000_0111_0012);
    assert_eq!(read(&table, 4, 1), 0x20, "SSBS");
    assert_eq!(field(&table, 6, 0, 20), 2, "Atomic");
    assert_eq!(field(&table, 7, 1, 16), 0, "LO");
    assert_eq!(field(&table, 7, 1, 8), 0, "VH");
    assert_eq!(field(&table, 7, 1, 20), 2, "PAN");
    assert_eq!(field(&table, 7, 2, 12), 0, "IESB");
}

#[test]
fn hidden_features_read_zero_whatever_the_hardware_has() {
    let hidden = [
        (4, 0, 8, "EL2"),
        (4, 0, 12, "EL3"),
        (4, 0, 28, "RAS"),
        (4, 0, 32, "SVE"),
        (4, 0, 36, "SEL2"),
        (4, 0, 40, "MPAM"),
        (4, 0, 44, "AMU"),
        (4, 0, 52, "RME"),
        (4, 1, 8, "MTE"),
        (4, 1, 12, "RAS_frac"),
        (4, 1, 16, "MPAM_frac"),
        (4, 1, 24, "SME"),
        (4, 1, 36, "NMI"),
        (4, 1, 44, "GCS"),
        (4, 1, 48, "THE"),
        (5, 0, 4, "TraceVer"),
        (5, 0, 8, "PMUVer"),
        (5, 0, 32, "PMSVer"),
        (5, 0, 40, "TraceFilt"),
        (5, 0, 44, "TraceBuffer"),
        (5, 0, 52, "BRBE"),
        (6, 0, 24, "TME"),
        (6, 1, 4, "APA"),
        (6, 1, 8, "API"),
        (6, 1, 24, "GPA"),
        (6, 1, 28, "GPI"),
        (6, 1, 56, "XS"),
        (6, 1, 60, "LS64"),
        (6, 2, 0, "WFxT"),
        (6, 2, 8, "GPA3"),
        (6, 2, 12, "APA3"),
        (6, 2, 16, "MOPS"),
        (6, 2, 32, "SYSREG_128"),
        (7, 0, 56, "FGT"),
        (7, 1, 4, "VMIDBits"),
        (7, 1, 8, "VH"),
        (7, 1, 16, "LO"),
        (7, 1, 40, "HCX"),
        (7, 1, 56, "CMOW"),
        (7, 2, 12, "IESB"),
        (7, 2, 24, "NV"),
        (7, 2, 40, "FWB"),
        (7, 2, 56, "EVT"),
    ];
    for value in 1..16 {
        let table = uniform(value);
        for (crm, op2, shift, name) in hidden {
            assert_eq!(field(&table, crm, op2, shift), 0, "{name} of hardware {value}");
        }
        // PFR2, reserved, ZFR0, SMFR0, reserved, FPFR0; DFR1 on; ISAR3 on; MMFR3 on.
        for (crm, from) in [(4, 2), (5, 1), (6, 3), (7, 3)] {
            assert!((from..8).all(|op2| read(&table, crm, op2) == 0), "CRm {crm} of {value}");
        }
    }
}

#[test]
fn a_future_value_of_a_field_is_not_passed_on() {
    for (crm, op2, shift, rule) in FIELDS {
        for hardware in 0..16 {
            let seen = field(&uniform(hardware), *crm, *op2, *shift);
            let expected = match rule {
                Rule::UpTo(most) => hardware.min(*most),
                Rule::SignedUpTo(most) if hardware < 0xf => hardware.min(*most),
                Rule::SignedUpTo(_) => 0xf,
                Rule::Exactly(value) => *value,
                Rule::Gic => 1,
            };
            assert_eq!(seen, expected, "CRm {crm} op2 {op2} shift {shift} of {hardware}");
        }
    }
}

#[test]
fn the_debug_version_stays_legal_and_the_double_lock_is_absent() {
    for value in 0..16 {
        let table = uniform(value);
        assert_eq!(read(&table, 5, 0), 0x00f0_0010_1006, "{value}");
    }
}

#[test]
fn without_aarch32_its_registers_read_zero() {
    let table = uniform(1);
    for crm in 1..4 {
        assert!((0..8).all(|op2| read(&table, crm, op2) == 0));
    }
    let table = uniform(2);
    assert_ne!(read(&table, 1, 0), 0);
    assert_eq!(read(&table, 3, 3), 0, "reserved");
    assert_eq!(read(&table, 1, 3), 0, "ID_AFR0_EL1");
}

#[test]
fn every_field_stands_once_and_every_source_is_of_the_group() {
    let places: BTreeSet<_> = FIELDS.iter().map(|(crm, op2, shift, _)| (crm, op2, shift)).collect();
    assert_eq!(places.len(), FIELDS.len());
    assert!(FIELDS.iter().all(|(crm, op2, shift, _)| {
        (4..8).contains(crm) && *op2 < 8 && shift % 4 == 0 && *shift < 64
    }));
    let narrow: BTreeSet<_> = AARCH32.iter().map(|(crm, op2, _)| (crm, op2)).collect();
    assert_eq!(narrow.len(), AARCH32.len());
    let asked = RefCell::new(BTreeSet::new());
    let read = |register: SysregEncoding| {
        asked.borrow_mut().insert(register);
        0x1111_1111_1111_1112
    };
    let table = IdTable::new(read, GicView::SystemRegisters);
    let beside: Vec<_> = asked.take().into_iter().filter(|it| table.read(*it).is_none()).collect();
    assert_eq!(beside, [CTR_EL0, DCZID_EL0]);
}

#[test]
fn only_the_group_and_revidr_have_a_value() {
    let table = view(A72, GicView::MemoryMapped);
    for register in (0..=u16::MAX).map(SysregEncoding) {
        let (op0, op1, crn, crm, _op2) = register.fields();
        let is_group = (op0, op1, crn) == (3, 0, 0) && (1..8).contains(&crm);
        assert_eq!(table.read(register).is_some(), is_group || register == REVIDR_EL1);
    }
}

#[test]
fn a_view_holds_on_cores_that_have_all_it_shows() {
    let (a72, n1) = (view(A72, GicView::SystemRegisters), view(N1, GicView::SystemRegisters));
    assert!(a72.holds_on(&a72) && n1.holds_on(&n1));
    assert!(!n1.holds_on(&a72), "no atomics there");
    assert!(!a72.holds_on(&n1), "less of AArch32 at EL0");
    // One field of one register less, and one more.
    for (crm, op2, shift, rule) in FIELDS.iter().copied() {
        let most = uniform(1);
        let with = |value: u64| {
            let mut other = most.clone();
            let offset = usize::from(encoding(crm, op2).0.wrapping_sub(FIRST.0));
            other.values[offset] = (other.values[offset] & !(0xf << shift)) | (value << shift);
            other
        };
        let shown = field(&most, crm, op2, shift);
        if shown != 0 && shown != 0xf {
            assert!(!most.holds_on(&with(shown - 1)), "{crm} {op2} {shift}");
            assert!(with(shown - 1).holds_on(&most));
        }
        let absent = matches!(rule, Rule::SignedUpTo(_)).then(|| with(0xf));
        assert!(absent.is_none_or(|absent| !most.holds_on(&absent) && absent.holds_on(&most)));
    }
    assert!(!view(A72, GicView::MemoryMapped).holds_on(&uniform(1)), "one without AArch32");
}

/// CTR_EL0 and DCZID_EL0: a guest reads them of the core that it is on, and goes on with them on another.
#[test]
fn cores_have_the_same_cache_lines() {
    let with = |ctr: u64, dczid: u64| {
        let read = |register| match register {
            CTR_EL0 => ctr,
            DCZID_EL0 => dczid,
            _ => 0,
        };
        IdTable::new(read, GicView::SystemRegisters)
    };
    let own = with(0x8444_c004, 4);
    assert!(own.holds_on(&with(0x8444_c004, 4)));
    assert!(!own.holds_on(&with(0x8443_c004, 4)), "shorter lines");
    assert!(!own.holds_on(&with(0x8445_c004, 4)), "longer lines");
    assert!(!own.holds_on(&with(0x8444_c004, 5)), "a larger block");
    assert!(!own.holds_on(&with(0x8444_c004, 0x14)), "no DC ZVA");
}
