//! Boards and images for the tests.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use miette::{GraphicalReportHandler, GraphicalTheme, Report};
use shikiri_config::{Bundle, ImageKind, crc32};
use shikiri_describe::{Compiled, Overrides, Request, compile};

/// Size that the stand-in for a Linux kernel claims to need.
pub(crate) const LINUX_BYTES: u64 = 0x201_0000;

/// A folder with stand-ins for what the build and the set-up make.
static IMAGES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
    std::fs::create_dir_all(folder.join("linux")).unwrap();
    for name in [
        "c-echo",
        "c-hello",
        "crash",
        "hello",
        "kv-client",
        "kv-server",
        "ping-pong",
        "pipeline",
        "scos",
        "spin",
        "timer",
    ] {
        put(&folder.join(format!("{name}.bin")), format!("program {name}").as_bytes());
    }
    put(&folder.join("elf.bin"), b"\x7fELF\x02\x01\x01");
    put(&folder.join("linux/Image"), &linux_image());
    let mut odd = linux_image();
    odd[8] = 1;
    put(&folder.join("linux/Odd"), &odd);
    put(&folder.join("linux/Zboot"), b"MZ\0\0zimg\x40\0\0\0");
    put(&folder.join("linux/Image.gz"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03 not packed at all");
    put(&folder.join("linux/initrd.cpio"), &[b'0'; 5000]);
    std::fs::create_dir_all(folder.join("scos")).unwrap();
    put(&folder.join("scos/root.cpio"), b"070701 and so on");
    folder
});

/// Writes a file at once, for tests that run in processes of their own at the same time.
fn put(file: &Path, content: &[u8]) {
    let draft = file.with_extension(std::process::id().to_string());
    std::fs::write(&draft, content).unwrap();
    std::fs::rename(draft, file).unwrap();
}

/// An arm64 Linux header with nothing behind it.
fn linux_image() -> Vec<u8> {
    let mut image = vec![0; 64];
    image[16..24].copy_from_slice(&LINUX_BYTES.to_le_bytes());
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    image
}

/// The folder with the stand-ins.
pub(crate) fn images() -> PathBuf {
    IMAGES.clone()
}

/// The boards of the tests; see `tests/board/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Board {
    VirtGic2,
    VirtGic3,
    Odd,
    /// What matters of a Raspberry Pi 4's.
    Rpi4,
    /// `VirtGic3` with devices that lie in more pages than the hypervisor has places for.
    Crowded,
}

impl Board {
    /// Its device tree.
    pub(crate) fn tree(self) -> Vec<u8> {
        let file = match self {
            Self::VirtGic2 => "qemu-virt-gic2",
            Self::VirtGic3 | Self::Crowded => "qemu-virt-gic3",
            Self::Odd => "odd",
            Self::Rpi4 => "rpi4",
        };
        let tree = std::fs::read(format!("tests/board/{file}.dtb")).unwrap();
        if self == Self::Crowded { crowded(&tree) } else { tree }
    }
}

/// Adds a device in parts of 511 pages, and one in parts of two.
fn crowded(tree: &[u8]) -> Vec<u8> {
    let mut tree = DeviceTree::from_fdt(&Fdt::new(tree).unwrap());
    for (name, start, pages) in [("shelf", 0x0c00_0000, 511), ("box", 0x0d00_0000, 2)] {
        let mut node = DeviceTreeNode::new_unchecked(format!("{name}@{start:x}"));
        let reg: Vec<u32> =
            (0..pages).flat_map(|page| [0, start + page * 0x1000, 0, 0x200]).collect();
        node.add_property(DeviceTreeProperty::new_unchecked("compatible", "arm,pl061"));
        node.add_property(DeviceTreeProperty::new_unchecked("reg", reg));
        tree.root.add_child(node);
    }
    tree.to_dtb()
}

/// A request to compile a file of the repository.
pub(crate) fn request(file: impl Into<PathBuf>, board: Board) -> Request {
    Request {
        file: file.into(),
        board_dtb: board.tree(),
        image_dirs: vec![images()],
        overrides: Overrides::default(),
        seeds: Vec::new(),
    }
}

/// Compiles a text, as a file that stands in `CARGO_TARGET_TMPDIR`.
pub(crate) fn compile_text(name: &str, text: &str, board: Board) -> Result<Compiled, Report> {
    compile(&request(text_file(name, text), board))
}

/// Writes a text to a file that no other test uses.
pub(crate) fn text_file(name: &str, text: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&file, text).unwrap();
    file
}

/// A report as a terminal shows it, without colours.
pub(crate) fn rendered(report: &Report) -> String {
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false)
        .render_report(&mut text, report.as_ref())
        .unwrap();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n"))
}

/// The device tree of a partition.
pub(crate) fn guest_tree(compiled: &Compiled, partition: usize) -> Vec<u8> {
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    let mut images = bundle.partition(partition).unwrap().images();
    let tree = images.find(|image| image.kind == ImageKind::DeviceTree).unwrap();
    bundle.blob(tree.blob).unwrap().bytes.to_vec()
}
