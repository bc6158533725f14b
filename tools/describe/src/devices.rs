//! Devices that partitions own, found by their paths in the board's device tree.

mod pieces;
mod rules;

use serde_spanned::Spanned;
use shikiri_abi::{IntId, Ipa, PAGE_BYTES, Pa};
use shikiri_config::{DeviceSpec, InterruptSpec};

use crate::board::{Board, BoardDevice, Line, Range};
use crate::claims::Claim;
use crate::problem::{Place, Problem};
use crate::text::{Description, DeviceTable, DeviceText, Dma, PartitionText};
use pieces::{Piece, cut};
pub(crate) use rules::{check_dma, check_moderated, check_physical};
use rules::{
    check_guest_spi, check_kept, check_table, interrupt_kept_in_parts, same_guest_interrupt,
    same_interrupt, unknown,
};

/// The virtual UART's SPI, as the device tree writes it.
pub(crate) const UART_SPI: u16 = 1;
/// Number of SPIs of a partition's virtual GIC, unless a device needs more.
pub(crate) const SPIS: u16 = 256;

/// A device of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Owned<'a> {
    /// Its path.
    pub(crate) path: String,
    /// What the board's tree says.
    pub(crate) board: &'a BoardDevice,
    /// It writes memory by itself and is trusted.
    pub(crate) dma: bool,
    /// It is kept back: its number among those that are.
    pub(crate) kept: Option<usize>,
    /// Guest addresses of its regions, in the order of the board's.
    pub(crate) ipas: Vec<u64>,
    /// Guest SPI numbers, in the order of its interrupts.
    pub(crate) spis: Vec<u16>,
    /// Properties that the guest does not get.
    pub(crate) omit: Vec<String>,
    /// The rate of its clocks, if the description says it.
    pub(crate) clock_hz: Option<u32>,
    /// Where it stands.
    pub(crate) place: Place,
}

/// All partitions' devices.
#[derive(Debug)]
pub(crate) struct DevicePlan<'a> {
    owned: Vec<Vec<Owned<'a>>>,
}

impl<'a> DevicePlan<'a> {
    /// Plans all partitions.
    pub(crate) fn make(description: &Description, board: &'a Board) -> Result<Self, Problem> {
        let mut plan = Self { owned: vec![Vec::new(); description.partitions.len()] };
        for (index, spanned) in description.partitions.iter().enumerate() {
            let partition = spanned.get_ref();
            let kept = (0..).map(Some).zip(&partition.kept_devices);
            for (kept, device) in partition.devices.iter().map(|it| (None, it)).chain(kept) {
                let owned = Owned { kept, ..owned(board, partition, device)? };
                plan.check_once(description, partition, &owned)?;
                check_kept(partition.name.get_ref(), &owned)?;
                plan.owned[index].push(owned);
            }
        }
        plan.give_rest(description, board);
        plan.check_interrupts(description, board)?;
        Ok(plan)
    }

    /// A partition's devices.
    pub(crate) fn of(&self, partition: usize) -> &[Owned<'a>] {
        self.owned.get(partition).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody has the device.
    pub(crate) fn is_owned(&self, path: &str) -> bool {
        self.owned.iter().flatten().any(|device| device.path == path)
    }

    fn with_owner<'b>(
        &'b self,
        description: &'b Description,
    ) -> impl Iterator<Item = (&'b str, &'b Owned<'a>)> {
        description.partitions.iter().zip(&self.owned).flat_map(|(partition, devices)| {
            let name = partition.get_ref().name.get_ref().as_str();
            devices.iter().map(move |device| (name, device))
        })
    }

    fn check_once(
        &self,
        description: &Description,
        partition: &PartitionText,
        new: &Owned<'_>,
    ) -> Result<(), Problem> {
        let Some((other, device)) =
            self.with_owner(description).find(|(_, device)| device.path == new.path)
        else {
            return Ok(());
        };
        let (name, path) = (partition.name.get_ref(), &new.path);
        let problem =
            Problem::new(format!("device `{path}` is claimed by `{other}` and by `{name}`"));
        Err(problem
            .at(&device.place, format!("`{other}` has it"))
            .at(&new.place, format!("`{name}` wants it, too")))
    }

    /// `[rest] devices`: what is left, can be passed on, and cannot master the bus.
    fn give_rest(&mut self, description: &Description, board: &'a Board) {
        let Some(heir) = &description.rest.devices else { return };
        let Some(index) = crate::cores::find(description, heir.get_ref()) else { return };
        for (path, device) in &board.devices {
            let is_whole = device.regions.iter().all(|region| {
                region.start.is_multiple_of(PAGE_BYTES) && region.bytes.is_multiple_of(PAGE_BYTES)
            });
            let can_go = device.kept_for.is_none() && !device.may_master && is_whole;
            if can_go && !self.is_owned(path) && device.interrupts.is_ok() {
                let table = DeviceTable::from_path(path);
                self.owned[index].push(new_owned(path, device, &table, heir.span().into()));
            }
        }
    }

    /// No two devices of different partitions share an interrupt, none shares one with a device of the hypervisor, and no
    /// guest number is given twice.
    fn check_interrupts(&self, description: &Description, board: &Board) -> Result<(), Problem> {
        let all: Vec<_> = self
            .with_owner(description)
            .flat_map(|(name, device)| {
                device.lines().map(move |(line, virt)| (name, device, line, virt))
            })
            .collect();
        for (index, (name, device, line, virt)) in all.iter().enumerate() {
            if let Some(kept) = board.keeper_of(line.spi) {
                return Err(rules::kept_interrupt(line.spi, kept, (name, device)));
            }
            for (other, earlier, other_line, other_virt) in all.iter().take(index) {
                let is_same_guest = name == other;
                if line.spi == other_line.spi && !is_same_guest {
                    return Err(same_interrupt(line.spi, (other, earlier), (name, device)));
                }
                if line.spi == other_line.spi && (device.kept.or(earlier.kept)).is_some() {
                    return Err(interrupt_kept_in_parts(line.spi, name, earlier, device));
                }
                if virt == other_virt && is_same_guest && line.spi != other_line.spi {
                    return Err(same_guest_interrupt(name, *virt, earlier, device));
                }
            }
            check_guest_spi(description, name, device, *virt)?;
        }
        Ok(())
    }

    /// The physical claims of all devices; also those of the devices that the hypervisor keeps.
    pub(crate) fn physical_claims(&self, description: &Description, board: &Board) -> Vec<Claim> {
        let mut all = Vec::new();
        for (path, device) in board.devices.iter().filter(|(_, device)| device.kept_for.is_some()) {
            let who = format!("`{path}` of the hypervisor");
            all.extend(device.regions.iter().map(|range| Claim {
                range: *range,
                moderated: true,
                who: who.clone(),
                place: Place::default(),
            }));
        }
        all.extend(board.reserved.iter().map(|range| Claim {
            range: *range,
            moderated: false,
            who: "`/memreserve/` of the hypervisor".to_owned(),
            place: Place::default(),
        }));
        for (name, device) in self.with_owner(description) {
            all.extend(device.claims(name, |_, piece| piece.pa));
        }
        all
    }
}

impl Owned<'_> {
    /// Its interrupts: the board's line and the guest's SPI.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Line, u16)> {
        let lines = self.board.interrupts.as_deref().unwrap_or(&[]);
        lines.iter().copied().zip(self.spis.iter().copied())
    }

    /// The claims of its regions at addresses that `address` chooses.
    pub(crate) fn claims(
        &self,
        partition: &str,
        address: impl Fn(u64, &Piece) -> u64,
    ) -> Vec<Claim> {
        let who = format!("device `{}` of `{partition}`", self.path);
        self.pieces()
            .iter()
            .map(|piece| Claim {
                range: Range { start: address(piece.ipa, piece), bytes: piece.bytes },
                moderated: piece.moderated,
                who: who.clone(),
                place: self.place.clone(),
            })
            .collect()
    }

    /// Its regions, cut into whole pages and what shares a page with others.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let regions = self.board.regions.iter().zip(&self.ipas);
        regions.flat_map(|(range, ipa)| cut(*range, *ipa)).collect()
    }

    /// What the bundle says about it.
    pub(crate) fn specs(&self) -> (Vec<DeviceSpec>, Vec<InterruptSpec>) {
        let devices = self.pieces().into_iter().map(|piece| DeviceSpec {
            ipa: Ipa(piece.ipa),
            pa: Pa(piece.pa),
            bytes: piece.bytes,
            moderated: piece.moderated,
            dma_trusted: self.dma,
            is_kept: self.kept.is_some(),
            path: self.path.clone(),
        });
        let interrupts = self.lines().map(|(line, spi)| InterruptSpec {
            physical: IntId::FIRST_SPI.0 + line.spi,
            virtual_id: IntId::FIRST_SPI.0 + spi,
            edge: line.is_edge(),
            path: self.path.clone(),
        });
        (devices.collect(), interrupts.collect())
    }
}

impl DeviceTable {
    fn from_path(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            dma: None,
            ipa: None,
            spis: None,
            clock_hz: None,
            omit: Vec::new(),
        }
    }
}

/// Resolves a device that a partition names.
fn owned<'a>(
    board: &'a Board,
    partition: &PartitionText,
    text: &Spanned<DeviceText>,
) -> Result<Owned<'a>, Problem> {
    let table = match text.get_ref() {
        DeviceText::Path(path) => &DeviceTable::from_path(path),
        DeviceText::Table(table) => table,
    };
    let path = &table.path;
    let Some(device) = board.devices.get(path) else {
        return Err(unknown(board, path, text.span().into()));
    };
    let name = partition.name.get_ref();
    if let Some(purpose) = device.kept_for {
        let problem = Problem::new(format!(
            "device `{path}` belongs to the hypervisor and cannot go to `{name}`"
        ));
        return Err(problem.at(text.span(), format!("is {purpose}")));
    }
    if let Err(reason) = &device.interrupts {
        let problem = Problem::new(format!("device `{path}` cannot be passed on"));
        return Err(problem.at(text.span(), reason.clone()));
    }
    if device.may_master && table.dma.is_none() {
        let problem = Problem::new(format!(
            "device `{path}` may write memory by itself, and there is no SMMU in front of it"
        ));
        return Err(problem.at(text.span(), format!("`{name}` could reach the whole machine with it")).help(
            "write `{ path = …, dma = \"trusted\" }` to trust that partition with the machine, or `dma = \"none\"` if the device cannot do it",
        ));
    }
    check_table(device, table, text)?;
    Ok(new_owned(path, device, table, text.span().into()))
}

fn new_owned<'a>(
    path: &str,
    device: &'a BoardDevice,
    table: &DeviceTable,
    place: Place,
) -> Owned<'a> {
    let stated = table.ipa.as_ref().map(|ipa| *ipa.get_ref());
    let ipas = device.regions.iter().map(|region| stated.unwrap_or(region.start)).collect();
    let lines = device.interrupts.as_deref().unwrap_or(&[]);
    let spis = match &table.spis {
        Some(spis) => spis.get_ref().clone(),
        None => lines.iter().map(|line| line.spi).collect(),
    };
    let dma = table.dma == Some(Dma::Trusted);
    let clock_hz = table.clock_hz.as_ref().map(|rate| *rate.get_ref());
    let (path, omit) = (path.to_owned(), table.omit.clone());
    Owned { path, board: device, dma, kept: None, ipas, spis, omit, clock_hz, place }
}
