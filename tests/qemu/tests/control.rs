//! A machine that is run from the system control OS: its shell, and its policy program (P1, P7).

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Gic, Machine, Running, System, paths};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, Variant, both_gics};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("control", trials);
    topic.on_each(both_gics(4), "a_partition_of_the_description_is_run_from_the_shell", described);
    topic.on_each(one(), "a_partition_is_made_and_destroyed_from_the_shell", made);
    topic.on_each(one(), "the_shell_says_what_is_wrong_and_nothing_is_left", refused);
    topic.on_each(one(), "the_policy_makes_starts_and_restarts_what_its_file_says", governed);
    topic.on_each(one(), "a_policy_that_is_wrong_is_named_and_the_shell_is_there", wrong_policy);
}

/// Four Cortex-A72 with GICv3.
fn one() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 4, "cortex-a72")]
}

/// The system control OS with the policy capability, with or without a policy; its `[policy]` comes last.
fn scos(policy: Option<&str>) -> Partition {
    let files = policy
        .map_or(String::new(), |file| format!("\nfiles = {{ \"/etc/policy.toml\" = \"{file}\" }}"));
    Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]\nhandles = 16")
        .sized("64MiB")
        .with(&files)
        .with("[policy]\npartition = \"scos\"\npartitions = 4\nimages = [\"timer\", \"crash\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"200%\" }")
        .with("[console]\nfocus = \"scos\"")
}

/// A guest that ticks and does not start by itself.
fn timer() -> Partition {
    Partition::new("timer", "timer").with("cmdline = \"ticks=20\"\ncores = [1]\nautostart = false")
}

fn system(policy: Option<&str>) -> Result<System, Failed> {
    support::system([timer(), scos(policy)])
}

fn boot(machine: &Machine, policy: Option<&str>) -> Result<Running, Failed> {
    let mut running = system(policy)?.boot(machine)?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    Ok(running)
}

/// Types lines, and waits for what follows each and for the next prompt.
fn converse(running: &mut Running, lines: &[(&str, &str)]) -> Outcome {
    for (line, answer) in lines {
        running.send(line)?;
        running.send("\n")?;
        running.wait_for(answer, PATIENCE)?;
        running.wait_for("shikiri:/# ", PATIENCE)?;
    }
    Ok(())
}

fn described(machine: Machine) -> Outcome {
    let mut running = boot(&machine, None)?;
    converse(
        &mut running,
        &[
            ("part list", "timer   -  ended"),
            (
                "part start timer && part wait timer active 60s && part show timer",
                "from the description",
            ),
            ("part pause timer && part wait timer paused 60s && part list", "timer   2  paused"),
            ("part resume timer && part wait timer active 60s; echo is=$?", "| is=0"),
            ("part limit timer memory 8M && part limit timer memory", "| 8M"),
            ("acct timer", "memory                8M    4M"),
            ("part end timer; part wait timer ended 60s; part list", "timer   2  ended"),
            ("acct timer", "memory                8M    0K"),
            ("part restart timer; part wait timer active 60s; part list", "timer   3  active"),
        ],
    )
}

fn made(machine: Machine) -> Outcome {
    let mut running = boot(&machine, None)?;
    converse(
        &mut running,
        &[
            ("part images", "| crash"),
            ("part create w image=timer memory=2M cores=3 console=yes", "w has the id"),
            ("part list", "w       2  created"),
            ("acct -h", "memory               16M    2M"),
            ("part start w; part wait w active 60s; part list", "w       2  active"),
        ],
    )?;
    running.wait_for("w| timer: tick 1", PATIENCE)?;
    converse(
        &mut running,
        &[
            ("part end w; part wait w ended 60s; part destroy w; echo is=$?", "| is=0"),
            ("part list || true", "timer   -  ended"),
            ("acct -h", "memory               16M    0K"),
        ],
    )
}

fn refused(machine: Machine) -> Outcome {
    let mut running = boot(&machine, None)?;
    converse(
        &mut running,
        &[
            ("part create a image=none memory=2M cores=3", "there is no image `none`; there are"),
            (
                "part create a image=timer memory=32M cores=3",
                "over what may be handed out of memory",
            ),
            (
                "part create a image=timer memory=2M cores=0",
                "over what these cores have left, 0% at most",
            ),
            ("part create timer image=timer memory=2M cores=3", "create: exists"),
            ("part start ghost", "there is no partition `ghost`; there are"),
            ("part resume timer", "resume: wrong state"),
            ("part destroy timer", "destroy: bad argument"),
            ("part wait timer active 50ms", "timer is ended and not active after 50ms"),
            ("acct -h", "memory               16M    0K"),
            ("part list && echo whole", "| whole"),
        ],
    )
}

/// A policy beside the tests' systems.
fn file(name: &str) -> String {
    paths::root().join("tests/qemu/systems").join(name).display().to_string()
}

fn governed(machine: Machine) -> Outcome {
    let mut running = system(Some(&file("control.policy")))?.boot(&machine)?;
    // In the order of its conditions; what fails is started again, further and further apart, and then no more.
    for line in [
        "policyd: worker is made (id 2)",
        "timer| timer: ",
        "policyd: worker (id 2) has ended (code 102): started again in 100ms",
        "policyd: worker (id 4) has ended (code 102): started again in 200ms",
        "policyd: worker (id 5) has ended (code 102) too often: it stays so",
    ] {
        running.wait_for(line, PATIENCE)?;
    }
    running.send("\n")?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    converse(&mut running, &[("part list", "worker   5  ended")])
}

fn wrong_policy(machine: Machine) -> Outcome {
    let mut running = system(Some(&file("wrong.policy")))?.boot(&machine)?;
    running.wait_for("there is no [[partition]] `nobody` in the policy", PATIENCE)?;
    running.wait_for("init: the policy program has ended: Exit(2)", PATIENCE)?;
    running.send("\n")?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    converse(&mut running, &[("part list", "timer   -  ended")])
}
