//! Tests of the report: the exact text.

use super::{ExitRecord, ExitReport, ExitRing, Place, ProcessorState, Registers, Syndrome};
use shikiri_abi::{CoreId, Ipa, Pa, PartitionId, VcpuIndex};
use shikiri_stage2::{Attributes, Leaf, Level, Step, Walk, WalkEnd};
use std::format;
use std::string::ToString;

/// A store of 4 bytes from x3, translation fault at level 2.
const STORE: u64 = (0x24 << 26) | (1 << 25) | (1 << 24) | (2 << 22) | (3 << 16) | (1 << 6) | 6;

fn registers() -> Registers {
    let mut x = [0; 31];
    for (value, number) in x.iter_mut().zip(0..) {
        *value = number;
    }
    Registers {
        x,
        pc: 0x4008_0124,
        spsr: 0x6000_03c5,
        sp_el1: 0x4010_0000,
        vbar_el1: 0x4008_0800,
        sctlr_el1: 0x30d0_1805,
        ..Registers::default()
    }
}

fn hole() -> Walk {
    Walk {
        ipa: Ipa(0x5000_0018),
        steps: [
            Some(Step { level: Level::One, at: Pa(0x7f00_0008), descriptor: 0x7f00_2003 }),
            Some(Step { level: Level::Two, at: Pa(0x7f00_2400), descriptor: 0 }),
            None,
        ],
        end: WalkEnd::Hole(Level::Two),
    }
}

fn report<'a>(registers: &'a Registers, exits: &'a ExitRing, walk: Walk) -> ExitReport<'a> {
    ExitReport {
        partition: "crash",
        id: PartitionId(3),
        vcpu: VcpuIndex(1),
        core: Some(CoreId(2)),
        what: &"ended: unexpected exit",
        syndrome: Some(Syndrome(STORE)),
        registers,
        place: Some(Place { far: 0x5000_0018, ipa: walk.ipa, walk, owner: &"nothing there" }),
        exits,
        now: 62_500_000,
        ticks_per_second: 62_500_000,
        is_brief: false,
    }
}

#[test]
fn the_report_shows_who_why_where_and_what_came_before() {
    let exits = ExitRing::new();
    let hvc = 0x5a00_0000;
    exits.push(ExitRecord { time: 0, pc: 0x4008_0100, esr: hvc, address: 0x8400_0000 });
    let interrupt = Syndrome::INTERRUPT.0;
    exits.push(ExitRecord { time: 62_437_500, pc: 0x4008_0110, esr: interrupt, address: 0 });
    exits.push(ExitRecord { time: 62_500_000, pc: 0x4008_0124, esr: STORE, address: 0x5000_0018 });
    let text = report(&registers(), &exits, hole()).to_string();
    let expected = "\
shikiri: partition crash (id 3) ended: unexpected exit; vCPU 1 on core 2
  why   esr 0000000093830046  data abort: write of 4 bytes from x3, translation fault, level 2
  at    pc  0000000040080124  EL1, masked DAIF, flags -ZC-
   x0 0000000000000000   x1 0000000000000001   x2 0000000000000002   x3 0000000000000003
   x4 0000000000000004   x5 0000000000000005   x6 0000000000000006   x7 0000000000000007
   x8 0000000000000008   x9 0000000000000009  x10 000000000000000a  x11 000000000000000b
  x12 000000000000000c  x13 000000000000000d  x14 000000000000000e  x15 000000000000000f
  x16 0000000000000010  x17 0000000000000011  x18 0000000000000012  x19 0000000000000013
  x20 0000000000000014  x21 0000000000000015  x22 0000000000000016  x23 0000000000000017
  x24 0000000000000018  x25 0000000000000019  x26 000000000000001a  x27 000000000000001b
  x28 000000000000001c  x29 000000000000001d  x30 000000000000001e
  sp_el0 0000000000000000  sp_el1 0000000040100000  vbar  0000000040080800
  sctlr  0000000030d01805  ttbr0  0000000000000000  ttbr1 0000000000000000
  its own last exception: elr 0000000000000000  far 0000000000000000  none
  about far 0000000050000018  ipa:0x50000018  nothing there
        stage 2 level 1: [pa:0x7f000008] = 000000007f002003
        stage 2 level 2: [pa:0x7f002400] = 0000000000000000
        not mapped: nothing at level 2
  last 3 of 3 exits, newest first
            0 us ago  pc 0000000040080124  000050000018  data abort
         1000 us ago  pc 0000000040080110  000000000000  interrupt
      1000000 us ago  pc 0000000040080100  000084000000  HVC
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_mapped_address_shows_where_it_goes_and_what_is_allowed() {
    let leaf = Leaf {
        ipa: Ipa(0x4000_0000),
        pa: Pa(0x6000_0000),
        level: Level::Two,
        attributes: Attributes::RAM,
    };
    let walk = Walk { ipa: Ipa(0x4000_1234), steps: [None; 3], end: WalkEnd::Leaf(leaf) };
    let exits = ExitRing::new();
    let text = report(&registers(), &exits, walk).to_string();
    assert!(
        text.contains("        mapped to pa:0x60001234: normal memory, read and write, execute\n"),
        "{text}"
    );
    let outside = Walk { ipa: Ipa(1 << 44), steps: [None; 3], end: WalkEnd::OutOfRange };
    let text = report(&registers(), &exits, outside).to_string();
    assert!(text.contains("        not mapped: outside the IPA space\n"), "{text}");
}

#[test]
fn a_dump_of_a_stopped_vcpu_leaves_out_what_there_is_not() {
    let (registers, exits) = (registers(), ExitRing::new());
    let dump = ExitReport {
        core: None,
        what: &"dump",
        syndrome: None,
        place: None,
        ticks_per_second: 0,
        ..report(&registers, &exits, hole())
    };
    let text = dump.to_string();
    assert!(
        text.starts_with("shikiri: partition crash (id 3) dump; vCPU 1 on no core\n  at    pc")
    );
    assert!(text.ends_with("  last 0 of 0 exits, newest first\n"), "{text}");
    assert!(!text.contains("about") && !text.contains("why"));
}

#[test]
fn a_brief_report_says_who_and_why() {
    let (registers, exits) = (registers(), ExitRing::new());
    let brief = ExitReport { is_brief: true, ..report(&registers, &exits, hole()) };
    assert_eq!(
        brief.to_string(),
        "shikiri: partition crash (id 3) ended: unexpected exit; vCPU 1 on core 2
  why   esr 0000000093830046  data abort: write of 4 bytes from x3, translation fault, level 2
"
    );
}

#[test]
fn the_longest_report_fits_on_a_screen_of_60_lines_and_in_the_consoles_buffer() {
    let exits = ExitRing::new();
    for _ in 0..100 {
        exits.push(ExitRecord { time: 1, pc: u64::MAX, esr: 0x3a << 26, address: u64::MAX });
    }
    let mut walk = hole();
    walk.steps[2] = Some(Step { level: Level::Three, at: Pa(u64::MAX), descriptor: u64::MAX });
    let text = report(&registers(), &exits, walk).to_string();
    assert!(text.lines().count() <= 42, "{} lines", text.lines().count());
    assert!(text.len() < crate::console::OWN_BYTES / 2, "{} bytes", text.len());
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 110), "{text}");
}

#[test]
fn processor_states_are_read_as_the_manual_says() {
    assert_eq!(ProcessorState(0).to_string(), "EL0, masked ----, flags ----");
    assert_eq!(ProcessorState(0x2000_0284).to_string(), "EL1 with SP_EL0, masked D-I-, flags --C-");
    assert_eq!(ProcessorState(0x9000_0009).to_string(), "EL2, masked ----, flags N--V");
    assert_eq!(format!("{}", ProcessorState(0x1d3)), "AArch32, masked -AIF, flags ----");
    assert_eq!(ProcessorState(0x0f).to_string(), "reserved mode, masked ----, flags ----");
}
