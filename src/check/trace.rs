//! The events of one run, in order, with virtual times.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::Event;
use crate::env::NodeName;

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
    /// Milliseconds since the start of the run, of the trace's [`Clock`].
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
    /// The nodes' names, by place; n1, n2, … when nothing is said.
    names: Vec<NodeName>,
    clock: Clock,
}

/// What the times of a trace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Virtual: no work takes any, and what is late is late because a choice said so.
    #[default]
    Virtual,
    /// A machine's own: anything may be late, and nobody said so.
    Machine,
}

impl Trace {
    /// An empty trace of a machine whose nodes have these names, by place.
    pub fn of_machine(names: Vec<NodeName>) -> Self {
        Self { entries: Vec::new(), names, clock: Clock::Machine }
    }

    /// What its times are.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// A node's name.
    pub fn name(&self, node: NodeIndex) -> String {
        self.names.get(usize::from(node.0)).map_or_else(|| node.to_string(), ToString::to_string)
    }

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
