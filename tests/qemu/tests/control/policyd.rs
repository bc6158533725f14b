//! The policy program by its file: what it makes, starts, grants and forbids.

use shikiri_qemu_tests::Machine;

use super::{converse, file, prompt, scos, timer, with_talk};
use crate::support::{self, Outcome, PATIENCE, Partition, control_os};

pub(super) fn governed(machine: Machine) -> Outcome {
    let clock = Partition::new("clock", "crash")
        .with("devices = [\"/pl031@9010000\"]\nautostart = false\ncores = [3]")
        .with("share = { budget = \"2ms\", period = \"10ms\" }");
    let system = support::system([timer(), clock, scos(Some(&file("control.policy")))])?;
    let mut running = system.boot(&machine)?;
    // In the order of its conditions; what fails is started again, further and further apart, and then no more.
    running.wait_for("policyd: worker is made (id 2)", PATIENCE)?;
    // The timer runs before the worker does; its first line may be late all the same.
    let lines = [
        "timer| timer: ",
        "policyd: worker (id 2) has ended (code 102): started again in 100ms",
        "policyd: worker (id 5) has ended (code 102): started again in 200ms",
        "policyd: worker (id 6) has ended (code 102) too often: it stays so",
    ];
    running.wait_for_all(&lines, PATIENCE)?;
    prompt(&mut running)?;
    // The next policy program leaves it so, and also that of the system's next life.
    running.send("kill -KILL policyd\n")?;
    let seen = running.wait_for("policyd: goes on where the one before has stopped", PATIENCE)?;
    prompt(&mut running)?;
    converse(&mut running, &[("part list", "worker   6  ended")])?;
    running.send("part restart scos\n")?;
    let lines = [
        "policyd: worker (id 6) had ended (code 102) and was started 3 times: it stays so",
        "policyd: goes on with the machine as it is",
        "scos| shikiri:/# ",
    ];
    let seen = seen + &running.wait_for_all(&lines, PATIENCE)?;
    if seen.contains("started again") {
        return Err(running.failure("what was given up is started again".to_owned()).into());
    }
    prompt(&mut running)?;
    converse(&mut running, &[("part list", "worker   6  ended")])?;
    // Made with all that can be given; from inside it says whether that is there.
    running.send("part start driver\n")?;
    running.wait_for_all(
        &[
            "driver asks for 1 vCPU: granted, grant 1 (vcpus)",
            "driver| ok what_one_that_is_made_is_given_is_there",
            "driver| done",
        ],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part wait driver ended 60s; acct -h", "devices                -     1"),
            ("part start clock", "part: clock cannot be started while others have devices of its"),
            ("policyd; echo is=$?", "policyd: another one runs already, as process"),
            ("policyd > /tmp/said; echo is=$?", "| is=1"),
        ],
    )
}

/// The same question gets another answer as the accounts change: 4 ports is each one's limit by the description, 16 the most that the
/// policy grants, and of the 20 that may be handed out 4 are kept. Whoever asks while no policy program runs is answered by the next.
pub(super) fn asked(machine: Machine) -> Outcome {
    let asker = |name: &str, words: &str| {
        Partition::new(name, "policy").with(&format!("handles = 300\ncmdline = \"wants {words}\""))
    };
    let idle = |name: &str| {
        Partition::new(name, "crash")
            .with("cmdline = \"crash=loop\"\nautostart = false\nhandles = 4\ncores = [3]")
            .with("share = { budget = \"2ms\", period = \"10ms\" }")
    };
    let system = support::system([
        // It starts by itself, and asks before the policy program has looked at anything.
        asker("asker", "ports=8 ports=8 ports=8 peer=2 peer=3")
            .with("cores = [1]\nrequests = 2\nlimits = { event_ports = 4 }"),
        asker(
            "late",
            "ports=8 ports=1 memory=512 memory=1024 time=100000 time=200000 vcpus=2 vcpus=1",
        )
        .with("autostart = false\ncores = [2]\nvcpus = 2\nkept_vcpus = 1")
        .with("share = { budget = \"2ms\", period = \"10ms\" }")
        .with("limits = { event_ports = 4, memory = \"4MiB\", core_time = \"40%\" }"),
        idle("friend"),
        idle("stranger"),
        with_talk(Some(&file("requests.policy")), "handles = 16", ", event_ports = 20"),
    ])?;
    let mut running = system.boot(&machine)?;
    running.wait_for_all(
        &[
            "asker asks for 8 event ports: granted, grant 1 (event_ports)",
            "asker| ports 8: granted 8",
            "asker asks for 8 event ports: granted, grant 1 (event_ports): up_to = 16 leaves 4",
            "asker| ports 8: granted 4",
            "asker asks for 8 event ports: refused, grant 1 (event_ports): up_to = 16 leaves 0",
            "asker| ports 8: denied by policy",
            "asker asks for a way to friend: granted, there is a talk from asker to friend",
            "asker| peer 2: granted 1",
            "asker asks for a way to stranger: refused, there is no talk from asker to stranger",
            "asker| peer 3: denied by policy",
        ],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    running.send("kill -KILL policyd; part start late\n")?;
    running.wait_for_all(
        &[
            "init: the policy program has ended: Signal(9)",
            "late asks for 8 event ports: granted, grant 1 (event_ports): keep = 4 leaves 4",
            "late| ports 8: granted 4",
            "late asks for 1 event ports: refused, grant 1 (event_ports): keep = 4 leaves 0",
            "late| ports 1: denied by policy",
            "late asks for 2M memory: granted, grant 2 (memory)",
            "late| memory 512: granted 512",
            "late asks for 4M memory: refused, grant 2 (memory): up_to = 8M leaves 2M",
            "late| memory 1024: denied by policy",
            "late asks for 10% core time for vCPU 1: granted, grant 3 (core_time)",
            "late| time 100000: granted 100000",
            "late asks for 20% core time for vCPU 1: refused, grant 3 (core_time): up_to = 60% leaves 10%",
            "late| time 200000: denied by policy",
            "late asks for 2 vCPUs: answer of partition ",
            ": over the vCPUs that are kept back for it",
            "late| vcpus 2: denied by policy",
            "late asks for 1 vCPU: granted, grant 4 (vcpus)",
            "late| vcpus 1: granted 1",
            "late| wants no more",
        ],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    let granted = [
        ("part limit asker event_ports", "| 16"),
        ("part limit late memory", "| 6M"),
        ("part limit late core_time", "| 50%"),
    ];
    converse(&mut running, &granted)?;
    // What was granted stays, and what was set by hand: the next policy program sets no limit that the one before has set, nor, when its system
    // was restarted, one that it finds.
    converse(&mut running, &[("part limit late memory 5M; kill -KILL policyd", "\n")])?;
    running.wait_for("policyd: goes on where the one before has stopped", PATIENCE)?;
    prompt(&mut running)?;
    let kept = [("part limit asker event_ports", "| 16"), ("part limit late memory", "| 5M")];
    converse(&mut running, &kept)?;
    running.send("part restart scos\n")?;
    running.wait_for_all(
        &["policyd: goes on with the machine as it is", "scos| shikiri:/# "],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    converse(&mut running, &kept)
}

/// The file grants `asker` two of the three devices that are kept back from it, and starts it again when it ends; nothing is granted to
/// `stranger`. In its second life the devices are not there until they are granted anew.
pub(super) fn keeps(machine: Machine) -> Outcome {
    let slot = |at| format!("{{ path = \"/virtio_mmio@{at}\", dma = \"none\" }}");
    let asker = |name: &str, core: u8, words: &str, devices: &str| {
        Partition::new(name, "policy")
            .with(&format!("handles = 8\nautostart = false\ncores = [{core}]"))
            .with(&format!("cmdline = \"{words}\"\nkept_devices = [{devices}]"))
    };
    let three = format!("\"/pl031@9010000\", \"/pl061@9030000\", {}", slot("a000000"));
    let system = support::system([
        asker("asker", 1, "kept-asker", &three),
        asker("stranger", 2, "kept-stranger", &slot("a000200")),
        scos(Some(&file("kept.policy"))),
    ])?;
    let mut running = system.boot(&machine)?;
    let console = running.wait_for_all(
        &[
            "asker asks for device 0: granted, grant 1 (device)",
            "asker asks for device 1: refused, no grant names device 1 for asker",
            "asker asks for device 2: granted, grant 2 (device)",
            "asker| ok a_device_is_granted_with_its_interrupt",
            "asker (id 2) has ended (off): started again in 100ms",
            "asker| ok the_next_life_begins_without_it",
            "stranger asks for device 0: refused, no grant names device 0 for stranger",
            "stranger| ok a_device_that_is_granted_to_nobody_stays_away",
        ],
        PATIENCE,
    )?;
    support::approve(&console)?;
    prompt(&mut running)?;
    converse(&mut running, &[("part end asker; part wait asker ended 60s; echo is=$?", "| is=0")])?;
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    Ok(())
}

/// The same of devices that `spare` has by the description, kept back from two that are made: by the file, and from the shell. When one is
/// destroyed they can be given again.
pub(super) fn keeps_from_made(machine: Machine) -> Outcome {
    let slot = |at| format!("{{ path = \"/virtio_mmio@{at}\", dma = \"none\" }}");
    let devices = [slot("a000000"), slot("a000200"), "\"/flash@0\"".to_owned()].join(", ");
    let spare = Partition::new("spare", "crash")
        .with("cmdline = \"crash=loop\"\nautostart = false\ncores = [3]")
        .with("share = { budget = \"2ms\", period = \"10ms\" }")
        .with(&format!("devices = [\"/pl031@9010000\", \"/pl061@9030000\", {devices}]"));
    let system = support::system([spare, scos(Some(&file("kept-made.policy")))])?;
    let mut running = system.boot(&machine)?;
    let lines = [
        "policyd: asker is made (id 2)",
        "asker asks for device 0: granted, grant 1 (device)",
        "asker asks for device 1: refused, no grant names device 1 for asker",
        "asker asks for device 2: granted, grant 2 (device)",
        "asker| ok a_device_is_granted_with_its_interrupt",
        "asker (id 2) has ended (off): started again in 100ms",
        "asker| ok the_next_life_begins_without_it",
        "asker| done",
    ];
    let console = running.wait_for_all(&lines, PATIENCE)?;
    support::approve(&console)?;
    prompt(&mut running)?;
    let create = "part create stranger image=policy memory=4M cores=2";
    let words = "cmdline=kept-stranger console=yes handles=8";
    converse(
        &mut running,
        &[
            (
                &format!("{create} devices=spare:3 kept_devices=spare:3"),
                "kept_devices=: `spare:3` stands twice",
            ),
            (
                &format!("{create} kept_devices=spare:0"),
                "kept_devices: `spare:0`: it is given already, or something else has its",
            ),
            (
                &format!("{create} kept_devices=scos:0"),
                "kept_devices: `scos:0`: `scos` has not ended, or will start again by itself",
            ),
            (
                &format!("{create} kept_devices=spare:4"),
                "kept_devices: `spare:4`: it has more registers than can be given in one step",
            ),
            (&format!("{create} kept_devices=spare:5"), "`spare` has no such device"),
            ("acct -h", "devices                -     3"),
            (&format!("{create} {words} kept_devices=spare:3"), "stranger has the id"),
            ("acct -h", "devices                -     4"),
        ],
    )?;
    running.send("part start stranger\n")?;
    let lines = [
        "stranger asks for device 0: refused, no grant names device 0 for stranger",
        "stranger| ok a_device_that_is_granted_to_nobody_stays_away",
        "stranger| stranger done",
    ];
    running.wait_for_all(&lines, PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part wait stranger ended 60s; part destroy stranger; echo is=$?", "| is=0"),
            ("part start spare", "part: spare cannot be started while others have devices of its"),
        ],
    )?;
    // The file makes another one, of the same devices.
    running.send("part end asker; part wait asker ended 60s; part destroy asker\n")?;
    let lines = ["policyd: asker is made (id ", "asker| ok a_device_is_granted_with_its_interrupt"];
    running.wait_for_all(&lines, PATIENCE)?;
    support::open_operator(&mut running)?;
    support::audit(&mut running)?;
    Ok(())
}

/// A program takes a request and ends; another one takes the same request, and answers it.
pub(super) fn handed_back(machine: Machine) -> Outcome {
    let asker = Partition::new("asker", "policy")
        .with("handles = 300\nautostart = false\ncmdline = \"wants ports=8\"\ncores = [1]")
        .with("limits = { event_ports = 4 }");
    let scos = with_talk(None, "handles = 16", ", event_ports = 20");
    let mut running = support::system([asker, scos])?.boot(&machine)?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    converse(&mut running, &[("part start asker; check takes", "ok took More(EventPorts, 8)")])?;
    running.send("check takes; check answers\n")?;
    running.wait_for_all(
        &[
            "ok took More(EventPorts, 8)",
            "ok answers More(EventPorts, 8)",
            "asker| ports 8: granted 4",
        ],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    converse(&mut running, &[("part limit asker event_ports", "| 8")])?;
    // Who listens first is not deaf because somebody else has listened since.
    running.send("check listens\n")?;
    support::approve(&running.wait_for("done listens", PATIENCE)?)?;
    prompt(&mut running)
}

/// The description permits the system to ask two; its policy forbids one of them, and the shell permits and forbids it again. Who may ask is told
/// that the other one does not run; who may not, that there is none.
pub(super) fn talks(machine: Machine) -> Outcome {
    let asked = |name: &str| {
        Partition::new(name, "crash")
            .with("handles = 4\nautostart = false\ncores = [2]")
            .with("share = { budget = \"2ms\", period = \"10ms\" }\naccept_from = [\"scos\"]")
    };
    let talk = "handles = 64\nrequests = 8\nareas = { pages = 8, channels = 2 }\n\
                connect_to = [\"friend\", \"stranger\"]";
    let scos = with_talk(Some(&file("talk.policy")), talk, "");
    let system = support::system([timer(), asked("friend"), asked("stranger"), scos])?;
    let mut running = system.boot(&machine)?;
    // It is started when all that is forbidden is.
    running.wait_for("timer| timer: ", PATIENCE)?;
    prompt(&mut running)?;
    let ask = |to: &str| format!("socket-ask {to} 7 x || echo over");
    let (may, may_not) = ("Host is down", "Host is unreachable");
    converse(
        &mut running,
        &[
            (&ask("friend"), may),
            (&ask("stranger"), may_not),
            ("chan permit scos stranger", "\n"),
            (&ask("stranger"), may),
            ("chan forbid scos stranger; chan forbid scos friend", "\n"),
            (&ask("stranger"), may_not),
            (&ask("friend"), may_not),
            ("chan permit scos scos", "chan: a partition needs no permission to talk to itself"),
        ],
    )
}

/// A service whose program is not there at first: init tries it later and later, and the shell is there meanwhile.
pub(super) fn kept(machine: Machine) -> Outcome {
    let scos = control_os("scos").with("cores = [0]\ncmdline = \"service=later,a\"");
    let mut running = support::system([scos])?.boot(&machine)?;
    for line in
        ["init: service later,a cannot be started: ", "tried again in 1s", "tried again in 2s"]
    {
        running.wait_for(line, PATIENCE)?;
    }
    prompt(&mut running)?;
    running.send("ln hello /bin/later\n")?;
    running.wait_for("hello from a std program [\"a\"]", PATIENCE)?;
    running.wait_for("init: the service later,a has ended: Exit(0)", PATIENCE)?;
    running.wait_for("hello from a std program [\"a\"]", PATIENCE)?;
    Ok(())
}

/// A file that was right when the system was described, and is not when the policy program reads it again.
pub(super) fn wrong_policy(machine: Machine) -> Outcome {
    let (right, wrong) = (file("quiet.policy"), file("wrong.policy"));
    let files =
        format!("{{ \"/etc/policy.toml\" = \"{right}\", \"/etc/wrong.toml\" = \"{wrong}\" }}");
    let scos = with_talk(None, &format!("handles = 16\nfiles = {files}"), "");
    let mut running = support::system([timer(), scos])?.boot(&machine)?;
    prompt(&mut running)?;
    running.send("cat /etc/wrong.toml > /etc/policy.toml; kill -KILL policyd\n")?;
    let why =
        "/etc/policy.toml: line 4: partition `timer`: after: there is no [[partition]] `nobody`";
    running.wait_for(why, PATIENCE)?;
    running.wait_for("init: the policy program has ended: Exit(2)", PATIENCE)?;
    prompt(&mut running)?;
    converse(&mut running, &[("part list", "timer   -  ended")])
}
