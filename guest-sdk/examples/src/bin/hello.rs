//! Says hello and turns its partition off.
#![no_std]
#![no_main]

use shikiri_rt::{hvc, platform, println};

shikiri_rt::entry!(main);

fn main() {
    let platform = platform::platform();
    println!("hello: {} vCPU, {} KiB of RAM", platform.vcpus, platform.ram_bytes / 1024);
    match hvc::partition::info() {
        Ok(info) => println!("hello: partition {}, start {}", info.id.0, info.starts),
        Err(_) => println!("hello: no hypervisor below"),
    }
}
