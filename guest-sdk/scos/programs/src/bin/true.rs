//! Succeeds.

fn main() {}
