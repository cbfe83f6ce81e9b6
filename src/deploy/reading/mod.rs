//! Reading deployments from any node (spec 10): list, get, tail, payload, and the deletion of a payload.
//!
//! A node answers from its own copy of the table; on the origin a deployment that is under way is told from its
//! recorder's memory. Nothing here writes a row but [`delete`], and that on the row's origin only.

pub mod delete;
mod list;
pub mod payload;
pub mod tail;

use serde_json::{Value, json};
use uuid::Uuid;

use self::{delete::DeleteError, list::ListRequest, payload::Payload, tail::Tail};
use super::{
    node::Node,
    recorder::Stage,
    registry::Registry,
    request::InvalidRequest,
    row::{Deployment, RowError},
};
use crate::env::{Env, StoreError, Table};

/// Why a deployment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The request does not hold what it must.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// This node has no such row.
    #[error("deployment {0} does not exist, or has not replicated to this node yet: see list_deployments")]
    Unknown(Uuid),
    /// The store did not answer.
    #[error("the deployment could not be read: {0}; try again")]
    Store(#[from] StoreError),
    /// The row is there, and cannot be read.
    #[error(transparent)]
    Unreadable(#[from] RowError),
}

impl ReadError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad_request",
            Self::Unknown(_) => "deployment_not_found",
            Self::Store(_) => "store_refused",
            Self::Unreadable(_) => "unreadable_row",
        }
    }
}

/// A failure as clients are told: `{message, code}`.
fn told(message: &impl std::fmt::Display, code: &str) -> Value {
    json!({ "message": message.to_string(), "code": code })
}

fn read_failure(error: ReadError) -> Value {
    told(&error, error.code())
}

impl<E: Env> Node<E> {
    /// `list_deployments {project?, status?, since?, until?, limit?, offset?}`: `{deployments, total}`, newest first.
    /// `since` and `until` are epoch milliseconds of `started_at`, both included.
    ///
    /// # Errors
    /// `{message, code}`; a bad filter is named.
    pub async fn list_deployments(&self, request: &Value) -> Result<Value, Value> {
        let request = ListRequest::parse(request).map_err(|error| read_failure(error.into()))?;
        list::list(&self.env, &self.registry, &request).await.map_err(read_failure)
    }

    /// `get_deployment {deployment_id}`: the row without its blob, as this node knows it now.
    ///
    /// # Errors
    /// `{message, code}`.
    pub async fn get_deployment(&self, request: &Value) -> Result<Value, Value> {
        let row = async { current_row(&self.env, &self.registry, deployment_id(request)?).await };
        row.await.map(|row| row.to_public()).map_err(read_failure)
    }

    /// `get_deployment {deployment_id}` as a live tail.
    ///
    /// # Errors
    /// `{message, code}`.
    pub async fn tail_deployment(&self, request: &Value) -> Result<Tail<E>, Value> {
        let tail = async { Tail::attach(&self.env, &self.registry, deployment_id(request)?).await };
        tail.await.map_err(read_failure)
    }

    /// `get_deployment_payload {deployment_id}`: the uploaded bytes, which may still be arriving on this node.
    ///
    /// # Errors
    /// `{message, code}`.
    pub async fn get_deployment_payload(&self, request: &Value) -> Result<Payload<E>, Value> {
        let id = deployment_id(request).map_err(|error| read_failure(error.into()))?;
        let row = current_row(&self.env, &self.registry, id).await.map_err(read_failure)?;
        Payload::of(&self.env, &row).map_err(|error| told(&error, error.code()))
    }

    /// `delete_deployment_payload {deployment_id}`: lets the payload go on every node; the row stays. Asks the row's
    /// origin where that is another node. Twice is fine.
    ///
    /// # Errors
    /// `{message, code}`.
    pub async fn delete_deployment_payload(&self, request: &Value) -> Result<Value, Value> {
        let deleted = async {
            let id = deployment_id(request).map_err(ReadError::from)?;
            delete::delete_payload(&self.env, &self.registry, id).await
        };
        deleted.await.map_err(|error: DeleteError| told(&error, error.code()))
    }
}

/// The id that a request is about.
fn deployment_id(request: &Value) -> Result<Uuid, InvalidRequest> {
    let problem = |problem: &str| InvalidRequest { field: "deployment_id", problem: problem.to_owned() };
    match &request["deployment_id"] {
        Value::Null => Err(problem("is missing: name the deployment")),
        id => id.as_str().and_then(|id| id.parse().ok()).ok_or_else(|| problem("must be a UUID in a text")),
    }
}

/// The row as the table has it.
pub(super) async fn row_of<E: Env>(env: &E, id: Uuid) -> Result<Deployment, ReadError> {
    let record = env.table().get(&Deployment::key_of(id)).await?.ok_or(ReadError::Unknown(id))?;
    Ok(Deployment::from_record(&record)?)
}

/// The row as this node knows it now: from the recorder's memory while that is at work. The table may have the end of a
/// deployment a little before its recorder is told so, and other readers may have seen it there.
pub(super) async fn current_row<E: Env>(env: &E, registry: &Registry<E>, id: Uuid) -> Result<Deployment, ReadError> {
    let Some(recorder) = registry.live(id) else { return row_of(env, id).await };
    if recorder.stage() == Stage::Ending {
        let row = row_of(env, id).await?;
        if row.status.is_terminal() {
            return Ok(row);
        }
    }
    Ok(recorder.snapshot())
}
