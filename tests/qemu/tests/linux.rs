//! Unmodified Debian Linux. P2, V1, V2, V3.

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::system::on_board;
use shikiri_qemu_tests::{Gic, Machine, System, counts};

use crate::lifecycle::{nothing_is_used, wait_until_stopped};
use crate::support::{
    Outcome, PATIENCE, Partition, Topic, Variant, audit, both_gics, open_operator, operator,
    system, unlike,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("linux", trials);
    topic.also_on_rpi4().on_each(both_gics(1), "a_shell_answers_and_powers_off", shell);
    topic.on_each(both_gics(1), "random_numbers_are_there_from_the_start", random);
    topic.slow();
    topic.on_each(
        vec![
            Variant::new(Gic::V3, 2, "max"),
            Variant::new(Gic::V2, 1, "max"),
            Variant::new(Gic::V3, 2, "neoverse-n1"),
        ],
        "a_shell_answers_and_powers_off",
        shell,
    );
    topic.on_each(both_gics(1), "all_scripts_pass", scripts);
    topic.on_each(vec![Variant::new(Gic::V3, 2, "cortex-a72")], "all_scripts_pass", scripts);
    // Hotplug, sleeps and load, also with all that a core of QEMU's can have.
    topic.on_each(unlike(4), "all_scripts_pass", scripts);
    topic.on_each(both_gics(1), "sleeps_are_exact", sleeps);
    topic.on_each(unlike(4), "sleeps_are_exact", sleeps);
    topic
        .on_each(both_gics(4), "two_run_at_once", two)
        .on_each(both_gics(2), "one_does_not_notice_a_neighbour_that_crashes", beside_crashes)
        .on_each(both_gics(2), "two_vcpus_share_their_cores_with_others", shared)
        .not_on_rpi4(crate::guests::NO_CLOCK)
        .on_each(both_gics(2), "a_passed_through_clock_interrupts_with_its_number", clock);
}

/// With a thread per core, guests' clocks are the host's, and a loaded host makes sleeps late; how exact they
/// are is measured by `sleeps`.
const LATE_ON_A_BUSY_HOST: &str = "shikiri.late_ms=120000";

/// Linux with as many vCPUs as the machine has cores.
fn linux(name: &str, vcpus: u32, words: &str) -> Partition {
    Partition::linux(name, words).with(&format!("cores = {vcpus}"))
}

fn shell(machine: Machine) -> Outcome {
    let mut running = system([linux("linux", machine.cpu_count(), "quiet")])?.boot(&machine)?;
    running.wait_for("shikiri-linux: ready", PATIENCE)?;
    running.wait_for("# ", PATIENCE)?;
    running.send("echo $((6 * 7)) of $(nproc)\n")?;
    running.wait_for(&format!("42 of {}", machine.cpu_count()), PATIENCE)?;
    running.send("poweroff\n")?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// As with `cargo xtask run`. Without a seed every system call of a newer kernel takes the generator's lock, for minutes.
fn random(machine: Machine) -> Outcome {
    let system = system([linux("linux", machine.cpu_count(), "")])?.seeded();
    let mut running = system.boot(&machine)?;
    running.wait_for("random: crng init done", PATIENCE)?;
    // Before the kernel has looked for anything that could give it numbers.
    running.wait_for("Machine model: Shikiri partition linux", PATIENCE)?;
    running.wait_for("shikiri-linux: ready", PATIENCE)?;
    Ok(())
}

fn scripts(machine: Machine) -> Outcome {
    let seconds = counts::LOAD_SECONDS.now();
    let words = format!("quiet shikiri.script=all shikiri.seconds={seconds} {LATE_ON_A_BUSY_HOST}");
    let mut running = system([linux("linux", machine.cpu_count(), &words)])?.boot(&machine)?;
    running.wait_for("shikiri-linux: script all passed", PATIENCE * 3)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

/// Under `-icount` time is instructions: a sleep that is late is late by the hypervisor, not by the host.
fn sleeps(machine: Machine) -> Outcome {
    let words = "quiet shikiri.script=sleep shikiri.late_ms=30";
    let machine = machine.icount();
    let mut running = system([linux("linux", machine.cpu_count(), words)])?.boot(&machine)?;
    running.wait_for("shikiri-linux: script sleep passed", PATIENCE * 2)?;
    running.wait_for_power_off(PATIENCE)?;
    Ok(())
}

fn two(machine: Machine) -> Outcome {
    let mut running = shipped("two-linux", &machine)?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE * 3)?;
    for name in ["left", "right"] {
        if !has(&console, &format!("{name}| shikiri-linux: script all passed")) {
            return Err(running.failure(format!("{name} did not pass")).into());
        }
    }
    Ok(())
}

/// While Linux works the neighbour faults, is reported and starts again, each time under a new id; afterwards the books agree.
fn beside_crashes(machine: Machine) -> Outcome {
    const CRASHES: usize = 20;
    let crash = Partition::new("crash", "crash")
        .with("cmdline = \"crash=vectors\"")
        .with("restart = { policy = \"always\", delay = \"20ms\" }");
    let words = &format!("quiet shikiri.script=all shikiri.seconds=5 {LATE_ON_A_BUSY_HOST}");
    let mut running = system([linux("linux", 1, words), crash])?.boot(&machine)?;
    let console = running.wait_for("linux| shikiri-linux: script all passed", PATIENCE * 3)?;
    let reported = ids(&console, "ended: unexpected exit");
    let ended = ids(&console, "has ended: it faulted; it will restart");
    // What Linux was waited for may have come between the two.
    let is_same = reported.starts_with(&ended) && reported.len() <= ended.len() + 1;
    if ended.len() < CRASHES || !ended.is_sorted_by(|one, next| one < next) || !is_same {
        let what = format!("lives that were reported: {reported:?}, and that ended: {ended:?}");
        return Err(running.failure(what).into());
    }
    if console.contains("did not fit") {
        return Err(running.failure("reports have taken the line".into()).into());
    }
    running.wait_for("partition linux (id 1) has ended", PATIENCE)?;
    open_operator(&mut running)?;
    operator(&mut running, "stop crash")?;
    wait_until_stopped(&mut running, "crash")?;
    audit(&mut running)?;
    nothing_is_used(&mut running, "crash")
}

/// The ids of the lives of `crash` of which the hypervisor has said so.
fn ids(console: &str, what: &str) -> Vec<u32> {
    let said = console.split("shikiri: partition crash (id ").skip(1);
    said.filter_map(|line| line.split_once(") ")?.1.starts_with(what).then_some(line))
        .filter_map(|line| line.split_once(')')?.0.parse().ok())
        .collect()
}

/// A system that comes with the repository, whose Linux goes through all scripts.
fn shipped(name: &str, machine: &Machine) -> Result<System, Failed> {
    const WORDS: &str = "cmdline = \"console=ttyAMA0";
    let text = std::fs::read_to_string(System::find(name)?.file())?;
    let scripts = format!(" quiet shikiri.script=all shikiri.seconds=5 {LATE_ON_A_BUSY_HOST}");
    let text = text.replace(WORDS, &format!("{WORDS}{scripts}"));
    Ok(System::from_text(&on_board(&text, machine.board()))?)
}

fn shared(machine: Machine) -> Outcome {
    let mut running = shipped("shared-core", &machine)?.boot(&machine)?;
    running.wait_for("linux| shikiri-linux: script all passed", PATIENCE * 4)?;
    Ok(())
}

/// The PL031 has SPI 2, which Linux shows as hardware interrupt 34.
fn clock(machine: Machine) -> Outcome {
    let linux =
        linux("linux", 1, "quiet shikiri.script=rtc").with("devices = [\"/pl031@9010000\"]");
    let mut running = system([linux])?.boot(&machine)?;
    let shown = running.wait_for("shikiri-linux: script rtc passed", PATIENCE)?;
    let line = shown.lines().find(|line| line.contains("rtc-pl031")).unwrap_or_default();
    if line.split_whitespace().any(|word| word == "34") {
        return Ok(());
    }
    Err(running.failure(format!("not hardware interrupt 34: {line}")).into())
}
