//! One file per command.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod checked;
pub(crate) mod flatten;
pub(crate) mod fuzz;
pub(crate) mod image;
pub(crate) mod layers;
pub(crate) mod miri;
pub(crate) mod misuse;
pub(crate) mod mutate;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod soak;
pub(crate) mod test;
pub(crate) mod unsafe_budget;
