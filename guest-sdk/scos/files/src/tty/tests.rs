//! The terminal as somebody who types and a program that reads see it.

use super::Terminal;
use crate::abi::ioctl::{
    FIONREAD, TCFLSH, TCGETS, TCSETS, TIOCGPGRP, TIOCGWINSZ, TIOCSPGRP, TIOCSWINSZ,
};
use crate::abi::poll::{POLLIN, POLLOUT};
use crate::abi::termios::{ECHO, ICANON, IEXTEN, ISIG, NOFLSH, OPOST, Termios, VMIN, VTIME};
use crate::wakes::Wakes;
use crate::{Errno, Now, Signal, Step};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

struct Desk {
    terminal: Terminal,
    wakes: Wakes,
    now: Now,
}

impl Desk {
    fn new() -> Self {
        let mut wakes = Wakes::default();
        let mut terminal = Terminal::new(&mut wakes);
        terminal.set_owner(5, 7);
        Self { terminal, wakes, now: Now::default() }
    }

    fn with(change: impl FnOnce(&mut Termios)) -> Self {
        let mut desk = Self::new();
        let mut modes = Termios::new();
        change(&mut modes);
        desk.control(TCSETS, 0, &mut modes.to_bytes()).unwrap();
        desk
    }

    fn typed(&mut self, bytes: &[u8]) -> &mut Self {
        self.terminal.receive(bytes, &mut self.wakes);
        self
    }

    /// What a read of at most `most` bytes gives; none if it waits.
    fn read(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; most];
        match self.terminal.read(&mut out, self.now).unwrap() {
            Step::Done(count) => Some(out[..count].to_vec()),
            Step::Wait(key) => {
                assert_eq!(Some(key), self.terminal.keys()[0]);
                None
            }
        }
    }

    fn shown(&mut self) -> String {
        let mut out = vec![0; 65_536];
        let count = self.terminal.output(&mut out, &mut self.wakes);
        String::from_utf8_lossy(&out[..count]).into_owned()
    }

    fn control(&mut self, request: u32, argument: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.terminal.control(request, argument, data, &mut self.wakes)
    }
}

#[test]
fn a_line_is_read_when_it_is_complete_and_one_at_a_time() {
    let mut desk = Desk::new();
    assert_eq!(desk.typed(b"one").read(99), None);
    assert_eq!(desk.terminal.ready() & POLLIN, 0);
    desk.typed(b"\rtwo\n");
    assert_eq!(desk.terminal.ready() & POLLIN, POLLIN);
    assert_eq!(desk.read(99).unwrap(), b"one\n");
    assert_eq!(desk.read(2).unwrap(), b"tw");
    assert_eq!(desk.read(99).unwrap(), b"o\n");
    assert_eq!(desk.read(99), None);
    assert_eq!(desk.shown(), "one\r\ntwo\r\n");
}

#[test]
fn erase_word_erase_and_kill_edit_the_line_and_the_screen() {
    let mut desk = Desk::new();
    assert_eq!(desk.typed(b"ab\x7fc\n").read(99).unwrap(), b"ac\n");
    assert_eq!(desk.shown(), "ab\x08 \x08c\r\n");
    assert_eq!(desk.typed(b"one two  \x17x\n").read(99).unwrap(), b"one x\n");
    desk.shown();
    assert_eq!(desk.typed(b"ab\x15x\n").read(99).unwrap(), b"x\n");
    assert_eq!(desk.shown(), "ab\x08 \x08\x08 \x08x\r\n");
    assert_eq!(desk.typed(b"\x7f\x17\x15\n").read(99).unwrap(), b"\n");
}

#[test]
fn erase_takes_back_as_many_columns_as_were_shown() {
    let mut desk = Desk::new();
    desk.typed(b"\x01\x7f");
    assert_eq!(desk.shown(), "^A\x08 \x08\x08 \x08");
    desk.typed("é\x7f".as_bytes());
    assert_eq!(desk.shown(), "é\x08 \x08");
    desk.typed(b"abc\t\x7f");
    assert_eq!(desk.shown(), String::from("abc\t") + &"\x08 \x08".repeat(5));
    assert_eq!(desk.typed(b"\n").read(9).unwrap(), b"abc\n");
}

#[test]
fn end_of_file_gives_what_was_typed_and_nothing_else_ends_the_file() {
    let mut desk = Desk::new();
    assert_eq!(desk.typed(b"ab\x04").read(99).unwrap(), b"ab");
    assert_eq!(desk.read(99), None);
    assert_eq!(desk.typed(b"\x04").read(99).unwrap(), b"");
    assert_eq!(desk.read(99), None);
}

#[test]
fn interrupt_goes_to_the_foreground_group_and_discards_what_waits() {
    let mut desk = Desk::new();
    desk.typed(b"line\nrest\x03");
    assert_eq!(desk.terminal.signal(), Some(Signal { group: 7, number: 2 }));
    assert_eq!((desk.terminal.signal(), desk.read(99)), (None, None));
    assert!(desk.shown().ends_with("^C"));
    desk.control(TIOCSPGRP, 0, &mut 9_u32.to_le_bytes()).unwrap();
    desk.typed(b"\x1c\x1a\x1a");
    assert_eq!(desk.terminal.signal(), Some(Signal { group: 9, number: 3 }));
    assert_eq!(desk.terminal.signal(), Some(Signal { group: 9, number: 20 }));
    assert_eq!(desk.terminal.signal(), None);
}

#[test]
fn signals_keep_what_waits_with_noflsh_and_are_bytes_without_isig() {
    let mut desk = Desk::with(|modes| modes.local |= NOFLSH);
    assert_eq!(desk.typed(b"a\x03b\n").read(9).unwrap(), b"ab\n");
    let mut desk = Desk::with(|modes| modes.local &= !ISIG);
    assert_eq!(desk.typed(b"a\x03\n").read(9).unwrap(), b"a\x03\n");
    assert_eq!(desk.terminal.signal(), None);
}

#[test]
fn the_next_byte_is_literal_after_lnext_and_reprint_shows_the_line_again() {
    let mut desk = Desk::new();
    assert_eq!(desk.typed(b"\x16\x03\x16\x04\n").read(9).unwrap(), b"\x03\x04\n");
    desk.shown();
    desk.typed(b"ab\x12");
    assert_eq!(desk.shown(), "ab^R\r\nab");
}

#[test]
fn output_is_held_back_by_stop_and_goes_on_by_start() {
    let mut desk = Desk::new();
    desk.typed(b"\x13");
    assert_eq!(desk.terminal.write(b"text"), Ok(Step::Done(4)));
    assert_eq!(desk.shown(), "");
    assert_eq!(desk.typed(b"\x11").shown(), "text");
}

#[test]
fn raw_mode_gives_bytes_at_once() {
    let mut desk = Desk::with(|modes| modes.local &= !(ICANON | ECHO));
    assert_eq!(desk.read(9), None);
    assert_eq!(desk.typed(b"a\x7f").read(9).unwrap(), b"a\x7f");
    assert_eq!(desk.shown(), "");
    let mut desk = Desk::with(|modes| {
        modes.local &= !ICANON;
        modes.characters[VMIN] = 3;
    });
    assert_eq!(desk.typed(b"ab").read(9), None);
    assert_eq!(desk.read(2).unwrap(), b"ab");
    assert_eq!(desk.typed(b"abcd").read(9).unwrap(), b"abcd");
}

#[test]
fn raw_mode_without_vmin_waits_as_long_as_vtime_says() {
    let mut desk = Desk::with(|modes| {
        modes.local &= !ICANON;
        modes.characters[VMIN] = 0;
    });
    assert_eq!(desk.read(9).unwrap(), b"");
    let mut desk = Desk::with(|modes| {
        modes.local &= !ICANON;
        modes.characters[VMIN] = 0;
        modes.characters[VTIME] = 2;
    });
    assert_eq!((desk.read(9), desk.terminal.alarm()), (None, Some(200_000_000)));
    desk.now.monotonic_ns = 200_000_000;
    desk.terminal.pass(desk.now, &mut desk.wakes);
    assert_eq!((desk.wakes.take(), desk.read(9)), (desk.terminal.keys()[0], Some(vec![])));
    assert_eq!((desk.read(9), desk.terminal.alarm()), (None, Some(400_000_000)));
    assert_eq!(desk.typed(b"x").read(9).unwrap(), b"x");
    assert_eq!(desk.terminal.alarm(), None);
}

#[test]
fn what_keys_without_a_letter_send_is_no_part_of_a_line() {
    // Left, delete, F1 (application mode), page up with shift, and a lone ESC.
    for keys in ["\x1b[D", "\x1b[3~", "\x1bOP", "\x1b[5;2~", "\x1b", "\x1b\x1b[C"] {
        let mut desk = Desk::new();
        desk.typed(format!("a{keys}bA\n").as_bytes());
        assert_eq!(desk.read(99).unwrap(), b"abA\n", "{keys:?}");
        assert_eq!(desk.shown(), "abA\r\n", "{keys:?}");
    }
    // Behind VLNEXT, and where nobody edits, they are letters.
    let mut desk = Desk::new();
    assert_eq!(desk.typed(b"\x16\x1b[D\n").read(99).unwrap(), b"\x1b[D\n");
    let mut plain = Desk::with(|modes| modes.local &= !IEXTEN);
    assert_eq!(plain.typed(b"\x1b[A\n").read(99).unwrap(), b"\x1b[A\n");
    let mut raw = Desk::with(|modes| modes.local &= !ICANON);
    assert_eq!(raw.typed(b"\x1b[A").read(99).unwrap(), b"\x1b[A");
    // A line's end within one, and a signal, end it.
    let mut desk = Desk::new();
    assert_eq!(desk.typed(b"a\x1b[1\n").read(99).unwrap(), b"a\n");
    assert_eq!(desk.typed(b"\x1b\x03[b\n").read(99).unwrap(), b"[b\n");
}

#[test]
fn the_key_up_brings_the_line_before_back_and_it_can_be_edited() {
    const UP: &[u8] = b"\x1b[A";
    let mut desk = Desk::new();
    assert_eq!(desk.typed(UP).typed(b"ls\n").read(99).unwrap(), b"ls\n", "there is none yet");
    desk.shown();
    desk.typed(b"half").typed(UP);
    assert_eq!(desk.shown(), "half\x08 \x08\x08 \x08\x08 \x08\x08 \x08ls");
    assert_eq!(desk.typed(b"\x7fx\n").read(99).unwrap(), b"lx\n");
    // An empty line is none; and again it is the same one.
    desk.typed(b"\n").typed(UP).typed(UP).typed(b"\n");
    assert_eq!(
        (desk.read(99).unwrap(), desk.read(99).unwrap()),
        (b"\n".to_vec(), b"lx\n".to_vec())
    );
    // What was typed unseen is not shown.
    let mut modes = Termios::new();
    modes.local &= !ECHO;
    desk.control(TCSETS, 0, &mut modes.to_bytes()).unwrap();
    desk.typed(b"secret\n");
    desk.control(TCSETS, 0, &mut Termios::new().to_bytes()).unwrap();
    desk.typed(UP).typed(b"\n");
    assert_eq!(
        (desk.read(99).unwrap(), desk.read(99).unwrap()),
        (b"secret\n".to_vec(), b"lx\n".to_vec())
    );
}

#[test]
fn a_change_of_modes_keeps_what_was_typed() {
    let mut desk = Desk::new();
    let (mut raw, mut cooked) = (Termios::new(), Termios::new());
    raw.local &= !ICANON;
    desk.typed(b"ab\ncd").control(TCSETS, 0, &mut raw.to_bytes()).unwrap();
    assert_eq!(desk.read(4).unwrap(), b"ab\nc");
    desk.control(TCSETS, 0, &mut cooked.to_bytes()).unwrap();
    assert_eq!(desk.read(9).unwrap(), b"d");
    let mut bytes = [0; 36];
    desk.control(TCGETS, 0, &mut bytes).unwrap();
    cooked = Termios::from_bytes(&bytes);
    assert_eq!(cooked, Termios::new());
}

#[test]
fn controls_check_what_they_get() {
    let mut desk = Desk::new();
    let mut four = [0; 4];
    desk.typed(b"abc\n");
    desk.control(FIONREAD, 0, &mut four).unwrap();
    assert_eq!(four, [4, 0, 0, 0]);
    desk.control(TIOCGPGRP, 0, &mut four).unwrap();
    assert_eq!(four, [7, 0, 0, 0]);
    assert_eq!(desk.control(TIOCSPGRP, 0, &mut [0xff; 4]), Err(Errno::EINVAL));
    assert_eq!(desk.control(TCFLSH, 3, &mut []), Err(Errno::EINVAL));
    assert_eq!(desk.control(0x5499, 0, &mut four), Err(Errno::ENOTTY));
    assert_eq!(desk.control(TCGETS, 0, &mut four), Err(Errno::EFAULT));
    assert_eq!(desk.control(TCFLSH, 0, &mut []), Ok(()));
    assert_eq!(desk.read(9), None);
    let mut window = [0; 8];
    desk.control(TIOCGWINSZ, 0, &mut window).unwrap();
    assert_eq!(window, [24, 0, 80, 0, 0, 0, 0, 0]);
    window[0] = 50;
    desk.control(TIOCSWINSZ, 0, &mut window).unwrap();
    assert_eq!(desk.terminal.signal(), Some(Signal { group: 7, number: 28 }));
}

#[test]
fn nothing_that_is_typed_or_written_takes_more_room_than_there_is() {
    let mut desk = Desk::new();
    desk.typed(&[b'x'; 10_000]).typed(b"\n");
    assert_eq!(desk.read(10_000).unwrap().len(), 4096);
    desk.typed(&[4; 10_000]);
    let ends = core::iter::from_fn(|| desk.read(9)).count();
    assert_eq!(ends, 256);
    desk.shown();
    let written = desk.terminal.write(&[b'y'; 100_000]);
    assert_eq!(written, Ok(Step::Done(16_383)));
    assert_eq!(desk.terminal.ready() & POLLOUT, 0);
    assert_eq!(desk.terminal.write(b"z"), Ok(Step::Wait(desk.terminal.keys()[1].unwrap())));
    while desk.wakes.take().is_some() {}
    desk.shown();
    assert_eq!(desk.wakes.take(), desk.terminal.keys()[1]);
}

#[test]
fn output_is_as_it_is_without_opost() {
    let mut desk = Desk::with(|modes| modes.output &= !OPOST);
    desk.terminal.write(b"a\nb").unwrap();
    assert_eq!(desk.shown(), "a\nb");
}

proptest! {
    /// Without special characters, what is read is what was typed, whole lines in order.
    #[test]
    fn lines_come_as_they_were_typed(
        lines in prop::collection::vec("[a-z ]{0,30}", 0..20),
        most in 1..50_usize,
    ) {
        let mut desk = Desk::new();
        let typed: String = lines.iter().map(|line| line.clone() + "\n").collect();
        desk.typed(typed.as_bytes());
        let mut read = Vec::new();
        while let Some(bytes) = desk.read(most) {
            prop_assert!(!bytes[..bytes.len() - 1].contains(&b'\n'));
            read.extend(bytes);
        }
        prop_assert_eq!(read, typed.into_bytes());
    }

    /// Whatever is typed in whatever mode, nothing fails, and what waits is bounded.
    #[test]
    fn any_bytes_in_any_mode_are_taken(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        modes in prop::array::uniform32(any::<u8>()),
    ) {
        let mut desk = Desk::with(|new| {
            let mut bytes = new.to_bytes();
            bytes[..32].copy_from_slice(&modes);
            *new = Termios::from_bytes(&bytes);
        });
        for part in bytes.chunks(7) {
            desk.typed(part);
            desk.read(5);
        }
        prop_assert!(desk.terminal.input.len() + desk.terminal.line.len() <= super::INPUT);
    }
}
