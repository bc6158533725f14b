//! The attacks, one function per kind.

use shikiri_abi::smccc::VENDOR_HYP_FAST64;
use shikiri_rt::hvc::psci;
use shikiri_rt::mmu::{self, Access};
use shikiri_rt::platform::{GICD, has_word, platform};
use shikiri_rt::{irq, println, reg, smp};
use shikiri_test_guests::code::{Page, mrs, msr};
use shikiri_test_guests::fault::{self, Fault, Piece, attempt};
use shikiri_test_guests::random::Random;

use crate::classes;
use crate::talk::Talker;
use crate::user::User;
use crate::values::{
    device_address, fit, foreign_address, function, is_binary_point, is_final, is_own, is_suicidal,
    register,
};

/// Where each vCPU maps what it attacks: 1 GiB apart, behind the view of the window region.
const WINDOW: u64 = 0x68_0000_0000;
/// Four GiB whose tables lie in foreign memory.
pub(crate) const BROKEN: u64 = 0x58_0000_0000;
const PAGE: u64 = 4096;

/// `HVC #0`; then what keeps results, x17 being where the values are: `STP x1, x2, [x17, #8]`, `STR x3, [x17, #24]`.
const HVC: u32 = 0xd400_0002;
const KEEP_X1_X2: u32 = 0xa900_8a21;
const KEEP_X3: u32 = 0xf900_0e23;

unsafe extern "C" {
    fn hostile_call(code: u64, values: u64) -> u64;
    fn hostile_pair(address: u64, b: u64) -> u64;
    fn hostile_zero(address: u64, b: u64) -> u64;
    fn hostile_stub(a: u64, b: u64) -> u64;
}

pub(crate) const WAYS: [Piece; 12] = [
    fault::fault_load8,
    fault::fault_load16,
    fault::fault_load32,
    fault::fault_load64,
    fault::fault_store8,
    fault::fault_store16,
    fault::fault_store32,
    fault::fault_store64,
    fault::fault_load_pair,
    fault::fault_store_writeback,
    fault::fault_exclusive,
    hostile_pair,
];

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Talk,
    Mmio,
    Sysreg,
    Exception,
    Foreign,
    Walk,
    SetWay,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Call,
        Self::Talk,
        Self::Mmio,
        Self::Sysreg,
        Self::Exception,
        Self::Foreign,
        Self::Walk,
        Self::SetWay,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Call => "calls",
            Self::Talk => "calls about what is there",
            Self::Mmio => "device accesses",
            Self::Sysreg => "system registers",
            Self::Exception => "instructions that raise exceptions",
            Self::Foreign => "foreign addresses",
            Self::Walk => "walks through foreign tables",
            Self::SetWay => "set and way operations",
        }
    }

    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Call => 'c',
            Self::Talk => 't',
            Self::Mmio => 'm',
            Self::Sysreg => 's',
            Self::Exception => 'e',
            Self::Foreign => 'f',
            Self::Walk => 'w',
            Self::SetWay => 'x',
        }
    }
}

/// Points four table descriptors of level 1 at memory that is not this partition's.
pub(crate) fn break_tables() {
    let root = reg::ttbr0() & 0xffff_ffff_f000;
    let end = platform().ram_base + platform().ram_bytes;
    let foreign = [0x70_0000_0000, end, 0x0800_0000, 0x0900_0000];
    for (index, table) in (0_u64..).zip(foreign) {
        let entry = root + ((BROKEN >> 30) + index) * 8;
        // SAFETY: nothing lies in these four GiB.
        let broken = unsafe { attempt(fault::fault_store64, entry, table | 3) };
        assert!(broken.is_ok(), "writing a descriptor");
    }
    reg::dsb_ishst();
    reg::tlbi_vmalle1is();
    reg::dsb_ish();
    reg::isb();
}

/// One vCPU's means.
pub(crate) struct Worker {
    pub(crate) random: Random,
    talker: Talker,
    pub(crate) page: Page,
    /// Holds a call of the hypervisor's.
    caller: Page,
    pub(crate) user: User,
    pub(crate) window: u64,
    /// Whose turn it is of the classes of exceptions.
    pub(crate) turn: usize,
    pub(crate) is_verbose: bool,
}

impl Worker {
    pub(crate) fn new(random: Random) -> Self {
        let mut caller = Page::take();
        caller.write(&[HVC, KEEP_X1_X2, KEEP_X3]);
        Self {
            random,
            caller,
            talker: Talker::new(smp::index() == 0),
            page: Page::take(),
            user: User::new(smp::index()),
            window: WINDOW + ((smp::index() as u64) << 30),
            turn: classes::first_turn(smp::index()),
            is_verbose: has_word("verbose"),
        }
    }

    /// The next action's kind: the costly ones are rare.
    pub(crate) fn choose(&mut self) -> Kind {
        match self.random.below(1000) {
            0 => Kind::SetWay,
            1..=200 => Kind::Call,
            201..=450 => Kind::Talk,
            451..=650 => Kind::Mmio,
            651..=850 => Kind::Sysreg,
            851..=900 => Kind::Exception,
            901..=980 => Kind::Foreign,
            _ => Kind::Walk,
        }
    }

    /// Does one action.
    pub(crate) fn act(&mut self, kind: Kind) -> Result<u64, Fault> {
        irq::mask();
        match kind {
            Kind::Call => self.call(),
            Kind::Talk => self.talk(),
            Kind::Mmio => {
                let address = device_address(&mut self.random);
                self.touch(address)
            }
            Kind::Sysreg => self.sysreg(),
            Kind::Exception => self.exception(),
            Kind::Foreign => {
                let address = foreign_address(&mut self.random);
                self.touch(address)
            }
            Kind::Walk => {
                let address = BROKEN + self.random.below(4 << 30);
                let way = self.random.pick(&WAYS);
                // SAFETY: no translation leads anywhere from there.
                unsafe { attempt(way, address, 0) }
            }
            Kind::SetWay => {
                let instruction = self.random.pick(&[0xd508_7640_u32, 0xd508_7a40, 0xd508_7e40]);
                let value = self.random.edgy();
                // SAFETY: maintenance by set and way, which a hypervisor makes harmless.
                unsafe { self.page.run(&[instruction], value, 0) }
            }
        }
    }

    /// HVC or SMC with any immediate, mostly 0.
    fn call(&mut self) -> Result<u64, Fault> {
        let mut values: [u64; 18] = core::array::from_fn(|_| self.value());
        values[0] = function(&mut self.random);
        if self.random.below(2) == 0 {
            values[2..].fill(0);
        }
        if self.random.below(4) != 0 {
            fit(&mut self.random, &mut values);
        }
        let id = values[0] & 0xffff_ffff;
        if id == u64::from(psci::CPU_ON) || id == u64::from(psci::CPU_ON) & !0x4000_0000 {
            self.aim_cpu_on(&mut values);
        }
        if is_final(values[0], values[1]) {
            return Ok(0);
        }
        let immediate =
            if self.random.below(16) == 0 { self.random.below(0x1_0000) as u32 } else { 0 };
        let opcode = self.random.pick(&[0xd400_0002_u32, 0xd400_0003]);
        self.page.write(&[opcode | (immediate << 5), KEEP_X1_X2, KEEP_X3]);
        self.issue(self.page.address(), values)
    }

    /// A call of ports, areas, channels or objects.
    fn talk(&mut self) -> Result<u64, Fault> {
        let (number, arguments) = self.talker.choose(&mut self.random);
        let mut values = [0; 18];
        values[0] = u64::from(VENDOR_HYP_FAST64 | u32::from(number));
        values[1..7].copy_from_slice(&arguments);
        self.issue(self.caller.address(), values)
    }

    /// Makes the call that is written there, with x0–x15 from the values.
    fn issue(&mut self, at: u64, values: [u64; 18]) -> Result<u64, Fault> {
        let mut answer = values;
        let place = answer.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the values name no memory of this program but CPU_ON's stub and the names of objects; the results go into
        // their place.
        let x0 = unsafe { attempt(hostile_call, at, place) }?;
        let number = values[0] & 0xffff;
        if values[0] & 0xffff_0000 == u64::from(VENDOR_HYP_FAST64) {
            let arguments = core::array::from_fn(|index| values[index + 1]);
            self.talker.learn(number as u16, arguments, [x0, answer[1], answer[2], answer[3]]);
        }
        Ok(x0)
    }

    /// CPU_ON: any target, but in own memory no entry other than the stub.
    fn aim_cpu_on(&mut self, values: &mut [u64; 18]) {
        let count = smp::count() as u64;
        let index = self.random.below(count + 1) as usize;
        if self.random.below(2) == 0 {
            values[1] = platform().mpidr(index).unwrap_or(u64::MAX);
        }
        values[2] = if self.random.below(2) == 0 {
            let stub: Piece = hostile_stub;
            stub as usize as u64
        } else {
            self.random.pick(&[0, GICD, 0x70_0000_0000, 0x7f_ffff_fffd, u64::MAX])
        };
    }

    /// A value for an argument: edges, addresses, affinities.
    fn value(&mut self) -> u64 {
        match self.random.below(4) {
            0 => foreign_address(&mut self.random),
            1 => platform().mpidr(self.random.below(64) as usize).unwrap_or(0),
            _ => self.random.edgy(),
        }
    }

    /// Loads, stores, exclusives, pairs, zeroing, execution at an address, as device or as normal memory.
    fn touch(&mut self, address: u64) -> Result<u64, Fault> {
        if is_own(address) {
            return Ok(0);
        }
        let access =
            self.random.pick(&[Access::Device, Access::Device, Access::Data, Access::Anything]);
        self.aim(address, access);
        let va = self.window + address % PAGE;
        let value = self.random.edgy();
        let way = match self.random.below(40) {
            0 => fault::fault_call as Piece,
            1 => hostile_zero as Piece,
            _ => self.random.pick(&WAYS),
        };
        // SAFETY: the address is not this program's memory.
        unsafe { attempt(way, va, value) }
    }

    /// Maps the page around an address, which is not this program's, to the window.
    pub(crate) fn aim(&mut self, address: u64, access: Access) {
        let base = address & !(PAGE - 1) & 0xffff_ffff_ffff;
        // SAFETY: nothing else lies in the window.
        let mapped = unsafe { mmu::map(self.window, base, PAGE, access) };
        assert!(mapped.is_ok(), "mapping the window");
    }

    fn sysreg(&mut self) -> Result<u64, Fault> {
        let register = register(&mut self.random);
        let value = match self.random.below(3) {
            // For instructions that take an address: nobody's.
            0 => self.window + (self.random.below(1 << 20) & !7),
            1 if register.0 != 1 => self.random.edgy(),
            _ => 0x50_0000_0000 + (self.random.below(1 << 30) & !7),
        };
        let value = if is_binary_point(register) { value & 7 } else { value };
        let instruction = if self.random.below(2) == 0 || is_suicidal(register) {
            mrs(register)
        } else {
            msr(register)
        };
        if self.is_verbose {
            println!("hostile: {instruction:#010x} {register:?} x0 = {value:#x}");
        }
        // SAFETY: what the program relies on is left out.
        unsafe { self.page.run(&[instruction], value, 0) }
    }
}
