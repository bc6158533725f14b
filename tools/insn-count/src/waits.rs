//! How many instructions a core executes itself from one mark to another: those of other cores, which the machine's clock counts under
//! `-icount` as well, are not in it, nor what time an emulator's turn of theirs takes.
//!
//! `-plugin libshikiri_insn_count.so,from=HEX,to=HEX,out=FILE`: both are instructions' codes. When QEMU ends it writes a line for each
//! core that came to `to`: for each time how many instructions it had executed since its last `from`.
//!
//! A core is told by its TPIDR_EL2, where the hypervisor has its own place. The number that QEMU 10.0 calls with is of no use: under
//! `-icount`, where one thread runs all cores, it is that of the core for which the block was translated, and all execute it.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::{
    Id, call_for, code_of, qemu_plugin_register_atexit_cb, qemu_plugin_register_vcpu_tb_trans_cb,
    qemu_plugin_tb_get_insn, qemu_plugin_tb_n_insns,
};

/// The register that tells cores apart.
const CORE: &CStr = c"TPIDR_EL2";

/// `QEMU_PLUGIN_CB_R_REGS`.
const READS_REGISTERS: c_int = 1;

/// GLib's `GArray` and `GByteArray`, as they begin.
#[repr(C)]
struct Array {
    data: *mut c_void,
    length: c_uint,
}

/// `qemu_plugin_reg_descriptor`.
#[repr(C)]
struct Register {
    handle: *mut c_void,
    name: *const c_char,
    _feature: *const c_char,
}

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_init_cb(id: Id, call: extern "C" fn(Id, c_uint));
    fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut c_void,
        call: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_get_registers() -> *mut Array;
    fn qemu_plugin_read_register(handle: *mut c_void, to: *mut Array) -> c_int;
    fn g_byte_array_new() -> *mut Array;
    fn g_byte_array_set_size(array: *mut Array, length: c_uint) -> *mut Array;
}

/// The arguments.
pub(crate) struct Marks {
    from: u32,
    to: u32,
    out: PathBuf,
}

/// A core.
struct Core {
    /// Its value of [`CORE`].
    name: u64,
    /// How much it has executed since its last `from`; nothing before the first.
    since: Option<u64>,
    /// What that was each time that it came to `to`.
    waits: Vec<u64>,
}

/// All cores, by the order in which they were seen.
struct Cores {
    /// QEMU's handle of [`CORE`], and where it writes it to; null before there is a core.
    register: *mut c_void,
    value: *mut Array,
    cores: Vec<Core>,
    /// Which of them executes.
    current: usize,
}

// SAFETY: QEMU's handle is a name, and the array is used under the lock only.
unsafe impl Send for Cores {}

static MARKS: OnceLock<Marks> = OnceLock::new();

/// Under `-icount` one thread runs all cores.
static CORES: Mutex<Cores> = Mutex::new(Cores {
    register: std::ptr::null_mut(),
    value: std::ptr::null_mut(),
    cores: Vec::new(),
    current: 0,
});

fn cores() -> MutexGuard<'static, Cores> {
    CORES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The arguments, if they are of this kind.
pub(crate) fn read_arguments(texts: &[String]) -> Option<Marks> {
    let value = |name: &str| texts.iter().find_map(|text| text.strip_prefix(name));
    let code = |name: &str| u32::from_str_radix(value(name)?, 16).ok();
    Some(Marks { from: code("from=")?, to: code("to=")?, out: value("out=")?.into() })
}

/// Has QEMU call. Anything but 0 makes it stop.
pub(crate) fn install(id: Id, marks: Marks) -> c_int {
    if MARKS.set(marks).is_err() {
        return 1;
    }
    // SAFETY: the call has the type that QEMU wants and lives as long as the plugin.
    unsafe { qemu_plugin_register_vcpu_init_cb(id, on_start) };
    // SAFETY: as above.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation) };
    // SAFETY: as above.
    unsafe { qemu_plugin_register_atexit_cb(id, on_exit, std::ptr::null_mut()) };
    0
}

/// A core is there: all have the register by the same handle.
extern "C" fn on_start(_id: Id, _core: c_uint) {
    // SAFETY: called where QEMU allows it.
    let registers = unsafe { qemu_plugin_get_registers() };
    // SAFETY: an array that stays, as it may.
    let registers = unsafe { &*registers };
    let count = usize::try_from(registers.length).unwrap_or(0);
    // SAFETY: it has so many descriptors.
    let registers = unsafe { std::slice::from_raw_parts(registers.data.cast::<Register>(), count) };
    // SAFETY: each name ends with a zero.
    let register = registers.iter().find(|it| unsafe { CStr::from_ptr(it.name) } == CORE);
    let mut cores = cores();
    if let (Some(register), true) = (register, cores.value.is_null()) {
        cores.register = register.handle;
        // SAFETY: no argument.
        cores.value = unsafe { g_byte_array_new() };
    }
}

extern "C" fn on_translation(_id: Id, block: *mut c_void) {
    let Some(marks) = MARKS.get() else { return };
    // SAFETY: the call has the type that QEMU wants and lives as long as the plugin.
    unsafe {
        qemu_plugin_register_vcpu_tb_exec_cb(
            block,
            on_block,
            READS_REGISTERS,
            std::ptr::null_mut(),
        );
    }
    // SAFETY: QEMU's own handle, valid during this call.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for index in 0..count {
        // SAFETY: `index` is below the number of instructions.
        let insn = unsafe { qemu_plugin_tb_get_insn(block, index) };
        call_for(
            insn,
            match code_of(insn) {
                code if code == marks.from => on_from,
                code if code == marks.to => on_to,
                _ => on_other,
            },
        );
    }
}

/// A block begins, on whichever core; within one it stays the same.
extern "C" fn on_block(_core: c_uint, _data: *mut c_void) {
    let mut cores = cores();
    if cores.value.is_null() {
        return;
    }
    // SAFETY: an array of GLib's.
    unsafe { g_byte_array_set_size(cores.value, 0) };
    // SAFETY: the handle is QEMU's, and the block's callback says that it reads registers.
    let length = unsafe { qemu_plugin_read_register(cores.register, cores.value) };
    if usize::try_from(length) != Ok(size_of::<u64>()) {
        return;
    }
    // SAFETY: an array of GLib's.
    let value = unsafe { (*cores.value).data };
    // SAFETY: it has 8 bytes now.
    let name = unsafe { value.cast::<u64>().read_unaligned() };
    let known = cores.cores.iter().position(|core| core.name == name);
    cores.current = known.unwrap_or_else(|| {
        cores.cores.push(Core { name, since: None, waits: Vec::new() });
        cores.cores.len() - 1
    });
}

extern "C" fn on_from(_core: c_uint, _data: *mut c_void) {
    with_current(|core| core.since = Some(0));
}

extern "C" fn on_to(_core: c_uint, _data: *mut c_void) {
    with_current(|core| core.waits.extend(core.since));
}

extern "C" fn on_other(_core: c_uint, _data: *mut c_void) {
    with_current(|core| core.since = core.since.map(|since| since.wrapping_add(1)));
}

fn with_current(action: impl FnOnce(&mut Core)) {
    let mut cores = cores();
    let current = cores.current;
    if let Some(core) = cores.cores.get_mut(current) {
        action(core);
    }
}

extern "C" fn on_exit(_id: Id, _data: *mut c_void) {
    let Some(marks) = MARKS.get() else { return };
    let mut text = String::new();
    for core in cores().cores.iter().filter(|core| !core.waits.is_empty()) {
        for wait in &core.waits {
            // Writing to a text does not fail.
            let _written = write!(text, "{wait} ");
        }
        text.push('\n');
    }
    if let Err(error) = std::fs::write(&marks.out, text) {
        eprintln!("insn-count: {}: {error}", marks.out.display());
    }
}
