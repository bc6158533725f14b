//! What is seen inside of partitions: their ports and areas, and why their vCPUs came back to the hypervisor last.

use core::fmt;
use core::time::Duration;

use shikiri_abi::{PortStand, ThingKind};

/// A thing that a partition has a handle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Its entry in the partition's table.
    pub entry: u16,
    /// What it is.
    pub what: What,
}

/// What a thing is, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An event send port.
    Send(Stand),
    /// An event receive port.
    Receive {
        /// Something sends to it: a port, a channel, or the hypervisor.
        is_connected: bool,
        /// Its guest does not listen.
        is_masked: bool,
        /// An event is kept.
        is_pending: bool,
        /// The interrupt and the vCPU that it is bound to.
        bound: Option<(u16, u8)>,
        /// It shares the interrupt with others.
        is_grouped: bool,
    },
    /// A message port.
    Channel(Stand),
    /// What a shared area is to be attached with, and has asked for one, or not.
    Shared(Stand),
    /// A shared area that it has attached: its class, as of an area.
    Attached(u8),
    /// An area: its class, 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB.
    Area(u8),
    /// A named object, by the number of its row.
    Object(u16),
    /// A request that it has taken and not answered, of the partition at this place, if that has not withdrawn it.
    Request(Option<u8>),
}

/// How a port stands to its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It was never connected.
    Idle,
    /// Its request waits at the partition at this place.
    Waits(u8),
    /// Its request was taken there, and not answered.
    Taken(u8),
    /// It is connected.
    Connected(End),
    /// Its request was refused.
    Refused,
    /// Its peer has closed it, or has ended.
    Gone,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The partition's place.
    pub place: u8,
    /// The entry in its table.
    pub entry: u16,
}

impl Thing {
    /// Reads the words of PORT_READ; `None` for what nobody knows here.
    pub(crate) fn decode([what, peer, detail]: [u64; 3]) -> Option<Self> {
        let [e0, e1, kind, state, ..] = what.to_le_bytes();
        let [place, p0, p1, ..] = peer.to_le_bytes();
        let [d0, d1, d2, ..] = detail.to_le_bytes();
        let stand = || {
            Some(match PortStand::from_code(state)? {
                PortStand::Idle => Stand::Idle,
                PortStand::Waits => Stand::Waits(place),
                PortStand::Taken => Stand::Taken(place),
                PortStand::Connected => {
                    Stand::Connected(End { place, entry: u16::from_le_bytes([p0, p1]) })
                }
                PortStand::Refused => Stand::Refused,
                PortStand::Gone => Stand::Gone,
            })
        };
        let what = match ThingKind::from_code(kind)? {
            ThingKind::SendPort => What::Send(stand()?),
            ThingKind::ReceivePort => What::Receive {
                is_connected: state & 1 != 0,
                is_masked: state & 2 != 0,
                is_pending: state & 4 != 0,
                bound: (state & 8 != 0).then_some((u16::from_le_bytes([d0, d1]), d2)),
                is_grouped: state & 16 != 0,
            },
            ThingKind::MessagePort => What::Channel(stand()?),
            ThingKind::SharedArea if state == PortStand::Connected.code() => What::Attached(d0),
            ThingKind::SharedArea => What::Shared(stand()?),
            ThingKind::Area => What::Area(d0),
            ThingKind::Object => What::Object(u16::from_le_bytes([d0, d1])),
            ThingKind::EventRequest | ThingKind::ChannelRequest | ThingKind::AreaRequest => {
                What::Request((state == PortStand::Waits.code()).then_some(place))
            }
        };
        Some(Self { entry: u16::from_le_bytes([e0, e1]), what })
    }
}

/// An exit of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// How long ago; an hour and more is told as 4,294 s.
    pub ago: Duration,
    /// Where the guest was.
    pub pc: u64,
    /// The syndrome, as ESR_EL2 had it (Arm ARM D24.2.37).
    pub syndrome: u32,
    /// Of an abort the address, of a call its number; else 0.
    pub address: u64,
}

impl Exit {
    pub(crate) fn decode([pc, why, address]: [u64; 3]) -> Self {
        let low = |word: u64| u32::try_from(word & 0xffff_ffff).unwrap_or(0);
        let ago = Duration::from_micros(u64::from(low(why >> 32)));
        Self { ago, pc, syndrome: low(why), address }
    }
}

/// Why, in words.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { syndrome, address, .. } = *self;
        let direction = if syndrome & 1 << 6 == 0 { "read" } else { "write" };
        match syndrome >> 26 {
            _ if syndrome == u32::MAX => f.write_str("interrupt"),
            0x01 => f.write_str(if syndrome & 1 == 0 { "WFI" } else { "WFE" }),
            0x07 => f.write_str("floating point"),
            0x16 => write!(f, "HVC {address:#x}"),
            0x17 => write!(f, "SMC {address:#x}"),
            0x18 => f.write_str(if syndrome & 1 == 0 {
                "write of a system register"
            } else {
                "read of a system register"
            }),
            0x20 => write!(f, "instruction fetch at {address:#x}"),
            0x24 => write!(f, "{direction} at {address:#x}"),
            class => write!(f, "exception class {class:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Exit, Stand, Thing, What};
    use core::time::Duration;

    #[test]
    fn words_become_what_they_say() {
        let receive = |is_pending, bound| What::Receive {
            is_connected: true,
            is_masked: false,
            is_pending,
            bound,
            is_grouped: false,
        };
        let end = End { place: 7, entry: 0x203 };
        let none = u64::MAX;
        for (words, what) in [
            ([0x0102_0005, none, 0], receive(false, None)),
            ([0x0d02_0005, none, 65 | 3 << 16], receive(true, Some((65, 3)))),
            ([0x0101_0005, none, 0], What::Send(Stand::Idle)),
            ([0x0404_0005, 7 | 0x203 << 8, 0], What::Channel(Stand::Connected(end))),
            ([0x0204_0005, 7, 0], What::Channel(Stand::Waits(7))),
            ([0x0604_0005, none, 0], What::Channel(Stand::Gone)),
            ([0x0309_0005, 7, 0], What::Shared(Stand::Taken(7))),
            ([0x0509_0005, none, 0], What::Shared(Stand::Refused)),
            ([0x0409_0005, none, 2 | 1 << 8], What::Attached(2)),
            ([0x0006_0005, none, 1 | 9 << 8], What::Area(1)),
            ([0x0008_0005, none, 12], What::Object(12)),
            ([0x0205_0005, 7 | 1 << 8, 0], What::Request(Some(7))),
            ([0x0603_0005, none, 0], What::Request(None)),
        ] {
            assert_eq!(Thing::decode(words), Some(Thing { entry: 5, what }), "{words:x?}");
        }
        for words in [[5, none, 0], [0x00ff_0005, none, 0], [0x0904_0005, none, 0]] {
            assert_eq!(Thing::decode(words), None, "{words:x?}");
        }
    }

    #[test]
    fn an_exit_says_why_in_words() {
        for (syndrome, address, words) in [
            (u32::MAX, 0, "interrupt"),
            (0x01 << 26, 0, "WFI"),
            (0x16 << 26, 0xc600_0002, "HVC 0xc6000002"),
            (0x18 << 26 | 1, 0, "read of a system register"),
            (0x24 << 26 | 1 << 6, 0x900_0000, "write at 0x9000000"),
            (0x24 << 26, 0x900_0018, "read at 0x9000018"),
            (0x3f << 26, 0, "exception class 0x3f"),
        ] {
            let exit = Exit::decode([0x4008_0000, u64::from(syndrome) | 25 << 32, address]);
            assert_eq!((exit.to_string().as_str(), exit.pc), (words, 0x4008_0000));
            assert_eq!(exit.ago, Duration::from_micros(25));
        }
    }
}
