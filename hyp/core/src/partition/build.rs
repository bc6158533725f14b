//! Putting a partition together, in bounded steps.
//!
//! Reserve the records → take the memory → clear it → map it → map the devices → load the images. Each
//! [`Builder::step`] does at most [`STEP_BYTES`] of clearing or copying, so that whoever shares the core waits no longer
//! than that.

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, Resource, Vmid};
use shikiri_arch::hw::Tlb;
use shikiri_config::{Bundle, Partition, Place};
use shikiri_pages::{DirectMap, FrameRange, PageSlice};
use shikiri_stage2::{Attributes, Format, Mapping, ROOT_ALIGN, ROOT_PAGES, Stage2, TablePages};

use super::arena::MAX_TABLES;
use super::{BuildError, Extent, Holdings, Loader, SharedPool, TableArena, absorb};

/// The most bytes that one step clears or copies.
pub const STEP_BYTES: u64 = 256 << 10;
/// Bytes that one level-3 table maps.
const L3_SPAN: u64 = 2 << 20;
/// Bytes that one level-2 table maps.
const L2_SPAN: u64 = 1 << 30;

/// Where the work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reserve,
    Take { region: usize, done: u64 },
    Clear { extent: usize, done: u64 },
    MapMemory { extent: usize },
    MapDevices,
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
    pub pa: Pa,
    /// Its size.
    pub pages: PageCount,
}

/// The description that is being followed, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    stage: Stage,
    format: Format,
    vmid: Vmid,
    hardware: Option<HardwarePage>,
}

impl Builder {
    /// Starts at the beginning. `vmid` has no entry left in any TLB.
    #[must_use]
    pub const fn new(format: Format, vmid: Vmid, hardware: Option<HardwarePage>) -> Self {
        Self { stage: Stage::Reserve, format, vmid, hardware }
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
        machine: (&L, &T, &SharedPool<M>),
    ) -> Result<bool, BuildError> {
        let (loader, tlb, pool) = machine;
        self.stage = match self.stage {
            Stage::Reserve => self.reserve(holdings, description, loader, pool)?,
            Stage::Take { region, done } => take(holdings, description, pool, region, done)?,
            Stage::Clear { extent, done } => clear(holdings, loader, extent, done),
            Stage::MapMemory { extent } => map_memory(holdings, loader, tlb, extent)?,
            Stage::MapDevices => self.map_devices(holdings, description, loader, tlb)?,
            Stage::Load { image, done, crc } => load(holdings, (description, bundle), loader, (image, done, crc))?,
            Stage::Done => return Ok(true),
        };
        Ok(self.stage == Stage::Done)
    }

    /// Charges what is no memory, and takes the records: the list of extents, the tables' frames, the root.
    fn reserve<M: DirectMap, L: Loader>(
        &self,
        holdings: &mut Holdings,
        description: &Partition<'_>,
        loader: &L,
        pool: &SharedPool<M>,
    ) -> Result<Stage, BuildError> {
        for resource in Resource::ALL {
            holdings.account.set_limit(resource, description.limit(resource));
        }
        let core_time = description.vcpus().map(|vcpu| vcpu.time.ppm()).fold(0, u64::saturating_add);
        holdings.core_time = Some(holdings.account.charge(Resource::CoreTime, core_time)?);
        let devices = u64::try_from(description.devices().len()).unwrap_or(u64::MAX);
        holdings.devices = Some(holdings.account.charge(Resource::Devices, devices)?);

        let length = extent_capacity(description);
        let list = holdings.take_management(pool, PageSlice::<Option<Extent>>::pages(length), PAGE_BYTES)?;
        holdings.extents = Some(PageSlice::from_fn(list, length, |_| None));
        let tables = ROOT_PAGES.0.saturating_add(table_capacity(description, self.hardware)).min(MAX_TABLES);
        let run = holdings.take_management(pool, PageCount(tables), ROOT_ALIGN)?;
        let mut arena = TableArena::new(run);
        let root = first_pages(&mut arena)?;
        holdings.arena = Some(arena);
        let stage2 = Stage2::new(loader, root, self.format, self.vmid);
        holdings.stage2 = Some(stage2.map_err(|error| BuildError::Map(Ipa(0), error))?);
        Ok(Stage::Take { region: 0, done: 0 })
    }

    fn map_devices<L: Loader, T: Tlb>(
        &self,
        holdings: &mut Holdings,
        description: &Partition<'_>,
        loader: &L,
        tlb: &T,
    ) -> Result<Stage, BuildError> {
        let attributes = Attributes::DEVICE;
        let owned = description.devices().filter(|device| !device.moderated).map(|device| HardwarePage {
            ipa: device.ipa,
            pa: device.pa,
            pages: PageCount::for_bytes(device.bytes),
        });
        for HardwarePage { ipa, pa, pages } in owned.chain(self.hardware) {
            map(holdings, loader, tlb, Mapping { ipa, pa, pages, attributes })?;
            let charge = holdings.account.charge(Resource::IpaSpace, pages.0)?;
            absorb(&mut holdings.ipa_space, charge);
        }
        Ok(Stage::Load { image: 0, done: 0, crc: 0 })
    }
}

/// Takes the next piece of a region's memory.
fn take<M: DirectMap>(
    holdings: &mut Holdings,
    description: &Partition<'_>,
    pool: &SharedPool<M>,
    region: usize,
    done: u64,
) -> Result<Stage, BuildError> {
    let Some(memory) = description.memory().nth(region) else {
        return Ok(Stage::Clear { extent: 0, done: 0 });
    };
    let left = memory.bytes.saturating_sub(done);
    if left == 0 {
        return Ok(Stage::Take { region: region.saturating_add(1), done: 0 });
    }
    let want = PageCount::for_bytes(left);
    let [pages, space] =
        holdings.account.charge_all([(Resource::Memory, want.0), (Resource::IpaSpace, want.0)])?;
    let frames = match memory.place {
        Place::Any => pool.lock().take_up_to(want).ok_or(BuildError::NoMemory(want)),
        Place::At(base) => pool.lock().adopt(FrameRange { base, pages: want }).ok_or(BuildError::NotFree(base)),
    };
    absorb(&mut holdings.memory, pages);
    absorb(&mut holdings.ipa_space, space);
    let frames = match frames {
        Ok(frames) => frames,
        Err(error) => {
            refund_surplus(holdings, want.0);
            return Err(error);
        }
    };
    let got = frames.pages();
    refund_surplus(holdings, want.0.saturating_sub(got.0));
    let extent = Extent { ipa: memory.ipa.wrapping_add(done), frames };
    let slot = holdings.extents.as_mut().and_then(|list| list.iter_mut().find(|slot| slot.is_none()));
    match slot {
        Some(slot) => *slot = Some(extent),
        None => {
            refund_surplus(holdings, got.0);
            pool.lock().give(extent.frames);
            return Err(BuildError::NoMemory(want));
        }
    }
    Ok(Stage::Take { region, done: done.saturating_add(got.bytes().unwrap_or(left)) })
}

/// Takes back what was charged for memory that did not come.
fn refund_surplus(holdings: &mut Holdings, pages: u64) {
    for charge in [holdings.memory.as_mut(), holdings.ipa_space.as_mut()].into_iter().flatten() {
        let part = charge.split(pages);
        holdings.account.refund(part);
    }
}

/// Clears the next stretch of memory: no partition ever sees what was there before.
fn clear<L: Loader>(holdings: &Holdings, loader: &L, extent: usize, done: u64) -> Stage {
    let Some(run) = holdings.extents().nth(extent) else { return Stage::MapMemory { extent: 0 } };
    let bytes = run.frames.pages().bytes().unwrap_or(0);
    let step = bytes.saturating_sub(done).min(STEP_BYTES);
    if step == 0 {
        return Stage::Clear { extent: extent.saturating_add(1), done: 0 };
    }
    loader.clear(run.frames.base().wrapping_add(done), PageCount::for_bytes(step));
    Stage::Clear { extent, done: done.saturating_add(step) }
}

/// Maps the next run of memory.
fn map_memory<L: Loader, T: Tlb>(
    holdings: &mut Holdings,
    loader: &L,
    tlb: &T,
    extent: usize,
) -> Result<Stage, BuildError> {
    let attributes = Attributes::RAM;
    let Some(run) = holdings.extents().nth(extent) else { return Ok(Stage::MapDevices) };
    let mapping = Mapping { ipa: run.ipa, pa: run.frames.base(), pages: run.frames.pages(), attributes };
    map(holdings, loader, tlb, mapping)?;
    Ok(Stage::MapMemory { extent: extent.saturating_add(1) })
}

fn map<L: Loader, T: Tlb>(
    holdings: &mut Holdings,
    loader: &L,
    tlb: &T,
    mapping: Mapping,
) -> Result<(), BuildError> {
    let (Some(stage2), Some(arena)) = (holdings.stage2.as_mut(), holdings.arena.as_mut()) else {
        return Err(BuildError::NoMemory(PageCount(1)));
    };
    stage2.map(loader, tlb, arena, mapping).map_err(|error| BuildError::Map(mapping.ipa, error))
}

/// Copies the next stretch of an image and adds it to its checksum.
fn load<L: Loader>(
    holdings: &Holdings,
    (description, bundle): (&Partition<'_>, &Bundle<'_>),
    loader: &L,
    (index, done, crc): (usize, u64, u32),
) -> Result<Stage, BuildError> {
    let Some(image) = description.images().nth(index) else {
        loader.sync_instructions();
        return Ok(Stage::Done);
    };
    let blob = bundle.blob(image.blob).ok_or(BuildError::Outside(index))?;
    let rest = usize::try_from(done).ok().and_then(|done| blob.bytes.get(done..)).unwrap_or(&[]);
    if rest.is_empty() {
        if crc != blob.crc32 {
            return Err(BuildError::Damaged(index));
        }
        return Ok(Stage::Load { image: index.saturating_add(1), done: 0, crc: 0 });
    }
    let ipa = image.load.wrapping_add(done);
    let (pa, room) = holdings.translate(ipa).ok_or(BuildError::Outside(index))?;
    let step = usize::try_from(room.min(STEP_BYTES)).unwrap_or(usize::MAX).min(rest.len());
    let part = rest.get(..step).unwrap_or(rest);
    loader.copy_in(pa, part);
    let crc = loader.crc32(crc, part);
    Ok(Stage::Load { image: index, done: done.saturating_add(u64::try_from(step).unwrap_or(u64::MAX)), crc })
}

/// The first two frames of the arena: the root.
fn first_pages(arena: &mut TableArena) -> Result<Pa, BuildError> {
    let root = arena.take().map_err(|_| BuildError::NoMemory(ROOT_PAGES))?;
    arena.take().map_err(|_| BuildError::NoMemory(ROOT_PAGES))?;
    Ok(root)
}

/// How many runs the partition's memory may consist of: pieces of 2 MiB and up, and the small ones that make
/// up each region's rest (at most 18 powers of two, when memory is badly fragmented).
fn extent_capacity(description: &Partition<'_>) -> usize {
    let pieces = description.memory().map(|memory| match memory.place {
        Place::Any => (memory.bytes / L3_SPAN).saturating_add(18),
        Place::At(_) => 1,
    });
    usize::try_from(pieces.fold(0, u64::saturating_add)).unwrap_or(usize::MAX)
}

/// How many tables stage 2 may need: a level-2 table per GiB touched, and level-3 tables at the ends of each
/// range and for pieces below 2 MiB.
fn table_capacity(description: &Partition<'_>, hardware: Option<HardwarePage>) -> u64 {
    let memory = description.memory().map(|memory| (memory.ipa.0, memory.bytes));
    let devices = description.devices().map(|device| (device.ipa.0, device.bytes));
    let hardware = hardware.map(|page| (page.ipa.0, page.pages.bytes().unwrap_or(0)));
    let tables = memory.chain(devices).chain(hardware).map(|(start, bytes)| {
        let end = start.saturating_add(bytes);
        let gigabytes = end.div_ceil(L2_SPAN).saturating_sub(start / L2_SPAN);
        let small = bytes.div_ceil(L3_SPAN).min(4);
        gigabytes.saturating_add(small)
    });
    tables.fold(0, u64::saturating_add)
}
