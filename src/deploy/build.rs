//! From a row's payload to a live build: extract, install, load, swap. The same on the origin and on a peer.

use std::path::Path;

use serde_json::json;

use super::{
    archive::{self, ArchiveError, Limits},
    blob_stream::{BlobReadError, BlobStream},
    budget::Budget,
    event::{Event, PhaseStatus, ProgressEmitter},
    hashing::Hashing,
    install::{self, InstallError},
    request::InstallPlan,
    row::Deployment,
    slots::{self, Live, ProjectLocks, Slots, SwapError},
};
use crate::env::{Env, OutputStream};

/// Why a node does not run a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The row names no payload.
    #[error("deployment {0} has no payload: it was dropped or never came; deploy again")]
    NoPayload(uuid::Uuid),
    /// The payload could not be read.
    #[error(transparent)]
    Payload(#[from] BlobReadError),
    /// The payload is no component.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The payload is not what the row says.
    #[error("the payload does not match its row: expected sha256 {expected} over {expected_bytes} bytes, read {actual} over {actual_bytes}; deploy again")]
    Mismatch {
        /// Lower-case hex SHA-256 of the row.
        expected: String,
        /// Bytes by the row.
        expected_bytes: u64,
        /// Lower-case hex SHA-256 of what was read.
        actual: String,
        /// Bytes read.
        actual_bytes: u64,
    },
    /// The install failed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The build could not go live.
    #[error(transparent)]
    Swap(#[from] SwapError),
}

/// What is to be built, and how.
pub(super) struct Plan<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) install: &'a InstallPlan,
    pub(super) budget: Budget,
}

/// Builds what the row says and makes it live; on failure the previous build stays. One at a time per project.
pub(super) async fn build<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    progress: &ProgressEmitter,
    plan: &Plan<'_>,
) -> Result<(), BuildError> {
    let slots = Slots::new(&plan.deployment.project_name(), plan.deployment.deployment_id);
    let _one_at_a_time = locks.lock(&plan.deployment.project_name()).await;
    let built = stage_and_swap(env, progress, plan, &slots).await;
    if built.is_err() {
        slots::discard_staging(env.disk(), &slots).await;
    }
    built
}

async fn stage_and_swap<E: Env>(
    env: &E,
    progress: &ProgressEmitter,
    plan: &Plan<'_>,
    slots: &Slots,
) -> Result<(), BuildError> {
    in_phase(progress, "extract", extract(env, plan, slots)).await?;
    in_phase(progress, "install", run_install(env, progress, plan, slots)).await?;
    slots::swap(env.disk(), slots, &Live::of(plan.deployment)).await?;
    Ok(())
}

/// Emits a phase's start, and its end if it goes well.
async fn in_phase<T, Err>(
    progress: &ProgressEmitter,
    phase: &'static str,
    work: impl Future<Output = Result<T, Err>>,
) -> Result<T, Err> {
    progress.emit(Event::phase(phase, PhaseStatus::Start));
    let done = work.await?;
    progress.emit(Event::phase(phase, PhaseStatus::Done));
    Ok(done)
}
