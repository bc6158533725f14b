//! From the text to the system that goes into the bundle.

mod partition;
mod sanity;
mod tables;

use shikiri_abi::CoreSet;
use shikiri_config::{BlobSpec, Bundle, PartitionSpec, SystemSpec};

use crate::Request;
use crate::board::Board;
use crate::channels;
use crate::cores::CorePlan;
use crate::devices::{self, DevicePlan};
use crate::images::{self, Files};
use crate::memory::MemoryPlan;
use crate::names;
use crate::policy;
use crate::policy_file;
use crate::problem::Problem;
use crate::services;
use crate::shared;
use crate::talk;
use crate::text::Description;
pub(crate) use sanity::check_exists;

use partition::Builder;
pub(crate) use partition::limit_values;
pub(crate) use sanity::check_possible;
use sanity::{check_machine, check_names, check_rest, focus};

/// Everything that was decided about a system.
pub(crate) struct Plan<'a> {
    pub(crate) board: &'a Board,
    pub(crate) description: &'a Description,
    pub(crate) cores: CorePlan,
    pub(crate) memory: MemoryPlan,
    pub(crate) devices: DevicePlan<'a>,
    pub(crate) spec: SystemSpec,
    pub(crate) focus: Option<usize>,
    /// Partitions of the policy file that nobody makes.
    pub(crate) unmade: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Decides everything; the first problem is the error.
    pub(crate) fn make(
        request: &Request,
        description: &'a Description,
        board: &'a Board,
    ) -> Result<Self, Problem> {
        check_machine(description, board)?;
        check_names(description)?;
        check_rest(description)?;
        let cores = CorePlan::make(description, board)?;
        let mut files = Files::default();
        let mut loaded = Vec::new();
        for partition in &description.partitions {
            loaded.push(images::load(request, &mut files, partition.get_ref())?);
        }
        let (policy, policy_images) = policy::plan(request, description, &mut files)?;
        let unmade = policy_file::check(request, description, board, &policy_images)?;
        let memory = MemoryPlan::make(description, board, files.total())?;
        let devices = DevicePlan::make(description, board)?;
        devices::check_physical(description, board, &devices, &memory)?;
        devices::check_moderated(description, &devices)?;
        let focus = focus(description)?;
        let talks = talk::plan(description)?;
        let events = talk::events(description, &devices, |index| cores.vcpus(index).len())?;
        let services = services::plan(description)?;
        let names = names::plan(description)?;
        let shared = shared::plan(description)?;
        let vcpus = |index| cores.vcpus(index).len();
        let channels = channels::plan(description, &devices, &shared, vcpus)?;
        let mut partitions = Vec::new();
        for (index, partition) in description.partitions.iter().enumerate() {
            let builder = Builder {
                board,
                partition: partition.get_ref(),
                index,
                cores: &cores,
                memory: &memory,
                devices: devices.of(index),
                talk: talks[index],
                events: &events,
                shared: &shared,
                channels: &channels,
                services: &services,
                description,
                seed: request.seeds.get(index).copied(),
            };
            partitions.push(builder.build(&loaded[index], &mut files)?);
        }
        let blobs = files.into_contents().into_iter().map(|bytes| BlobSpec { bytes }).collect();
        let spec = SystemSpec {
            board: board.compatible.clone(),
            gic: board.gic,
            cores: cores_used(&partitions),
            focus: focus.and_then(|index| u32::try_from(index).ok()),
            partitions,
            events,
            channels,
            services,
            names,
            shared,
            policy,
            policy_images,
            blobs,
        };
        Ok(Self { board, description, cores, memory, devices, spec, focus, unmade })
    }

    /// The bundle, read back as the hypervisor will.
    pub(crate) fn bundle(&self) -> Result<Vec<u8>, Problem> {
        let bytes = shikiri_config::write(&self.spec);
        match Bundle::parse(&bytes, shikiri_config::crc32).map(|_| ()) {
            Ok(()) => Ok(bytes),
            Err(error) => {
                let problem =
                    Problem::new(format!("the hypervisor would refuse this system: {error}"));
                Err(problem)
            }
        }
    }
}

/// One more than the highest core that somebody uses.
fn cores_used(partitions: &[PartitionSpec]) -> u32 {
    let sets = partitions.iter().flat_map(|partition| &partition.vcpus).map(|vcpu| vcpu.cores);
    let all = sets.fold(CoreSet::EMPTY, CoreSet::union);
    u128::BITS - all.0.leading_zeros()
}
