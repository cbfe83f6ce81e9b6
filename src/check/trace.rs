//! The events of one run, in order, with virtual times.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::Event;

/// A node's place in its cluster: 0 is the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub u8);

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("n{}", self.0 + 1))
    }
}

impl fmt::Debug for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

/// One event, where and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Virtual milliseconds since the start of the run.
    pub at_ms: u64,
    /// The node; `None` for the harness itself.
    pub node: Option<NodeIndex>,
    /// What happened.
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  ", self.at_ms)?;
        match self.node {
            Some(node) => write!(f, "{node:<4}")?,
            None => write!(f, "--  ")?,
        }
        write!(f, "{}", self.event)
    }
}

/// What one run did.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    entries: Vec<Entry>,
}

impl Trace {
    /// Adds an event at the end.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// All events, in the order in which they happened.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same for the same events on every build and platform of one pointer width.
    pub fn hash128(&self) -> u128 {
        let mut hasher = StableHasher(Xxh3::new());
        self.entries.hash(&mut hasher);
        hasher.0.digest128()
    }
}

/// A hasher without a random key.
struct StableHasher(Xxh3);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.digest()
    }
}
