//! Files, directories, pipes and descriptors, through std where std has them.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

pub(crate) fn check() {
    contents();
    folders();
    devices();
    pipes();
    descriptors();
    full();
}

fn contents() {
    fs::write("/tmp/a", "one two").unwrap();
    let mut file = OpenOptions::new().read(true).append(true).open("/tmp/a").unwrap();
    file.write_all(b" three").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    equal("a_file_is_appended_to_and_read", text.as_str(), "two three");
    file.set_len(3).unwrap();
    equal("it_is_cut", fs::read_to_string("/tmp/a").unwrap().as_str(), "one");
    equal("its_length_is_told", fs::metadata("/tmp/a").unwrap().len(), 3);
    let long: Vec<u8> = (0..300_000_u32).map(|n| (n % 253) as u8).collect();
    fs::write("/tmp/long", &long).unwrap();
    holds("a_long_file_comes_back", fs::read("/tmp/long").unwrap() == long);
    let missing = File::open("/tmp/missing").map_err(|error| error.kind());
    equal("a_missing_file_is_not_found", missing.unwrap_err(), ErrorKind::NotFound);
    fs::remove_file("/tmp/long").unwrap();
}

fn folders() {
    fs::create_dir_all("/tmp/d/e/f").unwrap();
    fs::write("/tmp/d/e/x", "x").unwrap();
    fs::rename("/tmp/d/e/x", "/tmp/d/y").unwrap();
    std::os::unix::fs::symlink("y", "/tmp/d/link").unwrap();
    equal("a_link_is_followed", fs::read_to_string("/tmp/d/link").unwrap().as_str(), "x");
    let mut names: Vec<String> = fs::read_dir("/tmp/d")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    equal("a_folder_is_listed", names.join(" ").as_str(), "e link y");
    std::env::set_current_dir("/tmp/d/e").unwrap();
    equal(
        "the_working_folder_is_told",
        std::env::current_dir().unwrap().display().to_string().as_str(),
        "/tmp/d/e",
    );
    equal("paths_begin_there", fs::read_to_string("../y").unwrap().as_str(), "x");
    std::env::set_current_dir("/").unwrap();
    fs::remove_dir_all("/tmp/d").unwrap();
    holds("all_of_it_goes", fs::metadata("/tmp/d").is_err());
}

fn devices() {
    let mut zeros = [1; 100];
    File::open("/dev/zero").unwrap().read_exact(&mut zeros).unwrap();
    holds("zero_is_zero", zeros == [0; 100]);
    equal("null_is_empty", fs::read("/dev/null").unwrap().len(), 0);
}

fn pipes() {
    let (reader, writer) = os::pipe(libc::O_NONBLOCK).unwrap();
    equal("an_empty_pipe_is_eagain", os::read(reader, &mut [0]), Err(libc::EAGAIN));
    let mut filled = 0;
    let full = loop {
        match os::write(writer, &[1; 4096]) {
            Ok(count) => filled += count,
            Err(error) => break error,
        }
    };
    equal("a_full_pipe_is_eagain", full, libc::EAGAIN);
    equal("it_holds_64_kib", filled, 65536);
    os::close(writer).unwrap();
    let mut taken = 0;
    while let Ok(count @ 1..) = os::read(reader, &mut [0; 5000]) {
        taken += count;
    }
    equal("what_was_written_is_read", taken, 65536);
    equal("and_then_comes_the_end", os::read(reader, &mut [0]), Ok(0));
    let (reader, writer) = os::pipe(0).unwrap();
    os::close(reader).unwrap();
    // std ignores SIGPIPE.
    equal("nobody_reads_is_epipe", os::write(writer, b"x"), Err(libc::EPIPE));
    let ended = os::end_of(|| {
        os::ignore(libc::SIGPIPE, false).unwrap();
        os::write(writer, b"x").map_or(1, |_| 2)
    });
    equal("or_the_end_by_sigpipe", ended, Ok(Ended::Signal(libc::SIGPIPE)));
    blocked();
}

/// A reader and a writer that wait for each other.
fn blocked() {
    let (reader, writer) = os::pipe(0).unwrap();
    let child = os::in_child(|| {
        os::close(reader).unwrap();
        let all = [7; 200_000];
        let mut rest = &all[..];
        while !rest.is_empty() {
            match os::write(writer, rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => return error,
            }
        }
        0
    });
    os::close(writer).unwrap();
    let mut taken = 0;
    while let Ok(count @ 1..) = os::read(reader, &mut [0; 3000]) {
        taken += count;
    }
    equal("a_writer_waits_for_its_reader", taken, 200_000);
    equal("and_ends", os::wait(child.unwrap(), 0).unwrap().1, Ended::Exit(0));
    os::close(reader).unwrap();
}

fn descriptors() {
    let mut opened = Vec::new();
    let refusal = loop {
        match File::open("/dev/null") {
            Ok(file) => opened.push(file),
            Err(error) => break error.raw_os_error(),
        }
        if opened.len() > 2000 {
            break None;
        }
    };
    equal("too_many_descriptors_are_emfile", refusal, Some(libc::EMFILE));
    drop(opened);
    holds("and_one_can_be_opened_again", File::open("/dev/null").is_ok());
    equal("a_bad_descriptor_is_ebadf", os::read(200, &mut [0]), Err(libc::EBADF));
    equal("and_so_is_a_negative_one", os::close(-1), Err(libc::EBADF));
}

/// Files cannot take the memory that the kernel needs.
fn full() {
    let mut file = File::create("/tmp/full").unwrap();
    let block = vec![1; 1 << 16];
    let mut written = 0_u64;
    let refusal = loop {
        match file.write(&block) {
            Ok(count) => written += count as u64,
            Err(error) => break error.raw_os_error(),
        }
        if written > 1 << 32 {
            break None;
        }
    };
    holds("a_full_file_system_is_enospc", matches!(refusal, Some(libc::ENOSPC | libc::ENOMEM)));
    holds("it_held_a_megabyte_at_least", written >= 1 << 20);
    drop(file);
    fs::remove_file("/tmp/full").unwrap();
    fs::write("/tmp/full", "again").unwrap();
    equal("and_there_is_room_again", fs::read_to_string("/tmp/full").unwrap().as_str(), "again");
}
