//! How processes and threads begin and end.

use alloc::string::String;
use alloc::vec::Vec;

use shikiri_scos_core::signal::{Action, Info, SA_NOCLDWAIT, SIG_IGN, SIGCHLD, Set};
use shikiri_scos_core::{Alarm, Space};
use shikiri_scos_files::abi::fcntl::O_RDWR;
use shikiri_scos_files::{Descriptors, Errno, Place};

use crate::arch;
use crate::console::say;
use crate::kernel::Kernel;
use crate::process::{Actions, Pending, Process, State};
use crate::thread::{On, Thread};

/// The most processes, those included that nobody has waited for yet. Each may have an ASID of 8 bits.
const MOST_PROCESSES: usize = 200;
/// The most threads.
const MOST_THREADS: usize = 400;
/// And those of one process.
const MOST_THREADS_OF_ONE: usize = 64;
/// Numbers of processes and threads are below this.
const IDS_END: u32 = 1 << 22;
/// RLIMIT_NOFILE at first.
const DESCRIPTORS: u32 = 256;
/// SA_NOCLDSTOP.
const NO_STOPS: u64 = 1;

impl Kernel {
    /// A number for a process or a thread.
    pub(crate) fn new_id(&mut self) -> Result<u32, Errno> {
        if self.processes.len() >= MOST_PROCESSES || self.threads.len() >= MOST_THREADS {
            return Err(Errno::EAGAIN);
        }
        loop {
            let id = self.next_id;
            self.next_id = if id + 1 >= IDS_END { 2 } else { id + 1 };
            let is_used = self.processes.contains_key(&id)
                || self.threads.contains_key(&id)
                || self.processes.values().any(|other| other.group == id || other.session == id);
            if !is_used {
                return Ok(id);
            }
        }
    }

    /// A number for another thread of a process.
    pub(crate) fn new_thread_id(&mut self, process: u32) -> Result<u32, Errno> {
        let own = self.threads.values().filter(|thread| thread.process == process);
        if own.count() >= MOST_THREADS_OF_ONE {
            return Err(Errno::EAGAIN);
        }
        self.new_id()
    }

    /// An address space's number: an ASID that nobody has.
    pub(crate) fn new_asid(&self) -> Result<u16, Errno> {
        (1..=255).find(|asid| !self.spaces.contains_key(asid)).ok_or(Errno::EAGAIN)
    }

    /// Adds an address space with one user.
    pub(crate) fn add_space(&mut self, space: Space) -> u16 {
        let (_, asid) = space.root();
        // The core may remember what the ASID's last space had.
        arch::forget_space(asid);
        self.spaces.insert(asid, (space, 1));
        asid
    }

    /// One user of an address space fewer.
    pub(crate) fn release_space(&mut self, asid: u16) {
        let Some((_, users)) = self.spaces.get_mut(&asid) else { return };
        *users = users.saturating_sub(1);
        if *users > 0 {
            return;
        }
        self.leave_space(asid);
        if let Some((mut space, _)) = self.spaces.remove(&asid) {
            self.forget_areas(&mut space);
            space.end(&mut self.pool);
            arch::forget_space(asid);
        }
    }

    /// Starts `/init` with the command line's words.
    pub(crate) fn start_init(&mut self, command_line: &str) -> Result<(), Errno> {
        let id = self.new_id()?;
        let root = self.files.root();
        let mut process = Process {
            parent: 0,
            group: id,
            session: id,
            space: 0,
            descriptors: Descriptors::new(DESCRIPTORS),
            directory: root,
            umask: 0o022,
            actions: Actions::new(),
            pending: Pending::default(),
            alarm: Alarm::default(),
            state: State::Active,
            is_stop_told: false,
            end_signal: 0,
            name: String::new(),
            arguments: Vec::new(),
        };
        let caller = process.caller();
        for _ in 0..3 {
            let place = Place { from: root, path: b"/dev/console" };
            let description = self.files.open(&caller, place, O_RDWR, 0)?;
            self.files.install(&mut process.descriptors, description, 0)?;
        }
        let mut arguments: Vec<Vec<u8>> = alloc::vec![b"/init".to_vec()];
        arguments
            .extend(command_line.split_ascii_whitespace().map(|word| word.as_bytes().to_vec()));
        let environment =
            ["PATH=/bin", "HOME=/", "TERM=vt100"].map(|text| text.as_bytes().to_vec());
        let loaded = self.load(&caller, b"/init", arguments, environment.into())?;
        process.space = loaded.asid;
        process.name = loaded.name;
        process.arguments = loaded.arguments;
        self.files.set_console_owner(process.session, process.group);
        self.processes.insert(id, process);
        self.threads.insert(id, Thread::new(id, loaded.frame, Set::default()));
        self.turns.add(id);
        Ok(())
    }

    /// A process's name, for lines of the kernel.
    pub(crate) fn name_of(&self, process: u32) -> String {
        self.processes.get(&process).map_or_else(String::new, |process| process.name.clone())
    }

    /// Ends a thread; with the last one, its process.
    pub(crate) fn end_thread(&mut self, id: u32, status: u32) {
        let Some(thread) = self.threads.get(&id) else { return };
        let (process, word) = (thread.process, thread.clear_at_end);
        let is_last = self.threads.values().filter(|other| other.process == process).count() == 1;
        if is_last {
            return self.end_process(process, status);
        }
        self.remove_thread(id);
        self.clear_and_wake(process, word);
    }

    /// Tells who waits for a thread's end by its word (CLONE_CHILD_CLEARTID). A bad address is nobody's problem but the program's.
    fn clear_and_wake(&mut self, process: u32, word: u64) {
        if word == 0 {
            return;
        }
        let Some(process) = self.processes.get(&process) else { return };
        let Some((space, _)) = self.spaces.get_mut(&process.space) else { return };
        if space.write(&mut self.pool, word, &[0; 4]).is_ok()
            && let Some(word) = crate::calls::thread::word_of(space, &mut self.pool, word)
        {
            self.wake_futex(word, 1, u32::MAX);
        }
    }

    /// Wakes threads that wait for a word; how many.
    pub(crate) fn wake_futex(
        &mut self,
        word: shikiri_scos_core::Word,
        most: u32,
        bits: u32,
    ) -> u32 {
        let woken = self.futexes.wake(word, most, bits);
        for id in &woken {
            if let Some(thread) = self.threads.get_mut(id) {
                thread.call.is_woken = true;
            }
            self.wake(*id);
        }
        woken.len() as u32
    }

    pub(crate) fn remove_thread(&mut self, id: u32) {
        self.threads.remove(&id);
        self.turns.remove(id);
        self.futexes.cancel(id);
    }

    /// Ends all threads of a process but one.
    pub(crate) fn remove_threads(&mut self, process: u32, except: Option<u32>) {
        let others: Vec<u32> = (self.threads.iter())
            .filter(|(id, thread)| thread.process == process && Some(**id) != except)
            .map(|(id, _)| *id)
            .collect();
        for id in others {
            self.remove_thread(id);
        }
    }

    /// Ends a process with a status as `wait4` gives it.
    pub(crate) fn end_process(&mut self, id: u32, status: u32) {
        self.remove_threads(id, None);
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.state = State::Ended(status);
        process.alarm = Alarm::default();
        self.files.exit(&mut process.descriptors);
        let (asid, parent) = (process.space, process.parent);
        self.leave_requests(id);
        self.release_space(asid);
        self.wake_waiting(|on| on == On::Space(id));
        if id == 1 {
            self.print();
            say(format_args!("init has ended with status {status:#x}"));
            arch::power_off();
        }
        self.orphan_children(id);
        self.tell_parent(id, parent, status);
    }

    /// The children of a process that has ended become the first program's.
    fn orphan_children(&mut self, id: u32) {
        let orphans: Vec<(u32, State)> = (self.processes.iter_mut())
            .filter(|(_, process)| process.parent == id)
            .map(|(child, process)| {
                process.parent = 1;
                // The first program gets no other signal than it can expect.
                process.end_signal = SIGCHLD;
                (*child, process.state)
            })
            .collect();
        for (child, state) in orphans {
            if let State::Ended(status) = state {
                self.tell_parent(child, 1, status);
            }
        }
    }

    fn tell_parent(&mut self, id: u32, parent: u32, status: u32) {
        let action = self.child_action(parent);
        let is_unwanted = action
            .is_none_or(|action| action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0);
        let signal = self.processes.get(&id).map_or(0, |process| process.end_signal);
        if is_unwanted {
            self.processes.remove(&id);
        }
        if signal != 0 {
            // CLD_EXITED, CLD_KILLED.
            let (code, told) =
                if status & 0x7f == 0 { (1, status >> 8) } else { (2, status & 0x7f) };
            let info = Info { code, value: u64::from(id), status: told.cast_signed() };
            self.signal_process(parent, signal, info);
        }
        self.wake_parent(parent);
    }

    /// What a process does with SIGCHLD; `None` if there is no such process.
    fn child_action(&self, parent: u32) -> Option<Action> {
        let process = self.processes.get(&parent).filter(|process| !process.has_ended())?;
        Some(process.actions.get(SIGCHLD))
    }

    /// Stops a process.
    pub(crate) fn stop_process(&mut self, id: u32, signal: u8) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.state = State::Stopped(signal);
        process.is_stop_told = false;
        let parent = process.parent;
        if self.child_action(parent).is_some_and(|action| action.flags & NO_STOPS == 0) {
            // CLD_STOPPED.
            let info = Info { code: 5, value: u64::from(id), status: i32::from(signal) };
            self.signal_process(parent, SIGCHLD, info);
        }
        self.wake_parent(parent);
    }
}
