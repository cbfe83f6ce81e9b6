//! From a row's payload to a live build: extract, install, load check, swap. The same on the origin and on a peer.

use std::{cell::RefCell, convert::Infallible, future::Future, io, path::PathBuf, rc::Rc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::Instant;
use tokio_util::io::StreamReader;

use super::{
    archive::{self, ArchiveError, Limits},
    blob_stream::{BlobReadError, BlobStream},
    budget::Budget,
    event::{Event, PhaseStatus, ProgressEmitter},
    hashing::Hashing,
    install::{self, InstallError},
    load::{self, LoadError},
    request::InstallPlan,
    retry::{drop_told, until_done},
    row::{Deployment, Status},
    slots::{self, ProjectLocks, ProjectName, Slots, SwapError},
};
use crate::env::{BlobId, Disk, Env, Serving, Table};

/// Why a node does not run a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The deployment is over: its origin gave up before this node was done (museum P18).
    #[error("deployment {id} is already {status}: it is not installed any more; deploy again")]
    AlreadyOver {
        /// Which deployment.
        id: uuid::Uuid,
        /// How it ended.
        status: Status,
    },
    /// The row names no payload.
    #[error("deployment {0} has no payload: it was dropped or never came; deploy again")]
    NoPayload(uuid::Uuid),
    /// The payload is no component, or could not be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The payload is not what the row says.
    #[error("the payload does not match its row: it has sha256 {actual} over {actual_bytes} bytes; deploy again")]
    Mismatch {
        /// Lower-case hex SHA-256 of what was read.
        actual: String,
        /// Bytes read.
        actual_bytes: u64,
    },
    /// The install failed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The build could not go live.
    #[error(transparent)]
    Swap(#[from] SwapError),
}

impl BuildError {
    /// The phase that failed.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::AlreadyOver { .. } | Self::NoPayload(_) | Self::Archive(_) | Self::Mismatch { .. } => "extract",
            Self::Install(_) => "install",
            Self::Load(_) => "load",
            Self::Swap(_) => "swap",
        }
    }

    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyOver { .. } => "already_over",
            Self::NoPayload(_) => "no_payload",
            Self::Archive(ArchiveError::Payload(BlobReadError::Unavailable { .. })) => "payload_unavailable",
            Self::Archive(ArchiveError::Payload(BlobReadError::Incomplete { .. })) => "payload_incomplete",
            Self::Archive(ArchiveError::Payload(BlobReadError::Gone { .. })) => "payload_gone",
            Self::Archive(ArchiveError::Disk { .. }) => "disk_failed",
            Self::Archive(ArchiveError::Malformed(_) | ArchiveError::Refused { .. }) => "bad_archive",
            Self::Mismatch { .. } => "payload_mismatch",
            Self::Install(_) => "install_failed",
            Self::Load(_) => "load_failed",
            Self::Swap(SwapError::Superseded { .. }) => "superseded",
            Self::Swap(_) => "swap_failed",
        }
    }

    /// The last lines that the installer printed.
    pub fn install_output(&self) -> Option<&[String]> {
        match self {
            Self::Install(error) => error.output(),
            _ => None,
        }
    }
}

/// What is to be built, and how.
pub(super) struct Plan<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) install: &'a InstallPlan,
    /// For the payload's arrival.
    pub(super) budget: Budget,
}

/// Builds what the row says and makes it live; on failure the previous build stays. One at a time per project.
pub(super) async fn build<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    progress: &ProgressEmitter,
    plan: &Plan<'_>,
) -> Result<(), BuildError> {
    let project = &plan.deployment.project;
    let slots = Slots::new(plan.deployment);
    let waiting_since = Instant::now();
    let _one_at_a_time = locks.build(project).await;
    // Another deploy's installer may have been waited for: that is no wait for the payload.
    let plan = Plan { budget: plan.budget.not_counting_since(waiting_since), ..*plan };
    let built = stage_and_swap(env, locks, progress, &plan, slots.clone()).await;
    match &built {
        // What the disk said of a swap may not be durable: nothing of before or after goes until it is.
        Ok(()) | Err(BuildError::Swap(SwapError::NotDurable { .. } | SwapError::Disk { .. })) => {
            remove(env, slots.staged).await;
            clear(env, locks, project).await;
        }
        Err(_) => {
            for path in slots.remains() {
                remove(env, path).await;
            }
        }
    }
    built
}

/// Lets the builds go that are neither live nor served any more. The caller builds the project; a disk that does not take
/// it is asked again, between other deploys, while nobody waits for it.
async fn clear<E: Env>(env: &E, locks: &ProjectLocks, project: &ProjectName) {
    let Err(cause) = clear_now(env, project).await else { return };
    drop_told(env, &clearing(project), &cause);
    clear_later(env, locks, project);
}

/// The same while nobody waits for it, as soon as no deploy of the project is at work.
pub(super) fn clear_later<E: Env>(env: &E, locks: &ProjectLocks, project: &ProjectName) {
    let (env, locks, project) = (env.clone(), locks.clone(), project.clone());
    env.clone().spawn_background(clearing(&project), async move {
        let clear = async || {
            let _no_other = locks.build(&project).await;
            clear_now(&env, &project).await
        };
        until_done(&env, &clearing(&project), clear).await;
        Ok::<(), Infallible>(())
    });
}

async fn clear_now<E: Env>(env: &E, project: &ProjectName) -> io::Result<()> {
    let served = env.serving().served(&project.to_string()).await?;
    slots::clear(env.disk(), project, served).await
}

fn clearing(project: &ProjectName) -> String {
    format!("removal of earlier builds of `{project}`")
}

/// Removes what nobody needs any more; a disk that does not take it is asked again, while nobody waits for it.
pub(super) async fn remove<E: Env>(env: &E, path: PathBuf) {
    let Err(cause) = env.disk().remove_all(&path).await else { return };
    let what = format!("removal of {}", path.display());
    drop_told(env, &what, &cause);
    let removing = env.clone();
    env.spawn_background(what.clone(), async move {
        until_done(&removing, &what, || removing.disk().remove_all(&path)).await;
        Ok::<(), Infallible>(())
    });
}

async fn stage_and_swap<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    progress: &ProgressEmitter,
    plan: &Plan<'_>,
    mut slots: Slots,
) -> Result<(), BuildError> {
    refuse_what_is_over(env, plan.deployment).await?;
    slots::refuse_older(env.disk(), &slots).await?;
    slots.staged = in_phase(progress, "extract", extract(env, plan, &slots)).await?;
    let install = install::install(env, &slots.staged, plan.install, |event| progress.emit(event));
    in_phase(progress, "install", install).await?;
    in_phase(progress, "load", load::load(env, &slots.project, &slots.staged)).await?;
    let _unchanged = locks.live(&slots.project).await;
    refuse_what_is_over(env, plan.deployment).await?;
    Ok(slots::swap(env.disk(), &slots).await?)
}

/// A peer does not install what its origin has given up: the row is looked at before the work, and before the swap. An
/// origin needs no look, since it is the one who ends it; a row that is not there came with the operation; and one that
/// cannot be read is let pass, as its end may come a moment later in any case.
async fn refuse_what_is_over<E: Env>(env: &E, deployment: &Deployment) -> Result<(), BuildError> {
    let id = deployment.deployment_id;
    if deployment.origin_node == *env.node() {
        return Ok(());
    }
    let row = match env.table().get(&Deployment::key_of(id)).await {
        Ok(record) => {
            record.map(|record| Deployment::from_record(&record)).transpose().map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match row {
        Ok(Some(Deployment { status, .. })) if status.is_terminal() => Err(BuildError::AlreadyOver { id, status }),
        Ok(_) => Ok(()),
        Err(cause) => {
            drop_told(env, &format!("look at the row of {id} before its swap"), &cause);
            Ok(())
        }
    }
}

/// Emits a phase's start, and how it ends.
async fn in_phase<T, F>(
    progress: &ProgressEmitter,
    phase: &'static str,
    work: impl Future<Output = Result<T, F>>,
) -> Result<T, F> {
    progress.emit(&Event::phase(phase, PhaseStatus::Start));
    let worked = work.await;
    let status = if worked.is_ok() { PhaseStatus::Done } else { PhaseStatus::Error };
    progress.emit(&Event::phase(phase, status));
    worked
}

/// Unpacks the row's blob, not what came with the request, and holds it against the row's hash and size. Returns where
/// the component stands.
async fn extract<E: Env>(env: &E, plan: &Plan<'_>, slots: &Slots) -> Result<PathBuf, BuildError> {
    let deployment = plan.deployment;
    let blob = deployment.payload_blob.ok_or(BuildError::NoPayload(deployment.deployment_id))?;
    let hashing = Rc::new(RefCell::new(Hashing::default()));
    let payload = payload(env, blob, plan.budget, Rc::clone(&hashing));
    let payload = std::pin::pin!(payload);
    let unpacked = archive::unpack(StreamReader::new(payload), env.disk(), &slots.staged, Limits::default()).await?;
    let hashing = hashing.borrow();
    if !hashing.is(deployment.payload_hash.as_deref(), deployment.payload_size) {
        return Err(BuildError::Mismatch { actual: hashing.hash(), actual_bytes: hashing.bytes() });
    }
    Ok(unpacked.root)
}

/// The blob's bytes at their reader's pace, hashed as they go by.
fn payload<E: Env>(
    env: &E,
    blob: BlobId,
    budget: Budget,
    hashing: Rc<RefCell<Hashing>>,
) -> impl Stream<Item = io::Result<Bytes>> + '_ {
    let blobs = BlobStream::new(env.blobs(), blob, budget);
    stream::try_unfold((blobs, hashing), |(mut blobs, hashing)| async move {
        let piece = blobs.next().await.map_err(io::Error::other)?;
        Ok(piece.map(|piece| {
            hashing.borrow_mut().update(&piece);
            (piece, (blobs, hashing))
        }))
    })
}
