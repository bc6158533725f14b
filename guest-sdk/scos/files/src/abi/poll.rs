//! `struct pollfd` and its bits (include/uapi/asm-generic/poll.h).

use super::record::{get, put};

/// Something to read, or the end of it.
pub const POLLIN: u16 = 0x001;
/// Never set here.
pub const POLLPRI: u16 = 0x002;
/// A write would not wait.
pub const POLLOUT: u16 = 0x004;
/// An error; always looked for.
pub const POLLERR: u16 = 0x008;
/// Nobody at the other end; always looked for.
pub const POLLHUP: u16 = 0x010;
/// No such descriptor; always looked for.
pub const POLLNVAL: u16 = 0x020;
/// As [`POLLIN`].
pub const POLLRDNORM: u16 = 0x040;
/// As [`POLLOUT`].
pub const POLLWRNORM: u16 = 0x100;
/// The peer sends no more.
pub const POLLRDHUP: u16 = 0x2000;

/// What `poll` is asked about one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollFd {
    /// The descriptor; negative for none.
    pub descriptor: i32,
    /// What is looked for.
    pub events: u16,
    /// What was found.
    pub found: u16,
}

impl PollFd {
    /// Bytes of the structure.
    pub const BYTES: usize = 8;

    /// As a program gives it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 8]) -> Self {
        Self {
            descriptor: i32::from_le_bytes(get(bytes, 0)),
            events: u16::from_le_bytes(get(bytes, 4)),
            found: u16::from_le_bytes(get(bytes, 6)),
        }
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        put(&mut bytes, 0, &self.descriptor.to_le_bytes());
        put(&mut bytes, 4, &self.events.to_le_bytes());
        put(&mut bytes, 6, &self.found.to_le_bytes());
        bytes
    }

    /// What of `ready` the program is told: what it looks for, and what is always looked for.
    #[must_use]
    pub const fn of_interest(self, ready: u16) -> u16 {
        ready & (self.events | POLLERR | POLLHUP | POLLNVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::{POLLHUP, POLLIN, POLLOUT, PollFd};

    #[test]
    fn a_pollfd_is_eight_bytes() {
        let bytes = [0xfe, 0xff, 0xff, 0xff, 0x05, 0x00, 0x11, 0x20];
        let asked = PollFd::from_bytes(&bytes);
        assert_eq!(asked, PollFd { descriptor: -2, events: POLLIN | POLLOUT, found: 0x2011 });
        assert_eq!(asked.to_bytes(), bytes);
    }

    #[test]
    fn hang_up_is_always_told_and_the_rest_when_asked() {
        let asked = PollFd { descriptor: 3, events: POLLIN, found: 0 };
        assert_eq!(asked.of_interest(POLLIN | POLLOUT | POLLHUP), POLLIN | POLLHUP);
    }
}
