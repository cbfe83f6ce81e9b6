//! The replicated table's local copy, and the log that other nodes subscribe to.

use std::{fmt, future::Future, rc::Rc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BlobId, NodeName};

/// A record's primary key.
pub type Key = Rc<str>;

/// Who wrote a record, and when: the newer stamp wins, equal stamps go to the greater node name (spec 11).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// A hybrid logical timestamp: epoch milliseconds in the upper 48 bits, a counter in the lower 16. Strictly
    /// increasing over the local commits of one node.
    pub stamp: u64,
    /// The node whose commit this was.
    pub node: NodeName,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.stamp >> 16, self.stamp & 0xffff, self.node)
    }
}

/// A record before the store has given it a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Draft {
    /// The encoded row.
    #[serde(with = "super::legible")]
    pub value: Bytes,
    /// The blob that the row refers to.
    pub blob: Option<BlobId>,
}

/// One version of one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The row's primary key.
    pub key: Key,
    /// This version.
    pub version: Version,
    /// The encoded row.
    #[serde(with = "super::legible")]
    pub value: Bytes,
    /// The blob that the row refers to.
    pub blob: Option<BlobId>,
}

/// A place in one node's log; 0 is before its first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The table does not exist on this node.
    #[error("table `{0}` does not exist on this node: create it, or wait for the schema to replicate")]
    NoTable(String),
    /// The store could not do it now; the same call may succeed later.
    #[error("the store refused: {0}")]
    Refused(String),
}

/// One node's copy of the replicated table.
///
/// A local put has three moments: it takes its snapshot, it commits, and it becomes visible to the log. They are in that
/// order, and nothing else is promised: puts of one key that run at the same time commit in any order, and the one that
/// commits last is what stays. Each commit is atomic and durable.
pub trait Table {
    /// A subscription to the log.
    type Changes: Changes;
    /// See [`Table::watch`].
    type Watch: RowWatch;

    /// A fresh hybrid logical timestamp (see [`Version::stamp`]): greater than `after`, than that of every commit that this
    /// copy holds, and than every one given before. Durable commits that follow are greater still.
    fn fresh_stamp(&self, after: u64) -> impl Future<Output = Result<u64, StoreError>>;

    /// The row as committed.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Rc<Record>>, StoreError>>;

    /// Every row, in key order.
    fn scan(&self) -> impl Future<Output = Result<Vec<Rc<Record>>, StoreError>>;

    /// A local put. `snapshot` is called once, when the store takes its copy of the row; the version is given at the
    /// commit. Resolves when the commit is durable, with its version.
    fn put(&self, key: &Key, snapshot: impl FnOnce() -> Draft) -> impl Future<Output = Result<Version, StoreError>>;

    /// Commits `record`, which another node wrote, under its own version if `accept` says so of the row that stands
    /// there at the moment of the commit; resolves with what `accept` said. Local puts that follow are newer than `record`
    /// in either case, and also when the caller has not waited for a commit that came about.
    fn put_if(
        &self,
        record: Record,
        accept: impl FnOnce(Option<&Record>) -> bool,
    ) -> impl Future<Output = Result<bool, StoreError>>;

    /// How far this node has come in another node's log; [`Position::default`] when it has not begun.
    fn cursor(&self, of: &NodeName) -> impl Future<Output = Result<Position, StoreError>>;

    /// Keeps how far this node has come in another node's log; resolves when it is durable.
    fn save_cursor(&self, of: &NodeName, position: Position) -> impl Future<Output = Result<(), StoreError>>;

    /// The log of commits after `position`, in the order in which they became visible: first what there is, then what
    /// comes. Holds the local commits only; what other nodes wrote comes from them.
    fn changes(&self, position: Position) -> Self::Changes;

    /// Watches a row from now on; it need not exist yet.
    fn watch(&self, key: &Key) -> Self::Watch;
}

/// Sees every commit of a row, local or replicated, that happens after [`Table::watch`] returned. Who watches before the
/// read misses nothing.
pub trait RowWatch: 'static {
    /// Resolves after the next commit; at once if one happened since the last call. Safe to cancel.
    fn changed(&mut self) -> impl Future<Output = ()>;
}

/// A subscription to a log.
pub trait Changes: 'static {
    /// The next entry and its position; waits for it.
    fn next(&mut self) -> impl Future<Output = Result<(Position, Rc<Record>), StoreError>>;
}
