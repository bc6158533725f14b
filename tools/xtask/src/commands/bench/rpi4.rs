//! The rows of the Raspberry Pi 4: the same guests on QEMU's board.

use anyhow::Result;
use shikiri_qemu_tests::{Board, Machine, System, paths, system};

use super::{
    Bench, WITNESSES, among_60, linux_overrides, measured, system_text, with_many_ports, witness,
};
use crate::bench_table::Values;
use crate::commands::setup;
use crate::insn_count::{self, InsnCount};
use crate::process::step;

/// The markers of the table in the document.
pub(super) const TABLE: &str = "bench-rpi4";

/// Rows of `virt` that this board does not have, and why. Names that end with `_v2` are its rows without that ending.
pub(super) const EXEMPT: [(&str, &str); 20] = [
    ("read_gicr_typer", "a GICv2 has no redistributors"),
    ("channel_one_way_1g", ONE_GIGABYTE),
    ("channel_round_trip_1g", ONE_GIGABYTE),
    ("channel_polled_trip_1g", ONE_GIGABYTE),
    ("channel_wfe_trip_1g", ONE_GIGABYTE),
    ("copy_1g", ONE_GIGABYTE),
    ("shared_in_1g", ONE_GIGABYTE),
    ("shared_in_out_1g", ONE_GIGABYTE),
    ("reset_1_core", "it has four cores, always"),
    ("partition_metadata_pages", SAME_IMAGE),
    ("partition_metadata_pages_1g", SAME_IMAGE),
    ("image_read_only_bytes", SAME_IMAGE),
    ("image_writable_bytes", SAME_IMAGE),
    ("largest_stack_frame_bytes", SAME_IMAGE),
    ("deepest_first_stack_bytes", SAME_IMAGE),
    ("deepest_other_stack_bytes", SAME_IMAGE),
    ("image_file_bytes", SAME_IMAGE),
    ("start_clear_mib", SAME_IMAGE),
    ("start_load_mib", SAME_IMAGE),
    ("hypervisor_ram_bytes", "QEMU's own device tree and bundle lie elsewhere"),
];

const ONE_GIGABYTE: &str = "an area of 1 GiB is more than the 960 MiB that QEMU announces";
const SAME_IMAGE: &str = "the same image and records as on virt";

impl Bench {
    /// All rows of this board.
    pub(super) fn rpi4(&self, values: &mut Values) -> Result<()> {
        // The board's device tree comes with the kernel.
        setup::linux()?;
        for name in [
            "bench",
            "events",
            "events-between",
            "switch",
            "channels",
            "scattered",
            "shared",
            "flood-shared",
            "sockets",
            "policy",
        ] {
            operations(values, name, &system_text(name)?)?;
        }
        for name in ["channels", "events-between"] {
            operations(values, &format!("{name} among 60 partitions"), &among_60(name)?)?;
        }
        operations(values, "events with 4,000 ports", &with_many_ports()?)?;
        for (row, name) in WITNESSES {
            let system = System::from_text(&on_this_board(&system_text(name)?))?;
            witness(values, row, &system, counting())?;
        }
        values.retain(|name, _| !EXEMPT.iter().any(|(exempt, _)| exempt == name));
        let reset = System::from_text(&on_this_board(&system_text("reset")?))?;
        self.reset(values, &reset, &counting(), 4)?;
        if self.no_linux {
            return Ok(());
        }
        let system = System::find_on(Board::Rpi4, "linux")?.with(linux_overrides());
        let count = InsnCount::new(&paths::linux_kernel(), insn_count::ON_RPI4)?;
        self.linux(values, &system, &counting(), &count)
    }
}

/// QEMU's board with a clock that counts instructions.
fn counting() -> Machine {
    Machine::rpi4().args(["-global", "cortex-a72-arm-cpu.cntfrq=1000000000"]).icount()
}

/// The single operations of one system.
fn operations(values: &mut Values, name: &str, text: &str) -> Result<()> {
    step(&format!("measuring single operations ({name}, Raspberry Pi 4)"));
    values.extend(measured(&System::from_text(&on_this_board(text))?, &counting())?);
    Ok(())
}

/// A description's text for this board: its `[machine]` says so, and no area is larger than 2 MiB.
fn on_this_board(text: &str) -> String {
    system::on_board(text, Board::Rpi4)
        .replace("giants = 2, ", "")
        .replace("role=bench", "role=bench largest=2m")
        .replace("bench-maker", "bench-maker largest=2m")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doc_table;

    fn rows(table: &str) -> BTreeSet<String> {
        let file = paths::root().join("hyp/doc/spec.md");
        let text = doc_table::read(&file, table).unwrap();
        let name = |line: &str| line.split('|').nth(1).map(|cell| cell.trim().to_owned());
        text.lines().skip(2).filter_map(name).collect()
    }

    #[test]
    fn every_row_of_virt_is_here_or_exempt_by_name() {
        let (virt, ours) = (rows(super::super::TABLE), rows(TABLE));
        let exempt: BTreeSet<_> = EXEMPT.iter().map(|(name, _)| (*name).to_owned()).collect();
        let wanted: BTreeSet<_> =
            virt.iter().map(|name| name.trim_end_matches("_v2").to_owned()).collect();
        assert_eq!(exempt.difference(&wanted).collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(wanted.difference(&exempt).cloned().collect::<BTreeSet<_>>(), ours);
    }

    #[test]
    fn a_description_changes_its_machine_and_its_largest_areas_only() {
        let text = "# C\n\n[machine]\ncores = 2\nmemory = \"3GiB\"\n\n[[partition]]\n\
                    cmdline = \"role=bench peer=1\"\nareas = { pages = 64, giants = 2, channels = 1 }\n";
        assert_eq!(
            on_this_board(text),
            "# C\n\n[machine]\nboard = \"rpi4\"\n\n[[partition]]\n\
             cmdline = \"role=bench largest=2m peer=1\"\nareas = { pages = 64, channels = 1 }\n"
        );
    }
}
