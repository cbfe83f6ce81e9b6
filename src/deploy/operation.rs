//! What nodes ask of each other, and how it is answered: an id and flags, as JSON.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    reading::delete::PeerDeletion,
    request::{DeployRequest, InstallPlan},
    slots::ProjectName,
};
use crate::env::Env;

/// An operation that one member of the cluster forwards to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Install a deployment from your own copy of its payload.
    DeployComponent(PeerDeploy),
    /// Serve the build of a deployment that you have installed.
    RestartComponent(PeerRestart),
    /// Let the payload of a deployment go whose origin you are.
    DeleteDeploymentPayload(PeerDeletion),
}

/// What the origin forwards of a deploy: never the payload, which the peer has or gets by replication, nor the options
/// that are the origin's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDeploy {
    /// Whose row and payload to wait for.
    pub deployment_id: Uuid,
    /// Which project.
    pub project: ProjectName,
    /// See [`InstallPlan::command`].
    pub install_command: Option<String>,
    /// See [`InstallPlan::timeout`]; milliseconds.
    pub install_timeout: u64,
    /// See [`DeployRequest::deployment_timeout`]; milliseconds.
    pub deployment_timeout: u64,
    /// The payload comes behind the operation, because the row's database is not replicated.
    #[serde(default)]
    pub payload: Option<CarriedPayload>,
}

/// What the origin forwards of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRestart {
    /// Whose build is to be served.
    pub deployment_id: Uuid,
    /// Of which project.
    pub project: ProjectName,
}

impl Operation {
    /// The operation as it travels.
    pub fn to_bytes(&self) -> Bytes {
        self.to_bytes_with(&[])
    }

    /// The operation as it travels with a payload behind it.
    pub fn to_bytes_with(&self, payload: &[Bytes]) -> Bytes {
        let head = serde_json::to_vec(self).expect("an operation is plain JSON");
        let length = head.len() + payload.iter().map(Bytes::len).sum::<usize>();
        let mut whole = BytesMut::with_capacity(length);
        whole.extend_from_slice(&head);
        payload.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }

    /// Reads an operation, and what travels behind it.
    pub fn parse(bytes: &Bytes) -> Result<(Self, Bytes), serde_json::Error> {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Self>();
        let operation = values.next().unwrap_or_else(|| Err(serde::de::Error::custom("it is empty")))?;
        let rest = bytes.slice(values.byte_offset()..);
        Ok((operation, rest))
    }
}

/// What is to be known of a payload that travels in the operation: its row does not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedPayload {
    /// Lower-case hex SHA-256.
    pub hash: String,
    /// Its length.
    pub bytes: u64,
    /// See [`super::row::Deployment::stamp`].
    pub stamp: u64,
}

impl PeerDeploy {
    /// What an origin forwards of `request`, to peers that get the payload by replication.
    pub fn forwarding(request: &DeployRequest, deployment_id: Uuid) -> Self {
        Self {
            deployment_id,
            project: request.project.clone(),
            install_command: request.install.command.clone(),
            install_timeout: millis(request.install.timeout),
            deployment_timeout: millis(request.deployment_timeout),
            payload: None,
        }
    }

    /// How the peer installs.
    pub fn install(&self) -> InstallPlan {
        InstallPlan { command: self.install_command.clone(), timeout: Duration::from_millis(self.install_timeout) }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().expect("a validated time limit is at most a day")
}

/// A failure, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// For programs.
    pub code: &'static str,
}

/// The answer of this node to work that began at `started_at`, epoch ms.
pub fn answer<E: Env>(env: &E, started_at: u64, worked: Result<String, Refusal>) -> Value {
    let mut answer = match worked {
        Ok(message) => json!({ "status": "success", "message": message }),
        Err(Refusal { message, code }) => {
            json!({ "status": "failed", "error": { "message": message, "code": code } })
        }
    };
    answer["node"] = json!(env.node());
    answer["started_at"] = json!(started_at);
    answer["completed_at"] = json!(env.wall_clock_ms());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_behind_an_operation_is_read_back() {
        let restart = PeerRestart { deployment_id: Uuid::nil(), project: ProjectName::parse("hello").unwrap() };
        let operation = Operation::RestartComponent(restart);
        for payload in [&b""[..], b"{}", b" \x1f\x8b\0", b"}"] {
            let bytes = operation.to_bytes_with(&[Bytes::copy_from_slice(payload)]);
            assert_eq!(Operation::parse(&bytes).unwrap(), (operation.clone(), Bytes::copy_from_slice(payload)));
        }
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for bytes in [&b""[..], b"[]", b"{\"operation\":\"drop_everything\"}", b"\xff"] {
            assert!(Operation::parse(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
