//! Who runs where: cores owned, cores shared, and the rest.

use serde_spanned::Spanned;
use shikiri_abi::{CoreId, CoreSet};
use shikiri_config::{CoreTime, MAX_PERIOD_US, MIN_BUDGET_US, MIN_PERIOD_US, Vcpu};

use crate::board::Board;
use crate::problem::{Place, Problem};
use crate::text::{Cores, Description, PartitionText, VcpuText};
use crate::units::Micros;

/// All of one core, in parts per million.
const WHOLE_CORE_PPM: u64 = 1_000_000;

/// A bound for loops over vCPUs whose number has not been checked yet.
const MAX_VCPUS_AND_ONE: u32 = shikiri_config::MAX_VCPUS as u32 + 1;

/// What is known about a core while cores are given out.
#[derive(Clone, Debug, Default)]
struct Core {
    owner: Option<Claim>,
    sharers: Vec<Claim>,
    reserved_ppm: u64,
}

/// Who wants a core, and where that stands.
#[derive(Clone, Debug)]
struct Claim {
    partition: String,
    place: Place,
}

/// Gives cores to partitions.
pub(crate) struct CorePlan {
    cores: Vec<Core>,
    vcpus: Vec<Vec<Vcpu>>,
}

impl CorePlan {
    /// Plans all partitions; the result holds each one's vCPUs in the description's order.
    pub(crate) fn make(description: &Description, board: &Board) -> Result<Self, Problem> {
        let count = usize::try_from(board.cores).unwrap_or(usize::MAX).min(shikiri_abi::MAX_CORES);
        let mut plan = Self {
            cores: vec![Core::default(); count],
            vcpus: vec![Vec::new(); description.partitions.len()],
        };
        plan.claim_named(description)?;
        plan.claim_counted(description)?;
        plan.claim_rest(description)?;
        plan.place_shares(description)?;
        for (spanned, vcpus) in description.partitions.iter().zip(&plan.vcpus) {
            check_count(spanned.get_ref(), vcpus.len(), board)?;
        }
        Ok(plan)
    }

    /// The vCPUs of a partition.
    pub(crate) fn vcpus(&self, partition: usize) -> &[Vcpu] {
        self.vcpus.get(partition).map_or(&[], Vec::as_slice)
    }

    /// The cores that nobody uses.
    pub(crate) fn left(&self) -> CoreSet {
        self.free().fold(CoreSet::EMPTY, |set, core| set.union(CoreSet::one(core)))
    }

    /// Each core's reserved parts per million, if it is shared.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (usize, u64)> {
        self.cores
            .iter()
            .enumerate()
            .filter(|(_, core)| !core.sharers.is_empty())
            .map(|(number, core)| (number, core.reserved_ppm))
    }

    fn free(&self) -> impl Iterator<Item = CoreId> {
        let unused = |core: &Core| core.owner.is_none() && core.sharers.is_empty();
        let numbers = self.cores.iter().enumerate().filter(move |(_, core)| unused(core));
        numbers.filter_map(|(number, _)| u8::try_from(number).ok().map(CoreId))
    }

    /// First pass: cores that are named, so that chosen ones avoid them.
    fn claim_named(&mut self, description: &Description) -> Result<(), Problem> {
        for (index, spanned) in description.partitions.iter().enumerate() {
            let partition = spanned.get_ref();
            check_shape(partition)?;
            for vcpu in &partition.vcpu {
                self.claim_vcpu(partition, vcpu)?;
            }
            if let Some(Cores::List(list)) = partition.cores.as_ref().map(Spanned::get_ref) {
                for core in list {
                    self.claim(partition, core, partition.share.is_none())?;
                    if partition.share.is_none() {
                        self.give(index, *core.get_ref());
                    }
                }
            }
        }
        Ok(())
    }

    /// A vCPU that is described by itself.
    fn claim_vcpu(
        &mut self,
        partition: &PartitionText,
        vcpu: &Spanned<VcpuText>,
    ) -> Result<(), Problem> {
        let text = vcpu.get_ref();
        let owns = text.owns();
        let name = &**partition.name.get_ref();
        if text.cores.is_empty() || (owns && text.cores.len() != 1) {
            let problem =
                Problem::new(format!("a vCPU of `{name}` without `budget` owns exactly one core"));
            return Err(problem
                .at(vcpu.span(), format!("names {} cores", text.cores.len()))
                .help("write one core, or add `budget` and `period`"));
        }
        if !owns && (text.budget.is_none() || text.period.is_none()) {
            let problem =
                Problem::new(format!("a vCPU of `{name}` has only one of `budget` and `period`"));
            return Err(problem.at(vcpu.span(), "needs both"));
        }
        for core in &text.cores {
            self.claim(partition, core, owns)?;
        }
        Ok(())
    }

    /// Enters a claim, unless it collides with an earlier one.
    fn claim(
        &mut self,
        partition: &PartitionText,
        core: &Spanned<u32>,
        owns: bool,
    ) -> Result<(), Problem> {
        let name = partition.name.get_ref().clone();
        let number = *core.get_ref();
        let last = self.cores.len().saturating_sub(1);
        let Some(state) = usize::try_from(number).ok().and_then(|n| self.cores.get_mut(n)) else {
            let problem = Problem::new(format!("the machine has no core {number}"));
            let problem = problem.at(core.span(), format!("`{name}` wants it"));
            return Err(problem.help(format!("its cores are 0 to {last}")));
        };
        let claim = Claim { partition: name.clone(), place: core.span().into() };
        let other = state.owner.as_ref().or(if owns { state.sharers.first() } else { None });
        if let Some(other) = other {
            let verb = if state.owner.is_some() { "owns" } else { "shares" };
            let problem = Problem::new(format!(
                "core {number} is claimed by `{}` and by `{name}`",
                other.partition
            ));
            return Err(problem
                .at(&other.place, format!("`{}` {verb} it", other.partition))
                .at(core.span(), format!("`{name}` wants it, too"))
                .help(
                    "an owned core serves one vCPU; to share it, give both partitions a `share`",
                ));
        }
        if owns {
            state.owner = Some(claim);
        } else {
            state.sharers.push(claim);
        }
        Ok(())
    }

    /// Adds a vCPU that owns a core.
    fn give(&mut self, partition: usize, core: u32) {
        let home = CoreId(u8::try_from(core).unwrap_or(u8::MAX));
        let vcpu = Vcpu { cores: CoreSet::one(home), home, time: CoreTime::Owned, priority: 0 };
        if let Some(vcpus) = self.vcpus.get_mut(partition) {
            vcpus.push(vcpu);
        }
    }

    /// Second pass: `cores = 2`, or no `cores` at all, takes the lowest that are left.
    fn claim_counted(&mut self, description: &Description) -> Result<(), Problem> {
        for (index, spanned) in description.partitions.iter().enumerate() {
            let partition = spanned.get_ref();
            if let Some((wanted, place)) = counted(description, partition) {
                self.take(index, partition, wanted, &place)?;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        index: usize,
        partition: &PartitionText,
        wanted: u32,
        place: &Place,
    ) -> Result<(), Problem> {
        let name = partition.name.get_ref();
        let wanted_cores = usize::try_from(wanted).unwrap_or(usize::MAX);
        let chosen: Vec<CoreId> = self.free().take(wanted_cores).collect();
        if chosen.len() < wanted_cores {
            let (total, left) = (self.cores.len(), chosen.len());
            let problem = Problem::new(format!(
                "`{name}` wants {wanted} cores of its own, but {left} of the machine's {total} are left"
            ));
            let problem = problem.at(place, format!("`{name}` wants {wanted}"));
            return Err(match self.cores.iter().find_map(|core| core.owner.as_ref()) {
                Some(other) if other.place.0.is_some() => {
                    problem.at(&other.place, format!("`{}` owns this one", other.partition))
                }
                _ => problem,
            });
        }
        for core in chosen {
            if let Some(state) = self.cores.get_mut(usize::from(core.0)) {
                state.owner = Some(Claim { partition: name.clone(), place: place.clone() });
            }
            self.give(index, u32::from(core.0));
        }
        Ok(())
    }

    /// Third pass: `[rest] cores`.
    fn claim_rest(&mut self, description: &Description) -> Result<(), Problem> {
        let Some(heir) = &description.rest.cores else { return Ok(()) };
        let Some(index) = find(description, heir.get_ref()) else { return Ok(()) };
        let Some(partition) = description.partitions.get(index).map(Spanned::get_ref) else {
            return Ok(());
        };
        if let Some(share) = &partition.share {
            let problem = Problem::new(format!(
                "`{}` shares its cores and cannot get the rest as well",
                heir.get_ref()
            ));
            return Err(problem
                .at(share.span(), "shares its cores")
                .at(heir.span(), "gets the rest as its own"));
        }
        let wanted = u32::try_from(self.free().count()).unwrap_or(u32::MAX);
        self.take(index, partition, wanted, &heir.span().into())
    }

    /// Last pass: reservations, each where most room is.
    fn place_shares(&mut self, description: &Description) -> Result<(), Problem> {
        for (index, spanned) in description.partitions.iter().enumerate() {
            let partition = spanned.get_ref();
            for vcpu in &partition.vcpu {
                let text = vcpu.get_ref();
                if let (Some(budget), Some(period)) = (&text.budget, &text.period) {
                    let time = reservation(budget, period)?;
                    let set = core_set(&text.cores);
                    let pinned = pinned_home(partition, text, set)?;
                    let place = vcpu.span().into();
                    self.reserve(index, partition, set, pinned, time, text.priority, &place)?;
                } else if let Some(core) = text.cores.first() {
                    self.give(index, *core.get_ref());
                }
            }
            self.place_share(index, partition)?;
        }
        Ok(())
    }

    /// `share = { … }`: as many equal reservations as the partition has vCPUs.
    fn place_share(&mut self, index: usize, partition: &PartitionText) -> Result<(), Problem> {
        let Some(share) = &partition.share else { return Ok(()) };
        let text = share.get_ref();
        let time = reservation(&text.budget, &text.period)?;
        let set = match partition.cores.as_ref().map(Spanned::get_ref) {
            Some(Cores::List(list)) => core_set(list),
            Some(Cores::Count(_)) | None => self.share_unowned(partition, &share.span().into())?,
        };
        let vcpus = partition.vcpus.as_ref().map_or(1, |count| *count.get_ref());
        // One more than a partition can have is enough to see that there are too many.
        for _ in 0..vcpus.min(MAX_VCPUS_AND_ONE) {
            self.reserve(index, partition, set, None, time, text.priority, &share.span().into())?;
        }
        Ok(())
    }

    /// All cores that nobody owns.
    fn share_unowned(
        &mut self,
        partition: &PartitionText,
        place: &Place,
    ) -> Result<CoreSet, Problem> {
        let mut set = CoreSet::EMPTY;
        for (number, core) in self.cores.iter_mut().enumerate() {
            if core.owner.is_none() {
                let partition = partition.name.get_ref().clone();
                core.sharers.push(Claim { partition, place: place.clone() });
                set = set.union(CoreSet::one(CoreId(u8::try_from(number).unwrap_or(u8::MAX))));
            }
        }
        if set.is_empty() {
            let problem = Problem::new(format!(
                "no core is left for `{}` to share",
                partition.name.get_ref()
            ));
            return Err(problem.at(place, "all cores are owned"));
        }
        Ok(set)
    }

    /// Adds a vCPU with a reservation.
    #[expect(clippy::too_many_arguments, reason = "one reservation has these parts, used twice")]
    fn reserve(
        &mut self,
        index: usize,
        partition: &PartitionText,
        set: CoreSet,
        pinned: Option<CoreId>,
        time: CoreTime,
        priority: u8,
        place: &Place,
    ) -> Result<(), Problem> {
        let room =
            |core: &CoreId| self.cores.get(usize::from(core.0)).map(|core| core.reserved_ppm);
        let Some(home) = pinned.or_else(|| set.iter().min_by_key(|core| room(core))) else {
            return Ok(());
        };
        let Some(core) = self.cores.get_mut(usize::from(home.0)) else { return Ok(()) };
        let sum = core.reserved_ppm.saturating_add(time.ppm());
        if sum > WHOLE_CORE_PPM {
            return Err(overbooked(partition, home, core, time.ppm(), place));
        }
        core.reserved_ppm = sum;
        if let Some(vcpus) = self.vcpus.get_mut(index) {
            vcpus.push(Vcpu { cores: set, home, time, priority });
        }
        Ok(())
    }
}

/// A core's reservations pass 100 %.
fn overbooked(
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

/// Parts per million as percent, for people.
pub(crate) fn percent(ppm: u64) -> String {
    let (whole, rest) = (ppm / 10_000, ppm % 10_000);
    if rest == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{rest:04}").trim_end_matches('0').to_owned()
    }
}

/// How many cores of its own a partition wants without naming them.
fn counted(description: &Description, partition: &PartitionText) -> Option<(u32, Place)> {
    if partition.share.is_some() || !partition.vcpu.is_empty() {
        return None;
    }
    match &partition.cores {
        Some(cores) => match cores.get_ref() {
            Cores::Count(count) => Some((*count, cores.span().into())),
            Cores::List(_) => None,
        },
        None => {
            let is_heir = description
                .rest
                .cores
                .as_ref()
                .is_some_and(|heir| heir.get_ref() == partition.name.get_ref());
            let stated = partition.vcpus.as_ref();
            let place = stated.map_or(partition.name.span(), Spanned::span).into();
            match (stated, is_heir) {
                (None, true) => None,
                (stated, _) => Some((stated.map_or(1, |count| *count.get_ref()), place)),
            }
        }
    }
}

/// Keys that exclude each other.
fn check_shape(partition: &PartitionText) -> Result<(), Problem> {
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
fn check_count(partition: &PartitionText, vcpus: usize, board: &Board) -> Result<(), Problem> {
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
    let problem = Problem::new(format!("`{name}` has {wanted} vCPUs on {vcpus} cores of its own"));
    let problem = problem.at(&place, "as many vCPUs as owned cores");
    let problem = match &partition.cores {
        Some(cores) => problem.at(cores.span(), format!("{vcpus} cores")),
        None => problem,
    };
    Err(problem.help("add `share` to let several vCPUs take turns on a core"))
}

impl VcpuText {
    /// Whether it owns its core.
    fn owns(&self) -> bool {
        self.budget.is_none() && self.period.is_none()
    }
}

/// Budget and period within their bounds.
fn reservation(budget: &Spanned<Micros>, period: &Spanned<Micros>) -> Result<CoreTime, Problem> {
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
fn pinned_home(
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

fn core_set(list: &[Spanned<u32>]) -> CoreSet {
    list.iter()
        .filter_map(|core| u8::try_from(*core.get_ref()).ok())
        .fold(CoreSet::EMPTY, |set, core| set.union(CoreSet::one(CoreId(core))))
}

/// The index of the partition called `name`.
pub(crate) fn find(description: &Description, name: &str) -> Option<usize> {
    description.partitions.iter().position(|partition| partition.get_ref().name.get_ref() == name)
}
