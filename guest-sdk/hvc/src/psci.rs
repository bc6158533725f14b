//! Power State Coordination Interface, the caller's side (Arm DEN 0022).
#![expect(
    unsafe_code,
    reason = "raw calls are unsafe in general; each says here why it is not, or stays unsafe"
)]

use crate::raw::{Conduit, Results, call};
use crate::smccc::low_half;

/// `PSCI_VERSION`.
pub const VERSION: u32 = 0x8400_0000;
/// `CPU_SUSPEND`, 64-bit.
pub const CPU_SUSPEND: u32 = 0xC400_0001;
/// `CPU_OFF`.
pub const CPU_OFF: u32 = 0x8400_0002;
/// `CPU_ON`, 64-bit.
pub const CPU_ON: u32 = 0xC400_0003;
/// `AFFINITY_INFO`, 64-bit.
pub const AFFINITY_INFO: u32 = 0xC400_0004;
/// `MIGRATE_INFO_TYPE`.
pub const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
/// `SYSTEM_OFF`.
pub const SYSTEM_OFF: u32 = 0x8400_0008;
/// `SYSTEM_RESET`.
pub const SYSTEM_RESET: u32 = 0x8400_0009;
/// `PSCI_FEATURES`.
pub const FEATURES: u32 = 0x8400_000A;

/// What a PSCI call answers (DEN 0022 §5.2.2).
pub mod code {
    /// Done.
    pub const SUCCESS: i32 = 0;
    /// No such function.
    pub const NOT_SUPPORTED: i32 = -1;
    /// An argument is out of range.
    pub const INVALID_PARAMETERS: i32 = -2;
    /// Refused.
    pub const DENIED: i32 = -3;
    /// The core is on.
    pub const ALREADY_ON: i32 = -4;
    /// The core is being started.
    pub const ON_PENDING: i32 = -5;
    /// The entry address is not usable.
    pub const INVALID_ADDRESS: i32 = -9;
}

/// A core's power state, as `AFFINITY_INFO` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// The core runs (or is suspended).
    On,
    /// The core is off.
    Off,
    /// The core has been started and has not arrived yet.
    OnPending,
}

/// Reads the version: major in bits 31–16, minor in bits 15–0.
#[must_use]
pub fn version(conduit: Conduit) -> u32 {
    // SAFETY: PSCI_VERSION changes nothing.
    let [x0, ..] = unsafe { psci(conduit, VERSION, [0; 3]) };
    low_half(x0)
}

/// Asks whether function `id` exists: not negative if it does.
#[must_use]
pub fn features(conduit: Conduit, id: u32) -> i32 {
    // SAFETY: PSCI_FEATURES changes nothing.
    signed(unsafe { psci(conduit, FEATURES, [u64::from(id), 0, 0]) })
}

/// Reads where the Trusted OS lives; 2 = there is none to migrate.
#[must_use]
pub fn migrate_info_type(conduit: Conduit) -> i32 {
    // SAFETY: MIGRATE_INFO_TYPE changes nothing.
    signed(unsafe { psci(conduit, MIGRATE_INFO_TYPE, [0; 3]) })
}

/// Reads the power state of the core with affinity `mpidr` (level 0).
///
/// # Errors
/// The PSCI code, `INVALID_PARAMETERS` for a core that does not exist.
pub fn affinity_info(conduit: Conduit, mpidr: u64) -> Result<Power, i32> {
    // SAFETY: AFFINITY_INFO changes nothing.
    match signed(unsafe { psci(conduit, AFFINITY_INFO, [mpidr, 0, 0]) }) {
        0 => Ok(Power::On),
        1 => Ok(Power::Off),
        2 => Ok(Power::OnPending),
        code => Err(code),
    }
}

/// Starts the core with affinity `mpidr` at physical address `entry`, with `context` in its `x0`; answers the
/// PSCI code.
///
/// # Safety
/// `entry` is code that can run with the MMU off, `context` is what it expects, and what it reads has been
/// cleaned to the point of coherency.
#[must_use]
pub unsafe fn cpu_on(conduit: Conduit, mpidr: u64, entry: u64, context: u64) -> i32 {
    // SAFETY: the caller's promise is passed on.
    signed(unsafe { psci(conduit, CPU_ON, [mpidr, entry, context]) })
}

/// Suspends this core in power state `state`; a standby state returns the PSCI code after the wake-up.
///
/// # Safety
/// For a power-down state: as for [`cpu_on`], and the caller's stack is not needed again.
#[must_use]
pub unsafe fn cpu_suspend(conduit: Conduit, state: u32, entry: u64, context: u64) -> i32 {
    // SAFETY: the caller's promise is passed on.
    signed(unsafe { psci(conduit, CPU_SUSPEND, [u64::from(state), entry, context]) })
}

/// Turns this core off; returns the PSCI code only if that was refused.
#[must_use]
pub fn cpu_off(conduit: Conduit) -> i32 {
    // SAFETY: the core stops executing; its memory stays as it is.
    signed(unsafe { psci(conduit, CPU_OFF, [0; 3]) })
}

/// Turns the system (here: this partition) off; returns only if that was refused.
pub fn system_off(conduit: Conduit) {
    // SAFETY: execution ends; nothing is left that could be unsound.
    let _ignored: Results = unsafe { psci(conduit, SYSTEM_OFF, [0; 3]) };
}

/// Resets the system (here: this partition); returns only if that was refused.
pub fn system_reset(conduit: Conduit) {
    // SAFETY: execution ends; nothing is left that could be unsound.
    let _ignored: Results = unsafe { psci(conduit, SYSTEM_RESET, [0; 3]) };
}

/// # Safety
/// As for [`call`].
unsafe fn psci(conduit: Conduit, function: u32, arguments: [u64; 3]) -> Results {
    let [a, b, c] = arguments;
    // SAFETY: the caller's promise is passed on.
    unsafe { call(conduit, u64::from(function), [a, b, c, 0, 0, 0]) }
}

fn signed(results: Results) -> i32 {
    let [x0, ..] = results;
    low_half(x0).cast_signed()
}
