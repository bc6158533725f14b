//! Links the hypervisor as a position-independent image with our own script.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../linker/hyp.ld");
    println!("cargo:rerun-if-changed={script}");
    for argument in
        [&format!("-T{script}"), "-pie", "--no-dynamic-linker", "-znorelro", "-Bsymbolic"]
    {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
