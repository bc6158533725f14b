//! A vCPU's power state (PSCI, Arm DEN 0022, *CPU_ON*, *AFFINITY_INFO*), shared by all cores without a lock.
//!
//! ```text
//!            turn_on (one winner)         take_start
//!      Off ───────────────────▶ OnPending ──────────▶ On ──suspend──▶ Suspended
//!       ▲                                             │ ▲                 │
//!       └──────────────────── turn_off ───────────────┘ └──── resume ─────┘
//! ```
//!
//! Any vCPU of the partition may ask for `turn_on`; of simultaneous ones exactly one succeeds. All other steps
//! are taken by the core that runs, or is about to run, the vCPU. Where it starts travels with the state:
//! who sees `OnPending` sees the entry that belongs to it. [`LiveVcpus`] counts those that are not off, so that
//! exactly one CPU_OFF learns that it was the last.

use core::fmt;

use shikiri_sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What AFFINITY_INFO and the operator see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerState {
    /// Not running; CPU_ON can start it.
    Off,
    /// Somebody's CPU_ON succeeded; it has not started yet.
    OnPending,
    /// Running, waiting, or waiting for its turn.
    On,
    /// In a power-down CPU_SUSPEND: comes back at its entry. PSCI counts it as on.
    Suspended,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::OnPending => "on pending",
            Self::On => "on",
            Self::Suspended => "suspended",
        })
    }
}

/// Where and with what a vCPU starts: MMU and caches off, EL1h, interrupts masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The guest's address (an IPA, as its MMU is off).
    pub entry: u64,
    /// The value of `x0`.
    pub context: u64,
}

/// What a `turn_off` left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// Other vCPUs of the partition are on, suspended or about to start.
    Some,
    /// None: nobody is left who could turn one on. The partition ends, as by SYSTEM_OFF, so that what it
    /// holds goes back.
    None,
}

/// How many vCPUs of a partition are not off.
#[derive(Debug, Default)]
pub struct LiveVcpus(AtomicU32);

impl LiveVcpus {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

const OFF: u8 = 0;
/// Claimed by a CPU_ON that is still writing the entry; seen as `OnPending`.
const CLAIMED: u8 = 1;
const PENDING: u8 = 2;
const ON: u8 = 3;
const SUSPENDED: u8 = 4;

/// One vCPU's power state and start values. All zeros is off.
#[derive(Debug, Default)]
pub struct VcpuPower {
    state: AtomicU8,
    entry: AtomicU64,
    context: AtomicU64,
}

impl VcpuPower {
    /// Off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state at this moment.
    #[must_use]
    pub fn state(&self) -> PowerState {
        decode(self.state.load(Ordering::Acquire))
    }

    /// Whether it sleeps with its power down; on its own core.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.state.load(Ordering::Relaxed) == SUSPENDED
    }

    /// Claims the vCPU and leaves `start` for the core that it starts on, which must then be woken. It counts
    /// as live before anybody can see it pending.
    ///
    /// # Errors
    /// The state that it was found in, if that was not off; then nothing has changed.
    pub fn turn_on(&self, live: &LiveVcpus, start: Start) -> Result<(), PowerState> {
        // Acquire: the stores of the vCPU's former life come before those of the new one.
        self.state
            .compare_exchange(OFF, CLAIMED, Ordering::Acquire, Ordering::Acquire)
            .map_err(decode)?;
        live.0.fetch_add(1, Ordering::Relaxed);
        self.leave(start, PENDING);
        Ok(())
    }

    /// Takes up a start that was left: on the vCPU's own core, which then sets up its registers. `None` if
    /// there is none; many wake-ups may mean one start.
    pub fn take_start(&self) -> Option<Start> {
        self.take(PENDING)
    }

    /// Turns a running vCPU off. The last thing that its core does with it: from here on another core may
    /// start it, so its registers are already saved or given up. A vCPU that is not on stays as it is.
    pub fn turn_off(&self, live: &LiveVcpus) -> Remaining {
        // Release: this life's last stores come before the next CPU_ON's acquire.
        let was_on =
            self.state.compare_exchange(ON, OFF, Ordering::Release, Ordering::Relaxed).is_ok();
        // AcqRel: whoever is the last has seen all that the others did.
        if was_on && live.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            Remaining::None
        } else {
            Remaining::Some
        }
    }

    /// Puts a running vCPU to sleep until an interrupt is there for it; on its own core.
    pub fn suspend(&self, start: Start) {
        if self.state.load(Ordering::Relaxed) == ON {
            self.leave(start, SUSPENDED);
        }
    }

    /// Ends the sleep and says where the vCPU goes on; on its own core. `None` if it was not suspended.
    pub fn resume(&self) -> Option<Start> {
        self.take(SUSPENDED)
    }

    /// Turns the vCPU off whatever it was: at the partition's end, when no core runs any of its vCPUs.
    pub fn reset(&self, live: &LiveVcpus) {
        if self.state.swap(OFF, Ordering::AcqRel) != OFF {
            live.0.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn leave(&self, start: Start, state: u8) {
        self.entry.store(start.entry, Ordering::Relaxed);
        self.context.store(start.context, Ordering::Relaxed);
        self.state.store(state, Ordering::Release);
    }

    fn take(&self, from: u8) -> Option<Start> {
        self.state.compare_exchange(from, ON, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let entry = self.entry.load(Ordering::Relaxed);
        Some(Start { entry, context: self.context.load(Ordering::Relaxed) })
    }
}

const fn decode(state: u8) -> PowerState {
    match state {
        ON => PowerState::On,
        SUSPENDED => PowerState::Suspended,
        CLAIMED | PENDING => PowerState::OnPending,
        _ => PowerState::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::{LiveVcpus, PowerState, Remaining, Start, VcpuPower};

    const START: Start = Start { entry: 0x4008_0000, context: 5 };

    /// A cell in `state`, with another vCPU live beside it.
    fn cell(state: PowerState) -> (VcpuPower, LiveVcpus) {
        let (power, live) = (VcpuPower::new(), LiveVcpus::new());
        VcpuPower::new().turn_on(&live, START).unwrap();
        if state != PowerState::Off {
            power.turn_on(&live, START).unwrap();
        }
        if matches!(state, PowerState::On | PowerState::Suspended) {
            power.take_start().unwrap();
        }
        if state == PowerState::Suspended {
            power.suspend(START);
        }
        assert_eq!(power.state(), state);
        (power, live)
    }

    const STATES: [PowerState; 4] =
        [PowerState::Off, PowerState::OnPending, PowerState::On, PowerState::Suspended];

    #[test]
    fn only_an_off_vcpu_is_turned_on() {
        for state in STATES {
            let (power, live) = cell(state);
            let before = live.count();
            let other = Start { entry: 0x1000, context: 9 };
            let result = power.turn_on(&live, other);
            if state == PowerState::Off {
                assert_eq!((result, live.count()), (Ok(()), before + 1));
                assert_eq!(power.take_start(), Some(other));
            } else {
                assert_eq!((result, live.count()), (Err(state), before));
                assert_eq!(power.state(), state);
                assert_ne!(power.take_start(), Some(other), "a refused start was left");
            }
        }
    }

    #[test]
    fn a_start_is_taken_once_and_only_when_pending() {
        for state in STATES {
            let (power, _live) = cell(state);
            let expected = (state == PowerState::OnPending).then_some(START);
            assert_eq!(power.take_start(), expected, "{state:?}");
            assert_eq!(power.take_start(), None);
        }
    }

    #[test]
    fn only_a_running_vcpu_turns_off() {
        for state in STATES {
            let (power, live) = cell(state);
            let before = live.count();
            assert_eq!(power.turn_off(&live), Remaining::Some);
            let expected = if state == PowerState::On { PowerState::Off } else { state };
            assert_eq!(power.state(), expected);
            assert_eq!(live.count(), before - u32::from(state == PowerState::On));
        }
    }

    #[test]
    fn suspend_and_resume_bring_the_entry_back() {
        let there = Start { entry: 0x4010_0000, context: 77 };
        for state in STATES {
            let (power, _live) = cell(state);
            power.suspend(there);
            match state {
                PowerState::On => assert_eq!(power.resume(), Some(there)),
                PowerState::Suspended => assert_eq!(power.resume(), Some(START)),
                PowerState::Off | PowerState::OnPending => {
                    assert_eq!((power.resume(), power.state()), (None, state));
                }
            }
        }
    }

    #[test]
    fn exactly_the_last_one_off_learns_it() {
        let (live, vcpus) = (LiveVcpus::new(), [(); 3].map(|()| VcpuPower::new()));
        for vcpu in &vcpus {
            vcpu.turn_on(&live, START).unwrap();
            vcpu.take_start().unwrap();
        }
        let results = vcpus.each_ref().map(|vcpu| vcpu.turn_off(&live));
        assert_eq!(results, [Remaining::Some, Remaining::Some, Remaining::None]);
    }

    #[test]
    fn a_reset_counts_each_vcpu_once() {
        for state in STATES {
            let (power, live) = cell(state);
            power.reset(&live);
            power.reset(&live);
            assert_eq!((power.state(), live.count()), (PowerState::Off, 1));
        }
    }
}
