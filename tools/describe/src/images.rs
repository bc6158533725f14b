//! Programs, kernels and RAM disks: finding, reading and placing them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_spanned::Spanned;

use crate::Request;
use crate::board::Range;
use crate::cpio::Archive;
use crate::gzip;
use crate::memory::Region;
use crate::problem::{Place, Problem};
use crate::text::PartitionText;
use crate::units::Size;

/// Where QEMU's `virt` puts a raw program, from the start of RAM.
const RAW_OFFSET: u64 = 0x8_0000;
/// Linux wants to be at a multiple of this from its text offset, and its device tree to be smaller.
const LINUX_ALIGN: u64 = 2 << 20;
/// The device tree is at least this far above a program, when memory allows: a flat binary does not tell how much it uses.
pub(crate) const TREE_DISTANCE: u64 = 16 << 20;
const PAGE: u64 = 4096;

/// The files of a bundle, each one once.
#[derive(Debug, Default)]
pub(crate) struct Files {
    contents: Vec<Vec<u8>>,
    known: HashMap<PathBuf, usize>,
}

impl Files {
    /// Reads a file, unless it has been read before; its index.
    fn read(&mut self, path: &Path) -> std::io::Result<usize> {
        let path = path.canonicalize()?;
        if let Some(index) = self.known.get(&path) {
            return Ok(*index);
        }
        let content = std::fs::read(&path)?;
        let index = self.add(content);
        self.known.insert(path, index);
        Ok(index)
    }

    /// Adds a content that is not from a file.
    pub(crate) fn add(&mut self, content: Vec<u8>) -> usize {
        self.contents.push(content);
        self.contents.len() - 1
    }

    /// Changes a content, for all who name its file.
    fn replace(&mut self, index: usize, content: Vec<u8>) {
        if let Some(place) = self.contents.get_mut(index) {
            *place = content;
        }
    }

    /// A content.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        self.contents.get(index).map_or(&[], Vec::as_slice)
    }

    /// Size of all contents.
    pub(crate) fn total(&self) -> u64 {
        self.contents.iter().map(|content| content.len() as u64).sum()
    }

    /// The contents by index.
    pub(crate) fn into_contents(self) -> Vec<Vec<u8>> {
        self.contents
    }
}

/// The files of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Index of the program's content.
    pub(crate) program: usize,
    /// The header, if the program is an arm64 Linux image.
    pub(crate) linux: Option<LinuxHeader>,
    /// Index of the RAM disk's content.
    pub(crate) initrd: Option<usize>,
    /// Where the program stands in the description.
    place: Place,
}

/// What the header of an arm64 Linux image says (Linux, Documentation/arch/arm64/booting).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinuxHeader {
    text_offset: u64,
    image_size: u64,
}

impl LinuxHeader {
    /// Reads the header; `None` without the magic number at 0x38.
    pub(crate) fn read(image: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(*image.get(at..)?.first_chunk()?));
        (image.get(0x38..0x3c)? == b"ARM\x64")
            .then_some(Self { text_offset: word(8)?, image_size: word(16)? })
    }
}

/// Reads the files of a partition.
pub(crate) fn load(
    request: &Request,
    files: &mut Files,
    partition: &PartitionText,
) -> Result<Loaded, Problem> {
    let name = partition.name.get_ref();
    check_cmdline(partition)?;
    let (text, is_kernel) = match (&partition.image, &partition.kernel) {
        (Some(image), None) => (image, false),
        (None, Some(kernel)) => (kernel, true),
        (Some(image), Some(kernel)) => {
            let problem = Problem::new(format!("`{name}` has an image and a kernel"));
            return Err(problem.at(image.span(), "an image").at(kernel.span(), "a kernel"));
        }
        (None, None) => {
            let problem = Problem::new(format!("`{name}` has nothing to run"));
            return Err(problem
                .at(partition.name.span(), "this partition")
                .help("write `image = \"hello\"` or `kernel = \"linux/Image\"`"));
        }
    };
    let extension = if is_kernel { "" } else { ".bin" };
    let program = find(request, files, text, extension)?;
    if is_kernel {
        unpack(files, program, text)?;
    }
    if files.get(program).starts_with(b"\x7fELF") {
        let problem = Problem::new(format!("`{}` is an ELF file", text.get_ref()));
        return Err(problem
            .at(text.span(), "a program is a flat binary, entered at its first byte")
            .help("`cargo xtask flatten FILE FLAT` makes one of it"));
    }
    let linux = if is_kernel { LinuxHeader::read(files.get(program)) } else { None };
    let initrd =
        partition.initrd.as_ref().map(|text| find(request, files, text, "")).transpose()?;
    let initrd = add_files(request, files, partition, initrd)?;
    Ok(Loaded { program, linux, initrd, place: text.span().into() })
}

/// Makes a kernel what runs: distributions compress theirs.
fn unpack(files: &mut Files, kernel: usize, text: &Spanned<String>) -> Result<(), Problem> {
    let (file, name) = (files.get(kernel), text.get_ref());
    if file.starts_with(b"MZ") && file.get(4..8) == Some(b"zimg") {
        let problem = Problem::new(format!(
            "`{name}` is a kernel for EFI firmware, which unpacks it (zboot)"
        ));
        return Err(problem
            .at(text.span(), "there is no firmware in a partition")
            .help("take `arch/arm64/boot/Image` of the kernel's build, plain or as `Image.gz`"));
    }
    if !gzip::is_packed(file) {
        return Ok(());
    }
    let content = gzip::unpack(file).ok_or_else(|| {
        let problem = Problem::new(format!("`{name}` cannot be unpacked"));
        problem.at(
            text.span(),
            "a gzip file that is damaged, has something behind it, or is more than 1 GiB unpacked",
        )
    })?;
    files.replace(kernel, content);
    Ok(())
}

/// The RAM disk with the partition's own files in front of what it holds.
fn add_files(
    request: &Request,
    files: &mut Files,
    partition: &PartitionText,
    initrd: Option<usize>,
) -> Result<Option<usize>, Problem> {
    let Some((_, first)) = partition.files.first_key_value() else { return Ok(initrd) };
    let Some(initrd) = initrd else {
        let name = partition.name.get_ref();
        let problem = Problem::new(format!("`{name}` has no RAM disk for its files"));
        return Err(problem.at(first.span(), "this file").help("`initrd` names one"));
    };
    let mut archive = Archive::default();
    let mut made = Vec::new();
    let mut packed: Vec<(&str, Place)> = Vec::new();
    for (path, text) in &partition.files {
        let problem = |error| Problem::new(format!("{error}")).at(text.span(), "this file");
        let path = archive_path(path, text)?;
        // In the order of the paths a file comes before what would be in it.
        let is_in = |file: &str| path.strip_prefix(file).is_some_and(|rest| rest.starts_with('/'));
        if let Some((file, earlier)) = packed.iter().find(|(file, _)| is_in(file)) {
            let problem = Problem::new(format!("`/{path}` would be in `/{file}`, which is a file"));
            return Err(problem.at(earlier, "the file").at(text.span(), "would be in it"));
        }
        packed.push((path, Place::from(text.span())));
        for (end, _) in path.match_indices('/') {
            let directory = path.get(..end).unwrap_or("");
            if !made.contains(&directory) {
                archive.directory(directory).map_err(problem)?;
                made.push(directory);
            }
        }
        let index = find(request, files, text, "").map_err(|problem| {
            let name = partition.name.get_ref();
            problem.help(format!("it is what `{name}` is to find at `/{path}`: a file beside this description, by the key `files`"))
        })?;
        archive.file(path, files.get(index)).map_err(problem)?;
    }
    let whole = archive.before(files.get(initrd));
    let whole = whole.map_err(|error| Problem::new(format!("{error}")).at(first.span(), "here"))?;
    Ok(Some(files.add(whole)))
}

/// A path as an archive has it, without the root: names between single slashes.
fn archive_path<'a>(path: &'a str, text: &Spanned<String>) -> Result<&'a str, Problem> {
    let Some(below) = path.strip_prefix('/').filter(|below| !below.is_empty()) else {
        let problem = Problem::new(format!("`{path}` is no path from the root"));
        return Err(problem.at(text.span(), "where this file is to be"));
    };
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    if !below.split('/').all(is_name) {
        let shown = path.escape_debug();
        let problem = Problem::new(format!("`{shown}` is no path of a file"));
        return Err(problem
            .at(text.span(), "where this file is to be")
            .help("names between single slashes, none of them `.` or `..`"));
    }
    Ok(below)
}

/// The command line goes into the device tree as a text that ends with NUL.
fn check_cmdline(partition: &PartitionText) -> Result<(), Problem> {
    match &partition.cmdline {
        Some(words) if words.get_ref().contains('\0') => {
            let name = partition.name.get_ref();
            let problem = Problem::new(format!("the command line of `{name}` holds a NUL"));
            Err(problem.at(words.span(), "its guest would see what stands before it"))
        }
        _ => Ok(()),
    }
}

/// Finds a file beside the built images or beside the description, and reads it.
pub(crate) fn find(
    request: &Request,
    files: &mut Files,
    text: &Spanned<String>,
    extension: &str,
) -> Result<usize, Problem> {
    let name = text.get_ref();
    let Some(path) = locate(request, name, extension) else {
        let problem = Problem::new(format!("there is no file for `{name}`"));
        let file = format!("{name}{extension}");
        return Err(problem
            .at(text.span(), format!("`{file}` is neither among the built images nor beside this description"))
            .help("`cargo xtask build` makes the examples and test guests, `cargo xtask setup` fetches Linux"));
    };
    let index = files.read(&path).map_err(|error| {
        Problem::new(format!("`{name}` cannot be read: {error}")).at(text.span(), "this file")
    })?;
    if files.get(index).is_empty() {
        return Err(Problem::new(format!("`{name}` is empty")).at(text.span(), "this file"));
    }
    Ok(index)
}

/// Where a file is, with this extension or without.
pub(crate) fn locate(request: &Request, name: &str, extension: &str) -> Option<PathBuf> {
    let beside = request.file.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut folders = request.image_dirs.iter().chain([&beside]);
    folders.find_map(|folder| {
        let named = [folder.join(format!("{name}{extension}")), folder.join(name)];
        named.into_iter().find(|path| path.is_file())
    })
}

/// Where everything goes in a partition's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The program's first byte.
    pub(crate) load: u64,
    /// The first instruction.
    pub(crate) entry: u64,
    /// The RAM disk's first byte.
    pub(crate) initrd: u64,
    /// The device tree's first byte.
    pub(crate) tree: u64,
}

/// Sizes that a layout is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The program's file.
    pub(crate) program: u64,
    /// The RAM disk, 0 = none.
    pub(crate) initrd: u64,
    /// The device tree.
    pub(crate) tree: u64,
}

/// Places program, RAM disk and device tree in the partition's first region.
pub(crate) fn place(
    partition: &PartitionText,
    loaded: &Loaded,
    region: &Region,
    sizes: Sizes,
) -> Result<Layout, Problem> {
    let ram = Range { start: region.memory.ipa.0, bytes: region.memory.bytes };
    let load = partition
        .load
        .as_ref()
        .map_or_else(|| default_load(ram.start, loaded.linux), |l| *l.get_ref());
    check_load(partition, loaded, load)?;
    let used = sizes.program.max(loaded.linux.map_or(0, |header| header.image_size));
    let program = Range { start: load, bytes: used };
    let name = partition.name.get_ref();
    if load < ram.start || program.end() > ram.end() {
        let problem = Problem::new(format!("the program of `{name}` does not fit into its memory"));
        let place = partition.load.as_ref().map_or(loaded.place.clone(), |load| load.span().into());
        return Err(problem
            .at(place, format!("{} at {load:#x}", Size(used)))
            .at(&region.place, format!("{} at {:#x}", Size(ram.bytes), ram.start)));
    }
    let Some((initrd, tree)) =
        above(program, ram, sizes).or_else(|| at_the_end(program, ram, sizes))
    else {
        let wanted = sizes.initrd + sizes.tree;
        let left = ram.end() - program.end();
        let problem = Problem::new(format!("the memory of `{name}` is too small"));
        return Err(problem
            .at(&region.place, format!("{} are left behind the program", Size(left)))
            .help(format!("the initial RAM disk and the device tree need {}", Size(wanted))));
    };
    let entry = entry(partition, load, ram)?;
    Ok(Layout { load, entry, initrd, tree })
}

/// The first instruction is a word, and a Linux image is where its kernel can run (Linux, Documentation/arch/arm64/booting).
fn check_load(partition: &PartitionText, loaded: &Loaded, load: u64) -> Result<(), Problem> {
    let name = partition.name.get_ref();
    if partition.entry.is_none() && !load.is_multiple_of(4) {
        let problem = Problem::new(format!("the program of `{name}` does not begin at a word"));
        return Err(match &partition.load {
            Some(stated) => problem.at(stated.span(), format!("{load:#x} is not a multiple of 4")),
            None => {
                problem.at(&loaded.place, format!("its header's text offset puts it at {load:#x}"))
            }
        });
    }
    let (Some(stated), Some(header)) = (&partition.load, loaded.linux) else { return Ok(()) };
    let offset = if header.image_size == 0 { RAW_OFFSET } else { header.text_offset };
    if load.wrapping_sub(offset).is_multiple_of(LINUX_ALIGN) {
        return Ok(());
    }
    let problem = Problem::new(format!("the Linux of `{name}` cannot run where it is loaded"));
    let wanted = format!("a multiple of 2 MiB, plus the image's text offset {offset:#x}");
    Err(problem
        .at(stated.span(), wanted)
        .at(&loaded.place, "an arm64 Linux image")
        .help("leave `load` out to have it where QEMU puts it"))
}

/// QEMU `virt`'s rules: a Linux image goes to a 2 MiB-aligned base (which leaves the first 2 MiB free if the text
/// offset is small) plus its text offset; anything else 512 KiB into RAM.
fn default_load(ram: u64, linux: Option<LinuxHeader>) -> u64 {
    let base = ram.next_multiple_of(LINUX_ALIGN);
    match linux {
        Some(LinuxHeader { image_size, text_offset }) if image_size != 0 => {
            let gap = if text_offset < PAGE { LINUX_ALIGN } else { 0 };
            base.saturating_add(gap).saturating_add(text_offset)
        }
        _ => ram + RAW_OFFSET,
    }
}

/// Device tree well above the program, RAM disk behind it; `None` if that does not fit.
fn above(program: Range, ram: Range, sizes: Sizes) -> Option<(u64, u64)> {
    let lowest = program.end().max(program.start.checked_add(TREE_DISTANCE)?);
    let tree = lowest.checked_next_multiple_of(LINUX_ALIGN)?;
    let tree_end = tree.checked_add(sizes.tree)?;
    let initrd = tree_end.checked_next_multiple_of(LINUX_ALIGN)?;
    let end = if sizes.initrd == 0 { tree_end } else { initrd.checked_add(sizes.initrd)? };
    (end <= ram.end()).then_some((initrd, tree))
}

/// Device tree at the end of RAM, RAM disk before it: for small partitions.
fn at_the_end(program: Range, ram: Range, sizes: Sizes) -> Option<(u64, u64)> {
    let tree = ram.end().checked_sub(sizes.tree)? / PAGE * PAGE;
    let initrd = tree.checked_sub(sizes.initrd)? / PAGE * PAGE;
    (initrd >= program.end()).then_some((initrd, tree))
}

fn entry(partition: &PartitionText, load: u64, ram: Range) -> Result<u64, Problem> {
    let Some(stated) = &partition.entry else { return Ok(load) };
    let entry = *stated.get_ref();
    if !entry.is_multiple_of(4) || entry < ram.start || entry >= ram.end() {
        let name = partition.name.get_ref();
        let problem =
            Problem::new(format!("the entry of `{name}` is not an instruction in its memory"));
        return Err(problem.at(stated.span(), format!("{entry:#x}")));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::{LinuxHeader, Range, Sizes, above, at_the_end, default_load};

    const LINUX: LinuxHeader = LinuxHeader { text_offset: 0, image_size: 0x201_0000 };

    #[test]
    fn loads_where_qemu_loads() {
        assert_eq!(default_load(0x4000_0000, None), 0x4008_0000);
        assert_eq!(default_load(0x4000_0000, Some(LINUX)), 0x4020_0000);
        let old = LinuxHeader { text_offset: 0x8_0000, image_size: 0x1000 };
        assert_eq!(default_load(0x4000_0000, Some(old)), 0x4008_0000);
        let unsized_image = LinuxHeader { text_offset: 0, image_size: 0 };
        assert_eq!(default_load(0x4000_0000, Some(unsized_image)), 0x4008_0000);
    }

    #[test]
    fn the_tree_is_16_mib_above_and_clear_of_the_image() {
        let ram = Range { start: 0x4000_0000, bytes: 256 << 20 };
        let program = Range { start: 0x4020_0000, bytes: 0x201_0000 };
        let sizes = Sizes { program: 0, initrd: 3 << 20, tree: 1500 };
        assert_eq!(above(program, ram, sizes), Some((0x4260_0000, 0x4240_0000)));
    }

    #[test]
    fn a_small_partition_has_its_tree_at_the_end() {
        let ram = Range { start: 0x4000_0000, bytes: 2 << 20 };
        let program = Range { start: 0x4008_0000, bytes: 0x8000 };
        let sizes = Sizes { program: 0, initrd: 0, tree: 1500 };
        assert_eq!(above(program, ram, sizes), None);
        assert_eq!(at_the_end(program, ram, sizes), Some((0x401f_f000, 0x401f_f000)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let ram = Range { start: 0x4000_0000, bytes: 2 << 20 };
        let program = Range { start: 0x4008_0000, bytes: 0x18_0000 };
        let sizes = Sizes { program: 0, initrd: 0, tree: 1500 };
        assert_eq!(at_the_end(program, ram, sizes), None);
    }
}
