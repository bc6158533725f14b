//! How the kernel is linked: as every guest, a position-independent image laid out by `linker/guest.ld`.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../linker/guest.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=-pie");
    // Constants hold addresses too; start-up applies those relocations before it protects them.
    println!("cargo:rustc-link-arg-bins=-znotext");
    println!("cargo:rustc-link-arg-bins=--no-dynamic-linker");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
    println!("cargo:rustc-link-arg-bins=-znorelro");
}
