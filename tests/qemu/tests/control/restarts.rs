//! The system that makes policy ends, or fails, and its next life goes on.

use shikiri_qemu_tests::Machine;

use super::{converse, file, prompt, with_talk};
use crate::support::{self, Outcome, PATIENCE, Partition};

/// Two guests keep channels to the system that makes policy busy while it is restarted, by the operator and by its own shell: they run
/// on and are told, have in use what they had, and find the services again; what was made at run time is as it was.
pub(super) fn restarted(machine: Machine) -> Outcome {
    let guest = |name: &str| {
        Partition::new(name, "sockets")
            .with("handles = 64\nrequests = 4\nareas = { pages = 16, channels = 2 }")
            .with("cmdline = \"scos=2 traffic=3\"\nautostart = false")
            .with("connect_to = [\"scos\"]\naccept_from = [\"scos\"]")
    };
    let talk = "cmdline = \"service=socket-echo,7\"\nhandles = 64\nrequests = 8\n\
                areas = { pages = 32, channels = 4 }\n\
                connect_to = [\"one\", \"two\"]\naccept_from = [\"one\", \"two\"]";
    let system = support::system([
        guest("one").with("cores = [1]"),
        guest("two").with("cores = [2]"),
        with_talk(Some(&file("traffic.policy")), talk, ""),
    ])?;
    let mut running = system.boot(&machine)?;
    running.wait_for_all(
        &["policyd: worker is made", "one| life 1: answered", "two| life 1: answered"],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    converse(&mut running, &[("part list", "worker   2  active")])?;
    support::open_operator(&mut running)?;
    running.send("restart scos\r")?;
    let second = [
        "one| life 1: told of the end",
        "two| life 1: told of the end",
        "one| life 2: answered",
        "two| life 2: answered",
        "scos| shikiri:/# ",
    ];
    let seen = running.wait_for_all(&second, PATIENCE)?;
    if seen.contains("worker is made") {
        return Err(running.failure("what was made is made again".to_owned()).into());
    }
    running.send("\u{1}3")?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part list", "worker   2  active      1      2M       1"),
            ("part show scos", "started 2 times"),
        ],
    )?;
    running.send("part restart scos\n")?;
    let third = ["one| ok its account", "two| ok its account", "scos| shikiri:/# "];
    let seen = running.wait_for_all(&third, PATIENCE)?;
    if seen.contains("FAIL ") {
        return Err(running.failure("a guest has failed".to_owned()).into());
    }
    prompt(&mut running)?;
    converse(&mut running, &[("part list", "worker   2  active      1      2M       1")])
}

/// The kernel of the system that makes policy panics, and the hypervisor starts it again after a while. In that while a partition ends that the policy
/// wants to run, although it has ended often before; and what was granted to another one stays granted.
pub(super) fn panics(machine: Machine) -> Outcome {
    let asker = Partition::new("asker", "policy")
        .with("handles = 300\nautostart = false\ncmdline = \"wants ports=8\"\ncores = [2]");
    let scos = with_talk(
        Some(&file("panics.policy")),
        "handles = 16\nrestart = { policy = \"on-fault\", delay = \"10s\" }",
        ", event_ports = 20",
    );
    let failing = Partition::new("failing", "crash")
        .with("cores = [1]\nautostart = false\ncmdline = \"crash=read wait_ms=4000\"");
    let mut running = support::system([failing, asker, scos])?.boot(&machine)?;
    running.wait_for("asker| ports 8: granted 8", PATIENCE)?;
    // It lives for four seconds each time.
    for _ in 0..3 {
        running.wait_for(") has ended (code 102): started again in 100ms", PATIENCE)?;
    }
    prompt(&mut running)?;
    // While it lives, just after it was started; it ends long before the system is there again.
    let panic = "echo c > /proc/sysrq-trigger";
    running
        .send(&format!("part wait failing ended 60s; part wait failing active 60s && {panic}\n"))?;
    for line in [
        "scos: KERNEL PANIC",
        "has ended: it ended itself with code 101; it will restart",
        "partition failing (id",
        "has ended: it ended itself with code 102",
    ] {
        running.wait_for(line, PATIENCE)?;
    }
    running.wait_for_all(
        &[
            ") has ended (code 102): started again in 100ms",
            "policyd: goes on with the machine as it is",
            "scos| shikiri:/# ",
        ],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part limit asker event_ports", "| 12"),
            ("part show scos", "started 2 times"),
            ("part wait failing active 60s; echo is=$?", "| is=0"),
        ],
    )
}
