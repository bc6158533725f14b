//! The calls of the policy program, one function per row of the call table. `shikiri_policy` makes values of them.

pub use shikiri_abi::{Hold, NamePart, NewAreas, NewDevice, NewVcpu, PartitionRef, Wish};
use shikiri_abi::{Ipa, Status};

use crate::partition::{AccountLine, Refusal, Resource, function, request};
use crate::talk::Handle;

/// What PARTITION_LIST tells, as it stands in the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which partition.
    pub who: PartitionRef,
    /// Its phase: 1 created … 8 being destroyed.
    pub phase: u8,
    /// Why it ended last, 0 if it did not.
    pub cause: u8,
    /// The code of its end.
    pub code: u32,
    /// It will start again by itself.
    pub restarts: bool,
    /// How often it was started.
    pub starts: u32,
    /// Its vCPUs.
    pub vcpus: u8,
    /// It was made at run time.
    pub is_made: bool,
    /// It is the caller.
    pub is_caller: bool,
}

/// What NOTICE_TAKE tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who has ended.
    pub who: PartitionRef,
    /// Why, as a number.
    pub cause: u8,
    /// The code.
    pub code: u32,
    /// It will start again by itself.
    pub restarts: bool,
    /// Earlier ends of it that were not told.
    pub missed: u64,
}

/// What another version of the hypervisor has answered.
const STRANGE: Refusal = Refusal { code: Status::NotSupported.code(), which: 0 };

fn partition(word: u64) -> Result<PartitionRef, Refusal> {
    PartitionRef::decode(word).ok_or(STRANGE)
}

/// Calls `PARTITION_LIST`.
///
/// # Errors
/// `NotPermitted`; `NotFound` for a place where nobody is; `Range` behind the last place.
pub fn list(place: u8) -> Result<Listed, Refusal> {
    let [who, state, counts] = request::<LIST>([u64::from(place), 0, 0, 0, 0, 0])?;
    let [phase, cause, flags, _, a, b, c, d] = state.to_le_bytes();
    let code = u32::from_le_bytes([a, b, c, d]);
    let [a, b, c, d, vcpus, how, ..] = counts.to_le_bytes();
    Ok(Listed {
        who: partition(who)?,
        phase,
        cause,
        code,
        restarts: flags & 1 != 0,
        starts: u32::from_le_bytes([a, b, c, d]),
        vcpus,
        is_made: how & 1 != 0,
        is_caller: how & 2 != 0,
    })
}

/// Calls `PARTITION_NAME`: eight bytes to a word, the first one lowest.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`.
pub fn name(who: PartitionRef, part: NamePart) -> Result<[u64; 3], Refusal> {
    request::<NAME>([who.encode(), part.number(), 0, 0, 0, 0])
}

/// Calls `LIMIT_READ`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`.
pub fn limit_read(who: PartitionRef, resource: Resource) -> Result<AccountLine, Refusal> {
    let arguments = [who.encode(), u64::from(resource.number()), 0, 0, 0, 0];
    let [limit, used, high] = request::<LIMIT_READ>(arguments)?;
    Ok(AccountLine { limit: (limit != u64::MAX).then_some(limit), used, high })
}

/// Calls `LIMIT_SET`; `None` is unset.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `OverLimit` with 256 + the resource: so much cannot be handed out.
pub fn limit_set(who: PartitionRef, resource: Resource, limit: Option<u64>) -> Result<(), Refusal> {
    let limit = limit.unwrap_or(u64::MAX);
    let arguments = [who.encode(), u64::from(resource.number()), limit, 0, 0, 0];
    request::<LIMIT_SET>(arguments).map(|_| ())
}

/// Calls `PARTITION_START`: the partition as it is named from now on.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it has ended, or is held.
pub fn start(who: PartitionRef, hold: Hold) -> Result<PartitionRef, Refusal> {
    let hold = u64::from(hold == Hold::WhenBuilt);
    request::<START>([who.encode(), hold, 0, 0, 0, 0]).and_then(|[who, ..]| partition(who))
}

/// Calls `PARTITION_START` for a held life only: no other one begins.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is held.
pub fn go_on(who: PartitionRef) -> Result<(), Refusal> {
    request::<START>([who.encode(), 2, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `PARTITION_STOP`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` if there is nothing to end.
pub fn stop(who: PartitionRef) -> Result<(), Refusal> {
    request::<STOP>([who.encode(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `PARTITION_RESTART`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` of one that was never started, or is being destroyed.
pub fn restart(who: PartitionRef) -> Result<(), Refusal> {
    request::<RESTART>([who.encode(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `PARTITION_PAUSE` once.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is active or paused; `InvalidParameter` of the caller itself;
/// `Again`: one of its vCPUs is still on a core.
pub fn pause(who: PartitionRef) -> Result<(), Refusal> {
    request::<PAUSE>([who.encode(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `PARTITION_RESUME`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is paused.
pub fn resume(who: PartitionRef) -> Result<(), Refusal> {
    request::<RESUME>([who.encode(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `POLICY_NOTIFY`. An event can be of news that were seen already: look after each, and wait again.
///
/// # Errors
/// `NotPermitted`; `BadHandle` if it is no receive port.
pub fn notify(port: Handle) -> Result<(), Refusal> {
    request::<NOTIFY>([port.0, 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `NOTICE_TAKE`.
///
/// # Errors
/// `NotPermitted`; `Empty`.
pub fn take_notice() -> Result<Notice, Refusal> {
    let [who, why, missed] = request::<TAKE_NOTICE>([0; 6])?;
    let [cause, _, flags, _, a, b, c, d] = why.to_le_bytes();
    let code = u32::from_le_bytes([a, b, c, d]);
    Ok(Notice { who: partition(who)?, cause, code, restarts: flags & 1 != 0, missed })
}

/// Calls `PARTITION_CREATE`: eight bytes of the name to a word, the first one lowest.
///
/// # Errors
/// `NotPermitted`; `InvalidParameter` if that is no name; `Exists`; `Full`; `Again`.
pub fn create([a, b, c, d]: [u64; 4]) -> Result<PartitionRef, Refusal> {
    request::<CREATE>([a, b, c, d, 0, 0]).and_then(|[who, ..]| partition(who))
}

/// Calls `PARTITION_DESTROY` once.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `InvalidParameter` of one of the description; `WrongState` unless it has ended or was never
/// started; `Again`.
pub fn destroy(who: PartitionRef) -> Result<(), Refusal> {
    request::<DESTROY>([who.encode(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `VCPU_ADD`: its home core, and what is promised there in ppm.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Range`; `Full`; `Exists`; `OverLimit`, with 0, 256 or 512.
pub fn add_vcpu(who: PartitionRef, vcpu: NewVcpu) -> Result<(u64, u64), Refusal> {
    let NewVcpu { cores, budget_us, period_us, priority, is_kept } = vcpu;
    let time = u64::from(budget_us) | u64::from(period_us) << 32;
    let priority = u64::from(priority) | u64::from(is_kept) << 8;
    let arguments = [who.encode(), cores, time, priority, 0, 0];
    request::<ADD_VCPU>(arguments).map(|[core, share, _]| (core, share))
}

/// Calls `MEMORY_ADD`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Range`; `Exists`; `Full`.
pub fn add_memory(who: PartitionRef, address: Ipa, bytes: u64) -> Result<(), Refusal> {
    request::<ADD_MEMORY>([who.encode(), address.0, bytes, 0, 0, 0]).map(|_| ())
}

/// Calls `IMAGE_ADD`: the image's size.
///
/// # Errors
/// As [`add_memory`]; `InvalidParameter` if there is no such image.
pub fn add_image(who: PartitionRef, image: u64, address: Ipa) -> Result<u64, Refusal> {
    let arguments = [who.encode(), image, address.0, 0, 0, 0];
    request::<ADD_IMAGE>(arguments).map(|[bytes, ..]| bytes)
}

/// Calls `ENTRY_SET`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Range`.
pub fn set_entry(who: PartitionRef, entry: Ipa, x0: u64) -> Result<(), Refusal> {
    request::<SET_ENTRY>([who.encode(), entry.0, x0, 0, 0, 0]).map(|_| ())
}

/// Calls `CONSOLE_SET`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Exists`.
pub fn set_console(who: PartitionRef, has_console: bool) -> Result<(), Refusal> {
    request::<SET_CONSOLE>([who.encode(), u64::from(has_console), 0, 0, 0, 0]).map(|_| ())
}

/// Calls `TALK_SET`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Range`.
pub fn set_talk(who: PartitionRef, handles: u16, requests: u16) -> Result<(), Refusal> {
    let arguments = [who.encode(), u64::from(handles), u64::from(requests), 0, 0, 0];
    request::<SET_TALK>(arguments).map(|_| ())
}

/// Calls `PEERS_SET`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `InvalidParameter` if both are the same.
pub fn set_peers(asker: PartitionRef, asked: PartitionRef, permit: bool) -> Result<(), Refusal> {
    let arguments = [asker.encode(), asked.encode(), u64::from(permit), 0, 0, 0];
    request::<SET_PEERS>(arguments).map(|_| ())
}

/// Calls `PARTITION_LOAD` once: how many bytes were copied.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is held; `Range`; `Alignment`; `InvalidParameter` of the caller.
pub fn load(who: PartitionRef, to: Ipa, from: Ipa, bytes: u64) -> Result<u64, Refusal> {
    request::<LOAD>([who.encode(), to.0, from.0, bytes, 0, 0]).map(|[copied, ..]| copied)
}

/// Calls `AREAS_SET`.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Range`; `Full`.
pub fn set_areas(who: PartitionRef, areas: NewAreas) -> Result<(), Refusal> {
    let [slots, ends] = areas.encode();
    request::<SET_AREAS>([who.encode(), slots, ends, 0, 0, 0]).map(|_| ())
}

/// Calls `DEVICE_ADD`: where its registers begin, and its first INTID, or 0.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`, `WrongState`; `Exists`; `NotSupported`; `Full`; `Range`; `InvalidParameter`.
pub fn add_device(who: PartitionRef, device: NewDevice) -> Result<(u64, u64), Refusal> {
    let NewDevice { owner, number, is_kept } = device;
    let which = u64::from(number) | u64::from(is_kept) << 8;
    let arguments = [who.encode(), owner.encode(), which, 0, 0, 0];
    request::<ADD_DEVICE>(arguments).map(|[address, intid, _]| (address, intid))
}

/// Calls `HANDOUT_READ`: the limit and what is given.
///
/// # Errors
/// `NotPermitted`.
pub fn handout(resource: Resource) -> Result<(Option<u64>, u64), Refusal> {
    let [limit, given, _] = request::<HANDOUT>([u64::from(resource.number()), 0, 0, 0, 0, 0])?;
    Ok(((limit != u64::MAX).then_some(limit), given))
}

/// Calls `IMAGE_INFO`: the size, and sixteen bytes of the name.
///
/// # Errors
/// `NotPermitted`; `Range` behind the last one.
pub fn image_info(image: u64) -> Result<(u64, [u64; 2]), Refusal> {
    request::<IMAGE>([image, 0, 0, 0, 0, 0]).map(|[bytes, first, second]| (bytes, [first, second]))
}

/// Calls `IMAGE_INFO` for what is behind those sixteen bytes: part 1 has the next 24, and so on; zeros behind the end.
///
/// # Errors
/// As [`image_info`].
pub fn image_name(image: u64, part: u8) -> Result<[u64; 3], Refusal> {
    request::<IMAGE>([image, part.into(), 0, 0, 0, 0])
}

/// Calls `CORE_READ`: what the core has left, in ppm.
///
/// # Errors
/// `NotPermitted`; `Range` behind the last one.
pub fn core_left(core: u8) -> Result<u64, Refusal> {
    request::<CORE>([u64::from(core), 0, 0, 0, 0, 0]).map(|[left, ..]| left)
}

/// Calls `REQUEST_TAKE`: who asks, for what, and the request's number.
///
/// # Errors
/// `NotPermitted`; `Empty`.
pub fn take_request() -> Result<(PartitionRef, Wish, u64), Refusal> {
    let [who, what, amount] = request::<TAKE_REQUEST>([0; 6])?;
    let wish = Wish::decode(what & 0xff, amount).map_err(|_| STRANGE)?;
    Ok((partition(who)?, wish, what >> 8))
}

/// Calls `REQUEST_ANSWER` for the request with this number; `None` refuses.
///
/// # Errors
/// `NotPermitted`, `NotFound`; `PeerGone` if the request is not there any more; `OverLimit` with 256 + the resource: so much cannot be
/// handed out, and the request stays open; `InvalidParameter` for an amount of a peer or a device.
pub fn answer_request(who: PartitionRef, number: u64, granted: Option<u64>) -> Result<(), Refusal> {
    let (answer, amount) = granted.map_or((0, 0), |amount| (1, amount));
    request::<ANSWER>([who.encode(), answer, amount, number, 0, 0]).map(|_| ())
}

/// Calls `NOTE_SET`: 16 bytes of a note.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `InvalidParameter`: a piece behind the last, or one of the description.
pub fn set_note(who: PartitionRef, piece: u8, words: [u64; 2]) -> Result<(), Refusal> {
    let [first, second] = words;
    request::<SET_NOTE>([who.encode(), piece.into(), first, second, 0, 0]).map(|_| ())
}

/// Calls `NOTE_READ`.
///
/// # Errors
/// As of [`set_note`].
pub fn read_note(who: PartitionRef, piece: u8) -> Result<[u64; 2], Refusal> {
    let told = request::<READ_NOTE>([who.encode(), piece.into(), 0, 0, 0, 0]);
    told.map(|[first, second, _]| [first, second])
}

/// How many rows have their wrapper here.
pub(crate) const CALLS: usize = 30;

const SET_NOTE: u32 = function("NOTE_SET", 4);
const READ_NOTE: u32 = function("NOTE_READ", 2);

const TAKE_REQUEST: u32 = function("REQUEST_TAKE", 0);
const ANSWER: u32 = function("REQUEST_ANSWER", 4);

const CREATE: u32 = function("PARTITION_CREATE", 4);
const DESTROY: u32 = function("PARTITION_DESTROY", 1);
const ADD_VCPU: u32 = function("VCPU_ADD", 4);
const ADD_MEMORY: u32 = function("MEMORY_ADD", 3);
const ADD_IMAGE: u32 = function("IMAGE_ADD", 3);
const SET_ENTRY: u32 = function("ENTRY_SET", 3);
const SET_CONSOLE: u32 = function("CONSOLE_SET", 2);
const SET_TALK: u32 = function("TALK_SET", 3);
const ADD_DEVICE: u32 = function("DEVICE_ADD", 3);
const SET_AREAS: u32 = function("AREAS_SET", 3);
const SET_PEERS: u32 = function("PEERS_SET", 3);
const LOAD: u32 = function("PARTITION_LOAD", 4);
const HANDOUT: u32 = function("HANDOUT_READ", 1);
const IMAGE: u32 = function("IMAGE_INFO", 2);
const CORE: u32 = function("CORE_READ", 1);

const LIST: u32 = function("PARTITION_LIST", 1);
const NAME: u32 = function("PARTITION_NAME", 2);
const LIMIT_READ: u32 = function("LIMIT_READ", 2);
const LIMIT_SET: u32 = function("LIMIT_SET", 3);
const START: u32 = function("PARTITION_START", 2);
const STOP: u32 = function("PARTITION_STOP", 1);
const RESTART: u32 = function("PARTITION_RESTART", 1);
const PAUSE: u32 = function("PARTITION_PAUSE", 1);
const RESUME: u32 = function("PARTITION_RESUME", 1);
const NOTIFY: u32 = function("POLICY_NOTIFY", 1);
const TAKE_NOTICE: u32 = function("NOTICE_TAKE", 0);
