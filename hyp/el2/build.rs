//! Links the hypervisor as a position-independent image with our own script.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../linker/hyp.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    for argument in [
        "-pie",
        "--no-dynamic-linker",
        "-znorelro",
        "-Bsymbolic",
        // Relocations in a few words (`start.s` applies them) instead of 24 bytes each.
        "--pack-dyn-relocs=relr",
        // One copy of functions with the same code; nothing here compares functions' addresses.
        "--icf=all",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
