//! The address family of channels between partitions, AF_SHIKIRI: addresses, messages, options (C6–C8b).

use super::record::{get, put};
use crate::Errno;

/// The address family; Linux's own end at 45.
pub const AF_SHIKIRI: u16 = 77;
/// The only kind of socket of this family: a connection that keeps messages apart.
pub const SOCK_SEQPACKET: u32 = 5;
/// The family of sockets within the system: pairs only.
pub const AF_UNIX: u32 = 1;
/// A stream of bytes.
pub const SOCK_STREAM: u32 = 1;
/// In the kind: EAGAIN instead of waiting.
pub const SOCK_NONBLOCK: u32 = super::fcntl::O_NONBLOCK;
/// In the kind: closed when a program is executed.
pub const SOCK_CLOEXEC: u32 = super::fcntl::O_CLOEXEC;

/// `shutdown`: no more is received.
pub const SHUT_RD: u32 = 0;
/// `shutdown`: no more is sent.
pub const SHUT_WR: u32 = 1;
/// `shutdown`: both, and the peer is told.
pub const SHUT_RDWR: u32 = 2;

/// Options of all sockets.
pub const SOL_SOCKET: u32 = 1;
/// Of all sockets: the kind.
pub const SO_TYPE: u32 = 3;
/// Of all sockets: why the last connecting failed; read once.
pub const SO_ERROR: u32 = 4;
/// Of all sockets: whether it listens.
pub const SO_ACCEPTCONN: u32 = 30;
/// Of all sockets: the protocol.
pub const SO_PROTOCOL: u32 = 38;
/// Of all sockets: the address family.
pub const SO_DOMAIN: u32 = 39;

/// Options of this family's sockets.
pub const SOL_SHIKIRI: u32 = 377;
/// Of this family: how areas are given to the program, an `int`: [`Form`].
pub const SHIKIRI_FORM: u32 = 1;
/// Of this family: what the window of its port has ([`Window`]), before it is connected. A listening socket's is that of those
/// that it accepts.
pub const SHIKIRI_WINDOW: u32 = 2;

/// `ioctl`: makes an area; the program gives a [`Record`] with its bytes, and gets it with its name, address or number.
pub const SHIKIRI_NEW: u32 = 0xc060_5301;
/// `ioctl`: discards the area that a [`Record`] names.
pub const SHIKIRI_DISCARD: u32 = 0x4060_5302;

/// In an address: any partition to `bind`, the one that is named to `connect`.
pub const PARTITION_ANY: u16 = 0xffff;

/// How areas are given to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As a file of `/areas` (0).
    #[default]
    File,
    /// Mapped into the process (1).
    Mapping,
    /// In the kernel's own memory only, named by a number (2). For user 0.
    Kernel,
}

impl Form {
    /// # Errors
    /// EINVAL.
    pub(crate) const fn from_number(number: u32) -> Result<Self, Errno> {
        match number {
            0 => Ok(Self::File),
            1 => Ok(Self::Mapping),
            2 => Ok(Self::Kernel),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::File => 0,
            Self::Mapping => 1,
            Self::Kernel => 2,
        }
    }
}

/// What can come to a socket. All of it is charged to the partition while the socket is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many areas can be here at a time, 0 to 60.
    pub slots: u16,
    /// Their class, and that of the areas that are made with the socket: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB.
    pub class: u8,
    /// How many messages can wait, 1 to 63.
    pub depth: u8,
}

impl Window {
    /// What a new socket has: four slots of 4 KiB, 16 messages.
    pub const NEW: Self = Self { slots: 4, class: 0, depth: 16 };

    /// As a program gives it.
    ///
    /// # Errors
    /// EINVAL out of the ranges above.
    pub fn from_bytes(bytes: [u8; 4]) -> Result<Self, Errno> {
        let [low, high, class, depth] = bytes;
        let slots = u16::from_le_bytes([low, high]);
        let is_good = slots <= 60 && class <= 2 && (1..=63).contains(&depth);
        if is_good { Ok(Self { slots, class, depth }) } else { Err(Errno::EINVAL) }
    }

    /// As a program gets it.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        let [low, high] = self.slots.to_le_bytes();
        [low, high, self.class, self.depth]
    }
}

/// `struct sockaddr_shikiri`.
///
/// ```text
/// offset  bytes
///  0      2      family: AF_SHIKIRI
///  2      2      partition: its number among this partition's peers, or PARTITION_ANY
///  4      4      service
///  8      4      id: of the partition's present life; told, and ignored where it is given
/// 12      4      0
/// 16      32     name of the partition, padded with 0; may be left out where it is given
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The partition's number, or [`PARTITION_ANY`].
    pub partition: u16,
    /// The service.
    pub service: u32,
    /// The id of the partition's present life; 0 if it is not known.
    pub id: u32,
    /// Its name, padded with 0.
    pub name: [u8; 32],
}

impl Address {
    /// Bytes of the structure.
    pub const BYTES: usize = 48;

    /// As a program gives it.
    ///
    /// # Errors
    /// EINVAL for fewer bytes than 16, or what is to be 0 and is not; EAFNOSUPPORT for another family.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let family = bytes.first_chunk().ok_or(Errno::EINVAL)?;
        if u16::from_le_bytes(*family) != AF_SHIKIRI {
            return Err(Errno::EAFNOSUPPORT);
        }
        if bytes.len() < 16 || get::<4>(bytes, 12) != [0; 4] {
            return Err(Errno::EINVAL);
        }
        let mut name = [0; 32];
        for (to, from) in name.iter_mut().zip(bytes.iter().skip(16)) {
            *to = *from;
        }
        Ok(Self {
            partition: u16::from_le_bytes(get(bytes, 2)),
            service: u32::from_le_bytes(get(bytes, 4)),
            id: u32::from_le_bytes(get(bytes, 8)),
            name,
        })
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        put(&mut bytes, 0, &AF_SHIKIRI.to_le_bytes());
        put(&mut bytes, 2, &self.partition.to_le_bytes());
        put(&mut bytes, 4, &self.service.to_le_bytes());
        put(&mut bytes, 8, &self.id.to_le_bytes());
        put(&mut bytes, 16, &self.name);
        bytes
    }

    /// The name without what pads it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        until_zero(&self.name)
    }
}

/// `struct shikiri_message`: what is read from and written to a socket, always as a whole.
///
/// ```text
/// offset  bytes
///  0      8      address: where the area is mapped (direct mapping); 0
///  8      8      bytes: how many of the area's bytes are meant; 0 without an area
/// 16      24     the short message: three words
/// 40      8      area: its number (kernel's form); 0
/// 48      48     name: the path of the area's file (virtual file), ended by 0; empty
/// ```
///
/// Written to a socket, it sends the area that it names in the socket's form, and none if it names none; `bytes` says how many are meant,
/// but for a file, which says so by its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the area is mapped.
    pub address: u64,
    /// How many bytes are meant.
    pub bytes: u64,
    /// The short message.
    pub short: [u64; 3],
    /// The area's number.
    pub area: u64,
    /// The file's path, padded with 0.
    pub name: [u8; 48],
}

impl Record {
    /// Bytes of the structure.
    pub const BYTES: usize = 96;

    /// A short message alone.
    #[must_use]
    pub const fn short(short: [u64; 3]) -> Self {
        Self { address: 0, bytes: 0, short, area: 0, name: [0; 48] }
    }

    /// As a program gives it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 96]) -> Self {
        let word = |at| u64::from_le_bytes(get(bytes, at));
        Self {
            address: word(0),
            bytes: word(8),
            short: [word(16), word(24), word(32)],
            area: word(40),
            name: get(bytes, 48),
        }
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 96] {
        let [first, second, third] = self.short;
        let words = [self.address, self.bytes, first, second, third, self.area];
        let mut bytes = [0; 96];
        for (at, word) in (0..).step_by(8).zip(words) {
            put(&mut bytes, at, &word.to_le_bytes());
        }
        put(&mut bytes, 48, &self.name);
        bytes
    }

    /// The path without what pads it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        until_zero(&self.name)
    }
}

fn until_zero(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::{Address, Record, Window};
    use crate::Errno;

    #[test]
    fn an_address_has_its_fields_where_they_are_documented() {
        let mut name = [0; 32];
        name[..3].copy_from_slice(b"net");
        let address = Address { partition: 2, service: 3, id: 4, name };
        let bytes = address.to_bytes();
        assert_eq!(bytes[..20], *b"\x4d\0\x02\0\x03\0\0\0\x04\0\0\0\0\0\0\0net\0");
        assert_eq!(Address::from_bytes(&bytes), Ok(address));
        assert_eq!(address.name(), b"net");
        let short = Address::from_bytes(&bytes[..16]).unwrap();
        assert_eq!((short.service, short.name()), (3, &b""[..]));
        for (length, expected) in [(0, Errno::EINVAL), (1, Errno::EINVAL), (15, Errno::EINVAL)] {
            assert_eq!(Address::from_bytes(&bytes[..length]), Err(expected));
        }
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(Address::from_bytes(&other), Err(Errno::EAFNOSUPPORT));
        other = bytes;
        other[15] = 1;
        assert_eq!(Address::from_bytes(&other), Err(Errno::EINVAL));
    }

    #[test]
    fn a_message_has_its_fields_where_they_are_documented() {
        let mut name = [0; 48];
        name[..8].copy_from_slice(b"/areas/5");
        let record = Record { address: 1, bytes: 2, short: [3, 4, 5], area: 6, name };
        let bytes = record.to_bytes();
        for (at, word) in [(0, 1), (8, 2), (16, 3), (24, 4), (32, 5), (40, 6)] {
            assert_eq!(u64::from(bytes[at]), word);
        }
        assert_eq!((&bytes[48..57], record.name()), (&b"/areas/5\0"[..], &b"/areas/5"[..]));
        assert_eq!(Record::from_bytes(&bytes), record);
    }

    #[test]
    fn a_window_has_its_ranges() {
        assert_eq!(Window::from_bytes(Window::NEW.to_bytes()), Ok(Window::NEW));
        for bytes in [[61, 0, 0, 1], [0, 1, 0, 1], [1, 0, 3, 1], [1, 0, 0, 0], [1, 0, 0, 64]] {
            assert_eq!(Window::from_bytes(bytes), Err(Errno::EINVAL), "{bytes:?}");
        }
    }
}
