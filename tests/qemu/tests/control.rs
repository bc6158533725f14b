//! A machine that is run from the system control OS: its shell, and its policy program (P1, P7).

mod keys;
mod linux;
mod page;
mod peers;
mod policyd;
mod restarts;

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Gic, Machine, Running, System, paths};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, Variant, both_gics, control_os};
use linux::{demo, linux_from_the_shell, makes_linux};
use peers::{door, loads, peer};
use policyd::{asked, governed, handed_back, keeps, keeps_from_made, kept, talks, wrong_policy};
use restarts::{panics, restarted};

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
    // With a GICv2 `policy` makes one.
    topic.on_each(one(), "the_policy_makes_linux_and_starts_it_again", makes_linux);
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
    topic.on_each(
        one(),
        "key_signals_end_what_is_typed_or_runs_and_nothing_that_init_keeps",
        keys::interrupted,
    );
    topic.on_each(
        one(),
        "a_system_that_ends_itself_says_how_it_is_started_again",
        keys::ends_itself,
    );
    topic.on_each(one(), "key_presses_end_top_and_lines_are_edited_afterwards", keys::top_ends);
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
    control_os("scos")
        .with("cores = [0]")
        .with(talk)
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
                "a limit of 32M is over what may be handed out of memory: 16M in all, 0K of it given",
            ),
            (
                "part create a image=timer memory=2M cores=0",
                "cores: `0`: over what these cores have left, 0% at most; a vCPU takes 100%",
            ),
            (
                "part create timer image=timer memory=2M cores=3",
                "part: name: `timer`: there is one of this name already",
            ),
            (
                "part create Timer image=timer memory=2M cores=3",
                "part: name: `Timer`: 1 to 31 of a-z, 0-9, _ and - are possible",
            ),
            (
                "part create a image=timer memory=2M cores=2-9",
                "part: cores: `2-9`: the machine has cores 0 to 3",
            ),
            ("part start ghost", "there is no partition `ghost`; there are"),
            ("part resume timer", "part: timer is ended: only one that is paused can be resumed"),
            ("trace timer", "trace: timer is ended: only one that lives has exits"),
            ("trace scos 5", "trace: scos has no vCPU 5; its last one is 0"),
            ("chan timer", "chan: timer is ended: only one that lives has ports"),
            ("part pause scos", "part: scos cannot pause itself"),
            ("part show #77", "part: there is no partition `#77`; there are timer, #1 (scos)"),
            ("cat /nosuch", "cat: /nosuch: No such file or directory"),
            (
                "part create a image=timer memory=2M cores=3 devices=timer:0",
                "devices: `timer:0`: `timer` has no such device",
            ),
            (
                "part create a image=timer memory=2M cores=3 handles=8 areas=blocks:600",
                "areas: more than 4,096 pages, 512 blocks, 510 giants or 64 shares",
            ),
            (
                "part destroy timer",
                "part: timer is of the description: only one that was made at run time can be",
            ),
            ("part wait timer active 50ms", "timer is ended and not active after 50ms"),
            ("acct -h", "memory               16M    0K"),
            ("part list && echo whole", "| whole"),
        ],
    )
}

/// A policy beside the tests' systems.
pub(crate) fn file(name: &str) -> String {
    paths::root().join("tests/qemu/systems").join(name).display().to_string()
}

/// The shell's prompt, whatever stands on the line or still runs until a key ends it; no other one follows it.
fn prompt(running: &mut Running) -> Outcome {
    running.send("\n")?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    // That may be the one before the empty line's. What is typed here is echoed otherwise than it is said.
    converse(running, &[("echo at''prompt", "atprompt")])
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
