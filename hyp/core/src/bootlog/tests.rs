//! Tests of the boot log.

use super::{BootLog, Checkpoint, LOG_BYTES, plural};
use std::string::String;
use std::vec::Vec;

fn kept(log: &BootLog) -> String {
    let (first, second) = log.kept();
    let mut bytes = first.to_vec();
    bytes.extend_from_slice(second);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_checkpoint_is_printed_with_its_number_and_kept() {
    let mut log = BootLog::new();
    let mut printed = Vec::new();
    log.checkpoint(Checkpoint::Entered, format_args!("EL{}", 2), &mut |byte| printed.push(byte));
    log.checkpoint(Checkpoint::FirstStart, format_args!(""), &mut |byte| printed.push(byte));
    log.line(format_args!("4 core{}, 1 bundle{}", plural(4), plural(1)), &mut |byte| {
        printed.push(byte)
    });
    let expected = "shikiri: [01] entered (EL2)\nshikiri: [11] first partition started\n\
                    shikiri: 4 cores, 1 bundle\n";
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
    assert_eq!(kept(&log), expected);
    assert_eq!(log.last(), Some(Checkpoint::FirstStart));
    assert_eq!(log.lost(), 0);
}

#[test]
fn numbers_rise_from_1_without_a_gap_so_that_the_missing_step_is_the_next() {
    let numbers: Vec<u8> = Checkpoint::ALL.iter().map(|step| step.number()).collect();
    let expected: Vec<u8> = (1..).take(Checkpoint::ALL.len()).collect();
    assert_eq!(numbers, expected);
    assert!(
        Checkpoint::ALL.iter().all(|step| !step.text().is_empty() && step.if_last().ends_with('.'))
    );
}

#[test]
fn the_newest_bytes_stay_when_the_log_is_full() {
    let mut log = BootLog::new();
    assert_eq!(log.last(), None);
    for number in 0..1000 {
        log.line(format_args!("line {number}"), &mut |_| {});
    }
    let text = kept(&log);
    assert_eq!(text.len(), LOG_BYTES);
    assert!(text.ends_with("shikiri: line 998\nshikiri: line 999\n"));
    let total: usize = (0..1000).map(|n| std::format!("shikiri: line {n}\n").len()).sum();
    assert_eq!(log.lost(), u64::try_from(total - LOG_BYTES).unwrap());
}

#[test]
fn a_log_that_is_exactly_full_has_lost_nothing() {
    let mut log = BootLog::new();
    for _ in 0..LOG_BYTES / 16 {
        log.line(format_args!("123456"), &mut |_| {});
    }
    assert_eq!((kept(&log).len(), log.lost()), (LOG_BYTES, 0));
    log.line(format_args!(""), &mut |_| {});
    assert_eq!(log.lost(), 10);
    assert!(kept(&log).starts_with("23456\n"));
}

#[test]
fn the_header_lies_where_a_debugger_expects_it() {
    assert_eq!(core::mem::offset_of!(BootLog, magic), 0);
    assert_eq!(core::mem::offset_of!(BootLog, written), 16);
    assert_eq!(core::mem::offset_of!(BootLog, ring), 32);
    let mut log = BootLog::new();
    assert_eq!(log.magic, 0);
    log.line(format_args!("x"), &mut |_| {});
    assert_eq!((log.magic, log.version, log.size), (super::LOG_MAGIC, 1, 4096));
}

#[test]
fn the_manual_has_a_row_for_each_checkpoint() {
    let page = include_str!("../../../doc/boot.md");
    for step in Checkpoint::ALL {
        let row = std::format!("| {} | {} | {} |\n", step.number(), step.text(), step.if_last());
        assert!(page.contains(&row), "{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows, Checkpoint::ALL.len() + 2 + 8, "no row too many");
}
