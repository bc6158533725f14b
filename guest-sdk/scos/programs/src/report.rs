//! How the test programs say what they found, as the QEMU tests look for it.

/// Says that a check has passed.
pub fn ok(what: &str) {
    println!("ok {what}");
}

/// Says that a check has failed.
pub fn fail(what: &str, why: &str) {
    println!("FAIL {what}: {why}");
}

/// Passes if both are equal.
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) {
    if found == expected {
        ok(what);
    } else {
        fail(what, &format!("{found:?}, expected {expected:?}"));
    }
}

/// Passes if it holds.
pub fn holds(what: &str, is_so: bool) {
    equal(what, is_so, true);
}
