//! A partition that is described at run time, call by call: the same rows as the bundle's, read by the same [`Partition`] and
//! checked by the same rules.

use shikiri_abi::{CoreSet, IntId, Ipa, Pa};

use crate::bundle::Bundle;
use crate::check::{self, DraftFault};
use crate::partition::{Partition, Tables, name_text, partition};
use crate::row::{
    DeviceRow, ImageRow, InterruptRow, KEPT_BACK, MemoryRow, NONE, PartitionRow, VcpuRow,
};
use crate::types::{CoreTime, GicVersion, MAX_NAME_BYTES, Vcpu, Windows};

/// The most vCPUs of a partition that is made at run time.
pub const DRAFT_VCPUS: usize = 8;
/// Its most regions of memory.
pub const DRAFT_MEMORY: usize = 4;
/// Its most regions of devices' registers, and their interrupts.
pub const DRAFT_DEVICES: usize = 4;
/// Its most images.
pub const DRAFT_IMAGES: usize = 4;

/// A partition under description. It has the usual places of the virtual devices (QEMU `virt`'s).
#[derive(Clone, Debug)]
pub struct Draft {
    gic: GicVersion,
    /// Its counts say how many of the rows below there are.
    row: PartitionRow,
    vcpus: [[u64; VcpuRow::WORDS]; DRAFT_VCPUS],
    memory: [[u64; MemoryRow::WORDS]; DRAFT_MEMORY],
    images: [[u64; ImageRow::WORDS]; DRAFT_IMAGES],
    devices: [[u64; DeviceRow::WORDS]; DRAFT_DEVICES],
    interrupts: [[u64; InterruptRow::WORDS]; DRAFT_DEVICES],
    /// What the paths of its devices lie in.
    strings: &'static str,
}

impl Draft {
    /// With nothing in it, not even a name.
    #[must_use]
    pub fn new(gic: GicVersion) -> Self {
        let cpu_interface = match gic {
            GicVersion::V2 => Ipa(0x0801_0000),
            GicVersion::V3 => Ipa(0x080a_0000),
        };
        let row = PartitionRow {
            name: [0; 4],
            vcpus: 0,
            memory: 0,
            images: 0,
            devices: 0,
            interrupts: 0,
            start_order: 0,
            autostart: 0,
            console: 0,
            restart: 0,
            pmu: 0,
            restart_max: 0,
            restart_window_ms: 0,
            restart_delay_ms: 0,
            handles: 0,
            requests: 0,
            entry: Ipa(0),
            x0: 0,
            distributor: Ipa(0x0800_0000),
            cpu_interface,
            uart: Ipa(0x0900_0000),
            uart_intid: IntId(33).0,
            spis: 256,
            shares: 0,
            kept: 0,
            connect_to: 0,
            accept_from: 0,
            page_slots: 0,
            block_slots: 0,
            giant_slots: 0,
            channels: 0,
            limits: [NONE; shikiri_abi::RESOURCE_COUNT],
        };
        Self {
            gic,
            row,
            vcpus: [[0; VcpuRow::WORDS]; DRAFT_VCPUS],
            memory: [[0; MemoryRow::WORDS]; DRAFT_MEMORY],
            images: [[0; ImageRow::WORDS]; DRAFT_IMAGES],
            devices: [[0; DeviceRow::WORDS]; DRAFT_DEVICES],
            interrupts: [[0; InterruptRow::WORDS]; DRAFT_DEVICES],
            strings: "",
        }
    }

    /// Begins again, with this name: eight bytes to a word, zeros behind it. False, and nothing has changed, if it can be no
    /// partition's name.
    pub fn begin(&mut self, name: [u64; 4]) -> bool {
        if !is_name(name) {
            return false;
        }
        *self = Self::new(self.gic);
        self.row.name = name.map(u64::to_le);
        true
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        name_text(&self.row.name)
    }

    /// The partition as it is described so far.
    #[must_use]
    pub fn view(&self) -> Partition<'_> {
        let tables = Tables {
            vcpus: self.vcpus.get(..usize::from(self.row.vcpus)).unwrap_or(&[]),
            memory: self.memory.get(..usize::from(self.row.memory)).unwrap_or(&[]),
            images: self.images.get(..usize::from(self.row.images)).unwrap_or(&[]),
            devices: self.devices.get(..usize::from(self.row.devices)).unwrap_or(&[]),
            interrupts: self.interrupts.get(..usize::from(self.row.interrupts)).unwrap_or(&[]),
            strings: self.strings,
            ..Tables::NONE
        };
        partition(self.name(), &self.row, tables)
    }

    /// Adds a vCPU, perhaps one that is kept back; `cores` are those of the machine.
    ///
    /// # Errors
    /// `Full`; `Value` if it is no reservation, or on no core, or not kept back behind one that is; `Clash` if the virtual devices
    /// get in the way.
    pub fn add_vcpu(
        &mut self,
        vcpu: &Vcpu,
        cores: CoreSet,
        is_kept: bool,
    ) -> Result<(), DraftFault> {
        check::draft_vcpu(vcpu, cores)?;
        if if is_kept { self.row.vcpus == 0 } else { self.row.kept > 0 } {
            return Err(DraftFault::Value);
        }
        let (kind, budget_us, period_us) = match vcpu.time {
            CoreTime::Owned => (0, 0, 0),
            CoreTime::Reservation { budget_us, period_us } => (1, budget_us, period_us),
        };
        let row = VcpuRow {
            cores: vcpu.cores,
            budget_us,
            period_us,
            home: vcpu.home.0,
            priority: vcpu.priority,
            kind,
            reserved: 0,
            reserved2: 0,
        };
        if usize::from(self.row.vcpus) >= self.gic.max_vcpus() {
            return Err(DraftFault::Full);
        }
        let place = self.vcpus.get_mut(usize::from(self.row.vcpus)).ok_or(DraftFault::Full)?;
        *place = row.encode();
        self.row.vcpus = self.row.vcpus.saturating_add(1);
        check::draft_space(self.gic, &self.view())
            .inspect_err(|_| self.row.vcpus = self.row.vcpus.saturating_sub(1))?;
        self.row.kept = self.row.kept.saturating_add(u16::from(is_kept));
        Ok(())
    }

    /// Adds a region of memory, which lies anywhere in the machine.
    ///
    /// # Errors
    /// `Full`; `Value` of the address or the size; `Clash` with what is there.
    pub fn add_memory(&mut self, ipa: Ipa, bytes: u64) -> Result<(), DraftFault> {
        let place = self.memory.get_mut(usize::from(self.row.memory)).ok_or(DraftFault::Full)?;
        *place = MemoryRow { ipa, bytes, pa: Pa(NONE) }.encode();
        self.row.memory = self.row.memory.saturating_add(1);
        check::draft_space(self.gic, &self.view())
            .inspect_err(|_| self.row.memory = self.row.memory.saturating_sub(1))
    }

    /// Adds a file of the bundle, to be copied to `load` before each start.
    ///
    /// # Errors
    /// `Full`; `Value` if it does not fit into the memory that was given; `Clash` with another image.
    pub fn add_image(
        &mut self,
        bundle: &Bundle<'_>,
        blob: usize,
        load: Ipa,
    ) -> Result<(), DraftFault> {
        let blob = u32::try_from(blob).map_err(|_| DraftFault::Value)?;
        let place = self.images.get_mut(usize::from(self.row.images)).ok_or(DraftFault::Full)?;
        *place = ImageRow { load, blob, kind: 0 }.encode();
        self.row.images = self.row.images.saturating_add(1);
        check::draft_images(bundle, &self.view())
            .inspect_err(|_| self.row.images = self.row.images.saturating_sub(1))
    }

    /// Says where vCPU 0 starts, and with what in `x0`.
    ///
    /// # Errors
    /// `Value` if that is no word of its memory.
    pub fn set_entry(&mut self, entry: Ipa, x0: u64) -> Result<(), DraftFault> {
        check::draft_entry(&self.view(), entry)?;
        (self.row.entry, self.row.x0) = (entry, x0);
        Ok(())
    }

    /// Gives it a virtual UART, or takes it.
    ///
    /// # Errors
    /// `Clash` if its memory is there.
    pub fn set_console(&mut self, has_console: bool) -> Result<(), DraftFault> {
        let before = self.row.console;
        self.row.console = u8::from(has_console);
        check::draft_space(self.gic, &self.view()).inspect_err(|_| self.row.console = before)
    }

    /// Says how much it may talk.
    ///
    /// # Errors
    /// `Value` for requests without handles.
    pub const fn set_talk(&mut self, handles: u16, requests: u16) -> Result<(), DraftFault> {
        if handles == 0 && requests != 0 {
            return Err(DraftFault::Value);
        }
        (self.row.handles, self.row.requests) = (handles, requests);
        Ok(())
    }

    /// Adds the device with this path of a partition of the bundle, with all its registers and interrupts, perhaps kept back.
    ///
    /// # Errors
    /// `Full`; `NoDevice`; `Masters`; `Clash` with what has its address, or its interrupt's number; `Value` if it has too many registers to
    /// be kept back.
    pub fn add_device(
        &mut self,
        owner: &Partition<'static>,
        path: &str,
        is_kept: bool,
    ) -> Result<(), DraftFault> {
        let before = (self.row.devices, self.row.interrupts, self.strings);
        let flags = if is_kept { KEPT_BACK } else { 0 };
        self.put_device(owner, path, flags)
            .and_then(|()| check::draft_devices(self.gic, &self.view()))
            .inspect_err(|_| (self.row.devices, self.row.interrupts, self.strings) = before)
    }

    fn put_device(
        &mut self,
        owner: &Partition<'static>,
        path: &str,
        flags: u8,
    ) -> Result<(), DraftFault> {
        let Tables { devices, interrupts, strings, .. } = *owner.rows();
        self.strings = strings;
        let mut is_there = false;
        for (row, device) in devices.iter().zip(owner.devices()) {
            if device.path != path {
                continue;
            }
            if device.dma_trusted {
                return Err(DraftFault::Masters);
            }
            let place = self.devices.get_mut(usize::from(self.row.devices));
            // Whether its owner was to ask for it does not matter.
            let row = DeviceRow { flags, ..DeviceRow::get(row) };
            *place.ok_or(DraftFault::Full)? = row.encode();
            self.row.devices = self.row.devices.saturating_add(1);
            is_there = true;
        }
        for (row, interrupt) in interrupts.iter().zip(owner.interrupts()) {
            if interrupt.path == path {
                let place = self.interrupts.get_mut(usize::from(self.row.interrupts));
                *place.ok_or(DraftFault::Full)? = *row;
                self.row.interrupts = self.row.interrupts.saturating_add(1);
            }
        }
        if is_there { Ok(()) } else { Err(DraftFault::NoDevice) }
    }

    /// Says how many message areas and channels it can have.
    ///
    /// # Errors
    /// `Value` where a partition of a description could not have so many.
    pub fn set_windows(&mut self, windows: Windows) -> Result<(), DraftFault> {
        let before = self.view().windows;
        self.put_windows(windows);
        check::draft_windows(&self.view()).inspect_err(|_| self.put_windows(before))
    }

    const fn put_windows(&mut self, windows: Windows) {
        let Windows { pages, blocks, giants, channels, shared } = windows;
        (self.row.page_slots, self.row.block_slots) = (pages, blocks);
        (self.row.giant_slots, self.row.channels, self.row.shares) = (giants, channels, shared);
    }

    /// Whether it can be started: every rule for a partition of the bundle holds.
    #[must_use]
    pub fn is_complete(&self, bundle: &Bundle<'_>) -> bool {
        check::draft_is_complete(bundle, &self.view(), &self.row.encode())
    }
}

/// Whether these words, eight bytes in each and zeros behind it, can be a partition's name.
#[must_use]
pub fn is_name(name: [u64; 4]) -> bool {
    let name = name.map(u64::to_le);
    let text = name_text(&name);
    let is_padded =
        name.iter().flat_map(|word| word.to_ne_bytes()).skip(text.len()).all(|byte| byte == 0);
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    is_padded && (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::{DRAFT_MEMORY, DRAFT_VCPUS, Draft};
    use crate::check::DraftFault;
    use crate::types::{CoreTime, GicVersion, Vcpu, Windows};
    use shikiri_abi::{CoreId, CoreSet, Ipa};

    const MACHINE: CoreSet = CoreSet(0b1111);

    fn name(text: &str) -> [u64; 4] {
        let mut bytes = [0; 32];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        core::array::from_fn(|_| words.next().unwrap())
    }

    fn vcpu(core: u8, budget_us: u32) -> Vcpu {
        let time = CoreTime::Reservation { budget_us, period_us: 10_000 };
        Vcpu { cores: CoreSet::one(CoreId(core)), home: CoreId(core), time, priority: 3 }
    }

    fn draft() -> Draft {
        let mut draft = Draft::new(GicVersion::V3);
        assert!(draft.begin(name("editor")));
        draft
    }

    #[test]
    fn a_name_is_one_that_a_description_could_have() {
        let mut draft = Draft::new(GicVersion::V3);
        for wrong in ["", "Editor", "a b", "x/y"] {
            assert!(!draft.begin(name(wrong)), "{wrong}");
        }
        assert!(!draft.begin([u64::from_le_bytes(*b"aaaaaaaa"); 4]), "32 bytes");
        let mut hidden = name("a");
        hidden[3] = 1;
        assert!(!draft.begin(hidden), "something behind the end");
        assert!(draft.begin(name(&"a".repeat(31).as_str()[..31])));
        assert!(draft.begin(name("a-b_3")));
        assert_eq!(draft.name(), "a-b_3");
        assert_eq!(draft.view().name, "a-b_3");
    }

    #[test]
    fn what_was_added_is_what_a_partition_reads() {
        let mut draft = draft();
        draft.add_vcpu(&vcpu(2, 500), MACHINE, false).unwrap();
        draft.add_memory(Ipa(0x4000_0000), 2 << 20).unwrap();
        draft.set_entry(Ipa(0x4000_0004), 77).unwrap();
        draft.set_talk(9, 3).unwrap();
        draft.set_console(true).unwrap();
        let view = draft.view();
        assert_eq!(view.vcpus().collect::<alloc::vec::Vec<_>>(), [vcpu(2, 500)]);
        let memory: alloc::vec::Vec<_> = view.memory().map(|it| (it.ipa, it.bytes)).collect();
        assert_eq!(memory, [(Ipa(0x4000_0000), 2 << 20)]);
        assert_eq!((view.entry, view.x0, view.has_console), (Ipa(0x4000_0004), 77, true));
        assert_eq!((view.talk.handles, view.talk.requests), (9, 3));
        assert!(!view.autostart && view.devices().len() == 0);
        // A name begins anew.
        assert!(draft.begin(name("other")));
        assert_eq!(draft.view().memory().len(), 0);
    }

    #[test]
    fn areas_are_as_many_as_a_description_could_give() {
        let mut draft = draft();
        let windows = Windows { pages: 8, blocks: 4, giants: 1, channels: 4, shared: 2 };
        let value = Err(DraftFault::Value);
        assert_eq!(draft.set_windows(windows), value, "no handles");
        draft.set_talk(9, 3).unwrap();
        draft.set_windows(windows).unwrap();
        for wrong in [
            Windows { pages: 7, ..windows },
            Windows { pages: 4097, ..windows },
            Windows { blocks: 513, ..windows },
            Windows { giants: 511, ..windows },
            Windows { shared: 65, ..windows },
        ] {
            assert_eq!(draft.set_windows(wrong), value, "{wrong:?}");
            assert_eq!(draft.view().windows, windows);
        }
        draft.set_windows(Windows::default()).unwrap();
        assert!(draft.view().windows.is_none());
    }

    #[test]
    fn vcpus_that_are_kept_back_come_last() {
        let mut draft = draft();
        let value = Err(DraftFault::Value);
        assert_eq!(draft.add_vcpu(&vcpu(0, 50), MACHINE, true), value, "vCPU 0");
        draft.add_vcpu(&vcpu(0, 50), MACHINE, false).unwrap();
        draft.add_vcpu(&vcpu(1, 50), MACHINE, false).unwrap();
        assert_eq!((draft.view().kept_vcpus, draft.view().usable_vcpus()), (0, 2));
        draft.add_vcpu(&vcpu(1, 50), MACHINE, true).unwrap();
        assert_eq!(draft.add_vcpu(&vcpu(1, 50), MACHINE, false), value, "behind it");
        draft.add_vcpu(&vcpu(2, 50), MACHINE, true).unwrap();
        assert_eq!((draft.view().kept_vcpus, draft.view().usable_vcpus()), (2, 2));
        assert!(draft.begin(name("other")));
        draft.add_vcpu(&vcpu(0, 50), MACHINE, false).unwrap();
        assert_eq!((draft.view().kept_vcpus, draft.view().usable_vcpus()), (0, 1));
    }

    #[test]
    fn what_is_refused_leaves_the_draft_as_it_was() {
        let mut draft = draft();
        let before = |draft: &Draft| (draft.view().vcpus().len(), draft.view().memory().len());
        let value = Err(DraftFault::Value);
        assert_eq!(draft.add_memory(Ipa(0x4000_0001), 4096), value);
        assert_eq!(draft.add_memory(Ipa(0x4000_0000), 4097), value);
        assert_eq!(draft.add_memory(Ipa(0x4000_0000), 0), value);
        assert_eq!(draft.add_memory(Ipa(1 << 40), 4096), value);
        assert_eq!(draft.add_memory(Ipa(0x0800_0000), 4096), Err(DraftFault::Clash));
        assert_eq!(draft.add_vcpu(&vcpu(4, 500), MACHINE, false), value);
        assert_eq!(draft.add_vcpu(&vcpu(0, 49), MACHINE, false), value);
        assert_eq!(draft.add_vcpu(&vcpu(0, 10_001), MACHINE, false), value);
        assert_eq!(draft.set_entry(Ipa(0x4000_0000), 0), value);
        assert_eq!(draft.set_talk(0, 1), value);
        assert_eq!(before(&draft), (0, 0));
        draft.add_memory(Ipa(0x4000_0000), 8192).unwrap();
        assert_eq!(draft.add_memory(Ipa(0x4000_1000), 4096), Err(DraftFault::Clash));
        assert_eq!(draft.set_entry(Ipa(0x4000_2000), 0), value);
        assert_eq!(draft.set_entry(Ipa(0x4000_0002), 0), value);
        // Memory where the UART would be.
        draft.add_memory(Ipa(0x0900_0000), 4096).unwrap();
        assert_eq!(draft.set_console(true), Err(DraftFault::Clash));
        assert!(!draft.view().has_console);
        assert_eq!(before(&draft), (0, 2));
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let mut draft = draft();
        for _ in 0..DRAFT_VCPUS {
            draft.add_vcpu(&vcpu(0, 50), MACHINE, false).unwrap();
        }
        assert_eq!(draft.add_vcpu(&vcpu(0, 50), MACHINE, false), Err(DraftFault::Full));
        for region in 0..u64::try_from(DRAFT_MEMORY).unwrap() {
            draft.add_memory(Ipa(0x4000_0000 + region * 4096), 4096).unwrap();
        }
        assert_eq!(draft.add_memory(Ipa(0x5000_0000), 4096), Err(DraftFault::Full));
    }
}
