//! What a deploy was to bring, as the harness knows it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::TreeDigest;

/// What a client asked for, and what must come of it; known to the harness from its own reading of the component.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeployFacts {
    /// Which deploy of this run.
    pub deploy: u32,
    /// The deployment's id, once known; `None` for one whose request was refused.
    pub project: String,
    /// Length of the whole payload.
    pub payload_bytes: u64,
    /// Lower-case hex SHA-256 of the whole payload.
    pub payload_hash: String,
    /// The tree that each node must run.
    pub tree: TreeDigest,
    /// What a manifest names and the tree lacks: such a component must not go live.
    pub missing_entry: Option<Cow<'static, str>>,
    /// The package managers that the component asks for: a node may have none of them.
    pub managers: Vec<String>,
    /// Is there something to install: a package.json, and no modules that come along? `None` where that is not known.
    pub installs: Option<bool>,
    /// What the request asks to run to install it.
    pub install_command: Option<String>,
    /// How many archives come of the package that it names: one, or it cannot be deployed.
    pub archives: Option<u32>,
    /// The request brings the id of a deployment, which only members may do.
    pub claims_id: bool,
    /// The deploy goes to the whole cluster, rather than to the origin alone.
    pub replicated: bool,
    /// Success does not ask for the peers.
    pub ignore_replication_errors: bool,
    /// Nodes are to serve the new build once it is deployed.
    pub restart: bool,
    /// How, as the row must tell it: `immediate` or `rolling`.
    pub restart_mode: Option<Cow<'static, str>>,
    /// Who asks.
    pub user: Option<String>,
    /// The package that is named in place of an upload.
    pub package: Option<String>,
    /// The deployment whose payload is to be brought back.
    pub rollback_from: Option<String>,
    /// What the wall clock showed at the request, epoch ms, if that is known.
    pub asked_at: Option<u64>,
    /// How long a peer waits for its row and payload, milliseconds.
    pub deployment_timeout_ms: Option<u64>,
    /// Time limit of an install, milliseconds.
    pub install_timeout_ms: Option<u64>,
}

impl DeployFacts {
    /// How the row must tell what a request says of a restart.
    pub fn restart_mode_of(asked: Option<&Value>) -> Option<Cow<'static, str>> {
        match asked {
            None | Some(Value::Null | Value::Bool(false)) => None,
            Some(mode) if mode == "rolling" => Some("rolling".into()),
            Some(_) => Some("immediate".into()),
        }
    }
}
