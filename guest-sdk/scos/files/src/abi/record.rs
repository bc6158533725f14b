//! Writing fields of a structure at their places.

/// Writes `bytes` at `at`; what would lie outside is left out.
pub(crate) fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if let Some(field) = record.get_mut(at..end) {
        field.copy_from_slice(bytes);
    }
}

/// The field of `N` bytes at `at`; what lies outside is 0.
pub(crate) fn get<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    let end = at.saturating_add(N);
    if let Some(bytes) = record.get(at..end) {
        field.copy_from_slice(bytes);
    }
    field
}
