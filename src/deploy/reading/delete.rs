//! `delete_deployment_payload`: only the row's origin writes the row, so every other node asks it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ReadError, current_row};
use crate::{
    deploy::{
        operation::{self, Operation, Refusal},
        registry::Registry,
        retry::delete_blob,
        row::{Deployment, Status},
    },
    env::{Env, Journal, NodeName, StoreError, Table},
    replication::operations::{self, CallError},
};

/// How long the origin may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What an origin answers with, as this version knows it.
const ORIGIN_CODES: [&str; 3] = ["deployment_under_way", "deployment_not_found", "store_refused"];

/// What a node forwards to the origin of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDeletion {
    /// Whose payload is to go.
    pub deployment_id: Uuid,
}

/// Why a payload was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The row cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Peers may still need it.
    #[error("deployment {id} is {status}: its payload can be deleted when it is over; try again then")]
    UnderWay {
        /// Which deployment.
        id: Uuid,
        /// Where it stands.
        status: Status,
    },
    /// The row could not be written.
    #[error("the deletion could not be recorded: {0}; try again")]
    Record(#[from] StoreError),
    /// The origin did not answer.
    #[error("{origin}, the deployment's origin, must delete it and did not answer: {cause}; try again")]
    Origin {
        /// The origin.
        origin: NodeName,
        /// What became of the call.
        cause: CallError,
    },
    /// The origin refused.
    #[error("{message}")]
    Refused {
        /// What it says.
        message: String,
        /// Its word for programs.
        code: &'static str,
    },
}

impl DeleteError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(error) => error.code(),
            Self::UnderWay { .. } => "deployment_under_way",
            Self::Record(_) => "store_refused",
            Self::Origin { cause, .. } => cause.code(),
            Self::Refused { code, .. } => code,
        }
    }
}

/// Deletes a payload here, or has its origin do so.
pub(super) async fn delete_payload<E: Env>(env: &E, registry: &Registry<E>, id: Uuid) -> Result<Value, DeleteError> {
    let row = current_row(env, registry, id).await?;
    if row.origin_node != *env.node() {
        return ask_origin(env, &row.origin_node, id).await;
    }
    delete_own(env, row).await?;
    Ok(json!({ "message": format!("the payload of deployment {id} is deleted"), "deployment_id": id }))
}

async fn delete_own<E: Env>(env: &E, row: Deployment) -> Result<(), DeleteError> {
    if !row.status.is_terminal() {
        return Err(DeleteError::UnderWay { id: row.deployment_id, status: row.status });
    }
    Ok(drop_payload(env, row, "deleted").await?)
}

async fn ask_origin<E: Env>(env: &E, origin: &NodeName, deployment_id: Uuid) -> Result<Value, DeleteError> {
    let operation = Operation::DeleteDeploymentPayload(PeerDeletion { deployment_id }).to_bytes();
    let failed = |cause| DeleteError::Origin { origin: origin.clone(), cause };
    let answer = operations::call(env, origin, &operation, ANSWER_WITHIN, |_| {}).await.map_err(failed)?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if answer["status"] == "success" {
        return Ok(json!({ "message": answer["message"], "deployment_id": deployment_id }));
    }
    let message = answer["error"]["message"].as_str();
    let message =
        message.unwrap_or("the origin's answer cannot be read; do all nodes run the same version?").to_owned();
    let code = ORIGIN_CODES.iter().find(|code| answer["error"]["code"] == **code).unwrap_or(&"origin_refused");
    Err(DeleteError::Refused { message, code })
}

/// Carries out what another node forwarded.
pub(in crate::deploy) async fn take_deletion<E: Env>(
    env: &E,
    registry: &Registry<E>,
    deletion: &PeerDeletion,
) -> Value {
    let started_at = env.wall_clock_ms();
    let id = deletion.deployment_id;
    let worked = async {
        let row = current_row(env, registry, id).await?;
        if row.origin_node != *env.node() {
            return Err(DeleteError::Read(ReadError::Unknown(id)));
        }
        delete_own(env, row).await
    };
    let worked = worked.await.map(|()| format!("the payload of deployment {id} is deleted"));
    operation::answer(
        env,
        started_at,
        worked.map_err(|error| Refusal { message: error.to_string(), code: error.code() }),
    )
}

/// Lets the payload of an own, terminal row go: first the row, so that nobody finds a blob that goes away; the peers let
/// theirs go when the row's version reaches them. A row without a payload is left as it is.
pub(in crate::deploy) async fn drop_payload<E: Env>(
    env: &E,
    mut row: Deployment,
    why: &'static str,
) -> Result<(), StoreError> {
    let Some(blob) = row.payload_blob.take() else { return Ok(()) };
    env.journal(Journal::PayloadDropped { deployment_id: row.deployment_id, why: why.into() });
    env.table().put(&Deployment::key_of(row.deployment_id), || row.to_draft()).await?;
    delete_blob(env, blob).await;
    Ok(())
}
