//! The test guests, each alone in a partition with cores of its own: what they check from inside.
//! P1, P4, V2, V3.

use libtest_mimic::Trial;
use shikiri_qemu_tests::console::{has, times};
use shikiri_qemu_tests::{Board, Failure, Gic, Machine};

use crate::support::{
    self, Outcome, PATIENCE, Partition, Topic, Variant, all_kinds, both_gics, each_kind, system,
};

/// Each test guest and the numbers of vCPUs that it is run with.
const GUESTS: [(&str, &[u32]); 6] = [
    ("calls", &[1]),
    ("irq", &[1, 2, 4]),
    ("psci", &[1, 2, 4]),
    ("regs", &[1, 2]),
    ("runtime", &[1, 2]),
    ("timers", &[1, 2]),
];

/// Why tests of a device's interrupts are not the Pi's: its own are in the topic `rpi4`.
pub(crate) const NO_CLOCK: &str = "it has no PL031";

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("guests", trials);
    for (guest, vcpus) in GUESTS {
        for count in vcpus.iter().copied() {
            if vcpus.last() == Some(&count) {
                topic.also_on_rpi4();
            }
            // With several vCPUs those of which one reaches another.
            let is_on_each = vcpus.first() == Some(&count) || matches!(guest, "irq" | "psci");
            let kinds = if is_on_each { each_kind(count) } else { all_kinds(count) };
            topic.on_each(kinds, &format!("{guest}_passes"), move |machine| {
                alone(guest, count, &machine)
            });
        }
    }
    topic.also_on_rpi4().on_each(each_kind(2), "probe_passes", isolated);
    topic.also_on_rpi4().on_each(
        all_kinds(3),
        "performance_monitors_are_the_owners_alone",
        performance_monitors,
    );
    topic.not_on_rpi4(NO_CLOCK).on_each(
        all_kinds(3),
        "an_owned_interrupt_comes_to_the_vcpu_it_is_routed_to",
        clock,
    );
    topic.not_on_rpi4("it has no fw_cfg").on_each(
        all_kinds(2),
        "an_abort_of_the_bus_comes_back_to_who_caused_it",
        moderated,
    );
    topic.on_each(both_gics(1), "a_walk_by_set_and_way_cleans_memory_once_for_each_level", walks);
    let eight = |gic| vec![Variant::new(gic, 8, "cortex-a72")];
    topic.slow();
    for guest in ["irq", "psci"] {
        for gic in [Gic::V2, Gic::V3] {
            topic.on_each(eight(gic), &format!("{guest}_passes_on_eight_cores"), move |machine| {
                alone(guest, 8, &machine)
            });
        }
    }
}

/// Who has them finds them new at each of three starts; a neighbour on the third core reads zero all the while.
fn performance_monitors(machine: Machine) -> Outcome {
    let owner =
        Partition::new("owner", "pmu").with("cores = [0, 1]\npmu = true\ncmdline = \"starts=3\"");
    let neighbour = Partition::new("neighbour", "regs")
        .with("cores = [2]")
        .with("cmdline = \"case=debug_and_pmu_registers_read_zero_and_ignore_writes then=stay\"");
    let mut running = system([owner, neighbour])?.boot(&machine)?;
    for start in 1..3 {
        running.wait_for(&format!("owner| pmu: start {start} ends"), PATIENCE)?;
    }
    running.wait_for("owner| done", PATIENCE)?;
    // In whichever order the two come to their end.
    if !has(&running.console().text(), "neighbour| done") {
        running.wait_for("neighbour| done", PATIENCE)?;
    }
    let console = running.console().text();
    support::approve(&console)?;
    let counted = console.matches("owner| ok each_vcpu_has_its_own").count();
    if counted == 3 && has(&console, "neighbour| ok debug_and_pmu") {
        return Ok(());
    }
    Err(running.failure("not all cases ran".into()).into())
}

/// A walk over an A72's 16,896 lines with 64 MiB of memory. Counted instructions tell which of its operations have cleaned.
fn walks(machine: Machine) -> Outcome {
    let walks = Partition::new("walks", "walks").sized("64MiB").with("cores = 1");
    support::passes(&system([walks])?, &machine.icount())?;
    Ok(())
}

fn alone(guest: &str, vcpus: u32, machine: &Machine) -> Outcome {
    // The run-time's own guest has event ports, too.
    let handles = if guest == "runtime" { "handles = 4" } else { "" };
    let partition = Partition::new(guest, guest).with(&format!("cores = {vcpus}")).with(handles);
    support::passes(&system([partition])?, machine)?;
    Ok(())
}

/// The probe has an abort from every address that is not its own, and changes nothing by asking: all books agree while its
/// tables are still there, and when it is gone. Its own memory lies far above the board's in its address space, so that all
/// physical addresses of RAM are among what it touches: each 2 MiB of it, the 8 MiB around the hypervisor's image and its tables
/// more closely, and its neighbour's memory, whose place the description says. The neighbour finds in it what it has put there.
fn isolated(machine: Machine) -> Outcome {
    let (place, ranges) = match machine.board() {
        Board::QemuVirt => (0x6000_0000, "40000000-80000000/200000,40200000-40a00000/8000"),
        // Without the addresses of its virtual devices, which are RAM there.
        Board::Rpi4 => {
            (0x2000_0000, "200000-a00000/8000,a00000-8000000/200000,10000000-3c000000/200000")
        }
    };
    let victims =
        (0..4).map(|mib| format!("{:x}", place + (mib << 20) + 0xffc0)).collect::<Vec<_>>();
    let words = format!("then=stay at={} ram={ranges}", victims.join(","));
    let probe = Partition::new("probe", "probe")
        .with_memory("{ size = \"4MiB\", ipa = 0x2_0000_0000 }")
        .with(&format!("autostart = false\ncmdline = \"{words}\""));
    let victim = Partition::new("victim", "probe")
        .with_memory(&format!("{{ size = \"4MiB\", at = {place:#x} }}"))
        .with("cmdline = \"role=victim\"");
    let mut running = support::system([probe, victim])?.boot(&machine)?;
    let unchanged = "victim| ok all_is_as_it_was_filled";
    running.wait_for(unchanged, PATIENCE)?;
    support::open_operator(&mut running)?;
    support::operate(&mut running, "start probe", "probe| done")?;
    support::audit(&mut running)?;
    support::operate(&mut running, "stop probe", "partition probe (id 2) has ended")?;
    support::audit(&mut running)?;
    // The second has begun behind the last access.
    for _ in 0..2 {
        running.wait_for(unchanged, PATIENCE)?;
    }
    let console = running.console().text();
    support::approve(&console)?;
    // A line for each, so that none was left out.
    let lines = times(&console, "is not ours") + times(&console, "is ours, each");
    if lines == victims.len() + ranges.split(',').count() {
        return Ok(());
    }
    Err(running.failure(format!("{lines} of the named places were probed")).into())
}

/// Two vCPUs at home on cores 1 and 2 own the board's clock (SPI 2): no part of its way is core 0's or vCPU 0's by
/// chance.
fn clock(machine: Machine) -> Outcome {
    let other = Partition::new("other", "hello").with("cores = [0]");
    let clock = Partition::new("clock", "clock")
        .with("cores = [1, 2]")
        .with("devices = [\"/pl031@9010000\"]");
    let console = support::passes(&support::system([other, clock])?, &machine)?;
    let alarms = times(&console, "ok the_alarm_comes_once");
    if alarms == 3 {
        Ok(())
    } else {
        Err(Failure::new(format!("{alarms} alarms"), &console).into())
    }
}

/// A guest whose device does not fill its page, and one beside it.
fn moderated(machine: Machine) -> Outcome {
    let guest = Partition::new("moderated", "moderated")
        .with("devices = [{ path = \"/fw-cfg@9020000\", dma = \"none\" }]");
    let witness =
        Partition::new("witness", "witness").with("cmdline = \"reports=1 report_ms=100\"");
    support::passes(&support::system([guest, witness])?, &machine)?;
    Ok(())
}
