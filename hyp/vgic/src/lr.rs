//! List-register images: ICH_LR\<n\>_EL2 (IHI 0069, 12.4.2) and GICH_LR\<n\> (IHI 0048, 5.3.9).

use crate::distributor::Model;

/// The interrupt is pending.
pub(crate) const PENDING: u8 = 1;
/// The interrupt is active.
pub(crate) const ACTIVE: u8 = 2;

/// HCR: the virtual CPU interface is on.
pub(crate) const HCR_EN: u32 = 1 << 0;
/// HCR: maintenance interrupt while HCR.EOIcount is not zero.
pub(crate) const HCR_LRENPIE: u32 = 1 << 2;
/// HCR: maintenance interrupt while no list register is pending.
pub(crate) const HCR_NPIE: u32 = 1 << 3;
/// HCR: maintenance interrupt while the guest has group 0 enabled.
pub(crate) const HCR_VGRP0E: u32 = 1 << 4;
/// HCR: maintenance interrupt while the guest has group 0 disabled.
pub(crate) const HCR_VGRP0D: u32 = 1 << 5;
/// HCR: maintenance interrupt while the guest has group 1 enabled.
pub(crate) const HCR_VGRP1E: u32 = 1 << 6;
/// HCR: maintenance interrupt while the guest has group 1 disabled.
pub(crate) const HCR_VGRP1D: u32 = 1 << 7;
/// HCR: writes to ICC_DIR_EL1 trap (GICv3; reserved and zero where ICH_VTR_EL2.TDS is 0).
pub(crate) const HCR_TDIR: u32 = 1 << 14;
/// HCR: where EOIcount begins.
pub(crate) const HCR_EOI_COUNT_SHIFT: u32 = 27;

/// VMCR: the guest has group 0 enabled.
pub(crate) const VMCR_GROUP0: u32 = 1 << 0;
/// VMCR: the guest has group 1 enabled.
pub(crate) const VMCR_GROUP1: u32 = 1 << 1;
/// VMCR: EOImode, priority drop and deactivation are apart.
pub(crate) const VMCR_EOI_MODE: u32 = 1 << 9;

/// GICH_LR.EOI, in a register without a hardware link: a maintenance interrupt at the end.
const END_V2: u32 = 1 << 19;

/// What the end of the interrupt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing.
    Silent,
    /// A maintenance interrupt.
    Reported,
    /// A maintenance interrupt, on which EL2 deactivates the physical interrupt.
    ReportedPhysical,
    /// The hardware deactivates this physical interrupt.
    Physical(u16),
}

impl Ending {
    /// Whether the end of the interrupt ends a physical one.
    #[inline]
    pub(crate) const fn is_physical(self) -> bool {
        matches!(self, Self::Physical(_) | Self::ReportedPhysical)
    }
}

/// What goes into a list register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) intid: u16,
    pub(crate) priority: u8,
    pub(crate) is_group1: bool,
    /// [`PENDING`], [`ACTIVE`] or both.
    pub(crate) state: u8,
    pub(crate) ending: Ending,
    /// The vCPU that sent an SGI, on GICv2; 0 otherwise.
    pub(crate) source: u8,
}

impl Image {
    /// The register's value.
    #[inline]
    pub(crate) fn encode(&self, model: Model) -> u64 {
        match model {
            Model::V3 => self.encode_v3(),
            Model::V2 => u64::from(self.encode_v2()),
        }
    }

    #[inline]
    fn encode_v3(&self) -> u64 {
        let ending = match self.ending {
            Ending::Silent => 0,
            Ending::Reported | Ending::ReportedPhysical => 1 << 41,
            Ending::Physical(intid) => (1 << 61) | (u64::from(intid & 0x1fff) << 32),
        };
        (u64::from(self.state & 3) << 62)
            | (u64::from(self.is_group1) << 60)
            | (u64::from(self.priority) << 48)
            | ending
            | u64::from(self.intid)
    }

    #[inline]
    fn encode_v2(&self) -> u32 {
        let ending = match self.ending {
            Ending::Silent => u32::from(self.source & 7) << 10,
            Ending::Reported | Ending::ReportedPhysical => {
                END_V2 | (u32::from(self.source & 7) << 10)
            }
            Ending::Physical(intid) => (1 << 31) | (u32::from(intid & 0x3ff) << 10),
        };
        (u32::from(self.is_group1) << 30)
            | (u32::from(self.state & 3) << 28)
            | (u32::from(self.priority >> 3) << 23)
            | ending
            | u32::from(self.intid & 0x3ff)
    }
}

/// The state in a register's value: [`PENDING`], [`ACTIVE`], both or neither.
#[inline]
pub(crate) const fn state(model: Model, value: u64) -> u8 {
    let bits = match model {
        Model::V3 => value >> 62,
        Model::V2 => value >> 28,
    };
    let [low, ..] = bits.to_le_bytes();
    low & 3
}

/// Whether a GICv2 list register has an end of interrupt to report.
#[inline]
pub(crate) fn is_ended_v2(value: u64) -> bool {
    state(Model::V2, value) == 0 && value & u64::from(END_V2) != 0
}

/// A GICv2 list register's value for the same SGI from another sender.
#[inline]
pub(crate) const fn with_sender_v2(value: u64, sender: u8) -> u64 {
    let [low, ..] = [sender & 7];
    (value & !(7 << 10)) | (u64::from_le_bytes([low, 0, 0, 0, 0, 0, 0, 0]) << 10)
}

/// The sender in a GICv2 list register that holds an SGI.
#[inline]
pub(crate) const fn sender_v2(value: u64) -> u8 {
    let [low, ..] = (value >> 10).to_le_bytes();
    low & 7
}

/// The priority (8 bits, the low three zero) and whether the group is 1, in a register's value.
#[inline]
pub(crate) const fn priority_and_group(model: Model, value: u64) -> (u8, bool) {
    match model {
        Model::V3 => {
            let [.., priority, _] = value.to_le_bytes();
            (priority, value & (1 << 60) != 0)
        }
        Model::V2 => {
            let [priority, ..] = ((value >> 23) << 3).to_le_bytes();
            (priority, value & (1 << 30) != 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ACTIVE, Ending, Image, PENDING, priority_and_group, state};
    use crate::distributor::Model;

    const IMAGE: Image = Image {
        intid: 0x155,
        priority: 0xa8,
        is_group1: true,
        state: PENDING,
        ending: Ending::Silent,
        source: 0,
    };

    #[test]
    fn v3_fields_are_where_the_architecture_has_them() {
        assert_eq!(IMAGE.encode(Model::V3), 0x50a8_0000_0000_0155);
        let linked = Image { ending: Ending::Physical(27), state: PENDING | ACTIVE, ..IMAGE };
        assert_eq!(linked.encode(Model::V3), 0xf0a8_001b_0000_0155);
        let reported = Image { ending: Ending::Reported, state: ACTIVE, is_group1: false, ..IMAGE };
        assert_eq!(reported.encode(Model::V3), 0x80a8_0200_0000_0155);
    }

    #[test]
    fn v2_fields_are_where_the_architecture_has_them() {
        assert_eq!(IMAGE.encode(Model::V2), 0x4000_0000 | 0x1000_0000 | (0x15 << 23) | 0x155);
        let linked = Image { ending: Ending::Physical(0x3fb), is_group1: false, ..IMAGE };
        assert_eq!(
            linked.encode(Model::V2),
            0x8000_0000 | 0x1000_0000 | (0x15 << 23) | (0x3fb << 10) | 0x155
        );
        let sgi = Image { intid: 3, source: 5, ending: Ending::Reported, ..IMAGE };
        assert_eq!(sgi.encode(Model::V2), 0x5000_0000 | (0x15 << 23) | (1 << 19) | (5 << 10) | 3);
    }

    #[test]
    fn state_priority_and_group_come_back() {
        for model in [Model::V2, Model::V3] {
            for bits in 0..4 {
                for group in [false, true] {
                    let image = Image { state: bits, is_group1: group, ..IMAGE };
                    let value = image.encode(model);
                    assert_eq!(state(model, value), bits);
                    assert_eq!(priority_and_group(model, value), (0xa8, group));
                }
            }
        }
    }
}
