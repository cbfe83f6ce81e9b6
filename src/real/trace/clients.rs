//! What clients did at the nodes' doors, as the invariants know it: what each asked for, and what had to come of it.

use serde_json::Value;
use uuid::Uuid;

use super::{
    line::{ClientAct, Stamp},
    merging::Merge,
    payloads::Payloads,
    reading::LifeTrace,
};
use crate::check::{DeployFacts, Event, NodeIndex, TreeDigest};

/// One client that asked for a deploy.
pub(super) struct Client {
    node: NodeIndex,
    pub(super) acts: Vec<(Stamp, ClientAct)>,
    /// It waited for its answer when the run was over.
    waits: bool,
}

impl Client {
    pub(super) fn new(node: NodeIndex) -> Self {
        Self { node, acts: Vec::new(), waits: false }
    }

    /// Its node was last heard of then, and has another life, if it has one.
    pub(super) fn ends_with(&mut self, last: Stamp, next: Option<&LifeTrace>) {
        if self.is_open() {
            self.acts.push((last, ClientAct::Lost));
            self.waits = next.is_none();
        }
    }

    /// Does it still wait for its answer?
    pub(super) fn is_open(&self) -> bool {
        !self.acts.iter().any(|(_, act)| matches!(act, ClientAct::Answered(_) | ClientAct::Lost))
    }

    /// What it waited for when the run was over.
    pub(super) fn waits(&self) -> Option<String> {
        self.waits.then(|| format!("a client of {} for the end of its deploy", self.node))
    }

    /// When it asked.
    pub(super) fn asked_at(&self) -> Option<Stamp> {
        self.acts.first().map(|(at, _)| *at)
    }

    fn request(&self) -> &Value {
        let asked = self.acts.iter().find_map(|(_, act)| match act {
            ClientAct::Asked(request) => Some(request),
            _ => None,
        });
        asked.unwrap_or(&Value::Null)
    }

    fn upload(&self) -> Option<(String, u64)> {
        self.acts.iter().find_map(|(_, act)| match act {
            ClientAct::UploadEnded { hash, bytes } => Some((hash.clone(), *bytes)),
            _ => None,
        })
    }

    /// The deployment that it was told of.
    fn deployment(&self) -> Option<Uuid> {
        self.acts.iter().find_map(|(_, act)| match act {
            ClientAct::Answered(Ok(told) | Err(told)) => told["deployment_id"].as_str()?.parse().ok(),
            _ => None,
        })
    }

    /// The hash and length of the payload that had to be deployed; nothing of one that never came to its end.
    fn payload(&self, payloads: &mut Payloads) -> Option<(String, u64)> {
        let request = self.request();
        if let Some(earlier) = request["rollback_from"].as_str() {
            return payloads.told(earlier.parse().ok()?);
        }
        if request["package"].is_string() {
            return payloads.packed(self.deployment()?);
        }
        self.upload()
    }

    fn facts(&self, deploy: u32, payloads: &mut Payloads) -> DeployFacts {
        let request = self.request();
        let text = |field: &str| request[field].as_str().map(str::to_owned);
        let payload = self.payload(payloads);
        let tree = payload.as_ref().and_then(|(hash, _)| payloads.tree(hash));
        let (payload_hash, payload_bytes) = payload.unwrap_or_default();
        DeployFacts {
            deploy,
            project: request["project"].as_str().unwrap_or_default().to_owned(),
            payload_bytes,
            payload_hash,
            // What is no component becomes no tree, and must not go live.
            tree: tree.unwrap_or(TreeDigest(0)),
            missing_entry: None,
            managers: Vec::new(),
            installs: None,
            install_command: text("install_command"),
            archives: request["package"].is_string().then_some(1),
            claims_id: !request["deployment_id"].is_null(),
            replicated: request["replicated"] != false,
            ignore_replication_errors: request["ignore_replication_errors"] == true,
            restart: DeployFacts::restart_mode_of(request.get("restart")).is_some(),
            restart_mode: DeployFacts::restart_mode_of(request.get("restart")),
            user: text("user"),
            package: text("package"),
            rollback_from: text("rollback_from"),
            asked_at: None,
            deployment_timeout_ms: request["deployment_timeout"].as_u64(),
            install_timeout_ms: request["install_timeout"].as_u64(),
        }
    }

    /// Adds what it did, as deploy number `deploy`.
    pub(super) fn add_to(&self, merge: &mut Merge, deploy: u32, payloads: &mut Payloads) {
        let facts = self.facts(deploy, payloads);
        for (at, act) in &self.acts {
            if let Some(event) = event_of(act, deploy, &facts) {
                merge.add(*at, Some(self.node), event);
            }
        }
    }
}

fn event_of(act: &ClientAct, deploy: u32, facts: &DeployFacts) -> Option<Event> {
    Some(match act.clone() {
        ClientAct::Asked(_) => Event::DeployRequested(facts.clone().into()),
        ClientAct::Uploaded(bytes) => Event::Uploaded { deploy, bytes },
        ClientAct::UploadEnded { .. } => return None,
        ClientAct::UploadAborted(cause) => Event::UploadAborted { deploy, cause },
        ClientAct::Saw { event, data } => Event::ClientSaw { deploy, event: event.into(), data },
        ClientAct::Answered(answer) => Event::DeployAnswered { deploy, answer },
        ClientAct::Lost => Event::ClientLost { deploy, cause: "the connection to the node is closed".to_owned() },
        ClientAct::Exited(code) => Event::ClientExited { deploy, code },
    })
}
