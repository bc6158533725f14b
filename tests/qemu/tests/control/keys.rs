//! Keys at the shell's prompt, and during its commands: whom they reach.

use libtest_mimic::Failed;
use shikiri_qemu_tests::{Machine, Running};

use super::{boot, converse, file, prompt, scos, timer, with_talk};
use crate::support::{self, Outcome, PATIENCE, Partition};

/// ^C.
const INTERRUPT: &str = "\u{3}";
/// ^\.
const QUIT: &str = "\u{1c}";
/// ^Z, and ^U behind it.
const STOP: &str = "\u{1a}\u{15}";

/// What is typed, what shows that it has begun, and what would show that the line went on behind it.
const COMMANDS: [(&str, &str); 4] = [
    ("part wait timer active 600s; echo ne''ver\n", "echo ne''ver"),
    ("cat; echo ne''ver\n", "echo ne''ver"),
    // The shell within does not go on either, and neither does this one behind it.
    ("sh -c \"cat; echo ne''ver\"; echo ne''ver\n", "sh -c"),
    ("top -d 600s; echo ne''ver\n", "partition  id  state"),
];

/// At the prompt there is a new one; of a line the command ends and what stands behind it. The policy program and a service go on.
pub(super) fn interrupted(machine: Machine) -> Outcome {
    let mut running = boot_with_service(&machine)?;
    let before = processes(&mut running)?;
    // ^Z is a letter of the line: no program is stopped, for nothing would have it go on.
    for (key, shown) in [(INTERRUPT, "shikiri:/# "), (QUIT, "shikiri:/# "), (STOP, "^Z")] {
        running.send("half a line")?;
        running.wait_for("half a line", PATIENCE)?;
        running.send(key)?;
        running.wait_for(shown, PATIENCE)?;
        converse(&mut running, &[("echo af''ter", "| after")])?;
    }
    for (line, begins) in COMMANDS {
        running.send(line)?;
        running.wait_for(begins, PATIENCE)?;
        running.send(INTERRUPT)?;
        let seen = running.wait_for("shikiri:/# ", PATIENCE)?;
        converse(&mut running, &[("echo is=$?", "| is=130")])?;
        if seen.contains("| never") {
            return Err(running.failure(format!("{line}: the line went on: {seen}")).into());
        }
    }
    let after = processes(&mut running)?;
    let is_whole = ["/bin/policyd", "/bin/socket-echo"].iter().all(|it| before.contains(it));
    if !is_whole || before != after {
        let text = format!("the programs were {before}\nand are {after}");
        return Err(running.failure(text).into());
    }
    Ok(())
}

/// A machine with a policy program and a service, at its first prompt.
fn boot_with_service(machine: &Machine) -> Result<Running, Failed> {
    let service = "cmdline = \"service=socket-echo,7\"\nhandles = 64\nrequests = 8";
    let scos = with_talk(Some(&file("quiet.policy")), service, "");
    let mut running = support::system([timer(), scos])?.boot(machine)?;
    prompt(&mut running)?;
    Ok(running)
}

/// What runs in the system: number and program of each, without `ps` itself.
fn processes(running: &mut Running) -> Result<String, Failed> {
    running.send("ps; echo that''s all\n")?;
    let seen = running.wait_for("| thats all", PATIENCE)?;
    running.wait_for("shikiri:/# ", PATIENCE)?;
    let words = seen.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let programs = words.filter_map(|words| match words.as_slice() {
        [number, _, _, _, _, program, ..] if number.parse::<u32>().is_ok() && *program != "ps" => {
            Some(format!("{number} {program}\n"))
        }
        _ => None,
    });
    Ok(programs.collect())
}

/// The system that makes policy ends itself: before and after that it is said how it is started again, and that is so.
pub(super) fn ends_itself(machine: Machine) -> Outcome {
    // Beside one that lives: when all have ended the machine goes off.
    let other = Partition::new("other", "timer").with("cmdline = \"ticks=1000000\"\ncores = [1]");
    let mut running = support::system([scos(None), other])?.boot(&machine)?;
    prompt(&mut running)?;
    running.send("part end scos\n")?;
    let said = [
        "scos| scos is to end, and this shell with it; at the operator console (Ctrl-A c) `start scos` starts it again",
        "partition scos (id 1) has ended: it was stopped by the policy program; Ctrl-A c, then 'start scos' starts it",
    ];
    running.wait_for_all(&said, PATIENCE)?;
    support::open_operator(&mut running)?;
    running.send("start scos\r")?;
    running.wait_for("scos| shikiri:/# ", PATIENCE)?;
    Ok(())
}

/// One byte is a key; afterwards lines are edited and echoed as before.
pub(super) fn top_ends(machine: Machine) -> Outcome {
    let mut running = boot(&machine, None)?;
    for key in ["q", " ", "\r", INTERRUPT] {
        running.send("top -d 600s\n")?;
        running.wait_for("partition  id  state", PATIENCE)?;
        running.send(key)?;
        running.wait_for("shikiri:/# ", PATIENCE)?;
        // The last letter is taken back; the echo of the line differs from what it says.
        running.send("echo ed''itedx\u{7f}")?;
        running.wait_for("echo ed''itedx", PATIENCE)?;
        converse(&mut running, &[("", "| edited\r\n")])?;
        // Arrow keys are no letters: the line before comes back by ↑, and another arrow changes nothing.
        running.send("half\u{1b}[A\u{1b}[D")?;
        running.wait_for("echo ed''ited", PATIENCE)?;
        converse(&mut running, &[("\u{1b}[C twice", "| edited twice\r\n")])?;
    }
    Ok(())
}
