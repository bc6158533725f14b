//! The description compiler from outside: good and bad descriptions, guests' device trees, the schema.

mod bad;
mod changes;
mod damage;
mod good;
mod reach;
mod services;
mod support;
mod tree;
