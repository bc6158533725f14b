//! Properties of any text, any pauses and any room in the UART.

use super::{Board, MS};
use proptest::prelude::*;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// A partition's text, cut into the pieces in which it is written.
fn pieces() -> impl Strategy<Value = Vec<(usize, String, u64)>> {
    let piece = prop_oneof![
        "[a-z ]{1,30}\n",
        "[a-z ]{1,20}",
        "[a-z]{0,4}(\r\n|\n){1,3}",
        "([a-z]{1,8}\n){1,4}",
    ];
    proptest::collection::vec((0_usize..3, piece, prop_oneof![Just(0_u64), 0_u64..40]), 1..30)
}

proptest! {
    #[test]
    fn whatever_is_written_appears_once_in_order_under_the_right_name(
        pieces in pieces(),
        rooms in proptest::collection::vec(1_usize..80, 1..20),
    ) {
        let names = ["zero", "one", "two"];
        let mut board = Board::with(&names);
        let mut written = [const { String::new() }; 3];
        let mut rooms = rooms.iter().cycle();
        let mut seen = String::new();
        for (slot, text, pause) in &pieces {
            board.guest(*slot, text);
            written[*slot] += text;
            board.now += pause * MS;
            board.room = *rooms.next().unwrap();
            board.pump();
            seen += &String::from_utf8(core::mem::take(&mut board.wire)).unwrap();
        }
        board.room = usize::MAX;
        for _ in 0..10 {
            board.now += 200 * MS;
            board.pump();
        }
        seen += &String::from_utf8(core::mem::take(&mut board.wire)).unwrap();
        prop_assert!(!seen.replace("\r\n", "").contains(['\r', '\n']), "every line ends in CR LF");
        for (slot, name) in names.iter().enumerate() {
            let prefix = format!("{name}| ");
            let own: String = seen
                .split("\r\n")
                .filter_map(|line| line.strip_prefix(prefix.as_str()))
                .collect();
            prop_assert_eq!(own, written[slot].replace(['\r', '\n'], ""));
        }
        let nameless = seen.split("\r\n").find(|line| !line.is_empty() && !line.contains("| "));
        prop_assert_eq!(nameless, None);
    }

    #[test]
    fn complete_lines_of_unfocused_partitions_are_never_torn(
        lines in proptest::collection::vec((1_usize..4, "[a-z]{1,40}", 0_u64..30), 1..25),
    ) {
        let mut board = Board::with(&["focus", "one", "two", "three"]);
        let mut expected = Vec::new();
        for (slot, text, pause) in &lines {
            board.guest(*slot, &format!("{text}\n"));
            board.guest(0, "p");
            expected.push(format!("{}| {text}", ["focus", "one", "two", "three"][*slot]));
            board.now += pause * MS;
            board.room = 30;
            board.pump();
        }
        board.room = usize::MAX;
        for _ in 0..5 {
            board.now += 200 * MS;
            board.pump();
        }
        let seen = board.seen();
        let mut seen: Vec<String> =
            seen.lines().filter(|line| !line.starts_with("focus| ")).map(ToString::to_string).collect();
        seen.sort();
        expected.sort();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn no_input_and_no_output_of_any_kind_fails(
        steps in proptest::collection::vec((0_u8..4, any::<u8>(), 0_u64..50), 1..200),
    ) {
        let mut board = Board::with(&["a", "b", "c"]);
        for (kind, byte, pause) in steps {
            board.now = board.now.wrapping_add(pause * MS);
            match kind {
                0 => { let _typed = board.mux.input(board.now, byte); }
                1 => { board.ports[usize::from(byte & 1)].output.push(byte); }
                2 => { let _moved = board.mux.deliver(board.ports.as_slice()); }
                _ => { board.pump(); }
            }
        }
    }
}
