//! A core's virtual CPU interface as the architecture describes it, and the physical interrupts behind it.
//!
//! [`VirtualInterface`] is what a guest sees (acknowledge, end, deactivate, priority mask) together with
//! what the hypervisor sees (list registers, HCR, maintenance interrupt), for GICv3 (IHI 0069, 12.4, and the
//! pseudocode of ICV_IAR1_EL1, ICV_EOIR1_EL1) and for GICv2 (IHI 0048, 5.3 and 5.5). It is written against
//! the manuals, not against the code that it tests.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ActivePriorities, ListRegisters, PhysIrq};

/// What an acknowledge reads when nothing can be signalled.
pub const SPURIOUS: u32 = 1023;

/// The physical distributor, as far as linked interrupts show it; shared by the cores.
#[derive(Debug, Default)]
pub struct PhysicalGic {
    /// Active SPIs.
    pub active: RefCell<BTreeSet<u16>>,
    /// SPIs whose lines are asserted.
    pub asserted: RefCell<BTreeSet<u16>>,
    /// Enabled SPIs.
    pub enabled: RefCell<BTreeSet<u16>>,
    /// Where SPIs go, as the virtual GIC last said.
    pub routes: RefCell<BTreeMap<u16, u8>>,
    /// SPIs whose state was cleared.
    pub cleared: RefCell<Vec<u16>>,
}

/// One core's virtual interface.
#[derive(Debug)]
pub struct VirtualInterface {
    is_v2: bool,
    registers: Vec<Cell<u64>>,
    /// GICv3: the list registers that were written since the last context synchronization event, as they were before. ELRSR may
    /// answer for these (Arm ARM D24.1.2), and does.
    unsynchronized: RefCell<BTreeMap<usize, u64>>,
    control: Cell<u32>,
    vmcr: Cell<u32>,
    priorities: RefCell<ActivePriorities>,
    /// Active PPIs of this core.
    pub active_ppis: RefCell<BTreeSet<u16>>,
    /// PPIs of this core whose lines are asserted.
    pub asserted_ppis: RefCell<BTreeSet<u16>>,
    /// How often a list register was written.
    pub writes: Cell<u32>,
    /// Whether an end of interrupt that finds no list register is counted (HCR.EOIcount) with EOImode 1 too, where it
    /// only drops the priority: the text of the field can be read so, and QEMU's GICv3 does it.
    pub counts_split_ends: Cell<bool>,
    physical: Rc<PhysicalGic>,
}

/// A list register, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The virtual INTID.
    pub intid: u32,
    /// Bit 0 pending, bit 1 active.
    pub state: u64,
    /// 8 bits.
    pub priority: u32,
    /// Group 1.
    pub is_group1: bool,
    /// The physical INTID, if linked.
    pub physical: Option<u32>,
    /// A maintenance interrupt at its end.
    pub reports_end: bool,
    /// The sender of an SGI (GICv2).
    pub source: u32,
}

fn field(value: u64, high: u32, low: u32) -> u64 {
    (value >> low) & (u64::MAX >> (63 - (high - low)))
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap()
}

impl VirtualInterface {
    /// A core with this many list registers, all empty.
    #[must_use]
    pub fn new(is_v2: bool, registers: usize, physical: Rc<PhysicalGic>) -> Self {
        Self {
            is_v2,
            registers: vec![Cell::new(0); registers],
            unsynchronized: RefCell::default(),
            control: Cell::new(0),
            vmcr: Cell::new(0),
            priorities: RefCell::new(ActivePriorities::NONE),
            active_ppis: RefCell::default(),
            asserted_ppis: RefCell::default(),
            writes: Cell::new(0),
            counts_split_ends: Cell::new(false),
            physical,
        }
    }

    /// A list register's fields.
    #[must_use]
    pub fn fields(&self, index: usize) -> Fields {
        self.decode(self.registers[index].get())
    }

    fn decode(&self, value: u64) -> Fields {
        if self.is_v2 {
            let is_hw = field(value, 31, 31) == 1;
            Fields {
                intid: small(field(value, 9, 0)),
                state: field(value, 29, 28),
                priority: small(field(value, 27, 23)) << 3,
                is_group1: field(value, 30, 30) == 1,
                physical: is_hw.then(|| small(field(value, 19, 10))),
                reports_end: !is_hw && field(value, 19, 19) == 1,
                source: if is_hw { 0 } else { small(field(value, 12, 10)) },
            }
        } else {
            let is_hw = field(value, 61, 61) == 1;
            Fields {
                intid: small(field(value, 31, 0)),
                state: field(value, 63, 62),
                priority: small(field(value, 55, 48)),
                is_group1: field(value, 60, 60) == 1,
                physical: is_hw.then(|| small(field(value, 44, 32))),
                reports_end: !is_hw && field(value, 41, 41) == 1,
                source: 0,
            }
        }
    }

    fn set_state(&self, index: usize, state: u64) {
        let low = if self.is_v2 { 28 } else { 62 };
        let value = self.registers[index].get();
        self.registers[index].set((value & !(3 << low)) | (state << low));
    }

    fn all(&self) -> impl Iterator<Item = (usize, Fields)> {
        (0..self.registers.len()).map(|index| (index, self.fields(index)))
    }

    // What the guest does.

    /// Writes the priority mask.
    pub fn set_priority_mask(&self, mask: u32) {
        let bits = if self.is_v2 { 0xf8 } else { 0xff };
        self.vmcr.set((self.vmcr.get() & 0x00ff_ffff) | ((mask & bits) << 24));
    }

    /// Enables or disables the two groups (bit 0, bit 1).
    pub fn set_groups(&self, groups: u32) {
        self.vmcr.set((self.vmcr.get() & !3) | (groups & 3));
    }

    /// Chooses EOImode 1 (true) or 0.
    pub fn set_split_end(&self, is_split: bool) {
        let others = self.vmcr.get() & !(1 << 9);
        self.vmcr.set(others | (u32::from(is_split) << 9));
    }

    /// Writes the binary points of group 0 and group 1.
    pub fn set_binary_points(&self, group0: u32, group1: u32) {
        let others = self.vmcr.get() & !(0x3f << 18);
        self.vmcr.set(others | ((group0 & 7) << 21) | ((group1 & 7) << 18));
    }

    fn group_priority(&self, priority: u32, is_group1: bool) -> u32 {
        let vmcr = self.vmcr.get();
        let group0 = (((vmcr >> 21) & 7) + 1).max(3);
        let group1 = ((vmcr >> 18) & 7).max(3);
        let is_common = vmcr & (1 << 4) != 0;
        let bits = if is_group1 && !is_common { group1 } else { group0 };
        priority & (0xff << bits) & 0xff
    }

    /// The running group priority; 256 if nothing is active.
    #[must_use]
    pub fn running(&self) -> u32 {
        let priorities = self.priorities.borrow();
        let bits = priorities.group0[0] | priorities.group1[0];
        if bits == 0 { 256 } else { bits.trailing_zeros() * 8 }
    }

    /// The list register that would be acknowledged now. The guest is entered for it, as for [`VirtualInterface::end`]: an
    /// exception return and the next entry are context synchronization events.
    #[must_use]
    pub fn candidate(&self) -> Option<usize> {
        self.synchronize();
        if self.control.get() & 1 == 0 {
            return None;
        }
        let vmcr = self.vmcr.get();
        let best = self
            .all()
            .filter(|(_, lr)| lr.state == 1 && vmcr & (1 << u32::from(lr.is_group1)) != 0)
            .min_by_key(|(_, lr)| (lr.priority, lr.intid))?;
        let is_above = best.1.priority < vmcr >> 24
            && self.group_priority(best.1.priority, best.1.is_group1) < self.running();
        is_above.then_some(best.0)
    }

    /// Reads IAR: the INTID, with the sender of an SGI in bits 12:10 (GICv2).
    pub fn acknowledge(&self) -> u32 {
        let Some(index) = self.candidate() else { return SPURIOUS };
        let lr = self.fields(index);
        let level = 1 << (self.group_priority(lr.priority, lr.is_group1) / 8);
        let mut priorities = self.priorities.borrow_mut();
        if lr.is_group1 && !self.is_v2 {
            priorities.group1[0] |= level;
        } else {
            priorities.group0[0] |= level;
        }
        self.set_state(index, 2);
        lr.intid | (lr.source << 10)
    }

    /// Writes EOIR with what an acknowledge read.
    pub fn end(&self, acknowledged: u32) {
        self.synchronize();
        let intid = acknowledged & 0x3ff;
        if intid >= 1020 {
            return;
        }
        let dropped = {
            let mut priorities = self.priorities.borrow_mut();
            let (group0, group1) = (priorities.group0[0], priorities.group1[0]);
            if group0 | group1 == 0 {
                return;
            }
            let highest = (group0 | group1).trailing_zeros();
            if group0 & (1 << highest) != 0 {
                priorities.group0[0] &= !(1 << highest);
            } else {
                priorities.group1[0] &= !(1 << highest);
            }
            highest * 8
        };
        if self.vmcr.get() & (1 << 9) == 0 {
            // GICv3 ends only what has the priority that was dropped (IHI 0069, the pseudocode of ICV_EOIR1_EL1).
            let is_another = !self.is_v2
                && self.all().any(|(_, lr)| {
                    lr.state & 2 != 0
                        && lr.intid == intid
                        && self.group_priority(lr.priority, lr.is_group1) != dropped
                });
            if !is_another {
                self.deactivate_virtual(acknowledged);
            }
        } else if self.counts_split_ends.get()
            && !self.all().any(|(_, lr)| lr.state & 2 != 0 && lr.intid == intid)
        {
            self.count_end();
        }
    }

    fn count_end(&self) {
        let count = (self.control.get() >> 27).saturating_add(1).min(31);
        self.control.set((self.control.get() & 0x07ff_ffff) | (count << 27));
    }

    /// Whether a write to DIR traps.
    #[must_use]
    pub fn traps_deactivate(&self) -> bool {
        self.is_v2 || self.control.get() & (1 << 14) != 0
    }

    fn deactivate_virtual(&self, acknowledged: u32) {
        let intid = acknowledged & 0x3ff;
        let source = if self.is_v2 && intid < 16 { (acknowledged >> 10) & 7 } else { 0 };
        let found = self.all().find(|(_, lr)| {
            lr.state & 2 != 0
                && lr.intid == intid
                && (lr.physical.is_some() || lr.source == source || intid >= 16)
        });
        let Some((index, lr)) = found else {
            self.count_end();
            return;
        };
        assert!(
            !(lr.physical.is_some() && lr.state == 3),
            "a linked interrupt is pending and active"
        );
        self.set_state(index, lr.state & 1);
        if let Some(physical) = lr.physical {
            self.deactivate(IntId(u16::try_from(physical).unwrap()));
        }
    }

    /// Whether the maintenance interrupt is asserted (ICH_MISR_EL2, GICH_MISR).
    #[must_use]
    pub fn is_maintenance(&self) -> bool {
        let control = self.control.get();
        if control & 1 == 0 {
            return false;
        }
        let on = |bit: u32| control & (1 << bit) != 0;
        let vmcr = self.vmcr.get();
        let valid = self.all().filter(|(_, lr)| lr.state != 0).count();
        let ended = self.all().any(|(_, lr)| lr.state == 0 && lr.reports_end);
        let is_none_pending = !self.all().any(|(_, lr)| lr.state == 1);
        ended
            || (on(1) && valid <= 1)
            || (on(2) && control >> 27 != 0)
            || (on(3) && is_none_pending)
            || (on(4) && vmcr & 1 != 0)
            // QEMU takes group 1's switch here: what is asked for has to be quiet either way.
            || (on(5) && vmcr & 3 != 3)
            || (on(6) && vmcr & 2 != 0)
            || (on(7) && vmcr & 2 == 0)
    }
}

impl ListRegisters for VirtualInterface {
    fn count(&self) -> u8 {
        u8::try_from(self.registers.len()).unwrap()
    }

    fn empty(&self) -> u32 {
        let behind = self.unsynchronized.borrow();
        self.all().fold(0, |set, (index, lr)| {
            let lr = behind.get(&index).map_or(lr, |before| self.decode(*before));
            let is_empty = lr.state == 0 && (lr.physical.is_some() || !lr.reports_end);
            set | (u32::from(is_empty) << index)
        })
    }

    fn synchronize(&self) {
        self.unsynchronized.borrow_mut().clear();
    }

    fn read(&self, index: u8) -> u64 {
        self.registers[usize::from(index)].get()
    }

    fn write(&self, index: u8, value: u64) {
        assert!(!self.is_v2 || u32::try_from(value).is_ok(), "GICH_LR has 32 bits");
        let before = self.registers[usize::from(index)].replace(value);
        if !self.is_v2 {
            self.unsynchronized.borrow_mut().entry(index.into()).or_insert(before);
        }
        self.writes.set(self.writes.get() + 1);
        let written = self.fields(usize::from(index));
        assert!(
            !(written.physical.is_some() && written.state == 3),
            "IHI 0069, ICH_LR: a linked interrupt must not be pending and active"
        );
        let same = self.all().filter(|(_, lr)| lr.state != 0 && lr.intid == written.intid).count();
        assert!(
            written.state == 0 || same == 1,
            "IHI 0069, ICH_LR: INTID {} is in two list registers",
            written.intid
        );
    }

    fn control(&self) -> u32 {
        self.control.get()
    }

    fn set_control(&self, value: u32) {
        self.control.set(value);
    }

    fn is_maintenance_due(&self) -> bool {
        self.is_maintenance()
    }

    fn vmcr(&self) -> u32 {
        self.vmcr.get()
    }

    fn set_vmcr(&self, value: u32) {
        self.vmcr.set(value);
    }

    fn active_priorities(&self) -> ActivePriorities {
        *self.priorities.borrow()
    }

    fn set_active_priorities(&self, value: &ActivePriorities) {
        *self.priorities.borrow_mut() = *value;
    }
}

impl PhysIrq for VirtualInterface {
    fn set_enabled(&self, intid: IntId, is_enabled: bool) {
        assert!(intid.is_spi(), "{intid:?}");
        if is_enabled {
            self.physical.enabled.borrow_mut().insert(intid.0);
        } else {
            self.physical.enabled.borrow_mut().remove(&intid.0);
        }
    }

    fn route(&self, intid: IntId, vcpu: VcpuIndex) {
        self.physical.routes.borrow_mut().insert(intid.0, vcpu.0);
    }

    fn deactivate(&self, intid: IntId) {
        if intid.is_private() {
            self.active_ppis.borrow_mut().remove(&intid.0);
        } else {
            self.physical.active.borrow_mut().remove(&intid.0);
        }
    }

    fn is_pending(&self, intid: IntId) -> bool {
        if intid.is_private() {
            self.asserted_ppis.borrow().contains(&intid.0)
        } else {
            self.physical.asserted.borrow().contains(&intid.0)
        }
    }

    fn clear_state(&self, intid: IntId) {
        self.physical.active.borrow_mut().remove(&intid.0);
        self.physical.cleared.borrow_mut().push(intid.0);
    }
}
