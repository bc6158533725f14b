//! The calls of the policy program, decoded (P7).

use crate::call::{DecodeError, check_unused};
use crate::{CoreId, Ipa, LookCall, PartitionId, PartitionSlot, Resource, VcpuIndex};

/// A partition as the policy calls name it: its place, and which of the incarnations there is meant. One that was never
/// started has id 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    /// Its place.
    pub place: PartitionSlot,
    /// Its id.
    pub id: PartitionId,
}

impl PartitionRef {
    /// The word of the calls: bits 0 to 31 the id, bits 32 to 39 the place.
    #[must_use]
    pub fn encode(self) -> u64 {
        u64::from(self.id.0) | u64::from(self.place.0) << 32
    }

    /// The partition of a word; `None` if bits above are set.
    #[must_use]
    pub fn decode(word: u64) -> Option<Self> {
        let [a, b, c, d, place, high @ ..] = word.to_le_bytes();
        let id = PartitionId(u32::from_le_bytes([a, b, c, d]));
        (high == [0; 3]).then_some(Self { place: PartitionSlot(place), id })
    }
}

/// Whether a partition that is built waits for another start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It goes on.
    No,
    /// It waits, and can be loaded meanwhile.
    WhenBuilt,
}

/// The half of a name that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePart {
    /// Bytes 0 to 23.
    First,
    /// Bytes 24 to 31.
    Rest,
}

impl NamePart {
    /// The half with this number.
    #[must_use]
    pub const fn decode(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::First),
            1 => Some(Self::Rest),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Rest => 1,
        }
    }

    /// How many bytes of the name are before it.
    #[must_use]
    pub const fn skipped(self) -> usize {
        match self {
            Self::First => 0,
            Self::Rest => 24,
        }
    }
}

/// The number of a wish for time of a core: the resource's.
const TIME: u64 = 0;
/// The number of a wish for a peer.
const PEER: u64 = 16;
/// The number of a wish for vCPUs.
const VCPUS: u64 = 17;
/// The number of a wish for a device.
const DEVICE: u64 = 18;
/// All of a core.
const WHOLE_PPM: u32 = 1_000_000;

/// What a partition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// So much more of a resource; of core time it is [`Wish::Time`].
    More(Resource, u64),
    /// So much more time for one of its vCPUs, in ppm of that one's home core.
    Time(VcpuIndex, u32),
    /// So many more of the vCPUs that are kept back.
    Vcpus(u8),
    /// To be permitted to ask the partition at this place.
    Peer(PartitionSlot),
    /// One of the devices that are kept back, by its number among them.
    Device(u8),
}

impl Wish {
    /// How much of it all of it is, as REQUEST_ANSWER has it: of a peer, or a device, 0.
    #[must_use]
    pub fn amount(self) -> u64 {
        match self {
            Self::More(_, amount) => amount,
            Self::Time(_, ppm) => u64::from(ppm),
            Self::Vcpus(count) => u64::from(count),
            Self::Peer(_) | Self::Device(_) => 0,
        }
    }

    /// What and how much, as the calls have it.
    #[must_use]
    pub fn encode(self) -> [u64; 2] {
        match self {
            Self::More(resource, amount) => [u64::from(resource.number()), amount],
            Self::Time(vcpu, ppm) => [TIME, u64::from(ppm) | u64::from(vcpu.0) << 32],
            Self::Vcpus(count) => [VCPUS, u64::from(count)],
            Self::Peer(place) => [PEER, u64::from(place.0)],
            Self::Device(number) => [DEVICE, u64::from(number)],
        }
    }

    /// The wish of two arguments.
    ///
    /// # Errors
    /// The number of the argument that is out of range.
    pub fn decode(what: u64, amount: u64) -> Result<Self, u8> {
        if what == PEER {
            let place = u8::try_from(amount).ok().filter(|_| amount < PLACES).ok_or(2)?;
            return Ok(Self::Peer(PartitionSlot(place)));
        }
        if what == TIME {
            let [a, b, c, d, vcpu, high @ ..] = amount.to_le_bytes();
            let ppm = u32::from_le_bytes([a, b, c, d]);
            let is_right = (1..=WHOLE_PPM).contains(&ppm) && high == [0; 3];
            return if is_right { Ok(Self::Time(VcpuIndex(vcpu), ppm)) } else { Err(2) };
        }
        if what == VCPUS {
            let count = u8::try_from(amount).ok().filter(|count| *count != 0).ok_or(2)?;
            return Ok(Self::Vcpus(count));
        }
        if what == DEVICE {
            let number = u8::try_from(amount).ok().filter(|_| amount < DEVICES).ok_or(2)?;
            return Ok(Self::Device(number));
        }
        match Resource::try_from(what) {
            Ok(
                resource @ (Resource::IpaSpace
                | Resource::Memory
                | Resource::ManagementMemory
                | Resource::EventPorts),
            ) if amount != 0 => Ok(Self::More(resource, amount)),
            Ok(
                Resource::IpaSpace
                | Resource::Memory
                | Resource::ManagementMemory
                | Resource::EventPorts,
            ) => Err(2),
            Ok(
                Resource::CoreTime | Resource::Devices | Resource::CacheShare | Resource::BusShare,
            )
            | Err(()) => Err(1),
        }
    }
}

/// A request: what is wanted, and where the asker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub wish: Wish,
    /// The receive port; 0 is none.
    pub port: u64,
}

impl Wanted {
    pub(crate) fn decode(x: &[u64; 6]) -> Result<Self, DecodeError> {
        check_unused(x, 3)?;
        let [what, amount, port, ..] = *x;
        let wish = Wish::decode(what, amount).map_err(DecodeError::Argument)?;
        Ok(Self { wish, port })
    }
}

/// A decoded call of the policy program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyCall {
    /// `PARTITION_LIST`: the place.
    List(u8),
    /// `PARTITION_NAME`
    Name(PartitionRef, NamePart),
    /// `LIMIT_READ`
    LimitRead(PartitionRef, Resource),
    /// `LIMIT_SET`: `None` is unset.
    LimitSet(PartitionRef, Resource, Option<u64>),
    /// `PARTITION_START`
    Start(PartitionRef, Hold),
    /// The same call, of a held life only: no other one begins.
    GoOn(PartitionRef),
    /// `PARTITION_STOP`
    Stop(PartitionRef),
    /// `PARTITION_RESTART`
    Restart(PartitionRef),
    /// `PARTITION_PAUSE`
    Pause(PartitionRef),
    /// `PARTITION_RESUME`
    Resume(PartitionRef),
    /// `POLICY_NOTIFY`: the receive port.
    Notify(u64),
    /// `NOTICE_TAKE`
    TakeNotice,
    /// `PARTITION_CREATE`: the name.
    Create([u64; 4]),
    /// `PARTITION_DESTROY`
    Destroy(PartitionRef),
    /// `VCPU_ADD`
    AddVcpu(PartitionRef, NewVcpu),
    /// `MEMORY_ADD`
    AddMemory(PartitionRef, Ipa, u64),
    /// `IMAGE_ADD`: the image's number, and where it goes.
    AddImage(PartitionRef, u64, Ipa),
    /// `ENTRY_SET`: the entry and `x0`.
    SetEntry(PartitionRef, Ipa, u64),
    /// `CONSOLE_SET`
    SetConsole(PartitionRef, bool),
    /// `TALK_SET`: handles and requests.
    SetTalk(PartitionRef, u16, u16),
    /// `PEERS_SET`: who asks, who is asked, and whether that is permitted.
    SetPeers(PartitionRef, PartitionRef, bool),
    /// `PARTITION_LOAD`
    Load(PartitionRef, Copying),
    /// `HANDOUT_READ`
    HandOut(Resource),
    /// `IMAGE_INFO`: the image's number, and which part of what there is to tell.
    Image(u64, u8),
    /// `CORE_READ`
    Core(CoreId),
    /// `REQUEST_TAKE`
    TakeRequest,
    /// `REQUEST_ANSWER`: how much is granted, `None` is a refusal; the request's number.
    Answer(PartitionRef, Option<u64>, u64),
    /// `AREAS_SET`
    SetAreas(PartitionRef, NewAreas),
    /// `DEVICE_ADD`
    AddDevice(PartitionRef, NewDevice),
    /// `NOTE_SET`: which piece, and its words.
    SetNote(PartitionRef, u8, [u64; 2]),
    /// `NOTE_READ`: which piece.
    Note(PartitionRef, u8),
    /// `CONSOLE_…`, `PORT_READ`, `EXIT_READ`.
    Look(LookCall),
}

/// A vCPU that is to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewVcpu {
    /// The cores where it may live.
    pub cores: u64,
    /// Its budget and its period in us; both 0: it owns its core.
    pub budget_us: u32,
    /// See `budget_us`.
    pub period_us: u32,
    /// Higher runs first.
    pub priority: u8,
    /// It is kept back: it cannot be turned on before it was asked for and granted.
    pub is_kept: bool,
}

/// A device that is to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Whose it is.
    pub owner: PartitionRef,
    /// Which of them.
    pub number: u8,
    /// It is kept back: it is not there before it was asked for and granted.
    pub is_kept: bool,
}

/// How many message areas and channels a partition is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewAreas {
    /// Slots of 4 KiB; each channel takes two.
    pub pages: u16,
    /// Slots of 2 MiB.
    pub blocks: u16,
    /// Slots of 1 GiB.
    pub giants: u16,
    /// Message ports.
    pub channels: u16,
    /// Shares in shared areas.
    pub shares: u16,
}

impl NewAreas {
    /// The two words of the call.
    #[must_use]
    pub fn encode(self) -> [u64; 2] {
        let Self { pages, blocks, giants, channels, shares } = self;
        let [pages, blocks, giants, channels, shares] =
            [pages, blocks, giants, channels, shares].map(u64::from);
        [pages | blocks << 16 | giants << 32, channels | shares << 16]
    }

    fn decode(slots: u64, ends: u64) -> Result<Self, DecodeError> {
        let [a, b, c, d, e, f, 0, 0] = slots.to_le_bytes() else {
            return Err(DecodeError::Argument(2));
        };
        let [g, h, i, j, 0, 0, 0, 0] = ends.to_le_bytes() else {
            return Err(DecodeError::Argument(3));
        };
        let [pages, blocks, giants, channels, shares] =
            [[a, b], [c, d], [e, f], [g, h], [i, j]].map(u16::from_le_bytes);
        Ok(Self { pages, blocks, giants, channels, shares })
    }
}

/// What is to be copied into a held partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    /// To where in its memory.
    pub to: Ipa,
    /// From where in the caller's.
    pub from: Ipa,
    /// How many bytes.
    pub bytes: u64,
}

/// How many devices of a partition can be named.
const DEVICES: u64 = 64;
/// The most places.
const PLACES: u64 = 64;
/// The pieces of a note.
const NOTE_PIECES: u64 = 252;

impl PolicyCall {
    /// Decodes a call from 0x100 on.
    ///
    /// # Errors
    /// `NotSupported` for an unknown number; `Argument(n)` for the first bad register.
    pub fn decode(number: u32, x: [u64; 6]) -> Result<Self, DecodeError> {
        decode(number, &x)
    }
}

fn decode(number: u32, x: &[u64; 6]) -> Result<PolicyCall, DecodeError> {
    use PolicyCall as C;
    if matches!(number, 0x128..=0x12b) {
        return crate::look::decode(number, x).map(C::Look);
    }
    let [a, b, c, d, ..] = *x;
    let used = match number {
        0x10a | 0x120 => 0,
        0x100 | 0x105..=0x109 | 0x111 | 0x11a | 0x11c => 1,
        0x101 | 0x102 | 0x104 | 0x116 | 0x11b | 0x123 => 2,
        0x103 | 0x113..=0x115 | 0x117 | 0x118 | 0x11d | 0x11e => 3,
        0x110 | 0x112 | 0x119 | 0x121 | 0x122 => 4,
        _ => return Err(DecodeError::NotSupported),
    };
    check_unused(x, used)?;
    let bad = DecodeError::Argument;
    let partition = || PartitionRef::decode(a).ok_or(bad(1));
    let resource = || Resource::try_from(b).map_err(|()| bad(2));
    let piece = || u8::try_from(b).ok().filter(|_| b < NOTE_PIECES).ok_or(bad(2));
    Ok(match number {
        0x100 => C::List(u8::try_from(a).ok().filter(|_| a < PLACES).ok_or(bad(1))?),
        0x101 => C::Name(partition()?, NamePart::decode(b).ok_or(bad(2))?),
        0x102 => C::LimitRead(partition()?, resource()?),
        0x103 => C::LimitSet(partition()?, resource()?, (c != u64::MAX).then_some(c)),
        0x104 => match b {
            0 => C::Start(partition()?, Hold::No),
            1 => C::Start(partition()?, Hold::WhenBuilt),
            2 => C::GoOn(partition()?),
            _ => return Err(bad(2)),
        },
        0x105 => C::Stop(partition()?),
        0x106 => C::Restart(partition()?),
        0x107 => C::Pause(partition()?),
        0x108 => C::Resume(partition()?),
        0x109 => C::Notify(a),
        0x10a => C::TakeNotice,
        0x110 => C::Create([a, b, c, d]),
        0x111 => C::Destroy(partition()?),
        0x112 => C::AddVcpu(partition()?, new_vcpu(b, c, d)?),
        0x113 => C::AddMemory(partition()?, Ipa(b), c),
        0x114 => C::AddImage(partition()?, b, Ipa(c)),
        0x115 => C::SetEntry(partition()?, Ipa(b), c),
        0x116 => C::SetConsole(partition()?, flag(b, 2)?),
        0x117 => C::SetTalk(
            partition()?,
            u16::try_from(b).map_err(|_| bad(2))?,
            u16::try_from(c).map_err(|_| bad(3))?,
        ),
        0x118 => C::SetPeers(partition()?, PartitionRef::decode(b).ok_or(bad(2))?, flag(c, 3)?),
        0x119 => C::Load(partition()?, Copying { to: Ipa(b), from: Ipa(c), bytes: d }),
        0x11a => C::HandOut(Resource::try_from(a).map_err(|()| bad(1))?),
        0x11b => C::Image(a, u8::try_from(b).map_err(|_| bad(2))?),
        0x11d => C::SetAreas(partition()?, NewAreas::decode(b, c)?),
        0x11e => C::AddDevice(partition()?, new_device(b, c)?),
        0x120 => C::TakeRequest,
        0x121 => match (flag(b, 2)?, c) {
            (true, amount) => C::Answer(partition()?, Some(amount), d),
            (false, 0) => C::Answer(partition()?, None, d),
            (false, _) => return Err(bad(3)),
        },
        0x122 => C::SetNote(partition()?, piece()?, [c, d]),
        0x123 => C::Note(partition()?, piece()?),
        _ => C::Core(CoreId(u8::try_from(a).ok().filter(|_| a < 128).ok_or(bad(1))?)),
    })
}

fn new_vcpu(cores: u64, time: u64, priority: u64) -> Result<NewVcpu, DecodeError> {
    let [a, b, c, d, e, f, g, h] = time.to_le_bytes();
    let (budget_us, period_us) =
        (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let [priority, is_kept, high @ ..] = priority.to_le_bytes();
    if is_kept > 1 || high != [0; 6] {
        return Err(DecodeError::Argument(4));
    }
    Ok(NewVcpu { cores, budget_us, period_us, priority, is_kept: is_kept == 1 })
}

fn new_device(owner: u64, which: u64) -> Result<NewDevice, DecodeError> {
    let owner = PartitionRef::decode(owner).ok_or(DecodeError::Argument(2))?;
    let [number, is_kept, high @ ..] = which.to_le_bytes();
    if u64::from(number) >= DEVICES || is_kept > 1 || high != [0; 6] {
        return Err(DecodeError::Argument(3));
    }
    Ok(NewDevice { owner, number, is_kept: is_kept == 1 })
}

/// An argument that is 0 or 1.
fn flag(value: u64, register: u8) -> Result<bool, DecodeError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Argument(register)),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Copying, Hold, NamePart, NewAreas, NewDevice, NewVcpu, PartitionRef, PolicyCall, Wish,
        decode,
    };
    use crate::call::DecodeError;
    use crate::{CoreId, Ipa, PartitionId, PartitionSlot, Resource, VcpuIndex};

    const WORD: u64 = 0x3f_dead_beef;
    const MEANT: PartitionRef =
        PartitionRef { place: PartitionSlot(0x3f), id: PartitionId(0xdead_beef) };

    #[test]
    fn a_partition_comes_back_from_its_word_and_from_no_other() {
        assert_eq!(PartitionRef::decode(WORD), Some(MEANT));
        assert_eq!(MEANT.encode(), WORD);
        for word in [1 << 40, u64::MAX, WORD | 1 << 63] {
            assert_eq!(PartitionRef::decode(word), None, "{word:#x}");
        }
    }

    #[test]
    fn arguments_arrive_where_they_belong() {
        let cases = [
            (0x100, [63, 0, 0], PolicyCall::List(63)),
            (0x101, [WORD, 1, 0], PolicyCall::Name(MEANT, NamePart::Rest)),
            (0x102, [WORD, 7, 0], PolicyCall::LimitRead(MEANT, Resource::BusShare)),
            (0x103, [WORD, 2, 9], PolicyCall::LimitSet(MEANT, Resource::Memory, Some(9))),
            (0x103, [WORD, 2, u64::MAX], PolicyCall::LimitSet(MEANT, Resource::Memory, None)),
            (0x104, [WORD, 1, 0], PolicyCall::Start(MEANT, Hold::WhenBuilt)),
            (0x104, [WORD, 2, 0], PolicyCall::GoOn(MEANT)),
            (0x105, [WORD, 0, 0], PolicyCall::Stop(MEANT)),
            (0x106, [WORD, 0, 0], PolicyCall::Restart(MEANT)),
            (0x107, [WORD, 0, 0], PolicyCall::Pause(MEANT)),
            (0x108, [WORD, 0, 0], PolicyCall::Resume(MEANT)),
            (0x109, [u64::MAX, 0, 0], PolicyCall::Notify(u64::MAX)),
        ];
        for (number, [a, b, c], call) in cases {
            assert_eq!(decode(number, &[a, b, c, 0, 0, 0]), Ok(call));
        }
    }

    #[test]
    fn what_can_be_asked_for_is_what_a_limit_or_a_permission_gives() {
        for what in 0..20 {
            let is_there = matches!(what, 0..=4 | 16..=18);
            assert_eq!(Wish::decode(what, 5).is_ok(), is_there, "{what}");
            if let Ok(wish) = Wish::decode(what, 5) {
                assert_eq!(wish.encode(), [what, 5]);
            }
        }
        let time = |amount| Wish::decode(0, amount);
        assert_eq!(time(3 << 32 | 1_000_000), Ok(Wish::Time(VcpuIndex(3), 1_000_000)));
        for wrong in [0, 3 << 32, 1_000_001, 1 << 40 | 1, u64::MAX] {
            assert_eq!(time(wrong), Err(2), "{wrong:#x}");
        }
        assert_eq!(Wish::Time(VcpuIndex(3), 9).encode(), [0, 3 << 32 | 9]);
        assert_eq!([Wish::decode(17, 0), Wish::decode(17, 256)], [Err(2); 2]);
        assert_eq!(Wish::decode(17, 255), Ok(Wish::Vcpus(255)));
        assert_eq!([Wish::decode(18, 64), Wish::decode(18, u64::MAX)], [Err(2); 2]);
        assert_eq!(Wish::decode(18, 63), Ok(Wish::Device(63)));
        assert_eq!(Wish::decode(2, 0), Err(2));
        assert_eq!(Wish::decode(16, 64), Err(2));
        assert_eq!(Wish::decode(16, 0), Ok(Wish::Peer(PartitionSlot(0))));
        assert_eq!(Wish::decode(u64::MAX, 1), Err(1));
    }

    #[test]
    fn what_makes_a_partition_arrives_where_it_belongs() {
        let vcpu =
            NewVcpu { cores: 6, budget_us: 2000, period_us: 10_000, priority: 9, is_kept: false };
        let theirs = PartitionRef { place: PartitionSlot(3), id: PartitionId(0) };
        let areas = NewAreas { pages: 1, blocks: 2, giants: 3, channels: 4, shares: 5 };
        assert_eq!(areas.encode(), [3 << 32 | 2 << 16 | 1, 5 << 16 | 4]);
        let kept = NewVcpu { is_kept: true, ..vcpu };
        let device = NewDevice { owner: theirs, number: 63, is_kept: false };
        let kept_device = NewDevice { is_kept: true, ..device };
        let copying = Copying { to: Ipa(1), from: Ipa(2), bytes: 3 };
        for (number, x, call) in [
            (0x110, [1, 2, 3, 4], PolicyCall::Create([1, 2, 3, 4])),
            (0x111, [WORD, 0, 0, 0], PolicyCall::Destroy(MEANT)),
            (0x112, [WORD, 6, 10_000 << 32 | 2000, 9], PolicyCall::AddVcpu(MEANT, vcpu)),
            (0x112, [WORD, 6, 10_000 << 32 | 2000, 0x109], PolicyCall::AddVcpu(MEANT, kept)),
            (0x113, [WORD, 1, 2, 0], PolicyCall::AddMemory(MEANT, Ipa(1), 2)),
            (0x114, [WORD, 1, 2, 0], PolicyCall::AddImage(MEANT, 1, Ipa(2))),
            (0x115, [WORD, 1, 2, 0], PolicyCall::SetEntry(MEANT, Ipa(1), 2)),
            (0x116, [WORD, 1, 0, 0], PolicyCall::SetConsole(MEANT, true)),
            (0x117, [WORD, 65_535, 2, 0], PolicyCall::SetTalk(MEANT, 65_535, 2)),
            (0x118, [WORD, WORD, 0, 0], PolicyCall::SetPeers(MEANT, MEANT, false)),
            (0x119, [WORD, 1, 2, 3], PolicyCall::Load(MEANT, copying)),
            (0x11a, [7, 0, 0, 0], PolicyCall::HandOut(Resource::BusShare)),
            (0x11b, [u64::MAX, 0, 0, 0], PolicyCall::Image(u64::MAX, 0)),
            (0x11b, [3, 255, 0, 0], PolicyCall::Image(3, 255)),
            (0x11c, [127, 0, 0, 0], PolicyCall::Core(CoreId(127))),
            (
                0x11d,
                [WORD, 3 << 32 | 2 << 16 | 1, 5 << 16 | 4, 0],
                PolicyCall::SetAreas(MEANT, areas),
            ),
            (0x11e, [WORD, 3 << 32, 63, 0], PolicyCall::AddDevice(MEANT, device)),
            (0x11e, [WORD, 3 << 32, 63 | 1 << 8, 0], PolicyCall::AddDevice(MEANT, kept_device)),
            (0x120, [0; 4], PolicyCall::TakeRequest),
            (0x121, [WORD, 1, 9, 5], PolicyCall::Answer(MEANT, Some(9), 5)),
            (0x121, [WORD, 0, 0, u64::MAX], PolicyCall::Answer(MEANT, None, u64::MAX)),
            (0x122, [WORD, 251, 3, 4], PolicyCall::SetNote(MEANT, 251, [3, 4])),
            (0x123, [WORD, 251, 0, 0], PolicyCall::Note(MEANT, 251)),
        ] {
            let [a, b, c, d] = x;
            assert_eq!(decode(number, &[a, b, c, d, 0, 0]), Ok(call));
        }
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        for (number, x, register) in [
            (0x100, [64, 0, 0, 0, 0, 0], 1),
            (0x100, [u64::MAX, 0, 0, 0, 0, 0], 1),
            (0x101, [WORD, 2, 0, 0, 0, 0], 2),
            (0x101, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x102, [WORD, 8, 0, 0, 0, 0], 2),
            (0x103, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x104, [WORD, 3, 0, 0, 0, 0], 2),
            (0x105, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x109, [0, 1, 0, 0, 0, 0], 2),
            (0x112, [WORD, 1, 0, 512, 0, 0], 4),
            (0x112, [WORD, 1, 0, 1 << 16, 0, 0], 4),
            (0x116, [WORD, 2, 0, 0, 0, 0], 2),
            (0x117, [WORD, 65_536, 0, 0, 0, 0], 2),
            (0x117, [WORD, 0, 65_536, 0, 0, 0], 3),
            (0x118, [WORD, 1 << 40, 0, 0, 0, 0], 2),
            (0x118, [WORD, WORD, 2, 0, 0, 0], 3),
            (0x11a, [8, 0, 0, 0, 0, 0], 1),
            (0x11c, [128, 0, 0, 0, 0, 0], 1),
            (0x11d, [WORD, 1 << 48, 0, 0, 0, 0], 2),
            (0x11d, [WORD, 0, 1 << 32, 0, 0, 0], 3),
            (0x11e, [WORD, 1 << 40, 0, 0, 0, 0], 2),
            (0x11e, [WORD, WORD, 64, 0, 0, 0], 3),
            (0x11e, [WORD, WORD, 2 << 8, 0, 0, 0], 3),
            (0x11e, [WORD, WORD, 1 << 16, 0, 0, 0], 3),
            (0x121, [WORD, 2, 0, 0, 0, 0], 2),
            (0x122, [WORD, 252, 0, 0, 0, 0], 2),
            (0x122, [WORD, 0, 0, 0, 1, 0], 5),
            (0x123, [1 << 40, 0, 0, 0, 0, 0], 1),
            (0x123, [WORD, 1 << 32, 0, 0, 0, 0], 2),
            (0x123, [WORD, 0, 1, 0, 0, 0], 3),
            (0x121, [WORD, 0, 1, 0, 0, 0], 3),
        ] {
            assert_eq!(decode(number, &x), Err(DecodeError::Argument(register)), "{number:#x}");
        }
    }
}
