//! The QEMU tests: each boots a fresh machine and looks at it from outside. One module per topic.
//!
//! `cargo xtask test` builds the images and runs them. Names are sentences; the machine stands behind
//! them in brackets, so that a filter can also choose `gic2`, `4 cores` or `max`.

mod boot;
mod channels;
mod commands;
mod console;
mod control;
mod devices;
mod events;
mod faults;
mod guests;
mod hostile;
mod in_c;
mod lifecycle;
mod linux;
mod loading;
mod moving;
mod native;
mod objects;
mod own;
mod page;
mod policy;
mod pools;
mod remote;
mod rights;
mod rpi4;
mod scos;
mod services;
mod shared;
mod sharing;
mod sockets;
mod support;
mod systems;

use libtest_mimic::{Arguments, Trial};
use shikiri_qemu_tests::{comparisons, counts};

/// A topic adds its tests.
type Topic = fn(&mut Vec<Trial>);

const TOPICS: [Topic; 30] = [
    systems::trials,
    in_c::trials,
    commands::trials,
    own::trials,
    page::trials,
    native::trials,
    boot::trials,
    loading::trials,
    guests::trials,
    events::trials,
    channels::trials,
    shared::trials,
    services::trials,
    pools::trials,
    remote::trials,
    objects::trials,
    rights::trials,
    policy::trials,
    control::trials,
    console::trials,
    lifecycle::trials,
    sharing::trials,
    moving::trials,
    hostile::trials,
    faults::trials,
    devices::trials,
    linux::trials,
    scos::trials,
    sockets::trials,
    rpi4::trials,
];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for topic in TOPICS {
        topic(&mut trials);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if counts::is_checked() {
        println!("{}", comparisons::of_all());
    }
    conclusion.exit();
}
