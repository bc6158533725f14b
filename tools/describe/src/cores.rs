//! Who runs where: cores owned, cores shared, and the rest.

mod rules;

use serde_spanned::Spanned;
use shikiri_abi::{CoreId, CoreSet};
use shikiri_config::{CoreTime, MAX_VCPUS_AT_HOME, Vcpu};

use crate::board::Board;
use crate::problem::{Place, Problem};
use crate::text::{Cores, Description, PartitionText, VcpuText};
use crate::units::how_many;
use rules::{
    check_count, check_each_once, check_shape, core_set, no_seat, overbooked, pinned_home,
    reservation,
};

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
    /// vCPUs that share it and have their home here.
    seats: usize,
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
                "`{name}` wants {} of its own, but {left} of the machine's {total} are left",
                how_many(wanted, "core")
            ));
            let problem = problem.at(place, format!("`{name}` wants {wanted}"));
            return Err(match self.cores.iter().find_map(|core| core.owner.as_ref()) {
                Some(other) if matches!(other.place, Place::Text(_)) => {
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
                    check_each_once(&text.cores)?;
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
            Some(Cores::List(list)) => {
                check_each_once(list)?;
                core_set(list)
            }
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
        // Where all seats are taken, time does not help.
        let room = |core: &CoreId| {
            let core = self.cores.get(usize::from(core.0))?;
            Some((core.seats >= MAX_VCPUS_AT_HOME, core.reserved_ppm))
        };
        let Some(home) = pinned.or_else(|| set.iter().min_by_key(|core| room(core))) else {
            return Ok(());
        };
        let Some(core) = self.cores.get_mut(usize::from(home.0)) else { return Ok(()) };
        let sum = core.reserved_ppm.saturating_add(time.ppm());
        if sum > WHOLE_CORE_PPM {
            return Err(overbooked(partition, home, core, time.ppm(), place));
        }
        if core.seats >= MAX_VCPUS_AT_HOME {
            return Err(no_seat(partition, home, place));
        }
        core.reserved_ppm = sum;
        core.seats += 1;
        if let Some(vcpus) = self.vcpus.get_mut(index) {
            vcpus.push(Vcpu { cores: set, home, time, priority });
        }
        Ok(())
    }
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

/// The index of the partition called `name`.
pub(crate) fn find(description: &Description, name: &str) -> Option<usize> {
    description.partitions.iter().position(|partition| partition.get_ref().name.get_ref() == name)
}
