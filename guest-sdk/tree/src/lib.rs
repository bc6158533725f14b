//! The device tree of a partition: QEMU `virt`'s layout on every board.
//!
//! The description compiler makes one for each partition of the description, and a policy program for those that it makes at run
//! time:
//!
//! ```
//! use shikiri_tree::{Gic, Machine, Platform};
//! let tree = Machine {
//!     name: "editor",
//!     gic: Gic::V3,
//!     vcpus: 2,
//!     memory: &[(0x4000_0000, 512 << 20)],
//!     platform: Platform::usual(Gic::V3),
//!     has_console: true,
//!     cmdline: Some("quiet"),
//!     initrd: Some((0x4800_0000, 6 << 20)),
//! };
//! let blob = tree.to_dtb();
//! assert_eq!(blob[..4], 0xd00d_feed_u32.to_be_bytes());
//! ```
//!
//! What a partition has beside that (devices of the board, events, channels) is added to [`Machine::tree`] by whoever knows of it,
//! with the [`node`] functions. Bindings: Linux, Documentation/devicetree/bindings.
#![no_std]

extern crate alloc;

pub mod node;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use dtoolkit::model::{DeviceTree, DeviceTreeNode};
use node::{add, flag, reg, set};

/// The interrupt controller's phandle.
pub const GIC_PHANDLE: u32 = 1;
/// The UART's clock's.
const CLOCK_PHANDLE: u32 = 2;
/// The first phandle that nothing here has.
pub const FIRST_FREE_PHANDLE: u32 = 3;
/// The generic timer's PPIs in the binding's order: secure, non-secure, virtual, hypervisor (INTID − 16).
const TIMER_PPIS: [u32; 4] = [13, 14, 11, 10];
/// GIC binding: the type of a shared interrupt.
pub const SPI: u32 = 0;
/// GIC binding: the type of a core's own interrupt.
const PPI: u32 = 1;
/// GIC binding: a level, high.
const LEVEL_HIGH: u32 = 4;
/// GIC binding: a rising edge.
pub const EDGE_RISING: u32 = 1;
/// The PL011's clock on QEMU's `virt`.
const UART_CLOCK_HZ: u32 = 24_000_000;
/// The UART's interrupt on QEMU's `virt` (INTID 33).
const UART_SPI: u16 = 1;
/// A frame of GICv2, and the distributor's of GICv3, in bytes.
const GIC_FRAME_BYTES: u64 = 0x1_0000;
/// A redistributor of GICv3: two frames.
const REDISTRIBUTOR_BYTES: u64 = 0x2_0000;

/// The interrupt controller that a partition sees: its board's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gic {
    /// GICv2.
    V2,
    /// GICv3.
    V3,
}

impl Gic {
    /// The affinity fields of a vCPU's `MPIDR_EL1`, as the hypervisor makes them.
    #[must_use]
    pub const fn affinity(self, vcpu: u8) -> u32 {
        let [low, high] = match self {
            Self::V2 => [vcpu & 7, vcpu >> 3],
            Self::V3 => [vcpu & 15, vcpu >> 4],
        };
        u32::from_le_bytes([low, high, 0, 0])
    }
}

/// Where a partition's virtual devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The GIC's distributor.
    pub distributor: u64,
    /// The CPU interface (GICv2), or the first redistributor (GICv3).
    pub cpu_interface: u64,
    /// The UART.
    pub uart: u64,
    /// Its interrupt: INTID − 32.
    pub uart_spi: u16,
}

impl Platform {
    /// As on QEMU's `virt`: where a partition has them that is made at run time.
    #[must_use]
    pub const fn usual(gic: Gic) -> Self {
        let cpu_interface = match gic {
            Gic::V2 => 0x0801_0000,
            Gic::V3 => 0x080a_0000,
        };
        Self { distributor: 0x0800_0000, cpu_interface, uart: 0x0900_0000, uart_spi: UART_SPI }
    }
}

/// What a partition's tree is made from.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The partition's name.
    pub name: &'a str,
    /// Its GIC.
    pub gic: Gic,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Memory: guest address and size.
    pub memory: &'a [(u64, u64)],
    /// Where its virtual devices are.
    pub platform: Platform,
    /// Whether there is a UART.
    pub has_console: bool,
    /// The command line.
    pub cmdline: Option<&'a str>,
    /// The RAM disk: guest address and size.
    pub initrd: Option<(u64, u64)>,
}

impl Machine<'_> {
    /// Makes the tree, for more to be added.
    #[must_use]
    pub fn tree(&self) -> DeviceTree {
        let mut tree = DeviceTree::new();
        let root = &mut tree.root;
        set(root, "#address-cells", 2_u32);
        set(root, "#size-cells", 2_u32);
        set(root, "interrupt-parent", GIC_PHANDLE);
        set(root, "compatible", vec!["shikiri,partition", "linux,dummy-virt"]);
        set(root, "model", &*format!("Shikiri partition {}", self.name));
        self.add_chosen(root);
        for (start, bytes) in self.memory {
            let memory = add(root, format!("memory@{start:x}"));
            set(memory, "device_type", "memory");
            set(memory, "reg", reg(&[(*start, *bytes)]));
        }
        self.add_cpus(root);
        let psci = add(root, "psci");
        set(psci, "compatible", vec!["arm,psci-1.0", "arm,psci-0.2"]);
        set(psci, "method", "hvc");
        self.add_timer(root);
        self.add_gic(root);
        if self.has_console {
            self.add_uart(root);
        }
        tree
    }

    /// Makes the tree as a guest finds it in its memory.
    #[must_use]
    pub fn to_dtb(&self) -> Vec<u8> {
        self.tree().to_dtb()
    }

    fn uart_path(&self) -> String {
        format!("pl011@{:x}", self.platform.uart)
    }

    fn add_chosen(&self, root: &mut DeviceTreeNode) {
        let chosen = add(root, "chosen");
        if let Some(cmdline) = self.cmdline {
            set(chosen, "bootargs", cmdline);
        }
        if self.has_console {
            set(chosen, "stdout-path", &*format!("/{}", self.uart_path()));
        }
        if let Some((start, bytes)) = self.initrd {
            set(chosen, "linux,initrd-start", start);
            set(chosen, "linux,initrd-end", start.saturating_add(bytes));
        }
    }

    fn add_cpus(&self, root: &mut DeviceTreeNode) {
        let cpus = add(root, "cpus");
        set(cpus, "#address-cells", 1_u32);
        set(cpus, "#size-cells", 0_u32);
        for index in 0..self.vcpus {
            let affinity = self.gic.affinity(index);
            let cpu = add(cpus, format!("cpu@{affinity:x}"));
            set(cpu, "device_type", "cpu");
            set(cpu, "compatible", "arm,armv8");
            set(cpu, "reg", affinity);
            set(cpu, "enable-method", "psci");
        }
    }

    /// The flags of a PPI; the GICv2 binding also wants the mask of the CPUs that it goes to.
    fn ppi_flags(&self) -> u32 {
        let cpus = match self.gic {
            Gic::V2 => {
                0xff_u32.checked_shr(u32::from(8_u8.saturating_sub(self.vcpus))).unwrap_or(0)
            }
            Gic::V3 => 0,
        };
        cpus << 8 | LEVEL_HIGH
    }

    fn add_timer(&self, root: &mut DeviceTreeNode) {
        let flags = self.ppi_flags();
        let interrupts: Vec<u32> = TIMER_PPIS.iter().flat_map(|ppi| [PPI, *ppi, flags]).collect();
        let timer = add(root, "timer");
        set(timer, "compatible", vec!["arm,armv8-timer", "arm,armv7-timer"]);
        set(timer, "interrupts", interrupts);
        flag(timer, "always-on");
    }

    fn add_gic(&self, root: &mut DeviceTreeNode) {
        let Platform { distributor, cpu_interface, .. } = self.platform;
        let (compatible, interface_bytes) = match self.gic {
            Gic::V2 => ("arm,cortex-a15-gic", GIC_FRAME_BYTES),
            Gic::V3 => ("arm,gic-v3", REDISTRIBUTOR_BYTES.saturating_mul(self.vcpus.into())),
        };
        let gic = add(root, format!("intc@{distributor:x}"));
        set(gic, "compatible", compatible);
        set(gic, "reg", reg(&[(distributor, GIC_FRAME_BYTES), (cpu_interface, interface_bytes)]));
        set(gic, "#interrupt-cells", 3_u32);
        set(gic, "#address-cells", 2_u32);
        set(gic, "#size-cells", 2_u32);
        flag(gic, "interrupt-controller");
        flag(gic, "ranges");
        if self.gic == Gic::V3 {
            set(gic, "#redistributor-regions", 1_u32);
        }
        set(gic, "phandle", GIC_PHANDLE);
    }

    fn add_uart(&self, root: &mut DeviceTreeNode) {
        let clock = add(root, "apb-pclk");
        set(clock, "compatible", "fixed-clock");
        set(clock, "#clock-cells", 0_u32);
        set(clock, "clock-frequency", UART_CLOCK_HZ);
        set(clock, "clock-output-names", "clk24mhz");
        set(clock, "phandle", CLOCK_PHANDLE);
        let Platform { uart: start, uart_spi, .. } = self.platform;
        let uart = add(root, self.uart_path());
        set(uart, "compatible", vec!["arm,pl011", "arm,primecell"]);
        set(uart, "reg", reg(&[(start, 0x1000)]));
        set(uart, "interrupts", vec![SPI, u32::from(uart_spi), LEVEL_HIGH]);
        set(uart, "clocks", vec![CLOCK_PHANDLE, CLOCK_PHANDLE]);
        set(uart, "clock-names", vec!["uartclk", "apb_pclk"]);
        let aliases = add(root, "aliases");
        set(aliases, "serial0", &*format!("/{}", self.uart_path()));
    }
}

#[cfg(test)]
mod tests {
    use super::{Gic, Machine, Platform};
    use alloc::vec::Vec;
    use dtoolkit::model::{DeviceTree, DeviceTreeNode};
    use dtoolkit::{Node as _, Property as _};

    fn machine(gic: Gic) -> Machine<'static> {
        Machine {
            name: "editor",
            gic,
            vcpus: 2,
            memory: &[(0x4000_0000, 0x2000_0000)],
            platform: Platform::usual(gic),
            has_console: true,
            cmdline: Some("quiet"),
            initrd: Some((0x4800_0000, 0x1000)),
        }
    }

    /// What a guest reads, from the root.
    fn read(machine: &Machine<'_>) -> DeviceTreeNode {
        let blob = machine.to_dtb();
        DeviceTree::from_fdt(&dtoolkit::fdt::Fdt::new(&blob).unwrap()).root
    }

    fn cells(root: &DeviceTreeNode, path: &[&str], name: &str) -> Vec<u32> {
        let mut node = root;
        for step in path {
            node = node.children().find(|child| child.name() == *step).unwrap();
        }
        let property = node.property(name).unwrap();
        let value = property.value();
        value.as_chunks().0.iter().map(|cell| u32::from_be_bytes(*cell)).collect()
    }

    #[test]
    fn a_guest_reads_where_its_memory_and_its_devices_are() {
        let root = read(&machine(Gic::V3));
        assert_eq!(cells(&root, &["memory@40000000"], "reg"), [0, 0x4000_0000, 0, 0x2000_0000]);
        let gic = cells(&root, &["intc@8000000"], "reg");
        assert_eq!(gic, [0, 0x0800_0000, 0, 0x1_0000, 0, 0x080a_0000, 0, 0x4_0000]);
        assert_eq!(cells(&root, &["pl011@9000000"], "interrupts"), [0, 1, 4]);
        assert_eq!(cells(&root, &["cpus", "cpu@1"], "reg"), [1]);
        assert_eq!(cells(&root, &["chosen"], "linux,initrd-end"), [0, 0x4800_1000]);
        let v2 = read(&machine(Gic::V2));
        assert_eq!(cells(&v2, &["timer"], "interrupts")[..3], [1, 13, 0x304]);
        assert_eq!(cells(&v2, &["intc@8000000"], "reg")[4..], [0, 0x0801_0000, 0, 0x1_0000]);
    }

    #[test]
    fn without_a_console_there_is_no_uart_and_nothing_names_it() {
        let root = read(&Machine { has_console: false, cmdline: None, ..machine(Gic::V2) });
        assert!(root.children().all(|child| !child.name().starts_with("pl011")));
        let chosen = root.children().find(|child| child.name() == "chosen").unwrap();
        assert!(chosen.property("stdout-path").is_none() && chosen.property("bootargs").is_none());
    }

    #[test]
    fn affinities_are_the_hypervisors() {
        for (gic, vcpu, affinity) in
            [(Gic::V2, 7, 7), (Gic::V2, 8, 0x100), (Gic::V3, 15, 15), (Gic::V3, 17, 0x101)]
        {
            assert_eq!(gic.affinity(vcpu), affinity);
        }
    }
}
