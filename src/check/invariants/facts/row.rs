//! Rows, as the invariants read them. Their own reading, apart from that of the deploy logic.

use std::{collections::BTreeMap, rc::Rc};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::env::{BlobId, NodeName};

/// What the invariants read of a row. Read apart from the deploy logic's own type, so that a fault there shows.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// See spec 1.
    pub status: String,
    /// See spec 1.
    #[serde(default)]
    pub phase: Option<String>,
    /// See spec 1.
    #[serde(default)]
    pub project: String,
    /// See spec 1.
    #[serde(default)]
    pub package_identifier: Option<String>,
    /// See spec 1.
    #[serde(default)]
    pub restart_mode: Option<String>,
    /// See spec 1.
    #[serde(default)]
    pub user: Option<String>,
    /// See spec 1.
    #[serde(default)]
    pub rollback_of: Option<String>,
    /// See spec 1.
    #[serde(default)]
    pub started_at: u64,
    /// See spec 1.
    #[serde(default)]
    pub payload_hash: Option<String>,
    /// See spec 1.
    #[serde(default)]
    pub payload_size: Option<u64>,
    /// See spec 1.
    #[serde(default)]
    pub payload_blob: Option<BlobId>,
    /// Orders the deployments of a project (spec 8).
    #[serde(default)]
    pub stamp: u64,
    /// See spec 1.
    pub origin_node: NodeName,
    /// See spec 3.
    #[serde(default)]
    pub event_log: Vec<LogEntry>,
    /// See spec 4.
    #[serde(default)]
    pub peer_results: Vec<Value>,
    /// See spec 1.
    #[serde(default)]
    pub completed_at: Option<u64>,
    /// See spec 1.
    #[serde(default)]
    pub error: Option<Value>,
}

/// An entry of a row's event log.
#[derive(Debug, Deserialize)]
pub struct LogEntry {
    /// See spec 3.
    pub seq: u64,
    /// See spec 3.
    pub event: String,
    /// See spec 3.
    #[serde(default)]
    pub data: Value,
}

/// The statuses of spec 2 that end a deployment.
const TERMINAL: [&str; 3] = ["success", "failed", "rolled_back"];
const STATUSES: [&str; 6] = ["pending", "extracting", "installing", "loading", "replicating", "restarting"];

impl Row {
    /// Has the deployment ended?
    pub fn is_terminal(&self) -> bool {
        TERMINAL.contains(&self.status.as_str())
    }

    /// The place of the status in the order of spec 2.
    pub fn rank(&self) -> usize {
        rank_of(&self.status)
    }

    /// The `seq` of the newest entry of the log; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.event_log.last().map_or(0, |entry| entry.seq)
    }

    /// The outcome of a peer, by name.
    pub fn outcome(&self, name: &str) -> Vec<&Value> {
        self.peer_results.iter().filter(|outcome| outcome["node"] == name).collect()
    }
}

/// The place of a status in the order of spec 2: those that end a deployment come last.
pub(in crate::check::invariants) fn rank_of(status: &str) -> usize {
    STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len())
}

/// A row that cannot be read stands for itself as one that has no status.
pub(super) fn unreadable() -> Row {
    Row {
        status: "unreadable".to_owned(),
        phase: None,
        project: String::new(),
        package_identifier: None,
        restart_mode: None,
        user: None,
        rollback_of: None,
        started_at: 0,
        payload_hash: None,
        payload_size: None,
        payload_blob: None,
        stamp: 0,
        origin_node: NodeName::from("?"),
        event_log: Vec::new(),
        peer_results: Vec::new(),
        completed_at: None,
        error: None,
    }
}

/// Rows read before: the same bytes come to every node. By their length first: a log that grows makes rows that differ only
/// far behind.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<(usize, Bytes), Rc<Row>>);

impl Rows {
    pub(super) fn read(&mut self, value: &Bytes) -> Rc<Row> {
        let entry = self.0.entry((value.len(), value.clone()));
        Rc::clone(entry.or_insert_with(|| Rc::new(read(value).unwrap_or_else(unreadable))))
    }
}

/// Reads a row. Its text is looked at once for all, not string by string.
fn read(value: &[u8]) -> Option<Row> {
    serde_json::from_str(str::from_utf8(value).ok()?).ok()
}
