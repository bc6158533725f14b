//! Where things lie in the first region of memory of a partition that is made, and the device tree that tells it so.
//!
//! ```text
//! 0x4000_0000           device tree, if it has one: 64 KiB at most
//! +512 KiB, or +2 MiB   what it runs: a flat program, or Linux
//! …
//! end of the region     RAM disk, if it has one
//! ```

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};
use shikiri_abi::{PAGE_BYTES, Status};
use shikiri_tree::{Gic, Machine, Platform};

use crate::memory::MEMORY_AT;
use crate::refusal::{Refusal, Rule};
use crate::view::{Boot, NewPartition};

/// Where a flat program goes, and starts.
pub const FLAT_AT: u64 = MEMORY_AT + (512 << 10);
/// Where Linux goes: a multiple of 2 MiB (Documentation/arch/arm64/booting.rst).
const LINUX_AT: u64 = MEMORY_AT + (2 << 20);
/// What Linux needs at least beside its files: it says how large it is behind its file only in that file.
const LINUX_WORKS_IN: u64 = 16 << 20;
/// The largest device tree.
const MOST_TREE: u64 = 64 << 10;

/// Where things lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The image, whose first byte is where it starts.
    pub(crate) image: u64,
    /// The RAM disk, and its bytes.
    pub(crate) initrd: Option<(u64, u64)>,
}

impl Layout {
    /// Lays out a partition whose image and RAM disk have so many bytes.
    ///
    /// # Errors
    /// Its memory is too small.
    pub(crate) fn new(
        new: &NewPartition,
        image_bytes: u64,
        initrd_bytes: Option<u64>,
    ) -> Result<Self, Refusal> {
        let (image, works_in) = match new.boot {
            Boot::Flat => (FLAT_AT, 0),
            Boot::Linux => (LINUX_AT, LINUX_WORKS_IN),
        };
        let has = new.memory.first().map_or(0, |region| region.bytes);
        // No sum overflows: files are smaller than memories, which have at most 48 bits; what says otherwise needs too much.
        let disk =
            initrd_bytes.unwrap_or(0).saturating_add(PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        let needs = [image - MEMORY_AT, image_bytes, works_in, disk];
        let needs = needs.into_iter().fold(0, u64::saturating_add);
        if needs > has {
            return Err(Refusal::by(Rule::Memory { needs, has }));
        }
        let end = MEMORY_AT.saturating_add(has);
        Ok(Self { image, initrd: initrd_bytes.map(|bytes| (end.saturating_sub(disk), bytes)) })
    }

    /// The device tree of what the partition gets.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn tree(self, new: &NewPartition, gic: Gic) -> Result<Vec<u8>, Refusal> {
        let vcpus = u8::try_from(new.vcpus.len());
        let memory: Vec<_> = new.memory.iter().map(|region| (region.at, region.bytes)).collect();
        let invalid = Refusal::new("vCPU", None, Status::InvalidParameter);
        let blob = Machine {
            name: &new.name,
            gic,
            vcpus: vcpus.map_err(|_| invalid)?,
            memory: &memory,
            platform: Platform::usual(gic),
            has_console: new.console,
            cmdline: new.cmdline.as_deref(),
            initrd: self.initrd,
        }
        .to_dtb();
        let bytes = u64::try_from(blob.len()).unwrap_or(u64::MAX);
        if bytes > MOST_TREE {
            return Err(Refusal::by(Rule::Tree { bytes, most: MOST_TREE }));
        }
        Ok(blob)
    }
}

/// The number of an image: its place among the names.
///
/// # Errors
/// There is none.
pub fn image_number(images: &[String], name: &str) -> Result<u64, Refusal> {
    let number = (0..).zip(images).find(|(_, known)| *known == name).map(|(number, _)| number);
    let there = || Rule::Image { wanted: name.to_owned(), there: images.to_vec() };
    number.ok_or_else(|| Refusal::by(there()))
}

/// The interrupt controller that a device tree tells of: that of the board, which all its partitions see.
pub(crate) fn gic_in(tree: &[u8]) -> Option<Gic> {
    let tree = Fdt::new(tree).ok()?;
    let compatible = |words: &[u8]| {
        let mut words = words.split(|byte| *byte == 0);
        words.find_map(|word| match word {
            b"arm,gic-v3" => Some(Gic::V3),
            b"arm,cortex-a15-gic" | b"arm,gic-400" => Some(Gic::V2),
            _ => None,
        })
    };
    tree.root().children().find_map(|node| compatible(node.property("compatible")?.value()))
}

#[cfg(test)]
mod tests {
    use super::{Layout, gic_in, image_number};
    use crate::memory::Region;
    use crate::view::{Boot, Cores, NewPartition, NewVcpu, Time};
    use dtoolkit::fdt::Fdt;
    use dtoolkit::{Node as _, Property as _};
    use shikiri_tree::Gic;

    const MIB: u64 = 1 << 20;

    fn linux(memory_bytes: u64) -> NewPartition {
        let vcpu = NewVcpu { cores: Cores(1), time: Time::Owned, priority: 0 };
        NewPartition {
            name: "debian".to_owned(),
            vcpus: vec![vcpu; 2],
            memory: vec![Region::first(memory_bytes)],
            image: "linux/Image".to_owned(),
            boot: Boot::Linux,
            initrd: Some("linux/initrd.cpio".to_owned()),
            cmdline: Some("quiet".to_owned()),
            console: true,
            ..NewPartition::default()
        }
    }

    #[test]
    fn linux_and_its_ram_disk_are_told_of_where_they_lie() {
        let new = linux(128 * MIB);
        let layout = Layout::new(&new, 30 * MIB, Some(5 * MIB + 1)).unwrap();
        assert_eq!(layout.image, 0x4020_0000);
        assert_eq!(layout.initrd, Some((0x4800_0000 - 5 * MIB - 4096, 5 * MIB + 1)));
        let blob = layout.tree(&new, Gic::V3).unwrap();
        let tree = Fdt::new(&blob).unwrap();
        let chosen = tree.find_node("/chosen").unwrap();
        assert_eq!(chosen.property("bootargs").unwrap().value(), b"quiet\0");
        let start = chosen.property("linux,initrd-start").unwrap().value().to_vec();
        assert_eq!(start, (0x4800_0000 - 5 * MIB - 4096).to_be_bytes());
        assert_eq!(tree.find_node("/cpus").unwrap().children().count(), 2);
        assert!(tree.find_node("/pl011@9000000").is_some());
        let memory = vec![Region::first(128 * MIB), Region { at: 1 << 32, bytes: 64 * MIB }];
        let blob = layout.tree(&NewPartition { memory, ..new }, Gic::V3).unwrap();
        let second = Fdt::new(&blob).unwrap().find_node("/memory@100000000").unwrap();
        let reg = [1_u64 << 32, 64 * MIB].map(u64::to_be_bytes).concat();
        assert_eq!(second.property("reg").unwrap().value(), reg);
    }

    #[test]
    fn a_memory_that_is_too_small_is_refused_with_what_is_needed() {
        // 2 MiB below it, the kernel, room to work, the RAM disk by pages.
        let needs = (2 + 30 + 16) * MIB + 8192;
        let layout = |memory| Layout::new(&linux(memory), 30 * MIB, Some(4097));
        assert!(layout(needs).is_ok());
        let refusal = layout(needs - 4096).unwrap_err();
        assert_eq!(refusal.to_string(), "not enough memory: 49156K, and what it runs needs 49160K");
        assert!(Layout::new(&linux(64 * MIB), u64::MAX, Some(u64::MAX)).is_err());
        // All of it lies in the first region.
        let memory = vec![Region::first(needs - 4096), Region { at: 1 << 32, bytes: 64 * MIB }];
        assert!(Layout::new(&NewPartition { memory, ..linux(0) }, 30 * MIB, Some(4097)).is_err());
        let flat = NewPartition { boot: Boot::Flat, ..linux(MIB) };
        assert_eq!(Layout::new(&flat, MIB / 2, None).unwrap().image, 0x4008_0000);
        assert!(Layout::new(&flat, MIB / 2 + 1, None).is_err());
    }

    #[test]
    fn a_tree_that_is_too_large_is_refused_with_its_size() {
        let with = |bytes| NewPartition { cmdline: Some("x".repeat(bytes)), ..linux(128 * MIB) };
        let layout = Layout::new(&linux(128 * MIB), MIB, None).unwrap();
        assert!(layout.tree(&with(60_000), Gic::V3).is_ok());
        let refusal = layout.tree(&with(65_536), Gic::V3).unwrap_err().to_string();
        assert!(refusal.starts_with("the device tree is too large: "), "{refusal}");
        assert!(refusal.ends_with(", and at most 65536 fit"), "{refusal}");
    }

    #[test]
    fn the_board_s_interrupt_controller_is_read_from_this_partition_s_tree() {
        for gic in [Gic::V2, Gic::V3] {
            let new = linux(128 * MIB);
            let blob = Layout::new(&new, MIB, None).unwrap().tree(&new, gic).unwrap();
            assert_eq!(gic_in(&blob), Some(gic));
        }
        assert_eq!(gic_in(b"nothing"), None);
    }

    #[test]
    fn an_image_is_found_by_its_whole_name() {
        let images = ["hello", "linux/Image-6.12.1", "linux/Image-6.12.2"].map(str::to_owned);
        assert_eq!(image_number(&images, "linux/Image-6.12.2").ok(), Some(2));
        let refusal = image_number(&images, "linux/Image-6.12").unwrap_err().to_string();
        let there = "hello, linux/Image-6.12.1, linux/Image-6.12.2";
        assert_eq!(refusal, format!("there is no image `linux/Image-6.12`; there are {there}"));
    }
}
