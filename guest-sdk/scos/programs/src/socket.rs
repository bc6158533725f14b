//! Sockets of the family AF_SHIKIRI for programs: what libc has no names for, and calls with slices in place of pointers.
#![expect(unsafe_code, reason = "system calls get addresses")]

use std::io::{Error, Result};

/// A partition number of an address: any, or the one that is named.
pub const PARTITION_ANY: u16 = 0xffff;
/// The address family.
const AF_SHIKIRI: u64 = 77;
const SOCK_SEQPACKET: u64 = 5;
/// In the kind, or for `accept`: EAGAIN instead of waiting.
pub const NON_BLOCKING: u64 = 0o4000;
const SOL_SOCKET: u64 = 1;
const SO_ERROR: u64 = 4;
const SOL_SHIKIRI: u64 = 377;
const SHIKIRI_FORM: u64 = 1;
const SHIKIRI_WINDOW: u64 = 2;
/// For a call with flags: EAGAIN instead of waiting.
const MSG_DONTWAIT: u64 = 0x40;
const SHIKIRI_NEW: u64 = 0xc060_5301;
const SHIKIRI_DISCARD: u64 = 0x4060_5302;
/// Of the policy device: loads an area into a partition.
const LOAD_AREA: u64 = 0xc038_5342;
/// Areas are files.
pub const FILE: u32 = 0;
/// Areas are mapped.
pub const MAPPING: u32 = 1;
/// Areas are the kernel's.
pub const KERNEL: u32 = 2;

const FCNTL: u64 = 25;
const F_SETFL: u64 = 4;
const READ: u64 = 63;
const WRITE: u64 = 64;
const PPOLL: u64 = 73;
const IOCTL: u64 = 29;
const SOCKET: u64 = 198;
const BIND: u64 = 200;
const LISTEN: u64 = 201;
const CONNECT: u64 = 203;
const GETPEERNAME: u64 = 205;
const SENDTO: u64 = 206;
const SETSOCKOPT: u64 = 208;
const GETSOCKOPT: u64 = 209;
const SHUTDOWN: u64 = 210;
const MUNMAP: u64 = 215;
const MMAP: u64 = 222;
const ACCEPT4: u64 = 242;

/// Makes a call with addresses of what lives until it returns.
fn call(number: u64, arguments: [u64; 6]) -> Result<u64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: every caller here gives addresses of slices that it holds, with their lengths, or numbers; mappings are made where
    // nothing is.
    let answer = unsafe { libc::syscall(number.cast_signed(), a, b, c, d, e, f) };
    u64::try_from(answer).map_err(|_| Error::last_os_error())
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

fn address_mut(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr().expose_provenance() as u64
}

/// `struct sockaddr_shikiri`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The partition's number.
    pub partition: u16,
    /// The service.
    pub service: u32,
    /// The id of the partition's life.
    pub id: u32,
    /// Its name.
    pub name: [u8; 32],
}

impl Address {
    /// A service, of any partition.
    #[must_use]
    pub fn service(service: u32) -> Self {
        Self { partition: PARTITION_ANY, service, id: 0, name: [0; 32] }
    }

    /// A service of the partition with this name.
    #[must_use]
    pub fn of(name: &str, service: u32) -> Self {
        let mut address = Self::service(service);
        for (to, from) in address.name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        address
    }

    fn to_bytes(self) -> Vec<u8> {
        let family = (AF_SHIKIRI as u16).to_le_bytes();
        let (partition, service) = (self.partition.to_le_bytes(), self.service.to_le_bytes());
        let id = self.id.to_le_bytes();
        [&family[..], &partition, &service, &id, &[0; 4], &self.name].concat()
    }

    fn from_bytes(bytes: &[u8; 48]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut name = [0; 32];
        name.copy_from_slice(&bytes[16..]);
        let partition = u16::from_le_bytes([bytes[2], bytes[3]]);
        Self { partition, service: word(4), id: word(8), name }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.name.iter().take_while(|byte| **byte != 0).copied().collect();
        String::from_utf8(name).unwrap_or_default()
    }
}

/// `struct shikiri_message`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where the area is mapped.
    pub address: u64,
    /// How many of its bytes are meant.
    pub bytes: u64,
    /// The short message.
    pub short: [u64; 3],
    /// The area's number.
    pub area: u64,
    /// The path of the area's file.
    pub name: String,
}

impl Message {
    /// Bytes of the structure.
    pub const BYTES: usize = 96;

    /// Without an area.
    #[must_use]
    pub fn short(short: [u64; 3]) -> Self {
        Self { short, ..Self::default() }
    }

    /// As it is written.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 96] {
        let [first, second, third] = self.short;
        let mut bytes = [0; 96];
        let words = [self.address, self.bytes, first, second, third, self.area];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        for (to, from) in bytes[48..].iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; 96]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|word| {
            word.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        });
        let mut next = || words.next().unwrap_or(0);
        let (address, length) = (next(), next());
        let short = [next(), next(), next()];
        let name = bytes[48..].iter().take_while(|byte| **byte != 0).copied().collect();
        let name = String::from_utf8(name).unwrap_or_default();
        Self { address, bytes: length, short, area: next(), name }
    }
}

/// A socket. It is closed when it goes.
#[derive(Debug)]
pub struct Socket(std::os::fd::OwnedFd);

impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    /// Makes one; `flags`: [`NON_BLOCKING`].
    ///
    /// # Errors
    /// Those of `socket`.
    pub fn new(flags: u64) -> Result<Self> {
        Self::own(call(SOCKET, [AF_SHIKIRI, SOCK_SEQPACKET | flags, 0, 0, 0, 0])?)
    }

    fn own(number: u64) -> Result<Self> {
        use std::os::fd::FromRawFd as _;
        let number = i32::try_from(number).map_err(Error::other)?;
        // SAFETY: the kernel has just made it, and nobody else has it.
        Ok(Self(unsafe { std::os::fd::OwnedFd::from_raw_fd(number) }))
    }

    /// Its descriptor.
    #[must_use]
    pub fn number(&self) -> i32 {
        use std::os::fd::AsRawFd as _;
        self.0.as_raw_fd()
    }

    /// Its descriptor, which is left open.
    #[must_use]
    pub fn into_number(self) -> u64 {
        use std::os::fd::IntoRawFd as _;
        u64::try_from(self.0.into_raw_fd()).unwrap_or(u64::MAX)
    }

    fn fd(&self) -> u64 {
        u64::try_from(self.number()).unwrap_or(u64::MAX)
    }

    /// Binds it to a service.
    ///
    /// # Errors
    /// Those of `bind`.
    pub fn bind(&self, to: Address) -> Result<()> {
        let bytes = to.to_bytes();
        call(BIND, [self.fd(), address(&bytes), 48, 0, 0, 0]).map(drop)
    }

    /// Permits requests, or withdraws the permission.
    ///
    /// # Errors
    /// Those of `listen`.
    pub fn listen(&self, backlog: u32) -> Result<()> {
        call(LISTEN, [self.fd(), u64::from(backlog), 0, 0, 0, 0]).map(drop)
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// Those of `accept4`.
    pub fn accept(&self, flags: u64) -> Result<(Self, Address)> {
        let (mut name, mut length) = ([0; 48], 48_u32.to_le_bytes());
        let arguments = [self.fd(), address_mut(&mut name), address_mut(&mut length), flags, 0, 0];
        Ok((Self::own(call(ACCEPT4, arguments)?)?, Address::from_bytes(&name)))
    }

    /// Connects it.
    ///
    /// # Errors
    /// Those of `connect`.
    pub fn connect(&self, to: Address) -> Result<()> {
        let bytes = to.to_bytes();
        call(CONNECT, [self.fd(), address(&bytes), 48, 0, 0, 0]).map(drop)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Those of `getpeername`.
    pub fn peer(&self) -> Result<Address> {
        let (mut name, mut length) = ([0; 48], 48_u32.to_le_bytes());
        call(GETPEERNAME, [self.fd(), address_mut(&mut name), address_mut(&mut length), 0, 0, 0])?;
        Ok(Address::from_bytes(&name))
    }

    /// Ends a direction: 0 reading, 1 writing, 2 both.
    ///
    /// # Errors
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: u64) -> Result<()> {
        call(SHUTDOWN, [self.fd(), how, 0, 0, 0, 0]).map(drop)
    }

    /// Chooses how areas come: [`FILE`], [`MAPPING`], [`KERNEL`].
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_form(&self, form: u32) -> Result<()> {
        let form = form.to_le_bytes();
        call(SETSOCKOPT, [self.fd(), SOL_SHIKIRI, SHIKIRI_FORM, address(&form), 4, 0]).map(drop)
    }

    /// Sets its window: slots, class, and messages that can wait.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_window(&self, slots: u16, class: u8, depth: u8) -> Result<()> {
        let [low, high] = slots.to_le_bytes();
        let window = [low, high, class, depth];
        call(SETSOCKOPT, [self.fd(), SOL_SHIKIRI, SHIKIRI_WINDOW, address(&window), 4, 0]).map(drop)
    }

    /// Its window.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn window(&self) -> Result<(u16, u8, u8)> {
        let [low, high, class, depth] = self.option(SOL_SHIKIRI, SHIKIRI_WINDOW)?;
        Ok((u16::from_le_bytes([low, high]), class, depth))
    }

    fn option(&self, level: u64, name: u64) -> Result<[u8; 4]> {
        let (mut value, mut length) = ([0; 4], 4_u32.to_le_bytes());
        let arguments =
            [self.fd(), level, name, address_mut(&mut value), address_mut(&mut length), 0];
        call(GETSOCKOPT, arguments)?;
        Ok(value)
    }

    /// Has all its calls answer EAGAIN instead of waiting.
    ///
    /// # Errors
    /// Those of `fcntl`.
    pub fn set_non_blocking(&self) -> Result<()> {
        call(FCNTL, [self.fd(), F_SETFL, NON_BLOCKING, 0, 0, 0]).map(drop)
    }

    /// Why connecting has failed (SO_ERROR); 0 if it has not.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn error(&self) -> Result<u32> {
        self.option(SOL_SOCKET, SO_ERROR).map(u32::from_le_bytes)
    }

    /// Reads a message; none at the end.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn receive(&self) -> Result<Option<Message>> {
        let mut bytes = [0; Message::BYTES];
        let count = call(READ, [self.fd(), address_mut(&mut bytes), 96, 0, 0, 0])?;
        Ok((count > 0).then(|| Message::from_bytes(&bytes)))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn send(&self, message: &Message) -> Result<()> {
        let bytes = message.to_bytes();
        call(WRITE, [self.fd(), address(&bytes), 96, 0, 0, 0]).map(drop)
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    /// Those of `sendto`: EAGAIN without room.
    pub fn send_now(&self, message: &Message) -> Result<()> {
        let bytes = message.to_bytes();
        call(SENDTO, [self.fd(), address(&bytes), 96, MSG_DONTWAIT, 0, 0]).map(drop)
    }

    /// Makes an area of so many bytes in the socket's form.
    ///
    /// # Errors
    /// Those of SHIKIRI_NEW.
    pub fn make(&self, bytes: u64) -> Result<Message> {
        let mut record = Message { bytes, ..Message::default() }.to_bytes();
        call(IOCTL, [self.fd(), SHIKIRI_NEW, address_mut(&mut record), 0, 0, 0])?;
        Ok(Message::from_bytes(&record))
    }

    /// Discards an area of the form [`KERNEL`].
    ///
    /// # Errors
    /// Those of SHIKIRI_DISCARD.
    pub fn discard(&self, message: &Message) -> Result<()> {
        let mut record = message.to_bytes();
        call(IOCTL, [self.fd(), SHIKIRI_DISCARD, address_mut(&mut record), 0, 0, 0]).map(drop)
    }

    /// What a call with a bad address answers: of `connect`, `bind`, `read` and so on, by its number.
    ///
    /// # Errors
    /// Those of the call.
    pub fn with_bad_address(&self, number: u64) -> Result<u64> {
        call(number, [self.fd(), 8, 96, 8, 8, 0])
    }
}

/// Loads from an area of the kernel's form, of which come its number, an offset and how many bytes, into a held partition's memory, by the policy
/// device: the hypervisor's status, and how many bytes were copied.
///
/// # Errors
/// Those of the device.
pub fn load(
    device: &std::fs::File,
    partition: u64,
    to: u64,
    (area, offset, bytes): (u64, u64, u64),
) -> Result<(u64, u64)> {
    let mut words: Vec<u8> = [area, partition, to, offset, bytes, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    call(IOCTL, [number_of(device), LOAD_AREA, address_mut(&mut words), 0, 0, 0])?;
    let word =
        |at| words[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    Ok((word(0), word(8)))
}

/// What could be done with each of these: the bits of `poll`. Waits at most so many milliseconds; for ever without.
///
/// # Errors
/// Those of `ppoll`.
pub fn poll(asked: &[(i32, u16)], most_ms: Option<u32>) -> Result<Vec<u16>> {
    let mut watch = Watch::new(asked);
    watch.poll(most_ms)?;
    Ok(watch.found().collect())
}

/// Descriptors that are polled again and again.
#[derive(Debug)]
pub struct Watch(Vec<u8>);

impl Watch {
    /// These descriptors, each with what is looked for.
    #[must_use]
    pub fn new(asked: &[(i32, u16)]) -> Self {
        let mut bytes = Vec::new();
        for (descriptor, events) in asked {
            bytes.extend(descriptor.to_le_bytes());
            bytes.extend(events.to_le_bytes());
            bytes.extend([0; 2]);
        }
        Self(bytes)
    }

    /// Polls them; how many have something.
    ///
    /// # Errors
    /// Those of `ppoll`.
    pub fn poll(&mut self, most_ms: Option<u32>) -> Result<u64> {
        let ms = u64::from(most_ms.unwrap_or(0));
        let mut time = [0; 16];
        let (seconds, fraction) = time.split_at_mut(8);
        seconds.copy_from_slice(&(ms / 1000).to_le_bytes());
        fraction.copy_from_slice(&(ms % 1000 * 1_000_000).to_le_bytes());
        let time = if most_ms.is_some() { address(&time) } else { 0 };
        let count = (self.0.len() / 8) as u64;
        call(PPOLL, [address_mut(&mut self.0), count, time, 0, 8, 0])
    }

    /// What was found.
    pub fn found(&self) -> impl Iterator<Item = u16> {
        self.0.chunks_exact(8).map(|entry| u16::from_le_bytes([entry[6], entry[7]]))
    }
}

/// Maps a file from an offset on, to be read and written and shared: where.
///
/// # Errors
/// Those of `mmap`.
pub fn map(file: &std::fs::File, offset: u64, bytes: u64) -> Result<u64> {
    call(MMAP, [0, bytes, 3, 1, number_of(file), offset])
}

fn number_of(descriptor: &impl std::os::fd::AsRawFd) -> u64 {
    u64::try_from(descriptor.as_raw_fd()).unwrap_or(u64::MAX)
}

/// Has the kernel read so many bytes of a mapping, whatever comes of it, and write them to a descriptor.
///
/// # Errors
/// Those of `write`.
pub fn write_from(to: &impl std::os::fd::AsRawFd, address: u64, bytes: u64) -> Result<u64> {
    call(WRITE, [number_of(to), address, bytes, 0, 0, 0])
}

/// Has the kernel write so many bytes into a mapping, which is nobody's Rust object, whatever comes of it.
///
/// # Errors
/// Those of `read`.
pub fn read_to(from: &impl std::os::fd::AsRawFd, address: u64, bytes: u64) -> Result<u64> {
    call(READ, [number_of(from), address, bytes, 0, 0, 0])
}

/// Takes a mapping away.
///
/// # Errors
/// Those of `munmap`.
pub fn unmap(address: u64, bytes: u64) -> Result<()> {
    call(MUNMAP, [address, bytes, 0, 0, 0, 0]).map(drop)
}

/// Reads a byte of a mapping, whatever comes of it.
#[must_use]
pub fn peek(address: u64) -> u8 {
    let place = std::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: mappings of areas are nobody's Rust object; one that is not there ends the process.
    unsafe { place.read_volatile() }
}

/// Writes a byte of a mapping, whatever comes of it.
pub fn poke(address: u64, byte: u8) {
    let place = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
    // SAFETY: as above.
    unsafe { place.write_volatile(byte) };
}

/// Runs an action in a process of its own: the signal that ended it, or 0.
///
/// # Errors
/// Those of `fork` and `wait`.
pub fn apart(action: impl FnOnce()) -> Result<i32> {
    // SAFETY: the program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        action();
        std::process::exit(0);
    }
    if child < 0 {
        return Err(Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: the status is a word of this function's.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    if ended == child { Ok(status & 0x7f) } else { Err(Error::last_os_error()) }
}

/// Has the second socket's descriptor stand for what the first's does; what it was is closed.
///
/// # Errors
/// Those of `dup3`.
pub fn duplicate(from: &Socket, to: &Socket) -> Result<()> {
    call(24, [from.fd(), to.fd(), 0, 0, 0, 0]).map(drop)
}
