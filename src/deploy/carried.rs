//! A payload that travels in the operation, because the database of its row is not replicated (spec 6, museum R21).

use std::convert::Infallible;

use bytes::Bytes;

use super::{
    blob_stream::{BlobReadError, BlobStream},
    budget::Budget,
    event_log::EventLog,
    hashing::Hashing,
    operation::{CarriedPayload, PeerDeploy},
    retry::until_done,
    row::{Deployment, Status},
};
use crate::{
    env::{BlobError, BlobId, Blobs, Env, NodeName},
    replication::scope::{DATABASE, InvalidScope, SETTING, Scope},
};

/// The most bytes that travel so: they are held in memory.
const CARRIED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The piece in which a peer stores what came.
const PIECE_BYTES: usize = 64 * 1024;

/// Why a payload cannot travel in the operation.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The setting says nothing.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// It is too long.
    #[error(
        "the payload has {0} bytes, and at most {CARRIED_BYTES_MAX} travel to peers while `{SETTING}` leaves out \
         \"{DATABASE}\": add it there"
    )]
    TooLong(u64),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] BlobReadError),
    /// What was read is not what was uploaded.
    #[error("the payload cannot travel to peers: this node's copy of it is damaged; deploy again")]
    Damaged,
}

/// The payload as it is to travel in the operation; `None` when it reaches the peers by replication.
pub(super) async fn for_peers<E: Env>(
    env: &E,
    deployment: &Deployment,
    budget: Budget,
) -> Result<Option<(CarriedPayload, Vec<Bytes>)>, CarryError> {
    if Scope::parse(env.setting(SETTING).as_ref())?.includes(DATABASE) {
        return Ok(None);
    }
    let (Some(blob), Some(hash), Some(bytes)) =
        (deployment.payload_blob, deployment.payload_hash.clone(), deployment.payload_size)
    else {
        return Ok(None);
    };
    if bytes > CARRIED_BYTES_MAX {
        return Err(CarryError::TooLong(bytes));
    }
    let (mut pieces, mut hashing) = (Vec::new(), Hashing::default());
    let mut stream = BlobStream::new(env.blobs(), blob, budget);
    while let Some(piece) = stream.next().await? {
        hashing.update(&piece);
        pieces.push(piece);
    }
    if !hashing.is(Some(&hash), Some(bytes)) {
        return Err(CarryError::Damaged);
    }
    Ok(Some((CarriedPayload { hash, bytes, stamp: deployment.stamp }, pieces)))
}

/// Stores what came with an operation, for as long as it is built; returns what a row would have told of it.
pub(super) async fn take_in<E: Env>(
    env: &E,
    origin: &NodeName,
    deploy: &PeerDeploy,
    carried: &CarriedPayload,
    payload: &Bytes,
) -> Result<Deployment, BlobError> {
    let blob = BlobId(env.fresh_id());
    let stored = store(env, blob, payload).await;
    let deployment = told(env, origin, deploy, carried, blob);
    match stored {
        Ok(()) => Ok(deployment),
        Err(cause) => {
            let_go(env, &deployment);
            Err(cause)
        }
    }
}

async fn store<E: Env>(env: &E, blob: BlobId, payload: &Bytes) -> Result<(), BlobError> {
    env.blobs().create(blob).await?;
    for start in (0..payload.len()).step_by(PIECE_BYTES) {
        env.blobs().append(blob, payload.slice(start..payload.len().min(start + PIECE_BYTES))).await?;
    }
    env.blobs().complete(blob).await
}

/// Lets go of what came with an operation; a store that does not take it is asked again, while nobody waits for it.
pub(super) fn let_go<E: Env>(env: &E, deployment: &Deployment) {
    let Some(blob) = deployment.payload_blob else { return };
    let deleting = env.clone();
    env.spawn_background("let a carried payload go", async move {
        until_done(&deleting, "deletion of a carried payload", || deleting.blobs().delete(blob)).await;
        Ok::<(), Infallible>(())
    });
}

fn told<E: Env>(env: &E, origin: &NodeName, deploy: &PeerDeploy, carried: &CarriedPayload, blob: BlobId) -> Deployment {
    Deployment {
        deployment_id: deploy.deployment_id,
        project: deploy.project.clone(),
        stamp: carried.stamp,
        package_identifier: None,
        payload_hash: Some(carried.hash.clone()),
        payload_size: Some(carried.bytes),
        payload_blob: Some(blob),
        status: Status::Replicating,
        phase: None,
        event_log: EventLog::default(),
        peer_results: Vec::new(),
        origin_node: origin.clone(),
        restart_mode: None,
        started_at: env.wall_clock_ms(),
        completed_at: None,
        user: None,
        rollback_of: None,
        error: None,
    }
}
