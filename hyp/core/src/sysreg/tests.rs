//! Each register's answer, and that no encoding does anything but what is named.

use super::{
    ICC_SGI1R_EL1, NAMED, PhysicalTimer, SysregOutcome, Ways, decide, encode, is_numbered,
};
use shikiri_arch::exit::{SysregAccess, SysregEncoding};
use shikiri_arch::idreg::{GicView, IdTable, PmuView};
use shikiri_vgic::SgiRegister;
use std::vec::Vec;

/// Hardware that has every feature at its highest value.
fn ids() -> IdTable {
    IdTable::new(|_register| u64::MAX, GicView::SystemRegisters)
}

fn access(register: SysregEncoding, is_read: bool) -> SysregAccess {
    SysregAccess { register, rt: 0, is_read }
}

/// Reads with the timer disabled.
fn read(register: SysregEncoding) -> SysregOutcome {
    decide(access(register, true), 0, (&ids(), PmuView::Hidden), &mut PhysicalTimer::new(), 0)
}

/// Writes a value that would show.
fn write(register: SysregEncoding) -> SysregOutcome {
    write_value(register, u64::MAX)
}

fn write_value(register: SysregEncoding, value: u64) -> SysregOutcome {
    let mut timer = PhysicalTimer::new();
    decide(access(register, false), value, (&ids(), PmuView::Hidden), &mut timer, 0)
}

#[test]
fn the_pmu_shows_to_those_who_have_it_alone() {
    let dfr0 = encode(3, 0, 0, 5, 0);
    let seen = |pmu, hardware: u64| {
        let ids = IdTable::new(|_register| hardware, GicView::SystemRegisters);
        let outcome = decide(access(dfr0, true), 0, (&ids, pmu), &mut PhysicalTimer::new(), 0);
        let SysregOutcome::Read(value) = outcome else { panic!("{outcome:?}") };
        (value >> 8) & 0xf
    };
    for version in [1, 6, 9] {
        assert_eq!(seen(PmuView::Own, version << 8), 1, "PMUv3 of Armv8.0");
        assert_eq!(seen(PmuView::Hidden, version << 8), 0);
    }
    // None, or not Arm's.
    assert_eq!([seen(PmuView::Own, 0), seen(PmuView::Own, 0xf00)], [0, 0]);
}

#[test]
fn named_debug_and_pmu_registers_read_zero_and_ignore_writes() {
    let numbered = (0..=u16::MAX).map(SysregEncoding).filter(|register| is_numbered(*register));
    let all = numbered.map(|register| (register, Ways::Both)).chain(NAMED.iter().copied());
    for (register, ways) in all {
        let (expected_read, expected_write) = match ways {
            Ways::Both => (SysregOutcome::Read(0), SysregOutcome::Ignored),
            Ways::ReadOnly => (SysregOutcome::Read(0), SysregOutcome::Undefined),
            Ways::WriteOnly => (SysregOutcome::Undefined, SysregOutcome::Ignored),
        };
        assert_eq!(read(register), expected_read, "{:?}", register.fields());
        assert_eq!(write(register), expected_write, "{:?}", register.fields());
    }
}

/// Else whoever shares the core would find its interrupt controller's registers UNDEFINED: they are not switched.
#[test]
fn nobody_goes_back_to_the_memory_mapped_interface() {
    let sre = encode(3, 0, 12, 12, 5);
    assert_eq!(read(sre), SysregOutcome::Read(7), "SRE, DFB, DIB");
    for value in [0, 6, 7, u64::MAX] {
        assert_eq!(write_value(sre, value), SysregOutcome::Ignored);
    }
    // Of a GICv2 no guest has system registers, though the core may have them.
    let ids = IdTable::new(|_register| u64::MAX, GicView::MemoryMapped);
    for is_read in [true, false] {
        let mut timer = PhysicalTimer::new();
        let outcome = decide(access(sre, is_read), 7, (&ids, PmuView::Hidden), &mut timer, 0);
        assert_eq!(outcome, SysregOutcome::Undefined);
    }
}

#[test]
fn the_named_list_has_every_register_that_linux_touches_at_boot() {
    // PMUSERENR_EL0, MDSCR_EL1, OSLAR_EL1, OSDLR_EL1, the first and last DBGBVR, DBGBCR, DBGWVR, DBGWCR.
    for (op0, op1, crn, crm, op2) in [
        (3, 3, 9, 14, 0),
        (2, 0, 0, 2, 2),
        (2, 0, 1, 0, 4),
        (2, 0, 1, 3, 4),
        (2, 0, 0, 0, 4),
        (2, 0, 0, 15, 5),
        (2, 0, 0, 0, 6),
        (2, 0, 0, 15, 7),
    ] {
        assert_eq!(write(encode(op0, op1, crn, crm, op2)), SysregOutcome::Ignored);
    }
}

#[test]
fn the_numbered_registers_are_exactly_those_of_the_manual() {
    let count = |op0| {
        let all = (0..=u16::MAX).map(SysregEncoding);
        all.filter(|register| is_numbered(*register) && register.fields().0 == op0).count()
    };
    assert_eq!(count(2), 4 * 16, "breakpoints and watchpoints: value and control");
    assert_eq!(count(3), 31 + 31 + 1, "event counters, their types, PMCCFILTR_EL0");
    assert!(!is_numbered(encode(3, 3, 14, 11, 7)), "there is no 32nd event counter");
}

#[test]
fn the_id_group_reads_as_the_table_says_and_cannot_be_written() {
    for crm in 1..8 {
        for op2 in 0..8 {
            let register = encode(3, 0, 0, crm, op2);
            assert_eq!(read(register), SysregOutcome::Read(ids().read(register).unwrap()));
            assert_eq!(write(register), SysregOutcome::Undefined);
        }
    }
    assert_eq!(read(encode(3, 0, 0, 0, 6)), SysregOutcome::Read(u64::MAX), "REVIDR_EL1");
    assert_eq!(read(encode(3, 1, 0, 0, 7)), SysregOutcome::Read(0), "AIDR_EL1");
    assert_eq!(read(encode(3, 1, 0, 0, 6)), SysregOutcome::Undefined, "SMIDR_EL1");
    assert_eq!(read(encode(3, 1, 0, 0, 4)), SysregOutcome::Undefined, "GMID_EL1");
}

#[test]
fn sgi_registers_go_to_the_virtual_gic_and_cannot_be_read() {
    for (register, name) in [
        (ICC_SGI1R_EL1, SgiRegister::Group1),
        (encode(3, 0, 12, 11, 6), SgiRegister::OtherGroup1),
        (encode(3, 0, 12, 11, 7), SgiRegister::Group0),
    ] {
        assert_eq!(write(register), SysregOutcome::Sgi { register: name, value: u64::MAX });
        assert_eq!(read(register), SysregOutcome::Undefined);
    }
}

#[test]
fn set_and_way_maintenance_cleans_when_a_walk_comes_to_the_first_line_of_a_level() {
    for crm in [6, 10, 14] {
        let operation = encode(1, 0, 7, crm, 2);
        for level in 0..7 {
            assert_eq!(write_value(operation, level << 1), SysregOutcome::CleanMemory);
        }
        assert_eq!(write(operation), SysregOutcome::Ignored, "the last line of all");
        // The variants for allocation tags are hidden with them.
        assert_eq!(write(encode(1, 0, 7, crm, 4)), SysregOutcome::Undefined);
        assert_eq!(write(encode(1, 0, 7, crm, 6)), SysregOutcome::Undefined);
    }
}

#[test]
fn the_auxiliary_control_register_is_there_and_empty() {
    assert_eq!(read(encode(3, 0, 1, 0, 1)), SysregOutcome::Read(0));
    assert_eq!(write(encode(3, 0, 1, 0, 1)), SysregOutcome::Ignored);
}

#[test]
fn hidden_and_unknown_registers_are_undefined_both_ways() {
    for (op0, op1, crn, crm, op2) in [
        (3, 0, 1, 2, 0),   // ZCR_EL1
        (3, 0, 1, 2, 6),   // SMCR_EL1
        (3, 3, 13, 0, 5),  // TPIDR2_EL0
        (3, 0, 13, 0, 7),  // SCXTNUM_EL1
        (3, 0, 2, 1, 0),   // APIAKEYLO_EL1
        (3, 0, 1, 0, 6),   // GCR_EL1
        (3, 0, 5, 3, 0),   // ERRIDR_EL1
        (3, 0, 5, 4, 0),   // ERXFR_EL1
        (3, 0, 10, 4, 0),  // LORSA_EL1
        (3, 0, 10, 5, 1),  // MPAM0_EL1
        (3, 3, 13, 2, 0),  // AMCR_EL0
        (3, 0, 9, 9, 0),   // PMSCR_EL1
        (3, 0, 9, 11, 0),  // TRBLIMITR_EL1
        (3, 0, 1, 2, 1),   // TRFCR_EL1
        (2, 1, 9, 0, 0),   // BRBCR_EL1
        (2, 1, 0, 1, 0),   // TRCPRGCTLR
        (3, 0, 2, 0, 3),   // TCR2_EL1
        (3, 0, 1, 0, 3),   // SCTLR2_EL1
        (3, 0, 10, 2, 3),  // PIR_EL1
        (3, 0, 2, 5, 0),   // GCSCR_EL1
        (3, 3, 4, 4, 2),   // FPMR
        (3, 0, 4, 3, 0),   // ALLINT
        (3, 0, 11, 0, 0),  // implementation-defined
        (3, 7, 15, 15, 7), // implementation-defined
        (1, 0, 11, 0, 0),  // implementation-defined instruction
        (3, 4, 1, 1, 0),   // HCR_EL2
        (2, 4, 0, 7, 0),   // DBGVCR32_EL2
        (3, 0, 0, 0, 1),   // below the ID group
    ] {
        let register = encode(op0, op1, crn, crm, op2);
        assert_eq!(read(register), SysregOutcome::Undefined, "{:?}", register.fields());
        assert_eq!(write(register), SysregOutcome::Undefined, "{:?}", register.fields());
    }
}

#[test]
#[cfg_attr(miri, ignore = "half a million decisions: minutes under Miri, and no unsafe code")]
fn all_other_encodings_of_all_values_are_undefined() {
    let ids = ids();
    let mut effects = Vec::new();
    for register in (0..=u16::MAX).map(SysregEncoding) {
        for is_read in [true, false] {
            for value in [0, 1, u64::MAX, 1 << 63] {
                let mut timer = PhysicalTimer::new();
                let outcome = decide(
                    access(register, is_read),
                    value,
                    (&ids, PmuView::Hidden),
                    &mut timer,
                    u64::MAX,
                );
                let is_timer = register.0 & !0x3 == encode(3, 3, 14, 2, 0).0;
                assert!(is_timer || timer == PhysicalTimer::new(), "{:?}", register.fields());
                if outcome != SysregOutcome::Undefined && value == 0 {
                    effects.push((register, is_read));
                }
            }
        }
    }
    let named = NAMED.len() - 2 - 7;
    let reads = 56 + 2 + 1 + 1 + 3 + named + 7 + 64 + 63;
    let writes = 3 + 1 + 1 + 3 + 3 + 1 + named + 2 + 64 + 63;
    assert_eq!(effects.iter().filter(|(_, is_read)| *is_read).count(), reads);
    assert_eq!(effects.iter().filter(|(_, is_read)| !*is_read).count(), writes);
}

const CTL: SysregEncoding = encode(3, 3, 14, 2, 1);
const CVAL: SysregEncoding = encode(3, 3, 14, 2, 2);
const TVAL: SysregEncoding = encode(3, 3, 14, 2, 0);

fn timer_write(timer: &mut PhysicalTimer, register: SysregEncoding, value: u64, now: u64) {
    let outcome = decide(access(register, false), value, (&ids(), PmuView::Hidden), timer, now);
    assert_eq!(outcome, SysregOutcome::TimerChanged);
}

fn timer_read(timer: &mut PhysicalTimer, register: SysregEncoding, now: u64) -> u64 {
    let outcome = decide(access(register, true), 0, (&ids(), PmuView::Hidden), timer, now);
    let SysregOutcome::Read(value) = outcome else { panic!("{outcome:?}") };
    value
}

#[test]
fn a_deactivation_is_the_virtual_gics_business_and_cannot_be_read() {
    let mut timer = PhysicalTimer::new();
    let register = encode(3, 0, 12, 11, 1);
    let written = decide(access(register, false), 27, (&ids(), PmuView::Hidden), &mut timer, 0);
    assert_eq!(written, SysregOutcome::Deactivate(27));
    let read = decide(access(register, true), 27, (&ids(), PmuView::Hidden), &mut timer, 0);
    assert_eq!(read, SysregOutcome::Undefined);
}

#[test]
fn the_physical_timer_rises_at_its_compare_value_and_not_before() {
    let mut timer = PhysicalTimer::new();
    timer_write(&mut timer, CVAL, 1000, 0);
    assert_eq!(timer.deadline(), None, "disabled");
    timer_write(&mut timer, CTL, 1, 0);
    assert_eq!(timer.deadline(), Some(1000));
    assert!(!timer.level(999) && timer.level(1000) && timer.level(u64::MAX));
    assert_eq!(timer_read(&mut timer, CTL, 999), 1);
    assert_eq!(timer_read(&mut timer, CTL, 1000), 5, "ISTATUS");
}

#[test]
fn a_masked_timer_has_its_status_but_no_level_and_no_deadline() {
    let mut timer = PhysicalTimer::new();
    timer_write(&mut timer, CTL, 3, 0);
    assert_eq!(timer_read(&mut timer, CTL, 10), 7);
    assert_eq!((timer.level(10), timer.deadline()), (false, None));
    timer_write(&mut timer, CTL, 1, 10);
    assert!(timer.level(10), "unmasking shows what was met");
    timer_write(&mut timer, CTL, 2, 10);
    assert_eq!((timer_read(&mut timer, CTL, 10), timer.level(10)), (2, false));
}

#[test]
fn status_cannot_be_written_and_reserved_bits_are_dropped() {
    let mut timer = PhysicalTimer::new();
    timer_write(&mut timer, CVAL, u64::MAX, 0);
    timer_write(&mut timer, CTL, u64::MAX, 0);
    assert_eq!(timer_read(&mut timer, CTL, 0), 3);
}

#[test]
fn the_timer_value_is_a_signed_distance() {
    let mut timer = PhysicalTimer::new();
    timer_write(&mut timer, TVAL, 100, 5000);
    assert_eq!(timer_read(&mut timer, CVAL, 0), 5100);
    assert_eq!(timer_read(&mut timer, TVAL, 5040), 60);
    assert_eq!(timer_read(&mut timer, TVAL, 5101), 0xffff_ffff, "one tick past, 32 bits");
    timer_write(&mut timer, TVAL, 0xffff_ffff, 5000);
    assert_eq!(timer_read(&mut timer, CVAL, 0), 4999, "minus one");
    timer_write(&mut timer, TVAL, 0xdead_0000_0000_0001, 5000);
    assert_eq!(timer_read(&mut timer, CVAL, 0), 5001, "the upper half is ignored");
    timer_write(&mut timer, TVAL, 1, u64::MAX);
    assert_eq!(timer_read(&mut timer, CVAL, 0), 0, "the counter wraps");
}
