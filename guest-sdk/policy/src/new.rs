//! Partitions that are made at run time.

use crate::Partition;
use shikiri_abi::{Ipa, NewAreas, Status};
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::policy as calls;

/// How a vCPU gets core time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The core is its own.
    Owned,
    /// A budget in each period.
    Reserved {
        /// Microseconds of core time per period.
        budget_us: u32,
        /// The period in microseconds.
        period_us: u32,
    },
}

impl Time {
    /// A budget in each period, in microseconds.
    #[must_use]
    pub const fn reserved(budget_us: u32, period_us: u32) -> Self {
        Self::Reserved { budget_us, period_us }
    }
}

/// Partitions that are made at run time. All but [`Partition::create`], [`Partition::load`], [`Partition::destroy`] and what is noted are for
/// one that was created and never started: `WrongState` otherwise.
impl Partition {
    /// Makes a partition that owns nothing and has no limits.
    ///
    /// # Errors
    /// `NotPermitted`; `InvalidParameter` if that cannot be a name; `Exists`; `Full`: there is no place left.
    pub fn create(name: &str) -> Result<Self, Refusal> {
        let mut bytes = [0; 32];
        let place = bytes.get_mut(..name.len());
        let place = place.ok_or(Refusal { code: Status::InvalidParameter.code(), which: 1 })?;
        place.copy_from_slice(name.as_bytes());
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let name = core::array::from_fn(|_| words.next().unwrap_or(0));
        again(|| calls::create(name)).map(Self)
    }

    /// Gives it a vCPU on that of these cores which has most time left: the core.
    ///
    /// # Errors
    /// `Range`: no such core, or no such reservation; `Full`; `Exists`; `OverLimit`: 0 its own limit, 256 what can be handed out,
    /// 512 the cores.
    pub fn add_vcpu(self, cores: &[u8], time: Time, priority: u8) -> Result<u64, Refusal> {
        self.add_one(cores, time, (priority, false))
    }

    /// Gives it a vCPU that is kept back: it can be turned on when the partition has asked for it ([`Wish::Vcpus`](crate::Wish)). Such ones
    /// come last.
    ///
    /// # Errors
    /// As [`Partition::add_vcpu`]; `Range` if it is the first one.
    pub fn add_kept_vcpu(self, cores: &[u8], time: Time, priority: u8) -> Result<u64, Refusal> {
        self.add_one(cores, time, (priority, true))
    }

    fn add_one(
        self,
        cores: &[u8],
        time: Time,
        (priority, is_kept): (u8, bool),
    ) -> Result<u64, Refusal> {
        let bit = |core: &u8| 1_u64.checked_shl(u32::from(*core)).unwrap_or(0);
        let cores = cores.iter().map(bit).fold(0, |set, bit| set | bit);
        let (budget_us, period_us) = match time {
            Time::Owned => (0, 0),
            Time::Reserved { budget_us, period_us } => (budget_us, period_us),
        };
        let vcpu = calls::NewVcpu { cores, budget_us, period_us, priority, is_kept };
        calls::add_vcpu(self.0, vcpu).map(|(core, _)| core)
    }

    /// Gives it memory.
    ///
    /// # Errors
    /// `Range`; `Exists`: something is there; `Full`.
    pub fn add_memory(self, address: Ipa, bytes: u64) -> Result<(), Refusal> {
        calls::add_memory(self.0, address, bytes)
    }

    /// Has an image copied into its memory at each start: the image's size.
    ///
    /// # Errors
    /// `InvalidParameter`; `Range`: it does not fit into the memory that it has; `Exists`; `Full`.
    pub fn add_image(self, image: u64, address: Ipa) -> Result<u64, Refusal> {
        calls::add_image(self.0, image, address)
    }

    /// Says where its vCPU 0 starts, and what it finds in `x0`.
    ///
    /// # Errors
    /// `Range`: not in the memory that it has.
    pub fn set_entry(self, entry: Ipa, x0: u64) -> Result<(), Refusal> {
        calls::set_entry(self.0, entry, x0)
    }

    /// Gives it a virtual UART, or takes it.
    ///
    /// # Errors
    /// `Exists`: its memory is there.
    pub fn set_console(self, has_console: bool) -> Result<(), Refusal> {
        calls::set_console(self.0, has_console)
    }

    /// Gives it a device of a partition of the description that has ended: where its registers begin, and the INTID of its first
    /// interrupt, or 0. The owner cannot be started until this one is destroyed.
    ///
    /// # Errors
    /// `WrongState`: the owner has not ended; `NotFound`: it has no such device; `Exists`: it is given, or something is in its place;
    /// `NotSupported`: it masters the bus; `Full`.
    pub fn add_device(self, owner: Self, number: u8) -> Result<(Ipa, u64), Refusal> {
        self.add_one_device(calls::NewDevice { owner: owner.0, number, is_kept: false })
    }

    /// Gives it a device that is kept back: its registers are there, and its interrupts can be enabled, when the partition has asked for
    /// it ([`Wish::Device`](crate::Wish)). The first one's number there is 0.
    ///
    /// # Errors
    /// As [`Partition::add_device`]; `Range` if it has more than 4 MiB of registers.
    pub fn add_kept_device(self, owner: Self, number: u8) -> Result<(Ipa, u64), Refusal> {
        self.add_one_device(calls::NewDevice { owner: owner.0, number, is_kept: true })
    }

    fn add_one_device(self, device: calls::NewDevice) -> Result<(Ipa, u64), Refusal> {
        calls::add_device(self.0, device).map(|(address, intid)| (Ipa(address), intid))
    }

    /// Says how many message areas and channels it can have; it needs handles before ([`Partition::set_talk`]).
    ///
    /// # Errors
    /// `Range`: so many are not possible; `Full`: so many slots are not left for partitions that are made.
    pub fn set_areas(self, areas: NewAreas) -> Result<(), Refusal> {
        calls::set_areas(self.0, areas)
    }

    /// Says how many handles it has, and how many of its requests can wait at others.
    ///
    /// # Errors
    /// `Range`: requests without handles.
    pub fn set_talk(self, handles: u16, requests: u16) -> Result<(), Refusal> {
        calls::set_talk(self.0, handles, requests)
    }

    /// Notes 16 bytes at it, for whoever makes policy later: until it is destroyed. A note has 252 such pieces.
    ///
    /// # Errors
    /// `InvalidParameter`: a piece behind the last, or one of the description.
    pub fn set_note(self, piece: u8, words: [u64; 2]) -> Result<(), Refusal> {
        calls::set_note(self.0, piece, words)
    }

    /// What was noted at it, in any state: zeros where nothing was.
    ///
    /// # Errors
    /// As of [`Partition::set_note`].
    pub fn note(self, piece: u8) -> Result<[u64; 2], Refusal> {
        calls::read_note(self.0, piece)
    }

    /// Copies bytes of this partition's memory, from the guest-physical address `from` on, into a held one's.
    ///
    /// # Errors
    /// `WrongState` unless it is held; `Range`, `Alignment`: to multiples of 8.
    pub fn load(self, to: Ipa, from: Ipa, bytes: u64) -> Result<(), Refusal> {
        let mut done = 0;
        while done < bytes {
            let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
            let copied = calls::load(self.0, to, from, bytes.saturating_sub(done))?;
            done = done.saturating_add(copied);
        }
        Ok(())
    }

    /// Destroys one that was made at run time, and has ended or was never started.
    ///
    /// # Errors
    /// `WrongState`; `InvalidParameter` of one of the description.
    pub fn destroy(self) -> Result<(), Refusal> {
        again(|| calls::destroy(self.0))
    }
}

/// Calls until the answer is another than `Again`.
pub(crate) fn again<T>(mut call: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    loop {
        match call() {
            Err(refusal) if refusal.status() == Some(Status::Again) => {}
            done => return done,
        }
    }
}
