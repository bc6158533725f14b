//! `/proc`: what runs, as `ps` looks for it, brought up to date when a path in it is looked up; and the device tree in `/sys`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use shikiri_scos_core::PAGE;
use shikiri_scos_files::Errno;

use crate::arch;
use crate::clock::SECOND_NS;
use crate::console::say;
use crate::kernel::Kernel;
use crate::process::{Process, State};
use crate::thread;

/// The folder.
const FOLDER: &[u8] = b"/proc";
/// This partition's device tree, where Linux has it.
const TREE: &[u8] = b"/sys/firmware/fdt";

impl Kernel {
    /// Shows programs the device tree that the kernel was started with.
    pub(crate) fn publish_tree(&mut self, tree: &[u8]) {
        if self.files.publish(TREE, tree).is_err() {
            say(format_args!("there is no room for /sys/firmware/fdt"));
        }
    }

    /// Brings up to date what a path may mean: one process, or all of it. Without room for it there is what there was.
    pub(crate) fn refresh(&mut self, path: &[u8]) {
        let Some(rest) = path.strip_prefix(FOLDER) else { return };
        let number =
            rest.strip_prefix(b"/").and_then(|rest| rest.split(|byte| *byte == b'/').next());
        let number = number.and_then(|text| core::str::from_utf8(text).ok()?.parse().ok());
        let _room: Result<(), Errno> = match number {
            Some(id) => self.publish_process(id),
            None => self.publish_all(),
        };
    }

    fn publish_all(&mut self) -> Result<(), Errno> {
        let gone: Vec<u32> =
            self.published.iter().copied().filter(|id| !self.processes.contains_key(id)).collect();
        for id in gone {
            self.published.remove(&id);
            // Somebody may have removed it.
            let _there: Result<(), Errno> = self.files.retract(format!("/proc/{id}").as_bytes());
        }
        let ids: Vec<u32> = self.processes.keys().copied().collect();
        for id in ids {
            // All of them together are more than a call may take.
            if arch::heap_is_low() {
                return Err(Errno::ENOMEM);
            }
            self.publish_process(id)?;
        }
        let seconds = self.clock.now() / SECOND_NS;
        self.files.publish(b"/proc/uptime", format!("{seconds}.00 0.00\n").as_bytes())?;
        let kib = PAGE as usize / 1024;
        let memory = format!(
            "MemTotal: {:8} kB\nMemFree:  {:8} kB\n",
            self.pool.count() * kib,
            self.pool.free() * kib
        );
        self.files.publish(b"/proc/meminfo", memory.as_bytes())?;
        let kernel = format!(
            "heap_free_kib {}\nunknown_calls {}\n",
            arch::heap_free_bytes() / 1024,
            self.unknown_calls
        );
        self.files.publish(b"/proc/scos", kernel.as_bytes())
    }

    fn publish_process(&mut self, id: u32) -> Result<(), Errno> {
        let Some(process) = self.processes.get(&id) else { return Ok(()) };
        let stat = self.stat_of(id, process);
        let arguments = process.arguments.clone();
        self.published.insert(id);
        self.files.publish(format!("/proc/{id}/stat").as_bytes(), stat.as_bytes())?;
        self.files.publish(format!("/proc/{id}/cmdline").as_bytes(), &arguments)
    }

    /// `/proc/PID/stat` (proc(5)); what is not known is 0.
    fn stat_of(&self, id: u32, process: &Process) -> String {
        let threads = self.threads.values().filter(|thread| thread.process == id);
        let is_ready = threads.clone().any(|thread| matches!(thread.state, thread::State::Ready));
        let state = match process.state {
            State::Ended(_) => 'Z',
            State::Stopped(_) => 'T',
            State::Active if is_ready => 'R',
            State::Active => 'S',
        };
        let space = self.spaces.get(&process.space).filter(|_| !process.has_ended());
        let (bytes, resident) = space.map_or((0, 0), |(space, _)| {
            let bytes = space.areas().iter().map(|area| area.end.saturating_sub(area.start)).sum();
            let bytes: u64 = bytes;
            (bytes, space.resident())
        });
        let Process { name, parent, group, session, .. } = process;
        let count = threads.count();
        // Up to 14 the times, then priority, niceness, threads, two more, size and resident pages, and 28 others.
        let others = " 0".repeat(28);
        format!(
            "{id} ({name}) {state} {parent} {group} {session} 1281 0 0 0 0 0 0 0 0 0 0 20 0 {count} 0 0 {bytes} {resident}{others}\n"
        )
    }
}
