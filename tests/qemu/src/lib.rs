//! Runs Shikiri in QEMU and looks at it from outside: the machine's command line, the compiled
//! system description, and a running machine whose console can be read and written.
//!
//! `cargo xtask run` and `cargo xtask bench` use the same code as the tests in `tests/`, so what the
//! tests see is what a user sees.

pub mod comparisons;
pub mod compilers;
pub mod console;
pub mod counts;
pub mod failure;
pub mod machine;
pub mod paths;
/// The steps at which a test guest ends, from the guests' own table.
#[path = "../../guests/src/points.rs"]
pub mod points;
pub mod running;
pub mod stacks;
pub mod system;

pub use console::Console;
pub use failure::Failure;
pub use machine::{Board, Gic, Machine};
pub use running::{Ended, Running};
pub use stacks::Stacks;
pub use system::{Overrides, System};
