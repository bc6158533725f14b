//! The layers: which crate of the workspace may import which, as the architecture's picture says.

use crate::metadata::{Dependency, Package, Workspace};

/// Each crate and what it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("shikiri-abi", &[]),
    ("shikiri-arch", &["shikiri-abi"]),
    ("shikiri-vgic", &["shikiri-abi", "shikiri-arch", "shikiri-sync"]),
    ("shikiri-stage2", &["shikiri-abi", "shikiri-arch"]),
    ("shikiri-config", &["shikiri-abi"]),
    ("shikiri-sync", &["shikiri-abi"]),
    ("shikiri-pages", &["shikiri-abi", "shikiri-sync"]),
    ("shikiri-drivers", &["shikiri-abi", "shikiri-arch", "shikiri-sync"]),
    ("shikiri-core", PURE_AND_STORAGE),
    ("shikiri-boards", &[]),
    ("shikiri-el2", EL2),
    ("shikiri-hvc", &["shikiri-abi", "shikiri-arch"]),
    ("shikiri-rt", &["shikiri-abi", "shikiri-arch", "shikiri-hvc"]),
    ("shikiri-rpc", &[]),
    ("shikiri-object", &["shikiri-abi", "shikiri-arch", "shikiri-hvc", "shikiri-rt"]),
    ("shikiri-tree", &[]),
    ("shikiri-policy", &["shikiri-abi", "shikiri-arch", "shikiri-hvc"]),
    ("shikiri-arrivals", &["shikiri-abi"]),
    ("shikiri-channel", CHANNEL),
    ("shikiri-rpc-channel", RPC_CHANNEL),
    ("shikiri-shared", SHARED),
    ("shikiri-scos-files", &[]),
    ("shikiri-scos-core", &["shikiri-scos-files"]),
    ("shikiri-scos", SCOS),
    ("shikiri-machine", &["shikiri-abi", "shikiri-tree"]),
    ("shikiri-policyd", &["shikiri-abi", "shikiri-machine"]),
    ("shikiri-sh", &["shikiri-abi", "shikiri-machine"]),
    ("shikiri-scos-programs", PROGRAMS),
    ("shikiri-examples", GUEST),
    ("shikiri-test-guests", GUEST),
    ("shikiri-describe", DESCRIBE),
    ("shikiri-qemu-tests", &["shikiri-describe"]),
    ("shikiri-insn-count", &[]),
    ("xtask", &["shikiri-abi", "shikiri-describe", "shikiri-qemu-tests"]),
    ("shikiri-model", MODEL),
];

/// What the core may import: the pure crates and the storage and locks that EL2 gives it.
const PURE_AND_STORAGE: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-vgic",
    "shikiri-stage2",
    "shikiri-config",
    "shikiri-pages",
    "shikiri-sync",
];

/// What the description compiler may import: what it writes for, and the policy file's rules, which it tells as the policy program would.
const DESCRIBE: &[&str] = &[
    "shikiri-abi",
    "shikiri-boards",
    "shikiri-config",
    "shikiri-machine",
    "shikiri-policyd",
    "shikiri-tree",
];

/// What the system control OS's programs may import: what the tests need to know of its kernel, and the programs' own libraries.
const PROGRAMS: &[&str] = &[
    "shikiri-scos-core",
    "shikiri-scos-files",
    "shikiri-machine",
    "shikiri-policyd",
    "shikiri-sh",
];

/// What the binary may import: everything that runs at EL2.
const EL2: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-vgic",
    "shikiri-stage2",
    "shikiri-config",
    "shikiri-core",
    "shikiri-pages",
    "shikiri-sync",
    "shikiri-drivers",
    "shikiri-boards",
];

/// What the SDK's library for shared areas may import.
const SHARED: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-arrivals",
    "shikiri-channel",
    "shikiri-hvc",
    "shikiri-rt",
];

/// What carries calls over a channel.
const RPC_CHANNEL: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-arrivals",
    "shikiri-channel",
    "shikiri-hvc",
    "shikiri-rpc",
    "shikiri-rt",
];

/// What the SDK's library for channels may import.
const CHANNEL: &[&str] =
    &["shikiri-abi", "shikiri-arch", "shikiri-arrivals", "shikiri-hvc", "shikiri-rt"];

/// What a guest may import: the SDK and the facts that it shares with the hypervisor.
const GUEST: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-hvc",
    "shikiri-rt",
    "shikiri-rpc",
    "shikiri-object",
    "shikiri-policy",
    "shikiri-tree",
    "shikiri-channel",
    "shikiri-rpc-channel",
    "shikiri-shared",
];

/// What the system control OS's kernel may import.
const SCOS: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-arrivals",
    "shikiri-hvc",
    "shikiri-scos-core",
    "shikiri-scos-files",
];

/// What the model machine may import: what it is a model for.
const MODEL: &[&str] = &[
    "shikiri-abi",
    "shikiri-arch",
    "shikiri-vgic",
    "shikiri-stage2",
    "shikiri-config",
    "shikiri-core",
    "shikiri-pages",
    "shikiri-sync",
    "shikiri-drivers",
    "shikiri-arrivals",
];

/// The crate that anybody's tests may import in addition.
const TEST_MACHINE: &str = "shikiri-model";

/// One line for each import that is not allowed.
pub(crate) fn violations(workspace: &Workspace) -> Vec<String> {
    let own = |dependency: &&Dependency| dependency.path.is_some();
    let mut lines = Vec::new();
    for package in &workspace.packages {
        for dependency in package.dependencies.iter().filter(own) {
            let is_test = dependency.kind.as_deref() == Some("dev");
            lines.extend(violation(package, &dependency.name, is_test));
        }
        if allowed_for(&package.name).is_none() {
            lines.push(format!("{}: not in the picture of the layers", package.name));
        }
    }
    lines
}

fn violation(package: &Package, imported: &str, is_test: bool) -> Option<String> {
    judge(&package.name, imported, is_test)
}

fn judge(importer: &str, imported: &str, is_test: bool) -> Option<String> {
    let allowed = allowed_for(importer)?;
    // A crate may name itself for its tests, to switch its own features on.
    let is_test_help = is_test && (imported == TEST_MACHINE || imported == importer);
    if allowed.contains(&imported) || is_test_help {
        return None;
    }
    let how = if is_test { "must not import, even for its tests," } else { "must not import" };
    Some(format!("{importer} {how} {imported}"))
}

fn allowed_for(importer: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(name, _)| *name == importer).map(|(_, allowed)| *allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_against_the_layers_names_both_crates() {
        let line = judge("shikiri-vgic", "shikiri-core", false).unwrap();
        assert_eq!(line, "shikiri-vgic must not import shikiri-core");
    }

    #[test]
    fn tests_may_use_the_model_machine_and_products_may_not() {
        assert_eq!(judge("shikiri-core", TEST_MACHINE, true), None);
        assert!(judge("shikiri-core", TEST_MACHINE, false).is_some());
    }

    #[test]
    fn the_picture_has_no_cycle() {
        // A crate may only import crates whose own imports are a smaller set.
        fn depth(name: &str, left: u32) -> u32 {
            assert!(left > 0, "{name} is part of a cycle");
            let imports = allowed_for(name).unwrap_or_default();
            imports.iter().map(|next| depth(next, left - 1) + 1).max().unwrap_or(0)
        }
        for (name, imports) in ALLOWED {
            depth(name, 20);
            for import in *imports {
                assert!(allowed_for(import).is_some(), "{name} imports the unknown {import}");
            }
        }
    }
}
