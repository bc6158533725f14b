//! What the command line changes.

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};
use shikiri_abi::Ipa;
use shikiri_config::{Bundle, CoreTime, ImageKind, crc32};
use shikiri_describe::{Compiled, Overrides, compile};

use crate::support::{Board, guest_tree, images, request, text_file};

const LINUX: &str = "../../boards/qemu-virt/systems/linux.toml";

fn changed(file: &str, overrides: Overrides) -> Result<Compiled, miette::Report> {
    compile(&shikiri_describe::Request { overrides, ..request(file, Board::VirtGic3) })
}

fn linux(overrides: Overrides) -> Compiled {
    changed(LINUX, overrides).unwrap_or_else(|report| panic!("{report:?}"))
}

/// `/chosen` of the guest: command line, and whether there is a RAM disk.
fn chosen(compiled: &Compiled) -> (Option<String>, bool) {
    let tree = guest_tree(compiled, 0);
    let fdt = Fdt::new(&tree).unwrap();
    let chosen = fdt.find_node("/chosen").unwrap();
    let bootargs = chosen.property("bootargs").map(|p| p.value_as::<&str>().unwrap().to_owned());
    (bootargs, chosen.properties().any(|p| p.name().starts_with("linux,initrd")))
}

#[test]
fn another_kernel_comes_without_the_descriptions_ram_disk_and_words() {
    let kernel = Some(images().join("spin.bin"));
    let compiled = linux(Overrides { kernel, ..Overrides::default() });
    assert_eq!(chosen(&compiled), (None, false));
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    let partition = bundle.partition(0).unwrap();
    assert_eq!(partition.entry, Ipa(0x4008_0000), "a flat binary, entered at its first byte");
    assert!(partition.x0 >= 0x4008_0000 + (16 << 20), "{:#x}", partition.x0);
    let program = partition.images().find(|image| image.kind == ImageKind::Program).unwrap();
    assert_eq!(bundle.blob(program.blob).unwrap().bytes, b"program spin");
}

#[test]
fn a_packed_kernel_is_unpacked() {
    let plain = std::fs::read(images().join("linux/Image")).unwrap();
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    packed.extend(miniz_oxide::deflate::compress_to_vec(&plain, 6));
    packed.extend(crc32(&plain).to_le_bytes());
    packed.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
    let kernel = text_file("packed", "").with_extension("gz");
    std::fs::write(&kernel, packed).unwrap();
    let with = |kernel| linux(Overrides { kernel: Some(kernel), ..Overrides::default() });
    assert_eq!(with(kernel).bundle, with(images().join("linux/Image")).bundle);
}

#[test]
fn words_are_put_behind_the_command_line() {
    let append = Some("shikiri.script=boot".to_owned());
    let compiled = linux(Overrides { append: append.clone(), ..Overrides::default() });
    assert_eq!(chosen(&compiled), (Some("console=ttyAMA0 shikiri.script=boot".to_owned()), true));
    let kernel = Some(images().join("spin.bin"));
    let compiled = linux(Overrides { kernel, append, ..Overrides::default() });
    assert_eq!(chosen(&compiled), (Some("shikiri.script=boot".to_owned()), false));
}

#[test]
fn vcpus_and_memory_change() {
    let compiled = linux(Overrides {
        vcpus: Some(3),
        memory: Some(512 << 20),
        initrd: Some(images().join("hello.bin")),
        ..Overrides::default()
    });
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    let partition = bundle.partition(0).unwrap();
    assert_eq!(partition.vcpus().len(), 3);
    assert!(partition.vcpus().all(|vcpu| vcpu.time == CoreTime::Owned));
    assert_eq!(partition.memory().next().unwrap().bytes, 512 << 20);
    let initrd = partition.images().find(|image| image.kind == ImageKind::Initrd).unwrap();
    assert_eq!(bundle.blob(initrd.blob).unwrap().bytes, b"program hello");
}

#[test]
fn changes_need_one_partition_that_they_can_mean() {
    let overrides = Overrides { vcpus: Some(1), ..Overrides::default() };
    let report =
        changed("../../boards/qemu-virt/systems/two-linux.toml", overrides.clone()).unwrap_err();
    assert!(report.to_string().contains("does not have exactly one with a kernel"));
    // The one with a kernel among several, and the only one without.
    assert!(changed("../../boards/qemu-virt/systems/demo.toml", overrides.clone()).is_ok());
    assert!(changed("../../boards/qemu-virt/systems/hello.toml", overrides).is_ok());
}

#[test]
fn a_change_that_does_not_fit_is_explained_without_a_place() {
    let report = changed(LINUX, Overrides { vcpus: Some(5), ..Overrides::default() }).unwrap_err();
    let text = report.to_string();
    assert!(
        text.contains("`linux` wants 5 cores of its own, but 4 of the machine's 4 are left"),
        "{text}"
    );
    let report =
        changed(LINUX, Overrides { memory: Some(5 << 30), ..Overrides::default() }).unwrap_err();
    let text = report.to_string();
    assert!(text.contains("`linux` wants 5 GiB of memory, but only 1002 MiB are left"), "{text}");
}

#[test]
fn a_refused_change_says_the_limit_and_the_sizes() {
    let refusal = |overrides| changed(LINUX, overrides).unwrap_err().to_string();
    assert_eq!(
        refusal(Overrides { vcpus: Some(5), ..Overrides::default() }),
        "`linux` wants 5 cores of its own, but 4 of the machine's 4 are left"
    );
    let kernel = Some(images().join("spin.bin"));
    assert_eq!(
        refusal(Overrides { kernel, memory: Some(512 << 10), ..Overrides::default() }),
        "the program of `linux` does not fit into its memory: 12 bytes at 0x40080000, 512 KiB at 0x40000000"
    );
    assert_eq!(
        refusal(Overrides { memory: Some(0), ..Overrides::default() }),
        "`linux` has no memory: 0 bytes"
    );
    let shared = text_file(
        "many",
        "[[partition]]\nname = \"a\"\nimage = \"hello\"\nmemory = \"4MiB\"\n\
         share = { budget = \"1ms\", period = \"100ms\" }\n",
    );
    let many = Overrides { vcpus: Some(65), ..Overrides::default() };
    let report = changed(&shared.to_string_lossy(), many).unwrap_err();
    assert_eq!(report.to_string(), "`a` has 65 vCPUs: a partition has at most 64 with GICv3");
}
