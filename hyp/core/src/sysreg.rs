//! What a trapped MSR, MRS or system instruction does.
//!
//! State in, decision out: [`decide`] looks at the register, and at the vCPU's emulated physical timer
//! ([`PhysicalTimer`]); EL2 applies the [`SysregOutcome`]. The rules (design §10): the ID group reads as
//! [`IdTable`] says; debug and PMU registers *by a named list* read zero and ignore writes; whatever is not
//! named is UNDEFINED to the guest, hidden features and implementation-defined registers included.
//!
//! Which accesses come here at all is in `shikiri_arch::trap_config`.

use shikiri_arch::exit::{SysregAccess, SysregEncoding};
use shikiri_arch::idreg::{IdTable, PmuView};
use shikiri_vgic::SgiRegister;

mod set_way;

/// What EL2 does with a trapped access. Except for [`SysregOutcome::Undefined`] the PC moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysregOutcome {
    /// A read: put this into the access's general-purpose register.
    Read(u64),
    /// A write that has no further effect.
    Ignored,
    /// The physical timer was written: set PPI 30's level ([`PhysicalTimer::level`]) and the vCPU's
    /// deadline ([`PhysicalTimer::deadline`]) anew.
    TimerChanged,
    /// The vCPU sends an SGI through its virtual GIC.
    Sgi {
        /// Which of the three registers was written.
        register: SgiRegister,
        /// The value written.
        value: u64,
    },
    /// The vCPU deactivates an interrupt (ICC_DIR_EL1): its virtual GIC knows which list register, or which
    /// evicted interrupt, it means.
    Deactivate(u64),
    /// Maintenance by set and way, once in a walk over a level: clean (and invalidate) all of the partition's memory by
    /// address, in steps. The caches of a machine that is shared cannot be walked by set and way.
    CleanMemory,
    /// Give the vCPU an UNDEFINED exception; the PC stays.
    Undefined,
}

/// Decides about a trapped access. `value` is the general-purpose register's content (0 for XZR, and of no
/// account for a read), `now` CNTPCT_EL0. Of a partition that has the performance monitors, their registers do not come here.
#[must_use]
#[inline]
pub fn decide(
    access: SysregAccess,
    value: u64,
    (ids, pmu): (&IdTable, PmuView),
    timer: &mut PhysicalTimer,
    now: u64,
) -> SysregOutcome {
    if access.register == ICC_SGI1R_EL1 && !access.is_read {
        return SysregOutcome::Sgi { register: SgiRegister::Group1, value };
    }
    if access.is_read {
        read(access.register, (ids, pmu), timer, now)
    } else {
        write(access.register, value, ids, timer, now)
    }
}

fn read(
    register: SysregEncoding,
    (ids, pmu): (&IdTable, PmuView),
    timer: &PhysicalTimer,
    now: u64,
) -> SysregOutcome {
    match register {
        CNTP_CTL_EL0 => SysregOutcome::Read(timer.control(now)),
        CNTP_CVAL_EL0 => SysregOutcome::Read(timer.compare()),
        CNTP_TVAL_EL0 => SysregOutcome::Read(timer.value(now)),
        ACTLR_EL1 | AIDR_EL1 => SysregOutcome::Read(0),
        ICC_SRE_EL1 if ids.has_gic_registers() => SysregOutcome::Read(ICC_SRE_SYSTEM_REGISTERS),
        SysregEncoding(_) => match ids.read_by(register, pmu) {
            Some(value) => SysregOutcome::Read(value),
            None if is_named(register, Direction::Read) => SysregOutcome::Read(0),
            None => SysregOutcome::Undefined,
        },
    }
}

fn write(
    register: SysregEncoding,
    value: u64,
    ids: &IdTable,
    timer: &mut PhysicalTimer,
    now: u64,
) -> SysregOutcome {
    match register {
        CNTP_CTL_EL0 => timer.set_control(value),
        CNTP_CVAL_EL0 => timer.set_compare(value),
        CNTP_TVAL_EL0 => timer.set_value(value, now),
        ICC_SGI0R_EL1 => return SysregOutcome::Sgi { register: SgiRegister::Group0, value },
        ICC_ASGI1R_EL1 => return SysregOutcome::Sgi { register: SgiRegister::OtherGroup1, value },
        ICC_DIR_EL1 => return SysregOutcome::Deactivate(value),
        DC_ISW | DC_CSW | DC_CISW => return set_way::decide(value),
        ACTLR_EL1 => return SysregOutcome::Ignored,
        ICC_SRE_EL1 if ids.has_gic_registers() => return SysregOutcome::Ignored,
        SysregEncoding(_) if is_named(register, Direction::Write) => return SysregOutcome::Ignored,
        SysregEncoding(_) => return SysregOutcome::Undefined,
    }
    SysregOutcome::TimerChanged
}

/// A vCPU's emulated EL1 physical timer (CNTP_*_EL0, PPI 30), against the physical counter.
///
/// Nothing runs between the calls: whoever holds it compares with the counter (Arm ARM D12.2, timers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhysicalTimer {
    control: u64,
    compare: u64,
}

impl PhysicalTimer {
    const ENABLE: u64 = 1 << 0;
    const IMASK: u64 = 1 << 1;
    const ISTATUS: u64 = 1 << 2;

    /// A timer as at reset: disabled.
    #[must_use]
    pub const fn new() -> Self {
        Self { control: 0, compare: 0 }
    }

    /// The level of PPI 30: enabled, not masked, and the condition met.
    #[must_use]
    #[inline]
    pub const fn level(&self, now: u64) -> bool {
        self.is_armed() && self.is_met(now)
    }

    /// When the level will rise by itself: the counter value to wake at, perhaps past. `None` if it will
    /// not: disabled or masked.
    #[must_use]
    #[inline]
    pub const fn deadline(&self) -> Option<u64> {
        if self.is_armed() { Some(self.compare) } else { None }
    }

    /// CNTP_CTL_EL0. ISTATUS is zero while disabled (the architecture leaves it unknown).
    #[must_use]
    pub const fn control(&self, now: u64) -> u64 {
        if self.control & Self::ENABLE != 0 && self.is_met(now) {
            self.control | Self::ISTATUS
        } else {
            self.control
        }
    }

    /// CNTP_CVAL_EL0.
    #[must_use]
    pub const fn compare(&self) -> u64 {
        self.compare
    }

    /// CNTP_TVAL_EL0: the low 32 bits of what is left.
    #[must_use]
    pub const fn value(&self, now: u64) -> u64 {
        self.compare.wrapping_sub(now) & 0xffff_ffff
    }

    /// Writes CNTP_CTL_EL0; ISTATUS is read-only.
    pub const fn set_control(&mut self, value: u64) {
        self.control = value & (Self::ENABLE | Self::IMASK);
    }

    /// Writes CNTP_CVAL_EL0.
    pub const fn set_compare(&mut self, value: u64) {
        self.compare = value;
    }

    /// Writes CNTP_TVAL_EL0: a signed 32-bit distance from now.
    pub const fn set_value(&mut self, value: u64, now: u64) {
        let distance = (value << 32).cast_signed() >> 32;
        self.compare = now.wrapping_add(distance.cast_unsigned());
    }

    const fn is_armed(&self) -> bool {
        self.control & (Self::ENABLE | Self::IMASK) == Self::ENABLE
    }

    const fn is_met(&self, now: u64) -> bool {
        now >= self.compare
    }
}

/// Which way an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// Which ways a named register has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ways {
    Both,
    ReadOnly,
    WriteOnly,
}

use Ways::{Both, ReadOnly, WriteOnly};

/// The debug and PMU registers that read zero and ignore writes; with [`is_numbered`], all of them.
const NAMED: &[(SysregEncoding, Ways)] = &[
    (encode(2, 0, 0, 0, 2), Both),       // OSDTRRX_EL1
    (encode(2, 0, 0, 2, 0), Both),       // MDCCINT_EL1
    (encode(2, 0, 0, 2, 2), Both),       // MDSCR_EL1
    (encode(2, 0, 0, 3, 2), Both),       // OSDTRTX_EL1
    (encode(2, 0, 0, 6, 2), Both),       // OSECCR_EL1
    (encode(2, 0, 1, 0, 0), ReadOnly),   // MDRAR_EL1
    (encode(2, 0, 1, 0, 4), WriteOnly),  // OSLAR_EL1
    (encode(2, 0, 1, 1, 4), ReadOnly),   // OSLSR_EL1
    (encode(2, 0, 1, 3, 4), Both),       // OSDLR_EL1
    (encode(2, 0, 1, 4, 4), Both),       // DBGPRCR_EL1
    (encode(2, 0, 7, 8, 6), Both),       // DBGCLAIMSET_EL1
    (encode(2, 0, 7, 9, 6), Both),       // DBGCLAIMCLR_EL1
    (encode(2, 0, 7, 14, 6), ReadOnly),  // DBGAUTHSTATUS_EL1
    (encode(2, 3, 0, 1, 0), ReadOnly),   // MDCCSR_EL0
    (encode(2, 3, 0, 4, 0), Both),       // DBGDTR_EL0
    (encode(2, 3, 0, 5, 0), Both),       // DBGDTRRX_EL0, DBGDTRTX_EL0
    (encode(3, 0, 9, 14, 1), Both),      // PMINTENSET_EL1
    (encode(3, 0, 9, 14, 2), Both),      // PMINTENCLR_EL1
    (encode(3, 0, 9, 14, 6), ReadOnly),  // PMMIR_EL1
    (encode(3, 3, 9, 12, 0), Both),      // PMCR_EL0
    (encode(3, 3, 9, 12, 1), Both),      // PMCNTENSET_EL0
    (encode(3, 3, 9, 12, 2), Both),      // PMCNTENCLR_EL0
    (encode(3, 3, 9, 12, 3), Both),      // PMOVSCLR_EL0
    (encode(3, 3, 9, 12, 4), WriteOnly), // PMSWINC_EL0
    (encode(3, 3, 9, 12, 5), Both),      // PMSELR_EL0
    (encode(3, 3, 9, 12, 6), ReadOnly),  // PMCEID0_EL0
    (encode(3, 3, 9, 12, 7), ReadOnly),  // PMCEID1_EL0
    (encode(3, 3, 9, 13, 0), Both),      // PMCCNTR_EL0
    (encode(3, 3, 9, 13, 1), Both),      // PMXEVTYPER_EL0
    (encode(3, 3, 9, 13, 2), Both),      // PMXEVCNTR_EL0
    (encode(3, 3, 9, 14, 0), Both),      // PMUSERENR_EL0
    (encode(3, 3, 9, 14, 3), Both),      // PMOVSSET_EL0
];

/// Whether the named list has this register in this direction.
fn is_named(register: SysregEncoding, direction: Direction) -> bool {
    is_numbered(register)
        || NAMED.iter().any(|&(named, ways)| {
            named == register
                && match ways {
                    Both => true,
                    ReadOnly => direction == Direction::Read,
                    WriteOnly => direction == Direction::Write,
                }
        })
}

/// The registers that come in numbers: DBGBVR, DBGBCR, DBGWVR, DBGWCR<0–15>_EL1; PMEVCNTR and
/// PMEVTYPER<0–30>_EL0, and PMCCFILTR_EL0 in the place of a 32nd PMEVTYPER.
const fn is_numbered(register: SysregEncoding) -> bool {
    match register.fields() {
        (2, 0, 0, _, 4..=7) => true,
        (3, 3, 14, 11, 7) => false,
        (3, 3, 14, 8..=15, _) => true,
        (_, _, _, _, _) => false,
    }
}

/// ICC_SGI1R_EL1, the one that is hot.
pub const ICC_SGI1R_EL1: SysregEncoding = encode(3, 0, 12, 11, 5);
const ICC_ASGI1R_EL1: SysregEncoding = encode(3, 0, 12, 11, 6);
const ICC_SGI0R_EL1: SysregEncoding = encode(3, 0, 12, 11, 7);
/// Traps because ICH_HCR_EL2.TDIR is set: an active interrupt may have left its list register.
const ICC_DIR_EL1: SysregEncoding = encode(3, 0, 12, 11, 1);
/// Traps because ICC_SRE_EL2.Enable is clear: the register belongs to whoever shares the core, too. On a machine with a GICv2 it does
/// not exist for guests, whatever the core has.
const ICC_SRE_EL1: SysregEncoding = encode(3, 0, 12, 12, 5);
/// SRE, DFB and DIB: system registers, and no bypass (IHI 0069, ICC_SRE_EL1, all of them RAO/WI).
const ICC_SRE_SYSTEM_REGISTERS: u64 = 7;
/// Implementation-defined contents, but every core has it: reads zero, ignores writes.
const ACTLR_EL1: SysregEncoding = encode(3, 0, 1, 0, 1);
/// Traps with HCR_EL2.TID1 beside SMIDR_EL1.
const AIDR_EL1: SysregEncoding = encode(3, 1, 0, 0, 7);
const CNTP_TVAL_EL0: SysregEncoding = encode(3, 3, 14, 2, 0);
const CNTP_CTL_EL0: SysregEncoding = encode(3, 3, 14, 2, 1);
const CNTP_CVAL_EL0: SysregEncoding = encode(3, 3, 14, 2, 2);
const DC_ISW: SysregEncoding = encode(1, 0, 7, 6, 2);
const DC_CSW: SysregEncoding = encode(1, 0, 7, 10, 2);
const DC_CISW: SysregEncoding = encode(1, 0, 7, 14, 2);

/// A shorter name, for the table.
const fn encode(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> SysregEncoding {
    SysregEncoding::new(op0, op1, crn, crm, op2)
}

#[cfg(test)]
mod tests;
