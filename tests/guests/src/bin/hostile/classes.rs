//! Every class of exception that a guest can reach, at EL1 and at EL0, and what leads to it: each in its turn, so that none is
//! left to luck.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::hvc::psci;
use shikiri_rt::mmu::Access;
use shikiri_rt::platform::{UART, has_word, platform};
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, println, reg};
use shikiri_test_guests::code::{Encoding, mrs, msr};
use shikiri_test_guests::fault::{self, Fault, Piece, attempt};

use crate::act::{BROKEN, Worker};
use crate::groups::{self, Group};
use crate::opcodes;
use crate::power;
use crate::values::{device_address, foreign_address, is_binary_point, is_suicidal};

unsafe extern "C" {
    fn hostile_return(spsr: u64, b: u64) -> u64;
    fn hostile_odd_stack(a: u64, b: u64) -> u64;
}

/// How an action ends: an exception of a class (ESR_EL1.EC), or not.
const RETURNED: u64 = 64;
const UNDEFINED: u64 = 0x00;
const NO_FP: u64 = 0x07;
const ILLEGAL_STATE: u64 = 0x0e;
const SVC32: u64 = 0x11;
const SVC: u64 = 0x15;
const FETCH_FROM_EL0: u64 = 0x20;
const FETCH: u64 = 0x21;
const ODD_PC: u64 = 0x22;
const DATA_FROM_EL0: u64 = 0x24;
const DATA: u64 = 0x25;
const ODD_SP: u64 = 0x26;
const BKPT32: u64 = 0x38;
const BRK: u64 = 0x3c;

/// A class: what it is, how it ends if it has happened (nothing here: however), and what leads to it.
struct Class {
    name: &'static str,
    ends: &'static [u64],
    act: fn(&mut Worker) -> Result<u64, Fault>,
}

const fn class(
    name: &'static str,
    ends: &'static [u64],
    act: fn(&mut Worker) -> Result<u64, Fault>,
) -> Class {
    Class { name, ends, act }
}

const CLASSES: &[Class] = &[
    class("UDF", &[UNDEFINED], |w| w.with_immediate(0x0000_0000, 0)),
    class("HLT", &[UNDEFINED], halt),
    class("DCPS", &[UNDEFINED], |w| {
        let level = w.random.below(4) as u32;
        w.with_immediate(0xd4a0_0000 | level, 5)
    }),
    class("SVC", &[SVC], |w| w.with_immediate(0xd400_0001, 5)),
    class("HVC", &[RETURNED], |w| w.with_immediate(0xd400_0002, 5)),
    class("SMC", &[RETURNED], |w| w.with_immediate(0xd400_0003, 5)),
    class("BRK", &[BRK], |w| w.with_immediate(0xd420_0000, 5)),
    class("misaligned PC", &[ODD_PC], |w| w.try_piece(fault::fault_call, w.scratch() + 2, 0)),
    // The emulator does not check it.
    class("misaligned SP", &[ODD_SP, RETURNED], |w| w.try_piece(hostile_odd_stack, 0, 0)),
    class("illegal exception return", &[ILLEGAL_STATE], illegal_return),
    class("return to an illegal state", &[ILLEGAL_STATE], |w| {
        w.try_piece(hostile_return, EL1T | MASKED | ILLEGAL, 0)
    }),
    class("breakpoint, watchpoint and step, which do not come", &[RETURNED], debug),
    class("WFE", &[RETURNED], |w| w.one_of(&[&[opcodes::SEVL, opcodes::WFE], &[opcodes::WFE]])),
    class("WFI", &[RETURNED], wait_for_interrupt),
    class("WFIT and WFET", &[RETURNED, UNDEFINED], |w| {
        let now = reg::now();
        w.run_one_of(opcodes::TIMED_WAITS, now, now)
    }),
    class("FP and SIMD while they are off", &[NO_FP], |w| w.fp(0)),
    class("FP and SIMD while they are on", &[RETURNED], |w| w.fp(3 << 20)),
    class("SVE", &[], |w| w.one_of(opcodes::SVE)),
    class("SME", &[], |w| w.one_of(opcodes::SME)),
    class("pointer authentication", &[], |w| w.one_of(opcodes::PAUTH)),
    class("memory copy", &[], |w| w.one_of(opcodes::MOPS)),
    class("64-byte accesses", &[], |w| w.one_of(opcodes::LS64)),
    class("memory tags", &[], |w| w.one_of(opcodes::MTE)),
    class("other extensions", &[], |w| w.one_of(opcodes::OTHERS)),
    class("fetch of nothing", &[FETCH], |w| w.at(Access::Anything, &[fault::fault_call])),
    class("fetch of data", &[FETCH], fetch_data),
    class("store to code", &[DATA], |w| w.try_piece(fault::fault_store32, hostile_code(), 0)),
    class("load of nothing", &[DATA], |w| {
        w.at(Access::Device, &[fault::fault_load8, fault::fault_load64])
    }),
    class("store to nothing", &[DATA], |w| {
        w.at(Access::Data, &[fault::fault_store16, fault::fault_store32])
    }),
    // With counted instructions the emulator leaves that to the device.
    class("unaligned device access", &[DATA, RETURNED], |w| {
        let va = w.aim_at_device() | 1;
        let way = w.random.pick(&[
            fault::fault_load16,
            fault::fault_load32,
            fault::fault_store32,
            fault::fault_store64 as Piece,
        ]);
        w.try_piece(way, va, 0)
    }),
    class("atomics on a device", &[DATA, UNDEFINED], |w| w.on_device(opcodes::ATOMICS)),
    class("exclusives on a device", &[DATA, RETURNED], |w| w.on_device(opcodes::EXCLUSIVES)),
    class("ordered accesses to a device", &[], |w| w.on_device(opcodes::ORDERED)),
    class("pairs on a device", &[DATA], |w| w.on_device(opcodes::PAIRS)),
    class("vectors on a device", &[DATA], |w| {
        w.enable_fp();
        w.on_device(opcodes::VECTORS)
    }),
    class("indexed accesses to a device", &[DATA, RETURNED], |w| w.on_device(opcodes::INDEXED)),
    class("DC ZVA on a device", &[DATA], |w| w.on_device(&[&[msr((1, 3, 7, 4, 1))]])),
    class("cache maintenance by address on a device", &[], |w| {
        let instruction = w.random.pick(groups::CACHE_BY_ADDRESS);
        w.on_device(&[&[msr(instruction)]])
    }),
    class("cache maintenance of nothing", &[], |w| {
        let instruction = w.random.pick(groups::CACHE_BY_ADDRESS);
        w.aim(0x50_0000_0000, Access::Data);
        w.run(&[msr(instruction)], w.window, 0)
    }),
    class("cache maintenance by set and way", &[RETURNED], |w| {
        let instruction = w.random.pick(groups::CACHE_BY_SET);
        let value = w.random.edgy();
        w.run(&[msr(instruction)], value, 0)
    }),
    class("address translation", &[], |w| w.translate()),
    class("address translation by foreign tables", &[], |w| {
        let va = BROKEN + w.random.below(4 << 30);
        let instruction = w.random.pick(&groups::TRANSLATION[..4]);
        w.run(&[msr(instruction), opcodes::ISB, mrs(groups::PAR)], va, 0)
    }),
    class("TLB maintenance", &[RETURNED, UNDEFINED], |w| {
        let register = w.tlb_maintenance(0);
        w.run(&[msr(register)], 0, 0)
    }),
    class("TLB maintenance of EL2", &[UNDEFINED], |w| {
        let register = w.tlb_maintenance(4);
        w.run(&[msr(register)], 0, 0)
    }),
    class("identification registers", &[], |w| w.register_of(groups::IDENTIFICATION)),
    class("performance monitors", &[], |w| w.register_of(groups::MONITORS)),
    class("debug registers", &[], |w| w.register_of(groups::DEBUG)),
    class("timer registers", &[], |w| w.register_of(groups::TIMER)),
    class("interrupt controller registers", &[], |w| w.register_of(groups::INTERRUPTS)),
    class("auxiliary control registers", &[], |w| w.register_of(groups::AUXILIARY)),
    class("limited ordering registers", &[], |w| w.register_of(groups::ORDERING)),
    class("error registers", &[], |w| w.register_of(groups::ERRORS)),
    class("trace and profiling registers", &[], |w| w.register_of(groups::TRACE)),
    class("registers of hidden features", &[], |w| w.register_of(groups::HIDDEN)),
    class("registers of EL2 and EL3", &[], |w| w.register_of(groups::HIGHER)),
    class("implementation defined registers", &[], |w| w.register_of(groups::IMPLEMENTATION)),
    class("CPU_SUSPEND to standby", &[RETURNED], power::standby),
    class("CPU_SUSPEND to power-down", &[RETURNED], power::power_down),
    class("CPU_OFF, and CPU_ON by another", &[RETURNED], power::off),
    class("a program at EL0 that ends", &[RETURNED], |w| w.user(&[opcodes::NOP], 0)),
    class("EL0: calls and exceptions", &[UNDEFINED, SVC, BRK], |w| {
        let immediate = w.random.below(0x1000) as u32;
        let instruction = w.random.pick(opcodes::EXCEPTIONS);
        w.user(&[instruction | (immediate << 5)], 0)
    }),
    class("EL0: registers", &[], |w| {
        let group = w.random.pick(groups::ALL);
        let instruction = w.access_of(group);
        let value = w.random.edgy();
        w.user(&[instruction], value)
    }),
    class("EL0: extensions", &[], |w| {
        let group = w.random.pick(opcodes::EXTENSIONS);
        let instructions = w.random.pick(group);
        w.user(instructions, 0)
    }),
    class("EL0: waits and maintenance", &[], |w| {
        let instruction = w.random.pick(opcodes::AT_EL0);
        let address = w.user.device(&mut w.random);
        w.user(&[instruction], address)
    }),
    class("EL0: aborts", &[DATA_FROM_EL0, FETCH_FROM_EL0], |w| {
        let address = w.random.pick(&[w.scratch(), 0x50_0000_0000, BROKEN, w.user.nothing()]);
        let instruction = w.random.pick(&[opcodes::LOAD, opcodes::STORE, opcodes::BRANCH]);
        w.user(&[instruction], address)
    }),
    class("EL0: a device", &[RETURNED, DATA_FROM_EL0, UNDEFINED], |w| {
        let address = w.user.device(&mut w.random);
        let group = w.random.pick(opcodes::ON_DEVICES);
        let instructions = w.random.pick(group);
        w.user(instructions, address)
    }),
    class("AArch32 at EL0: exceptions", &[SVC32, BKPT32, UNDEFINED], |w| {
        let instruction = w.random.pick(opcodes::EXCEPTIONS_A32);
        w.user32(&[instruction], 0)
    }),
    class("AArch32 at EL0: a load from a device in an IT block", &[RETURNED], |w| {
        w.user.run_t32(opcodes::LOAD_IN_IT_BLOCK, w.user.readable())
    }),
    class("AArch32 at EL0: registers, a device, short instructions", &[], |w| w.any_a32()),
];

static COUNTS: [AtomicU64; CLASSES.len()] = [const { AtomicU64::new(0) }; CLASSES.len()];
/// How many have ended in another way, and how the last of them has.
static OTHERWISE: [AtomicU64; CLASSES.len()] = [const { AtomicU64::new(0) }; CLASSES.len()];
static ENDS: [AtomicU64; CLASSES.len()] = [const { AtomicU64::new(0) }; CLASSES.len()];

/// SPSR_EL1: EL1 with the usual stack, all masked; all but debug exceptions; PSTATE.IL and PSTATE.SS.
const EL1T: u64 = 4;
const MASKED: u64 = 0xf << 6;
const MASKED_BUT_DEBUG: u64 = 7 << 6;
const ILLEGAL: u64 = 1 << 20;
const STEP: u64 = 1 << 21;

/// Prints how often each class has happened.
pub(crate) fn report() {
    if has_word("brief") {
        return;
    }
    for (class, count) in CLASSES.iter().zip(&COUNTS) {
        println!("hostile: class {} {}", class.name, count.load(Ordering::Relaxed));
    }
    println!("hostile: classes {}", CLASSES.len());
    for (class, (otherwise, end)) in CLASSES.iter().zip(OTHERWISE.iter().zip(&ENDS)) {
        let otherwise = otherwise.load(Ordering::Relaxed);
        if otherwise != 0 {
            let end = end.load(Ordering::Relaxed);
            println!("hostile: ended otherwise: {} {otherwise}, at last by {end:#x}", class.name);
        }
    }
}

/// With what vCPU `index` begins: each of two with another half.
pub(crate) const fn first_turn(index: usize) -> usize {
    index * CLASSES.len() / 2
}

/// Waits for an interrupt as long as one is sure to come: on a core of one's own a WFI does not come to EL2, and a guest whose
/// interrupt controller is in disorder waits for ever, by its own doing.
pub(crate) fn wait_once() {
    gic::enable(Timer::Virtual.intid());
    irq::masked(|| {
        Timer::Virtual.set_deadline(reg::now() + timer::ticks(1000));
        reg::wfi();
        Timer::Virtual.stop();
    });
    count("WFI");
}

fn count(name: &str) {
    for (class, count) in CLASSES.iter().zip(&COUNTS) {
        if class.name == name {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An address of this program's code.
fn hostile_code() -> u64 {
    let piece: Piece = hostile_return;
    piece as usize as u64
}

/// HLT, but none that is a request to the emulator.
fn halt(worker: &mut Worker) -> Result<u64, Fault> {
    let immediate = worker.random.below(0xf000) as u32;
    worker.run(&[0xd440_0000 | (immediate << 5)], 0, 0)
}

/// To EL2, EL3, to AArch32's modes above User, and to what is no mode.
fn illegal_return(worker: &mut Worker) -> Result<u64, Fault> {
    let mode = worker.random.pick(&[
        0x1, 0x2, 0x3, 0x6, 0x7, 0x8, 0x9, 0xc, 0xd, 0xf, 0x11, 0x12, 0x13, 0x16, 0x17, 0x1a, 0x1b,
        0x1f,
    ]);
    worker.try_piece(hostile_return, mode | MASKED, 0)
}

/// Sets up what would raise debug exceptions, and lets them in.
fn debug(worker: &mut Worker) -> Result<u64, Fault> {
    const MDSCR: Encoding = (2, 0, 0, 2, 2);
    const STEP_AND_MONITOR: u64 = 1 | (1 << 13) | (1 << 15);
    const ENABLED: u64 = 0x1ff | (3 << 3);
    // Every core has two of each.
    let number = worker.random.below(2) as u32;
    for (register, value) in [
        ((2, 0, 0, number, 4), hostile_code()),
        ((2, 0, 0, number, 5), ENABLED),
        ((2, 0, 0, number, 6), worker.scratch()),
        ((2, 0, 0, number, 7), ENABLED),
        ((2, 0, 1, 0, 4), 0),
        (MDSCR, STEP_AND_MONITOR),
    ] {
        worker.run(&[msr(register)], value, 0)?;
    }
    worker.try_piece(hostile_return, EL1T | MASKED_BUT_DEBUG | STEP, 0)?;
    worker.try_piece(fault::fault_store32, worker.scratch(), 0)
}

/// Only where it comes to EL2, which knows when to go on; see [`wait_once`].
fn wait_for_interrupt(worker: &mut Worker) -> Result<u64, Fault> {
    if has_word("shared") {
        power::wake_soon();
        return worker.run(&[opcodes::WFI], 0, 0);
    }
    worker.run(&[opcodes::YIELD], 0, 0)
}

/// Memory that cannot be executed: the stack.
fn fetch_data(worker: &mut Worker) -> Result<u64, Fault> {
    let there = opcodes::NOP;
    let address = (&raw const there).expose_provenance() as u64;
    worker.try_piece(fault::fault_call, address, 0)
}

impl Worker {
    /// What is next in turn.
    pub(crate) fn exception(&mut self) -> Result<u64, Fault> {
        let at = self.turn % CLASSES.len();
        self.turn += 1;
        let class = &CLASSES[at];
        if self.is_verbose {
            println!("hostile: {}", class.name);
        }
        let result = (class.act)(self);
        let end = result.as_ref().map_or_else(Fault::class, |_| RETURNED);
        let has_happened = class.ends.is_empty() || class.ends.contains(&end);
        let counts = if has_happened { &COUNTS } else { &OTHERWISE };
        if !has_happened {
            ENDS[at].store(end, Ordering::Relaxed);
        }
        // On a core of one's own it was no WFI.
        if class.name != "WFI" || has_word("shared") {
            counts[at].fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Where a store harms nobody: behind the instructions on this vCPU's page.
    pub(crate) fn scratch(&self) -> u64 {
        self.page.address() + 2048
    }

    /// Runs instructions that may do what they like with the registers that a call may change.
    pub(crate) fn run(&mut self, instructions: &[u32], a: u64, b: u64) -> Result<u64, Fault> {
        // SAFETY: what the program relies on is left out by those who choose the instructions.
        unsafe { self.page.run(instructions, a, b) }
    }

    fn try_piece(&mut self, piece: Piece, a: u64, b: u64) -> Result<u64, Fault> {
        // SAFETY: the pieces are this program's own or fault.rs's, and where they store is nobody's or the scratch.
        unsafe { attempt(piece, a, b) }
    }

    fn with_immediate(&mut self, opcode: u32, shift: u32) -> Result<u64, Fault> {
        let immediate = self.random.below(0x1_0000) as u32;
        let version = u64::from(psci::VERSION);
        self.run(&[opcode | (immediate << shift)], version, 0)
    }

    fn run_one_of(&mut self, choices: &[&[u32]], a: u64, b: u64) -> Result<u64, Fault> {
        let instructions = self.random.pick(choices);
        self.run(instructions, a, b)
    }

    fn one_of(&mut self, choices: &[&[u32]]) -> Result<u64, Fault> {
        self.enable_fp();
        let scratch = self.scratch();
        self.run_one_of(choices, scratch, scratch)
    }

    fn fp(&mut self, cpacr: u64) -> Result<u64, Fault> {
        let instruction = self.random.pick(opcodes::FP);
        self.run(&[msr(groups::CPACR), opcodes::ISB, instruction], cpacr, 0)
    }

    /// FP, SVE and SME are not EL1's to refuse.
    fn enable_fp(&mut self) {
        let all = (3 << 20) | (3 << 16) | (3 << 24);
        // Any exception would show in what follows.
        let _none = self.run(&[msr(groups::CPACR), opcodes::ISB], all, 0);
    }

    /// At a foreign address.
    fn at(&mut self, access: Access, ways: &[Piece]) -> Result<u64, Fault> {
        let address = 0x50_0000_0000 + (self.random.below(1 << 20) << 12);
        self.aim(address, access);
        let way = self.random.pick(ways);
        self.try_piece(way, self.window, 0)
    }

    /// An address of an emulated device in the window, as a device; not the UART's data.
    fn aim_at_device(&mut self) -> u64 {
        let address = device_address(&mut self.random) & !0xf;
        let address = if (UART..UART + 16).contains(&address) { UART + 0x30 } else { address };
        self.aim(address, Access::Device);
        self.window + (address & 0xff0)
    }

    fn on_device(&mut self, choices: &[&[u32]]) -> Result<u64, Fault> {
        let va = self.aim_at_device();
        let value = self.random.edgy();
        self.run_one_of(choices, va, value)
    }

    fn translate(&mut self) -> Result<u64, Fault> {
        let foreign = foreign_address(&mut self.random);
        let va = self.random.pick(&[platform().ram_base, self.window, foreign]);
        let instruction = self.random.pick(groups::TRANSLATION);
        self.run(&[msr(instruction), opcodes::ISB, mrs(groups::PAR)], va, 0)
    }

    fn tlb_maintenance(&mut self, op1: u32) -> Encoding {
        let crm = self.random.pick(&[0, 1, 2, 3, 5, 6, 7]);
        (1, op1, 8 + self.random.below(2) as u32, crm, self.random.below(8) as u32)
    }

    fn register_of(&mut self, group: Group) -> Result<u64, Fault> {
        let instruction = self.access_of(group);
        let value = self.random.edgy();
        self.run(&[instruction], value, 0)
    }

    /// An access to one register of a group: written half the time, unless this program lives by it.
    fn access_of(&mut self, group: Group) -> u32 {
        let register = group(&mut self.random);
        let is_kept = is_suicidal(register) || is_binary_point(register);
        if is_kept || self.random.below(2) == 0 { mrs(register) } else { msr(register) }
    }

    fn user(&mut self, instructions: &[u32], x0: u64) -> Result<u64, Fault> {
        self.user.run(instructions, x0)
    }

    fn user32(&mut self, instructions: &[u32], x0: u64) -> Result<u64, Fault> {
        self.user.run_a32(instructions, x0)
    }

    fn any_a32(&mut self) -> Result<u64, Fault> {
        let address = self.user.device(&mut self.random);
        match self.random.below(3) {
            0 => {
                let [a, b] = [self.random.bits() as u32, self.random.pick(opcodes::COPROCESSORS)];
                // op1, CRn, op2 and CRm may be anything; the register is r0.
                self.user32(&[b | (a & 0x00ef_00ef)], 0)
            }
            1 => {
                let instruction = self.random.pick(opcodes::ANY_A32);
                self.user32(&[instruction], address)
            }
            _ => {
                let instructions = self.random.pick(opcodes::ANY_T32);
                self.user.run_t32(&instructions, address)
            }
        }
    }
}
