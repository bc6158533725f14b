//! Calls to the hypervisor for who makes policy.
#![expect(unsafe_code, reason = "a hypercall whose number a program has chosen")]

use shikiri_abi::PAGE_BYTES;
use shikiri_hvc::talk::{self, Sharing};
use shikiri_hvc::{policy as calls, raw};
use shikiri_scos_files::socket::Arrived;

use super::{KERNEL_BASE, gic};

/// The SPI at which the hypervisor tells of notices and requests; no device of the platform has it.
pub(super) const INTID: u32 = 63;

/// The numbers of the policy calls.
const POLICY_CALLS: core::ops::Range<u64> = 0x100..0x200;
/// PARTITION_LOAD: its address is one of this partition's, which no program is to choose; see [`policy_load`].
const LOAD: u64 = 0x119;
/// POLICY_NOTIFY: the kernel's own, which says where it is told.
const NOTIFY: u64 = 0x109;
/// The vendor's hypervisor service, fast 64-bit calls (SMCCC 1.2 §2.5).
const SERVICE: u64 = 0xc600_0000;

/// Makes a policy call, `x0` to `x3`; `None` if the number is not one of theirs, or one that is the kernel's own affair.
pub(crate) fn policy_call(number: u64, arguments: [u64; 6]) -> Option<[u64; 4]> {
    if !POLICY_CALLS.contains(&number) || matches!(number, LOAD | NOTIFY) {
        return None;
    }
    // SAFETY: policy calls are about other partitions: none maps, unmaps or writes memory of the caller's.
    Some(unsafe { raw::call(raw::Conduit::Hvc, SERVICE | number, arguments) })
}

/// PARTITION_LOAD with these words in place of what its third argument names, `x0` to `x3`. No more is copied than there are words.
pub(crate) fn policy_load(arguments: [u64; 6], words: &[u64]) -> [u64; 4] {
    let [partition, to, _, bytes, rest @ ..] = arguments;
    let from = (words.as_ptr().expose_provenance() as u64).saturating_sub(KERNEL_BASE);
    let bytes = bytes.min(size_of_val(words) as u64);
    let [x5, x6] = rest;
    let arguments = [partition, to, from, bytes, x5, x6];
    // SAFETY: this one writes no memory of the caller's, and what it reads are the words: the kernel's own, and in one piece.
    unsafe { raw::call(raw::Conduit::Hvc, SERVICE | LOAD, arguments) }
}

/// PARTITION_LOAD from a message area of this partition's, `x0` to `x3`: the third argument is an offset in it, and no more is copied than it has
/// pages. `None` for an offset behind them.
pub(crate) fn policy_load_area(arguments: [u64; 6], area: &Arrived) -> Option<[u64; 4]> {
    let [partition, to, offset, bytes, rest @ ..] = arguments;
    let left = area.pages.checked_mul(PAGE_BYTES)?.checked_sub(offset)?;
    let from = area.address.checked_add(offset)?;
    let [x5, x6] = rest;
    let arguments = [partition, to, from, bytes.min(left), x5, x6];
    // SAFETY: this one writes no memory of the caller's, and the hypervisor reads the area, which holds nothing of Rust's.
    Some(unsafe { raw::call(raw::Conduit::Hvc, SERVICE | LOAD, arguments) })
}

/// Has the hypervisor tell of notices and requests by an interrupt; false if this partition has no port for it, or makes no
/// policy.
pub(crate) fn listen_to_policy() -> bool {
    let Ok(port) = talk::create_receive() else { return false };
    let is_told =
        talk::bind(port, INTID, 0, Sharing::Alone).and_then(|()| calls::notify(port)).is_ok();
    if is_told {
        gic::enable(INTID);
    } else {
        // It is ours, and nothing else knows it.
        let _closed = talk::close(port);
    }
    is_told
}
