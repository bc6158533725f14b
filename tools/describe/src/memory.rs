//! Memory: regions by size or by address, and the rest.

use serde_spanned::Spanned;
use shikiri_abi::{Ipa, PAGE_BYTES, Pa};
use shikiri_config::{IPA_BITS, MAX_PLACED, Memory, Place as Where};

use crate::board::{Board, Range};
use crate::claims::Claim;
use crate::problem::{Place, Problem};
use crate::text::{Description, MemoryText, PartitionText, RegionText};
use crate::units::Size;

/// Where a partition's memory starts unless it says otherwise: as on QEMU's `virt`.
pub(crate) const RAM_BASE: u64 = 0x4000_0000;
/// The rest is given out in pieces of this size, so that it can be mapped in blocks.
const REST_ALIGN: u64 = 2 << 20;
/// Set aside for the hypervisor: its image, its tables, and the bundle's own pages come on top.
const HYPERVISOR_BYTES: u64 = 16 << 20;

/// A region and where it stands in the file.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// The region.
    pub(crate) memory: Memory,
    /// Where it stands.
    pub(crate) place: Place,
}

/// All partitions' memory.
#[derive(Debug)]
pub(crate) struct MemoryPlan {
    regions: Vec<Vec<Region>>,
    /// What nobody has: machine − partitions − hypervisor − firmware.
    pub(crate) left: u64,
    /// What is set aside for the hypervisor, and what the firmware keeps.
    pub(crate) reserved: u64,
}

impl MemoryPlan {
    /// Plans all partitions. `bundle_bytes` is what the images take, which stay for restarts.
    pub(crate) fn make(
        description: &Description,
        board: &Board,
        bundle_bytes: u64,
    ) -> Result<Self, Problem> {
        let mut regions = Vec::new();
        for spanned in &description.partitions {
            regions.push(stated(description, spanned.get_ref())?);
        }
        let total = board.memory_bytes();
        let own = HYPERVISOR_BYTES + total / 256 + bundle_bytes.next_multiple_of(REST_ALIGN);
        let reserved = own + board.kept_bytes();
        let mut plan = Self { regions, left: total.saturating_sub(reserved), reserved };
        plan.subtract(description, board)?;
        plan.give_rest(description)?;
        plan.check_places(description, board)?;
        Ok(plan)
    }

    /// A partition's regions.
    pub(crate) fn regions(&self, partition: usize) -> &[Region] {
        self.regions.get(partition).map_or(&[], Vec::as_slice)
    }

    /// The physical claims of the regions with a fixed place.
    pub(crate) fn physical_claims(&self, description: &Description) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (spanned, regions) in description.partitions.iter().zip(&self.regions) {
            for region in regions {
                if let Where::At(pa) = region.memory.place {
                    claims.push(claim(spanned.get_ref(), region, pa.0));
                }
            }
        }
        claims
    }

    /// Takes what is stated from what there is.
    fn subtract(&mut self, description: &Description, board: &Board) -> Result<(), Problem> {
        for (index, spanned) in description.partitions.iter().enumerate() {
            let wanted: u64 = self.regions(index).iter().map(|region| region.memory.bytes).sum();
            let Some(left) = self.left.checked_sub(wanted) else {
                return Err(self.too_much(description, board, index, spanned.get_ref(), wanted));
            };
            self.left = left;
        }
        Ok(())
    }

    fn too_much(
        &self,
        description: &Description,
        board: &Board,
        index: usize,
        partition: &PartitionText,
        wanted: u64,
    ) -> Problem {
        let name = partition.name.get_ref();
        let problem = Problem::new(format!(
            "`{name}` wants {} of memory, but only {} are left",
            Size(wanted),
            Size(self.left)
        ));
        let mut problem =
            problem.at(memory_place(partition), format!("`{name}` wants {}", Size(wanted)));
        for (spanned, regions) in description.partitions.iter().zip(&self.regions).take(index) {
            let bytes = regions.iter().map(|region| region.memory.bytes).sum();
            let other = spanned.get_ref();
            if bytes > 0 {
                let has = format!("`{}` has {}", other.name.get_ref(), Size(bytes));
                problem = problem.at(memory_place(other), has);
            }
        }
        let (total, reserved) = (Size(board.memory_bytes()), Size(self.reserved));
        problem.help(format!(
            "the machine has {total}; {reserved} are set aside for firmware, hypervisor and images"
        ))
    }

    /// `[rest] memory`.
    fn give_rest(&mut self, description: &Description) -> Result<(), Problem> {
        let Some(heir) = &description.rest.memory else { return Ok(()) };
        let Some(index) = crate::cores::find(description, heir.get_ref()) else { return Ok(()) };
        let bytes = self.left / REST_ALIGN * REST_ALIGN;
        if bytes == 0 {
            let problem = Problem::new(format!("no memory is left for `{}`", heir.get_ref()));
            return Err(problem.at(heir.span(), "gets the rest"));
        }
        self.left -= bytes;
        let memory = Memory { ipa: Ipa(RAM_BASE), bytes, place: Where::Any };
        if let Some(regions) = self.regions.get_mut(index) {
            regions.push(Region { memory, place: heir.span().into() });
        }
        Ok(())
    }

    /// Regions with a fixed place lie in the machine's RAM, and are not more than the hypervisor can keep aside.
    fn check_places(&self, description: &Description, board: &Board) -> Result<(), Problem> {
        let mut count = 0;
        for (spanned, regions) in description.partitions.iter().zip(&self.regions) {
            for region in regions {
                let Where::At(pa) = region.memory.place else { continue };
                count += 1;
                if count > MAX_PLACED {
                    let problem = Problem::new(format!(
                        "more than {MAX_PLACED} regions of memory have a physical address"
                    ));
                    return Err(problem
                        .at(&region.place, format!("number {count} of all partitions"))
                        .help("leave `at` out where it does not matter, or make one region of several"));
                }
                let wanted = Range { start: pa.0, bytes: region.memory.bytes };
                let is_in = |ram: &Range| ram.start <= wanted.start && wanted.end() <= ram.end();
                if !board.memory.iter().any(is_in) {
                    let name = spanned.get_ref().name.get_ref();
                    let problem =
                        Problem::new(format!("memory of `{name}` is not in the machine's RAM"));
                    let ram: Vec<_> = board.memory.iter().map(|ram| span_text(*ram)).collect();
                    return Err(problem
                        .at(&region.place, span_text(wanted))
                        .help(format!("the machine's RAM: {}", ram.join(", "))));
                }
            }
        }
        Ok(())
    }
}

/// A range for people.
pub(crate) fn span_text(range: Range) -> String {
    format!("{:#x} to {:#x}", range.start, range.end().saturating_sub(1))
}

/// The claim of a region, at its physical or guest address.
pub(crate) fn claim(partition: &PartitionText, region: &Region, start: u64) -> Claim {
    Claim {
        range: Range { start, bytes: region.memory.bytes },
        moderated: false,
        who: format!("memory of `{}`", partition.name.get_ref()),
        place: region.place.clone(),
    }
}

fn memory_place(partition: &PartitionText) -> Place {
    partition.memory.as_ref().map_or(partition.name.span(), Spanned::span).into()
}

/// The regions that a partition states.
fn stated(description: &Description, partition: &PartitionText) -> Result<Vec<Region>, Problem> {
    let name = partition.name.get_ref();
    let heir = description.rest.memory.as_ref().filter(|heir| heir.get_ref() == name);
    match (&partition.memory, heir) {
        (None, Some(_)) => Ok(Vec::new()),
        (None, None) => {
            let problem = Problem::new(format!("`{name}` has no memory"));
            Err(problem
                .at(partition.name.span(), "this partition")
                .help("write `memory = \"64MiB\"`, or give it the rest: `[rest] memory`"))
        }
        (Some(memory), Some(heir)) => {
            let problem =
                Problem::new(format!("`{name}` gets the rest of the memory and says how much"));
            Err(problem.at(memory.span(), "how much").at(heir.span(), "the rest"))
        }
        (Some(memory), None) => regions(partition, memory),
    }
}

fn regions(
    partition: &PartitionText,
    memory: &Spanned<MemoryText>,
) -> Result<Vec<Region>, Problem> {
    match memory.get_ref() {
        MemoryText::Size(size) => {
            let bytes = page_multiple(partition, size.0, memory.span().into())?;
            let memory_region = Memory { ipa: Ipa(RAM_BASE), bytes, place: Where::Any };
            Ok(vec![Region { memory: memory_region, place: memory.span().into() }])
        }
        MemoryText::Region(text) => {
            Ok(vec![region(partition, text, RAM_BASE, &memory.span().into())?])
        }
        MemoryText::List(list) => {
            let mut all: Vec<Region> = Vec::new();
            for text in list {
                let next =
                    all.last().map_or(RAM_BASE, |last| last.memory.ipa.0 + last.memory.bytes);
                all.push(region(partition, text.get_ref(), next, &text.span().into())?);
            }
            if all.is_empty() {
                let problem = Problem::new(format!("`{}` has no memory", partition.name.get_ref()));
                return Err(problem.at(memory.span(), "an empty list"));
            }
            Ok(all)
        }
    }
}

fn region(
    partition: &PartitionText,
    text: &RegionText,
    default_ipa: u64,
    place: &Place,
) -> Result<Region, Problem> {
    let bytes = page_multiple(partition, text.size.get_ref().0, text.size.span().into())?;
    let ipa = aligned(partition, text.ipa.as_ref())?.unwrap_or(default_ipa);
    let at = aligned(partition, text.at.as_ref())?;
    if ipa.checked_add(bytes).is_none_or(|end| end > 1 << IPA_BITS) {
        let problem = Problem::new(format!(
            "memory of `{}` passes the guest's address space",
            partition.name.get_ref()
        ));
        return Err(problem
            .at(place, format!("ends at {:#x}", ipa.saturating_add(bytes)))
            .help(format!("guest addresses have {IPA_BITS} bits")));
    }
    let place_in_ram = at.map_or(Where::Any, |pa| Where::At(Pa(pa)));
    let memory = Memory { ipa: Ipa(ipa), bytes, place: place_in_ram };
    Ok(Region { memory, place: place.clone() })
}

fn page_multiple(partition: &PartitionText, bytes: u64, place: Place) -> Result<u64, Problem> {
    let name = partition.name.get_ref();
    if bytes == 0 {
        return Err(Problem::new(format!("`{name}` has no memory")).at(place, "0 bytes"));
    }
    if !bytes.is_multiple_of(PAGE_BYTES) {
        let problem = Problem::new(format!("memory of `{name}` is not a multiple of 4 KiB"));
        return Err(problem.at(place, format!("{bytes} bytes")));
    }
    if bytes > 1 << IPA_BITS {
        let problem = Problem::new(format!("memory of `{name}` passes the guest's address space"));
        return Err(problem.at(place, Size(bytes).to_string()));
    }
    Ok(bytes)
}

fn aligned(
    partition: &PartitionText,
    address: Option<&Spanned<u64>>,
) -> Result<Option<u64>, Problem> {
    let Some(address) = address else { return Ok(None) };
    if !address.get_ref().is_multiple_of(PAGE_BYTES) {
        let name = partition.name.get_ref();
        let problem = Problem::new(format!(
            "an address of the memory of `{name}` is not a multiple of 4 KiB"
        ));
        return Err(problem.at(address.span(), format!("{:#x}", address.get_ref())));
    }
    Ok(Some(*address.get_ref()))
}
