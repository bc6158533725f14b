//! Damaged input: an error or another system, never a crash.

use shikiri_describe::{Request, compile};

use crate::support::{Board, rendered, request, text_file};

/// Knuth's MMIX generator: the same damage in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Compiles and shows the error; whether it was accepted.
fn survives(request: &Request) -> bool {
    match compile(request) {
        Ok(_) => true,
        Err(report) => {
            assert!(!rendered(&report).is_empty());
            false
        }
    }
}

/// A description that uses most keys.
const RICH: &str = r#"
[machine]
board = "qemu-virt"
cores = 4
[console]
focus = "b"
[rest]
devices = "b"
[[partition]]
name = "a"
cores = [0, 1]
memory = { size = "64MiB", at = 0x5000_0000, ipa = 0x5000_0000 }
kernel = "linux/Image"
initrd = "linux/initrd.cpio"
cmdline = "quiet – é"
devices = [{ path = "/virtio_mmio@a003e00", dma = "trusted", spis = [90] }, "/pl031@9010000"]
restart = { policy = "always", max = 3, window = "5s", delay = "10ms" }
limits = { core_time = "200%", memory = "64MiB" }
[[partition]]
name = "b"
memory = "2MiB"
image = "hello"
[[partition.vcpu]]
cores = [2, 3]
home = 3
budget = "1ms"
period = "10ms"
"#;

#[test]
fn damaged_board_trees_are_survived() {
    let text = "[[partition]]\nname = \"a\"\nmemory = \"2MiB\"\nimage = \"hello\"\n\
                devices = [\"/soc/timer@1200\", \"/soc/wide@2800\"]\n";
    let good = request(text_file("damaged-tree", text), Board::Odd);
    let (mut random, mut accepted) = (Random(1), 0);
    for _ in 0..600 {
        let mut bad = good.clone();
        for _ in 0..3 {
            let at = random.below(bad.board_dtb.len());
            bad.board_dtb[at] = u8::try_from(random.below(256)).unwrap();
        }
        accepted += usize::from(survives(&bad));
    }
    assert!((5..595).contains(&accepted), "{accepted} accepted");
}

#[test]
fn damaged_descriptions_are_survived() {
    const PIECES: &[&str] = &[
        "-1",
        "0",
        "9223372036854775807",
        "\"\"",
        "[]",
        "{}",
        "é",
        "\n",
        "=",
        "\"",
        "0xffff_ffff_f000",
        "[[",
        "a",
        "18446744073709551615G",
        "99999999999999",
        "0.5",
        "true",
        "[0, 0]",
    ];
    let file = text_file("damaged-text", RICH);
    let good = request(&file, Board::VirtGic3);
    assert!(survives(&good), "{:?}", compile(&good).err());
    let (mut random, mut accepted) = (Random(2), 0);
    for _ in 0..600 {
        let mut characters: Vec<char> = RICH.chars().collect();
        let at = random.below(characters.len());
        let length = random.below(8).min(characters.len() - at);
        let piece = PIECES[random.below(PIECES.len())];
        characters.splice(at..at + length, piece.chars());
        std::fs::write(&file, characters.into_iter().collect::<String>()).unwrap();
        accepted += usize::from(survives(&good));
    }
    assert!((5..595).contains(&accepted), "{accepted} accepted");
}

#[test]
fn extreme_values_are_survived() {
    let numbers = [
        "0",
        "1",
        "4095",
        "4096",
        "0x7fff_ffff_ffff_ffff",
        "0xff_ffff_f000",
        "0x100_0000_0000",
        "-1",
    ];
    let keys = [
        ("at = 0x5000_0000", "at"),
        ("ipa = 0x5000_0000", "ipa"),
        ("cores = 4", "cores"),
        ("max = 3", "max"),
        ("home = 3", "home"),
    ];
    for (old, key) in keys {
        for number in numbers {
            let text = RICH.replace(old, &format!("{key} = {number}"));
            survives(&request(text_file("extreme", &text), Board::VirtGic3));
        }
    }
    for number in numbers {
        for line in ["load", "entry", "vcpus", "start_order"] {
            let text =
                RICH.replace("image = \"hello\"", &format!("image = \"hello\"\n{line} = {number}"));
            survives(&request(text_file("extreme", &text), Board::VirtGic3));
        }
        let text = RICH.replace("spis = [90]", &format!("spis = [{number}], ipa = {number}"));
        survives(&request(text_file("extreme", &text), Board::VirtGic3));
    }
}
