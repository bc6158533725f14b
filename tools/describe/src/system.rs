//! From the text to the system that goes into the bundle.

use serde_spanned::Spanned;
use shikiri_abi::{CoreSet, IntId, Ipa, PAGE_BYTES, RESOURCE_COUNT, Resource};
use shikiri_config::{
    BlobSpec, Bundle, GIC_FRAME_BYTES, GicVersion, IPA_BITS, Image, ImageKind, MAX_PARTITIONS,
    PartitionSpec, Platform, REDISTRIBUTOR_BYTES, Restart, RestartPolicy, SystemSpec,
};

use crate::Request;
use crate::board::{BOARDS, Board, Range};
use crate::claims::{Claim, check_disjoint};
use crate::cores::{CorePlan, find};
use crate::devices::{self, DevicePlan, Owned, SPIS};
use crate::guest_tree;
use crate::images::{self, Files, Layout, Loaded, Sizes};
use crate::memory::{self, MemoryPlan};
use crate::problem::{Place, Problem};
use crate::text::{Description, LimitsText, PartitionText, Policy, RestartText};

/// Everything that was decided about a system.
pub(crate) struct Plan<'a> {
    pub(crate) board: &'a Board,
    pub(crate) description: &'a Description,
    pub(crate) cores: CorePlan,
    pub(crate) memory: MemoryPlan,
    pub(crate) devices: DevicePlan<'a>,
    pub(crate) spec: SystemSpec,
    pub(crate) focus: Option<usize>,
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
        let memory = MemoryPlan::make(description, board, files.total())?;
        let devices = DevicePlan::make(description, board)?;
        devices::check_physical(description, board, &devices, &memory)?;
        let focus = focus(description)?;
        let mut partitions = Vec::new();
        for (index, partition) in description.partitions.iter().enumerate() {
            let builder = Builder {
                board,
                partition: partition.get_ref(),
                index,
                cores: &cores,
                memory: &memory,
                devices: devices.of(index),
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
            blobs,
        };
        Ok(Self { board, description, cores, memory, devices, spec, focus })
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

/// What the description says about the machine must be true of the device tree.
fn check_machine(description: &Description, board: &Board) -> Result<(), Problem> {
    let machine = &description.machine;
    if let Some(name) = &machine.board {
        check_board_name(name, board)?;
    }
    if let Some(cores) = &machine.cores
        && *cores.get_ref() > board.cores
    {
        let problem = Problem::new("the machine has fewer cores than this description needs");
        return Err(problem.at(cores.span(), format!("it has {}", board.cores)));
    }
    if let Some(memory) = &machine.memory
        && memory.get_ref().0 > board.memory_bytes()
    {
        let has = crate::units::Size(board.memory_bytes());
        let problem = Problem::new("the machine has less memory than this description needs");
        return Err(problem.at(memory.span(), format!("it has {has}")));
    }
    if let Some(gic) = &machine.gic
        && *gic.get_ref() != board.gic.number()
    {
        let problem = Problem::new("the machine has another GIC than this description needs");
        return Err(problem.at(gic.span(), format!("it has a GICv{}", board.gic.number())));
    }
    Ok(())
}

fn check_board_name(name: &Spanned<String>, board: &Board) -> Result<(), Problem> {
    let known: Vec<_> = BOARDS.iter().map(|(name, _)| format!("`{name}`")).collect();
    if !BOARDS.iter().any(|(known, _)| known == name.get_ref()) {
        let problem = Problem::new(format!("there is no board `{}`", name.get_ref()));
        return Err(problem
            .at(name.span(), "not known")
            .help(format!("there is {}", known.join(", "))));
    }
    if board.name().is_some_and(|found| found != name.get_ref()) {
        let problem =
            Problem::new(format!("the device tree is of another board: `{}`", board.compatible));
        return Err(problem.at(name.span(), "this description is for this one"));
    }
    Ok(())
}

fn check_names(description: &Description) -> Result<(), Problem> {
    let partitions = &description.partitions;
    let Some(last) = partitions.last() else {
        let problem = Problem::new("the description has no partition");
        return Err(problem.help(
            "add a table `[[partition]]` with at least `name`, `memory`, and `image` or `kernel`",
        ));
    };
    if partitions.len() > MAX_PARTITIONS {
        let problem = Problem::new(format!(
            "{} partitions, at most {MAX_PARTITIONS} are possible",
            partitions.len()
        ));
        return Err(problem.at(last.get_ref().name.span(), "the last one"));
    }
    for (index, partition) in partitions.iter().enumerate() {
        let name = &partition.get_ref().name;
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let text = name.get_ref();
        if text.is_empty()
            || text.len() > shikiri_config::MAX_NAME_BYTES
            || !text.bytes().all(is_allowed)
        {
            let problem = Problem::new(format!("`{text}` cannot be a partition's name"));
            return Err(problem.at(name.span(), "a name has 1 to 31 of a-z, 0-9, _ and -"));
        }
        let earlier = partitions.iter().take(index).map(|other| &other.get_ref().name);
        if let Some(other) = earlier.into_iter().find(|other| other.get_ref() == text) {
            let problem = Problem::new(format!("two partitions are called `{text}`"));
            return Err(problem.at(other.span(), "the first").at(name.span(), "the second"));
        }
    }
    Ok(())
}

/// `[rest]` names partitions that exist.
fn check_rest(description: &Description) -> Result<(), Problem> {
    let rest = &description.rest;
    for heir in [&rest.cores, &rest.memory, &rest.devices].into_iter().flatten() {
        check_exists(description, heir)?;
    }
    Ok(())
}

fn check_exists(description: &Description, name: &Spanned<String>) -> Result<usize, Problem> {
    find(description, name.get_ref()).ok_or_else(|| {
        let names: Vec<_> = description
            .partitions
            .iter()
            .map(|p| format!("`{}`", p.get_ref().name.get_ref()))
            .collect();
        Problem::new(format!("there is no partition `{}`", name.get_ref()))
            .at(name.span(), "not described")
            .help(format!("there is {}", names.join(", ")))
    })
}

/// Who has the console first.
fn focus(description: &Description) -> Result<Option<usize>, Problem> {
    let partitions = || description.partitions.iter().map(Spanned::get_ref);
    let Some(stated) = &description.console.focus else {
        let with_kernel = partitions().position(|p| p.console && p.kernel.is_some());
        return Ok(with_kernel.or_else(|| partitions().position(|p| p.console)));
    };
    let index = check_exists(description, stated)?;
    match partitions().nth(index) {
        Some(partition) if !partition.console => {
            let problem = Problem::new(format!(
                "`{}` gets the console's focus, but has no console",
                stated.get_ref()
            ));
            Err(problem
                .at(stated.span(), "gets the focus")
                .at(partition.name.span(), "has `console = false`"))
        }
        _ => Ok(Some(index)),
    }
}

/// Builds one partition.
struct Builder<'a> {
    board: &'a Board,
    partition: &'a PartitionText,
    index: usize,
    cores: &'a CorePlan,
    memory: &'a MemoryPlan,
    devices: &'a [Owned<'a>],
}

impl Builder<'_> {
    fn build(&self, loaded: &Loaded, files: &mut Files) -> Result<PartitionSpec, Problem> {
        let partition = self.partition;
        let mut spec = PartitionSpec::new(partition.name.get_ref(), self.board.gic);
        spec.start_order = partition.start_order;
        spec.autostart = partition.autostart;
        spec.restart = restart(partition)?;
        spec.has_console = partition.console;
        spec.vcpus = self.cores.vcpus(self.index).to_vec();
        spec.memory = self.memory.regions(self.index).iter().map(|region| region.memory).collect();
        spec.memory.sort_by_key(|region| region.ipa);
        spec.platform.spis = self.spis();
        self.add_devices(&mut spec);
        devices::check_dma(partition, self.devices, self.memory, self.index)?;
        self.check_guest_addresses(&spec)?;
        spec.limits = self.limits(&spec)?;
        self.add_images(&mut spec, loaded, files)?;
        Ok(spec)
    }

    /// Enough SPIs for every device.
    fn spis(&self) -> u16 {
        let highest = self.devices.iter().flat_map(Owned::lines).map(|(_, spi)| spi + 1).max();
        let wanted = highest.unwrap_or(0).max(SPIS).next_multiple_of(32);
        wanted.min(IntId::END_SPI.0 - IntId::FIRST_SPI.0)
    }

    fn add_devices(&self, spec: &mut PartitionSpec) {
        for device in self.devices {
            let (regions, interrupts) = device.specs();
            spec.devices.extend(regions);
            for interrupt in interrupts {
                // Two devices of one partition may share a line; the hypervisor routes it once.
                if !spec.interrupts.iter().any(|known| known.physical == interrupt.physical) {
                    spec.interrupts.push(interrupt);
                }
            }
        }
    }

    /// Nothing overlaps in the guest's address space.
    fn check_guest_addresses(&self, spec: &PartitionSpec) -> Result<(), Problem> {
        let name = &*spec.name;
        let mut all = platform_claims(
            name,
            self.board.gic,
            &spec.platform,
            spec.vcpus.len(),
            spec.has_console,
        );
        let regions = self.memory.regions(self.index);
        all.extend(
            regions.iter().map(|region| memory::claim(self.partition, region, region.memory.ipa.0)),
        );
        all.extend(self.devices.iter().flat_map(|device| device.claims(name, |ipa, _| ipa)));
        if let Some(claim) = all.iter().find(|claim| claim.range.end() > 1 << IPA_BITS) {
            let problem = Problem::new(format!("{} passes the guest's address space", claim.who));
            let what = memory::span_text(claim.range);
            return Err(problem
                .at(&claim.place, what)
                .help(format!("guest addresses have {IPA_BITS} bits")));
        }
        check_disjoint(&all, "guest address")
    }

    /// Places program, RAM disk and device tree.
    fn add_images(
        &self,
        spec: &mut PartitionSpec,
        loaded: &Loaded,
        files: &mut Files,
    ) -> Result<(), Problem> {
        let Some(region) = self.memory.regions(self.index).iter().min_by_key(|r| r.memory.ipa)
        else {
            return Ok(());
        };
        let size = |index: usize| files.get(index).len() as u64;
        let mut sizes = Sizes {
            program: size(loaded.program),
            initrd: loaded.initrd.map_or(0, size),
            tree: PAGE_BYTES,
        };
        // All addresses in the tree have a fixed width, so its size does not depend on where it goes.
        let draft = self.tree(spec, &Layout { load: 0, entry: 0, initrd: 0, tree: 0 }, sizes)?;
        sizes.tree = draft.len() as u64;
        let layout = images::place(self.partition, loaded, region, sizes)?;
        let tree = files.add(self.tree(spec, &layout, sizes)?);
        let image = |blob, load, kind| Image { blob, load: Ipa(load), kind };
        spec.images.push(image(loaded.program, layout.load, ImageKind::Program));
        if let Some(initrd) = loaded.initrd {
            spec.images.push(image(initrd, layout.initrd, ImageKind::Initrd));
        }
        spec.images.push(image(tree, layout.tree, ImageKind::DeviceTree));
        spec.entry = Ipa(layout.entry);
        spec.x0 = layout.tree;
        Ok(())
    }

    fn tree(
        &self,
        spec: &PartitionSpec,
        layout: &Layout,
        sizes: Sizes,
    ) -> Result<Vec<u8>, Problem> {
        let memory: Vec<_> =
            spec.memory.iter().map(|region| (region.ipa.0, region.bytes)).collect();
        let input = guest_tree::Input {
            name: &spec.name,
            gic: self.board.gic,
            vcpus: spec.vcpus.len(),
            memory: &memory,
            platform: spec.platform,
            has_console: spec.has_console,
            cmdline: self.partition.cmdline.as_ref().map(|cmdline| cmdline.get_ref().as_str()),
            initrd: (sizes.initrd != 0).then_some((layout.initrd, sizes.initrd)),
            devices: self.devices,
        };
        guest_tree::make(&input, self.board)
    }

    /// The account's limits; none is below what the description itself gives.
    fn limits(&self, spec: &PartitionSpec) -> Result<[Option<u64>; RESOURCE_COUNT], Problem> {
        let Some(text) = &self.partition.limits else { return Ok([None; RESOURCE_COUNT]) };
        let limits = limit_values(text.get_ref());
        let memory: u64 = spec.memory.iter().map(|region| region.bytes / PAGE_BYTES).sum();
        let time: u64 = spec.vcpus.iter().map(|vcpu| vcpu.time.ppm()).sum();
        let given = [
            (Resource::CoreTime, time),
            (Resource::IpaSpace, memory),
            (Resource::Memory, memory),
            (Resource::Devices, self.devices.len() as u64),
        ];
        for (resource, given) in given {
            let limit = limits[usize::from(resource.number())];
            if let Some(limit) = limit.filter(|limit| *limit < given) {
                let name = &spec.name;
                let problem = Problem::new(format!(
                    "the limit of {resource} of `{name}` is below what it is given"
                ));
                return Err(problem
                    .at(text.span(), format!("limit {limit}, given {given} {}", unit(resource))));
            }
        }
        Ok(limits)
    }
}

/// What a resource is counted in.
fn unit(resource: Resource) -> &'static str {
    match resource {
        Resource::CoreTime | Resource::BusShare => "ppm",
        Resource::IpaSpace | Resource::Memory | Resource::ManagementMemory => "pages",
        Resource::EventPorts => "ports",
        Resource::Devices => "devices",
        Resource::CacheShare => "colours",
    }
}

fn limit_values(text: &LimitsText) -> [Option<u64>; RESOURCE_COUNT] {
    let pages = |size: Option<crate::units::Size>| size.map(|size| size.0 / PAGE_BYTES);
    let mut limits = [None; RESOURCE_COUNT];
    for (resource, limit) in [
        (Resource::CoreTime, text.core_time.map(|share| share.0)),
        (Resource::IpaSpace, pages(text.ipa_space)),
        (Resource::Memory, pages(text.memory)),
        (Resource::ManagementMemory, pages(text.management_memory)),
        (Resource::EventPorts, text.event_ports),
        (Resource::Devices, text.devices),
        (Resource::CacheShare, text.cache_colors),
        (Resource::BusShare, text.bus_share.map(|share| share.0)),
    ] {
        limits[usize::from(resource.number())] = limit;
    }
    limits
}

/// The windows of a partition's virtual devices.
fn platform_claims(
    name: &str,
    gic: GicVersion,
    platform: &Platform,
    vcpus: usize,
    has_console: bool,
) -> Vec<Claim> {
    let (interface, bytes) = match gic {
        GicVersion::V2 => ("virtual CPU interface", GIC_FRAME_BYTES),
        GicVersion::V3 => ("virtual redistributors", REDISTRIBUTOR_BYTES * vcpus as u64),
    };
    let claim = |what: &str, start: u64, bytes: u64| Claim {
        range: Range { start, bytes },
        moderated: false,
        who: format!("the {what} of `{name}`"),
        place: Place::default(),
    };
    let mut claims = vec![
        claim("virtual distributor", platform.distributor.0, GIC_FRAME_BYTES),
        claim(interface, platform.cpu_interface.0, bytes),
    ];
    if has_console {
        claims.push(claim("virtual UART", platform.uart.0, PAGE_BYTES));
    }
    claims
}

fn restart(partition: &PartitionText) -> Result<Restart, Problem> {
    let policy = |policy: Policy| match policy {
        Policy::Never => RestartPolicy::Never,
        Policy::OnFault => RestartPolicy::OnFault,
        Policy::Always => RestartPolicy::Always,
    };
    let plain = |p: Policy| Restart { policy: policy(p), max: 0, window_ms: 60_000, delay_ms: 0 };
    let Some(text) = &partition.restart else { return Ok(plain(Policy::Never)) };
    match text.get_ref() {
        RestartText::Policy(policy) => Ok(plain(*policy)),
        RestartText::Table(table) => {
            let milliseconds =
                |time: &Option<Spanned<crate::units::Micros>>, default: u32| match time {
                    None => Ok(default),
                    Some(time) => u32::try_from(time.get_ref().0.div_ceil(1000)).map_err(|_| {
                        Problem::new("a time of `restart` is too long")
                            .at(time.span(), "more than 49 days")
                    }),
                };
            let window_ms = milliseconds(&table.window, 60_000)?;
            if table.max != 0 && window_ms == 0 {
                let problem = Problem::new("restarts are bounded within no time");
                return Err(problem.at(text.span(), "`window` is 0, `max` is not"));
            }
            let delay_ms = milliseconds(&table.delay, 0)?;
            Ok(Restart { policy: policy(table.policy), max: table.max, window_ms, delay_ms })
        }
    }
}
