//! What has happened, and who is told: keys of files, times, signals of the terminal, output of the console.

use alloc::vec::Vec;

use shikiri_scos_core::signal::{Info, SIGALRM};
use shikiri_scos_files::Key;

use crate::arch;
use crate::kernel::Kernel;
use crate::thread::{On, State};

impl Kernel {
    /// Sees to all that has happened since the last time.
    pub(crate) fn settle(&mut self) {
        self.listen_again();
        if self.has_input {
            self.take_input();
        }
        self.settle_areas();
        let now = self.clock.both();
        self.files.set_now(now);
        self.expire(now.monotonic_ns);
        while let Some(key) = self.files.woken() {
            self.wake_key(key);
        }
        while let Some(signal) = self.files.signal() {
            self.signal_group(signal.group, signal.number, Info::default());
        }
        self.print();
    }

    /// Sends what programs have written to the console.
    pub(crate) fn print(&mut self) {
        let mut bytes = [0; 256];
        loop {
            let count = self.files.console_output(&mut bytes);
            if count == 0 {
                return;
            }
            arch::write_bytes(bytes.get(..count).unwrap_or(&[]));
        }
    }

    /// When the timer has to come at the latest.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let threads = self.threads.values().filter_map(|thread| thread.deadline());
        let alarms = self.processes.values().filter_map(|it| it.alarm.due(it.has_rung()));
        threads.chain(alarms).chain(self.files.next_alarm()).chain(self.quiet.next()).min()
    }

    fn expire(&mut self, now: u64) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let threads: Vec<u32> = (self.threads.iter())
            .filter(|(_, thread)| is_due(thread.deadline()))
            .map(|(id, _)| *id)
            .collect();
        for id in threads {
            self.wake(id);
        }
        let mut rung = Vec::new();
        for (id, process) in &mut self.processes {
            let is_pending = process.has_rung();
            if process.alarm.expire(now, is_pending) {
                rung.push(*id);
            }
        }
        for id in rung {
            self.signal_process(id, SIGALRM, Info { code: 0x80, ..Info::default() });
        }
    }

    fn wake_key(&mut self, key: Key) {
        self.wake_waiting(|on| on == On::Key(key));
    }

    /// Wakes the threads that wait for something.
    pub(crate) fn wake_waiting(&mut self, is_meant: impl Fn(On) -> bool) {
        let woken: Vec<u32> = (self.threads.iter())
            .filter(|(_, thread)| match &thread.state {
                State::Waiting(wait) => wait.on.iter().any(|on| is_meant(*on)),
                State::Ready => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in woken {
            self.wake(id);
        }
    }

    /// Wakes the threads of a process that wait for its children.
    pub(crate) fn wake_parent(&mut self, process: u32) {
        let woken: Vec<u32> = (self.threads.iter())
            .filter(|(_, thread)| {
                thread.process == process
                    && matches!(&thread.state, State::Waiting(wait) if wait.on.contains(&On::Child))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in woken {
            self.wake(id);
        }
    }

    /// A thread can go on.
    pub(crate) fn wake(&mut self, id: u32) {
        if let Some(thread) = self.threads.get_mut(&id) {
            thread.state = State::Ready;
            self.turns.add(id);
        }
    }
}
