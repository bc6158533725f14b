//! Devices that master the bus: what they see of memory, and what they write after their partition's end.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use dtoolkit::Node as _;
use dtoolkit::model::DeviceTreeNode;
use libtest_mimic::Failed;
use shikiri_qemu_tests::{Machine, paths};

use super::Tree;
use crate::support::{self, Outcome, PATIENCE, Partition, system};

/// Below /soc a master sees memory at 0xc0000000.
pub(super) fn bus_master() -> Outcome {
    let linux = Partition::linux("linux", "quiet")
        .with_memory("{ size = \"256MiB\", at = 0x1000_0000, ipa = 0x1000_0000 }")
        .with("devices = [{ path = \"/soc/usb@7e980000\", dma = \"trusted\" }]");
    let mut running = system([linux])?.boot(&Machine::rpi4())?;
    running.wait_for("partition linux is trusted with DMA by /soc/usb@7e980000", PATIENCE)?;
    running.wait_for("# ", PATIENCE)?;
    running.send("echo $(hexdump -ve '1/1 \"%02x\"' /proc/device-tree/bus-0/dma-ranges)\n")?;
    running.wait_for("00000000c000000000000000000000000000000040000000", PATIENCE)?;
    running.send("poweroff\n")?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// A partition at IPA = PA that is trusted with these devices of /soc, each named by the end of its path.
fn trusted(devices: &[&str], words: &str) -> Result<Partition, Failed> {
    let device = |end: &&str| {
        Ok::<_, Failed>(format!("{{ path = \"{}\", dma = \"trusted\" }}", below_soc(end)?))
    };
    let devices: Vec<String> = devices.iter().map(device).collect::<Result<_, _>>()?;
    let partition = Partition::new("dma", "dma")
        .with_memory("{ size = \"4MiB\", at = 0x1000_0000, ipa = 0x1000_0000 }")
        .with(&format!("devices = [{}]", devices.join(", ")))
        .with(&format!("cmdline = \"{words}\""));
    Ok(partition)
}

/// The path of the node at this bus address; its name changes from kernel to kernel.
fn below_soc(address: &str) -> Result<String, Failed> {
    let tree = Tree::new()?;
    let soc = tree.0.root.child("soc").ok_or("there is no /soc")?;
    let is_it = |node: &&DeviceTreeNode| node.name().ends_with(&format!("@{address}"));
    let node = soc.children().find(is_it).ok_or_else(|| format!("nothing is at {address}"))?;
    Ok(format!("/soc/{}", node.name()))
}

/// The engine sees memory at 0xc0000000. It reads a neighbour's as well: nothing but trust is between them, and the boot report
/// says so.
pub(super) fn dma_engine() -> Outcome {
    let engine = trusted(&["7e007000"], "others=0x11080000")?;
    let neighbour =
        Partition::new("neighbour", "witness").with_memory("{ size = \"4MiB\", at = 0x1100_0000 }");
    let neighbour = neighbour.with("cmdline = \"reports=1 report_ms=100\"");
    let mut running = system([engine, neighbour])?.boot(&Machine::rpi4())?;
    running.wait_for("partition dma is trusted with DMA by /soc/dma", PATIENCE)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    support::approve(&console)?;
    if console.matches("dma| ok ").count() == 4 {
        return Ok(());
    }
    Err(running.failure("not all cases ran".into()).into())
}

/// The guest leaves its USB controller waiting for a key and ends. The key comes then: it is written where the guest has said, to
/// frames that no other partition can have, until the same one starts again, and finds them cleared.
pub(super) fn writes_after_the_end() -> Outcome {
    let scratch = tempfile::tempdir_in(paths::scratch())?;
    let socket = scratch.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let machine = Machine::rpi4().args(["-device", "usb-kbd,port=1", "-monitor", &monitor]);
    let other = Partition::new("other", "spin");
    let mut running = system([trusted(&["7e980000"], "arms")?, other])?.boot(&machine)?;
    running.wait_for("partition dma is trusted with DMA by /soc/usb", PATIENCE)?;
    let mut monitor = Monitor::new(&socket)?;
    // The other one has the id 2.
    for id in [1, 3, 4] {
        running.wait_for("the key goes to 0x", PATIENCE)?;
        let address = running.wait_for(".", PATIENCE)?;
        let page = u64::from_str_radix(address.trim_end_matches('.'), 16)?;
        let ended = format!("partition dma (id {id}) has ended");
        if !running.console().text().contains(&ended) {
            running.wait_for(&ended, PATIENCE)?;
        }
        if id == 1 {
            support::open_operator(&mut running)?;
        }
        support::audit(&mut running)?;
        let before = monitor.bytes(page)?;
        if before != [0xa5; 16] {
            return Err(running.failure(format!("{before:x?} before the key")).into());
        }
        monitor.ask("sendkey a")?;
        let end = Instant::now() + PATIENCE;
        // A keyboard's report: no modifiers, the key that is down ("a" is 4 in the usage table). What follows is as it was.
        let wanted = [[0, 0, 4, 0, 0, 0, 0, 0], [0xa5; 8]].concat();
        while monitor.bytes(page)? != wanted {
            if Instant::now() > end {
                return Err(running.failure(format!("{:x?}", monitor.bytes(page)?)).into());
            }
        }
        let answer = support::audit(&mut running)?;
        if !answer.contains("1 compared, 1 ended and without frames") {
            return Err(running.failure(answer).into());
        }
        if id < 4 {
            running.send("start dma\r")?;
        }
    }
    support::approve(&running.console().text())
}

/// QEMU's monitor.
struct Monitor(UnixStream);

impl Monitor {
    const PROMPT: &str = "(qemu) ";

    fn new(socket: &Path) -> Result<Self, Failed> {
        let mut monitor = Self(UnixStream::connect(socket)?);
        monitor.0.set_read_timeout(Some(PATIENCE))?;
        monitor.answer()?;
        Ok(monitor)
    }

    fn ask(&mut self, command: &str) -> Result<String, Failed> {
        writeln!(self.0, "{command}")?;
        self.answer()
    }

    /// Sixteen bytes of the machine's memory.
    fn bytes(&mut self, address: u64) -> Result<Vec<u8>, Failed> {
        let text = self.ask(&format!("xp /16xb {address:#x}"))?;
        // Behind the line that was typed, lines of `ADDRESS: 0x00 0x00`.
        let words = text.lines().skip(1).filter_map(|line| line.split_once(": "));
        let bytes = words.flat_map(|(_, bytes)| bytes.split_whitespace());
        Ok(bytes.filter_map(|byte| u8::from_str_radix(byte.get(2..)?, 16).ok()).collect())
    }

    /// All up to the next prompt.
    fn answer(&mut self) -> Result<String, Failed> {
        let mut text = String::new();
        let mut bytes = [0; 256];
        while !text.ends_with(Self::PROMPT) {
            let count = self.0.read(&mut bytes)?;
            let bytes = bytes.get(..count).filter(|bytes| !bytes.is_empty());
            text += &String::from_utf8_lossy(bytes.ok_or("the monitor is gone")?);
        }
        Ok(text)
    }
}
