//! The reference page `hyp/doc/abi.md`.

use std::fmt::Write as _;

use shikiri_abi::{Argument, CALLS, CallRow, Resource, Status, smccc};

use crate::{line, status_name};

/// What no table says.
const INTRODUCTION: &str = "\
# Hypercalls

This page is generated from the call table (`hyp/abi/src/call.rs`) and the status codes (`hyp/abi/src/status.rs`):
`UPDATE=1 cargo test -p shikiri-abi` writes it, and that crate's tests fail when it is out of date.

## How to call

- `HVC #0`, SMC Calling Convention 1.2 (Arm DEN 0028). `SMC #0` does the same. An HVC or SMC with another immediate is
  UNDEFINED at the guest.
- The function id is in `w0`; the upper half of `x0` is ignored. Arguments are in `x1` to `x6`.
- Argument registers that a call does not use must be zero, so that a later version can give them a meaning.
- Results: `x0` is the status, `x1` to `x3` are values, zero where unused. `x4` to `x30` and all FP/SIMD
  registers are kept.
- A refusal changes nothing. With INVALID_PARAMETER, `x1` says which argument register was wrong.
- Calls never wait and are bounded. An unknown call is NOT_SUPPORTED, and nothing is printed: what a guest does
  is nobody else's noise.
- NOT_SUPPORTED is also what AREA_… and CHANNEL_… answer in a partition whose description gives it no `areas`, and SHARED_… in one
  without `shared` among them.
- Numbers below `0x100` are for every guest; `0x100` to `0x1ff` need the policy capability, which the description gives to one
  partition: whoever has it not is answered NOT_PERMITTED, whatever the arguments. A number is never given twice.

In Rust: `guest-sdk/hvc`, or `shikiri_rt::hvc` for guests that use the run-time.
";

/// What is served besides the table.
const STANDARDS: &str = "\
## Served as the standards say

| service | what |
|---|---|
| PSCI 1.1 (Arm DEN 0022) | VERSION, CPU_ON, CPU_OFF, CPU_SUSPEND, AFFINITY_INFO, MIGRATE_INFO_TYPE, SYSTEM_OFF, SYSTEM_RESET, SYSTEM_RESET2, FEATURES; 32- and 64-bit forms. SYSTEM_OFF and SYSTEM_RESET concern the partition. One power level; everything else is NOT_SUPPORTED |
| Arm architecture service | SMCCC_VERSION, SMCCC_ARCH_FEATURES. The workaround calls are absent: they would promise what no firmware was asked for |
| Vendor-specific hypervisor service | the UID and revision above, and the calls |
";

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    identity(&mut page);
    page.push_str("\n## The calls\n\n| function id | name | what |\n|---|---|---|\n");
    for row in CALLS {
        let anchor = row.name.to_lowercase();
        line(
            &mut page,
            &format!(
                "| `{:#010x}` | [{}](#{anchor}) | {} |",
                row.function_id(),
                row.name,
                row.summary
            ),
        );
    }
    for row in CALLS {
        call(&mut page, row);
    }
    statuses(&mut page);
    resources(&mut page);
    page.push('\n');
    page.push_str(STANDARDS);
    page
}

fn identity(page: &mut String) {
    let words: Vec<String> = smccc::UID.iter().map(|word| format!("`{word:#010x}`")).collect();
    page.push_str(
        "\n## Whose hypervisor is this\n\n| function id | question | answer |\n|---|---|---|\n",
    );
    let uid = format!(
        "| `{:#010x}` | CALL_UID | `x0` to `x3`: {} |",
        smccc::VENDOR_HYP_UID,
        words.join(", ")
    );
    line(page, &uid);
    let (major, minor) = (smccc::REVISION_MAJOR, smccc::REVISION_MINOR);
    let id = smccc::VENDOR_HYP_REVISION;
    line(
        page,
        &format!("| `{id:#010x}` | REVISION | `x0` = {major}, `x1` = {minor}: major, minor |"),
    );
    line(page, "");
    line(
        page,
        "A new call raises the minor number; a change that breaks guests raises the major one.",
    );
}

fn call(page: &mut String, row: &CallRow) {
    let _written = write!(page, "\n### {}\n\n{} ({})\n\n", row.name, row.summary, row.requirement);
    line(page, "| register | in | out |");
    line(page, "|---|---|---|");
    line(page, &format!("| `x0` | `{:#010x}` | status |", row.function_id()));
    let count = row.arguments.len().max(row.results.len());
    for (register, place) in (1..).zip(0..count) {
        let cell = |list: &[Argument], unused: &str| {
            list.get(place).map_or(unused.to_owned(), |a| format!("{}: {}", a.name, a.meaning))
        };
        let (given, answered) = (cell(row.arguments, "0"), cell(row.results, "0"));
        line(page, &format!("| `x{register}` | {given} | {answered} |"));
    }
    let names: Vec<String> = row.statuses.iter().map(|status| status_name(*status)).collect();
    line(page, "");
    line(page, &format!("Answers: {}.", names.join(", ")));
}

fn statuses(page: &mut String) {
    line(page, "\n## Statuses\n");
    line(page, "Numbers below -15 are ours and are only ever added to.\n");
    line(page, "| `x0` | name | meaning | answered by |");
    line(page, "|--:|---|---|---|");
    for status in Status::ALL {
        let by: Vec<&str> =
            CALLS.iter().filter(|row| row.statuses.contains(status)).map(|row| row.name).collect();
        let others = (*status == Status::NotSupported).then_some("what does not exist");
        let by: Vec<&str> = others.into_iter().chain(by).collect();
        let by = by.join(", ");
        let text = format!("| {} | {} | {status} | {by} |", status.code(), status_name(*status));
        line(page, &text);
    }
}

fn resources(page: &mut String) {
    line(page, "\n## Resources of an account\n");
    line(page, "| number | resource |");
    line(page, "|--:|---|");
    for resource in Resource::ALL {
        line(page, &format!("| {} | {resource} |", resource.number()));
    }
}
