//! Preemption: nobody has to give up the core for others to have their turn.

use std::time::{Duration, Instant};

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

pub(crate) fn check() {
    let spinning = os::in_child(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    let spinning = spinning.unwrap();
    std::thread::sleep(Duration::from_millis(50));
    os::kill(spinning, libc::SIGKILL).unwrap();
    let ended = os::wait(spinning, 0);
    equal("a_spinning_process_is_preempted_and_killed", ended, Ok((spinning, Ended::Signal(9))));
    all_have_turns();
}

/// Three processes spin at once; each counts in shared memory, and keeps its vectors.
fn all_have_turns() {
    let shared = os::map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).unwrap();
    let children: Vec<i32> = (0..3)
        .map(|index| {
            let child = os::in_child(|| {
                let is_over = || os::peek(shared + 64) != 0;
                let count = || os::poke(shared + index, os::peek(shared + index).saturating_add(1));
                let kept = os::keeps_vectors(|| {
                    count();
                    is_over()
                });
                i32::from(!kept)
            });
            child.unwrap()
        })
        .collect();
    let start = Instant::now();
    // Without sleeping: this one spins, too.
    while (0..3).any(|index| os::peek(shared + index) < 100)
        && start.elapsed() < Duration::from_secs(60)
    {
        std::hint::spin_loop();
    }
    holds("all_have_their_turns", (0..3).all(|index| os::peek(shared + index) >= 100));
    os::poke(shared + 64, 1);
    let kept = children.iter().all(|child| os::wait(*child, 0) == Ok((*child, Ended::Exit(0))));
    holds("each_keeps_its_vectors", kept);
}
