//! The header for C, `guest-sdk/c/shikiri.h`.

use shikiri_abi::{
    AreaClass, Argument, CALLS, CallRow, Resource, SignalKind, Status, WINDOWS, channel, smccc,
};

use crate::{line, status_name};

/// Lines of comments end before this column.
const WIDTH: usize = 110;

const START: &str = "\
/* Hypercalls of Shikiri, for guests in C and C++ (C11, C++11; GCC or Clang).
 *
 * Generated from the call table (hyp/abi/src/call.rs): `UPDATE=1 cargo test -p shikiri-abi` writes it.
 * The reference with all registers is hyp/doc/abi.md.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef SHIKIRI_H
#define SHIKIRI_H

#include <stdint.h>
";

const CALLING: &str = "
/* What a call answers: x0, and x1 to x3. */
struct shikiri_answer {
    int64_t status;    /* enum shikiri_status */
    uint64_t value[3]; /* 0 where unused */
};

/* Calls by number. The hypervisor keeps x4 to x30; it may read and write memory whose address it is given or has
 * mapped, such as a message port's pages, so that the compiler must not keep any of it in registers. */
static inline struct shikiri_answer shikiri_call(uint32_t id, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                                                 uint64_t a5, uint64_t a6)
{
    register uint64_t x0 __asm__(\"x0\") = id;
    register uint64_t x1 __asm__(\"x1\") = a1;
    register uint64_t x2 __asm__(\"x2\") = a2;
    register uint64_t x3 __asm__(\"x3\") = a3;
    register uint64_t x4 __asm__(\"x4\") = a4;
    register uint64_t x5 __asm__(\"x5\") = a5;
    register uint64_t x6 __asm__(\"x6\") = a6;
    __asm__ volatile(\"hvc #0\"
                     : \"+r\"(x0), \"+r\"(x1), \"+r\"(x2), \"+r\"(x3)
                     : \"r\"(x4), \"r\"(x5), \"r\"(x6)
                     : \"memory\");
    struct shikiri_answer answer = {(int64_t)x0, {x1, x2, x3}};
    return answer;
}
";

/// The header.
pub(crate) fn text() -> String {
    let mut text = String::from(START);
    numbers(&mut text);
    statuses(&mut text);
    resources(&mut text);
    signals(&mut text);
    channels(&mut text);
    text.push_str(CALLING);
    for row in CALLS {
        call(&mut text, row);
    }
    text.push_str("\n#endif\n");
    text
}

fn define(text: &mut String, name: &str, value: &str, comment: &str) {
    let comment = if comment.is_empty() { String::new() } else { format!(" /* {comment} */") };
    line(text, &format!("#define SHIKIRI_{name} {value}{comment}"));
}

fn numbers(text: &mut String) {
    line(text, "\n/* Function ids (SMCCC, vendor-specific hypervisor service). */");
    define(text, "CALL_UID", &format!("{:#010x}u", smccc::VENDOR_HYP_UID), "");
    define(text, "REVISION", &format!("{:#010x}u", smccc::VENDOR_HYP_REVISION), "");
    for row in CALLS {
        define(text, row.name, &format!("{:#010x}u", row.function_id()), "");
    }
    line(text, "\n/* The four words that CALL_UID answers. */");
    let words: Vec<String> = smccc::UID.iter().map(|word| format!("{word:#010x}u")).collect();
    define(text, "UID", &format!("{{{}}}", words.join(", ")), "");
}

fn statuses(text: &mut String) {
    line(text, "\n/* What x0 says. */");
    line(text, "enum shikiri_status {");
    for status in Status::ALL {
        let name = format!("SHIKIRI_{} = {},", status_name(*status), status.code());
        line(text, &format!("    {name:<32} /* {status} */"));
    }
    line(text, "};");
}

fn resources(text: &mut String) {
    line(text, "\n/* Lines of an account. */");
    line(text, "enum shikiri_resource {");
    for resource in Resource::ALL {
        let name = format!("{resource}").to_uppercase().replace(' ', "_");
        line(text, &format!("    SHIKIRI_RESOURCE_{name} = {},", resource.number()));
    }
    line(text, "};");
}

fn signals(text: &mut String) {
    line(text, "\n/* What a control signal asks for: bits 56 to 63 of SIGNAL_TAKE's request. */");
    for kind in SignalKind::ALL {
        let name = format!("{kind}");
        let words = name.split(' ').skip(1).collect::<Vec<_>>().join("_").to_uppercase();
        define(text, &format!("ASKS_{words}"), &kind.code().to_string(), "");
    }
}

fn channels(text: &mut String) {
    line(text, "\n/* Message areas: classes, and where the window region starts. */");
    for class in AreaClass::ALL {
        let name = format!("CLASS_{class:?}").to_uppercase();
        define(text, &name, &class.code().to_string(), &format!("{} pages", class.pages().0));
    }
    define(
        text,
        "WINDOWS",
        &format!("UINT64_C({:#x})", WINDOWS.0),
        "an intermediate physical address",
    );
    line(
        text,
        "\n/* A message port's pages, in 64-bit words; `number` counts messages from 0. See hyp/abi/src/channel.rs. */",
    );
    for (name, value, comment) in [
        ("ARRIVALS", channel::ARRIVALS.to_string(), "entries of the ring"),
        ("ARRIVALS_STATE", channel::STATE.to_string(), "bit 0: connected; above: how often it was"),
        ("ARRIVALS_STARVED", channel::STARVED.to_string(), "not 0: the peer waits for a credit"),
        (
            "ENTRY_SEQUENCE",
            channel::SEQUENCE.to_string(),
            "number + 1 as soon as the message is there",
        ),
        ("ENTRY_AREA", channel::AREA.to_string(), "handle, or 0"),
        ("ENTRY_ADDRESS", channel::ADDRESS.to_string(), "of the area"),
        ("ENTRY_BYTES", channel::BYTES.to_string(), "that are meant"),
        ("ENTRY_SHORT", channel::SHORT.to_string(), "first of three words"),
        ("ENTRY_PAGES", channel::PAGES.to_string(), "of the area"),
        (
            "CREDITS_POSTED",
            channel::POSTED.to_string(),
            "messages that the guest has offered to take",
        ),
        ("CREDITS_CONSUMED", channel::CONSUMED.to_string(), "messages that the guest has taken"),
        (
            "CREDITS_POLLS",
            channel::POLLS.to_string(),
            "not 0: it looks for messages by itself, no event tells of them",
        ),
    ] {
        define(text, name, &value, comment);
    }
    let (words, ring) = (channel::ENTRY_WORDS, channel::ARRIVALS);
    define(
        text,
        "ENTRY(number)",
        &format!("((((number) % {ring}) + 1) * {words})"),
        "its first word",
    );
}

/// One call as a function.
fn call(text: &mut String, row: &CallRow) {
    line(text, "");
    let mut comment = vec![format!("{} ({})", row.summary, row.requirement)];
    comment.extend(row.arguments.iter().map(described));
    for (place, result) in row.results.iter().enumerate() {
        comment.push(format!("value[{place}] = {}", described(result)));
    }
    let statuses: Vec<String> = row.statuses.iter().map(|status| status_name(*status)).collect();
    comment.push(format!("Answers: {}.", statuses.join(", ")));
    write_comment(text, &comment);
    let name = row.name.to_lowercase();
    let parameters: Vec<String> =
        row.arguments.iter().map(|argument| format!("uint64_t {}", identifier(argument))).collect();
    let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
    let mut registers: Vec<String> = row.arguments.iter().map(identifier).collect();
    registers.resize(6, "0".to_owned());
    line(text, &format!("static inline struct shikiri_answer shikiri_{name}({parameters})"));
    line(text, "{");
    line(
        text,
        &format!("    return shikiri_call(SHIKIRI_{}, {});", row.name, registers.join(", ")),
    );
    line(text, "}");
}

fn described(argument: &Argument) -> String {
    format!("{}: {}", argument.name, argument.meaning)
}

/// A name that is none of C's or C++'s words.
fn identifier(argument: &Argument) -> String {
    let name = argument.name.replace(' ', "_");
    if name == "class" { "class_".to_owned() } else { name }
}

fn write_comment(text: &mut String, paragraphs: &[String]) {
    let mut start = "/* ";
    for paragraph in paragraphs {
        let mut current = String::from(start);
        for word in paragraph.split(' ') {
            if current.len().saturating_add(word.len()) > WIDTH {
                line(text, current.trim_end());
                current = String::from(" *   ");
            }
            current.push_str(word);
            current.push(' ');
        }
        line(text, current.trim_end());
        start = " * ";
    }
    line(text, " */");
}
