//! The report: one line per case.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use shikiri_rt::{platform, power, println, reg};

static FAILED: AtomicU32 = AtomicU32::new(0);

/// Why a case failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What was looked at.
    pub what: &'static str,
    /// What it was.
    pub got: u64,
    /// What it should have been.
    pub want: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: got {:#x}, want {:#x}", self.what, self.got, self.want)
    }
}

/// A case's outcome.
pub type Outcome = Result<(), Failure>;

/// Fails unless `got` is `want`.
///
/// # Errors
/// The difference.
pub fn equal(what: &'static str, got: u64, want: u64) -> Outcome {
    if got == want { Ok(()) } else { Err(Failure { what, got, want }) }
}

/// Fails unless `condition` holds.
///
/// # Errors
/// The failed condition.
pub fn ensure(what: &'static str, condition: bool) -> Outcome {
    equal(what, u64::from(condition), 1)
}

/// Runs one case and prints its line, unless the command line names another one.
pub fn case(name: &str, test: impl FnOnce() -> Outcome) {
    if platform::value_of("case").is_some_and(|wanted| wanted != name) {
        return;
    }
    match test() {
        Ok(()) => println!("ok {name}"),
        Err(failure) => fail(name, &failure),
    }
}

/// Prints a failure's line, and counts it.
pub fn fail(name: &str, failure: &Failure) {
    FAILED.fetch_add(1, Ordering::Relaxed);
    println!("FAIL {name}: {failure}");
}

/// Prints the last line and turns the partition off; with `then=stay` on the command line it stays as it is, for whoever
/// looks at it.
pub fn done() -> ! {
    match FAILED.load(Ordering::Relaxed) {
        0 => println!("done"),
        failed => println!("done, {failed} failed"),
    }
    while platform::value_of("then") == Some("stay") {
        reg::wfi();
    }
    power::off()
}
