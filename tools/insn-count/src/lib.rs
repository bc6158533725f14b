//! A QEMU TCG plugin that counts the instructions a guest executes from its first one on, the hypervisor's among them
//! and idle time not: what `cargo xtask bench` needs to compare a boot under the hypervisor with one without it. Or those of each
//! core alone between two marks ([`waits`]).
//!
//! `-plugin libshikiri_insn_count.so,first=HEX,low=HEX,high=HEX,out=FILE`: counts from the execution of a block of
//! instructions that begins with the 8 bytes `first` (a little-endian number: the first two instructions of a kernel
//! image) until QEMU ends, and writes two numbers to the file: all instructions, and those at virtual addresses from
//! `low` to below `high`. With `by=calls` each instruction calls us, which takes longer: QEMU 10.0 addresses the counters of a machine
//! whose CPUs are in clusters wrongly when they count themselves under `-icount`. The interface is QEMU's plugin interface, version 4 (`qemu-plugin.h`); its
//! functions are found in QEMU itself when it loads the plugin.
#![expect(unsafe_code, reason = "a plugin is called by C, and calls C")]

mod waits;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of the interface that this is written against.
#[unsafe(no_mangle)]
static qemu_plugin_version: c_int = 4;

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
const INLINE_ADD: c_int = 0;
/// `QEMU_PLUGIN_CB_NO_REGS`.
const NO_REGISTERS: c_int = 0;

type Id = u64;

/// `qemu_plugin_u64`: a counter in each vCPU's part of a score board.
#[derive(Clone, Copy)]
#[repr(C)]
struct Counter {
    score: *mut c_void,
    offset: usize,
}

// SAFETY: QEMU locks its score boards; this is a name for one.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, call: extern "C" fn(Id, *mut c_void));
    fn qemu_plugin_register_atexit_cb(
        id: Id,
        call: extern "C" fn(Id, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    fn qemu_plugin_insn_vaddr(insn: *const c_void) -> u64;
    fn qemu_plugin_insn_data(insn: *const c_void, to: *mut c_void, length: usize) -> usize;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: *mut c_void,
        call: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        insn: *mut c_void,
        operation: c_int,
        entry: Counter,
        value: u64,
    );
    fn qemu_plugin_scoreboard_new(bytes: usize) -> *mut c_void;
    fn qemu_plugin_u64_set(entry: Counter, vcpu: c_uint, value: u64);
    fn qemu_plugin_u64_sum(entry: Counter) -> u64;
    fn qemu_plugin_num_vcpus() -> c_int;
}

/// What the arguments say, and the counter.
struct Plugin {
    arguments: Arguments,
    all: Counter,
    inside: Counter,
}

/// The arguments.
struct Arguments {
    first: u64,
    range: Range<u64>,
    out: PathBuf,
    by_calls: bool,
}

static PLUGIN: OnceLock<Plugin> = OnceLock::new();

/// What is counted by calls: all, and inside. Under `-icount` one thread runs all vCPUs.
static CALLS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// QEMU's call after it has loaded the plugin. Anything but 0 makes it stop.
///
/// # Safety
/// `arguments` are `count` C strings, as QEMU gives them.
#[unsafe(no_mangle)]
unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    _info: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: QEMU hands over so many strings.
    let pointers = unsafe { std::slice::from_raw_parts(arguments, count) };
    let texts = pointers.iter().map(|text| {
        // SAFETY: each ends with a zero.
        unsafe { CStr::from_ptr(*text) }.to_string_lossy().into_owned()
    });
    let texts: Vec<String> = texts.collect();
    if let Some(marks) = waits::read_arguments(&texts) {
        return waits::install(id, marks);
    }
    let Some(arguments) = read_arguments(texts.into_iter()) else {
        eprintln!(
            "insn-count: needs first=HEX,low=HEX,high=HEX,out=FILE, or from=HEX,to=HEX,out=FILE"
        );
        return 1;
    };
    // SAFETY: QEMU takes any size.
    let score = unsafe { qemu_plugin_scoreboard_new(size_of::<[u64; 2]>()) };
    let all = Counter { score, offset: 0 };
    let inside = Counter { score, offset: size_of::<u64>() };
    if PLUGIN.set(Plugin { arguments, all, inside }).is_err() {
        return 1;
    }
    // SAFETY: the call has the type that QEMU wants and lives as long as the plugin.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation) };
    // SAFETY: as above.
    unsafe { qemu_plugin_register_atexit_cb(id, on_exit, std::ptr::null_mut()) };
    0
}

fn read_arguments(texts: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut first, mut low, mut high, mut out) = (None, None, None, None);
    let mut by_calls = false;
    for text in texts {
        match text.split_once('=') {
            Some(("first", value)) => first = u64::from_str_radix(value, 16).ok(),
            Some(("low", value)) => low = u64::from_str_radix(value, 16).ok(),
            Some(("high", value)) => high = u64::from_str_radix(value, 16).ok(),
            Some(("out", value)) => out = Some(PathBuf::from(value)),
            Some(("by", "calls")) => by_calls = true,
            _ => return None,
        }
    }
    Some(Arguments { first: first?, range: low?..high?, out: out?, by_calls })
}

/// A block of instructions is translated: each will count itself, and the wanted first one starts the count anew.
extern "C" fn on_translation(_id: Id, block: *mut c_void) {
    let Some(plugin) = PLUGIN.get() else { return };
    // SAFETY: QEMU's own handle, valid during this call.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for index in 0..count {
        // SAFETY: `index` is below the number of instructions.
        let insn = unsafe { qemu_plugin_tb_get_insn(block, index) };
        if index == 0 && first_two(block, count) == Some(plugin.arguments.first) {
            call_for(insn, on_first);
        }
        // SAFETY: QEMU's own handle, valid during this call.
        let address = unsafe { qemu_plugin_insn_vaddr(insn) };
        let is_inside = plugin.arguments.range.contains(&address);
        if plugin.arguments.by_calls {
            call_for(insn, if is_inside { on_inside } else { on_outside });
            continue;
        }
        count_in(insn, plugin.all);
        if is_inside {
            count_in(insn, plugin.inside);
        }
    }
}

/// Calls for each execution of an instruction.
fn call_for(insn: *mut c_void, call: extern "C" fn(c_uint, *mut c_void)) {
    // SAFETY: the call has the type that QEMU wants and lives as long as the plugin.
    unsafe {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, call, NO_REGISTERS, std::ptr::null_mut());
    }
}

extern "C" fn on_outside(_vcpu: c_uint, _data: *mut c_void) {
    CALLS[0].fetch_add(1, Ordering::Relaxed);
}

extern "C" fn on_inside(vcpu: c_uint, data: *mut c_void) {
    on_outside(vcpu, data);
    CALLS[1].fetch_add(1, Ordering::Relaxed);
}

/// Counts each execution of an instruction.
fn count_in(insn: *mut c_void, counter: Counter) {
    // SAFETY: the counter's score board lives until QEMU ends.
    unsafe { qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, INLINE_ADD, counter, 1) };
}

/// The first 8 bytes of a block.
fn first_two(block: *const c_void, count: usize) -> Option<u64> {
    let mut bytes = [0_u8; 8];
    if count < 2 {
        return None;
    }
    for (index, half) in bytes.chunks_exact_mut(4).enumerate() {
        // SAFETY: the block has two instructions at least.
        let insn = unsafe { qemu_plugin_tb_get_insn(block, index) };
        half.copy_from_slice(&code_of(insn).to_le_bytes());
    }
    Some(u64::from_le_bytes(bytes))
}

/// An instruction's code.
fn code_of(insn: *const c_void) -> u32 {
    let mut code = [0_u8; 4];
    // SAFETY: QEMU writes at most as many bytes as it is told.
    let _written = unsafe { qemu_plugin_insn_data(insn, code.as_mut_ptr().cast(), code.len()) };
    u32::from_le_bytes(code)
}

extern "C" fn on_first(_vcpu: c_uint, _data: *mut c_void) {
    let Some(plugin) = PLUGIN.get() else { return };
    if plugin.arguments.by_calls {
        CALLS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        return;
    }
    // SAFETY: no argument.
    let vcpus = unsafe { qemu_plugin_num_vcpus() };
    for vcpu in 0..c_uint::try_from(vcpus).unwrap_or(0) {
        for counter in [plugin.all, plugin.inside] {
            // SAFETY: a vCPU that exists.
            unsafe { qemu_plugin_u64_set(counter, vcpu, 0) };
        }
    }
}

extern "C" fn on_exit(_id: Id, _data: *mut c_void) {
    let Some(plugin) = PLUGIN.get() else { return };
    let [all, inside] = if plugin.arguments.by_calls {
        CALLS.each_ref().map(|count| count.load(Ordering::Relaxed))
    } else {
        // SAFETY: the counters' score board lives until QEMU ends.
        [plugin.all, plugin.inside].map(|counter| unsafe { qemu_plugin_u64_sum(counter) })
    };
    let out = &plugin.arguments.out;
    if let Err(error) = std::fs::write(out, format!("{all} {inside}\n")) {
        eprintln!("insn-count: {}: {error}", out.display());
    }
}
