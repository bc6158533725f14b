//! The state of the whole kernel, and its loop.

use alloc::collections::{BTreeMap, BTreeSet};

use shikiri_scos_core::{Futexes, Memory as _, Pool, Space, Turns, interrupt_at};
use shikiri_scos_files::Limits;

use crate::arch::{self, Interrupt, Machine, Ram, Reason};
use crate::clock::Clock;
use crate::console::say;
use crate::hypervisor::{Files, Hypervisor};
use crate::policy::PolicyDoor;
use crate::process::Process;
use crate::quiet::Quiet;
use crate::thread::{State, Thread};

/// How long a thread runs while others wait for their turn.
const SLICE_NS: u64 = 10_000_000;

/// Everything.
pub(crate) struct Kernel {
    pub(crate) pool: Pool<Ram>,
    pub(crate) files: Files,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) threads: BTreeMap<u32, Thread>,
    /// Address spaces by ASID, with the number of processes that use each.
    pub(crate) spaces: BTreeMap<u16, (Space, u32)>,
    pub(crate) turns: Turns,
    pub(crate) futexes: Futexes,
    pub(crate) clock: Clock,
    /// The number that the next process or thread gets, if it is free.
    pub(crate) next_id: u32,
    /// The frame of the page that signal handlers return through.
    pub(crate) trampoline: shikiri_scos_core::Frame,
    /// Other partitions have asked more than could be looked at.
    pub(crate) has_requests: bool,
    /// More was typed than could be taken at once.
    pub(crate) has_input: bool,
    /// Calls that there are not.
    pub(crate) unknown_calls: u64,
    /// Processes that are told of in `/proc`.
    pub(crate) published: BTreeSet<u32>,
    pub(crate) policy: PolicyDoor,
    /// What is not listened to for a while.
    pub(crate) quiet: Quiet,
    /// The ASID in use.
    space: Option<u16>,
    /// Until when the present thread keeps its turn.
    slice_end: u64,
}

/// Boots: files from the archive, the first program, and then the loop.
pub(crate) fn run(machine: Machine) -> ! {
    let mut kernel = match Kernel::new(machine) {
        Ok(kernel) => kernel,
        Err(what) => panic!("the system cannot be started: {what}"),
    };
    loop {
        kernel.step();
    }
}

/// Names that are kept for `/proc`: three for each process, and a few.
const KEPT_NAMES: u32 = 3 * 200 + 8;

/// What files may take of the kernel's heap: half of it for what is in them, and an eighth for names, of which each takes up to 1 KiB with
/// its node. One process has half of the descriptions at most.
fn limits_of(heap_bytes: usize) -> Limits {
    let names = u32::try_from(heap_bytes / 8 / 1024).unwrap_or(u32::MAX);
    Limits {
        bytes: (heap_bytes / 2) as u64,
        nodes: names.min(8192),
        kept_names: KEPT_NAMES,
        descriptions: 2048,
    }
}

impl Kernel {
    fn new(machine: Machine) -> Result<Self, &'static str> {
        let frames = machine.ram.frames();
        let mut pool = Pool::new(machine.ram, frames);
        let trampoline = crate::signal::make_trampoline(&mut pool).map_err(|_| "no memory")?;
        let limits = limits_of(arch::heap_free_bytes());
        let files = Files::with_channels(limits, Hypervisor::find());
        let mut kernel = Self {
            pool,
            files,
            processes: BTreeMap::new(),
            threads: BTreeMap::new(),
            spaces: BTreeMap::new(),
            turns: Turns::default(),
            futexes: Futexes::default(),
            clock: Clock::start(),
            next_id: 1,
            trampoline,
            has_requests: false,
            has_input: false,
            unknown_calls: 0,
            published: BTreeSet::new(),
            policy: PolicyDoor::default(),
            quiet: Quiet::default(),
            space: None,
            slice_end: 0,
        };
        kernel.files.set_now(kernel.clock.both());
        let nodes = kernel.files.unpack(machine.archive).map_err(|_| "the archive is damaged")?;
        kernel.publish_tree(machine.tree);
        kernel.add_policy_device();
        kernel.add_trigger();
        let free = kernel.pool.free() * 4;
        let heap = arch::heap_free_bytes() / 1024;
        say(format_args!("{free} KiB for programs, {heap} KiB for the kernel, {nodes} files"));
        kernel.start_init(machine.command_line).map_err(|_| "there is no program /init")?;
        Ok(kernel)
    }

    /// One turn of the loop.
    fn step(&mut self) {
        self.settle();
        match self.choose() {
            Some(thread) => self.run_thread(thread),
            // They are looked at before programs sleep.
            None if self.has_requests || self.has_input => {}
            None => self.idle(),
        }
    }

    /// The thread whose turn it is.
    fn choose(&mut self) -> Option<u32> {
        loop {
            let id = self.turns.take()?;
            let can_run = self.threads.get(&id).is_some_and(|thread| {
                let process = self.processes.get(&thread.process);
                matches!(thread.state, State::Ready)
                    && process.is_some_and(|process| process.state == crate::process::State::Active)
            });
            if can_run {
                return Some(id);
            }
        }
    }

    /// Runs a thread until it comes back, or does what is left of its call.
    fn run_thread(&mut self, id: u32) {
        let now = self.clock.now();
        if self.slice_end == 0 {
            self.slice_end = now.saturating_add(SLICE_NS);
        }
        if self.deliver_signals(id) {
            let is_open = self.threads.get(&id).is_some_and(|thread| thread.call.is_open);
            if is_open {
                self.do_call(id);
            } else {
                self.enter(id);
            }
        }
        self.end_turn(id);
    }

    /// A thread that can go on keeps its turn while it has time left.
    fn end_turn(&mut self, id: u32) {
        let is_ready =
            self.threads.get(&id).is_some_and(|thread| matches!(thread.state, State::Ready));
        if is_ready && self.clock.now() < self.slice_end {
            self.turns.add_first(id);
            return;
        }
        self.slice_end = 0;
        if is_ready {
            self.turns.add(id);
        }
    }

    /// The present thread's time is over.
    pub(crate) fn end_slice(&mut self) {
        self.slice_end = 0;
    }

    fn enter(&mut self, id: u32) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        let Some(process) = self.processes.get(&thread.process) else { return };
        let asid = process.space;
        if self.space != Some(asid) {
            let root = self.spaces.get(&asid).map(|(space, _)| space.root());
            arch::use_space(root.map(|(root, asid)| (self.pool.memory.physical(root), asid)));
            self.space = Some(asid);
        }
        let deadline = match self.turns.is_empty() {
            true => u64::MAX,
            false => self.slice_end,
        };
        // However short somebody's timers are, each program gets on.
        self.arm(interrupt_at(self.next_interrupt(deadline), self.clock.now()));
        let Some(thread) = self.threads.get_mut(&id) else { return };
        match arch::enter(&mut thread.frame) {
            Reason::Synchronous => self.exception(id),
            Reason::Interrupt => self.interrupts(),
            Reason::Error => self.system_error(id),
        }
    }

    /// An address space is no longer to be used.
    pub(crate) fn leave_space(&mut self, asid: u16) {
        if self.space == Some(asid) {
            arch::use_space(None);
            self.space = None;
        }
    }

    /// The next time that anybody waits for, or `latest`.
    fn next_interrupt(&self, latest: u64) -> u64 {
        self.next_deadline().map_or(latest, |next| next.min(latest))
    }

    /// Has the timer come then.
    fn arm(&self, at: u64) {
        match at {
            u64::MAX => arch::disarm_timer(),
            at => arch::arm_timer(self.clock.counter_at(at)),
        }
    }

    fn idle(&mut self) {
        self.slice_end = 0;
        self.arm(self.next_interrupt(u64::MAX));
        arch::wait_for_interrupt();
        self.interrupts();
    }

    /// Takes all interrupts that are pending.
    fn interrupts(&mut self) {
        while let Some((interrupt, acknowledged)) = arch::acknowledge() {
            match interrupt {
                // Settling looks at the time.
                Interrupt::Timer => arch::disarm_timer(),
                Interrupt::Console => self.take_input(),
                Interrupt::Policy(intid) => {
                    self.be_quiet(intid);
                    self.tell_policy();
                }
                Interrupt::Other(intid) => self.channel_event(intid),
            }
            arch::end(acknowledged);
        }
    }

    pub(crate) fn take_input(&mut self) {
        let mut typed = [0; 64];
        let (count, is_all) = arch::read_bytes(&mut typed);
        self.has_input = !is_all;
        self.files.console_input(typed.get(..count).unwrap_or(&[]));
    }
}
