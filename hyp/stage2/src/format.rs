//! The tables' format: what the cores can do, and the VTCR_EL2 that says so.

/// The size of a partition's address space on every core that can: 40 bits, 1 TiB.
const WANTED_IPA_BITS: u32 = 40;
/// The widest output address without FEAT_LPA2's descriptor format.
const MOST_PA_BITS: u32 = 48;

const VTCR_SL0_LEVEL_1: u64 = 0b01 << 6;
const VTCR_IRGN0_WB: u64 = 0b01 << 8;
const VTCR_ORGN0_WB: u64 = 0b01 << 10;
const VTCR_SH0_INNER: u64 = 0b11 << 12;
const VTCR_PS_SHIFT: u32 = 16;
const VTCR_RES1: u64 = 1 << 31;

/// The format of all stage-2 tables of a machine: 4 KiB granule, start at level 1 (Arm ARM D8.1, D8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    ipa_bits: u32,
    pa_bits: u32,
    has_fwb: bool,
}

impl Format {
    /// The format for cores with these ID_AA64MMFR0_EL1 and ID_AA64MMFR2_EL1; `None` if the core has no
    /// 4 KiB granule at stage 2.
    #[must_use]
    pub fn new(mmfr0: u64, mmfr2: u64) -> Option<Self> {
        if !has_4_kib_granule(mmfr0) {
            return None;
        }
        let pa_bits = match mmfr0 & 0xf {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            _ => MOST_PA_BITS,
        };
        let ipa_bits = pa_bits.min(WANTED_IPA_BITS);
        Some(Self { ipa_bits, pa_bits, has_fwb: (mmfr2 >> 40) & 0xf != 0 })
    }

    /// Whether a core whose own format is `core` can use tables of this one.
    #[must_use]
    pub fn holds_on(self, core: Self) -> bool {
        self.common(core) == self
    }

    /// The format that both kinds of core can use.
    fn common(self, other: Self) -> Self {
        Self {
            ipa_bits: self.ipa_bits.min(other.ipa_bits),
            pa_bits: self.pa_bits.min(other.pa_bits),
            has_fwb: self.has_fwb && other.has_fwb,
        }
    }

    /// VTCR_EL2: T0SZ, start level 1, walks Write-Back and inner shareable, 4 KiB, PS, 8-bit VMIDs, no
    /// hardware access flag or dirty state (Arm ARM, VTCR_EL2).
    #[must_use]
    pub const fn vtcr(self) -> u64 {
        let t0sz = match self.ipa_bits {
            32 => 32,
            36 => 28,
            _ => 24,
        };
        let ps = match self.pa_bits {
            32 => 0,
            36 => 1,
            40 => 2,
            42 => 3,
            44 => 4,
            _ => 5,
        };
        t0sz | VTCR_SL0_LEVEL_1
            | VTCR_IRGN0_WB
            | VTCR_ORGN0_WB
            | VTCR_SH0_INNER
            | (ps << VTCR_PS_SHIFT)
            | VTCR_RES1
    }

    /// Bits of an IPA: 32, 36 or 40. IPAs at or above 2^this fault at level 0 or 1 and are never mapped.
    #[must_use]
    pub const fn ipa_bits(self) -> u32 {
        self.ipa_bits
    }

    /// Bits of a physical address, 32 to 48.
    #[must_use]
    pub const fn pa_bits(self) -> u32 {
        self.pa_bits
    }

    /// Whether the tables force Write-Back (FEAT_S2FWB): HCR_EL2.FWB must be set exactly then.
    #[must_use]
    pub const fn has_fwb(self) -> bool {
        self.has_fwb
    }

    /// One past the last IPA.
    #[must_use]
    pub const fn ipa_end(self) -> u64 {
        1_u64.wrapping_shl(self.ipa_bits)
    }

    /// One past the last physical address.
    #[must_use]
    pub const fn pa_end(self) -> u64 {
        1_u64.wrapping_shl(self.pa_bits)
    }
}

/// ID_AA64MMFR0_EL1.TGran4_2 (43:40), or TGran4 (31:28) where that says "as stage 1".
const fn has_4_kib_granule(mmfr0: u64) -> bool {
    match (mmfr0 >> 40) & 0xf {
        0 => (mmfr0 >> 28) & 0xf != 0xf,
        1 => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    fn format(pa_range: u64) -> Format {
        Format::new(pa_range, 0).unwrap()
    }

    #[test]
    fn a_cortex_a72_gets_40_bits_of_ipa_and_44_of_pa() {
        // 0x8004_3558: T0SZ 24, SL0 1, WB WB inner, 4 KiB, PS 4.
        assert_eq!(format(4).vtcr(), 0x8004_3558);
        assert_eq!((format(4).ipa_end(), format(4).pa_end()), (1 << 40, 1 << 44));
    }

    #[test]
    fn small_cores_clamp_the_ipa_and_big_ones_the_pa() {
        assert_eq!((format(0).ipa_bits(), format(0).vtcr() & 0x3f), (32, 32));
        assert_eq!((format(1).ipa_bits(), format(1).vtcr() & 0x3f), (36, 28));
        for pa_range in 5..16 {
            assert_eq!((format(pa_range).pa_bits(), (format(pa_range).vtcr() >> 16) & 7), (48, 5));
        }
    }

    #[test]
    fn a_core_without_4_kib_pages_is_refused() {
        assert_eq!(Format::new(0xf << 28, 0), None, "TGran4 says no, TGran4_2 follows it");
        assert_eq!(Format::new(1 << 40, 0), None, "TGran4_2 says no");
        assert!(Format::new((0xf << 28) | (2 << 40), 0).is_some(), "TGran4_2 decides for stage 2");
    }

    #[test]
    fn different_cores_share_what_both_can() {
        let little = Format::new(2, 0).unwrap();
        let big = Format::new(5, 1 << 40).unwrap();
        assert!(big.has_fwb() && !big.common(little).has_fwb());
        assert_eq!(big.common(little).pa_bits(), 40);
        assert!(little.holds_on(big) && big.holds_on(big));
        // The wider addresses, and Write-Back forced.
        assert!(!big.holds_on(little) && !format(5).holds_on(little));
        assert!(!Format::new(2, 1 << 40).unwrap().holds_on(little));
    }
}
