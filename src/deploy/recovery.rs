//! What a node does when it starts: it may have died at any point before (spec 6 and 8).
//!
//! Builds and blobs that nobody owns go; what is live is served; and the deployments that this node was the origin of,
//! and that had not ended, are `failed`: nobody works on them any more.

use std::{collections::BTreeSet, rc::Rc};

use super::{
    restart,
    retry::{drop_told, until_done},
    row::{DeployFailure, Deployment, Status},
    slots,
};
use crate::{
    env::{BlobError, BlobId, Blobs, Env, Record, StoreError, Table},
    replication::membership::give_up_on_strangers,
};

/// The code of a deployment whose origin died.
pub(super) const ORIGIN_RESTARTED: &str = "origin_restarted";

/// Brings the node's devices in order; returns the deployments that its death interrupted. No deploy may be under way.
pub(super) async fn recover<E: Env>(env: &E) -> Vec<Deployment> {
    for (project, cause) in until_done(env, "recovery of the builds", || slots::recover(env.disk())).await {
        drop_told(env, &format!("recovery of the builds of `{project}`"), &cause);
    }
    let rows = until_done(env, "recovery of the rows", || env.table().scan()).await;
    until_done(env, "recovery of the blobs", || delete_orphans(env, &rows)).await;
    give_up_on_strangers(env, &rows).await;
    let mine = rows.iter().filter_map(|record| readable(env, record));
    mine.filter(|row| row.origin_node == *env.node() && !row.status.is_terminal()).collect()
}

/// Serves what is live, as before the restart. What cannot be served is told, and keeps nothing else from being served.
pub(super) async fn serve<E: Env>(env: &E) {
    let failed = |project: &slots::ProjectName, error: restart::RestartError| {
        drop_told(env, &format!("serving `{project}` after the start"), &error);
    };
    until_done(env, "serving what is live", || restart::serve_all(env, failed)).await;
}

/// Ends the deployments that the origin's death interrupted. Their recorders are gone, so nobody else writes these rows.
pub(super) async fn end_interrupted<E: Env>(env: &E, interrupted: Vec<Deployment>) {
    for mut row in interrupted {
        row.error = Some(DeployFailure {
            message: "the origin restarted before the deployment had ended; deploy again".to_owned(),
            code: Some(ORIGIN_RESTARTED.to_owned()),
            phase: row.phase.clone(),
        });
        row.status = Status::Failed;
        row.complete(env.wall_clock_ms());
        let what = format!("the end of deployment {}", row.deployment_id);
        until_done(env, &what, || put(env, &row)).await;
    }
}

async fn put<E: Env>(env: &E, row: &Deployment) -> Result<(), StoreError> {
    env.table().put(&Deployment::key_of(row.deployment_id), || row.to_draft()).await.map(drop)
}

/// A row that cannot be read is from a newer version: it is told, and left as it is.
fn readable<E: Env>(env: &E, record: &Rc<Record>) -> Option<Deployment> {
    let row = Deployment::from_record(record);
    row.inspect_err(|error| drop_told(env, "recovery of a row", error)).ok()
}

/// A blob that no row names is left from an upload or a transfer that died. A transfer comes again: the cursor does not
/// pass a row that is not committed.
async fn delete_orphans<E: Env>(env: &E, rows: &[Rc<Record>]) -> Result<(), BlobError> {
    let owned: BTreeSet<BlobId> = rows.iter().filter_map(|record| record.blob).collect();
    for blob in env.blobs().list().await? {
        if !owned.contains(&blob) {
            env.blobs().delete(blob).await?;
        }
    }
    Ok(())
}
