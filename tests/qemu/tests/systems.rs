//! Every description of this repository is right for the machine that it asks for, and those of the SDK's examples do what they say.

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
        topic
            .test(&format!("ping_pong_says_how_fast_it_is [gic{}]", gic.number()), move || {
                runs("ping-pong", gic, PING_PONG)
            })
            .test(&format!("pipeline_passes_each_picture_on [gic{}]", gic.number()), move || {
                runs("pipeline", gic, PIPELINE)
            })
            .test(&format!("kv_serves_two_clients [gic{}]", gic.number()), move || {
                runs("kv", gic, KV_ONE).and_then(|()| runs("kv", gic, KV_TWO))
            })
            .test(&format!("c_hello_says_what_it_does [gic{}]", gic.number()), move || {
                runs("c-hello", gic, C_HELLO)
            });
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

/// What `cargo xtask run ping-pong` shows, in this order.
const PING_PONG: &[&str] = &[
    "ping| an area of 2048 KiB goes to pong and back, 20000 times",
    "ping| 20000 round trips in ",
    "ping| moved 80000 MiB in all, and copied not one byte",
];

/// The same of `pipeline`: each picture comes through all three, and the ball is further to the right in each.
const PIPELINE: &[&str] = &[
    "camera| drew picture 1",
    "filter| inverted a picture",
    "display| #.........##############",
    "camera| drew picture 2",
    "filter| inverted a picture",
    "display| ######.........#########",
    "camera| drew picture 3",
    "filter| inverted a picture",
    "display| ###########.........####",
];

/// The same of one of `kv`'s clients, with its partition's id as its key.
const KV_ONE: &[&str] = &[
    "one| kv: put(2, 200) = Ok(Ok(None))",
    "one| kv: get(2) = Ok(Some(200))",
    "one| kv: 1000 of 1000 rounds of put and get were right",
    "one| kv: 8 calls at a time: 8 answers",
    "server| kv: nobody is left",
];

/// And of the other.
const KV_TWO: &[&str] = &[
    "two| kv: put(3, 300) = Ok(Ok(None))",
    "two| kv: get(3) = Ok(Some(300))",
    "two| kv: 1000 of 1000 rounds of put and get were right",
    "two| kv: 8 calls at a time: 8 answers",
];

/// What the guest in C prints, which it computes from what the calls answer.
const C_HELLO: &[&str] = &[
    "c: hello from partition 1 with 1 vCPU",
    "c: an event, sent twice: was pending 0, then 1; polled 1",
    "c: an area of 2 pages: it summed up to 0, and sums up to 523776",
    "c: memory: 512 pages in use, 514 at most so far",
    "has ended: it powered itself off",
];

/// As `cargo xtask run NAME`: the machine powers itself off, and these lines have come in this order.
fn runs(name: &str, gic: Gic, lines: &[&str]) -> Outcome {
    let system = System::find(name)?;
    let mut running = system.boot(&system.machine()?.gic(gic))?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let mut rest = console.as_str();
    for line in lines {
        match rest.split_once(line) {
            Some((_, behind)) => rest = behind,
            None => return Err(running.failure(format!("no {line:?} in:\n{console}")).into()),
        }
    }
    Ok(())
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
