//! Processes: fork, exec, wait.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

pub(crate) fn check() {
    equal("a_child_ends_with_its_status", os::end_of(|| 7), Ok(Ended::Exit(7)));
    equal("who_has_no_child_is_told", os::wait(-1, 0), Err(libc::ECHILD));
    copies();
    no_hang();
    programs();
    script();
    cycles();
    descendants();
}

/// What a child writes its parent does not see.
fn copies() {
    let mut numbers = vec![1_u32; 10_000];
    let child = os::end_of(|| {
        let seen = numbers.iter().sum::<u32>();
        numbers.fill(2);
        i32::from(seen == 10_000 && numbers.iter().sum::<u32>() == 20_000)
    });
    equal("a_child_has_a_copy", child, Ok(Ended::Exit(1)));
    equal("and_its_parent_keeps_its_own", numbers.iter().sum(), 10_000_u32);
}

fn no_hang() {
    let (reader, writer) = os::pipe(0).unwrap();
    let child = os::in_child(|| {
        let mut byte = [0];
        i32::from(os::read(reader, &mut byte) != Ok(1))
    });
    let child = child.unwrap();
    equal("wnohang_does_not_wait", os::wait(child, libc::WNOHANG), Ok((0, Ended::Not)));
    os::write(writer, b"x").unwrap();
    equal("and_then_the_child_ends", os::wait(child, 0), Ok((child, Ended::Exit(0))));
    equal("it_is_waited_for_once", os::wait(child, 0), Err(libc::ECHILD));
}

fn programs() {
    let output = Command::new(beside("hello")).arg("x y").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    equal("a_program_gets_its_arguments", text.as_str(), "hello from a std program [\"x y\"]\n");
    let missing = Command::new(beside("nothing")).status().map_err(|error| error.raw_os_error());
    equal("a_missing_program_is_enoent", missing.unwrap_err(), Some(libc::ENOENT));
    let file = Command::new("/dev/null").status().map_err(|error| error.raw_os_error());
    equal("what_is_no_program_is_eacces", file.unwrap_err(), Some(libc::EACCES));
    let mut child =
        Command::new(beside("cat")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[b'z'; 100_000]).unwrap();
    let output = child.wait_with_output().unwrap();
    equal("a_program_copies_through_pipes", output.stdout.len(), 100_000);
}

fn script() {
    std::fs::write("/tmp/script", format!("#!{} word\n", beside("hello"))).unwrap();
    std::fs::set_permissions("/tmp/script", std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("/tmp/script").arg("more").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "hello from a std program [\"word\", \"/tmp/script\", \"more\"]\n";
    equal("a_script_runs_its_interpreter", text.as_str(), expected);
    std::fs::write("/tmp/script", "\x7fELF nonsense").unwrap();
    let damaged = Command::new("/tmp/script").status().map_err(|error| error.raw_os_error());
    equal("a_damaged_program_is_enoexec", damaged.unwrap_err(), Some(libc::ENOEXEC));
}

/// A hundred lives leave nothing behind.
fn cycles() {
    let cycle = || {
        let ended = os::end_of(|| 0);
        ended == Ok(Ended::Exit(0))
            && Command::new(beside("true")).status().is_ok_and(|s| s.success())
    };
    holds("a_first_cycle", cycle());
    let before = os::free_kib();
    holds("a_hundred_cycles", (0..100).all(|_| cycle()));
    equal("they_leave_no_memory_behind", os::free_kib(), before);
}

/// Grandchildren whose parent has ended, and as many processes as there can be.
fn descendants() {
    let ended = os::end_of(|| {
        let made = (0..5).all(|_| os::in_child(|| 0).is_ok());
        i32::from(!made)
    });
    equal("a_parent_may_end_first", ended, Ok(Ended::Exit(0)));
    // A child whose end is told by SIGSTOP, and whose parent ends before it: the first program must not be stopped by it.
    let ended = os::end_of(|| {
        let (reader, writer) = os::pipe(0).unwrap();
        // Read to its end when the parent has ended, which has the only other writer.
        let outlive = || {
            os::close(writer).unwrap();
            os::read(reader, &mut [0]).unwrap();
        };
        i32::from(os::fork_with(libc::SIGSTOP, outlive).is_err())
    });
    equal("another_signal_may_tell_of_an_end", ended, Ok(Ended::Exit(0)));
    let (reader, writer) = os::pipe(0).unwrap();
    let mut children = Vec::new();
    let refusal = loop {
        match os::in_child(|| os::read(reader, &mut [0]).map_or(1, |_| 0)) {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        if children.len() > 1000 {
            break 0;
        }
    };
    holds("there_is_an_end_to_forks", refusal == libc::EAGAIN || refusal == libc::ENOMEM);
    os::write(writer, &vec![b'x'; children.len()]).unwrap();
    let all = children.iter().all(|child| os::wait(*child, 0) == Ok((*child, Ended::Exit(0))));
    holds("and_all_of_them_end", all && children.len() > 20);
}

/// A program that lies where this one lies.
pub(crate) fn beside(name: &str) -> String {
    let own = std::env::args().next().unwrap_or_default();
    let folder = own.rsplit_once('/').map_or("/bin", |(folder, _)| folder);
    format!("{folder}/{name}")
}
