//! The hypervisor's own faults: what it does when its code is wrong. The image that is shipped has none to show, so a copy of it is
//! patched here: one instruction of the vectors leads into those of AArch32 guests, which do not exist.

use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::Event;
use shikiri_qemu_tests::stacks::{STACK, Stacks};
use shikiri_qemu_tests::{Gic, Machine, Running, paths, system as systems};
use std::time::Instant;

use crate::support::{Outcome, PATIENCE, Partition, Topic, system};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("faults", trials);
    for core in [0, 1] {
        topic.only_on_virt(
            "the memory of `virt` alone can be looked at, and the stacks are the same",
            &format!("a_stack_that_runs_over_stops_its_core_alone [core {core}]"),
            move || overrun(core),
        );
    }
    for case in PROTECTED {
        topic.only_on_virt(
            "EL2's own tables are the same",
            &format!("{}_stops_its_core_alone", case.0),
            move || protected(case),
        );
    }
}

/// The vectors of synchronous exceptions from guests, from the start of the vectors (Arm ARM D1.4.2): AArch64 and AArch32.
const FROM_AARCH64: usize = 0x400;
const FROM_AARCH32: usize = 0x600;

/// STP X0, X1, \[SP, #-16\]!: what the first begins with.
const PUSH: u32 = 0xa9bf_07e0;

/// How the report of a fault begins.
const FAULT: &str = "shikiri: EL2 FAULT: synchronous exception in the hypervisor";

/// The same again and again: STP X0, X1, \[SP, #-16\]!, and B to it.
const WITHOUT_END: &[u32] = &[PUSH, 0x17ff_ffff];

/// The call that nobody has, which the guest `crash` makes.
const CALL: u32 = 0xc600_beef;

/// On this core a call of a guest's lets EL2's stack run over. It ends at the guard page, with a report that names the core; nothing
/// below the stack was written, and the partition on the other core goes on. By counted instructions, so that the report's text
/// and the witness's do not mix.
fn overrun(core: u32) -> Outcome {
    let on = |core: u32| format!("cores = [{core}]");
    let crash = Partition::new("crash", "crash").with(&on(core));
    let crash = crash.with("cmdline = \"crash=hvc wait_ms=5\"");
    let witness = Partition::new("witness", "witness").with(&on(1 - core));
    let witness = witness.with("cmdline = \"reports=0 report_ms=20 limit_us=500\"");
    let machine = Machine::new().gic(Gic::V3).cpus(2).icount();
    let bundle = system([crash, witness])?.compile(&machine)?.bundle;
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let (machine, stacks) = Stacks::watch(machine)?;
    let mut running =
        systems::start(&machine, patched(scratch.path().join("img"), WITHOUT_END)?, &bundle, None)?;
    running.wait_for("crash| crash: hvc", PATIENCE)?;
    let words = [
        FAULT,
        // A store that no leaf translates (Arm ARM D24.2.40: EC 0x25, WnR, translation fault of level 3).
        "shikiri:   ESR 0x96000047 ",
        &format!(
            "core MPIDR {core:#x}; last boot checkpoint [11]; this core stops, the others go on"
        ),
        "witness| ok witness report",
        "witness| ok witness report",
    ];
    wait_for_each(&running, &words)?;
    let depths = stacks.depths()?;
    for (number, depth) in (0..).zip(depths) {
        if stacks.is_guard_touched(number)? || (depth == STACK) != (number == core) {
            let what =
                format!("core {number} has used {depth} bytes of its stack, or its guard page");
            return Err(running.failure(what).into());
        }
    }
    if running.console().text().contains("FAIL") {
        return Err(running.failure("the witness has noticed".into()).into());
    }
    Ok(())
}

/// What EL2's own tables do not allow, the instructions for it, and its syndrome: a permission fault of level 3 (Arm ARM
/// D24.2.40: EC 0x25 with WnR, or 0x21).
const PROTECTED: [(&str, &[u32], &str); 2] = [
    // ADR X1, .; STR W0, [X1]
    ("a_store_to_code", &[0x1000_0001, 0xb900_0020], "ESR 0x9600004f "),
    // MOV W2, #a RET; STP X2, X2, [SP, #-16]!; MOV X1, SP; BLR X1
    (
        "a_jump_to_the_stack",
        &[0x5280_7802, 0x72ba_cbe2, 0xa9bf_0be2, 0x9100_03e1, 0xd63f_0020],
        "ESR 0x8600000f ",
    ),
];

/// Code is not written, and what can be written is not executed. If one were, the machine would come to its end.
fn protected((_, instead, syndrome): (&str, &[u32], &str)) -> Outcome {
    let on = |name: &str, core: u32| Partition::new(name, name).with(&format!("cores = [{core}]"));
    let crash = on("crash", 1).with("cmdline = \"crash=hvc\"");
    let witness = on("witness", 0).with("cmdline = \"reports=10 report_ms=20\"");
    let machine = Machine::new().gic(Gic::V3).cpus(2).icount();
    let bundle = system([crash, witness])?.compile(&machine)?.bundle;
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let image = patched(scratch.path().join("img"), instead)?;
    let running = systems::start(&machine, image, &bundle, None)?;
    let words = [
        FAULT,
        syndrome,
        "core MPIDR 0x1; last boot checkpoint [11]; this core stops, the others go on",
        "witness| ok witness report",
    ];
    wait_for_each(&running, &words)
}

/// Waits for one after the other, though the hypervisor has failed.
fn wait_for_each(running: &Running, words: &[&str]) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    for word in words {
        let event = running.console().wait_for_any(Some(word), Some(deadline), || false);
        if event != Event::Text {
            return Err(running.failure(format!("no {word:?}: {event:?}")).into());
        }
    }
    Ok(())
}

/// A copy of the hypervisor in which a guest's call with number [`CALL`] does something else.
fn patched(file: PathBuf, instead: &[u32]) -> Result<PathBuf, Failed> {
    let mut image = std::fs::read(paths::hypervisor())?;
    let word =
        |image: &[u8], at: usize| image.get(at..)?.first_chunk().map(|it| u32::from_le_bytes(*it));
    let has_vectors = |at: &usize| {
        let entries = (FROM_AARCH64..0x800).step_by(0x80);
        entries.into_iter().all(|entry| word(&image, at + entry) == Some(PUSH))
    };
    // VBAR_EL2 is a multiple of 2 KiB (Arm ARM D24.2.196).
    let vectors = (0..image.len()).step_by(0x800).find(has_vectors).ok_or("no vectors")?;
    let patch = |image: &mut [u8], at: usize, words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        image.iter_mut().skip(vectors + at).zip(bytes).for_each(|(place, byte)| *place = byte);
    };
    patch(&mut image, FROM_AARCH64, &[branch(FROM_AARCH64, FROM_AARCH32)]);
    let (low, high) = (CALL & 0xffff, CALL >> 16);
    let mut code = vec![
        PUSH,
        0x5280_0001 | low << 5,  // MOV W1, #low
        0x72a0_0001 | high << 5, // MOVK W1, #high, LSL #16
        0x6b01_001f,             // CMP W0, W1
    ];
    let end = FROM_AARCH32 + (code.len() + 1 + instead.len()) * 4;
    code.push(0x5400_0001 | (u32::try_from(instead.len())? + 1) << 5); // B.NE end
    code.extend(instead);
    code.push(branch(end, FROM_AARCH64 + 4)); // end: what follows sets X1 anew
    patch(&mut image, FROM_AARCH32, &code);
    std::fs::write(&file, image)?;
    Ok(file)
}

/// B from one place to another: imm26 counts words (Arm ARM C6.2.26).
fn branch(from: usize, to: usize) -> u32 {
    let bytes = to.wrapping_sub(from).to_le_bytes();
    let [a, b, c, d, ..] = bytes;
    0x1400_0000 | (u32::from_le_bytes([a, b, c, d]) >> 2 & 0x03ff_ffff)
}
