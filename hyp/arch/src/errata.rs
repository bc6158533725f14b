//! Errata of cores that the hypervisor works around, by MIDR_EL1. On by default, all revisions.
//!
//! Not here, since it is done for every core: no walks of EL1's tables while VTTBR_EL2 and EL1's translation registers change one by
//! one (Cortex-A57 1319537, Cortex-A72 1319367; `shikiri_stage2::switch`).

const IMPLEMENTER_ARM: u64 = 0x41;
const IMPLEMENTER_NVIDIA: u64 = 0x4e;
const IMPLEMENTER_MICROSOFT: u64 = 0x6d;

/// Part numbers of Arm's own cores.
mod part {
    pub(super) const CORTEX_A55: u64 = 0xd05;
    pub(super) const CORTEX_A76: u64 = 0xd0b;
    pub(super) const NEOVERSE_N1: u64 = 0xd0c;
    pub(super) const CORTEX_A77: u64 = 0xd0d;
    pub(super) const CORTEX_A76AE: u64 = 0xd0e;
    pub(super) const NEOVERSE_V1: u64 = 0xd40;
    pub(super) const CORTEX_A78: u64 = 0xd41;
    pub(super) const CORTEX_A78AE: u64 = 0xd42;
    pub(super) const CORTEX_X1: u64 = 0xd44;
    pub(super) const CORTEX_A510: u64 = 0xd46;
    pub(super) const CORTEX_A710: u64 = 0xd47;
    pub(super) const CORTEX_X2: u64 = 0xd48;
    pub(super) const NEOVERSE_N2: u64 = 0xd49;
    pub(super) const CORTEX_A78C: u64 = 0xd4b;
    pub(super) const CORTEX_X1C: u64 = 0xd4c;
    pub(super) const CORTEX_X3: u64 = 0xd4e;
    pub(super) const NEOVERSE_V2: u64 = 0xd4f;
    pub(super) const CORTEX_X4: u64 = 0xd82;
    pub(super) const NEOVERSE_V3AE: u64 = 0xd83;
    pub(super) const NEOVERSE_V3: u64 = 0xd84;
    pub(super) const CORTEX_X925: u64 = 0xd85;
    pub(super) const C1_ULTRA: u64 = 0xd8c;
    pub(super) const C1_PREMIUM: u64 = 0xd90;
    /// NVIDIA's.
    pub(super) const OLYMPUS: u64 = 0x010;
}

/// Whether a broadcast TLBI and its DSB may complete before accesses of a core of this kind that used the
/// old translation: CVE-2025-10263 (Arm erratum 4118414 and its siblings), and the older 1286807, 2441007
/// and 2441009. A second broadcast TLBI and DSB are needed, by *every* core of a machine that has one such
/// core.
#[must_use]
pub const fn needs_second_tlbi(midr: u64) -> bool {
    match (implementer(midr), part_number(midr)) {
        (
            IMPLEMENTER_ARM,
            part::CORTEX_A55
            | part::CORTEX_A76
            | part::NEOVERSE_N1
            | part::CORTEX_A77
            | part::CORTEX_A76AE
            | part::NEOVERSE_V1
            | part::CORTEX_A78
            | part::CORTEX_A78AE
            | part::CORTEX_X1
            | part::CORTEX_A510
            | part::CORTEX_A710
            | part::CORTEX_X2
            | part::NEOVERSE_N2
            | part::CORTEX_A78C
            | part::CORTEX_X1C
            | part::CORTEX_X3
            | part::NEOVERSE_V2
            | part::CORTEX_X4
            | part::NEOVERSE_V3AE
            | part::NEOVERSE_V3
            | part::CORTEX_X925
            | part::C1_ULTRA
            | part::C1_PREMIUM,
        )
        | (IMPLEMENTER_NVIDIA, part::OLYMPUS)
        // Azure Cobalt 100, a Neoverse N2.
        | (IMPLEMENTER_MICROSOFT, part::NEOVERSE_N2) => true,
        (_, _) => false,
    }
}

const fn implementer(midr: u64) -> u64 {
    (midr >> 24) & 0xff
}

const fn part_number(midr: u64) -> u64 {
    (midr >> 4) & 0xfff
}

#[cfg(test)]
mod tests {
    use super::needs_second_tlbi;

    const A53: u64 = 0x410f_d034;
    const A57: u64 = 0x411f_d070;
    const A72: u64 = 0x410f_d083;
    const A76: u64 = 0x414f_d0b1;
    const N1: u64 = 0x413f_d0c1;
    const COBALT_100: u64 = 0x6d0f_d490;
    const OLYMPUS: u64 = 0x4e0f_0100;
    const QEMU_MAX: u64 = 0x000f_0510;

    #[test]
    fn each_core_gets_its_workarounds_in_every_revision() {
        for (midr, second) in [
            (A53, false),
            (A57, false),
            (A72, false),
            (A76, true),
            (N1, true),
            (COBALT_100, true),
            (OLYMPUS, true),
            (QEMU_MAX, false),
        ] {
            for revision in [0, 1 << 20, 0xf << 20, 0xf] {
                let midr = (midr & !0x00f0_000f) | revision;
                assert_eq!(needs_second_tlbi(midr), second, "{midr:#x}");
            }
        }
        assert!(!needs_second_tlbi(0x510f_d0b0), "another implementer's part number");
    }
}
