//! Every description of this repository is right for the machine that it asks for.

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Gic, Overrides, System, paths, system};

use crate::support::{self, Outcome, PATIENCE, Topic};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("systems", trials);
    let files = match system::systems() {
        Ok(files) => files,
        Err(error) => {
            topic.test("the_folders_can_be_read", move || Err(error.into()));
            return;
        }
    };
    for gic in [Gic::V2, Gic::V3] {
        topic.test(
            &format!("somebodys_flat_binary_runs_in_place_of_linux [gic{}]", gic.number()),
            move || own_guest(gic),
        );
    }
    for gic in [Gic::V2, Gic::V3] {
        topic.test(&format!("c_hello_says_what_it_does [gic{}]", gic.number()), move || in_c(gic));
    }
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for gic in [Gic::V2, Gic::V3] {
            let file = file.clone();
            topic.test(&format!("{stem}_compiles [gic{}]", gic.number()), move || {
                compiles(&file.to_string_lossy(), gic)
            });
        }
    }
}

/// As `cargo xtask run linux --kernel FILE --vcpus 2 --memory 512M`.
fn own_guest(gic: Gic) -> Outcome {
    let kernel = Some(paths::guests().join("platform.bin"));
    let changes =
        Overrides { kernel, vcpus: Some(2), memory: Some(512 << 20), ..Overrides::default() };
    let system = System::find("linux")?.with(changes);
    let machine = system.machine()?.gic(gic);
    support::passes(&system, &machine)?;
    Ok(())
}

/// A guest in C, with the header that is generated for it. What it prints is computed from what the calls answer.
fn in_c(gic: Gic) -> Outcome {
    let system = System::find("c-hello")?;
    let machine = system.machine()?.gic(gic);
    let mut running = system.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    for line in [
        "c: hello from partition 1 with 1 vCPU",
        "c: an event, sent twice: was pending 0, then 1; polled 1",
        "c: an area of 2 pages: it summed up to 0, and sums up to 523776",
        "c: memory: 512 pages in use, 514 at most so far",
        "has ended: it powered itself off",
    ] {
        if !console.contains(line) {
            return Err(running.failure(format!("{line:?} is missing")).into());
        }
    }
    Ok(())
}

fn compiles(file: &str, gic: Gic) -> Outcome {
    let system = System::find(file)?;
    let machine = system.machine()?.gic(gic);
    let compiled = system.compile(&machine)?;
    if compiled.bundle.is_empty() || compiled.explanation.is_empty() {
        return Err("the result is empty".into());
    }
    Ok(())
}
