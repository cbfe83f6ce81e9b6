//! The peer's side: wait for the row, install from one's own copy, answer. A peer writes no row.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    await_row::{AwaitRowError, await_deployment_row},
    budget::Budget,
    build::{self, BuildError, Plan},
    event::ProgressEmitter,
    journal::journal_progress,
    request::PeerOperation,
    row::{Deployment, Status},
    slots::ProjectLocks,
};
use crate::env::{Env, Journal};

/// Why a peer does not run a deployment.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The row did not come, or its payload did not.
    #[error(transparent)]
    Row(#[from] AwaitRowError),
    /// The deployment is over: its origin gave up before this peer saw the row (museum P18).
    #[error("deployment {id} is already {status}: it is not installed any more; deploy again")]
    AlreadyOver {
        /// Which deployment.
        id: uuid::Uuid,
        /// How it ended.
        status: Status,
    },
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl PeerError {
    /// A word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Row(error) => error.code(),
            Self::AlreadyOver { .. } => "already_over",
            Self::Build(error) => error.code(),
        }
    }
}

/// Carries out a forwarded operation, and returns the answer; a failure is an answer too.
pub(super) async fn take_operation<E: Env>(env: &E, locks: &ProjectLocks, operation: &[u8]) -> Bytes {
    let answer = match serde_json::from_slice::<PeerOperation>(operation) {
        Ok(operation) => answer(env, locks, &operation).await,
        Err(error) => json!({
            "node": env.node(),
            "status": "failed",
            "error": { "message": format!("not an operation that this node knows: {error}"), "code": "bad_operation" },
        }),
    };
    serde_json::to_vec(&answer).expect("an answer is plain JSON").into()
}

async fn answer<E: Env>(env: &E, locks: &ProjectLocks, operation: &PeerOperation) -> Value {
    let deployment_id = operation.deployment_id;
    env.journal(Journal::OperationReceived { deployment_id, origin: operation.origin.clone() });
    let started_at = env.wall_clock_ms();
    let outcome = match install(env, locks, operation).await {
        Ok(()) => json!({ "status": "success", "message": format!("Successfully deployed: {}", operation.project) }),
        Err(error) => json!({
            "status": "failed",
            "error": { "message": error.to_string(), "code": error.code() },
        }),
    };
    let Value::Object(mut outcome) = outcome else { unreachable!("written as objects above") };
    outcome.insert("node".to_owned(), json!(env.node()));
    outcome.insert("started_at".to_owned(), json!(started_at));
    outcome.insert("completed_at".to_owned(), json!(env.wall_clock_ms()));
    let outcome = Value::Object(outcome);
    env.journal(Journal::OperationAnswered { deployment_id, outcome: outcome.clone() });
    outcome
}

async fn install<E: Env>(env: &E, locks: &ProjectLocks, operation: &PeerOperation) -> Result<(), PeerError> {
    let budget = Budget::starting_now(Duration::from_millis(operation.deployment_timeout));
    let deployment = await_deployment_row(env, operation.deployment_id, budget).await?;
    refuse_what_is_over(&deployment)?;
    let progress = ProgressEmitter::default();
    let _journal = journal_progress(env, &progress, operation.deployment_id);
    let plan = Plan { deployment: &deployment, install: &operation.install(), budget };
    Ok(build::build(env, locks, &progress, &plan).await?)
}

fn refuse_what_is_over(deployment: &Deployment) -> Result<(), PeerError> {
    if deployment.status.is_terminal() {
        return Err(PeerError::AlreadyOver { id: deployment.deployment_id, status: deployment.status });
    }
    Ok(())
}
