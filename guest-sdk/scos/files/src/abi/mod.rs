//! The numbers and structures that programs share with the system: Linux's for AArch64 (64-bit, little-endian).

pub mod fcntl;
pub mod ioctl;
pub mod poll;
mod record;
pub mod socket;
pub mod stat;
pub mod termios;
pub mod time;
