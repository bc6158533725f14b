//! Linux beside the system that makes policy, and made by it.

use libtest_mimic::Failed;
use shikiri_qemu_tests::{Machine, Running, System};

use super::page::as_shown;
use super::{converse, file, prompt};
use crate::support::{self, Outcome, PATIENCE, control_os};

/// What `cargo xtask run` starts: a first screen that says what to type, guests that the policy starts, and Linux's console from the shell.
pub(super) fn demo(machine: Machine) -> Outcome {
    let mut running = System::find("demo")?.boot(&machine)?;
    let first = running.wait_for("shikiri:/# ", PATIENCE)?;
    for line in ["one machine, 4 partitions", "  part list ", "  part console linux ", "  help "] {
        if !first.contains(line) {
            return Err(running.failure(format!("the first screen lacks {line:?}")).into());
        }
    }
    running.wait_for("linux| shikiri-linux: ready", PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("help", "  chan   "),
            ("part list", "linux   4  active      2"),
            (
                "part create w image=timer memory=2M cores=1 share=1ms/10ms console=yes",
                "has the id",
            ),
        ],
    )?;
    running.send("part start w && part wait w active 60s; echo is=$?\n")?;
    // It has written by then what its log has.
    running.wait_for_all(&["| is=0", "w| timer: tick 1"], PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part log w", "scos| timer: 62500000 Hz"),
            ("part end w && part wait w ended 60s && part destroy w; echo is=$?", "| is=0"),
        ],
    )?;
    as_shown(&mut running)?;
    running.send("part console linux\n")?;
    running.wait_for("[focus: linux]", PATIENCE)?;
    running.send("uname -s\n")?;
    running.wait_for("linux| Linux", PATIENCE)?;
    running.send("\u{1}1")?;
    running.wait_for("[focus: scos]", PATIENCE)?;
    prompt(&mut running)
}

/// The system control OS with Linux among its images.
pub(super) fn with_linux(policy: Option<&str>) -> Result<System, Failed> {
    let files = policy
        .map_or(String::new(), |file| format!("files = {{ \"/etc/policy.toml\" = \"{file}\" }}"));
    let scos = control_os("scos")
        .with("cores = [0]\nhandles = 16")
        .with(&files)
        .with("[policy]\npartition = \"scos\"\npartitions = 4")
        .with("images = [\"linux/Image\", \"linux/initrd.cpio\", \"timer\"]")
        .with("handout = { memory = \"300MiB\", core_time = \"300%\" }\nanswer = \"60s\"")
        .with("[console]\nfocus = \"scos\"");
    support::system([scos])
}

/// Each life of Linux gets its device tree: also when the system that has made it was restarted meanwhile.
pub(super) fn makes_linux(machine: Machine) -> Outcome {
    let mut running = with_linux(Some(&file("linux.policy")))?.boot(&machine)?;
    running.wait_for("policyd: debian is made", PATIENCE)?;
    running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
    prompt(&mut running)?;
    running.send("part restart scos\n")?;
    running.wait_for("scos| shikiri:/# ", PATIENCE)?;
    prompt(&mut running)?;
    running.send("part console debian\n")?;
    running.wait_for("[focus: debian]", PATIENCE)?;
    running.send("nproc; cat /proc/cmdline; poweroff -f\n")?;
    for line in [
        "debian| 2",
        "debian| console=ttyAMA0 quiet",
        "has ended (off): started again in 100ms",
        "debian| shikiri-linux: ready",
    ] {
        running.wait_for(line, PATIENCE * 3)?;
    }
    // It begins again by itself, and by the operator's hand: the hypervisor knows no tree, and has it held.
    prompt(&mut running)?;
    running.send("part console debian\n")?;
    running.wait_for("[focus: debian]", PATIENCE)?;
    running.send("reboot -f\n")?;
    running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
    support::open_operator(&mut running)?;
    running.send("restart debian\r")?;
    running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
    Ok(())
}

pub(super) fn linux_from_the_shell(machine: Machine) -> Outcome {
    let mut running = with_linux(None)?.boot(&machine)?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    let files = "kernel=linux/Image initrd=linux/initrd.cpio";
    let made = "console=yes cmdline='console=ttyAMA0 quiet' memory=128M,64M@0x100000000 cores=1";
    let noted = format!("{files} memory=128M,64M@0x100000000 cores=1 console=yes cmdline=");
    let long = "x".repeat(64);
    converse(
        &mut running,
        &[
            (
                "part create a kernel=linux/Imag memory=128M cores=1",
                "part: there is no image `linux/Imag`; there are linux/Image, linux/initrd.cpio, timer",
            ),
            (
                "part create a kernel=linux/Image memory=48M cores=1",
                "part: not enough memory: 48M, and what it runs needs ",
            ),
            (&format!("set x {long}; set x $x$x$x$x; set x $x$x$x$x; echo set=$?"), "set=0"),
            (
                "set y $x$x$x$x; part create a kernel=linux/Image cmdline=$y memory=128M cores=1",
                "part: cmdline: 4143 bytes say what it is made of, and at most 4032 fit",
            ),
            (
                &format!("part create a {files} memory=512M cores=1"),
                "over what may be handed out of memory",
            ),
            ("part list; acct -h", "memory              300M    0K"),
            (&format!("part create second {files} {made}"), "second has the id"),
        ],
    )?;
    let live = |running: &mut Running, line: &str| {
        running.send(&format!("{line} && part list\n"))?;
        let lines = ["active      1    192M", "second| shikiri-linux: ready"];
        running.wait_for_all(&lines, PATIENCE * 3)?;
        prompt(running)
    };
    live(&mut running, "part start second")?;
    live(&mut running, "part restart second")?;
    // The next life of the system finds no tree, and makes it of what is noted at the partition.
    running.send("part restart scos\n")?;
    running.wait_for("scos| shikiri:/# ", PATIENCE)?;
    prompt(&mut running)?;
    converse(&mut running, &[("part show second", &format!("| {noted}"))])?;
    live(&mut running, "ls /run/shikiri || part restart second")?;
    // What it runs lies in the first region; it is told of the second one as well.
    running.send("part console second\n")?;
    running.wait_for("[focus: second]", PATIENCE)?;
    running.send("cat /proc/iomem\n")?;
    running.wait_for("100000000-103ffffff : System RAM", PATIENCE)?;
    running.send("\u{1}1")?;
    running.wait_for("[focus: scos]", PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part end second && part wait second ended 60s && part destroy second", "\n"),
            ("ls /run/shikiri; acct -h", "memory              300M    0K"),
        ],
    )
}
