//! The system control OS: programs for Linux, run on a kernel of ours in an ordinary partition. P1.

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::{Gic, Machine, Running, counts};

use crate::support::{self, Outcome, PATIENCE, Partition, Topic, Variant, both_gics, control_os};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("scos", trials);
    topic.also_on_rpi4().on_each(both_gics(1), "a_std_program_says_hello", |machine| {
        says(&machine, "hello,a,b", "hello from a std program [\"a\", \"b\"]")
    });
    topic.on_each(max(), "a_std_program_says_hello", |machine| {
        says(&machine, "hello", "hello from a std program []")
    });
    topic.on_each(one(), "a_c_program_says_hello", |machine| {
        says(&machine, "chello,x", "hello from C: 2 arguments, /bin/chello")
    });
    topic.on_each(one(), "a_c_program_prints_what_it_prints_on_linux", same_as_on_linux);
    for (checks, sentence) in CHECKS {
        topic.on_each(one(), sentence, move |machine| passes(&machine, &format!("check,{checks}")));
    }
    topic.on_each(one(), "a_shell_answers_and_programs_are_interrupted", own_shell);
    topic.on_each(one(), "debian_s_busybox_is_a_shell", busybox);
    topic.on_each(
        vec![Variant::new(Gic::V3, 3, "cortex-a72")],
        "random_calls_harm_nobody_else",
        fuzz,
    );
    topic.slow().on_each(one(), "the_checks_hold_on_linux_too", checks_on_linux);
    let others = [max(), vec![Variant::new(Gic::V2, 1, "cortex-a72")]].concat();
    topic.on_each(others, "the_checks_hold_on_other_machines", |machine| {
        passes(&machine, "check,turns,files,epoll,time,threads,signals,faults,memory,pointers")
    });
}

/// The topics of the program that checks from inside (guest-sdk/scos/programs, `check`), and what each shows.
const CHECKS: [(&str, &str); 10] = [
    ("processes", "processes_fork_and_run_programs_and_are_waited_for"),
    ("turns", "spinning_processes_are_preempted"),
    ("files", "files_pipes_and_descriptors_are_linux_s"),
    ("epoll", "epoll_watches_and_pairs_of_sockets_lead_to_children"),
    ("time", "clocks_sleeps_and_polls_are_linux_s"),
    ("threads", "std_threads_work"),
    ("signals", "signals_interrupt_calls_and_are_handled"),
    ("faults", "a_fault_ends_its_process_and_nobody_else"),
    ("memory", "memory_has_an_end_and_the_system_goes_on"),
    ("pointers", "a_bad_pointer_in_each_call_is_efault"),
];

/// One Cortex-A72 with GICv3.
fn one() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 1, "cortex-a72")]
}

/// The core with everything that QEMU has.
fn max() -> Vec<Variant> {
    vec![Variant::new(Gic::V3, 1, "max")]
}

/// The system control OS, whose first program runs another one and ends with it.
fn scos(line: &str) -> Partition {
    // It has sockets, though nobody to talk to.
    scos_with(line, "handles = 16\nrequests = 4\nareas = { pages = 8, channels = 1 }")
}

/// The same with other lines about whom it talks to.
fn scos_with(line: &str, talk: &str) -> Partition {
    control_os("scos")
        .with(&format!("cmdline = \"run={line}\""))
        .with("cores = 1")
        .with(talk)
        // As many processes as there can be are to fit beside the archive of all programs.
        .sized("80MiB")
}

/// Runs a program until it and the partition have ended; all that was printed.
fn run(machine: &Machine, line: &str) -> Result<String, Failed> {
    let mut running = support::system([scos(line)])?.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    let program = line.split(',').next().unwrap_or_default();
    if !console.contains(&format!("init: {program}: exit status: 0")) {
        return Err(running.failure(format!("{program} did not succeed:\n{console}")).into());
    }
    Ok(console)
}

/// The program checks from inside, and all is as it should be.
fn passes(machine: &Machine, line: &str) -> Outcome {
    support::approve(&run(machine, line)?)
}

/// The system without a program to run: a shell at the console.
fn shell(archive: &str, machine: &Machine) -> Result<Running, Failed> {
    let partition = Partition::new("scos", "scos")
        .with(&format!("initrd = \"scos/{archive}.cpio\""))
        .with("cores = 1")
        .sized("64MiB");
    let mut running = support::system([partition])?.boot(machine)?;
    running.wait_for("scos: ready", PATIENCE)?;
    Ok(running)
}

/// Types lines at a prompt, and waits for what follows each.
fn converse(running: &mut Running, prompt: &str, lines: &[(&str, &str)]) -> Outcome {
    for (line, answer) in lines {
        running.wait_for(prompt, PATIENCE)?;
        running.send(line)?;
        running.wait_for(answer, PATIENCE)?;
    }
    Ok(())
}

/// Line editing (DEL erases a letter, ^U a line), pipes, ^C and ^D.
fn own_shell(machine: Machine) -> Outcome {
    let mut running = shell("root", &machine)?;
    let lines = [
        ("hellox\u{7f} one | cat\n", "hello from a std program [\"one\"]\r\n"),
        ("ps\n", " ps \r\n"),
        ("help ps\n", "ps: list the processes\r\n"),
        ("nonsense\u{15}hello > /tmp/x\n", "\n"),
        ("cat < /tmp/x\n", "hello from a std program []\r\n"),
        ("cat\n", "cat\r\n"),
    ];
    converse(&mut running, "# ", &lines)?;
    running.send("typed\n")?;
    running.wait_for("typed\r\ntyped\r\n", PATIENCE)?;
    running.send("\u{3}")?;
    converse(&mut running, "# ", &[("echo $?\n", "\r\n130\r\n"), ("cat\n", "cat\r\n")])?;
    running.send("last\n\u{4}")?;
    running.wait_for("last\r\nlast\r\n", PATIENCE)?;
    converse(
        &mut running,
        "# ",
        &[("nothing\n", "there is no program `nothing`"), ("exit\n", "the shell has ended")],
    )
}

/// A program that nobody made for this system, and that has all that a shell needs: job control, raw mode, pipes, signals.
fn busybox(machine: Machine) -> Outcome {
    let mut running = shell("busybox", &machine)?;
    let lines = [
        ("echo $((6*7)) a b | wc -w\n", "\r\n3\r\n"),
        ("for i in 1 2 3; do echo n$i; done | sort -r\n", "\r\nn3\r\nn2\r\nn1\r\n"),
        ("seq 1 100 | awk '{s+=$1} END {print s}'\n", "\r\n5050\r\n"),
        ("cd /tmp; mkdir -p d/e; echo x > d/e/f; ls d/*; cat d/e/f\n", "\r\nf\r\nx\r\n"),
        ("sleep 100 & kill -9 %1; wait; echo done\n", "\r\ndone\r\n"),
        ("trap 'echo caught' USR1; kill -USR1 $$; sleep 0\n", "\r\ncaught\r\n"),
        ("ls /proc | grep -c uptime\n", "\r\n1\r\n"),
        ("sh -c 'echo begins; sleep 100'\n", "\r\nbegins\r\n"),
    ];
    converse(&mut running, "# ", &lines)?;
    running.send("\u{3}")?;
    converse(&mut running, "# ", &[("echo $?\n", "\r\n130\r\n"), ("exit\n", "the shell has ended")])
}

/// Random calls from a seed, which the program prints: `SHIKIRI_SEED`, and `cargo xtask soak scos::random --seed N` for long. The system makes policy, so
/// that they reach the hypervisor; what is made then runs on the second core. A guest on the third one sends back what children send it.
fn fuzz(machine: Machine) -> Outcome {
    let calls = counts::SYSTEM_CALLS.now();
    let line = format!("fuzz,{},{calls}", counts::seed());
    let talk = "handles = 64\nrequests = 8\nareas = { pages = 48, channels = 6 }\n\
                connect_to = [\"echo\"]\naccept_from = [\"echo\"]";
    let echo = Partition::new("echo", "messages")
        .with("cmdline = \"role=server\"\nconnect_to = [\"scos\"]\naccept_from = [\"scos\"]")
        .with("handles = 32\nrequests = 4\nareas = { pages = 16, channels = 2 }\ncores = [2]");
    let scos = scos_with(&line, talk)
        .with("[policy]\npartition = \"scos\"\npartitions = 3\nimages = [\"timer\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"100%\", event_ports = 64 }");
    let mut running = support::system([scos, echo])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE * u32::try_from(calls / 10_000)?.max(1))?;
    support::approve(&console)?;
    // The program passes without a peer too: here there is one.
    let words = "messages were sent to the peer";
    let told = console.lines().find(|line| line.contains(words));
    match told.filter(|line| !line.contains("fuzz: 0 ") && !line.contains(" 0 received")) {
        Some(_) => Ok(()),
        None => Err(running.failure(format!("{told:?}: none were sent, or none came")).into()),
    }
}

/// The C program over pipes with `poll`, non-blocking mode and EINTR, unchanged on both.
fn same_as_on_linux(machine: Machine) -> Outcome {
    let here = printed(&run(&machine, "relay")?, "", "init: relay");
    let linux =
        Partition::linux("linux", "quiet shikiri.script=program shikiri.program=/scos/relay")
            .with("cores = 1")
            .packed("scos/linux.cpio");
    let mut running = support::system([linux])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE * 2)?;
    let there = printed(&console, "program: begins", "program: exit status: 0");
    if here.len() < 20 || here != there {
        let (here, there) = (here.join("\n"), there.join("\n"));
        return Err(format!("here:\n{here}\n\non Linux:\n{there}").into());
    }
    Ok(())
}

/// What the program checks here is what Linux does: all that does not depend on how much memory there is, and on pages that are
/// written and executed.
fn checks_on_linux(machine: Machine) -> Outcome {
    let words = "quiet shikiri.script=program \
                 shikiri.program=/scos/check,turns,files,epoll,time,threads,signals,faults,pointers";
    let linux = Partition::linux("linux", words).with("cores = 1").packed("scos/linux.cpio");
    let mut running = support::system([linux])?.boot(&machine)?;
    let console = running.wait_for_power_off(PATIENCE * 3)?;
    support::approve(&console)?;
    if console.contains("done pointers") { Ok(()) } else { Err(console.into()) }
}

/// The lines that are neither the hypervisor's nor the kernel's, from one text to another.
fn printed(console: &str, from: &str, to: &str) -> Vec<String> {
    let ours = ["shikiri: ", "scos: ", "[focus: "];
    let lines = console.lines().map(str::trim_end);
    let lines =
        lines.filter(|line| !ours.iter().any(|start| line.starts_with(start)) && !line.is_empty());
    let behind = lines.skip_while(|line| !line.contains(from)).skip(usize::from(!from.is_empty()));
    behind.take_while(|line| !line.starts_with(to)).map(str::to_owned).collect()
}

/// The program prints this line.
fn says(machine: &Machine, line: &str, expected: &str) -> Outcome {
    let console = run(machine, line)?;
    if console.lines().any(|line| line.trim_end().ends_with(expected)) {
        return Ok(());
    }
    Err(format!("no {expected:?} in:\n{console}").into())
}
