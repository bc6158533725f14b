//! `cargo xtask run linux --kernel FILE`: what somebody's own guest finds, and what is said when it cannot run. V9.
//!
//! By the command itself, as it was built.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Gic, paths};

use crate::commands::{LONG, Ran, xtask};
use crate::support::{self, Outcome, Topic};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    const SAME: &str = "the system `linux` is looked at on virt";
    let mut topic = Topic::new("own", trials);
    for gic in [Gic::V2, Gic::V3] {
        for vcpus in [1, 4] {
            let sentence =
                format!("a_guest_finds_what_virt_has [gic{}, {vcpus} vCPUs]", gic.number());
            topic.only_on_virt(SAME, &sentence, move || finds(gic, vcpus));
        }
        let sentence = format!("a_flat_binary_is_entered_at_its_first_byte [gic{}]", gic.number());
        topic.only_on_virt(SAME, &sentence, move || entered(gic));
    }
    topic.only_on_virt(SAME, "a_linux_runs_with_its_files_and_words", linux);
    topic.only_on_virt(SAME, "a_tree_that_is_near_for_lack_of_memory_is_told", near);
    topic.only_on_virt(SAME, "what_cannot_run_is_refused_with_the_cause", refused);
    for memory in ["20484K", "301M", "3G", "5G"] {
        if memory.ends_with('G') {
            // All of it is cleared.
            topic.slow();
        }
        let sentence = format!("a_guest_has_as_much_memory_as_it_asks_for [{memory}]");
        topic.only_on_virt(SAME, &sentence, move || has_memory(memory));
    }
}

/// `run linux --kernel FILE` with these arguments.
fn run(kernel: &Path, arguments: &[&str]) -> Result<Ran, Failed> {
    let kernel = kernel.to_string_lossy();
    let guest = ["run", "--no-build", "linux", "--kernel", &kernel];
    xtask(&[&guest, &LONG[..], arguments].concat(), "")
}

/// Debian's kernel as somebody's own, with all that can be given to one.
fn linux() -> Outcome {
    let initrd = paths::linux_initrd().to_string_lossy().into_owned();
    let words = "console=ttyAMA0 quiet shikiri.script=boot own=yes";
    let shape = ["--vcpus", "2", "--memory", "300M", "--initrd", &initrd, "--append", words];
    run(&paths::linux_kernel(), &shape)?.expect(
        0,
        &["shikiri-linux: script boot passed", "powering off"],
        &[],
    )
}

/// The guest that looks at all of it.
fn platform(arguments: &[&str]) -> Result<Ran, Failed> {
    let ran = run(&paths::guests().join("platform.bin"), arguments)?;
    ran.expect(0, &["powering off"], &[])?;
    support::approve(&ran.out)?;
    Ok(ran)
}

/// Once with a RAM disk and once without.
fn finds(gic: Gic, vcpus: u32) -> Outcome {
    let (gic, vcpus) = (gic.number().to_string(), vcpus.to_string());
    let shape = ["--gic", &gic, "--vcpus", &vcpus, "--memory", "64M"];
    let words = format!("vcpus={vcpus} ram_kib=65536");
    let ran = platform(&[&shape[..], &["--append", &words]].concat())?;
    // Of the description's own command line nothing is left.
    ran.expect(0, &[&format!("command line: {words:?}")], &[])?;
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let disk = scratch.path().join("disk");
    let bytes: Vec<u8> = (0..70_001_usize).map(|at| (at * 31 + (at >> 8)) as u8).collect();
    std::fs::write(&disk, &bytes)?;
    // It may begin like a flag.
    let words = format!("--own {words} initrd={}", bytes.len());
    let disk = disk.to_string_lossy();
    let ran = platform(&[&shape[..], &["--append", &words, "--initrd", &disk]].concat())?;
    ran.expect(0, &[&format!("command line: {words:?}")], &[])
}

/// Of no multiple of 2 MiB, and of more than 32 bits reach. A guest of so little has its tree closer than 16 MiB, and this one tells.
fn has_memory(memory: &str) -> Outcome {
    let kib = shikiri_describe::size(memory)? >> 10;
    platform(&["--memory", memory, "--append", &format!("ram_kib={kib}")])?;
    Ok(())
}

/// A guest of 8 MiB cannot have its tree 16 MiB above, and whoever runs it hears so; one of 24 MiB can.
fn near() -> Outcome {
    let hello = paths::guests().join("hello.bin");
    let note = "note: the memory of `linux` is small: its device tree is 7";
    run(&hello, &["--memory", "8M"])?.expect(0, &["8192 KiB of RAM", "powering off"], &[note])?;
    let ran = run(&hello, &["--memory", "24M"])?;
    if ran.has_said("note: ") {
        return ran.expect(0, &[], &["no such note"]);
    }
    Ok(())
}

/// At EL1 with MMU and data cache off and all masked; x0 is a tree at least 16 MiB above, and x1 to x3 are 0.
fn entered(gic: Gic) -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let kernel = scratch.path().join("flat");
    std::fs::write(&kernel, support::assemble("flat.S", scratch.path())?)?;
    let ran = run(&kernel, &["--gic", &gic.number().to_string(), "--memory", "32M"])?;
    ran.expect(0, &["flat: code", "powering off"], &[])?;
    let (_, said) = ran.out.split_once("flat: ").ok_or("nothing is said")?;
    let words: Vec<&str> = said.split_whitespace().collect();
    let value = |name: &str| -> Result<u64, Failed> {
        let place =
            words.iter().position(|word| *word == name).ok_or_else(|| format!("no {name}"))?;
        Ok(u64::from_str_radix(words.get(place + 1).ok_or("no value")?, 16)?)
    };
    let (at, tree) = (value("at")?, value("tree")?);
    let facts = [
        ("EL1", value("level")? == 1 << 2),
        ("MMU and data cache off", value("sctlr")? & 5 == 0),
        ("all exceptions masked", value("masked")? == 0xf << 6),
        ("512 KiB into RAM", at == 0x4008_0000),
        ("the tree 16 MiB above", tree >= at + (16 << 20) && tree < 0x4200_0000),
        ("a tree", value("magic")? == 0xd00d_feed),
        ("x1 to x3", value("rest")? == 0),
    ];
    match facts.into_iter().find(|(_, holds)| !holds) {
        Some((fact, _)) => Err(format!("not so: {fact}\n{}", ran.out).into()),
        None => Ok(()),
    }
}

fn refused() -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let file = |name: &str, bytes: u64| -> Result<String, Failed> {
        let file = scratch.path().join(name);
        std::fs::File::create(&file)?.set_len(bytes)?;
        Ok(file.to_string_lossy().into_owned())
    };
    let (empty, large, missing) = (file("empty", 0)?, file("large", 96 << 20)?, "no/such/file");
    let kernel = paths::guests().join("platform.bin").to_string_lossy().into_owned();
    let cases: [(&[&str], &[&str]); 14] = [
        (&["--kernel", missing], &["--kernel no/such/file: there is no such file"]),
        (&["--kernel", &empty], &["empty` is empty"]),
        (&["--kernel", &kernel, "--initrd", missing], &["--initrd no/such/file: there is no such"]),
        (&["--kernel", &kernel, "--initrd", &empty], &["empty` is empty"]),
        (
            &["--kernel", &kernel, "--initrd", &large, "--memory", "64M"],
            &[
                "the memory of `linux` is too small",
                "the initial RAM disk and the device tree need 9",
            ],
        ),
        (
            &["--kernel", &large, "--memory", "64M"],
            &["the program of `linux` does not fit", "96 MiB"],
        ),
        (
            &["--kernel", &kernel, "--memory", "512K"],
            &["the program of `linux` does not fit", "512 KiB"],
        ),
        (&["--kernel", &kernel, "--memory", "0"], &["`linux` has no memory: 0 bytes"]),
        (
            &["--kernel", &kernel, "--memory", "1000"],
            &["`linux` is not a multiple of 4 KiB: 1000 bytes"],
        ),
        (&["--kernel", &kernel, "--memory", "12Q"], &["`12Q` is not a size such as"]),
        (&["--kernel", &kernel, "--vcpus", "0"], &["`linux` has no vCPU"]),
        (
            &["--kernel", &kernel, "--vcpus", "65"],
            &["`linux` has 65 vCPUs: a partition has at most 64"],
        ),
        (
            &["--kernel", &kernel, "--gic", "2", "--vcpus", "9"],
            &["QEMU refuses this machine", "(9) exceeds"],
        ),
        (
            &["--kernel", &kernel, "--vcpus", "3", "--cpus", "2"],
            &["`linux` wants 3 cores", "2 are left"],
        ),
    ];
    for (arguments, words) in cases {
        let run = [&["run", "--no-build", "linux"][..], &LONG, arguments].concat();
        let ran = xtask(&run, "")?;
        // A wrong value is the command line's to refuse, with its own exit code.
        let code = if arguments.contains(&"12Q") { 2 } else { 1 };
        ran.expect(code, &[], words)
            .map_err(|error| format!("{arguments:?}: {}", error.message().unwrap_or_default()))?;
    }
    Ok(())
}
