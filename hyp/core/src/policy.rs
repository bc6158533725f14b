//! What the policy program's calls decide (P7): what stands in no partition's own books.
//!
//! [`Notices`] keeps who has ended until the policy program has been told; [`Requests`] what partitions ask for until they have
//! read the answer (P8); [`HandOut`] is the account of what was given by limits. All belong to the machine and not to an incarnation of the policy program's partition, so that its successor finds
//! them as they are. They lie behind one lock, and time and identities are arguments.

mod handout;
mod news;
mod notice;
mod refusal;
pub mod request;
mod time;

pub use handout::{Given, HandOut, Page, TooMuch};
pub use news::News;
pub use notice::{Notice, Notices, Waiting};
pub use refusal::Refusal;
pub use request::Requests;
pub use time::{Growth, grown};
