//! Mappings, and the end of memory.

use libc::{MAP_PRIVATE, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};
use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

const DATA: i32 = PROT_READ | PROT_WRITE;

pub(crate) fn check() {
    mappings();
    limits();
    out_of_memory();
    cut_up();
    crate::hog::check();
}

fn mappings() {
    let start = os::map(3 * 4096, DATA, MAP_PRIVATE).unwrap();
    os::poke(start + 4096, 5);
    // Nothing is printed in between: the C library maps memory, too.
    let hole = os::unmap(start, 4096);
    let outside = os::protect(start, 4096, DATA);
    equal("a_hole_can_be_made", hole, Ok(()));
    equal("what_is_not_mapped_is_not_protected", outside, Err(libc::ENOMEM));
    equal("the_rest_stays", os::peek(start + 4096), 5);
    equal("protection_can_be_taken", os::protect(start + 4096, 4096, PROT_NONE), Ok(()));
    equal("and_given_back", os::protect(start + 4096, 4096, DATA), Ok(()));
    equal("nothing_is_lost", os::peek(start + 4096), 5);
    os::unmap(start + 4096, 2 * 4096).unwrap();
    let both = DATA | PROT_EXEC;
    equal("nothing_is_written_and_executed", os::map(4096, both, MAP_PRIVATE), Err(libc::EACCES));
}

fn limits() {
    equal("no_bytes_are_no_mapping", os::map(0, DATA, MAP_PRIVATE), Err(libc::EINVAL));
    equal("too_many_are_none", os::map(usize::MAX - 4096, DATA, MAP_PRIVATE), Err(libc::ENOMEM));
    let mut mapped = Vec::new();
    let refusal = loop {
        // Every other one has another protection, so that none is joined with its neighbour.
        let protection = if mapped.len() % 2 == 0 { DATA } else { PROT_READ };
        match os::map(4096, protection, MAP_PRIVATE) {
            Ok(start) => mapped.push(start),
            Err(error) => break error,
        }
        if mapped.len() > 100_000 {
            break 0;
        }
    };
    equal("there_is_an_end_to_mappings", refusal, libc::ENOMEM);
    holds("all_go_away", mapped.iter().rev().all(|start| os::unmap(*start, 4096).is_ok()));
}

/// A process that takes all memory is ended; its parent goes on with what it had.
fn out_of_memory() {
    let before = os::free_kib();
    let ended = os::end_of(|| {
        let start = os::map(1 << 30, DATA, MAP_PRIVATE).unwrap();
        for page in (0..1 << 30).step_by(4096) {
            os::poke(start + page, 1);
        }
        0
    });
    equal("who_takes_all_memory_is_ended", ended, Ok(Ended::Signal(libc::SIGKILL)));
    equal("and_all_of_it_comes_back", os::free_kib(), before);
    let ended = os::end_of(|| {
        let start = os::map(1 << 30, DATA, MAP_PRIVATE).unwrap();
        let (reader, writer) = os::pipe(0).unwrap();
        // The kernel itself touches the pages.
        for page in (0..1 << 30_u64).step_by(4096) {
            os::write(writer, b"x").unwrap();
            // SAFETY: the mapping is nobody else's.
            #[expect(unsafe_code, reason = "reads to where no slice is")]
            let answer = unsafe { os::call(63, [reader as u64, start as u64 + page, 1, 0, 0, 0]) };
            if answer != 1 {
                return i32::try_from(-answer).unwrap();
            }
        }
        0
    });
    equal("a_call_without_memory_is_enomem", ended, Ok(Ended::Exit(libc::ENOMEM)));
    equal("that_comes_back_as_well", os::free_kib(), before);
}

/// The kernel's own memory, cut up by small files and then asked for in large pieces: calls are refused, and that is all.
fn cut_up() {
    std::fs::create_dir("/tmp/cut").unwrap();
    let name = |number: u32| format!("/tmp/cut/{number}");
    let files =
        (0..20_000).take_while(|number| std::fs::write(name(*number), [1; 4000]).is_ok()).count();
    let files = u32::try_from(files).unwrap();
    holds("there_is_an_end_to_files", (100..20_000).contains(&files));
    let removed = (0..files).step_by(2).all(|number| std::fs::remove_file(name(number)).is_ok());
    holds("every_other_one_goes", removed);
    let ended = os::end_of(|| {
        let mut refused = 0;
        let mut pipes = Vec::new();
        while let Ok((reader, writer)) = os::pipe(libc::O_NONBLOCK) {
            let mut error = 0;
            while error == 0 {
                error = os::write(writer, &[2; 65536]).err().unwrap_or(0);
            }
            refused += i32::from(error == libc::ENOMEM);
            pipes.push(reader);
        }
        // What gives something back is never refused.
        let closed = pipes.iter().all(|reader| os::close(*reader).is_ok());
        i32::from(!closed || pipes.len() < 20) + 2 * i32::from(refused == 0 && pipes.len() < 120)
    });
    equal("large_pieces_are_refused_and_nothing_else", ended, Ok(Ended::Exit(0)));
    std::fs::remove_dir_all("/tmp/cut").unwrap();
    equal("and_then_there_is_room", std::fs::write("/tmp/room", [1; 4000]).map_err(drop), Ok(()));
}
