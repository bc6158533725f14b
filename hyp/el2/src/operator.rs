//! The operator console's way to the machine: what its commands look at, and what they do.
//!
//! Everything here runs without the console's lock: the view takes partitions' locks, which come before it.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use shikiri_abi::{CoreSet, PageCount, Resource};
use shikiri_core::account::Line;
use shikiri_core::console::{Focus, Name};
use shikiri_core::invariants::Audit;
use shikiri_core::lifecycle::{EndCause, Phase};
use shikiri_core::operator::{MachineView, PartitionRow, Request, Rest, answer};

use crate::boot;
use crate::console;
use crate::guest::worker;
use crate::world::{Slot, World};

/// Answers a line, does what it asks for, and shows the prompt again.
pub(crate) fn carry_out(world: &World, line: &str) {
    let mut out = Lines { world, bytes: [0; 120], used: 0 };
    let request = answer(line, world, &mut out).unwrap_or(Request::Done);
    out.flush();
    console::answered(world, act(world, request));
}

/// Goes on with the answer to a line, and shows the prompt again when it is complete.
pub(crate) fn go_on(world: &World, rest: Rest) {
    let mut out = Lines { world, bytes: [0; 120], used: 0 };
    let after = match rest.go_on(world, &mut out) {
        Ok(Rest::NOTHING) | Err(fmt::Error) => After::Prompt,
        Ok(rest) => After::More(rest),
    };
    console::answered(world, after);
}

/// What comes after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next command.
    Prompt,
    /// More of the answer, when there is room.
    More(Rest),
    /// A partition's console.
    Nothing,
}

fn act(world: &World, request: Request) -> After {
    let index = match request {
        Request::Done => return After::Prompt,
        Request::More(rest) => return After::More(rest),
        Request::Off => {
            tell(world, format_args!("powering off"));
            world.power_off()
        }
        Request::Stop(index)
        | Request::Start(index)
        | Request::Restart(index)
        | Request::Dump(index)
        | Request::Focus(index) => index,
    };
    let Some(slot) = world.slots.get(index) else { return After::Prompt };
    match request {
        Request::Stop(_) => stop(world, slot),
        Request::Start(_) => start(world, slot),
        Request::Restart(_) => restart(world, slot),
        Request::Dump(_) => dump(world, slot),
        Request::Focus(_) => return focus(world, slot),
        Request::Done | Request::More(_) | Request::Off => {}
    }
    After::Prompt
}

fn stop(world: &World, slot: &Slot) {
    let name = slot.name();
    // Of a partition that has ended this cancels the restart that its policy may have arranged.
    let phase = worker::end(world, slot, EndCause::Operator);
    if phase.is_policys() {
        refer_to_policy(world, slot, phase);
    } else if phase == Phase::Ended {
        tell(world, format_args!("{name} has ended already"));
    } else {
        tell(world, format_args!("{name} is being stopped"));
    }
}

fn start(world: &World, slot: &Slot) {
    let name = slot.name();
    match worker::start(world, slot) {
        Ok(id) => tell(world, format_args!("{name} is being started (id {})", id.0)),
        Err(phase) if phase.is_policys() => refer_to_policy(world, slot, phase),
        Err(Phase::Ended) => lacks_devices(world, slot),
        Err(phase) => {
            tell(world, format_args!("{name} is {}: 'stop' or 'restart' it", phase.name()))
        }
    }
}

fn restart(world: &World, slot: &Slot) {
    let phase = worker::end(world, slot, EndCause::OperatorRestart);
    if phase.is_policys() {
        return refer_to_policy(world, slot, phase);
    }
    // Who has started it since has done what is wanted.
    if phase == Phase::Ended && worker::start(world, slot) == Err(Phase::Ended) {
        return lacks_devices(world, slot);
    }
    tell(world, format_args!("{} is being restarted", slot.name()));
}

/// Says of a partition that has ended why it is not started.
fn lacks_devices(world: &World, slot: &Slot) {
    let name = slot.name();
    tell(
        world,
        format_args!(
            "{name} has ended, and others have devices of its: the policy program takes them back"
        ),
    );
}

/// Says of a place without a partition that could live that the policy program has to act.
fn refer_to_policy(world: &World, slot: &Slot, phase: Phase) {
    let (name, phase) = (slot.name(), phase.name());
    tell(world, format_args!("{name} is {phase}: the policy program starts and destroys it"));
}

/// Asks the cores for the registers of a partition's vCPUs: only the core that has a vCPU may look at it.
fn dump(world: &World, slot: &Slot) {
    let name = slot.name();
    // Under the lifecycle's lock in phase Active, so that the vCPUs stay where they are.
    let lifecycle = slot.lifecycle.lock();
    let live = worker::live(slot).filter(|_| lifecycle.phase() == Phase::Active);
    let Some(live) = live else {
        let phase = lifecycle.phase();
        drop(lifecycle);
        tell(world, format_args!("{name} is {}: there is nothing to show", phase.name()));
        return;
    };
    for vcpu in live.vcpus.iter() {
        vcpu.dump_is_wanted.store(true, Ordering::Release);
    }
    drop(lifecycle);
    worker::wake_all(world, slot);
    tell(world, format_args!("each vCPU of {name} follows as soon as its core has it"));
}

fn focus(world: &World, slot: &Slot) -> After {
    let has_console = {
        let mut console = world.console.lock();
        console.multiplexer.set_focus(Focus::Slot(usize::from(slot.number.0)))
    };
    if has_console {
        return After::Nothing;
    }
    tell(world, format_args!("{} has no console now", slot.name()));
    After::Prompt
}

fn tell(world: &World, text: fmt::Arguments<'_>) {
    console::write_text(world, format_args!("{text}\n"));
}

/// A writer to the console that takes its lock once for each line: what is formatted may take earlier locks,
/// and no other core's text comes into the middle of a line.
struct Lines<'a> {
    world: &'a World,
    bytes: [u8; 120],
    used: usize,
}

impl Lines<'_> {
    fn flush(&mut self) {
        let used = core::mem::take(&mut self.used);
        let text = self.bytes.get(..used).and_then(|bytes| core::str::from_utf8(bytes).ok());
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            console::write_text(self.world, format_args!("{text}"));
        }
    }
}

impl Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What operators see is ASCII: names, numbers, and words of our own.
        for byte in text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'?' }) {
            if let Some(place) = self.bytes.get_mut(self.used) {
                *place = byte;
            }
            self.used = self.used.saturating_add(1);
            if byte == b'\n' || self.used >= self.bytes.len() {
                self.flush();
            }
        }
        Ok(())
    }
}

impl MachineView for World {
    fn partition_count(&self) -> usize {
        self.slots.len()
    }

    fn partition(&self, index: usize) -> Option<PartitionRow> {
        let slot = self.slots.get(index)?;
        let memory = PageCount(slot.account_line(Resource::Memory).used);
        let mut lifecycle = slot.lifecycle.lock();
        if lifecycle.phase() == Phase::Free {
            return None;
        }
        let (name, cores) = slot.read(&mut lifecycle, |partition| {
            let cores = partition.vcpus().fold(0, |set, vcpu| set | vcpu.cores.0);
            (Name::new(partition.name), cores)
        });
        Some(PartitionRow {
            name,
            id: (lifecycle.starts() > 0).then(|| lifecycle.id()),
            state: lifecycle.phase().name(),
            end: lifecycle.cause(),
            will_restart: lifecycle.restart_at().is_some(),
            vcpus: u8::try_from(slot.homes.len()).unwrap_or(u8::MAX),
            cores: CoreSet(cores),
            memory,
            starts: lifecycle.starts(),
        })
    }

    fn account(&self, index: usize, resource: Resource) -> Option<Line> {
        let slot = self.slots.get(index)?;
        let line = slot.account_line(resource);
        // Between two lives there is no account; the limit is the description's.
        let limit = match self.policy {
            Some(policy) => policy.books.lock().handout.limit(slot.number, resource),
            None => slot.description().limit(resource),
        };
        Some(Line { limit, ..line })
    }

    fn audit(&self) -> Audit {
        World::audit(self)
    }

    fn boot_log(&self, write: &mut dyn FnMut(&[u8])) {
        boot::log::show(write);
    }
}
