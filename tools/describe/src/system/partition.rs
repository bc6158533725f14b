//! One partition, as it goes into the bundle.

use serde_spanned::Spanned;
use shikiri_abi::{AreaClass, IntId, Ipa, PAGE_BYTES, PageCount, RESOURCE_COUNT, Resource};
use shikiri_config::{
    ChannelSpec, CoreTime, EventSpec, GIC_FRAME_BYTES, GicVersion, IPA_BITS, Image, ImageKind,
    MAX_SHARES, PartitionSpec, Platform, REDISTRIBUTOR_BYTES, RecordBytes, Restart, RestartPolicy,
    ServiceSpec, SharedSpec, Talk, Windows,
};

use crate::Seed;
use crate::board::{Board, Range};
use crate::channels;
use crate::claims::{Claim, check_disjoint};
use crate::cores::CorePlan;
use crate::devices::{self, Owned, SPIS};
use crate::guest_tree;
use crate::images::{self, Files, Layout, Loaded, Sizes};
use crate::memory::{self, MemoryPlan};
use crate::problem::{Place, Problem};
use crate::shared;
use crate::talk;
use crate::text::{Description, LimitsText, PartitionText, Policy, RestartText, WindowsText};
use crate::units::{Size, stated};

/// Performance monitors count what runs on a core: all of it has to be the partition's.
fn check_pmu(partition: &PartitionText, spec: &PartitionSpec) -> Result<(), Problem> {
    let Some(pmu) = partition.pmu.as_ref().filter(|_| spec.has_pmu) else { return Ok(()) };
    let Some(number) = spec.vcpus.iter().position(|vcpu| vcpu.time != CoreTime::Owned) else {
        return Ok(());
    };
    let problem =
        Problem::new(format!("`{}` has performance monitors of cores that it shares", spec.name));
    Err(problem
        .at(pmu.span(), format!("vCPU {number} owns no core"))
        .help("they count what others do there, too; give it cores of its own: `cores = 1`"))
}

/// vCPU 0 is nobody's to keep back.
fn kept_vcpus(partition: &PartitionText, spec: &PartitionSpec) -> Result<u16, Problem> {
    let Some(kept) = &partition.kept_vcpus else { return Ok(0) };
    if usize::from(*kept.get_ref()) < spec.vcpus.len() {
        return Ok(*kept.get_ref());
    }
    let problem = Problem::new(format!("no vCPU of `{}` can be turned on", spec.name));
    Err(problem.at(kept.span(), format!("of {} vCPUs", spec.vcpus.len())))
}

/// Builds one partition.
pub(super) struct Builder<'a> {
    pub(super) board: &'a Board,
    pub(super) partition: &'a PartitionText,
    pub(super) index: usize,
    pub(super) cores: &'a CorePlan,
    pub(super) memory: &'a MemoryPlan,
    pub(super) devices: &'a [Owned<'a>],
    pub(super) talk: Talk,
    pub(super) events: &'a [EventSpec],
    pub(super) shared: &'a [SharedSpec],
    pub(super) channels: &'a [ChannelSpec],
    pub(super) services: &'a [ServiceSpec],
    pub(super) description: &'a Description,
    pub(super) seed: Option<Seed>,
}

impl Builder<'_> {
    pub(super) fn build(
        &self,
        loaded: &Loaded,
        files: &mut Files,
    ) -> Result<PartitionSpec, Problem> {
        let partition = self.partition;
        let mut spec = PartitionSpec::new(partition.name.get_ref(), self.board.gic);
        spec.start_order = partition.start_order;
        spec.autostart = partition.autostart;
        spec.restart = restart(partition)?;
        spec.has_console = partition.console;
        spec.has_pmu = partition.pmu.as_ref().is_some_and(|pmu| *pmu.get_ref());
        spec.vcpus = self.cores.vcpus(self.index).to_vec();
        check_pmu(partition, &spec)?;
        spec.kept_vcpus = kept_vcpus(partition, &spec)?;
        spec.memory = self.memory.regions(self.index).iter().map(|region| region.memory).collect();
        spec.memory.sort_by_key(|region| region.ipa);
        spec.platform.spis = self.spis();
        spec.talk = self.talk;
        spec.windows = windows(partition)?;
        self.add_devices(&mut spec);
        devices::check_dma(partition, self.devices, self.memory, self.index)?;
        self.check_guest_addresses(&spec)?;
        spec.limits = self.limits(&spec)?;
        self.add_images(&mut spec, loaded, files)?;
        Ok(spec)
    }

    /// Enough SPIs for every device and every event.
    fn spis(&self) -> u16 {
        let highest = self.devices.iter().flat_map(Owned::lines).map(|(_, spi)| spi + 1).max();
        let events = talk::highest_spi(self.events, self.index).map_or(0, |spi| spi + 1);
        let channels = channels::highest_spi(self.channels, self.index).map_or(0, |spi| spi + 1);
        let wanted = highest.unwrap_or(0).max(events).max(channels).max(SPIS).next_multiple_of(32);
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
        let partitions = self.description.partitions.iter();
        let names: Vec<_> =
            partitions.map(|partition| partition.get_ref().name.get_ref().as_str()).collect();
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
            talk: self.talk,
            own: self.index,
            names: &names,
            services: self.services,
            ports: &talk::ports(self.events, self.index),
            shared: &shared::views(self.shared, self.events, self.index),
            channels: &channels::ends(self.events, self.shared, self.channels, self.index),
            seed: self.seed,
        };
        guest_tree::make(&input, self.board)
    }

    /// The account's limits; none is below what the description itself gives.
    fn limits(&self, spec: &PartitionSpec) -> Result<[Option<u64>; RESOURCE_COUNT], Problem> {
        let Some(text) = &self.partition.limits else { return Ok([None; RESOURCE_COUNT]) };
        let limits = limit_values(text.get_ref())?;
        let memory: u64 = spec.memory.iter().map(|region| region.bytes / PAGE_BYTES).sum();
        let time: u64 = spec.vcpus.iter().map(|vcpu| vcpu.time.ppm()).sum();
        let mapped = spec.devices.iter().filter(|device| !device.moderated);
        let devices: u64 = mapped.map(|device| device.bytes / PAGE_BYTES).sum();
        let [window, window_ipa, window_tables, ports] =
            channels::charges(self.channels, self.index);
        let records = RecordBytes::LEAST.pages(spec.vcpus.len())
            + spec.talk.pages()
            + spec.windows.tables_pages();
        let least = super::tables::least(spec, self.board.gic);
        let (mut shared, mut tables) = (0, records + window_tables + least);
        for area in self.shared.iter().filter(|area| area.partitions.contains(self.index)) {
            let pages = PageCount(u64::from(area.pages));
            shared += pages.0;
            tables += 2 * area.class.tables_of(pages);
        }
        let events = talk::ports(self.events, self.index).len() as u64;
        let given = [
            (Resource::CoreTime, time),
            (Resource::IpaSpace, memory + devices + shared + window_ipa),
            (Resource::Memory, memory + shared + window),
            (Resource::ManagementMemory, tables),
            (Resource::EventPorts, events + ports),
            (Resource::Devices, self.devices.len() as u64),
        ];
        for (resource, given) in given {
            let limit = limits[usize::from(resource.number())];
            if let Some(limit) = limit.filter(|limit| *limit < given) {
                let name = &spec.name;
                let is_needed = resource == Resource::ManagementMemory;
                let (what, how) =
                    if is_needed { ("needs to start", "needed") } else { ("is given", "given") };
                let problem = Problem::new(format!(
                    "the limit of {resource} of `{name}` is below what it {what}"
                ));
                let [limit, given] = [limit, given].map(|value| stated(resource, value));
                let problem = problem.at(text.span(), format!("limit {limit}, {how} {given}"));
                return Err(if is_needed {
                    problem.help("the least that its records and tables take; more if its memory lies less well")
                } else {
                    problem
                });
            }
        }
        Ok(limits)
    }
}

/// The limits in the units of the account.
pub(crate) fn limit_values(text: &LimitsText) -> Result<[Option<u64>; RESOURCE_COUNT], Problem> {
    let pages = |resource: Resource, size: &Option<Spanned<Size>>| match size {
        Some(size) if !size.get_ref().0.is_multiple_of(PAGE_BYTES) => {
            let problem = Problem::new(format!("{resource} is not a multiple of 4 KiB"));
            Err(problem.at(size.span(), format!("{} bytes", size.get_ref().0)))
        }
        Some(size) => Ok(Some(size.get_ref().0 / PAGE_BYTES)),
        None => Ok(None),
    };
    let mut limits = [None; RESOURCE_COUNT];
    for (resource, size) in [
        (Resource::IpaSpace, &text.ipa_space),
        (Resource::Memory, &text.memory),
        (Resource::ManagementMemory, &text.management_memory),
    ] {
        limits[usize::from(resource.number())] = pages(resource, size)?;
    }
    for (resource, limit) in [
        (Resource::CoreTime, text.core_time.map(|share| share.0)),
        (Resource::EventPorts, text.event_ports),
        (Resource::Devices, text.devices),
        (Resource::CacheShare, text.cache_colors),
        (Resource::BusShare, text.bus_share.map(|share| share.0)),
    ] {
        limits[usize::from(resource.number())] = limit;
    }
    Ok(limits)
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

/// How many message areas and channels it may have. What stands against the rest of its description the hypervisor's own check
/// says, too.
fn windows(partition: &PartitionText) -> Result<Windows, Problem> {
    let Some(text) = &partition.areas else { return Ok(Windows::default()) };
    let WindowsText { pages, blocks, giants, channels, shared } = *text.get_ref();
    let windows = Windows { pages, blocks, giants, channels, shared };
    let name = partition.name.get_ref();
    if AreaClass::ALL.into_iter().any(|class| windows.of(class) > class.most_slots()) {
        let problem = Problem::new(format!("`{name}` has more slots than its address space"));
        return Err(problem.at(text.span(), "at most 4096 pages, 512 blocks, 510 giants"));
    }
    if shared > MAX_SHARES {
        let problem = Problem::new(format!("`{name}` has too many shared areas"));
        return Err(problem.at(text.span(), format!("{shared}, at most {MAX_SHARES}")));
    }
    if u32::from(pages) < 2 * u32::from(channels) {
        let problem = Problem::new(format!("`{name}` has too few slots of 4 KiB for its channels"));
        return Err(problem
            .at(text.span(), format!("{pages} pages, {channels} channels"))
            .help("each channel takes two of them for its own pages"));
    }
    if !windows.is_none() && partition.handles.is_none() {
        let problem = Problem::new(format!("`{name}` may have message areas, but has no handles"));
        return Err(problem.at(text.span(), "needs `handles`"));
    }
    Ok(windows)
}
