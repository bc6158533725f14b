//! vCPUs that run on several cores over time. P5.

use libtest_mimic::Trial;
use shikiri_qemu_tests::{Machine, counts};

use crate::support::{
    self, Outcome, PATIENCE, Partition, Topic, all_kinds, both_gics, open_operator, operate,
    operator, system,
};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("moving", trials);
    topic
        .on_each(both_gics(3), "a_vcpu_gets_elsewhere_what_its_busy_home_cannot_give", progress)
        .on_each(both_gics(3), "a_deadline_is_kept_by_another_core", deadlines)
        .also_on_rpi4()
        .on_each(all_kinds(2), "registers_survive_every_move", registers)
        .on_each(both_gics(2), "sgis_find_a_vcpu_wherever_it_is", sgis)
        .not_on_rpi4(crate::guests::NO_CLOCK)
        .on_each(both_gics(3), "spis_follow_a_vcpu_wherever_it_is", spis)
        .on_each(both_gics(2), "vcpus_turn_off_and_on_wherever_they_are", power)
        .on_each(both_gics(2), "a_partition_ends_wherever_its_vcpus_are", ends)
        .on_each(both_gics(3), "an_end_does_not_wait_for_a_vcpu_that_is_elsewhere", prompt_end)
        .on_each(all_kinds(3), "a_hostile_guest_that_moves_stops_nobody", hostile);
    topic.slow();
    topic.not_on_rpi4(crate::guests::NO_CLOCK);
    topic.on_each(both_gics(2), "a_devices_interrupts_follow_a_linux_that_moves", clock);
}

/// A vCPU with a reservation, its home, and the cores where it may run.
fn vcpu(
    partition: Partition,
    cores: &str,
    (budget, period): (&str, &str),
    priority: u8,
) -> Partition {
    partition.with("[[partition.vcpu]]").with(&format!(
        "cores = {cores}\nhome = 0\nbudget = \"{budget}\"\nperiod = \"{period}\"\npriority = {priority}"
    ))
}

/// Takes core 0 for 60 of every 100 ms, before everybody else.
fn spinner() -> Partition {
    vcpu(Partition::new("spin", "spin"), "[0]", ("60ms", "100ms"), 9)
}

/// Keeps both cores restless: core 0 is taken for 1 of every 3 ms, and core 1 for a moment in each.
fn restless() -> [Partition; 2] {
    let pulse = Partition::new("pulse", "witness")
        .with("cmdline = \"reports=0 report_ms=1000000\"")
        .with("cores = [1]")
        .with("share = { budget = \"1ms\", period = \"4ms\", priority = 9 }");
    [vcpu(Partition::new("spin", "spin"), "[0]", ("1ms", "3ms"), 9), pulse]
}

/// Under `-icount` QEMU lets one core run until some core's next timer; this one's on core 2, every 50 µs, makes
/// the cores take turns.
fn metronome() -> Partition {
    Partition::new("metronome", "witness")
        .with("cmdline = \"period_us=50 reports=0 report_ms=1000000\"")
        .with("cores = [2]")
}

/// 4 of every 10 ms are reserved. At home they are not to be had while the spinner runs: 16 % of the time is left there.
/// With a second core it is the whole reservation, and not more: 40 % of the time, of which 24 % at half speed, because
/// both cores run then.
fn progress(machine: Machine) -> Outcome {
    for (cores, limits) in
        [("[0]", "min_ppm=130000 max_ppm=160000"), ("[0, 1]", "min_ppm=190000 max_ppm=280000")]
    {
        let roam = Partition::new("roam", "roam").with(&format!("cmdline = \"{limits}\""));
        let roam = vcpu(roam, cores, ("4ms", "10ms"), 0);
        let system = system([roam, spinner(), metronome()])?;
        let mut running = system.boot(&machine.clone().icount())?;
        let console = running.wait_for("roam| done", PATIENCE)?;
        support::approve(&console)?;
    }
    Ok(())
}

/// It sleeps until its timer; when that is due its home is busy for up to 60 ms, and it runs elsewhere at once.
fn deadlines(machine: Machine) -> Outcome {
    let witness = Partition::new("sleeper", "witness")
        .with("cmdline = \"period_us=5000 reports=1 report_ms=1000 limit_us=50\"");
    let sleeper = vcpu(witness, "[0, 1]", ("2ms", "10ms"), 0);
    let mut running = system([sleeper, spinner(), metronome()])?.boot(&machine.icount())?;
    let console = running.wait_for("sleeper| done", PATIENCE)?;
    support::approve(&console)
}

fn registers(machine: Machine) -> Outcome {
    let regs = |name: &str| {
        let regs = Partition::new(name, "regs").with("cmdline = \"ms=1500\"");
        vcpu(regs, "[0, 1]", ("3ms", "10ms"), 0)
    };
    let mut partitions = vec![regs("one"), regs("other")];
    partitions.extend(restless());
    let mut running = system(partitions)?.boot(&machine)?;
    let mut console = running.wait_for("| done", PATIENCE)?;
    console.push_str(&running.wait_for("| done", PATIENCE)?);
    support::approve(&console)
}

fn sgis(machine: Machine) -> Outcome {
    ["sgis_reach_every_other_vcpu", "sgis_between_all_at_once_are_not_lost"]
        .into_iter()
        .try_for_each(|case| shared_guest(&machine, "irq", &format!("case={case}"), restless()))
}

/// These cases give another vCPU a number of instructions of time, not of the host's time.
fn spis(machine: Machine) -> Outcome {
    let cases = [
        "an_spi_is_rerouted_while_pending",
        "pending_at_another_vcpu_is_seen_and_taken_back",
        "disabling_reaches_another_vcpu",
    ];
    let machine = machine.icount();
    cases.into_iter().try_for_each(|case| {
        let [spin, pulse] = restless();
        let others = [spin, pulse, metronome()];
        shared_guest(&machine, "irq", &format!("case={case}"), others)
    })
}

fn power(machine: Machine) -> Outcome {
    shared_guest(&machine, "psci", "", restless())
}

/// A test guest with three vCPUs, all at home on core 0, that may run on core 1 too.
fn shared_guest<const N: usize>(
    machine: &Machine,
    image: &str,
    words: &str,
    others: [Partition; N],
) -> Outcome {
    let guest = Partition::new(image, image).with(&format!("cmdline = \"{words}\""));
    let guest = (0..3).fold(guest, |guest, _| vcpu(guest, "[0, 1]", ("2ms", "10ms"), 0));
    let mut running = system([guest].into_iter().chain(others))?.boot(machine)?;
    let console = running.wait_for(&format!("{image}| done"), PATIENCE)?;
    support::approve(&console)
}

/// Of three spinning vCPUs with their home on core 0 two are elsewhere when the partition ends, again and again.
fn ends(machine: Machine) -> Outcome {
    let roam = (0..3).fold(
        Partition::new("roam", "roam").with("cmdline = \"end_ms=15\"").with("restart = \"always\""),
        |roam, _| vcpu(roam, "[0, 1]", ("2ms", "10ms"), 0),
    );
    let [spin, pulse] = restless();
    let mut running = system([roam, spin, pulse])?.boot(&machine)?;
    for _ in 0..counts::RESTARTS.now() {
        running.wait_for("roam: 3 vCPUs, and the end", PATIENCE)?;
    }
    open_operator(&mut running)?;
    operator(&mut running, "dump roam")?;
    operate(&mut running, "stop roam", "stopped by the operator")?;
    super::lifecycle::nothing_is_used(&mut running, "roam")
}

/// A vCPU spins on core 1 with 300 ms of budget left when another, at home, ends the partition: that takes the
/// milliseconds that it takes, not 300 of them. So the partition comes back again and again within a second.
fn prompt_end(machine: Machine) -> Outcome {
    let roam = Partition::new("roam", "roam")
        .with("cmdline = \"end_ms=15\"")
        .with("restart = { policy = \"always\", delay = \"1ms\" }");
    let roam = (0..3).fold(roam, |roam, _| vcpu(roam, "[0, 1]", ("300ms", "1s"), 0));
    let witness = Partition::new("clock", "witness")
        .with("cmdline = \"period_us=50 reports=1 report_ms=1000\"")
        .with("cores = [2]");
    let mut running = system([roam, witness])?.boot(&machine.icount())?;
    let console = running.wait_for("clock| done", PATIENCE)?;
    let ends = console.matches("ended itself with code 9").count();
    if ends < 10 {
        return Err(running.failure(format!("only {ends} ends in a second")).into());
    }
    Ok(())
}

/// Its vCPUs are all over cores 0 and 1, beside others that come and go there; core 2 is the witness's.
fn hostile(machine: Machine) -> Outcome {
    let (seed, steps) = (counts::seed(), counts::hostile_steps());
    let words = format!("shared seed={seed} steps={steps}");
    let hostile = Partition::new("hostile", "hostile").with(&format!("cmdline = \"{words}\""));
    let hostile = (0..2).fold(hostile, |it, _| vcpu(it, "[0, 1]", ("3ms", "10ms"), 0));
    let witness = Partition::new("witness", "witness").with("cores = [2]");
    let [spin, pulse] = restless();
    let mut running = system([hostile, witness, spin, pulse])?.boot(&machine)?;
    let patience = if counts::is_soak() { PATIENCE * 60 } else { PATIENCE * 2 };
    let mut console = String::new();
    // In either order, and however they end, so that nobody waits for the last word of one that has faulted.
    for _ in 0..2 {
        console.push_str(&running.wait_for(") has ended: ", patience)?);
    }
    if console.matches("| done").count() != 2 {
        return Err(running.failure("one of them did not come to its end".into()).into());
    }
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    support::approve(&console)
}

/// The clock's interrupt comes to the home core of the vCPU that it is routed to, which may be elsewhere.
fn clock(machine: Machine) -> Outcome {
    let linux = Partition::linux("linux", "quiet shikiri.script=rtc")
        .with("devices = [\"/pl031@9010000\"]");
    let linux = vcpu(linux, "[0, 1]", ("6ms", "10ms"), 0);
    let [spin, pulse] = restless();
    let mut running = system([linux, spin, pulse])?.boot(&machine)?;
    running.wait_for("linux| shikiri-linux: script rtc passed", PATIENCE)?;
    Ok(())
}
