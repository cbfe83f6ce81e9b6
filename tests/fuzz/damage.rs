//! Inputs out of the corpus, damaged as random bytes say: without a look at the code, plain noise gets nowhere.

use std::path::PathBuf;

/// The most changes to one input.
const CHANGES_MAX: usize = 8;

/// Bytes that say one change: its kind, where, and what.
const CHANGE_BYTES: usize = 4;

/// An input: one in eight is the noise itself.
pub(crate) fn of(corpus: &[(PathBuf, Vec<u8>)], noise: &[u8]) -> Vec<u8> {
    let [kind, which, changes @ ..] = noise else { return noise.to_vec() };
    if kind % 8 == 0 {
        return changes.to_vec();
    }
    let mut bytes = corpus[usize::from(*which) % corpus.len()].1.clone();
    for change in changes.chunks_exact(CHANGE_BYTES).take(1 + usize::from(*kind) % CHANGES_MAX) {
        let [kind, high, low, value] = change.try_into().expect("a change has so many bytes");
        let at = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
        apply(&mut bytes, at, kind, value);
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, at: usize, kind: u8, value: u8) {
    let end = (at + usize::from(value)).min(bytes.len());
    match kind % 6 {
        0 => bytes.insert(at, value),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.extend_from_within(at..end),
        3 => bytes.truncate(at),
        4 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
        _ if at < bytes.len() => bytes[at] = value,
        _ => {}
    }
}
