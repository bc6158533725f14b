//! The policy program: which partitions are made and started, in which order and on which conditions; what they may have; what
//! happens when one ends; what is granted at request (P7, P8).
//!
//! [`Policy`] is the file, read and checked; [`Engine`] looks at the machine and says what is to be done. It compares what it sees with
//! what the file wants, each time anew, so that a policy program that was itself restarted goes on where the machine
//! stands; what cannot be seen there it writes down for its successor. It makes no call and knows no clock: time is an
//! argument, actions are the answer. [`answer`] judges the requests that wait.

mod answers;
mod check;
mod engine;
mod file;
mod grant;
mod notes;
mod place;
mod policy;
mod restart;

pub use answers::answer;
pub use check::{BadPolicy, span_of};
pub use engine::{Action, Engine, Seen};
pub use grant::{Answer, Judgement, Request};
pub use policy::{Entry, Good, Grant, Policy, Start};
pub use restart::{RestartOn, RestartRule};

/// Where the policy program of the system control OS looks for its file, unless it is told another.
pub const FILE: &str = "/etc/policy.toml";
