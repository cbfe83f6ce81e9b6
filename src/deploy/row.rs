//! The row of a deployment in `hdb_deployment` (spec 1 and 2). Only its origin writes it.

use std::{fmt, rc::Rc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{event_log::EventLog, outcome::PeerResult, slots::ProjectName};
use crate::env::{BlobId, Draft, Key, NodeName, Record};

/// The replicated table that holds the rows.
pub const TABLE: &str = "hdb_deployment";

/// Where a deployment stands. Statuses are passed in this order, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Recorded, and nothing more.
    Pending,
    /// The payload is unpacked on the origin.
    Extracting,
    /// The component is installed on the origin.
    Installing,
    /// The component is load-checked on the origin.
    Loading,
    /// The peers are asked.
    Replicating,
    /// Nodes switch to serving the new build.
    Restarting,
    /// It runs on every node that it must run on.
    Success,
    /// It does not.
    Failed,
    /// It was undone.
    RolledBack,
}

impl Status {
    /// Has the deployment ended?
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::RolledBack)
    }

    /// The status that the start of a phase moves a row to; `None` for a phase that moves none.
    pub fn of_phase(phase: &str) -> Option<Self> {
        match phase {
            "extract" => Some(Self::Extracting),
            "install" => Some(Self::Installing),
            "load" => Some(Self::Loading),
            "replicate" => Some(Self::Replicating),
            "restart" => Some(Self::Restarting),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Extracting => "extracting",
            Self::Installing => "installing",
            Self::Loading => "loading",
            Self::Replicating => "replicating",
            Self::Restarting => "restarting",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        })
    }
}

/// How nodes restart after a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartMode {
    /// All at once.
    Immediate,
    /// One node at a time.
    Rolling,
}

/// Why a deployment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployFailure {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The phase that failed.
    pub phase: Option<String>,
}

/// A row of `hdb_deployment`. Fields that an older row may lack have defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Primary key.
    pub deployment_id: Uuid,
    /// The component's name.
    pub project: ProjectName,
    /// The hybrid logical timestamp taken at `create`: orders the deployments of a project (spec 8).
    #[serde(default)]
    pub stamp: u64,
    /// npm, git or file spec of a deploy without upload.
    #[serde(default)]
    pub package_identifier: Option<String>,
    /// Lower-case hex SHA-256 of the payload; null until known.
    #[serde(default)]
    pub payload_hash: Option<String>,
    /// Bytes of the payload; null until known.
    #[serde(default)]
    pub payload_size: Option<u64>,
    /// The payload.
    #[serde(default)]
    pub payload_blob: Option<BlobId>,
    /// Where the deployment stands.
    pub status: Status,
    /// The phase last heard of.
    #[serde(default)]
    pub phase: Option<String>,
    /// What was emitted.
    #[serde(default)]
    pub event_log: EventLog,
    /// What came of each peer.
    #[serde(default)]
    pub peer_results: Vec<PeerResult>,
    /// The node that took the request.
    pub origin_node: NodeName,
    /// How nodes restart; null when they do not.
    #[serde(default)]
    pub restart_mode: Option<RestartMode>,
    /// Epoch ms.
    pub started_at: u64,
    /// Epoch ms; null until terminal.
    #[serde(default)]
    pub completed_at: Option<u64>,
    /// Who asked.
    #[serde(default)]
    pub user: Option<String>,
    /// The deployment whose payload this one brings back.
    #[serde(default)]
    pub rollback_of: Option<Uuid>,
    /// Why it failed; null on success.
    #[serde(default)]
    pub error: Option<DeployFailure>,
}

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("row {key} of {TABLE} cannot be read: {cause}; is it from a newer version?")]
pub struct RowError {
    /// Which row.
    pub key: Key,
    /// What is wrong with it.
    pub cause: serde_json::Error,
}

impl Deployment {
    /// The primary key of a deployment's row.
    pub fn key_of(id: Uuid) -> Key {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        Rc::from(&*id.hyphenated().encode_lower(&mut text))
    }

    /// The deployment is over, by a clock that may have been set back since it began.
    pub fn complete(&mut self, now_ms: u64) {
        self.completed_at = Some(now_ms.max(self.started_at));
    }

    /// The row as the store takes it.
    pub fn to_draft(&self) -> Draft {
        let value = serde_json::to_vec(self).expect("a row is plain JSON");
        Draft { value: value.into(), blob: self.payload_blob }
    }

    /// Reads a row.
    pub fn from_record(record: &Record) -> Result<Self, RowError> {
        serde_json::from_slice(&record.value).map_err(|cause| RowError { key: record.key.clone(), cause })
    }

    /// The row as readers of the API see it: never the blob, but whether there is one.
    pub fn to_public(&self) -> Value {
        let mut public = serde_json::to_value(self).expect("a row is plain JSON");
        let fields = public.as_object_mut().expect("a row is an object");
        fields.remove("payload_blob");
        fields.insert("payload_blob_present".to_owned(), Value::Bool(self.payload_blob.is_some()));
        public
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn older_row() -> Value {
        json!({
            "deployment_id": "6f1b2ad0-54b4-4f5e-8c2c-0a2f3f2f9f10", "project": "hello", "status": "replicating",
            "origin_node": "n1", "started_at": 1, "a_field_of_tomorrow": true,
        })
    }

    #[test]
    fn a_row_that_lacks_newer_fields_or_has_unknown_ones_is_read() {
        let row: Deployment = serde_json::from_value(older_row()).unwrap();
        assert_eq!((row.status, row.payload_blob, row.peer_results.len()), (Status::Replicating, None, 0));
    }

    #[test]
    fn readers_see_whether_there_is_a_payload_and_never_the_blob() {
        let row: Deployment = serde_json::from_value(older_row()).unwrap();
        let public = row.to_public();
        assert_eq!(public["payload_blob_present"], false);
        assert!(public.get("payload_blob").is_none());
    }

    #[test]
    fn each_phase_of_the_original_moves_the_status_as_recorded() {
        let vectors = include_str!("../../fixtures/vectors/event-log.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for (phase, status) in vectors["start_status_for_phase"].as_object().unwrap() {
            let ours = Status::of_phase(phase).map(|status| status.to_string());
            assert_eq!(ours.as_deref(), status.as_str(), "phase {phase}");
        }
    }
}
