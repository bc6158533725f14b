//! Every description of this repository is right for the machine that it asks for.

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Gic, System, system};

use crate::support::{Outcome, Topic};

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

fn compiles(file: &str, gic: Gic) -> Outcome {
    let system = System::find(file)?;
    let machine = system.machine()?.gic(gic);
    let compiled = system.compile(&machine)?;
    if compiled.bundle.is_empty() || compiled.explanation.is_empty() {
        return Err("the result is empty".into());
    }
    Ok(())
}
