//! SMC Calling Convention numbers (Arm DEN 0028, 1.2 and later) that the hypervisor answers.

/// Bit 31: a fast call (does not block, runs to completion).
pub const FAST: u32 = 1 << 31;
/// Bit 30: the 64-bit calling convention.
pub const SMC64: u32 = 1 << 30;
/// Owner 6, *vendor-specific hypervisor service*, fast, 64-bit: the base of our calls.
pub const VENDOR_HYP_FAST64: u32 = 0xC600_0000;
/// Owner 6, fast, 32-bit: the base of the service's general queries.
pub const VENDOR_HYP_FAST32: u32 = 0x8600_0000;

/// `SMCCC_VERSION`: answers 1.2 as `0x1_0002`.
pub const VERSION: u32 = 0x8000_0000;
/// `SMCCC_ARCH_FEATURES`: whether an architecture call is there.
pub const ARCH_FEATURES: u32 = 0x8000_0001;
/// The SMCCC version that is answered: 1.2.
pub const VERSION_1_2: u32 = 0x0001_0002;

/// `CALL_UID` of the vendor-specific hypervisor service.
pub const VENDOR_HYP_UID: u32 = 0x8600_FF01;
/// `REVISION` of the vendor-specific hypervisor service.
pub const VENDOR_HYP_REVISION: u32 = 0x8600_FF03;
/// The service's UUID, b6e0a5c2-7d1f-4e38-9a4b-53686b697269, as the four words of `CALL_UID`: bytes 0–3
/// in `w0`, least significant byte first (DEN 0028, *Service Call UID*).
pub const UID: [u32; 4] = [0xc2a5_e0b6, 0x384e_1f7d, 0x6853_4b9a, 0x6972_696b];
/// Major revision of the hypercall ABI; a change breaks guests.
pub const REVISION_MAJOR: u32 = 0;
/// Minor revision of the hypercall ABI; grows with every added call.
pub const REVISION_MINOR: u32 = 6;

/// `NOT_SUPPORTED` as a 32-bit result.
pub const NOT_SUPPORTED: i32 = -1;
