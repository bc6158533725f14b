//! Reports of unexpected exits, and the record of the exits before.
//!
//! A report needs all registers, and x19 to x28 are stored only when the vectors leave the guest: whoever
//! finds an exit that cannot be served leaves [`Leave::Fault`](crate::percore::Leave) behind, and
//! `reschedule` writes the report and ends the partition.

use core::fmt;
use core::sync::atomic::Ordering;

use shikiri_abi::{CoreId, Ipa, Pa};
use shikiri_arch::exit::{class, known_ipa};
use shikiri_arch::hw::Clock;
use shikiri_config::Place as Placed;
use shikiri_core::report::{ExitRecord, ExitReport, Place, Syndrome};
use shikiri_stage2::{Walk, WalkEnd};

use crate::boot;
use crate::console::{REPORT_BYTES, write_report};
use crate::guest::kept::is_closed;
use crate::guest::live::{Live, Vcpu};
use crate::guest::run;
use crate::hw::clock::Counter;
use crate::hw::mem::Ram;
use crate::percore::Loaded;
use crate::regs;
use crate::world::{Slot, World};

/// ESR_ELx.EC of a stage-2 instruction abort and of a stage-2 data abort.
const EC_FETCH_ABORT: u64 = 0x20;
const EC_DATA_ABORT: u64 = 0x24;
/// ESR_ELx.EC of HVC and SMC.
const EC_HVC: u64 = 0x16;
const EC_SMC: u64 = 0x17;

/// An exit that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unserved {
    /// What it was, in words, as the rest of "partition X ended: …".
    why: &'static str,
    /// ESR_EL2.
    esr: u64,
    /// FAR_EL2.
    far: u64,
    /// The address of an abort, where it is known.
    ipa: Option<Ipa>,
}

impl Unserved {
    /// The exit that the loaded vCPU has just made.
    pub(crate) fn now(why: &'static str) -> Self {
        let (esr, far) = (regs::esr_el2(), regs::far_el2());
        let is_abort = matches!(class(esr), EC_FETCH_ABORT | EC_DATA_ABORT);
        let ipa = is_abort.then(|| known_ipa(esr, far, regs::hpfar_el2())).flatten();
        Self { why, esr, far, ipa }
    }
}

/// Keeps an exit of the loaded vCPU among its last ones. `x0` is the guest's, for calls.
#[inline]
pub(crate) fn record(vcpu: &Vcpu, esr: u64, far: u64, hpfar: u64, x0: u64) {
    let address = match class(esr) {
        EC_DATA_ABORT | EC_FETCH_ABORT => known_ipa(esr, far, hpfar).map_or(far, |ipa| ipa.0),
        EC_HVC | EC_SMC => x0,
        _ => 0,
    };
    vcpu.exits.push(ExitRecord { time: Counter.now(), pc: regs::elr_el2(), esr, address });
}

/// Reports an exit of a vCPU that has just been taken off its core, as the end of its partition; in brief, if that faults all the time.
/// Of vCPUs that fault together one is reported.
pub(crate) fn fault(world: &World, core: CoreId, of: Loaded, exit: Unserved) {
    let what = format_args!("ended: {}", exit.why);
    let place = exit.ipa.and_then(|ipa| walk(of.live.slot, ipa)).map(|walk| (walk, exit.far));
    let mut lifecycle = of.live.slot.lifecycle.lock();
    if !lifecycle.is_first_report() {
        return;
    }
    let is_full = lifecycle.reports_in_full(Counter.now(), world.ticks_per_ms);
    drop(lifecycle);
    let (core, esr) = (Some(core), Some(exit.esr));
    let header = Header { core, what, esr, place, is_brief: !is_full, room: 0 };
    let _is_written = write(world, of.live, of.vcpu, &header);
}

/// Shows a vCPU that this core has and has taken off, at the operator's wish. False if the console has no room now: its core is
/// woken when it has.
pub(crate) fn dump(world: &World, core: Option<CoreId>, live: &Live, vcpu: &Vcpu) -> bool {
    let state = vcpu.power.state();
    let what = format_args!("dump: as at its last exit, power state {state}");
    let header = Header { core, what, esr: None, place: None, is_brief: false, room: REPORT_BYTES };
    write(world, live, vcpu, &header)
}

/// What differs between the reports.
struct Header<'a> {
    core: Option<CoreId>,
    what: fmt::Arguments<'a>,
    esr: Option<u64>,
    place: Option<(Walk, u64)>,
    is_brief: bool,
    /// How much room the console has to have.
    room: usize,
}

/// Writes a report in one piece, if there is room. The caller's core has the vCPU, whose registers are in its context.
fn write(world: &World, live: &Live, vcpu: &Vcpu, header: &Header<'_>) -> bool {
    let registers = run::own(vcpu).context.registers();
    let owner = header.place.map(|(walk, _)| owner(world, live, &walk));
    let place = header.place.zip(owner.as_ref()).map(|((walk, far), owner)| {
        let owner: &dyn fmt::Display = owner;
        Place { far, ipa: walk.ipa, walk, owner }
    });
    let report = ExitReport {
        partition: live.slot.description().name,
        id: live.id,
        vcpu: vcpu.index,
        core: header.core,
        what: &header.what,
        syndrome: header.esr.map(Syndrome),
        registers: &registers,
        place,
        exits: &vcpu.exits,
        now: Counter.now(),
        ticks_per_second: Counter.frequency_hz(),
        is_brief: header.is_brief,
    };
    write_report(world, live.slot, format_args!("{report}"), header.room)
}

/// What the partition's stage-2 tables say about an address.
fn walk(slot: &Slot, ipa: Ipa) -> Option<Walk> {
    let work = slot.work.lock();
    let stage2 = work.as_ref()?.holdings.stage2()?;
    Some(stage2.walk(&Ram, ipa))
}

/// Who owns an address that a guest has touched.
enum Owner {
    /// The guest's own memory or device: the access was of a kind that is not allowed there.
    Own(&'static str),
    /// A device of the guest's that is kept back, and was not granted in this life.
    Kept(&'static str),
    /// A device model of the hypervisor.
    Virtual(&'static str),
    /// Nothing is there for this partition. On the board, the address is RAM of this one.
    RamOf(&'static str),
    /// The same, a device: its path and its owner.
    DeviceOf(&'static str, &'static str),
    /// The same, while its owner has it not: a partition that was made at run time has.
    GivenAway(&'static str, &'static str),
    /// The same, the hypervisor's image and stacks.
    Hypervisor,
    /// Nothing that the description knows.
    Nothing,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own("") => f.write_str("its own RAM"),
            Self::Own(path) => write!(f, "its own device {path}"),
            Self::Kept(path) => write!(f, "its device {path}, kept back and not granted"),
            Self::Virtual(name) => write!(f, "its virtual {name}"),
            Self::RamOf(name) => write!(f, "nothing there (on the board: RAM of {name})"),
            Self::DeviceOf(path, name) => {
                write!(f, "nothing there (on the board: device {path} of {name})")
            }
            Self::GivenAway(path, name) => write!(
                f,
                "nothing there (on the board: device {path} of {name}, given to another partition)"
            ),
            Self::Hypervisor => f.write_str("nothing there (on the board: RAM of the hypervisor)"),
            Self::Nothing => f.write_str("nothing there"),
        }
    }
}

fn owner(world: &World, live: &Live, walk: &Walk) -> Owner {
    let ipa = walk.ipa;
    own(live, ipa).or_else(|| device_model(live.slot, ipa)).unwrap_or_else(|| match walk.end {
        WalkEnd::Leaf(_) => Owner::Own(""),
        // A guest that takes a physical address for its own: that is what the developer wants to see.
        WalkEnd::Hole(_) | WalkEnd::OutOfRange => on_the_board(world, Pa(ipa.0)),
    })
}

/// What the description gives the partition there.
#[inline(never)]
fn own(live: &Live, ipa: Ipa) -> Option<Owner> {
    let description = live.slot.description();
    if description.memory().any(|memory| holds(memory.ipa, memory.bytes, ipa)) {
        return Some(Owner::Own(""));
    }
    let path = description.devices().find(|device| holds(device.ipa, device.bytes, ipa))?.path;
    Some(if is_closed(live, path) { Owner::Kept(path) } else { Owner::Own(path) })
}

/// Whether a partition of the description has given this device of its to one that was made.
fn is_given_away(slot: &Slot, path: &str) -> bool {
    let number = slot.description().device_paths().position(|its| its == path);
    let bit = number.and_then(|number| 1_u64.checked_shl(u32::try_from(number).ok()?));
    bit.is_some_and(|bit| slot.given.load(Ordering::Acquire) & bit != 0)
}

fn device_model(slot: &Slot, ipa: Ipa) -> Option<Owner> {
    let platform = &slot.description().platform;
    if holds(platform.distributor, 0x1_0000, ipa) {
        return Some(Owner::Virtual("interrupt distributor"));
    }
    let vcpus = u64::try_from(slot.homes.len()).unwrap_or(0);
    if holds(platform.cpu_interface, vcpus.saturating_mul(0x2_0000), ipa) {
        return Some(Owner::Virtual("CPU interface or redistributor"));
    }
    let has_uart = slot.description().has_console && holds(platform.uart, 0x1000, ipa);
    has_uart.then_some(Owner::Virtual("UART"))
}

/// Who owns a physical address.
fn on_the_board(world: &World, pa: Pa) -> Owner {
    let image = boot::image();
    let is_image = usize::try_from(pa.0).is_ok_and(|at| image.start <= at && at < image.end);
    if is_image {
        return Owner::Hypervisor;
    }
    for slot in world.slots.iter().filter(|slot| slot.is_spare()) {
        if has_extent(slot, pa) {
            return Owner::RamOf("a partition that was made at run time");
        }
    }
    for slot in world.slots.iter().filter(|slot| !slot.is_spare()) {
        let description = slot.description();
        let mut devices = description.devices();
        if let Some(device) = devices.find(|device| holds_pa(device.pa, device.bytes, pa)) {
            let (path, name) = (device.path, description.name);
            let is_away = is_given_away(slot, path);
            return if is_away {
                Owner::GivenAway(path, name)
            } else {
                Owner::DeviceOf(path, name)
            };
        }
        if has_frame(slot, pa) {
            return Owner::RamOf(description.name);
        }
    }
    Owner::Nothing
}

/// Whether a frame is, or is described to be, a partition's memory.
fn has_frame(slot: &Slot, pa: Pa) -> bool {
    let is_placed = slot.description().memory().any(|memory| match memory.place {
        Placed::At(base) => holds_pa(base, memory.bytes, pa),
        Placed::Any => false,
    });
    is_placed || has_extent(slot, pa)
}

fn has_extent(slot: &Slot, pa: Pa) -> bool {
    // A partition that is being built or taken apart has its lock for long; the report does not wait.
    let Some(work) = slot.work.try_lock() else { return false };
    work.as_ref().is_some_and(|work| {
        work.holdings.extents().any(|extent| {
            holds_pa(extent.frames.base(), extent.frames.pages().bytes().unwrap_or(0), pa)
        })
    })
}

fn holds(base: Ipa, bytes: u64, at: Ipa) -> bool {
    at.offset_from(base).is_some_and(|offset| offset < bytes)
}

fn holds_pa(base: Pa, bytes: u64, at: Pa) -> bool {
    at.offset_from(base).is_some_and(|offset| offset < bytes)
}
