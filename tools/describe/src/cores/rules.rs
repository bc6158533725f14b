//! What a partition may say about its vCPUs.

use serde_spanned::Spanned;
use shikiri_abi::{CoreId, CoreSet};
use shikiri_config::{CoreTime, MAX_PERIOD_US, MAX_VCPUS_AT_HOME, MIN_BUDGET_US, MIN_PERIOD_US};

use super::{Core, percent};
use crate::board::Board;
use crate::problem::{Place, Problem};
use crate::text::{Cores, PartitionText, VcpuText};
use crate::units::{Micros, how_many};

/// A core's reservations pass 100 %.
pub(super) fn overbooked(
    partition: &PartitionText,
    home: CoreId,
    core: &Core,
    ppm: u64,
    place: &Place,
) -> Problem {
    let name = partition.name.get_ref();
    let (reserved, wanted) = (percent(core.reserved_ppm), percent(ppm));
    let problem = Problem::new(format!("more than 100 % of core {} is reserved", home.0))
        .at(place, format!("`{name}` wants {wanted} % for this vCPU, {reserved} % are taken"));
    let other = core.sharers.iter().find(|claim| claim.partition != *name);
    let problem = match other {
        Some(other) => {
            problem.at(&other.place, format!("`{}` has a reservation here", other.partition))
        }
        None => problem,
    };
    problem.help("lower a budget, raise a period, or let a vCPU run on more cores")
}

/// As many vCPUs as possible have their home on a core.
pub(super) fn no_seat(partition: &PartitionText, home: CoreId, place: &Place) -> Problem {
    let name = partition.name.get_ref();
    Problem::new(format!("more than {MAX_VCPUS_AT_HOME} vCPUs have their home on core {}", home.0))
        .at(place, format!("`{name}` wants one more"))
        .help("let vCPUs run on more cores")
}

/// Keys that exclude each other.
pub(super) fn check_shape(partition: &PartitionText) -> Result<(), Problem> {
    let name = partition.name.get_ref();
    if let Some(vcpu) = partition.vcpu.first() {
        let others = [
            partition.vcpus.as_ref().map(|key| ("vcpus", key.span())),
            partition.cores.as_ref().map(|key| ("cores", key.span())),
            partition.share.as_ref().map(|key| ("share", key.span())),
        ];
        if let Some((key, span)) = others.into_iter().flatten().next() {
            let problem =
                Problem::new(format!("`{name}` describes each vCPU and also says `{key}`"));
            return Err(problem
                .at(span, format!("`{key}` for all of them"))
                .at(vcpu.span(), "a vCPU by itself"));
        }
    }
    if let (Some(share), Some(cores)) = (&partition.share, &partition.cores)
        && matches!(cores.get_ref(), Cores::Count(_))
    {
        let problem = Problem::new(format!("`{name}` shares cores, but does not say which"));
        return Err(problem
            .at(cores.span(), "a number of cores")
            .at(share.span(), "shared")
            .help("list them, or leave `cores` out to share all that nobody owns"));
    }
    Ok(())
}

/// The number of vCPUs: what is written, what fits the cores, what the GIC can serve.
pub(super) fn check_count(
    partition: &PartitionText,
    vcpus: usize,
    board: &Board,
) -> Result<(), Problem> {
    let name = partition.name.get_ref();
    let stated = partition.vcpus.as_ref();
    let wanted =
        stated.map_or(vcpus, |stated| usize::try_from(*stated.get_ref()).unwrap_or(usize::MAX));
    let spans = [stated.map(Spanned::span), partition.cores.as_ref().map(Spanned::span)];
    let place: Place = spans.into_iter().flatten().next().unwrap_or(partition.name.span()).into();
    if wanted == 0 {
        return Err(Problem::new(format!("`{name}` has no vCPU")).at(&place, "needs at least one"));
    }
    let most = board.gic.max_vcpus();
    if wanted > most {
        let gic = board.gic.number();
        let problem = Problem::new(format!("`{name}` has {wanted} vCPUs"));
        return Err(problem.at(&place, format!("a partition has at most {most} with GICv{gic}")));
    }
    if wanted == vcpus {
        return Ok(());
    }
    let problem = Problem::new(format!(
        "`{name}` has {} on {} of its own",
        how_many(wanted, "vCPU"),
        how_many(vcpus, "core")
    ));
    let problem = problem.at(&place, "as many vCPUs as owned cores");
    let problem = match &partition.cores {
        Some(cores) => problem.at(cores.span(), how_many(vcpus, "core")),
        None => problem,
    };
    Err(problem.help("add `share` to let several vCPUs take turns on a core"))
}

impl VcpuText {
    /// Whether it owns its core.
    pub(super) fn owns(&self) -> bool {
        self.budget.is_none() && self.period.is_none()
    }
}

/// Budget and period within their bounds.
pub(super) fn reservation(
    budget: &Spanned<Micros>,
    period: &Spanned<Micros>,
) -> Result<CoreTime, Problem> {
    let value = |micros: &Spanned<Micros>| u32::try_from(micros.get_ref().0).unwrap_or(u32::MAX);
    let (budget_us, period_us) = (value(budget), value(period));
    if !(MIN_PERIOD_US..=MAX_PERIOD_US).contains(&period_us) {
        let problem = Problem::new("the period of a reservation is out of range");
        return Err(problem.at(
            period.span(),
            format!("between {MIN_PERIOD_US} us and {} ms", MAX_PERIOD_US / 1000),
        ));
    }
    if budget_us > period_us {
        let problem = Problem::new("the budget of a reservation is longer than its period");
        return Err(problem
            .at(budget.span(), format!("{budget_us} us"))
            .at(period.span(), format!("of every {period_us} us")));
    }
    if budget_us < MIN_BUDGET_US {
        let problem = Problem::new("the budget of a reservation is too small");
        return Err(problem.at(budget.span(), format!("at least {MIN_BUDGET_US} us")));
    }
    Ok(CoreTime::Reservation { budget_us, period_us })
}

/// The home that is written, if it is one of the vCPU's cores.
pub(super) fn pinned_home(
    partition: &PartitionText,
    vcpu: &VcpuText,
    set: CoreSet,
) -> Result<Option<CoreId>, Problem> {
    let Some(home) = &vcpu.home else { return Ok(None) };
    let core = u8::try_from(*home.get_ref()).ok().map(CoreId).filter(|core| set.contains(*core));
    if core.is_none() {
        let name = partition.name.get_ref();
        let problem =
            Problem::new(format!("the home core of a vCPU of `{name}` is not one of its cores"));
        return Err(problem.at(home.span(), format!("its cores are {set}")));
    }
    Ok(core)
}

pub(super) fn core_set(list: &[Spanned<u32>]) -> CoreSet {
    list.iter()
        .filter_map(|core| u8::try_from(*core.get_ref()).ok())
        .fold(CoreSet::EMPTY, |set, core| set.union(CoreSet::one(CoreId(core))))
}

/// A set of cores is what it seems to be.
pub(super) fn check_each_once(list: &[Spanned<u32>]) -> Result<(), Problem> {
    for (index, core) in list.iter().enumerate() {
        let mut earlier = list.iter().take(index);
        if let Some(first) = earlier.find(|other| other.get_ref() == core.get_ref()) {
            let problem = Problem::new(format!("core {} is named twice", core.get_ref()));
            return Err(problem.at(first.span(), "the first time").at(core.span(), "again"));
        }
    }
    Ok(())
}
