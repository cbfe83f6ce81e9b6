//! The peer's side: wait for the row, install from one's own copy, answer. A peer writes no row.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{
    await_row::{AwaitRowError, await_deployment_row},
    budget::Budget,
    build::{self, BuildError, Plan},
    carried,
    event::{ProgressEmitter, Subscription},
    journal::journal_progress,
    operation::{self, Operation, PeerDeploy, PeerRestart, Refusal},
    reading::delete::take_deletion,
    registry::Registry,
    restart,
    row::Deployment,
    slots::ProjectLocks,
};
use crate::{
    env::{BlobError, Env, Journal, NodeName},
    replication::notes::Notes,
};

/// Why a peer does not run a deployment.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The row did not come, or its payload did not.
    #[error(transparent)]
    Row(#[from] AwaitRowError),
    /// The payload that came with the operation could not be stored.
    #[error("the payload could not be stored: {0}")]
    Payload(#[from] BlobError),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl PeerError {
    /// A word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Row(error) => error.code(),
            Self::Payload(_) => "payload_not_stored",
            Self::Build(error) => error.code(),
        }
    }
}

/// Carries out a forwarded operation, and returns the answer; a failure is an answer too.
pub(super) async fn take_operation<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    registry: &Registry<E>,
    peer: &NodeName,
    operation: &Bytes,
    notes: Notes,
) -> Bytes {
    let answer = match Operation::parse(operation) {
        Ok((Operation::DeployComponent(deploy), payload)) => {
            take_deploy(env, locks, &Forwarded { origin: peer, deploy: &deploy, payload: &payload }, notes).await
        }
        Ok((Operation::RestartComponent(restart), _)) => take_restart(env, locks, &restart).await,
        Ok((Operation::DeleteDeploymentPayload(deletion), _)) => take_deletion(env, registry, &deletion).await,
        Err(error) => operation::answer(env, env.wall_clock_ms(), Err(unknown(&error))),
    };
    serde_json::to_vec(&answer).expect("an answer is plain JSON").into()
}

fn unknown(error: &serde_json::Error) -> Refusal {
    let message = format!("not an operation that this node knows: {error}; do all nodes run the same version?");
    Refusal { message, code: "bad_operation" }
}

/// A deploy as a member forwarded it.
struct Forwarded<'a> {
    origin: &'a NodeName,
    deploy: &'a PeerDeploy,
    /// What came behind it.
    payload: &'a Bytes,
}

async fn take_deploy<E: Env>(env: &E, locks: &ProjectLocks, forwarded: &Forwarded<'_>, notes: Notes) -> Value {
    let (deployment_id, started_at) = (forwarded.deploy.deployment_id, env.wall_clock_ms());
    env.journal(Journal::OperationReceived { deployment_id, origin: forwarded.origin.clone() });
    let installed = match install(env, locks, forwarded, notes).await {
        Ok(()) => Ok(format!("Successfully deployed: {}", forwarded.deploy.project)),
        Err(error) => Err(Refusal { message: error.to_string(), code: error.code() }),
    };
    let outcome = operation::answer(env, started_at, installed);
    env.journal(Journal::OperationAnswered { deployment_id, outcome: outcome.clone() });
    outcome
}

async fn take_restart<E: Env>(env: &E, locks: &ProjectLocks, restart: &PeerRestart) -> Value {
    let (deployment_id, started_at) = (restart.deployment_id, env.wall_clock_ms());
    let restarted = match restart::restart(env, locks, &restart.project, deployment_id).await {
        Ok(()) => Ok(format!("Restarted: {}", restart.project)),
        Err(error) => Err(Refusal { message: format!("installed, but not restarted: {error}"), code: error.code() }),
    };
    let outcome = operation::answer(env, started_at, restarted);
    env.journal(Journal::RestartAnswered { deployment_id, outcome: outcome.clone() });
    outcome
}

async fn install<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    forwarded: &Forwarded<'_>,
    notes: Notes,
) -> Result<(), PeerError> {
    let Forwarded { origin, deploy: operation, payload } = *forwarded;
    let budget = Budget::starting_now(Duration::from_millis(operation.deployment_timeout));
    let progress = ProgressEmitter::default();
    let _journal = journal_progress(env, &progress, operation.deployment_id);
    let _origin = tell_lines(&progress, notes);
    let build = async |deployment: &Deployment| {
        let plan = Plan { deployment, install: &operation.install(), budget };
        build::build(env, locks, &progress, &plan).await
    };
    if let Some(carried) = &operation.payload {
        let deployment = carried::take_in(env, origin, operation, carried, payload).await?;
        let built = build(&deployment).await;
        carried::let_go(env, &deployment);
        return Ok(built?);
    }
    let deployment = await_deployment_row(env, operation.deployment_id, budget).await?;
    Ok(build(&deployment).await?)
}

/// The origin's subscribers hear what the installer prints here. Whether they do never matters to the install.
fn tell_lines(progress: &ProgressEmitter, notes: Notes) -> Subscription {
    progress.subscribe(move |event| {
        if event.name() == "install" {
            notes.tell(serde_json::to_vec(event.data())?.into());
        }
        Ok(())
    })
}
