//! What a program does with partitions that were made: sockets, images, the device's calls.

use shikiri_qemu_tests::{Failure, Machine};

use super::{file, prompt};
use crate::support::{self, Outcome, PATIENCE, Partition, control_os};

/// A guest that the policy makes finds this system's service, and this system finds the guest's, by name and by number; of one that the
/// policy makes beside it, and lets talk to nobody, nothing is to be found.
pub(super) fn peer(machine: Machine) -> Outcome {
    let scos = control_os("scos")
        .with("cores = [0]\nhandles = 64\nrequests = 8")
        .with("areas = { pages = 32, channels = 4 }")
        .with(&format!("files = {{ \"/etc/policy.toml\" = \"{}\" }}", file("peers.policy")))
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
pub(super) fn loads(machine: Machine) -> Outcome {
    let scos = control_os("scos")
        .with("cores = [0]\nhandles = 64\nrequests = 8")
        .with("areas = { pages = 32, channels = 4 }\ncmdline = \"run=sockets,loads\"")
        .with("connect_to = [\"one\"]\naccept_from = [\"one\"]");
    let one = Partition::new("one", "sockets")
        .with("handles = 64\nrequests = 4\nareas = { pages = 16, channels = 2 }")
        .with("connect_to = [\"scos\"]\naccept_from = [\"scos\"]")
        .with("cmdline = \"scos=0\"\ncores = [1]")
        .with("[policy]\npartition = \"scos\"\npartitions = 1\nimages = [\"timer\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"100%\" }");
    support::passes(&support::system([scos, one])?, &machine)?;
    Ok(())
}

/// What the device copies from a program is the program's: EFAULT otherwise.
pub(super) fn door(machine: Machine) -> Outcome {
    let scos = control_os("scos")
        .with("cores = [0]\nhandles = 16")
        .with("cmdline = \"run=check,door\"")
        .with("[policy]\npartition = \"scos\"\npartitions = 1\nimages = [\"timer\"]")
        .with("handout = { memory = \"16MiB\", core_time = \"100%\" }");
    let console = support::passes(&support::system([scos])?, &machine)?;
    if console.contains("done door") {
        Ok(())
    } else {
        Err(Failure::new("the check has not come to its end", &console).into())
    }
}
