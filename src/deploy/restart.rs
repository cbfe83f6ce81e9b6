//! Restart: a node serves the build that is live (spec 6), and checks afterwards that it does.

use std::{io, time::Duration};

use tokio::time::timeout;
use uuid::Uuid;

use super::{
    build,
    slots::{self, BuildId, ProjectLocks, ProjectName},
};
use crate::env::{Disk, Env, Serving};

/// How long a switch to another build may take before the restart has failed.
pub const RESTART_MAX: Duration = Duration::from_secs(5 * 60);

/// How a deploy's nodes restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Not at all: they serve on what they serve.
    Never,
    /// All at once.
    Now,
    /// One node at a time, the origin first: a build that cannot be served disturbs one node.
    Rolling,
}

/// Why a node does not serve a build.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// A newer deployment has gone live since.
    #[error("superseded by {by}")]
    Superseded {
        /// Which.
        by: Uuid,
    },
    /// This node has not installed it.
    #[error("no build of `{0}` is live on this node; deploy again")]
    NothingLive(ProjectName),
    /// The live build cannot be looked at.
    #[error("the live build cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The part of the node that serves did not take it.
    #[error("the new build cannot be served: {0}")]
    Refused(#[source] io::Error),
    /// It took too long.
    #[error("the new build was not served within {} s", RESTART_MAX.as_secs())]
    TimedOut,
    /// It was said to be done, and was not (museum X09).
    #[error("the restart ended, but {} is served", .0.map_or("nothing".to_owned(), |other| format!("deployment {other}")))]
    Stale(Option<Uuid>),
}

impl RestartError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Superseded { .. } => "superseded",
            Self::NothingLive(_) => "nothing_live",
            Self::Unreadable(_) => "live_unreadable",
            Self::Refused(_) => "restart_failed",
            Self::TimedOut => "restart_timed_out",
            Self::Stale(_) => "restart_stale",
        }
    }
}

/// Serves the build of deployment `id`, which must be the live one, and checks that requests go to it.
///
/// # Errors
/// When the build is not live, or is not served afterwards.
pub async fn restart<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    project: &ProjectName,
    id: Uuid,
) -> Result<(), RestartError> {
    let _unchanged = locks.live(project).await;
    match live(env.disk(), project).await? {
        live if live.deployment == id => switch(env, project, &live).await?,
        newer => return Err(RestartError::Superseded { by: newer.deployment }),
    }
    // What was served before had to stay until now.
    build::clear_later(env, locks, project);
    Ok(())
}

/// Serves whatever is live of each project: what a node does when it starts. What cannot be served is told by `failed`.
pub async fn serve_all<E: Env>(env: &E, mut failed: impl FnMut(&ProjectName, RestartError)) -> io::Result<()> {
    for project in slots::projects(env.disk()).await? {
        let served = match live(env.disk(), &project).await {
            Ok(live) => switch(env, &project, &live).await,
            Err(error) => Err(error),
        };
        match served {
            Ok(()) => {}
            // The disk may say more the next time.
            Err(RestartError::Unreadable(cause)) if !slots::is_strange(&cause) => return Err(cause),
            Err(error) => failed(&project, error),
        }
    }
    Ok(())
}

async fn live(disk: &impl Disk, project: &ProjectName) -> Result<BuildId, RestartError> {
    let live = slots::live_build(disk, project).await.map_err(RestartError::Unreadable)?;
    live.ok_or_else(|| RestartError::NothingLive(project.clone()))
}

/// Serves a build from its own directory: the live path leads elsewhere after the next deploy, and what is served stays what
/// it is until the next switch.
async fn switch<E: Env>(env: &E, project: &ProjectName, build: &BuildId) -> Result<(), RestartError> {
    let (serving, name, id) = (env.serving(), project.to_string(), build.deployment);
    let switched = timeout(RESTART_MAX, serving.switch(&name, id, &slots::build_path(project, build))).await;
    switched.map_err(|_| RestartError::TimedOut)?.map_err(RestartError::Refused)?;
    match serving.served(&name).await.map_err(RestartError::Refused)? {
        Some(served) if served == id => Ok(()),
        other => Err(RestartError::Stale(other)),
    }
}
