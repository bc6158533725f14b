//! Each PSCI call, each answer (DEN 0022, chapter 5), both widths.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects; the rest fails it"
)]

use std::vec::Vec;

use proptest::prelude::*;
use shikiri_abi::{Ipa, VcpuIndex, smccc};

use super::{PsciAction, PsciView, architecture_call, decide, quick, vendor_query};
use crate::power::{LiveVcpus, PowerState, Start, VcpuPower};

const INVALID_PARAMETERS: i64 = -2;
const ALREADY_ON: i64 = -4;
const ON_PENDING: i64 = -5;
const INVALID_ADDRESS: i64 = -9;
const ENTRY: u64 = 0x4008_0000;

struct Machine {
    vcpus: Vec<VcpuPower>,
    live: LiveVcpus,
}

impl PsciView for Machine {
    fn power(&self, vcpu: VcpuIndex) -> Option<&VcpuPower> {
        self.vcpus.get(usize::from(vcpu.0))
    }

    fn live(&self) -> &LiveVcpus {
        &self.live
    }

    fn is_memory(&self, at: Ipa) -> bool {
        (0x4000_0000..0x5000_0000).contains(&at.0) || at.0 == 0x1_4000_0000
    }
}

impl Machine {
    /// Eighteen vCPUs (two affinity groups), of which the first runs.
    fn new() -> Self {
        let machine =
            Self { vcpus: (0..18).map(|_| VcpuPower::new()).collect(), live: LiveVcpus::new() };
        machine.start(0);
        machine
    }

    fn start(&self, vcpu: usize) {
        self.vcpus[vcpu].turn_on(&self.live, Start { entry: ENTRY, context: 0 }).unwrap();
        self.vcpus[vcpu].take_start().unwrap();
    }

    fn call(&self, x: [u64; 4]) -> PsciAction {
        decide(self, &x)
    }

    /// The answer in `x0` as a signed number.
    fn answer(&self, x: [u64; 4]) -> i64 {
        match self.call(x) {
            PsciAction::Answer(value) => value.cast_signed(),
            other => panic!("{other:?}"),
        }
    }
}

const CPU_ON_32: u64 = 0x8400_0003;
const CPU_ON_64: u64 = 0xc400_0003;
const CPU_SUSPEND: [u64; 2] = [0x8400_0001, 0xc400_0001];
const AFFINITY_INFO: [u64; 2] = [0x8400_0004, 0xc400_0004];
const FEATURES: u64 = 0x8400_000a;

#[test]
fn constant_answers_are_the_same_on_both_paths() {
    let machine = Machine::new();
    assert_eq!(machine.answer([0x8400_0000, 9, 9, 9]), 0x1_0001);
    assert_eq!(machine.answer([0x8400_0006, 9, 9, 9]), 2);
    assert_eq!(quick(0x8400_0000), Some(0x1_0001));
    assert_eq!(quick(0x8400_0006), Some(2));
    assert_eq!(quick(smccc::VERSION), Some(0x1_0002));
    assert_eq!(u64::from(smccc::VERSION_1_2), 0x1_0002);
    for function in [0x8400_0002, 0xc400_0000, 0xc400_0006, 0, u32::MAX, 0xc600_0000] {
        assert_eq!(quick(function), None);
    }
}

#[test]
fn the_function_id_is_the_low_word() {
    assert_eq!(Machine::new().answer([0xdead_beef_8400_0000, 0, 0, 0]), 0x1_0001);
}

#[test]
fn cpu_on_leaves_entry_and_context_for_the_target() {
    for (function, context) in [(CPU_ON_32, 0x1234_5678), (CPU_ON_64, 0xffff_1234_5678)] {
        let machine = Machine::new();
        let action = machine.call([function, 1, ENTRY, context]);
        assert_eq!(action, PsciAction::CpuOn { target: VcpuIndex(1) });
        assert_eq!(machine.vcpus[1].take_start(), Some(Start { entry: ENTRY, context }));
        assert_eq!(machine.live.count(), 2);
    }
}

#[test]
fn a_32_bit_cpu_on_reads_32_bits_of_each_register() {
    let machine = Machine::new();
    let high = 0xffff_ffff_0000_0000;
    let action = machine.call([CPU_ON_32, high | 1, high | ENTRY, high | 7]);
    assert_eq!(action, PsciAction::CpuOn { target: VcpuIndex(1) });
    assert_eq!(machine.vcpus[1].take_start(), Some(Start { entry: ENTRY, context: 7 }));
    let wide = machine.call([CPU_ON_64, 2, 0x1_4000_0000, 7]);
    assert_eq!(wide, PsciAction::CpuOn { target: VcpuIndex(2) });
}

#[test]
fn vcpus_are_named_by_their_affinity() {
    let machine = Machine::new();
    assert_eq!(
        machine.call([CPU_ON_64, 0x101, ENTRY, 0]),
        PsciAction::CpuOn { target: VcpuIndex(17) }
    );
    for unknown in [16, 0x102, 0x1_0000, 1 << 24, 1 << 31, 1 << 32, 1 << 40, u64::MAX] {
        assert_eq!(machine.answer([CPU_ON_64, unknown, ENTRY, 0]), INVALID_PARAMETERS);
        assert_eq!(machine.answer([AFFINITY_INFO[1], unknown, 0, 0]), INVALID_PARAMETERS);
    }
}

#[test]
fn cpu_on_refuses_by_the_state_of_the_target() {
    let machine = Machine::new();
    assert_eq!(machine.answer([CPU_ON_64, 0, ENTRY, 0]), ALREADY_ON);
    machine.call([CPU_ON_64, 1, ENTRY, 0]);
    assert_eq!(machine.answer([CPU_ON_64, 1, ENTRY, 0]), ON_PENDING);
    machine.vcpus[1].take_start().unwrap();
    assert_eq!(machine.answer([CPU_ON_64, 1, ENTRY, 0]), ALREADY_ON);
    machine.vcpus[1].suspend(Start { entry: ENTRY, context: 0 });
    assert_eq!(machine.answer([CPU_ON_64, 1, ENTRY, 0]), ALREADY_ON);
    assert_eq!(machine.live.count(), 2);
}

#[test]
fn cpu_on_refuses_an_entry_that_cannot_execute() {
    let machine = Machine::new();
    for entry in [0, 0x3fff_fffc, 0x5000_0000, ENTRY + 1, ENTRY + 2, u64::MAX, 1 << 63] {
        assert_eq!(machine.answer([CPU_ON_64, 1, entry, 0]), INVALID_ADDRESS, "{entry:#x}");
    }
    assert_eq!(machine.vcpus[1].state(), PowerState::Off);
    // The target is checked before the entry, the entry before the state.
    assert_eq!(machine.answer([CPU_ON_64, 99, 0, 0]), INVALID_PARAMETERS);
    assert_eq!(machine.answer([CPU_ON_64, 0, 0, 0]), INVALID_ADDRESS);
}

#[test]
fn affinity_info_tells_on_off_and_pending() {
    for function in AFFINITY_INFO {
        let machine = Machine::new();
        assert_eq!(machine.answer([function, 0, 0, 0]), 0);
        assert_eq!(machine.answer([function, 1, 0, 0]), 1);
        machine.call([CPU_ON_64, 1, ENTRY, 0]);
        assert_eq!(machine.answer([function, 1, 0, 0]), 2);
        machine.vcpus[1].take_start().unwrap();
        machine.vcpus[1].suspend(Start { entry: ENTRY, context: 0 });
        assert_eq!(machine.answer([function, 1, 0, 0]), 0);
        for level in [1, 2, 3, 4, 0xffff_ffff] {
            assert_eq!(machine.answer([function, 0, level, 0]), INVALID_PARAMETERS);
        }
    }
}

#[test]
fn cpu_off_and_system_calls_are_decisions() {
    let machine = Machine::new();
    assert_eq!(machine.call([0x8400_0002, 0, 0, 0]), PsciAction::CpuOff);
    assert_eq!(machine.call([0x8400_0008, 0, 0, 0]), PsciAction::PartitionOff);
    assert_eq!(machine.call([0x8400_0009, 0, 0, 0]), PsciAction::PartitionReset);
    for function in [0x8400_0012, 0xc400_0012] {
        assert_eq!(machine.call([function, 0, 5, 0]), PsciAction::PartitionReset);
        for kind in [1, 0x8000_0000, 0xffff_ffff] {
            assert_eq!(machine.answer([function, kind, 0, 0]), INVALID_PARAMETERS, "{kind:#x}");
        }
    }
}

#[test]
fn suspend_is_standby_or_power_down() {
    let machine = Machine::new();
    for function in CPU_SUSPEND {
        for standby in [0, 1, 0xffff] {
            assert_eq!(machine.call([function, standby, 0, 0]), PsciAction::Standby);
        }
        let down = machine.call([function, 0x1_0000, ENTRY, 3]);
        assert_eq!(down, PsciAction::PowerDown(Start { entry: ENTRY, context: 3 }));
        assert_eq!(machine.answer([function, 0x1_0001, 4, 3]), INVALID_ADDRESS);
        for bit in 17..32 {
            assert_eq!(machine.answer([function, 1 << bit, ENTRY, 3]), INVALID_PARAMETERS);
        }
    }
    assert_eq!(machine.vcpus[0].state(), PowerState::On);
}

/// The functions of PSCI 1.1 that are served.
const SERVED: [u64; 14] = [
    0x8400_0000,
    0x8400_0001,
    0xc400_0001,
    0x8400_0002,
    0x8400_0003,
    0xc400_0003,
    0x8400_0004,
    0xc400_0004,
    0x8400_0006,
    0x8400_0008,
    0x8400_0009,
    0x8400_000a,
    0x8400_0012,
    0xc400_0012,
];

#[test]
fn features_and_dispatch_agree_on_every_number() {
    let machine = Machine::new();
    for base in [0x8400_0000_u64, 0xc400_0000] {
        for function in base..base + 0x40 {
            let is_served = SERVED.contains(&function);
            let expected = if is_served { 0 } else { -1 };
            assert_eq!(machine.answer([FEATURES, function, 0, 0]), expected, "{function:#x}");
            let nothing = PsciAction::Answer(u64::MAX);
            let refused = machine.call([function, u64::MAX, u64::MAX, u64::MAX]) == nothing;
            // FEATURES itself is asked about a function that does not exist.
            assert_eq!(refused, !is_served || function == FEATURES, "{function:#x}");
        }
    }
    assert_eq!(machine.answer([FEATURES, u64::from(smccc::VERSION), 0, 0]), 0);
    assert_eq!(machine.answer([FEATURES, u64::from(smccc::ARCH_FEATURES), 0, 0]), -1);
}

#[test]
fn the_architecture_service_promises_no_workaround() {
    assert_eq!(architecture_call(smccc::VERSION, 0), 0x1_0002);
    for asked in [smccc::VERSION, smccc::ARCH_FEATURES] {
        assert_eq!(architecture_call(smccc::ARCH_FEATURES, asked.into()), 0);
    }
    for asked in [0x8000_0002, 0x8000_8000, 0x8000_7fff, 0x8000_3fff, 0xc500_0020, 0x8400_0000] {
        assert_eq!(architecture_call(smccc::ARCH_FEATURES, asked), u64::MAX);
    }
    assert_eq!(architecture_call(0x8000_8000, 0), u64::MAX);
}

#[test]
fn the_vendor_service_names_itself() {
    let uid = vendor_query(smccc::VENDOR_HYP_UID).unwrap();
    assert!(uid.iter().all(|word| *word <= u64::from(u32::MAX) && *word != u64::MAX));
    assert_eq!(uid, smccc::UID.map(u64::from));
    let revision = [smccc::REVISION_MAJOR.into(), smccc::REVISION_MINOR.into(), 0, 0];
    assert_eq!(vendor_query(smccc::VENDOR_HYP_REVISION), Some(revision));
    assert_eq!(vendor_query(0x8600_ff00), None);
}

proptest! {
    /// A hostile guest's registers: no panic, and nothing but CPU_ON changes a power state.
    #[test]
    fn any_registers_are_answered(
        function in prop_oneof![
            proptest::sample::select(SERVED.to_vec()),
            0x8400_0000..0x8400_0100_u64,
            0xc400_0000..0xc400_0100_u64,
            any::<u64>(),
        ],
        x1 in prop_oneof![0..20_u64, any::<u64>()],
        x2 in prop_oneof![Just(ENTRY), any::<u64>()],
        x3 in any::<u64>(),
    ) {
        let machine = Machine::new();
        let action = machine.call([function, x1, x2, x3]);
        let live = match action {
            PsciAction::CpuOn { target } => {
                prop_assert_eq!(machine.vcpus[usize::from(target.0)].state(), PowerState::OnPending);
                2
            }
            _ => 1,
        };
        prop_assert_eq!(machine.live.count(), live);
        let not_off = machine.vcpus.iter().filter(|v| v.state() != PowerState::Off).count();
        prop_assert_eq!(u32::try_from(not_off).unwrap(), live);
    }
}
