//! The board's UART after boot: the multiplexer, its input, and the way to the operator console.
//!
//! [`CONSOLE`] is the last lock but one (rank Console): what is found out under it (a partition that got
//! input, a complete line for the operator) is acted upon after it has been released. Whichever core has a
//! reason looks after the console ([`tend`]); the UART's interrupt goes to one that nobody owns, if there is one.

use core::fmt::{self, Write};
use core::mem::{swap, take};
use core::sync::atomic::Ordering;

use shikiri_arch::hw::Clock;
use shikiri_core::console::{Again, Multiplexer, OWN_BYTES, Ports, Pumped, STUCK_MS, Typed};
use shikiri_core::operator::{GO_ON_BYTES, Line as TypedLine, LineEditor, PROMPT, Rest};
use shikiri_core::sched::earlier;
use shikiri_core::vuart::ConsolePort;
use shikiri_drivers::{LineInterrupts, Uart};
use shikiri_sync::{TicketLock, rank};
use shikiri_vgic::{Here, Line};

use crate::guest::{request, run, worker};
use crate::hw::clock::Counter;
use crate::operator::{self, After};
use crate::percore::CoreLocal;
use crate::world::{Slot, World};

/// Bytes of input that one call takes: bounds the time that a core spends on a flood of typing.
const INPUT_BATCH: u32 = 64;
/// How long the first byte of a line may wait for its followers, in milliseconds.
const SOON_MS: u64 = 4;
/// Rounds of the last words: all that the hypervisor's buffer (8 KiB) and 64 ports (1 KiB each) hold, at 512
/// bytes a round. A guest that goes on writing meanwhile cannot keep the machine on.
const LAST_ROUNDS: u32 = 144;
/// No report is longer (a test of the core's holds it).
pub(crate) const REPORT_BYTES: usize = OWN_BYTES / 2;

/// The console's state, under its lock.
pub(crate) struct Console {
    /// Lines, prefixes, focus.
    pub(crate) multiplexer: Multiplexer,
    /// The UART; `None` before boot has found it.
    pub(crate) uart: Option<Uart>,
    /// What is being typed at the operator console.
    editor: LineEditor,
    /// The hypervisor's last text was the prompt, or what was typed behind it.
    is_at_prompt: bool,
    /// A core answers the operator: no other begins with the next command, or goes on with this answer.
    is_answering: bool,
    /// What has still to be written of the answer, and since when it waits for room.
    rest: (Rest, u64),
    /// Partitions with vCPUs that the operator wants to see and that have found no room, as bits.
    dumps_wait: u64,
}

/// The console of the machine. All zero at first: it costs nothing in the image.
pub(crate) static CONSOLE: TicketLock<Console, rank::Console> = TicketLock::new(Console {
    multiplexer: Multiplexer::new(0),
    uart: None,
    editor: LineEditor::new(),
    is_at_prompt: false,
    is_answering: false,
    rest: (Rest::NOTHING, 0),
    dumps_wait: 0,
});

impl Console {
    /// Takes a byte that was typed at the operator console; the line, when that completes one.
    fn edit(&mut self, byte: u8) -> Option<TypedLine> {
        if !self.is_at_prompt || !self.multiplexer.is_own_line_open() {
            // Other text has come in between: what was typed so far is shown again.
            self.prompt();
        }
        let line = self.editor.push(byte, &mut self.multiplexer).unwrap_or(None);
        self.is_at_prompt = line.is_none();
        line
    }

    /// Shows the operator's prompt with what has been typed behind it.
    fn prompt(&mut self) {
        self.leave_prompt();
        let typed = self.editor.text();
        // The multiplexer counts what does not fit.
        write!(self.multiplexer, "{PROMPT}{typed}").unwrap_or_default();
        self.is_at_prompt = true;
    }

    /// Ends the prompt's line, if the hypervisor's next text would continue it.
    fn leave_prompt(&mut self) {
        if take(&mut self.is_at_prompt) && self.multiplexer.is_own_line_open() {
            self.multiplexer.write_str("\n").unwrap_or_default();
        }
    }

    /// Writes the hypervisor's text out, polling the UART: while no partition has started yet.
    pub(crate) fn write_out(&mut self) {
        let Some(uart) = self.uart.as_mut() else { return };
        pump_out(&mut self.multiplexer, uart, &Ends(&[]), 0);
    }

    /// Writes text of the hypervisor, apart from the prompt.
    pub(crate) fn write(&mut self, text: fmt::Arguments<'_>) {
        self.leave_prompt();
        // The multiplexer counts what does not fit.
        self.multiplexer.write_fmt(text).unwrap_or_default();
    }
}

/// The partitions' ends of the multiplexer.
struct Ends(&'static [Slot]);

impl Ports for Ends {
    fn port(&self, slot: usize) -> Option<&ConsolePort> {
        self.0.get(slot).map(|slot| &slot.port)
    }
}

/// Queues a line of the hypervisor's own.
macro_rules! say {
    ($world:expr, $($argument:tt)*) => {
        $crate::console::write_text($world, format_args!("shikiri: {}\n", format_args!($($argument)*)))
    };
}
pub(crate) use say;

/// Queues text of the hypervisor, in one piece; it appears as soon as the UART takes it.
pub(crate) fn write_text(world: &World, text: fmt::Arguments<'_>) {
    world.console.lock().write(text);
    world.console_is_due.store(true, Ordering::Release);
}

/// Queues a report if there is so much room; else its partition is woken as soon as there is, to try again.
pub(crate) fn write_report(
    world: &World,
    of: &Slot,
    report: fmt::Arguments<'_>,
    room: usize,
) -> bool {
    let mut console = world.console.lock();
    if console.multiplexer.own_room() < room {
        console.dumps_wait |= 1_u64.wrapping_shl(of.number.0.into());
        return false;
    }
    console.write(report);
    world.console_is_due.store(true, Ordering::Release);
    true
}

/// A core has answered the operator.
pub(crate) fn answered(world: &World, after: After) {
    let mut console = world.console.lock();
    console.is_answering = false;
    match after {
        After::Prompt => console.prompt(),
        After::More(rest) => console.rest = (rest, Counter.now()),
        After::Nothing => {}
    }
}

/// Writes everything out that waits, polling the UART: before the machine goes off.
pub(crate) fn flush(world: &World) {
    let ends = Ends(world.slots);
    let mut place = world.console.lock();
    let console = &mut *place;
    console.multiplexer.close_down();
    let Some(uart) = console.uart.as_mut() else { return };
    // Late enough that no unfinished line is kept back.
    let later = Counter.now().saturating_add(world.ticks_per_ms.saturating_mul(1000));
    pump_out(&mut console.multiplexer, uart, &ends, later);
}

/// Writes what waits, polling the UART.
fn pump_out(multiplexer: &mut Multiplexer, uart: &mut Uart, ends: &Ends, now: u64) {
    for _ in 0..LAST_ROUNDS {
        if pump(multiplexer, (uart, true), ends, now).again != Again::Now {
            return;
        }
    }
}

/// One step of the multiplexer's: one copy of it for those who wait until the UART takes a byte, and for those who do not.
#[inline(never)]
fn pump(
    multiplexer: &mut Multiplexer,
    (uart, waits): (&mut Uart, bool),
    ends: &Ends,
    now: u64,
) -> Pumped {
    multiplexer.pump(now, ends, &mut |byte| {
        if waits {
            uart.put(byte);
            true
        } else {
            uart.try_put(byte)
        }
    })
}

/// A partition's console appears, or goes on after a restart: what the former life wrote comes first, and
/// its last line is ended. No vCPU of the partition runs yet.
pub(crate) fn attach(world: &World, slot: &Slot) {
    if !slot.description().has_console {
        return;
    }
    let number = usize::from(slot.number.0);
    let mut console = world.console.lock();
    if console.multiplexer.ends_inside_line(number, &slot.port) {
        // A port that is full has no room for the line's end; then it is missing, and nothing worse.
        let _had_room = slot.port.output.push(b'\n');
    }
    console.multiplexer.attach(number, slot.description().name);
}

/// A partition's console goes, once its last words are out. Its port stays: it belongs to the slot.
pub(crate) fn detach(world: &World, slot: &Slot) {
    world.console.lock().multiplexer.detach(usize::from(slot.number.0));
    world.console_is_due.store(true, Ordering::Release);
}

/// Whether a partition's last words, and its place on the console, are gone.
pub(crate) fn is_gone(world: &World, slot: &Slot) -> bool {
    !world.console.lock().multiplexer.is_attached(usize::from(slot.number.0))
}

/// Looks after the console, and after requests, if their time has come.
pub(crate) fn tend_if_due(core: &mut CoreLocal, now: u64) {
    // All cores share the word, at each reschedule: to read it costs them nothing.
    let is_due = &core.world.console_is_due;
    let is_asked = is_due.load(Ordering::Relaxed) && is_due.swap(false, Ordering::Acquire);
    if is_asked || core.console_at.get().is_some_and(|due| due <= now) {
        tend(core, now);
    }
}

/// Looks after the console within a few milliseconds: a partition has begun a line.
pub(crate) fn tend_soon(core: &mut CoreLocal) {
    let soon = Counter.now().saturating_add(core.world.ticks_per_ms.saturating_mul(SOON_MS));
    if core.console_at.get().is_none_or(|due| due > soon) {
        core.console_at.set(earlier(Some(soon), core.request_at.get()));
        run::arm(core);
    }
}

/// What a round under the console's lock found.
struct Round {
    /// The partition that got input.
    receiver: Option<usize>,
    /// Partitions whose output FIFO has fallen, as bits.
    relieved: u64,
    /// What the operator has typed.
    line: Option<TypedLine>,
    /// There is room for more of the answer to the operator.
    rest: Rest,
    /// Partitions for whose reports there is room now, as bits.
    reporters: u64,
    /// When to look again.
    again: Option<u64>,
}

/// Moves output to the UART and input to its reader, as far as both take it, and answers the operator.
pub(crate) fn tend(core: &mut CoreLocal, now: u64) {
    // The time for an answer to a request is kept with the console's, which every reschedule looks at anyway.
    if core.request_at.get().is_some_and(|due| due <= now) {
        request::expire(core, now);
    }
    let round = one_round(core.world, now);
    let again = round.as_ref().and_then(|round| round.again);
    core.console_at.set(earlier(again, core.request_at.get()));
    let Some(round) = round else { return };
    if let Some(slot) = round.receiver.and_then(|slot| core.world.slots.get(slot)) {
        notify(core, slot, true);
    }
    for slot in slots(core.world, round.relieved) {
        notify(core, slot, false);
    }
    if let Some(line) = round.line {
        operator::carry_out(core.world, line.as_str());
        core.console_at.set(Some(now));
    } else if round.rest != Rest::NOTHING {
        operator::go_on(core.world, round.rest);
        core.console_at.set(Some(now));
    }
    for slot in slots(core.world, round.reporters) {
        worker::wake_all(core.world, slot);
    }
    run::arm(core);
}

/// The slots of a set of bits.
fn slots(world: &'static World, mut set: u64) -> impl Iterator<Item = &'static Slot> {
    core::iter::from_fn(move || {
        let slot = usize::try_from(set.trailing_zeros()).unwrap_or(usize::MAX);
        set &= set.wrapping_sub(1);
        // There is no slot 64, which an empty set has.
        world.slots.get(slot)
    })
}

/// The part of [`tend`] that needs the lock. `None` without a UART.
fn one_round(world: &World, now: u64) -> Option<Round> {
    let ends = Ends(world.slots);
    let mut place = world.console.lock();
    let console = &mut *place;
    // An answer that makes no progress for so long, because others write, gives way to the next command.
    let is_busy = console.is_answering
        || console.rest.0 != Rest::NOTHING
            && now.saturating_sub(console.rest.1) < world.ticks_per_ms.saturating_mul(STUCK_MS);
    let (line, is_more) = if is_busy { (None, false) } else { take_input(console, now)? };
    let receiver = console.multiplexer.deliver(&ends);
    let Console { multiplexer, uart, .. } = console;
    let uart = uart.as_mut()?;
    let pumped = pump(multiplexer, (uart, false), &ends, now);
    uart.set_interrupts(LineInterrupts {
        // What is not accepted stays in the UART, which would ask again and again.
        receive: !is_busy && multiplexer.accepts_input(now),
        transmit: pumped.again == Again::WhenReady,
    });
    let again = match pumped.again {
        Again::Idle | Again::WhenReady => None,
        Again::At(time) => Some(time),
        Again::Now => Some(now),
    };
    // The UART's receive interrupt tells of new bytes, not of those that were left in it.
    let again = if is_more { Some(now) } else { again };
    let room = multiplexer.own_room();
    let mut rest = Rest::NOTHING;
    if !console.is_answering && (line.is_some() || room >= GO_ON_BYTES) {
        swap(&mut rest, &mut console.rest.0);
        console.is_answering = line.is_some() || rest != Rest::NOTHING;
    }
    let reporters = if room >= REPORT_BYTES { take(&mut console.dumps_wait) } else { 0 };
    let relieved = pumped.relieved;
    Some(Round { receiver, relieved, line, rest, reporters, again })
}

/// Takes typed bytes until there are none, they are not wanted, or a line for the operator is complete. The
/// line, and whether bytes may have been left although they are wanted.
fn take_input(console: &mut Console, now: u64) -> Option<(Option<TypedLine>, bool)> {
    for _ in 0..INPUT_BATCH {
        if !console.multiplexer.accepts_input(now) {
            return Some((None, false));
        }
        let Some(byte) = console.uart.as_mut()?.try_get() else { return Some((None, false)) };
        match console.multiplexer.input(now, byte) {
            Typed::Done | Typed::Queued => {}
            Typed::OperatorFocused => {
                console.is_at_prompt = false;
                console.prompt();
            }
            Typed::Operator(byte) => {
                if let Some(line) = console.edit(byte) {
                    return Some((Some(line), true));
                }
            }
        }
    }
    Some((None, true))
}

/// The UART's interrupt.
pub(crate) fn on_interrupt(core: &mut CoreLocal) {
    {
        let mut console = core.world.console.lock();
        if let Some(uart) = console.uart.as_mut() {
            uart.acknowledge();
        }
    }
    tend(core, Counter.now());
}

/// Tells a partition's virtual UART that input came, or that output went.
fn notify(core: &mut CoreLocal, slot: &'static Slot, is_input: bool) {
    // While it is active or paused, and while its lock is held, nobody takes the incarnation apart.
    let lifecycle = slot.lifecycle.lock();
    let Some(live) = worker::live(slot).filter(|_| lifecycle.phase().is_alive()) else {
        return;
    };
    let interface = core.interface(live);
    let vcpu = core
        .loaded
        .filter(|loaded| core::ptr::eq(loaded.live, live))
        .map(|loaded| loaded.vcpu.index);
    let here = Here { hw: &interface, vcpu };
    let kick = {
        let mut devices = live.devices.lock();
        let level = if is_input {
            devices.uart.received(&slot.port)
        } else {
            devices.uart.drained(&slot.port)
        };
        level.map(|level| {
            let level = if level { Line::High } else { Line::Low };
            devices.vgic(&live.quicks).set_line(
                here,
                live.platform.uart_intid,
                shikiri_abi::VcpuIndex(0),
                level,
            )
        })
    };
    if let Some(kick) = kick {
        run::kick_vcpus(core.world, live, kick);
    }
    drop(lifecycle);
}
