//! Signals: sent, held back, delivered to a handler, and back from it.

use alloc::vec::Vec;

use shikiri_scos_core::signal::{
    self, Action, Default, Info, Registers, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART,
    SA_RESTORER, SIGCONT, SIGKILL, SIGSEGV, SIGSTOP, Set, default_of,
};
use shikiri_scos_core::{Frame, Memory as _, Pool};
use shikiri_scos_files::Errno;

use crate::arch::Ram;
use crate::calls;
use crate::console::say;
use crate::kernel::Kernel;
use crate::process::State;
use crate::thread::{self, Call};

/// Where each process has the page that handlers return through, unless they say where: Linux's is in the vDSO.
pub(crate) const TRAMPOLINE: u64 = 0x7f_ffff_e000;
/// `mov x8, #139` (rt_sigreturn), `svc #0`.
const TRAMPOLINE_CODE: [u32; 2] = [0xd280_1168, 0xd400_0001];

/// Makes the page that handlers return through; all processes share it.
pub(crate) fn make_trampoline(pool: &mut Pool<Ram>) -> Result<Frame, Errno> {
    let frame = pool.take()?;
    for (index, word) in TRAMPOLINE_CODE.iter().enumerate() {
        pool.memory.write(frame, index * 4, &word.to_le_bytes());
    }
    pool.memory.clean_code(frame);
    Ok(frame)
}

/// The registers of a program as its handler finds them.
fn registers_of(frame: &crate::arch::Frame) -> Registers {
    Registers {
        x: frame.x,
        sp: frame.sp,
        pc: frame.pc,
        pstate: frame.pstate,
        fpsr: (frame.fpsr & 0xffff_ffff) as u32,
        fpcr: (frame.fpcr & 0xffff_ffff) as u32,
        q: frame.q,
    }
}

impl Kernel {
    /// A signal for a process.
    pub(crate) fn signal_process(&mut self, process: u32, signal: u8, info: Info) {
        let Some(target) = self.processes.get_mut(&process) else { return };
        if target.has_ended() {
            return;
        }
        if signal == SIGCONT || signal == SIGKILL {
            self.go_on(process);
        }
        let Some(target) = self.processes.get_mut(&process) else { return };
        let is_held_back = self
            .threads
            .values()
            .filter(|thread| thread.process == process)
            .all(|thread| thread.mask.has(signal));
        if target.actions.get(signal).is_ignored(signal) && !is_held_back {
            return;
        }
        target.pending.add(signal, info);
        self.wake_for(process, None, signal);
    }

    /// A signal for one thread.
    pub(crate) fn signal_thread(&mut self, id: u32, signal: u8, info: Info) {
        let Some(thread) = self.threads.get(&id) else { return };
        let process = thread.process;
        if signal == SIGKILL || signal == SIGSTOP || signal == SIGCONT {
            return self.signal_process(process, signal, info);
        }
        let is_held_back = thread.mask.has(signal);
        let Some(target) = self.processes.get(&process) else { return };
        if target.actions.get(signal).is_ignored(signal) && !is_held_back {
            return;
        }
        if let Some(thread) = self.threads.get_mut(&id) {
            thread.pending.add(signal, info);
        }
        self.wake_for(process, Some(id), signal);
    }

    /// A signal for all processes of a group.
    pub(crate) fn signal_group(&mut self, group: u32, signal: u8, info: Info) {
        let members: Vec<u32> = (self.processes.iter())
            .filter(|(_, process)| process.group == group && !process.has_ended())
            .map(|(id, _)| *id)
            .collect();
        for id in members {
            self.signal_process(id, signal, info);
        }
    }

    /// Wakes a thread that a signal has come for, if it waits and does not hold it back.
    fn wake_for(&mut self, process: u32, only: Option<u32>, signal: u8) {
        let found = self.threads.iter().find(|(id, thread)| {
            let is_meant = thread.process == process && only.is_none_or(|only| only == **id);
            let can_wake = match &thread.state {
                thread::State::Waiting(wait) => wait.is_interruptible() || signal == SIGKILL,
                thread::State::Ready => true,
            };
            is_meant && can_wake && !thread.mask.has(signal)
        });
        if let Some((id, thread)) = found
            && matches!(thread.state, thread::State::Waiting(_))
        {
            let id = *id;
            self.wake(id);
        }
    }

    /// A stopped process goes on.
    fn go_on(&mut self, process: u32) {
        let Some(target) = self.processes.get_mut(&process) else { return };
        if matches!(target.state, State::Stopped(_)) {
            target.state = State::Active;
            for (id, thread) in &self.threads {
                if thread.process == process && matches!(thread.state, thread::State::Ready) {
                    self.turns.add(*id);
                }
            }
        }
    }

    /// Whether a thread has a signal that it does not hold back.
    pub(crate) fn has_signal(&self, id: u32) -> bool {
        let Some(thread) = self.threads.get(&id) else { return false };
        let Some(process) = self.processes.get(&thread.process) else { return false };
        let set = thread.pending.set.plus(process.pending.set).minus(thread.mask);
        set != Set::default()
    }

    /// Delivers what has come for a thread. Whether it can run now.
    pub(crate) fn deliver_signals(&mut self, id: u32) -> bool {
        loop {
            let Some(thread) = self.threads.get_mut(&id) else { return false };
            let number = thread.process;
            let Some(process) = self.processes.get_mut(&number) else { return false };
            let set = thread.pending.set.plus(process.pending.set).minus(thread.mask);
            let Some(signal) = set.first() else { return true };
            let info = thread.pending.take(signal).or_else(|| process.pending.take(signal));
            let action = process.actions.get(signal);
            if action.is_caught() {
                return self.call_handler(id, signal, action, info.unwrap_or_default());
            }
            if action.is_ignored(signal) {
                continue;
            }
            match default_of(signal) {
                Default::Ignore | Default::Continue => {}
                // As on Linux, what the first program does not catch neither ends nor stops it.
                Default::Stop | Default::End if number == 1 => {}
                Default::Stop => {
                    self.stop_process(number, signal);
                    return false;
                }
                Default::End => {
                    self.end_process(number, u32::from(signal));
                    return false;
                }
            }
        }
    }

    /// Has a thread go on in a handler. Whether it can.
    fn call_handler(&mut self, id: u32, signal: u8, action: Action, info: Info) -> bool {
        self.interrupt_call(id, action.flags & SA_RESTART != 0);
        let Some(thread) = self.threads.get_mut(&id) else { return false };
        let number = thread.process;
        let mask = thread.former_mask.take().unwrap_or(thread.mask);
        let registers = registers_of(&thread.frame);
        let bytes = signal::frame(signal, &info, &registers, mask, &thread.stack);
        let top = match thread.stack {
            stack
                if action.flags & SA_ONSTACK != 0
                    && stack.bytes > 0
                    && !stack.holds(registers.sp) =>
            {
                stack.start.wrapping_add(stack.bytes)
            }
            _ => registers.sp,
        };
        let at = top.wrapping_sub(signal::FRAME_BYTES) & !15;
        let asid = self.processes.get(&number).map(|process| process.space);
        let space = asid.and_then(|asid| self.spaces.get_mut(&asid));
        let is_written =
            space.is_some_and(|(space, _)| space.write(&mut self.pool, at, &bytes).is_ok());
        if !is_written {
            self.print();
            let name = self.name_of(number);
            say(format_args!(
                "{name} (process {number}) died of SIGSEGV: no stack for a handler at {at:#x}"
            ));
            self.end_process(number, u32::from(SIGSEGV));
            return false;
        }
        let returns_to = if action.flags & SA_RESTORER != 0 { action.restorer } else { TRAMPOLINE };
        if let Some(thread) = self.threads.get_mut(&id) {
            let frame = &mut thread.frame;
            frame.x[0] = u64::from(signal);
            frame.x[1] = at;
            frame.x[2] = at.wrapping_add(signal::CONTEXT_OFFSET);
            frame.x[29] = at.wrapping_add(signal::RECORD_OFFSET);
            frame.x[30] = returns_to;
            frame.sp = at;
            frame.pc = action.handler;
            frame.pstate = 0;
            let held =
                if action.flags & SA_NODEFER != 0 { action.mask } else { action.mask.with(signal) };
            thread.mask = thread.mask.plus(held).as_mask();
        }
        if action.flags & SA_RESETHAND != 0
            && let Some(process) = self.processes.get_mut(&number)
        {
            process.actions.set(signal, Action::default());
        }
        true
    }

    /// A call that was waiting is over: it is done anew after the handler, or answers EINTR.
    fn interrupt_call(&mut self, id: u32, is_restarted: bool) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        if !thread.call.is_open {
            return;
        }
        self.futexes.cancel(id);
        let number = thread.frame.x[8];
        if is_restarted && calls::is_restartable(number, thread.call.deadline.is_some()) {
            thread.frame.pc = thread.frame.pc.wrapping_sub(4);
        } else {
            let error = calls::time::interrupted(self, id);
            if let Some(thread) = self.threads.get_mut(&id) {
                thread.frame.x[0] = calls::refusal(error);
            }
        }
        if let Some(thread) = self.threads.get_mut(&id) {
            thread.call = Call::default();
        }
    }

    /// Comes back from a handler; `None` if the frame on the stack is damaged.
    pub(crate) fn return_from_handler(&mut self, id: u32) -> Option<()> {
        let thread = self.threads.get_mut(&id)?;
        let at = thread.frame.sp;
        let process = self.processes.get(&thread.process)?;
        let (space, _) = self.spaces.get_mut(&process.space)?;
        let mut bytes = alloc::vec![0; signal::FRAME_BYTES as usize];
        space.read(&mut self.pool, at, &mut bytes).ok()?;
        let (registers, mask) = signal::read_frame(&bytes)?;
        let frame = &mut thread.frame;
        frame.x = registers.x;
        frame.sp = registers.sp;
        frame.pc = registers.pc;
        frame.pstate = registers.pstate;
        frame.fpsr = u64::from(registers.fpsr);
        frame.fpcr = u64::from(registers.fpcr);
        frame.q = registers.q;
        frame.restrict();
        thread.mask = mask;
        Some(())
    }
}
