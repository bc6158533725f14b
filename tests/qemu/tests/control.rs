//! A machine that is run from the system control OS: its shell, and its policy program (P1, P7).

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Gic, Machine, Running, System, paths};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, Variant, both_gics};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("control", trials);
    topic.on_each(both_gics(4), "a_partition_of_the_description_is_run_from_the_shell", described);
    topic.on_each(one(), "a_partition_is_made_and_destroyed_from_the_shell", made);
    topic.on_each(
        one(),
        "what_one_that_is_made_finds_in_x0_and_where_its_memory_is_its_maker_says",
        with_regions,
    );
    topic.on_each(one(), "the_shell_says_what_is_wrong_and_nothing_is_left", refused);
    topic.on_each(one(), "the_policy_makes_starts_and_restarts_what_its_file_says", governed);
    topic.on_each(
        both_gics(4),
        "the_policy_program_answers_requests_by_its_file_and_by_the_accounts",
        asked,
    );
    topic.on_each(one(), "a_device_is_granted_by_the_policys_file_and_comes_back", keeps);
    topic.on_each(
        both_gics(4),
        "a_device_is_kept_back_from_one_that_is_made_until_it_is_granted",
        keeps_from_made,
    );
    topic.on_each(
        both_gics(4),
        "under_traffic_the_system_that_makes_policy_ends_and_its_next_life_goes_on",
        restarted,
    );
    topic.on_each(one(), "a_system_that_makes_policy_and_panics_comes_again", panics);
    topic.on_each(both_gics(4), "the_policy_makes_linux_and_starts_it_again", makes_linux);
    topic.on_each(
        one(),
        "linux_is_made_from_the_shell_or_it_is_said_why_not",
        linux_from_the_shell,
    );
    topic.on_each(one(), "the_device_takes_no_address_that_is_not_the_program_s", door);
    topic.on_each(
        one(),
        "what_a_program_has_taken_and_not_answered_the_next_one_is_given",
        handed_back,
    );
    topic.on_each(one(), "who_may_talk_to_whom_is_said_by_the_file_and_from_the_shell", talks);
    topic.on_each(one(), "what_cannot_be_started_is_tried_again", kept);
    topic.on_each(one(), "whatever_is_typed_arrives", typed);
    topic.on_each(one(), "the_demo_is_run_from_its_shell_beside_linux", demo);
    topic.on_each(one(), "a_partition_that_was_made_is_a_peer_of_sockets", peer);
    topic.on_each(one(), "a_program_that_a_guest_sends_is_run_in_a_partition_that_is_made", loads);
    topic.on_each(one(), "a_policy_that_is_wrong_is_named_and_the_shell_is_there", wrong_policy);
}

/// Four Cortex-A72 with GICv3.
fn one() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 4, "cortex-a72")]
}

/// The system control OS with the policy capability, with or without a policy; its `[policy]` comes last.
fn scos(policy: Option<&str>) -> Partition {
    with_talk(policy, "handles = 16", "")
}

/// The same with what it needs to talk, and with more that may be handed out.
fn with_talk(policy: Option<&str>, talk: &str, handout: &str) -> Partition {
    let files = policy
        .map_or(String::new(), |file| format!("\nfiles = {{ \"/etc/policy.toml\" = \"{file}\" }}"));
    Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]")
        .with(talk)
        .sized("64MiB")
        .with(&files)
        .with("[policy]\npartition = \"scos\"\npartitions = 4\nimages = [\"timer\", \"crash\", \"policy\"]")
        .with(&format!("handout = {{ memory = \"16MiB\", core_time = \"200%\"{handout} }}"))
        .with("answer = \"60s\"\n[console]\nfocus = \"scos\"")
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
            ("part log timer", "| timer: 62500000 Hz"),
            ("trace timer", "write at 0x9000000"),
            ("ev scos", "interrupt 64 of vCPU 0"),
            ("chan", "partition  entry"),
            ("chan timer && echo none=$?", "| none=0"),
            ("help trace", "why a partition came back to the hypervisor last"),
            // A script, and one that ends where a step fails.
            (
                "echo 'part limit timer memory; echo done' > /tmp/s; echo 'sh /tmp/s' > /tmp/t; sh /tmp/t",
                "| done",
            ),
            (
                "echo 'part start ghost' > /tmp/s; echo 'echo never' >> /tmp/s; sh /tmp/s || echo is=$?",
                "/tmp/s: line 1: part: there is no partition `ghost`",
            ),
        ],
    )?;
    // It goes on until a key ends it.
    running.send("top -d 50ms\n")?;
    for _ in 0..3 {
        running.wait_for("partition  id  state", PATIENCE)?;
    }
    prompt(&mut running)
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
        ],
    )?;
    running.send("part start w; part wait w active 60s; part list\n")?;
    running.wait_for_all(&["w       2  active", "w| timer: tick 1"], PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part end w; part wait w ended 60s; part destroy w; echo is=$?", "| is=0"),
            ("part list || true", "timer   -  ended"),
            ("acct -h", "memory               16M    0K"),
        ],
    )
}

/// The timer looks for a device tree where `x0` says: it ends with a fault where no memory is, and runs where zeros are.
fn with_regions(machine: Machine) -> Outcome {
    let mut running = boot(&machine, None)?;
    let create = "part create w image=timer cores=3 console=yes x0=0x80000000";
    let (make, end) = ("part start w; part wait w ended 60s", "part destroy w");
    converse(
        &mut running,
        &[
            (
                &format!("{create} memory=2M,4M@0x7ffff000,1M@0x80000000"),
                "other memory, its interrupt",
            ),
            (&format!("{create} memory=2M,1M@0x9000000"), "memory: `1M@0x9000000`: other memory"),
            (
                &format!("{create} memory=2M,4K@0xffffffffff"),
                "`4K@0xffffffffff`: no whole pages, or",
            ),
            (
                &format!("{create} memory=2M,16M@0x80000000"),
                "over what may be handed out of memory",
            ),
            ("acct -h", "memory               16M    0K"),
            (&format!("{create} memory=2M"), "w has the id"),
            (
                &format!("{make}; part list; {end}"),
                "w       6  ended       1      0K       1  code 102",
            ),
            (&format!("{create} memory=2M,1M,4M@0x80000000"), "w has the id"),
            ("acct -h", "memory               16M    7M"),
        ],
    )?;
    running.send("part start w; part wait w active 60s; part list\n")?;
    running.wait_for_all(
        &["w       7  active      1      7M       1", "w| timer: tick 1"],
        PATIENCE,
    )?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[("part end w; part wait w ended 60s; part destroy w; acct -h", "16M    0K")],
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
            (
                "part create a image=timer memory=2M cores=3 devices=timer:0",
                "devices: `timer:0`: `timer` has no such device",
            ),
            (
                "part create a image=timer memory=2M cores=3 handles=8 areas=blocks:600",
                "areas: more than 4,096 pages, 512 blocks, 510 giants or 64 shares",
            ),
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
            ("part start clock", "start: wrong state"),
        ],
    )
}

/// The shell's prompt, whatever stands on the line or still runs until a key ends it; no other one follows it.
fn prompt(running: &mut Running) -> Outcome {
    running.send("\n")?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    // That may be the one before the empty line's. What is typed here is echoed otherwise than it is said.
    converse(running, &[("echo at''prompt", "atprompt")])
}

/// The same question gets another answer as the accounts change: 4 ports is each one's limit by the description, 16 the most that the
/// policy grants, and of the 20 that may be handed out 4 are kept. Whoever asks while no policy program runs is answered by the next.
fn asked(machine: Machine) -> Outcome {
    let asker = |name: &str, words: &str| {
        Partition::new(name, "policy")
            .with(&format!("handles = 300\nautostart = false\ncmdline = \"wants {words}\""))
    };
    let idle = |name: &str| {
        Partition::new(name, "crash")
            .with("cmdline = \"crash=loop\"\nautostart = false\nhandles = 4\ncores = [3]")
            .with("share = { budget = \"2ms\", period = \"10ms\" }")
    };
    let system = support::system([
        asker("asker", "ports=8 ports=8 ports=8 peer=2 peer=3")
            .with("cores = [1]\nrequests = 2\nlimits = { event_ports = 4 }"),
        asker(
            "late",
            "ports=8 ports=1 memory=512 memory=1024 time=100000 time=200000 vcpus=2 vcpus=1",
        )
        .with("cores = [2]\nvcpus = 2\nkept_vcpus = 1")
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
fn keeps(machine: Machine) -> Outcome {
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
fn keeps_from_made(machine: Machine) -> Outcome {
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
            ("part start spare", "start: wrong state"),
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

/// Two guests keep channels to the system that makes policy busy while it is restarted, by the operator and by its own shell: they run
/// on and are told, have in use what they had, and find the services again; what was made at run time is as it was.
fn restarted(machine: Machine) -> Outcome {
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
fn panics(machine: Machine) -> Outcome {
    let asker = Partition::new("asker", "policy")
        .with("handles = 300\nautostart = false\ncmdline = \"wants ports=8\"\ncores = [2]");
    let scos = with_talk(
        Some(&file("panics.policy")),
        "handles = 16\nrestart = { policy = \"on-fault\", delay = \"5s\" }",
        ", event_ports = 20",
    );
    let failing = Partition::new("failing", "crash")
        .with("cores = [1]\nautostart = false\ncmdline = \"crash=read wait_ms=2000\"");
    let mut running = support::system([failing, asker, scos])?.boot(&machine)?;
    running.wait_for("asker| ports 8: granted 8", PATIENCE)?;
    // It lives for two seconds each time.
    for _ in 0..3 {
        running.wait_for(") has ended (code 102): started again in 100ms", PATIENCE)?;
    }
    prompt(&mut running)?;
    // While it lives, just after it was started.
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

/// What `cargo xtask run` starts: a first screen that says what to type, guests that the policy starts, and Linux's console from the shell.
fn demo(machine: Machine) -> Outcome {
    let mut running = System::find("demo")?.boot(&machine)?;
    let first = running.wait_for("shikiri:/# ", PATIENCE)?;
    for line in ["one machine, 4 partitions", "  part list ", "  part console linux ", "  help "] {
        if !first.contains(line) {
            return Err(running.failure(format!("the first screen lacks {line:?}")).into());
        }
    }
    running.wait_for("linux| shikiri-linux: ready", PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("help", "  chan   "),
            ("part list", "linux   4  active      2"),
            (
                "part create w image=timer memory=2M cores=1 share=1ms/10ms console=yes",
                "has the id",
            ),
        ],
    )?;
    running.send("part start w && part wait w active 60s; echo is=$?\n")?;
    // It has written by then what its log has.
    running.wait_for_all(&["| is=0", "w| timer: tick 1"], PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part log w", "scos| timer: 62500000 Hz"),
            ("part end w && part wait w ended 60s && part destroy w; echo is=$?", "| is=0"),
        ],
    )?;
    running.send("part console linux\n")?;
    running.wait_for("[focus: linux]", PATIENCE)?;
    running.send("uname -s\n")?;
    running.wait_for("linux| Linux", PATIENCE)?;
    running.send("\u{1}1")?;
    running.wait_for("[focus: scos]", PATIENCE)?;
    prompt(&mut running)
}

/// The system control OS with Linux among its images.
fn with_linux(policy: Option<&str>) -> Result<System, Failed> {
    let files = policy
        .map_or(String::new(), |file| format!("files = {{ \"/etc/policy.toml\" = \"{file}\" }}"));
    let scos = Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]\nhandles = 16")
        .with(&files)
        .sized("64MiB")
        .with("[policy]\npartition = \"scos\"\npartitions = 4")
        .with("images = [\"linux/Image\", \"linux/initrd.cpio\", \"timer\"]")
        .with("handout = { memory = \"300MiB\", core_time = \"300%\" }\nanswer = \"60s\"")
        .with("[console]\nfocus = \"scos\"");
    support::system([scos])
}

/// Each life of Linux gets its device tree: also when the system that has made it was restarted meanwhile.
fn makes_linux(machine: Machine) -> Outcome {
    let mut running = with_linux(Some(&file("linux.policy")))?.boot(&machine)?;
    running.wait_for("policyd: debian is made", PATIENCE)?;
    running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
    prompt(&mut running)?;
    running.send("part restart scos\n")?;
    running.wait_for("scos| shikiri:/# ", PATIENCE)?;
    prompt(&mut running)?;
    running.send("part console debian\n")?;
    running.wait_for("[focus: debian]", PATIENCE)?;
    running.send("nproc; cat /proc/cmdline; poweroff -f\n")?;
    for line in [
        "debian| 2",
        "debian| console=ttyAMA0 quiet",
        "has ended (off): started again in 100ms",
        "debian| shikiri-linux: ready",
    ] {
        running.wait_for(line, PATIENCE * 3)?;
    }
    // It begins again by itself, and by the operator's hand: the hypervisor knows no tree, and has it held.
    prompt(&mut running)?;
    running.send("part console debian\n")?;
    running.wait_for("[focus: debian]", PATIENCE)?;
    running.send("reboot -f\n")?;
    running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
    support::open_operator(&mut running)?;
    running.send("restart debian\r")?;
    running.wait_for("debian| shikiri-linux: ready", PATIENCE * 3)?;
    Ok(())
}

fn linux_from_the_shell(machine: Machine) -> Outcome {
    let mut running = with_linux(None)?.boot(&machine)?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    let files = "kernel=linux/Image initrd=linux/initrd.cpio";
    let made = "console=yes cmdline='console=ttyAMA0 quiet' memory=128M,64M@0x100000000 cores=1";
    let noted = format!("{files} memory=128M,64M@0x100000000 cores=1 console=yes cmdline=");
    let long = "x".repeat(64);
    converse(
        &mut running,
        &[
            (
                "part create a kernel=linux/Imag memory=128M cores=1",
                "part: there is no image `linux/Imag`; there are linux/Image, linux/initrd.cpio, timer",
            ),
            (
                "part create a kernel=linux/Image memory=48M cores=1",
                "part: not enough memory: 48M, and what it runs needs ",
            ),
            (&format!("set x {long}; set x $x$x$x$x; set x $x$x$x$x; echo set=$?"), "set=0"),
            (
                "set y $x$x$x$x; part create a kernel=linux/Image cmdline=$y memory=128M cores=1",
                "part: cmdline: 4143 bytes say what it is made of, and at most 4032 fit",
            ),
            ("set x $x$x$x$x; set x $x$x$x$x; set x $x$x$x$x; echo set=$?", "set=0"),
            (
                "part create a kernel=linux/Image cmdline=$x memory=128M cores=1",
                "part: the device tree is too large: ",
            ),
            (
                &format!("part create a {files} memory=512M cores=1"),
                "over what may be handed out of memory",
            ),
            ("part list; acct -h", "memory              300M    0K"),
            (&format!("part create second {files} {made}"), "second has the id"),
        ],
    )?;
    let live = |running: &mut Running, line: &str| {
        running.send(&format!("{line} && part list\n"))?;
        let lines = ["active      1    192M", "second| shikiri-linux: ready"];
        running.wait_for_all(&lines, PATIENCE * 3)?;
        prompt(running)
    };
    live(&mut running, "part start second")?;
    live(&mut running, "part restart second")?;
    // The next life of the system finds no tree, and makes it of what is noted at the partition.
    running.send("part restart scos\n")?;
    running.wait_for("scos| shikiri:/# ", PATIENCE)?;
    prompt(&mut running)?;
    converse(&mut running, &[("part show second", &format!("| {noted}"))])?;
    live(&mut running, "ls /run/shikiri || part restart second")?;
    // What it runs lies in the first region; it is told of the second one as well.
    running.send("part console second\n")?;
    running.wait_for("[focus: second]", PATIENCE)?;
    running.send("cat /proc/iomem\n")?;
    running.wait_for("100000000-103ffffff : System RAM", PATIENCE)?;
    running.send("\u{1}1")?;
    running.wait_for("[focus: scos]", PATIENCE)?;
    prompt(&mut running)?;
    converse(
        &mut running,
        &[
            ("part end second && part wait second ended 60s && part destroy second", "\n"),
            ("ls /run/shikiri; acct -h", "memory              300M    0K"),
        ],
    )
}

/// A guest that the policy makes finds this system's service, and this system finds the guest's, by name and by number; of one that the
/// policy makes beside it, and lets talk to nobody, nothing is to be found.
fn peer(machine: Machine) -> Outcome {
    let scos = Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]\nhandles = 64\nrequests = 8")
        .with("areas = { pages = 32, channels = 4 }")
        .with(&format!("files = {{ \"/etc/policy.toml\" = \"{}\" }}", file("peers.policy")))
        .sized("64MiB")
        .with("[policy]\npartition = \"scos\"\npartitions = 3\nimages = [\"sockets\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"300%\" }")
        .with("[console]\nfocus = \"scos\"");
    let mut running = support::system([scos])?.boot(&machine)?;
    running.wait_for("policyd: stranger is made", PATIENCE)?;
    prompt(&mut running)?;
    // At its end the guest is told to end, and is started again: the second round meets another life of it.
    for _ in 0..2 {
        running.send("sockets made guest; echo is=$?\n")?;
        let console = running.wait_for("scos| is=", PATIENCE)?;
        support::approve(&console)?;
    }
    Ok(())
}

/// From the kernel's form of an area into a partition that is held.
fn loads(machine: Machine) -> Outcome {
    let scos = Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]\nhandles = 64\nrequests = 8")
        .with("areas = { pages = 32, channels = 4 }\ncmdline = \"run=sockets,loads\"")
        .with("connect_to = [\"one\"]\naccept_from = [\"one\"]")
        .sized("64MiB");
    let one = Partition::new("one", "sockets")
        .with("handles = 64\nrequests = 4\nareas = { pages = 16, channels = 2 }")
        .with("connect_to = [\"scos\"]\naccept_from = [\"scos\"]")
        .with("cmdline = \"scos=0\"\ncores = [1]")
        .with("[policy]\npartition = \"scos\"\npartitions = 1\nimages = [\"timer\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"100%\" }");
    support::passes(&support::system([scos, one])?, &machine)?;
    Ok(())
}

/// A program takes a request and ends; another one takes the same request, and answers it.
fn handed_back(machine: Machine) -> Outcome {
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
fn talks(machine: Machine) -> Outcome {
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
            ("chan permit scos scos", "chan: permission of partition 1: bad argument"),
        ],
    )
}

/// A service whose program is not there at first: init tries it later and later, and the shell is there meanwhile.
fn kept(machine: Machine) -> Outcome {
    let scos = Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]\ncmdline = \"service=later,a\"")
        .sized("64MiB");
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

/// More than the receive FIFO holds, again and again: what comes while the guest empties it is told as well.
fn typed(machine: Machine) -> Outcome {
    let mut running = boot(&machine, None)?;
    let long = "x".repeat(200);
    for number in 0..60 {
        converse(
            &mut running,
            &[(&format!("true; echo {long} n={number}"), &format!("| {long} n={number}"))],
        )?;
    }
    Ok(())
}

/// What the device copies from a program is the program's: EFAULT otherwise.
fn door(machine: Machine) -> Outcome {
    let scos = Partition::new("scos", "scos")
        .with("initrd = \"scos/root.cpio\"\ncores = [0]\nhandles = 16")
        .with("cmdline = \"run=check,door\"")
        .sized("64MiB")
        .with("[policy]\npartition = \"scos\"\npartitions = 1\nimages = [\"timer\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"100%\" }");
    let mut running = support::system([scos])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    support::approve(&console)?;
    if console.contains("done door") { Ok(()) } else { Err(console.into()) }
}

/// A file that was right when the system was described, and is not when the policy program reads it again.
fn wrong_policy(machine: Machine) -> Outcome {
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
