//! PSCI 1.1 for guests (Arm DEN 0022), and the SMCCC's own queries (Arm DEN 0028).
//!
//! State in, decision out: [`decide`] takes the registers of a call and what it may look at of the partition
//! ([`PsciView`]), and answers what EL2 has to do ([`PsciAction`]). Only CPU_ON changes something by itself:
//! it claims the target's [`VcpuPower`]. [`quick`] answers, in a few instructions, the calls whose answer is a
//! constant.
//!
//! What the platform is: `power_state` in the original format, one power level (the core), platform-coordinated
//! mode, no trusted OS. Unknown and optional functions are NOT_SUPPORTED, silently. 32- and 64-bit forms
//! are equal but for the width of what they read.

use arm_psci::{EntryPoint, ErrorCode, Function, FunctionId, Mpidr, PsciFeature, ResetType};
use shikiri_abi::{Ipa, VcpuIndex, smccc};

use crate::power::{LiveVcpus, PowerState, Start, VcpuPower};

/// The version that PSCI_VERSION answers: 1.1.
pub const VERSION_1_1: u64 = 0x0001_0001;
/// The version that SMCCC_VERSION answers, as `x0` holds it.
const VERSION_SMCCC: u64 = 0x0001_0002;
/// MIGRATE_INFO_TYPE: no trusted OS, or one that needs no migration.
const MIGRATION_NOT_REQUIRED: u64 = 2;
/// NOT_SUPPORTED as `x0` holds it: PSCI's and the SMCCC's are the same number.
pub const NOT_SUPPORTED: u64 = (-1_i64).cast_unsigned();
/// SUCCESS.
pub const SUCCESS: u64 = 0;

/// What a PSCI call may look at of the caller's partition.
pub trait PsciView {
    /// A vCPU's power state; `None` if the partition has no such vCPU.
    fn power(&self, vcpu: VcpuIndex) -> Option<&VcpuPower>;

    /// How many of the partition's vCPUs are not off.
    fn live(&self) -> &LiveVcpus;

    /// Whether the partition has memory at this address that it may execute.
    fn is_memory(&self, at: Ipa) -> bool;
}

/// What EL2 does about a PSCI call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciAction {
    /// Writes `x0`; the caller goes on.
    Answer(u64),
    /// The target's start is left in its [`VcpuPower`]: wakes it on its core, writes SUCCESS to the
    /// caller's `x0`; the caller goes on.
    CpuOn {
        /// The vCPU to wake.
        target: VcpuIndex,
    },
    /// Takes the caller off its core, then calls [`VcpuPower::turn_off`], and ends the partition if none remains.
    CpuOff,
    /// Lets the caller wait as by WFI, then writes SUCCESS to its `x0`.
    Standby,
    /// Calls [`VcpuPower::suspend`] and lets the caller wait; once an interrupt is there for it, it starts
    /// anew at what [`VcpuPower::resume`] says. With one there already, the wait is over at once.
    PowerDown(Start),
    /// Ends the partition at its own wish.
    PartitionOff,
    /// Ends the partition at its own wish and starts it again.
    PartitionReset,
}

impl From<ErrorCode> for PsciAction {
    fn from(error: ErrorCode) -> Self {
        Self::Answer(error.into())
    }
}

/// Answers the calls that need no look at the partition: PSCI_VERSION, MIGRATE_INFO_TYPE, SMCCC_VERSION.
/// `None` for all others. `function` is `w0`.
#[must_use]
#[inline(always)]
pub const fn quick(function: u32) -> Option<u64> {
    match function {
        0x8400_0000 => Some(VERSION_1_1),
        0x8400_0006 => Some(MIGRATION_NOT_REQUIRED),
        smccc::VERSION => Some(VERSION_SMCCC),
        _ => None,
    }
}

/// Decides a call whose function id is in the ranges of PSCI; `x` is `x0`–`x3`. A call that is in the range
/// and not in PSCI 1.1 as served here is answered NOT_SUPPORTED.
#[must_use]
pub fn decide(view: &impl PsciView, x: &[u64; 4]) -> PsciAction {
    let [function, ..] = *x;
    match FunctionId::try_from(low_word(function)) {
        Ok(id) if is_served(id) => {
            Function::try_from(x).map_err(ErrorCode::from).and_then(|call| serve(view, call))
        }
        Ok(_) | Err(_) => Err(ErrorCode::NotSupported),
    }
    .unwrap_or_else(PsciAction::from)
}

/// Whether the call is served here: the answer of PSCI_FEATURES, and the only way in.
const fn is_served(id: FunctionId) -> bool {
    match id {
        FunctionId::PsciVersion
        | FunctionId::CpuSuspend32
        | FunctionId::CpuSuspend64
        | FunctionId::CpuOff
        | FunctionId::CpuOn32
        | FunctionId::CpuOn64
        | FunctionId::AffinityInfo32
        | FunctionId::AffinityInfo64
        | FunctionId::MigrateInfoType
        | FunctionId::SystemOff
        | FunctionId::SystemReset
        | FunctionId::SystemReset232
        | FunctionId::SystemReset264
        | FunctionId::PsciFeatures => true,
        FunctionId::Migrate32
        | FunctionId::Migrate64
        | FunctionId::MigrateInfoUpCpu32
        | FunctionId::MigrateInfoUpCpu64
        | FunctionId::SystemOff232
        | FunctionId::SystemOff264
        | FunctionId::MemProtect
        | FunctionId::MemProtectCheckRange32
        | FunctionId::MemProtectCheckRange64
        | FunctionId::CpuFreeze
        | FunctionId::CpuDefaultSuspend32
        | FunctionId::CpuDefaultSuspend64
        | FunctionId::NodeHwState32
        | FunctionId::NodeHwState64
        | FunctionId::SystemSuspend32
        | FunctionId::SystemSuspend64
        | FunctionId::PsciSetSuspendMode
        | FunctionId::PsciStatResidency32
        | FunctionId::PsciStatResidency64
        | FunctionId::PsciStatCount32
        | FunctionId::PsciStatCount64 => false,
    }
}

fn serve(view: &impl PsciView, call: Function) -> Result<PsciAction, ErrorCode> {
    match call {
        Function::Version => Ok(PsciAction::Answer(VERSION_1_1)),
        Function::MigrateInfoType => Ok(PsciAction::Answer(MIGRATION_NOT_REQUIRED)),
        Function::CpuOn { target_cpu, entry } => cpu_on(view, target_cpu, entry),
        Function::CpuOff => Ok(PsciAction::CpuOff),
        Function::CpuSuspend { state, entry } => cpu_suspend(view, state.into(), entry),
        Function::AffinityInfo { mpidr, lowest_affinity_level } => {
            affinity_info(view, mpidr, lowest_affinity_level)
        }
        Function::SystemOff => Ok(PsciAction::PartitionOff),
        Function::SystemReset => Ok(PsciAction::PartitionReset),
        Function::SystemReset2 { reset_type, .. } => match reset_type {
            ResetType::Architectural(_warm) => Ok(PsciAction::PartitionReset),
            ResetType::VendorSpecific(_) => Err(ErrorCode::InvalidParameters),
        },
        Function::Features { psci_func_id } => features(psci_func_id),
        Function::Migrate { .. }
        | Function::MigrateInfoUpCpu { .. }
        | Function::SystemOff2 { .. }
        | Function::MemProtect { .. }
        | Function::MemProtectCheckRange { .. }
        | Function::CpuFreeze
        | Function::CpuDefaultSuspend { .. }
        | Function::NodeHwState { .. }
        | Function::SystemSuspend { .. }
        | Function::SetSuspendMode { .. }
        | Function::StatResidency { .. }
        | Function::StatCount { .. } => Err(ErrorCode::NotSupported),
    }
}

/// CPU_ON: first the target, then its entry, then its state.
fn cpu_on(view: &impl PsciView, target: Mpidr, entry: EntryPoint) -> Result<PsciAction, ErrorCode> {
    let (target, power) = find(view, target)?;
    let start = check_entry(view, entry)?;
    match power.turn_on(view.live(), start) {
        Ok(()) => Ok(PsciAction::CpuOn { target }),
        Err(PowerState::OnPending) => Err(ErrorCode::OnPending),
        Err(PowerState::On | PowerState::Suspended | PowerState::Off) => Err(ErrorCode::AlreadyOn),
    }
}

/// `power_state` in the original format: bit 16 power-down, bits 25:24 the level, bits 15:0 free.
const POWER_DOWN: u32 = 1 << 16;
const STATE_ID: u32 = 0xffff;

/// CPU_SUSPEND: every state id names the same standby or power-down; levels above the core do not exist.
fn cpu_suspend(
    view: &impl PsciView,
    state: u32,
    entry: EntryPoint,
) -> Result<PsciAction, ErrorCode> {
    if state & !(POWER_DOWN | STATE_ID) != 0 {
        return Err(ErrorCode::InvalidParameters);
    }
    if state & POWER_DOWN == 0 {
        return Ok(PsciAction::Standby);
    }
    check_entry(view, entry).map(PsciAction::PowerDown)
}

/// AFFINITY_INFO at level 0; the levels above are optional from PSCI 1.0 on and not served.
fn affinity_info(
    view: &impl PsciView,
    target: Mpidr,
    lowest_level: u32,
) -> Result<PsciAction, ErrorCode> {
    if lowest_level != 0 {
        return Err(ErrorCode::InvalidParameters);
    }
    let (_, power) = find(view, target)?;
    Ok(PsciAction::Answer(match power.state() {
        PowerState::On | PowerState::Suspended => 0,
        PowerState::Off => 1,
        PowerState::OnPending => 2,
    }))
}

/// PSCI_FEATURES: 0 for what is served; for CPU_SUSPEND that also says *original format,
/// platform-coordinated*.
fn features(asked: PsciFeature) -> Result<PsciAction, ErrorCode> {
    match asked {
        PsciFeature::SmcccVersion => Ok(PsciAction::Answer(SUCCESS)),
        PsciFeature::PsciFunction(id) if is_served(id) => Ok(PsciAction::Answer(SUCCESS)),
        PsciFeature::PsciFunction(_) => Err(ErrorCode::NotSupported),
    }
}

fn find(view: &impl PsciView, target: Mpidr) -> Result<(VcpuIndex, &VcpuPower), ErrorCode> {
    let target = VcpuIndex::from_affinity(target.into()).ok_or(ErrorCode::InvalidParameters)?;
    Ok((target, view.power(target).ok_or(ErrorCode::InvalidParameters)?))
}

/// An entry must be where the vCPU can execute: an instruction's alignment, and memory of its own.
fn check_entry(view: &impl PsciView, entry: EntryPoint) -> Result<Start, ErrorCode> {
    let at = Ipa(entry.entry_point_address());
    if at.is_aligned(4) && view.is_memory(at) {
        Ok(Start { entry: at.0, context: entry.context_id() })
    } else {
        Err(ErrorCode::InvalidAddress)
    }
}

/// Answers the Arm architecture service (owner 0): SMCCC_VERSION, SMCCC_ARCH_FEATURES; NOT_SUPPORTED for
/// the rest. The workaround calls are absent, so that a guest does not take itself for protected by a
/// firmware that nobody has asked.
#[must_use]
pub const fn architecture_call(function: u32, x1: u64) -> u64 {
    match function {
        smccc::VERSION => VERSION_SMCCC,
        smccc::ARCH_FEATURES => match low_word(x1) {
            smccc::VERSION | smccc::ARCH_FEATURES => SUCCESS,
            _ => NOT_SUPPORTED,
        },
        _ => NOT_SUPPORTED,
    }
}

/// Answers the general queries of our own service: UID (`x0`–`x3`) and revision (`x0` major, `x1` minor).
/// `None` if `function` is neither.
#[must_use]
pub fn vendor_query(function: u32) -> Option<[u64; 4]> {
    match function {
        smccc::VENDOR_HYP_UID => Some(smccc::UID.map(u64::from)),
        smccc::VENDOR_HYP_REVISION => {
            Some([smccc::REVISION_MAJOR.into(), smccc::REVISION_MINOR.into(), 0, 0])
        }
        _ => None,
    }
}

/// The W half of an X register: where the SMCCC puts the function id and 32-bit arguments.
const fn low_word(x: u64) -> u32 {
    let [a, b, c, d, ..] = x.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
