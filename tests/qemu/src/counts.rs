//! How often the tests do what they do: short in `cargo xtask test`, full in `cargo xtask soak`.

/// A count with a short and a full form.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// In `cargo xtask test`.
    pub short: u64,
    /// In `cargo xtask soak`.
    pub full: u64,
}

/// Restarts of one partition.
pub const RESTARTS: Count = Count { short: 20, full: 1_000 };

/// Lives of partitions that are made at run time, with an audit behind each.
pub const MADE_LIVES: Count = Count { short: 10, full: 1_000 };

/// Ends of a side of a message channel, at random steps.
pub const CHANNEL_ENDS: Count = Count { short: 20, full: 1_000 };

/// Ends of a side of a message channel from outside, at random moments.
pub const OUTSIDE_ENDS: Count = Count { short: 12, full: 2_000 };

/// The same by the operator.
pub const OPERATOR_ENDS: Count = Count { short: 4, full: 300 };

/// MiB of the area of single frames that is sent while other vCPUs are at it.
pub const SCATTERED_MIB: Count = Count { short: 16, full: 1024 };

/// Steps of the hostile guest: calls, accesses, register reads and writes, exceptions.
pub const HOSTILE_STEPS: Count = Count { short: 20_000, full: 5_000_000 };

/// The same where each call is followed by a comparison of all books.
pub const HOSTILE_STEPS_CHECKED: u64 = 5_000;

/// Calls of a policy program that goes wild.
pub const HOSTILE_POLICY: Count = Count { short: 20_000, full: 1_000_000 };

/// Random system calls to the system control OS.
pub const SYSTEM_CALLS: Count = Count { short: 10_000, full: 1_000_000 };

/// Seconds of mixed load in Linux.
pub const LOAD_SECONDS: Count = Count { short: 5, full: 60 };

/// Handles of a partition that has as many ports as it can.
pub const MANY_HANDLES: u64 = 8_000;

/// The same where each call is followed by a comparison of them all: time goes with their square. Still more ports than SPIs.
pub const MANY_HANDLES_CHECKED: u64 = 2_000;

/// How much longer a machine may take whose hypervisor compares its books after each call: that is some hundred thousand
/// instructions each time, on two to four cores of which one at a time has the books.
pub const CHECKED_PATIENCE: u32 = 4;

/// How late the restarts of one partition may make another one, in microseconds.
pub const RESTARTS_DELAY_US: u64 = 500;

/// The same where each step of an end is followed by a comparison of all books: that it comes to an end, and no more.
pub const RESTARTS_DELAY_CHECKED_US: u64 = 100_000;

/// The seed of everything random, unless `SHIKIRI_SEED` says another.
pub const SEED: u64 = 0x5eed_2026;

impl Count {
    /// The count that holds for this run.
    #[must_use]
    pub fn now(self) -> u64 {
        if is_soak() { self.full } else { self.short }
    }
}

/// Steps of the hostile guest in this run: `SHIKIRI_STEPS`, or the count that holds.
#[must_use]
pub fn hostile_steps() -> u64 {
    let usual = || if is_checked() { HOSTILE_STEPS_CHECKED } else { HOSTILE_STEPS.now() };
    number("SHIKIRI_STEPS").unwrap_or_else(usual)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Whether the full counts hold.
#[must_use]
pub fn is_soak() -> bool {
    std::env::var_os("SHIKIRI_SOAK").is_some()
}

/// Whether the hypervisor compares its books after each call: `cargo xtask checked`.
#[must_use]
pub fn is_checked() -> bool {
    std::env::var_os("SHIKIRI_CHECKED").is_some()
}

/// Handles of a partition that has as many ports as it can, in this run.
#[must_use]
pub fn many_handles() -> u64 {
    if is_checked() { MANY_HANDLES_CHECKED } else { MANY_HANDLES }
}

/// How late restarts of one partition may make another one in this run, in microseconds.
#[must_use]
pub fn restarts_may_delay_us() -> u64 {
    if is_checked() { RESTARTS_DELAY_CHECKED_US } else { RESTARTS_DELAY_US }
}

/// Whether slow tests are left out.
#[must_use]
pub fn is_fast() -> bool {
    std::env::var_os("SHIKIRI_FAST").is_some()
}

/// Whether every test that can runs on the Raspberry Pi 4, and on no other machine: `cargo xtask test --board rpi4`.
#[must_use]
pub fn is_rpi4_alone() -> bool {
    std::env::var_os("SHIKIRI_BOARD").is_some_and(|board| board == "rpi4")
}

/// The seed of this run.
#[must_use]
pub fn seed() -> u64 {
    number("SHIKIRI_SEED").unwrap_or(SEED)
}
