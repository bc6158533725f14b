//! The device tree that a guest gets: QEMU `virt`'s layout on every board, plus the devices that it owns.

use dtoolkit::model::DeviceTreeNode;
use dtoolkit::{Node as _, Property as _};
use shikiri_abi::IntId;
use shikiri_config::{GicVersion, Platform, ServiceSpec, Talk};
use shikiri_tree::node::{flag, high, low, node, reg, set};
use shikiri_tree::{EDGE_RISING, FIRST_FREE_PHANDLE, Gic, Machine, SPI};

use crate::Seed;
use crate::board::{Board, Window, cells, first_string, strings};
use crate::channels::End;
use crate::devices::Owned;
use crate::problem::Problem;
use crate::shared::View;
use crate::talk::Port;

/// What a guest's tree is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// The partition's name.
    pub(crate) name: &'a str,
    /// Version of its GIC.
    pub(crate) gic: GicVersion,
    /// Number of vCPUs.
    pub(crate) vcpus: usize,
    /// Memory: guest address and size.
    pub(crate) memory: &'a [(u64, u64)],
    /// Where its virtual devices are.
    pub(crate) platform: Platform,
    /// Whether there is a UART.
    pub(crate) has_console: bool,
    /// The command line.
    pub(crate) cmdline: Option<&'a str>,
    /// The RAM disk: guest address and size.
    pub(crate) initrd: Option<(u64, u64)>,
    /// Devices of the board.
    pub(crate) devices: &'a [Owned<'a>],
    /// To whom it may talk.
    pub(crate) talk: Talk,
    /// Its number.
    pub(crate) own: usize,
    /// All partitions' names.
    pub(crate) names: &'a [&'a str],
    /// All partitions' services.
    pub(crate) services: &'a [ServiceSpec],
    /// Its ports by the description.
    pub(crate) ports: &'a [Port],
    /// The memory that it shares.
    pub(crate) shared: &'a [View<'a>],
    /// Its ends of channels.
    pub(crate) channels: &'a [End],
    /// What its random numbers start with.
    pub(crate) seed: Option<Seed>,
}

/// Makes the tree.
pub(crate) fn make(input: &Input<'_>, board: &Board) -> Result<Vec<u8>, Problem> {
    let mut tree = machine(input).tree();
    let root = &mut tree.root;
    if let Some((chosen, seed)) = root.child_mut("chosen").zip(input.seed) {
        set(chosen, "kaslr-seed", seed.kaslr);
        set(chosen, "rng-seed", seed.rng.to_vec());
    }
    if input.talk.handles != 0 {
        root.add_child(hypervisor(input));
    }
    let mut copier =
        Copier { board, next_phandle: FIRST_FREE_PHANDLE, copied: Vec::new(), buses: Vec::new() };
    // What is kept back is not there when the guest looks for it.
    for device in input.devices.iter().filter(|device| device.kept.is_none()) {
        copier.add(root, device)?;
    }
    for (_, bus) in copier.buses {
        root.add_child(bus);
    }
    Ok(tree.to_dtb())
}

/// What every partition has.
fn machine<'a>(input: &Input<'a>) -> Machine<'a> {
    let Platform { distributor, cpu_interface, uart, uart_intid, .. } = input.platform;
    Machine {
        name: input.name,
        gic: match input.gic {
            GicVersion::V2 => Gic::V2,
            GicVersion::V3 => Gic::V3,
        },
        vcpus: u8::try_from(input.vcpus).unwrap_or(u8::MAX),
        memory: input.memory,
        platform: shikiri_tree::Platform {
            distributor: distributor.0,
            cpu_interface: cpu_interface.0,
            uart: uart.0,
            uart_spi: uart_intid.0.saturating_sub(IntId::FIRST_SPI.0),
        },
        has_console: input.has_console,
        cmdline: input.cmdline,
        initrd: input.initrd,
    }
}

/// What it may ask a peer for, if that one has services at all.
fn add_services(peer: &mut DeviceTreeNode, input: &Input<'_>, number: usize) {
    let of_peer = || input.services.iter().filter(|service| usize::from(service.of) == number);
    if of_peer().next().is_none() {
        return;
    }
    let open = || of_peer().filter(|service| service.to.contains(input.own));
    set(peer, "shikiri,services", open().map(|service| service.number).collect::<Vec<_>>());
    let names = open().flat_map(|service| service.name.bytes().chain([0]));
    set(peer, "shikiri,service-names", names.collect::<Vec<_>>());
}

/// Whom it may talk to, by number, and the events that are connected already.
fn hypervisor(input: &Input<'_>) -> DeviceTreeNode {
    let mut hypervisor = node("hypervisor");
    set(&mut hypervisor, "compatible", "shikiri,hypervisor");
    set(&mut hypervisor, "method", "hvc");
    set(&mut hypervisor, "#address-cells", 1_u32);
    set(&mut hypervisor, "#size-cells", 0_u32);
    let talk = input.talk;
    for number in talk.connect_to.union(talk.accept_from).iter() {
        let mut peer = node(format!("peer@{number:x}"));
        set(&mut peer, "reg", u32::try_from(number).unwrap_or(u32::MAX));
        set(&mut peer, "label", *input.names.get(number).unwrap_or(&""));
        if talk.connect_to.contains(number) {
            flag(&mut peer, "shikiri,connect-to");
            add_services(&mut peer, input, number);
        }
        if talk.accept_from.contains(number) {
            flag(&mut peer, "shikiri,accept-from");
        }
        hypervisor.add_child(peer);
    }
    for port in input.ports {
        let mut event = node(format!("event-{}", port.name));
        let direction = if port.spi.is_some() { "receive" } else { "send" };
        set(&mut event, "compatible", &*format!("shikiri,event-{direction}"));
        set(&mut event, "label", &*port.name);
        set(&mut event, "shikiri,handle", port.handle);
        set(&mut event, "shikiri,peer", *input.names.get(port.peer).unwrap_or(&""));
        if let Some(spi) = port.spi {
            set(&mut event, "interrupts", vec![SPI, u32::from(spi), EDGE_RISING]);
        }
        hypervisor.add_child(event);
    }
    for area in input.shared {
        let mut shared = node(format!("shared-{}", area.name));
        set(&mut shared, "compatible", "shikiri,shared-area");
        set(&mut shared, "label", area.name);
        set(&mut shared, "shikiri,handle", area.handle);
        set(&mut shared, "shikiri,address", area.address);
        set(&mut shared, "shikiri,bytes", area.bytes);
        if !area.is_writable {
            flag(&mut shared, "shikiri,read-only");
        }
        hypervisor.add_child(shared);
    }
    for end in input.channels {
        hypervisor.add_child(channel(input, end));
    }
    hypervisor
}

/// An end of a channel that is connected already.
fn channel(input: &Input<'_>, end: &End) -> DeviceTreeNode {
    let mut channel = node(format!("channel-{}", end.name));
    set(&mut channel, "compatible", "shikiri,channel");
    set(&mut channel, "label", &*end.name);
    set(&mut channel, "shikiri,handle", end.handle);
    set(&mut channel, "shikiri,events", end.events);
    set(&mut channel, "shikiri,peer", *input.names.get(end.peer).unwrap_or(&""));
    let [arrivals, credits] = end.pages;
    set(&mut channel, "shikiri,arrivals", arrivals);
    set(&mut channel, "shikiri,credits", credits);
    set(&mut channel, "shikiri,slots", u32::from(end.slots));
    set(&mut channel, "shikiri,class", u32::from(end.class.code()));
    set(&mut channel, "interrupts", vec![SPI, u32::from(end.spi), EDGE_RISING]);
    channel
}

/// Copies nodes of the board's tree.
struct Copier<'a> {
    board: &'a Board,
    next_phandle: u32,
    /// Clocks that were copied: the board's phandle and ours.
    copied: Vec<(u32, u32)>,
    /// The buses whose masters see memory through windows, with these.
    buses: Vec<(Vec<Window>, DeviceTreeNode)>,
}

/// Properties that only mean something together with the rest of the board's tree.
const LEFT_OUT: &[&str] = &[
    "phandle",
    "linux,phandle",
    "interrupt-parent",
    "interrupts",
    "interrupts-extended",
    "reg",
    "status",
    "dmas",
    "dma-names",
    "iommus",
    "msi-parent",
    "power-domains",
    "resets",
    "phys",
    "phy-names",
    "interconnects",
];

impl Copier<'_> {
    fn add(&mut self, root: &mut DeviceTreeNode, device: &Owned<'_>) -> Result<(), Problem> {
        let from = &device.board.node;
        let address = device.ipas.first().copied().unwrap_or(0);
        let mut copy = node(format!("{}@{address:x}", from.name_without_address()));
        for property in from.properties() {
            let name = property.name();
            let is_link = name.starts_with("pinctrl-")
                || name.ends_with("-supply")
                || name.starts_with("assigned-clock");
            if is_link || LEFT_OUT.contains(&name) || device.omit.iter().any(|omit| omit == name) {
                continue;
            }
            if name == "clocks" {
                let clocks = self.clocks(root, device)?;
                set(&mut copy, "clocks", clocks);
            } else {
                set(&mut copy, name, property.value());
            }
        }
        let regions = device.board.regions.iter().zip(&device.ipas);
        let ranges: Vec<_> = regions.map(|(region, ipa)| (*ipa, region.bytes)).collect();
        set(&mut copy, "reg", reg(&ranges));
        let interrupts: Vec<u32> =
            device.lines().flat_map(|(line, spi)| [SPI, u32::from(spi), line.flags]).collect();
        if !interrupts.is_empty() {
            set(&mut copy, "interrupts", interrupts);
        }
        if device.board.coherent {
            flag(&mut copy, "dma-coherent");
        }
        match &device.board.bus_reach {
            Some(reach) if device.dma => self.bus(reach).add_child(copy),
            Some(_) | None => root.add_child(copy),
        }
        Ok(())
    }

    /// The bus whose masters see memory through these windows. Guest addresses are physical for whoever has one.
    fn bus(&mut self, reach: &[Window]) -> &mut DeviceTreeNode {
        let known = self.buses.iter().position(|(windows, _)| windows == reach);
        let place = known.unwrap_or(self.buses.len());
        if known.is_none() {
            let mut bus = node(format!("bus-{place}"));
            set(&mut bus, "compatible", "simple-bus");
            set(&mut bus, "#address-cells", 2_u32);
            set(&mut bus, "#size-cells", 2_u32);
            flag(&mut bus, "ranges");
            let row = |window: &Window| {
                [window.own, window.above, window.bytes].map(|number| [high(number), low(number)])
            };
            let cells: Vec<u32> = reach.iter().flat_map(row).flatten().collect();
            set(&mut bus, "dma-ranges", cells);
            self.buses.push((reach.to_vec(), bus));
        }
        &mut self.buses[place].1
    }

    /// Translates a `clocks` property; the clocks come along.
    fn clocks(
        &mut self,
        root: &mut DeviceTreeNode,
        device: &Owned<'_>,
    ) -> Result<Vec<u32>, Problem> {
        if let Some(hertz) = device.clock_hz {
            // One for each name: how many cells a foreign clock's number takes is its provider's affair.
            let count = strings(&device.board.node, "clock-names").len().max(1);
            return Ok(vec![self.fixed(root, hertz); count]);
        }
        let mut translated = Vec::new();
        for phandle in cells(&device.board.node, "clocks") {
            translated.push(self.clock(root, device, phandle)?);
        }
        Ok(translated)
    }

    /// Adds a fixed clock.
    fn fixed(&mut self, root: &mut DeviceTreeNode, hertz: u32) -> u32 {
        let ours = self.next_phandle;
        self.next_phandle += 1;
        let mut clock = node(format!("clock-{ours}"));
        set(&mut clock, "compatible", "fixed-clock");
        set(&mut clock, "#clock-cells", 0_u32);
        set(&mut clock, "clock-frequency", hertz);
        set(&mut clock, "phandle", ours);
        root.add_child(clock);
        ours
    }

    /// Copies a fixed clock, once.
    fn clock(
        &mut self,
        root: &mut DeviceTreeNode,
        device: &Owned<'_>,
        phandle: u32,
    ) -> Result<u32, Problem> {
        if let Some((_, ours)) = self.copied.iter().find(|(theirs, _)| *theirs == phandle) {
            return Ok(*ours);
        }
        let clock = find_phandle(&self.board.tree.root, phandle)
            .filter(|clock| first_string(clock, "compatible").as_deref() == Some("fixed-clock"));
        let Some(clock) = clock else {
            let problem =
                Problem::new(format!("device `{}` needs a clock that is not fixed", device.path));
            return Err(problem
                .at(&device.place, "its clock controller belongs to the board")
                .help("if the firmware leaves it on, say its rate with `{ path = …, clock_hz = … }`; or leave its clocks out with `omit = [\"clocks\", \"clock-names\"]` if its driver can do without"));
        };
        let ours = self.next_phandle;
        self.next_phandle += 1;
        let mut copy = node(format!("clock-{ours}"));
        // Its output name stays behind: Linux refuses two clocks of one name, and the console's has one too.
        let kept = |name: &str| !matches!(name, "phandle" | "clock-output-names");
        for property in clock.properties().filter(|property| kept(property.name())) {
            set(&mut copy, property.name(), property.value());
        }
        set(&mut copy, "phandle", ours);
        root.add_child(copy);
        self.copied.push((phandle, ours));
        Ok(ours)
    }
}

fn find_phandle(node: &DeviceTreeNode, phandle: u32) -> Option<&DeviceTreeNode> {
    if cells(node, "phandle").first() == Some(&phandle) {
        return Some(node);
    }
    node.children().find_map(|child| find_phandle(child, phandle))
}
