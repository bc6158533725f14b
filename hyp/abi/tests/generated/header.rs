//! The header for C, `guest-sdk/c/shikiri.h`.

mod constants;
mod pages;

use shikiri_abi::{Argument, CALLS, CallRow, smccc};

use crate::{line, status_name};

/// Lines of comments end before this column.
const WIDTH: usize = 110;

const START: &str = "\
/* Hypercalls of Shikiri, for guests in C and C++ (from C99 and C++11 on; GCC or Clang).
 *
 * Generated from the call table (hyp/abi/src/call.rs): `UPDATE=1 cargo test -p shikiri-abi` writes it.
 * The reference with all registers is hyp/doc/abi.md.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef SHIKIRI_H
#define SHIKIRI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {
#endif
";

const CALLING: &str = "
/* What a call answers: x0, and x1 to x3. */
struct shikiri_answer {
    int64_t status;    /* enum shikiri_status */
    uint64_t value[3]; /* 0 where unused */
};

#if defined(__aarch64__)
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
#else
/* Elsewhere there is no hypervisor: a test of a guest's code that runs where it is built answers by itself. */
struct shikiri_answer shikiri_call(uint32_t id, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                                   uint64_t a6);
#endif
";

const END: &str = "
#ifdef __cplusplus
}
#endif

#endif
";

/// The header.
pub(crate) fn text() -> String {
    let mut text = String::from(START);
    numbers(&mut text);
    constants::write(&mut text);
    pages::write(&mut text);
    text.push_str(CALLING);
    for row in CALLS {
        call(&mut text, row);
    }
    text.push_str(END);
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
    define(text, "NUMBER(id)", "((id) & 0xffffu)", "a call's number, as FEATURE wants it");
    line(text, "\n/* The revision of this header, as REVISION answers it. */");
    define(text, "REVISION_MAJOR", &smccc::REVISION_MAJOR.to_string(), "");
    define(text, "REVISION_MINOR", &smccc::REVISION_MINOR.to_string(), "");
    line(text, "\n/* The four words that CALL_UID answers. */");
    let words: Vec<String> = smccc::UID.iter().map(|word| format!("{word:#010x}u")).collect();
    define(text, "UID", &format!("{{{}}}", words.join(", ")), "");
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
