//! The hypervisor's own calls: each row of the call table with each status that it can answer.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "makes calls with arguments that are to be refused")]

use core::arch::asm;

use shikiri_abi::smccc::VENDOR_HYP_FAST64;
use shikiri_abi::{CALLS, RESOURCE_COUNT, Resource, Status};
use shikiri_rt::hvc::{Conduit, partition, raw};
use shikiri_rt::platform::platform;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

shikiri_rt::entry!(main);

fn main() {
    case("null_is_ok", || status("NULL", call(0, [0; 6]), Status::Ok));
    case("every_call_refuses_unused_registers", reserved);
    case("feature_knows_exactly_the_table", feature);
    case("feature_refuses_numbers_out_of_range", feature_range);
    case("partition_info_tells_the_truth", info);
    case("account_read_knows_every_resource", accounts);
    case("account_read_refuses_other_numbers", account_range);
    case("partition_end_refuses_long_codes", end_range);
    case("handle_limit_knows_two_rights", rights_range);
    case("numbers_without_a_row_are_not_supported", unknown);
    case("who_has_no_areas_is_told_so_by_the_rows_that_say_it", without_areas);
    case("the_function_id_is_in_w0", upper_half);
    case("smc_is_as_good_as_hvc", smc);
    case("calls_keep_x4_to_x30", registers);
    done()
}

fn call(number: u64, arguments: [u64; 6]) -> raw::Results {
    // SAFETY: no call of the table takes memory away, and PARTITION_END gets refused arguments only.
    unsafe { raw::hvc(u64::from(VENDOR_HYP_FAST64) + number, arguments) }
}

fn status(what: &'static str, [x0, ..]: raw::Results, want: Status) -> Outcome {
    equal(what, x0, want.code() as u64)
}

fn refused(what: &'static str, results: raw::Results, register: u64) -> Outcome {
    status(what, results, Status::InvalidParameter)?;
    equal("which", results[1], register)?;
    equal("x2", results[2], 0)?;
    equal("x3", results[3], 0)
}

fn reserved() -> Outcome {
    // Who has no capability learns nothing of a policy call's arguments: the topic `policy` tries those.
    for row in CALLS.iter().filter(|row| row.number < 0x100) {
        for register in row.arguments.len()..6 {
            for value in [1, u64::MAX, 1 << 63] {
                let mut arguments = [0; 6];
                arguments[register] = value;
                refused(row.name, call(u64::from(row.number), arguments), register as u64 + 1)?;
            }
        }
    }
    Ok(())
}

fn feature() -> Outcome {
    for number in 0..0x200 {
        let there = CALLS.iter().any(|row| u64::from(row.number) == number);
        let results = call(1, [number, 0, 0, 0, 0, 0]);
        status("FEATURE", results, Status::Ok)?;
        equal("present", results[1], u64::from(there))?;
    }
    Ok(())
}

fn feature_range() -> Outcome {
    for number in [0x200, 0x1_0000_0000, u64::MAX] {
        refused("FEATURE", call(1, [number, 0, 0, 0, 0, 0]), 1)?;
    }
    Ok(())
}

fn info() -> Outcome {
    let info = partition::info().map_err(refusal)?;
    equal("vCPUs", info.vcpus, platform().vcpus as u64)?;
    ensure("an id", info.id.0 != 0)?;
    ensure("started", info.starts >= 1)
}

fn accounts() -> Outcome {
    for resource in Resource::ALL {
        let line = partition::account(resource).map_err(refusal)?;
        ensure("used is not above the limit", line.limit.is_none_or(|limit| line.used <= limit))?;
        ensure("the high-water mark is not below use", line.high >= line.used)?;
    }
    let memory = partition::account(Resource::Memory).map_err(refusal)?;
    ensure("all RAM is charged", memory.used >= platform().ram_bytes / 4096)?;
    let own = partition::account(Resource::ManagementMemory).map_err(refusal)?;
    ensure("management memory is charged", own.used > 0)
}

fn account_range() -> Outcome {
    for number in [RESOURCE_COUNT as u64, 0x100, 1 << 32, u64::MAX] {
        refused("ACCOUNT_READ", call(3, [number, 0, 0, 0, 0, 0]), 1)?;
    }
    Ok(())
}

fn end_range() -> Outcome {
    refused("PARTITION_END", call(4, [1 << 32, 0, 0, 0, 0, 0]), 1)?;
    refused("PARTITION_END", call(4, [u64::MAX, 0, 0, 0, 0, 0]), 1)
}

fn rights_range() -> Outcome {
    for rights in [4, 7, 1 << 32 | 1, u64::MAX] {
        refused("HANDLE_LIMIT", call(9, [1 << 16, rights, 0, 0, 0, 0]), 2)?;
    }
    Ok(())
}

fn unknown() -> Outcome {
    for number in 0..0x400 {
        if CALLS.iter().all(|row| u64::from(row.number) != number) {
            status("unknown", call(number, [1, 2, 3, 4, 5, 6]), Status::NotSupported)?;
        }
    }
    Ok(())
}

/// This partition has neither areas nor handles; what its calls with good arguments answer is what their rows say.
fn without_areas() -> Outcome {
    for row in CALLS.iter().filter(|row| (0x09..0x100).contains(&row.number)) {
        let says = row.statuses.contains(&Status::NotSupported);
        let answer = call(u64::from(row.number), [0; 6])[0];
        equal(row.name, u64::from(answer == Status::NotSupported.code() as u64), u64::from(says))?;
    }
    Ok(())
}

fn upper_half() -> Outcome {
    // SAFETY: the call does nothing.
    let results = unsafe { raw::hvc(0xdead_beef_c600_0000, [0; 6]) };
    status("NULL", results, Status::Ok)
}

fn smc() -> Outcome {
    // SAFETY: the call does nothing.
    let results = unsafe { raw::call(Conduit::Smc, u64::from(VENDOR_HYP_FAST64), [0; 6]) };
    status("NULL", results, Status::Ok)?;
    // SAFETY: the call is refused.
    let results = unsafe { raw::call(Conduit::Smc, u64::from(VENDOR_HYP_FAST64), [7; 6]) };
    refused("NULL", results, 1)
}

/// Makes a call with a pattern in x4–x30 (arguments x4–x6 must be zero) and looks for changes.
fn registers() -> Outcome {
    let mut after = [0_u64; 31];
    for (function, x1) in
        [(0xC600_0000_u64, 0), (0xC600_0002, 0), (0xC600_0003, 2), (0xC600_00FF, 0)]
    {
        // SAFETY: queries; the function saves what it changes.
        unsafe { pattern_call(function, x1, &mut after) };
        for (index, value) in after.iter().enumerate().skip(4) {
            let want = if index < 7 { 0 } else { 0x1111_0000 + index as u64 };
            equal("a register", *value, want)?;
        }
    }
    Ok(())
}

/// # Safety
/// `function` must be a query.
unsafe fn pattern_call(function: u64, x1: u64, after: &mut [u64; 31]) {
    // SAFETY: the piece follows the procedure call standard.
    unsafe {
        asm!("bl calls_pattern", in("x0") function, in("x1") x1, in("x2") after.as_mut_ptr(), clobber_abi("C"));
    }
}

core::arch::global_asm!(
    "calls_pattern:",
    "stp x29, x30, [sp, #-112]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "str x2, [sp, #96]",
    "mov x2, #0",
    "mov x3, #0",
    "mov x4, #0",
    "mov x5, #0",
    "mov x6, #0",
    ".irp n, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    "movz x\\n, #0x1111, lsl #16",
    "movk x\\n, #\\n",
    ".endr",
    "hvc #0",
    "ldr x0, [sp, #96]",
    "stp x4, x5, [x0, #32]",
    "stp x6, x7, [x0, #48]",
    "stp x8, x9, [x0, #64]",
    "stp x10, x11, [x0, #80]",
    "stp x12, x13, [x0, #96]",
    "stp x14, x15, [x0, #112]",
    "stp x16, x17, [x0, #128]",
    "stp x18, x19, [x0, #144]",
    "stp x20, x21, [x0, #160]",
    "stp x22, x23, [x0, #176]",
    "stp x24, x25, [x0, #192]",
    "stp x26, x27, [x0, #208]",
    "stp x28, x29, [x0, #224]",
    "str x30, [x0, #240]",
    "ldp x19, x20, [sp, #16]",
    "ldp x21, x22, [sp, #32]",
    "ldp x23, x24, [sp, #48]",
    "ldp x25, x26, [sp, #64]",
    "ldp x27, x28, [sp, #80]",
    "ldp x29, x30, [sp], #112",
    "ret",
);

fn refusal(refusal: partition::Refusal) -> Failure {
    Failure { what: "refused", got: refusal.code as u64, want: 0 }
}
