//! The policy program looks into partitions: their consoles, ports and last exits. Nothing of theirs is changed, and none of their locks
//! is taken but the lifecycle's, which keeps them there.

use core::sync::atomic::Ordering;

use shikiri_abi::{LookCall, PartitionRef, VcpuIndex};
use shikiri_arch::hw::Clock;
use shikiri_core::console::Focus;
use shikiri_core::lifecycle::{Lifecycle, Phase};
use shikiri_core::policy::Refusal;
use shikiri_core::report::ExitRecord;

use super::live::Live;
use super::policy::{Answer, find};
use super::worker;
use crate::hw::clock::Counter;
use crate::world::{Slot, World};

/// How many bytes of a console one call tells.
const BYTES: usize = 16;

#[cold]
pub(super) fn carry_out(world: &World, call: LookCall) -> Answer {
    match call {
        LookCall::Console(who, from) => console(world, who, from),
        LookCall::Focus(who) => focus(world, who),
        LookCall::Port(who, from) => {
            let (slot, lifecycle) = find(world, who)?;
            let talk = lived(slot, &lifecycle)?.talk.as_ref().ok_or(Refusal::Range)?;
            talk.shared().look(from).ok_or(Refusal::Range)
        }
        LookCall::Exit(who, vcpu, back) => exit(world, who, (vcpu, back)),
    }
}

/// The incarnation of a partition that lives; it stays as long as the lifecycle is locked.
fn lived(slot: &Slot, lifecycle: &Lifecycle) -> Result<&'static Live, Refusal> {
    let is_there = lifecycle.phase().is_alive() || lifecycle.phase() == Phase::Held;
    worker::live(slot).filter(|_| is_there).ok_or(Refusal::WrongState)
}

fn console(world: &World, who: PartitionRef, from: u64) -> Answer {
    let (slot, mut lifecycle) = find(world, who)?;
    if !slot.read(&mut lifecycle, |partition| partition.has_console) {
        return Err(Refusal::NotFound);
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    if from >= slot.port.output.pushed() {
        return Err(Refusal::Empty);
    }
    let mut bytes = [0; BYTES];
    let (first, count) = slot.port.read_back(from, &mut bytes);
    if count == 0 {
        let is_empty = first >= slot.port.output.pushed();
        return Err(if is_empty { Refusal::Empty } else { Refusal::Again });
    }
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (words, _) = bytes.as_chunks();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let mut word = || words.next().unwrap_or(0);
    Ok([wide(count) | wide(first) << 8, word(), word()])
}

fn focus(world: &World, who: PartitionRef) -> Answer {
    let (slot, lifecycle) = find(world, who)?;
    let place = Focus::Slot(usize::from(slot.number.0));
    let has_console = world.console.lock().multiplexer.set_focus(place);
    drop(lifecycle);
    world.console_is_due.store(true, Ordering::Release);
    if has_console { Ok([0; 3]) } else { Err(Refusal::NotFound) }
}

fn exit(world: &World, who: PartitionRef, (vcpu, back): (VcpuIndex, u8)) -> Answer {
    let (slot, lifecycle) = find(world, who)?;
    let vcpu = lived(slot, &lifecycle)?.vcpu(vcpu).ok_or(Refusal::Range)?;
    let ExitRecord { time, pc, esr, address } =
        vcpu.exits.before_last(back).ok_or(Refusal::Range)?;
    let age = Counter.now().saturating_sub(time).saturating_mul(1000);
    let age_us = age.checked_div(world.ticks_per_ms).unwrap_or(0).min(u64::from(u32::MAX));
    Ok([pc, esr & u64::from(u32::MAX) | age_us << 32, address])
}
