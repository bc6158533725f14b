//! What is typed, and who it is for: the focus, its keys, and queues that nobody reads.

use super::{Board, MS};
use crate::console::{Again, Focus, Typed};

#[test]
fn the_prefix_key_switches_the_focus_and_shows_it() {
    let mut board = Board::with(&["linux", "hello", "timer"]);
    assert_eq!(board.mux.focus(), Focus::Slot(0));
    board.type_text(b"\x01n");
    assert_eq!((board.mux.focus(), board.pumped().as_str()), (Focus::Slot(1), "[focus: hello]\n"));
    board.type_text(b"\x01n\x01n");
    assert_eq!(board.mux.focus(), Focus::Slot(0), "after the last comes the first");
    board.pumped();
    board.type_text(b"\x013");
    assert_eq!((board.mux.focus(), board.pumped().as_str()), (Focus::Slot(2), "[focus: timer]\n"));
    board.type_text(b"\x014");
    assert_eq!(board.mux.focus(), Focus::Slot(2));
    assert_eq!(board.pumped(), "[there is no console 4]\n");
    assert_eq!(board.type_text(b"\x01c"), [Typed::Done, Typed::OperatorFocused]);
    assert_eq!(board.pumped(), "[focus: operator console]\n");
    assert_eq!(board.type_text(b"l"), [Typed::Operator(b'l')]);
    board.type_text(b"\x01n");
    assert_eq!(board.mux.focus(), Focus::Slot(0));
}

#[test]
fn help_names_the_keys_and_the_consoles() {
    let mut board = Board::with(&["linux", "hello"]);
    board.type_text(b"\x01h");
    let seen = board.pumped();
    assert!(seen.contains("[console 1: linux (focus)]\n[console 2: hello]\n"), "{seen}");
    board.type_text(b"\x01z");
    assert_eq!(board.pumped(), "[Ctrl-A h shows the keys]\n");
}

#[test]
fn a_number_stays_with_its_partition_whoever_ends() {
    let mut board = Board::with(&["scos", "hello", "timer"]);
    board.mux.detach(0);
    board.mux.detach(1);
    board.pumped();
    assert!(!board.mux.is_attached(1));
    board.type_text(b"\x01c\x013");
    assert_eq!(board.mux.focus(), Focus::Slot(2));
    board.pumped();
    board.type_text(b"\x012\x01h");
    let seen = board.pumped();
    assert!(seen.starts_with("[there is no console 2]\n"), "{seen}");
    assert!(seen.ends_with("itself]\n[console 3: timer (focus)]\n"), "{seen}");
    // The next life has the number of the former one.
    board.mux.attach(1, "hello");
    board.type_text(b"\x012");
    assert_eq!(board.mux.focus(), Focus::Slot(1));
}

#[test]
fn typed_bytes_reach_the_focused_partition_in_order_and_no_other() {
    let mut board = Board::with(&["linux", "hello"]);
    let typed = "echo 0123456789 abcdefghijklmnopqrstuvwxyz\r";
    assert!(board.type_text(typed.as_bytes()).iter().all(|answer| *answer == Typed::Queued));
    assert_eq!(board.mux.deliver(board.ports.as_slice()), Some(0));
    assert!(board.ports[0].input_waits());
    assert_eq!(board.read_input(0), typed);
    assert!(!board.ports[0].input_waits());
    assert_eq!(board.read_input(1), "");
    board.type_text(b"\x01\x01\x01a");
    assert_eq!(board.read_input(0), "\x01\x01", "Ctrl-A twice, or a, sends Ctrl-A itself");
}

#[test]
fn a_partition_that_loses_the_focus_is_not_asked_to_ask_for_more() {
    let mut board = Board::with(&["a", "b"]);
    board.type_text(&[b'x'; 40]);
    assert_eq!(board.mux.deliver(board.ports.as_slice()), Some(0));
    assert!(board.ports[0].input_waits());
    board.type_text(b"\x01c");
    assert_eq!(board.mux.deliver(board.ports.as_slice()), None);
    assert!(!board.ports[0].input_waits());
}

#[test]
fn a_full_queue_leaves_bytes_in_the_uart_until_the_guest_reads() {
    let mut board = Board::with(&["linux"]);
    let mut typed = 0;
    while board.mux.accepts_input(board.now) {
        assert_eq!(board.mux.input(board.now, b'x'), Typed::Queued);
        typed += 1;
        assert!(typed <= 256);
    }
    assert_eq!(typed, 256);
    assert_eq!(board.pump(), Again::At(1000 * MS), "the wait is bounded");
    assert_eq!(board.read_input(0).len(), 256);
    assert!(board.mux.accepts_input(board.now));
    assert_eq!(board.pump(), Again::Idle);
}

#[test]
fn a_guest_that_never_reads_cannot_lock_the_operator_out() {
    let mut board = Board::with(&["deaf", "hello"]);
    while board.mux.accepts_input(board.now) {
        let _queued = board.mux.input(board.now, b'x');
        let _moved = board.mux.deliver(board.ports.as_slice());
    }
    board.now = 1000 * MS;
    assert!(board.mux.accepts_input(board.now));
    assert_eq!(board.type_text(b"yz"), [Typed::Done, Typed::Done]);
    assert_eq!(board.pumped(), "[what is typed is not read, and now thrown away]\n");
    board.type_text(b"\x01n");
    assert_eq!(board.pumped(), "[256 typed bytes were not read]\n[focus: hello]\n");
    board.type_text(b"ok");
    let _moved = board.mux.deliver(board.ports.as_slice());
    assert_eq!(board.read_input(1), "ok");
}

#[test]
fn when_the_machine_goes_off_the_focus_moves_without_a_word() {
    let mut board = Board::with(&["a", "b"]);
    board.mux.close_down();
    board.guest(0, "bye\n");
    board.mux.detach(0);
    board.mux.detach(1);
    assert_eq!(board.pumped(), "a| bye\n");
    assert_eq!(board.mux.focus(), Focus::Operator);
}
