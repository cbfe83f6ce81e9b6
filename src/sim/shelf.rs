//! Where the devices of all nodes keep their bytes: equal pieces once, however many nodes and files hold them.
//!
//! So a payload of a GiB that repeats itself takes the memory of what it repeats. Small runs share nothing: to find an
//! equal piece costs a hash.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

/// What a run may keep before equal pieces are looked for.
const UNSHARED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The most pieces that are remembered: of a payload that does not repeat itself, remembering them would save nothing.
const REMEMBERED_MAX: usize = 4 * 1024;

/// The bytes of one run.
#[derive(Default)]
pub(super) struct Shelf {
    kept: Cell<u64>,
    known: RefCell<BTreeMap<u128, Bytes>>,
}

impl Shelf {
    /// The bytes, or equal ones that are kept already.
    pub(super) fn keep(&self, bytes: Bytes) -> Bytes {
        self.kept.set(self.kept.get() + bytes.len() as u64);
        if self.kept.get() <= UNSHARED_BYTES_MAX || bytes.is_empty() {
            return bytes;
        }
        let mut known = self.known.borrow_mut();
        let hash = xxh3_128(&bytes);
        match known.get(&hash) {
            Some(equal) if *equal == bytes => equal.clone(),
            Some(_) => bytes,
            None if known.len() >= REMEMBERED_MAX => bytes,
            None => {
                // A copy: a piece of a larger buffer would keep all of it.
                let own = Bytes::copy_from_slice(&bytes);
                known.insert(hash, own.clone());
                own
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pieces_are_the_same_memory_once_a_run_keeps_much() {
        let (shelf, piece) = (Shelf::default(), vec![7; 1024 * 1024]);
        let kept: Vec<Bytes> = (0..20).map(|_| shelf.keep(piece.clone().into())).collect();
        assert!(kept.iter().all(|kept| *kept == piece));
        assert_ne!(kept[0].as_ptr(), kept[1].as_ptr());
        assert_eq!(kept[18].as_ptr(), kept[19].as_ptr());
    }
}
