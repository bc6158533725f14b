//! The SMC Calling Convention's own services: which version, which calls, and who is below (Arm DEN 0028).
#![expect(unsafe_code, reason = "raw calls are unsafe in general; these queries change nothing")]

use shikiri_abi::smccc::{ARCH_FEATURES, UID, VENDOR_HYP_REVISION, VENDOR_HYP_UID, VERSION};

use crate::raw::{Conduit, Results, call};

/// Reads `SMCCC_VERSION`: major in bits 30–16, minor in bits 15–0; negative when even that is unknown.
#[must_use]
pub fn version(conduit: Conduit) -> i32 {
    let [x0, ..] = query(conduit, VERSION, 0);
    low_half(x0).cast_signed()
}

/// Asks `SMCCC_ARCH_FEATURES` about `function`; negative when it is not there.
#[must_use]
pub fn arch_features(conduit: Conduit, function: u32) -> i32 {
    let [x0, ..] = query(conduit, ARCH_FEATURES, u64::from(function));
    low_half(x0).cast_signed()
}

/// Reads the UID of the vendor-specific hypervisor service, as four words (`w0`–`w3`).
#[must_use]
pub fn hypervisor_uid() -> [u32; 4] {
    query(Conduit::Hvc, VENDOR_HYP_UID, 0).map(low_half)
}

/// Whether this hypervisor, and no other and no bare machine, is below.
#[must_use]
pub fn is_shikiri() -> bool {
    hypervisor_uid() == UID
}

/// Reads the revision of the hypercall ABI: (major, minor).
#[must_use]
pub fn hypervisor_revision() -> (u32, u32) {
    let [major, minor, ..] = query(Conduit::Hvc, VENDOR_HYP_REVISION, 0);
    (low_half(major), low_half(minor))
}

fn query(conduit: Conduit, function: u32, argument: u64) -> Results {
    // SAFETY: the general queries of DEN 0028 §6 and §7 change nothing.
    unsafe { call(conduit, u64::from(function), [argument, 0, 0, 0, 0, 0]) }
}

/// The `w` half of a register.
pub(crate) fn low_half(x: u64) -> u32 {
    let [a, b, c, d, ..] = x.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
