//! Exceptions of programs: calls, pages that are touched first, and faults, which become signals.

use shikiri_scos_core::Access;
use shikiri_scos_core::signal::{Info, SIGBUS, SIGILL, SIGKILL, SIGSEGV, SIGTRAP};
use shikiri_scos_files::Errno;

use crate::console::say;
use crate::kernel::Kernel;

/// SIGFPE.
const SIGFPE: u8 = 8;

/// A fault, as a signal and in words.
struct Fault {
    signal: u8,
    code: i32,
    address: u64,
    what: &'static str,
}

impl Kernel {
    /// Sees why a program came back (Arm ARM, ESR_EL1.EC).
    pub(crate) fn exception(&mut self, id: u32) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        let pc = thread.frame.pc;
        let far = thread.frame.far;
        match thread.frame.class() {
            0x15 => {
                // As the program's own look at the clock would say.
                self.files.set_now(self.clock.both());
                self.do_call(id);
            }
            // WFI: whoever waits gives up its time.
            0x01 => {
                thread.frame.pc = pc.wrapping_add(4);
                self.end_slice();
            }
            0x20 => self.abort(id, Access::Execute),
            0x24 => {
                let access = match thread.frame.esr & ((1 << 8) | (1 << 6)) {
                    // WnR; cache maintenance (CM) says it, too, and needs to read only.
                    0x40 => Access::Write,
                    _ => Access::Read,
                };
                self.abort(id, access);
            }
            0x22 => self
                .fault(id, Fault { signal: SIGBUS, code: 1, address: far, what: "misaligned pc" }),
            0x26 => self.fault(
                id,
                Fault { signal: SIGBUS, code: 1, address: pc, what: "misaligned stack pointer" },
            ),
            0x2c => self
                .fault(id, Fault { signal: SIGFPE, code: 0, address: pc, what: "floating point" }),
            0x30..=0x3c => {
                self.fault(id, Fault { signal: SIGTRAP, code: 1, address: pc, what: "breakpoint" })
            }
            _ => self.fault(
                id,
                Fault { signal: SIGILL, code: 1, address: pc, what: "undefined instruction" },
            ),
        }
    }

    /// A system error (Arm ARM D1.3.4): nothing says whose it is; the program that runs ends.
    pub(crate) fn system_error(&mut self, id: u32) {
        self.fault(id, Fault { signal: SIGBUS, code: 3, address: 0, what: "system error" });
    }

    /// An abort: the page is touched for the first time, or it is a fault.
    fn abort(&mut self, id: u32, access: Access) {
        let Some(thread) = self.threads.get(&id) else { return };
        let (status, far) = (thread.frame.esr & 0x3f, thread.frame.far);
        let Some(process) = self.processes.get(&thread.process) else { return };
        let what = match access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Execute => "execution",
        };
        // DFSC: translation faults are 4–7, permission faults 12–15.
        if !matches!(status, 4..=7 | 12..=15) {
            return self.fault(id, Fault { signal: SIGBUS, code: 1, address: far, what });
        }
        let Some((space, _)) = self.spaces.get_mut(&process.space) else { return };
        if space.guest_at(far).is_some_and(|guest| guest.is_gone) {
            // BUS_ADRERR: the area is another's.
            return self.fault(id, Fault { signal: SIGBUS, code: 2, address: far, what });
        }
        let is_mapped = space.area_of(far).is_some();
        match space.touch(&mut self.pool, far, access) {
            Ok(_) => {}
            Err(Errno::ENOMEM) => self.out_of_memory(id),
            Err(_) => {
                let code = if is_mapped { 2 } else { 1 };
                self.fault(id, Fault { signal: SIGSEGV, code, address: far, what });
            }
        }
    }

    /// There is no memory for what a program needs now: it ends.
    fn out_of_memory(&mut self, id: u32) {
        let Some(thread) = self.threads.get(&id) else { return };
        let process = thread.process;
        self.print();
        let name = self.name_of(process);
        say(format_args!("{name} (process {process}) is ended: out of memory"));
        self.end_process(process, u32::from(SIGKILL));
    }

    /// A fault: the handler's, or the end of the process.
    fn fault(&mut self, id: u32, fault: Fault) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        let process = thread.process;
        let info = Info { code: fault.code, value: fault.address, status: 0 };
        let Some(owner) = self.processes.get(&process) else { return };
        // Nobody holds back or ignores a fault.
        if owner.actions.get(fault.signal).is_caught() && !thread.mask.has(fault.signal) {
            thread.pending.add(fault.signal, info);
            return;
        }
        let pc = thread.frame.pc;
        self.print();
        let name = self.name_of(process);
        let Fault { signal, address, what, .. } = fault;
        let signal_name = signal_name(signal);
        say(format_args!(
            "{name} (process {process}) died of {signal_name}: {what} at {address:#x}, pc {pc:#x}"
        ));
        self.end_process(process, u32::from(signal));
    }
}

/// The names of the signals that a fault becomes.
fn signal_name(signal: u8) -> &'static str {
    match signal {
        SIGBUS => "SIGBUS",
        SIGSEGV => "SIGSEGV",
        SIGILL => "SIGILL",
        SIGTRAP => "SIGTRAP",
        SIGFPE => "SIGFPE",
        _ => "a signal",
    }
}
