//! Every description of this repository is right for the machine that it asks for.

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Gic, Overrides, System, paths, system};

use crate::support::{self, Outcome, Topic};

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

fn compiles(file: &str, gic: Gic) -> Outcome {
    let system = System::find(file)?;
    let machine = system.machine()?.gic(gic);
    let compiled = system.compile(&machine)?;
    if compiled.bundle.is_empty() || compiled.explanation.is_empty() {
        return Err("the result is empty".into());
    }
    Ok(())
}
