//! Programs at EL0, in AArch64 and in AArch32, with devices that they can reach.

use shikiri_rt::mmu::{self, Access};
use shikiri_rt::platform::{GICD, GICR, GICR_STRIDE, UART, has_word};
use shikiri_rt::{gic, reg};
use shikiri_test_guests::code::{Encoding, Page, mrs, msr};
use shikiri_test_guests::fault::{Fault, attempt};
use shikiri_test_guests::random::Random;

unsafe extern "C" {
    fn hostile_user(start: u64, b: u64) -> u64;
}

/// Where the vCPUs' pages are, below 4 GiB for AArch32's sake; all in one table of level 3.
const PLACES: u64 = 0x2000_0000;
const PAGES: u64 = 8;
const PAGE: u64 = 4096;

/// Descriptor bits: EL0 may access it (AP[1]); EL1, EL0 may not execute it.
const AP_EL0: u64 = 1 << 6;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;

/// SPSR_EL1: AArch64 at EL0, all masked; AArch32's User mode, all masked, and its short instructions.
const EL0: u64 = 0xf << 6;
const A32: u64 = (7 << 6) | (1 << 4);
const T32: u64 = A32 | (1 << 5);

/// `SVC #0xe0` in each of the three: a program has come to its end.
const END: u32 = 0xd400_0001 | (END_NUMBER << 5);
const END_A32: u32 = 0xef00_0000 | END_NUMBER;
const END_T32: u32 = 0xdf00 | END_NUMBER;
const END_NUMBER: u32 = 0xe0;

/// What pieces.s starts a program with: ELR, SPSR, `x0` and `x1`.
#[repr(C)]
struct Start([u64; 4]);

/// Divides the mapping there into pages, while no other vCPU may be at a device.
pub(crate) fn prepare() {
    map(PLACES, GICD, Access::Device);
}

fn map(va: u64, pa: u64, access: Access) {
    // SAFETY: nothing of this program lies there.
    let mapped = unsafe { mmu::map(va, pa, PAGE, access) };
    assert!(mapped.is_ok(), "mapping a page for EL0");
}

/// Opens a page to EL0: to execute, or to load and store.
fn open(va: u64, access: Access) {
    let mut table = reg::ttbr0() & 0xffff_ffff_f000;
    let entry = |table: u64, shift: u32| {
        let address = table + ((va >> shift) & 511) * 8;
        core::ptr::with_exposed_provenance_mut::<u64>(address as usize)
    };
    for shift in [30, 21] {
        // SAFETY: the page is mapped: there are tables down to it, in memory that is mapped to itself.
        table = unsafe { entry(table, shift).read_volatile() } & 0xffff_ffff_f000;
    }
    let leaf = entry(table, 12);
    // SAFETY: as above.
    let old = unsafe { leaf.read_volatile() };
    let new = if access == Access::Code { (old | PXN) & !UXN } else { old };
    // SAFETY: only EL0 gets more, on a page that nothing of this program lies on.
    unsafe { leaf.write_volatile(new | AP_EL0) };
    reg::dsb_ishst();
    reg::tlbi_vmalle1is();
    reg::dsb_ish();
    reg::isb();
}

/// One vCPU's means.
pub(crate) struct User {
    place: u64,
    code: Page,
}

impl User {
    /// Takes vCPU `index`'s pages, and lets EL0 do all that EL1 can allow it.
    pub(crate) fn new(index: usize) -> Self {
        let place = PLACES + index as u64 * PAGES * PAGE;
        let mut code = Page::take();
        map(place, code.address(), Access::Code);
        open(place, Access::Code);
        let private = match gic::version() {
            gic::Version::V2 => GICD,
            gic::Version::V3 => GICR + GICR_STRIDE * index as u64 + 0x1_0000,
        };
        for (at, pa) in (1..).zip([GICD, private, UART, 0x50_0000_0000]) {
            map(place + at * PAGE, pa, Access::Device);
            open(place + at * PAGE, Access::Device);
        }
        allow(&mut code);
        Self { place, code }
    }

    /// A page that EL1 alone may access.
    pub(crate) const fn nothing(&self) -> u64 {
        self.place + (PAGES - 1) * PAGE
    }

    /// A register of a device that can be read: GICD_TYPER.
    pub(crate) const fn readable(&self) -> u64 {
        self.place + PAGE + 4
    }

    /// An address of a device, but for what would be seen on the console.
    pub(crate) fn device(&self, random: &mut Random) -> u64 {
        let page = 1 + random.below(4);
        let offset = if page == 3 { 0x18 } else { 0 } + (random.below(PAGE - 0x80) & !7);
        self.place + page * PAGE + offset
    }

    /// Runs instructions at EL0, in AArch64.
    ///
    /// # Errors
    /// The exception that they raised, if they did not come to their end.
    pub(crate) fn run(&mut self, instructions: &[u32], x0: u64) -> Result<u64, Fault> {
        self.execute(instructions, END, (EL0, x0))
    }

    /// The same in AArch32, its long instructions.
    pub(crate) fn run_a32(&mut self, instructions: &[u32], x0: u64) -> Result<u64, Fault> {
        self.execute(instructions, END_A32, (A32, x0))
    }

    /// The same, its short ones: an even number of up to 16.
    pub(crate) fn run_t32(&mut self, instructions: &[u16], x0: u64) -> Result<u64, Fault> {
        let mut words = [0; 8];
        for (word, pair) in words.iter_mut().zip(instructions.chunks_exact(2)) {
            *word = u32::from(pair[0]) | (u32::from(pair[1]) << 16);
        }
        let words = &words[..instructions.len() / 2];
        self.execute(words, END_T32 | (END_T32 << 16), (T32, x0))
    }

    fn execute(
        &mut self,
        instructions: &[u32],
        end: u32,
        (spsr, x0): (u64, u64),
    ) -> Result<u64, Fault> {
        let mut all = [end; 9];
        all[..instructions.len()].copy_from_slice(instructions);
        self.code.write(&all);
        let start = Start([self.place, spsr, x0, x0]);
        let start = (&raw const start).expose_provenance() as u64;
        // SAFETY: EL0 reaches nothing of this program, and whatever ends it is caught.
        match unsafe { attempt(hostile_user, start, 0) } {
            Err(fault)
                if matches!(fault.class(), 0x11 | 0x15)
                    && fault.esr & 0xffff == u64::from(END_NUMBER) =>
            {
                Ok(0)
            }
            ended => ended,
        }
    }
}

/// Everything that EL1 can allow EL0, and itself; what a core does not have ignores it. Waits only on a shared core, where EL2 knows
/// when they end.
pub(crate) fn allow(code: &mut Page) {
    const SCTLR: Encoding = (3, 0, 1, 0, 0);
    const CNTKCTL: Encoding = (3, 0, 14, 1, 0);
    // SA0, UMA, DZE, UCT, UCI; keys A and B; MSCEn, EnASR, EnAS0, EnALS.
    const ALLOWED: [u32; 13] = [4, 9, 14, 15, 26, 13, 27, 30, 31, 33, 54, 55, 56];
    const WAITS: u64 = (1 << 16) | (1 << 18);
    // SAFETY: reads a register.
    let old = unsafe { code.run(&[mrs(SCTLR)], 0, 0) };
    let mut sctlr = ALLOWED.iter().fold(old.unwrap_or_default(), |value, bit| value | (1 << bit));
    if has_word("shared") {
        sctlr |= WAITS;
    }
    for (register, value) in [(SCTLR, sctlr), (CNTKCTL, 0x303)] {
        // SAFETY: translation stays as it is; nothing of this program is signed, tagged, or runs at EL0 otherwise.
        let done = unsafe { code.run(&[msr(register), super::opcodes::ISB], value, 0) };
        assert!(done.is_ok(), "control registers");
    }
}
