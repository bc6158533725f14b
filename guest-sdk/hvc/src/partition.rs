//! The hypervisor's own calls, one function per row of the call table.
#![expect(unsafe_code, reason = "raw calls are unsafe in general; each says here why it is not")]

use core::fmt;

use shikiri_abi::{CALLS, CallRow, IntId, Ipa, PartitionId, Status};
pub use shikiri_abi::{Resource, Wish};

use crate::raw::{Results, hvc};
use crate::talk::Handle;

/// A call that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What `x0` held; [`Refusal::status`] names it.
    pub code: i64,
    /// What `x1` held: the number of the bad argument's register, or which limit.
    pub which: u64,
}

impl Refusal {
    /// The status, if this version of the ABI knows the code.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        Status::from_code(self.code)
    }

    /// Whether it is this one: a comparison, where [`Refusal::status`] looks through all.
    #[inline]
    #[must_use]
    pub const fn is(&self, status: Status) -> bool {
        self.code == status.code()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status() {
            Some(status) => write!(f, "{status} ({})", self.which),
            None => write!(f, "unknown status {} ({})", self.code, self.which),
        }
    }
}

/// What a partition can know of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its id, never reused within one run of the machine.
    pub id: PartitionId,
    /// How many vCPUs it has.
    pub vcpus: u64,
    /// How often a partition of this name has been started, 1 at the first time.
    pub starts: u64,
}

/// One line of the partition's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLine {
    /// The limit; none when unset.
    pub limit: Option<u64>,
    /// What is charged now.
    pub used: u64,
    /// The most that was ever charged.
    pub high: u64,
}

/// Calls `NULL`, which does nothing.
///
/// # Errors
/// Only where no hypervisor of ours answers.
pub fn null() -> Result<(), Refusal> {
    request::<NULL>([0; 6]).map(|_| ())
}

/// Calls `FEATURE`: whether the call with this number exists.
///
/// # Errors
/// `InvalidParameter` for a number above 0x1FF.
pub fn feature(number: u64) -> Result<bool, Refusal> {
    request::<FEATURE>([number, 0, 0, 0, 0, 0]).map(|[present, ..]| present == 1)
}

/// Calls `PARTITION_INFO`: who am I.
///
/// # Errors
/// Only where no hypervisor of ours answers.
pub fn info() -> Result<Info, Refusal> {
    request::<PARTITION_INFO>([0; 6]).map(|[id, vcpus, starts]| Info {
        id: PartitionId(u32::try_from(id).unwrap_or(u32::MAX)),
        vcpus,
        starts,
    })
}

/// Calls `ACCOUNT_READ`: the line of one resource.
///
/// # Errors
/// Only where no hypervisor of ours answers.
pub fn account(resource: Resource) -> Result<AccountLine, Refusal> {
    request::<ACCOUNT_READ>([u64::from(resource.number()), 0, 0, 0, 0, 0]).map(
        |[limit, used, high]| AccountLine {
            limit: if limit == u64::MAX { None } else { Some(limit) },
            used,
            high,
        },
    )
}

/// Calls `PARTITION_END`: ends this partition with `code` in the report (0 = as wished). Returns only if that
/// was refused.
#[must_use]
pub fn end(code: u32) -> Refusal {
    match request::<PARTITION_END>([u64::from(code), 0, 0, 0, 0, 0]) {
        Ok([which, ..]) => Refusal { code: 0, which },
        Err(refusal) => refusal,
    }
}

/// What the hypervisor or the policy program says to a request for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// So much is granted, perhaps another amount.
    Granted(u64),
    /// There is no answer yet: [`answer`] tells it.
    Pending,
}

/// Calls `REQUEST`: asks for more than the limits allow; `port` is raised when there is an answer.
///
/// # Errors
/// `InvalidParameter`; `BadHandle` if it is no receive port; `WrongState` if there is a request already; `DeniedByPolicy`;
/// `OverLimit`: so much cannot be handed out.
pub fn ask(wish: Wish, port: Option<Handle>) -> Result<Asked, Refusal> {
    let [what, amount] = wish.encode();
    let Handle(port) = port.unwrap_or(Handle(0));
    asked(request_in_full::<REQUEST>([what, amount, port, 0, 0, 0])?)
}

/// Calls `REQUEST_STATE`: the answer to the request, which is told once.
///
/// # Errors
/// `DeniedByPolicy`; `Empty` if there is no request.
pub fn answer() -> Result<Asked, Refusal> {
    asked(request_in_full::<REQUEST_STATE>([0; 6])?)
}

/// A device that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenDevice {
    /// Where its registers begin.
    pub registers: Ipa,
    /// Its first interrupt, if it has any.
    pub intid: Option<IntId>,
}

/// Calls `REQUEST` for one of the devices that are kept back, by its number among them: where it is, or nothing while there is no
/// answer ([`device_answer`]); `port` is raised when there is one.
///
/// # Errors
/// As [`ask`]; `InvalidParameter` with 2: there is no such device.
pub fn ask_for_device(number: u8, port: Option<Handle>) -> Result<Option<GivenDevice>, Refusal> {
    let [what, amount] = Wish::Device(number).encode();
    let Handle(port) = port.unwrap_or(Handle(0));
    request_in_full::<REQUEST>([what, amount, port, 0, 0, 0]).map(given)
}

/// Calls `REQUEST_STATE` after [`ask_for_device`]: nothing while there is no answer, which is told once.
///
/// # Errors
/// As [`answer`].
pub fn device_answer() -> Result<Option<GivenDevice>, Refusal> {
    request_in_full::<REQUEST_STATE>([0; 6]).map(given)
}

fn given((is_pending, [registers, intid, _]): (bool, [u64; 3])) -> Option<GivenDevice> {
    let intid = u16::try_from(intid).ok().filter(|intid| *intid != 0).map(IntId);
    (!is_pending).then_some(GivenDevice { registers: Ipa(registers), intid })
}

#[expect(clippy::unnecessary_wraps, reason = "what both calls end with")]
const fn asked((is_pending, [granted, ..]): (bool, [u64; 3])) -> Result<Asked, Refusal> {
    Ok(if is_pending { Asked::Pending } else { Asked::Granted(granted) })
}

/// Calls `REQUEST_CANCEL`.
///
/// # Errors
/// `Empty` if there is no request; `WrongState` if there is an answer already.
pub fn cancel() -> Result<(), Refusal> {
    request::<REQUEST_CANCEL>([0; 6]).map(|_| ())
}

const REQUEST: u32 = function("REQUEST", 3);
const REQUEST_STATE: u32 = function("REQUEST_STATE", 0);
const REQUEST_CANCEL: u32 = function("REQUEST_CANCEL", 0);
const NULL: u32 = function("NULL", 0);
const FEATURE: u32 = function("FEATURE", 1);
const PARTITION_INFO: u32 = function("PARTITION_INFO", 0);
const ACCOUNT_READ: u32 = function("ACCOUNT_READ", 1);
const PARTITION_END: u32 = function("PARTITION_END", 1);

// A row added to the table must get its wrapper here, in `talk`, `message`, `shared`, `object`, `policy` or `look`.
const TALK: usize = crate::talk::CALLS + crate::message::CALLS + crate::shared::CALLS;
const WRAPPERS: usize = 8 + TALK + crate::object::CALLS + crate::policy::CALLS + crate::look::CALLS;
const _: () = assert!(CALLS.len() == WRAPPERS, "each call has a wrapper");

/// Makes the call `FUNCTION`; `x0` = 0 or 1 is success.
#[inline]
pub(crate) fn request<const FUNCTION: u32>(arguments: [u64; 6]) -> Result<[u64; 3], Refusal> {
    request_in_full::<FUNCTION>(arguments).map(|(_, results)| results)
}

/// The same, and whether success was `PENDING`.
#[inline]
pub(crate) fn request_in_full<const FUNCTION: u32>(
    arguments: [u64; 6],
) -> Result<(bool, [u64; 3]), Refusal> {
    // SAFETY: no call of the table starts a vCPU, and the wrappers of those that take memory away are unsafe (`crate::message`).
    let [x0, x1, x2, x3]: Results = unsafe { hvc(u64::from(FUNCTION), arguments) };
    match x0.cast_signed() {
        code @ (0 | 1) => Ok((code == 1, [x1, x2, x3])),
        code => Err(Refusal { code, which: x1 }),
    }
}

/// Finds a call's function id while compiling.
#[expect(
    clippy::panic,
    reason = "evaluated by the compiler only: a wrapper without a row does not compile"
)]
pub(crate) const fn function(name: &str, arguments: usize) -> u32 {
    let mut rows = CALLS;
    while let [row, rest @ ..] = rows {
        if same(row.name.as_bytes(), name.as_bytes()) {
            assert!(row.arguments.len() == arguments, "wrapper and row differ in their arguments");
            return id(row);
        }
        rows = rest;
    }
    panic!("no such call in the table")
}

/// [`CallRow::function_id`], for the compiler.
const fn id(row: &CallRow) -> u32 {
    let [low, high] = row.number.to_le_bytes();
    shikiri_abi::smccc::VENDOR_HYP_FAST64 | u32::from_le_bytes([low, high, 0, 0])
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    match (a, b) {
        ([], []) => true,
        ([x, a @ ..], [y, b @ ..]) => *x == *y && same(a, b),
        _ => false,
    }
}
