//! Putting a partition together, in bounded steps.
//!
//! Charge what is no memory → take the memory, and claim it → take the tables → clear the memory → map it → map the
//! devices, but for those that are kept back (`kept`) → load the images. Each [`Builder::step`] does at most [`STEP_BYTES`] of clearing or copying, so that
//! whoever shares the core waits no longer than that.

use shikiri_abi::{Ipa, PAGE_BYTES, PageCount, Resource, Vmid};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_config::{Bundle, Device, Memory, Partition, Place};
use shikiri_pages::{DirectMap, FrameRange, Frames};
use shikiri_stage2::{Attributes, Format, Level, Mapping, ROOT_ALIGN, ROOT_PAGES, Stage2};

use super::arena::{MAX_TABLES, RUN_PAGES};
use super::{BuildError, Extent, FrameStore, Holdings, Loader, TableArena, absorb, plan};

/// The most bytes that one step clears or copies.
pub const STEP_BYTES: u64 = 256 << 10;
/// Where the work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Charge,
    Take { region: usize, done: u64 },
    Claim { region: usize, done: u64 },
    Tables,
    Clear { extent: usize, done: u64 },
    MapMemory { extent: usize, done: u64 },
    MapDevice { device: usize, done: u64 },
    Load { image: usize, done: u64, crc: u32 },
    Done,
}

/// A mapping that the partition gets besides its memory and its own devices: the GICv2's virtual CPU
/// interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardwarePage {
    /// Where the guest sees it.
    pub ipa: Ipa,
    /// Where it is.
    pub pa: shikiri_abi::Pa,
    /// Its size.
    pub pages: PageCount,
}

impl HardwarePage {
    const fn mapping(self) -> Mapping {
        let Self { ipa, pa, pages } = self;
        Mapping { ipa, pa, pages, attributes: Attributes::DEVICE }
    }
}

/// The description that is being followed, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    stage: Stage,
    format: Format,
    vmid: Vmid,
    hardware: Option<HardwarePage>,
    /// Whether the account's limits are set already, and not the description's.
    has_limits: bool,
    /// Whether the images' checksums have been compared already.
    is_checked: bool,
}

impl Builder {
    /// Starts at the beginning. `vmid` has no entry left in any TLB.
    #[must_use]
    pub const fn new(format: Format, vmid: Vmid, hardware: Option<HardwarePage>) -> Self {
        Self { stage: Stage::Charge, format, vmid, hardware, has_limits: false, is_checked: false }
    }

    /// The same for an account whose limits are set: the description's do not matter.
    #[must_use]
    pub const fn with_limits(self) -> Self {
        Self { has_limits: true, ..self }
    }

    /// The same with images whose checksums were compared a moment ago, by [`Bundle::check_files`]: not once more.
    #[must_use]
    pub const fn with_checked_images(self) -> Self {
        Self { is_checked: true, ..self }
    }

    /// One bounded step; true when the partition is complete.
    ///
    /// # Errors
    /// [`BuildError`]: the partition cannot be built; tear its holdings down.
    pub fn step<M: DirectMap, L: Loader, T: Tlb>(
        &mut self,
        holdings: &mut Holdings,
        description: &Partition<'_>,
        bundle: &Bundle<'_>,
        (loader, tlb, store): (&L, &T, &FrameStore<'_, M>),
    ) -> Result<bool, BuildError> {
        self.stage = match self.stage {
            Stage::Charge => self.charge(holdings, description)?,
            Stage::Take { region, done } => take(holdings, description, store, region, done)?,
            Stage::Claim { region, done } => claim(holdings, description, store, region, done)?,
            Stage::Tables => self.make_tables(holdings, description, loader, store)?,
            Stage::Clear { extent, done } => clear(holdings, loader, extent, done),
            Stage::MapMemory { extent, done } => map_memory(holdings, (loader, tlb), extent, done)?,
            Stage::MapDevice { device, done } => match self.open_devices(description).nth(device) {
                Some(mapping) => match map_some(holdings, (loader, tlb), mapping, done)? {
                    Some(done) => Stage::MapDevice { device, done },
                    None => Stage::MapDevice { device: device.saturating_add(1), done: 0 },
                },
                None => Stage::Load { image: 0, done: 0, crc: 0 },
            },
            Stage::Load { image, done, crc } => {
                self.load(holdings, (description, bundle), loader, (image, done, crc))?
            }
            Stage::Done => return Ok(true),
        };
        holdings.is_complete = self.stage == Stage::Done;
        Ok(holdings.is_complete)
    }

    /// Charges what is no memory.
    fn charge(
        &self,
        holdings: &mut Holdings,
        description: &Partition<'_>,
    ) -> Result<Stage, BuildError> {
        if !self.has_limits {
            for resource in Resource::ALL {
                holdings.account.set_limit(resource, description.limit(resource));
            }
        }
        charge(holdings, description)
    }

    /// Takes the tables' frames, as many as the mappings need, and makes the empty address space.
    fn make_tables<M: DirectMap, L: Loader>(
        &self,
        holdings: &mut Holdings,
        description: &Partition<'_>,
        loader: &L,
        store: &FrameStore<'_, M>,
    ) -> Result<Stage, BuildError> {
        for device in self.devices(description) {
            if store.touches_ram(range_of(&device)) {
                return Err(BuildError::DeviceIsRam(device.pa));
            }
            // Of what is kept back nobody would ask before it is granted.
            device.fits(self.format).map_err(|error| BuildError::Map(device.ipa, error))?;
        }
        let memory = holdings.extents().map(Extent::mapping);
        let below = plan::tables(memory.chain(self.devices(description)));
        let tables = ROOT_PAGES.0.saturating_add(below);
        if tables > MAX_TABLES {
            return Err(BuildError::TooManyTables(tables));
        }
        holdings.arena = Some(TableArena::new());
        let mut taken = 0;
        while taken < tables {
            let run = take_tables(holdings, store, tables.saturating_sub(taken), taken == 0)?;
            taken = taken.saturating_add(run);
        }
        let Some((arena, root)) = holdings.arena.as_mut().and_then(|arena| {
            let root = arena.take_root()?;
            Some((arena, root))
        }) else {
            return Err(BuildError::NoMemory(ROOT_PAGES));
        };
        match Stage2::new(loader, root, self.format, self.vmid) {
            Ok(stage2) => holdings.stage2 = Some(stage2),
            Err(error) => {
                arena.give_root(root);
                return Err(BuildError::Map(Ipa(0), error));
            }
        }
        Ok(Stage::Clear { extent: 0, done: 0 })
    }

    /// Copies the next stretch of an image and adds it to its checksum, which is compared at its end.
    fn load<L: Loader>(
        &self,
        holdings: &Holdings,
        (description, bundle): (&Partition<'_>, &Bundle<'_>),
        loader: &L,
        (index, done, crc): (usize, u64, u32),
    ) -> Result<Stage, BuildError> {
        let Some(image) = description.images().nth(index) else {
            loader.sync_instructions();
            return Ok(Stage::Done);
        };
        let blob = bundle.blob(image.blob).ok_or(BuildError::Outside(image.kind))?;
        let rest =
            usize::try_from(done).ok().and_then(|done| blob.bytes.get(done..)).unwrap_or(&[]);
        if rest.is_empty() {
            if !self.is_checked && crc != blob.crc32 {
                return Err(BuildError::Damaged(image.kind));
            }
            return Ok(Stage::Load { image: index.saturating_add(1), done: 0, crc: 0 });
        }
        let ipa = image.load.wrapping_add(done);
        let (pa, room) = holdings.translate(ipa).ok_or(BuildError::Outside(image.kind))?;
        let step = usize::try_from(room.min(STEP_BYTES)).unwrap_or(usize::MAX).min(rest.len());
        let part = rest.get(..step).unwrap_or(rest);
        loader.copy_in(pa, part);
        let crc = if self.is_checked { crc } else { loader.crc32(crc, part) };
        Ok(Stage::Load {
            image: index,
            done: done.saturating_add(u64::try_from(step).unwrap_or(u64::MAX)),
            crc,
        })
    }

    /// The register pages that the partition may come to have mapped, and has tables for: those of its own devices, and the interrupt
    /// controller's.
    fn devices<'a>(&self, description: &Partition<'a>) -> impl Iterator<Item = Mapping> + use<'a> {
        own_devices(description).chain(self.hardware.map(HardwarePage::mapping))
    }

    /// Those that it gets mapped now: what is kept back is not.
    fn open_devices<'a>(
        &self,
        description: &Partition<'a>,
    ) -> impl Iterator<Item = Mapping> + use<'a> {
        let open = mapped_devices(description).filter(|device| !device.is_kept);
        open.map(|device| registers(&device)).chain(self.hardware.map(HardwarePage::mapping))
    }
}

/// The register pages of its own devices.
fn own_devices<'a>(description: &Partition<'a>) -> impl Iterator<Item = Mapping> + use<'a> {
    mapped_devices(description).map(|device| registers(&device))
}

/// The regions of its own devices that are mapped: not those that are moderated.
pub(super) fn mapped_devices<'a>(
    description: &Partition<'a>,
) -> impl Iterator<Item = Device<'a>> + use<'a> {
    description.devices().filter(|device| !device.moderated)
}

/// Where a region of a device is mapped.
pub(super) const fn registers(device: &Device<'_>) -> Mapping {
    Mapping {
        ipa: device.ipa,
        pa: device.pa,
        pages: PageCount::for_bytes(device.bytes),
        attributes: Attributes::DEVICE,
    }
}

const fn range_of(mapping: &Mapping) -> FrameRange {
    FrameRange { base: mapping.pa, pages: mapping.pages }
}

/// Takes the next run for tables, up to 64 frames, in halves where memory is fragmented; answers its length. The
/// first one holds the root.
fn take_tables<M: DirectMap>(
    holdings: &mut Holdings,
    store: &FrameStore<'_, M>,
    wanted: u64,
    is_first: bool,
) -> Result<u64, BuildError> {
    let (least, align) = if is_first { (ROOT_PAGES.0, ROOT_ALIGN) } else { (1, PAGE_BYTES) };
    let mut pages = wanted.min(RUN_PAGES);
    let frames = loop {
        match holdings.take_management(store, PageCount(pages), align) {
            Err(BuildError::NoMemory(_)) if pages > least => pages = (pages / 2).max(least),
            other => break other?,
        }
    };
    let added = holdings.arena.as_mut().map_or(Ok(()), |arena| match arena.add(frames) {
        Ok(()) => Ok(()),
        Err(frames) => Err(frames),
    });
    if let Err(frames) = added {
        holdings.give_management(store, frames);
        return Err(BuildError::NoMemory(PageCount(wanted)));
    }
    Ok(pages)
}

/// Charges what is no memory.
fn charge(holdings: &mut Holdings, description: &Partition<'_>) -> Result<Stage, BuildError> {
    let core_time = description.vcpus().map(|vcpu| vcpu.time.ppm()).fold(0, u64::saturating_add);
    holdings.core_time = Some(holdings.account.charge(Resource::CoreTime, core_time)?);
    let devices = u64::try_from(description.device_paths().count()).unwrap_or(u64::MAX);
    holdings.devices = Some(holdings.account.charge(Resource::Devices, devices)?);
    // The interrupt controller's page is not charged: it comes with every partition, as the emulated ones do.
    let pages = own_devices(description).map(|device| device.pages.0).fold(0, u64::saturating_add);
    holdings.ipa_space = Some(holdings.account.charge(Resource::IpaSpace, pages)?);
    holdings.has_dma = description.devices().any(|device| device.dma_trusted);
    Ok(Stage::Take { region: 0, done: 0 })
}

/// Takes the next piece of a region's memory.
fn take<M: DirectMap>(
    holdings: &mut Holdings,
    description: &Partition<'_>,
    store: &FrameStore<'_, M>,
    region: usize,
    done: u64,
) -> Result<Stage, BuildError> {
    let Some(memory) = description.memory().nth(region) else { return Ok(Stage::Tables) };
    let left = memory.bytes.saturating_sub(done);
    if left == 0 {
        return Ok(Stage::Take { region: region.saturating_add(1), done: 0 });
    }
    let want = PageCount::for_bytes(left);
    let [pages, space] =
        holdings.account.charge_all([(Resource::Memory, want.0), (Resource::IpaSpace, want.0)])?;
    absorb(&mut holdings.memory, pages);
    absorb(&mut holdings.ipa_space, space);
    let frames = match find(&memory, store, want) {
        Ok(frames) => frames,
        Err(error) => {
            holdings.refund_memory(want.0);
            return Err(error);
        }
    };
    let got = frames.pages();
    // What did not come in one piece is charged again with the next one.
    holdings.refund_memory(want.0.saturating_sub(got.0));
    holdings.add_extent(store, memory.ipa.wrapping_add(done), frames)?;
    Ok(Stage::Claim { region, done: done.saturating_add(got.bytes().unwrap_or(left)) })
}

/// Takes frames for a region from the pool.
fn find<M: DirectMap>(
    memory: &Memory,
    store: &FrameStore<'_, M>,
    want: PageCount,
) -> Result<Frames, BuildError> {
    match memory.place {
        Place::Any => store.take_up_to(want).ok_or(BuildError::NoMemory(want)),
        Place::At(base) => {
            store.adopt(FrameRange { base, pages: want }).ok_or(BuildError::NotFree(base))
        }
    }
}

/// Claims the next frames of the piece that was taken last.
fn claim<M: DirectMap>(
    holdings: &mut Holdings,
    description: &Partition<'_>,
    store: &FrameStore<'_, M>,
    region: usize,
    done: u64,
) -> Result<Stage, BuildError> {
    let slot = holdings.slot;
    let extent = holdings.extents.last_mut();
    let Some((extent, left)) = extent
        .map(|extent| (extent.unclaimed(), extent))
        .filter(|(left, _)| left.pages.0 > 0)
        .map(|(left, extent)| (extent, left))
    else {
        return Ok(Stage::Take { region, done });
    };
    match store.claim(left, slot) {
        Ok(pages) => extent.claimed = PageCount(extent.claimed.0.saturating_add(pages.0)),
        Err(refusal) => {
            // What the pool itself gave out is free in the ledger, too.
            let is_fixed =
                description.memory().nth(region).is_some_and(|memory| memory.place != Place::Any);
            assert!(is_fixed, "the pool gave out what the ledger does not know as free: {refusal}");
            return Err(BuildError::NotItsOwn(refusal));
        }
    }
    Ok(Stage::Claim { region, done })
}

/// Clears the next stretch of memory: no partition ever sees what was there before.
fn clear<L: Loader>(holdings: &Holdings, loader: &L, extent: usize, done: u64) -> Stage {
    let run = holdings.extents.get(extent);
    let Some(run) = run else { return Stage::MapMemory { extent: 0, done: 0 } };
    let bytes = run.frames.pages().bytes().unwrap_or(0);
    let step = bytes.saturating_sub(done).min(STEP_BYTES);
    if step == 0 {
        return Stage::Clear { extent: extent.saturating_add(1), done: 0 };
    }
    loader.clear(run.frames.base().wrapping_add(done), PageCount::for_bytes(step));
    Stage::Clear { extent, done: done.saturating_add(step) }
}

/// Maps the next stretch of a run of memory.
fn map_memory<L: Loader, T: Tlb>(
    holdings: &mut Holdings,
    machine: (&L, &T),
    extent: usize,
    done: u64,
) -> Result<Stage, BuildError> {
    let Some(mapping) = holdings.extents.get(extent).map(Extent::mapping) else {
        return Ok(Stage::MapDevice { device: 0, done: 0 });
    };
    Ok(match map_some(holdings, machine, mapping, done)? {
        Some(done) => Stage::MapMemory { extent, done },
        None => Stage::MapMemory { extent: extent.saturating_add(1), done: 0 },
    })
}

/// Maps a mapping from byte `done` on, to where a bounded step ends; answers where that is, `None` for its end.
pub(super) fn map_some<P: PhysMem, T: Tlb>(
    holdings: &mut Holdings,
    (mem, tlb): (&P, &T),
    mapping: Mapping,
    done: u64,
) -> Result<Option<u64>, BuildError> {
    let is_alike = (mapping.ipa.0 ^ mapping.pa.0) & Level::Two.bytes().saturating_sub(1) == 0;
    // At most 512 leaves of 2 MiB and two partly filled tables, or 1,024 pages.
    let stretch = if is_alike { Level::One.bytes() } else { 4 << 20 };
    let (ipa, pa) = (mapping.ipa.wrapping_add(done), mapping.pa.wrapping_add(done));
    let next = (ipa.0 | stretch.saturating_sub(1)).saturating_add(1);
    let left = mapping.pages.bytes().unwrap_or(0).saturating_sub(done);
    let bytes = left.min(next.saturating_sub(ipa.0));
    let part = Mapping { ipa, pa, pages: PageCount::for_bytes(bytes), ..mapping };
    let (Some(stage2), Some(arena)) = (holdings.stage2.as_mut(), holdings.arena.as_mut()) else {
        unreachable!("the address space was made before");
    };
    stage2.map(mem, tlb, arena, part).map_err(|error| BuildError::Map(ipa, error))?;
    Ok((bytes < left).then(|| done.saturating_add(bytes)))
}
