//! Restarts the nodes of a deploy once its gate has passed: all at once, or one at a time.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    dispatch::{Heard, dispatch},
    operation::{Operation, PeerRestart},
    request::PeerFailures,
    restart::{self, RESTART_MAX, Restart, RestartError},
    slots::{ProjectLocks, ProjectName},
};
use crate::env::{Env, NodeName};

/// How long an origin waits for a peer's restart: its time limit, and the wait for another deploy of the project there.
const ANSWER_MAX: Duration = Duration::from_secs(2 * RESTART_MAX.as_secs());

/// The restart of a deploy's nodes.
pub(super) struct Rollout<'a, E> {
    pub(super) env: &'a E,
    pub(super) locks: &'a ProjectLocks,
    pub(super) project: &'a ProjectName,
    pub(super) id: Uuid,
    pub(super) peer_failures: PeerFailures,
}

impl<E: Env> Rollout<'_, E> {
    /// Restarts the origin and `peers`, and calls `failed` with the outcome of each peer that does not serve the build.
    ///
    /// # Errors
    /// When the origin itself does not serve it.
    pub(super) async fn run(
        &self,
        restart: Restart,
        peers: &[NodeName],
        failed: impl FnMut(Value),
    ) -> Result<(), RestartError> {
        match restart {
            Restart::Never => Ok(()),
            Restart::Now => futures_util::future::join(self.origin(), self.ask(peers, failed)).await.0,
            Restart::Rolling => {
                self.origin().await?;
                self.roll(peers, failed).await;
                Ok(())
            }
        }
    }

    async fn origin(&self) -> Result<(), RestartError> {
        restart::restart(self.env, self.locks, self.project, self.id).await
    }

    /// One peer after another. One that fails stops the rest, which serve on what they serve, unless failures are ignored.
    async fn roll(&self, peers: &[NodeName], mut failed: impl FnMut(Value)) {
        for (index, peer) in peers.iter().enumerate() {
            let mut all_well = true;
            self.ask(std::slice::from_ref(peer), |outcome| {
                all_well = false;
                failed(outcome);
            })
            .await;
            if !all_well && self.peer_failures == PeerFailures::Fail {
                return peers[index + 1..].iter().for_each(|rest| failed(self.stopped(rest, peer)));
            }
        }
    }

    fn stopped(&self, rest: &NodeName, at: &NodeName) -> Value {
        let message = format!("installed, but not restarted: the rolling restart stopped at {at}");
        let now = self.env.wall_clock_ms();
        json!({
            "node": rest,
            "status": "failed",
            "error": { "message": message, "code": "restart_stopped" },
            "started_at": now,
            "completed_at": now,
        })
    }

    async fn ask(&self, peers: &[NodeName], mut failed: impl FnMut(Value)) {
        let restart = PeerRestart { deployment_id: self.id, project: self.project.clone() };
        let operation = Operation::RestartComponent(restart).to_bytes();
        let silent: Heard = Rc::new(|_, _| {});
        dispatch(self.env, peers, &operation, ANSWER_MAX, &silent, |outcome| {
            if outcome["status"] != "success" {
                failed(outcome);
            }
        })
        .await;
    }
}
