//! What is generated from the call table and the status codes is up to date: the reference page, and the header for C.
//!
//! `UPDATE=1 cargo test -p shikiri-abi` writes both anew.

mod header;
mod reference;

use std::path::PathBuf;

use shikiri_abi::Status;

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

/// `OverLimit` as OVER_LIMIT.
fn snake(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// A status as the reference and the header name it.
fn status_name(status: Status) -> String {
    snake(&format!("{status:?}"))
}

/// Fails if a file of the repository is not `expected`, or writes it.
fn is_up_to_date(file: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if std::env::var_os("UPDATE").is_some() {
        // If it fails, what is found is out of date.
        let _written = std::fs::write(&path, expected);
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is out of date: UPDATE=1 cargo test -p shikiri-abi");
}

#[test]
fn the_reference_page_is_what_the_call_table_says() {
    is_up_to_date("hyp/doc/abi.md", &reference::page());
}

#[test]
fn the_header_for_c_is_what_the_call_table_says() {
    is_up_to_date("guest-sdk/c/shikiri.h", &header::text());
}
