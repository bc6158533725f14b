//! Cores: owned ones belong to one vCPU alone, reservations fit into the others.

use shikiri_abi::{CoreId, CoreSet, MAX_CORES};

use crate::bundle::Bundle;
use crate::error::{BundleError, Claimant, Contested, Item};
use crate::types::{
    CoreTime, MAX_PERIOD_US, MAX_VCPUS_AT_HOME, MIN_BUDGET_US, MIN_PERIOD_US, Vcpu,
};

/// All of one core, in parts per million.
const WHOLE_CORE_PPM: u32 = 1_000_000;

pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let machine = first_cores(bundle.board().cores);
    let mut owned = CoreSet::EMPTY;
    let mut shared = CoreSet::EMPTY;
    for (claimant, vcpu) in vcpus(bundle) {
        check_vcpu(claimant, &vcpu, machine)?;
        let taken = if is_owner(&vcpu) { owned.union(shared) } else { owned };
        if let Some(core) = taken.intersection(vcpu.cores).first() {
            return Err(clash(bundle, Contested::Core(core), core, claimant));
        }
        if is_owner(&vcpu) {
            owned = owned.union(vcpu.cores);
        } else {
            shared = shared.union(vcpu.cores);
        }
    }
    if shared.is_empty() { Ok(()) } else { check_admission(bundle) }
}

/// Every vCPU of every partition with its name for messages.
fn vcpus<'a>(bundle: &Bundle<'a>) -> impl Iterator<Item = (Claimant<'a>, Vcpu)> + use<'a> {
    bundle.partitions().flat_map(|partition| {
        let name = partition.name;
        partition
            .vcpus()
            .enumerate()
            .map(move |(index, vcpu)| (Claimant { partition: name, item: Item::Vcpu(index) }, vcpu))
    })
}

fn is_owner(vcpu: &Vcpu) -> bool {
    vcpu.time == CoreTime::Owned
}

fn first_cores(count: usize) -> CoreSet {
    let above = u32::try_from(count).ok().and_then(|count| u128::MAX.checked_shl(count));
    CoreSet(!above.unwrap_or(0))
}

/// The vCPU alone: its cores exist, its home is one of them, its budget fits its period.
pub(super) fn check_vcpu<'a>(
    claimant: Claimant<'a>,
    vcpu: &Vcpu,
    machine: CoreSet,
) -> Result<(), BundleError<'a>> {
    let wrong = |what, value: u64| Err(BundleError::Value { claimant, what, value });
    if vcpu.cores.is_empty() {
        return wrong("no core to run on", 0);
    }
    if let Some(core) = vcpu.cores.without(machine).first() {
        return wrong("the machine has no core", u64::from(core.0));
    }
    if !vcpu.cores.contains(vcpu.home) {
        return wrong("home core is not in the core set", u64::from(vcpu.home.0));
    }
    match vcpu.time {
        CoreTime::Owned if vcpu.cores.len() != 1 => {
            wrong("owns a core, but may run on several", u64::from(vcpu.cores.len()))
        }
        CoreTime::Owned => Ok(()),
        CoreTime::Reservation { budget_us, period_us } => {
            if !(MIN_PERIOD_US..=MAX_PERIOD_US).contains(&period_us) {
                wrong("period out of range", u64::from(period_us))
            } else if budget_us < MIN_BUDGET_US || budget_us > period_us {
                wrong("budget out of range", u64::from(budget_us))
            } else {
                Ok(())
            }
        }
    }
}

/// The reservations of a core sum up to at most the whole core, and each vCPU has a seat there.
fn check_admission<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let mut reserved = [(0_u32, 0_usize); MAX_CORES];
    for (claimant, vcpu) in vcpus(bundle) {
        let Some((sum, seats)) = reserved.get_mut(usize::from(vcpu.home.0)) else { continue };
        *sum = sum.saturating_add(u32::try_from(vcpu.time.ppm()).unwrap_or(u32::MAX));
        if *sum > WHOLE_CORE_PPM {
            return Err(clash(bundle, Contested::CoreTime(vcpu.home), vcpu.home, claimant));
        }
        *seats = seats.saturating_add(1);
        if *seats > MAX_VCPUS_AT_HOME {
            let (what, value) = ("no seat is left at home on core", u64::from(vcpu.home.0));
            return Err(BundleError::Value { claimant, what, value });
        }
    }
    Ok(())
}

/// Names the first other vCPU that wants the core.
fn clash<'a>(
    bundle: &Bundle<'a>,
    contested: Contested,
    core: CoreId,
    second: Claimant<'a>,
) -> BundleError<'a> {
    let wants = |vcpu: &Vcpu| match contested {
        Contested::CoreTime(_) => vcpu.home == core,
        Contested::Name
        | Contested::Core(_)
        | Contested::Ipa(_)
        | Contested::Pa(_)
        | Contested::PhysicalInterrupt(_)
        | Contested::VirtualInterrupt(_)
        | Contested::Service(_) => vcpu.cores.contains(core),
    };
    let first =
        vcpus(bundle).find(|(_, vcpu)| wants(vcpu)).map_or(second, |(claimant, _)| claimant);
    BundleError::Clash { contested, first, second }
}
