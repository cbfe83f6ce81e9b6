//! Retention: which payloads an origin lets go after a deploy (spec 10). Rows stay.
//!
//! Counts what is in the cluster and lets only its own go: each row has one writer. What a peer may still be fetching is
//! kept (museum R30).

use std::{cmp::Reverse, time::Duration};

use serde_json::Value;
use uuid::Uuid;

use super::{
    event::{Event, ProgressEmitter},
    outcome::PeerResult,
    reading::delete::drop_payload,
    recovery::ORIGIN_RESTARTED,
    retry::drop_told,
    row::{Deployment, Status},
    slots::ProjectName,
};
use crate::env::{Env, NodeName, Table};

/// How many payloads of a project are kept, if the operator does not say (spec 10).
pub const PAYLOADS_KEPT_DEFAULT: usize = 5;

/// The operator's setting for [`Retention::payloads_kept`].
pub const PAYLOADS_KEPT: &str = "deployment_payloads_kept";

/// The operator's setting for [`Retention::payload_bytes_max`].
pub const PAYLOAD_BYTES_MAX: &str = "deployment_payload_bytes_max";

/// How long the payload of a deployment that is over is kept where peers did not all succeed: they may be at it still. No
/// peer fetches for longer than the longest `deployment_timeout`, a day; it may have begun late.
const PEERS_DONE_AFTER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest payloads of each project.
    pub payloads_kept: usize,
    /// A larger one is let go right after its own successful deploy; `None` is no limit.
    pub payload_bytes_max: Option<u64>,
}

impl Retention {
    /// What the operator has set; what is no number is not taken for one.
    pub fn of_settings<E: Env>(env: &E) -> Self {
        let number = |name: &str| env.setting(name).as_ref().and_then(Value::as_u64);
        Self {
            payloads_kept: number(PAYLOADS_KEPT).map_or(PAYLOADS_KEPT_DEFAULT, |kept| kept as usize),
            payload_bytes_max: number(PAYLOAD_BYTES_MAX),
        }
    }

    /// Which of the `rows` lose their payloads, and why, after deployment `finished` of `project` has ended on `node`.
    pub fn to_drop(self, rows: Vec<Deployment>, finished: &Finished<'_>) -> Vec<(Deployment, &'static str)> {
        let mut rows: Vec<_> = rows.into_iter().filter(|row| row.project == *finished.project).collect();
        rows.retain(|row| row.payload_blob.is_some());
        rows.sort_by_key(|row| Reverse((row.stamp, row.deployment_id)));
        // What runs now stays to be brought back, however many failures came after it.
        let failed = rows.iter().any(|row| row.deployment_id == finished.id && row.status == Status::Failed);
        let running = rows.iter().find(|row| failed && row.status == Status::Success).map(|row| row.deployment_id);
        rows.retain(|row| Some(row.deployment_id) != running);
        let judged = rows.into_iter().enumerate().filter_map(|(newer, row)| {
            let too_large = self.payload_bytes_max.is_some_and(|max| row.payload_size.unwrap_or(0) > max);
            let just_succeeded = row.deployment_id == finished.id && row.status == Status::Success;
            let why = match just_succeeded && too_large {
                true => "too_large",
                false if newer >= self.payloads_kept => "superseded",
                false => return None,
            };
            Some((row, why))
        });
        judged.filter(|(row, _)| row.origin_node == *finished.node && !may_be_needed(row, finished.now_ms)).collect()
    }
}

/// The deploy after which retention looks.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// Its deployment.
    pub id: Uuid,
    /// Its project.
    pub project: &'a ProjectName,
    /// The node that looks, its origin.
    pub node: &'a NodeName,
    /// Epoch ms.
    pub now_ms: u64,
}

/// Phases in which a deploy that fails has not turned to its peers yet.
pub const PHASES_BEFORE_PEERS: [&str; 5] = ["prepare", "extract", "install", "load", "swap"];

/// May a peer still need the payload? A peer that has answered success has installed it, and none was asked by a deploy
/// that failed before; of all others nothing is known, nor of one whose origin died.
fn may_be_needed(row: &Deployment, now_ms: u64) -> bool {
    let all_have_it = row.status == Status::Success && row.peer_results.iter().all(PeerResult::is_success);
    let none_was_asked = row.status == Status::Failed
        && row.error.as_ref().is_some_and(|error| {
            let phase = error.phase.as_deref().unwrap_or_default();
            error.code.as_deref() != Some(ORIGIN_RESTARTED) && PHASES_BEFORE_PEERS.contains(&phase)
        });
    let long_over = row.completed_at.is_some_and(|at| {
        let over = Duration::from_millis(now_ms.saturating_sub(at));
        row.status.is_terminal() && over > PEERS_DONE_AFTER
    });
    !(all_have_it || none_was_asked || long_over)
}

/// Lets go what is not kept after a deploy has ended, and tells those who listen to it. What fails is told and left to
/// the next deploy: no outcome changes for it.
pub(super) async fn apply<E: Env>(env: &E, progress: &ProgressEmitter, project: &ProjectName, id: Uuid) {
    let records = match env.table().scan().await {
        Ok(records) => records,
        Err(cause) => return drop_told(env, "retention", &cause),
    };
    // A row of a newer version is not this node's to judge.
    let rows = records.iter().filter_map(|record| Deployment::from_record(record).ok()).collect();
    let finished = Finished { id, project, node: env.node(), now_ms: env.wall_clock_ms() };
    for (row, why) in Retention::of_settings(env).to_drop(rows, &finished) {
        let dropped = row.deployment_id;
        match drop_payload(env, row, why).await {
            Ok(()) => progress.emit(&Event::payload_dropped(dropped, why)),
            Err(cause) => drop_told(env, &format!("retention of the payload of {dropped}"), &cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(number: u8, change: Value) -> Deployment {
        let mut row = json!({
            "deployment_id": Uuid::from_bytes([number; 16]), "project": "hello", "status": "success",
            "origin_node": "n1", "started_at": 1, "completed_at": 2, "stamp": number, "payload_size": 100,
            "payload_hash": "00", "payload_blob": Uuid::from_bytes([number; 16]),
        });
        let fields = change.as_object().unwrap().clone();
        row.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(row).unwrap()
    }

    fn dropped(kept: usize, bytes_max: Option<u64>, rows: Vec<Deployment>) -> Vec<(u8, &'static str)> {
        let project = ProjectName::parse("hello").unwrap();
        let (id, node) = (Uuid::from_bytes([9; 16]), "n1".into());
        let finished = Finished { id, project: &project, node: &node, now_ms: 1_000 };
        let retention = Retention { payloads_kept: kept, payload_bytes_max: bytes_max };
        let dropped = retention.to_drop(rows, &finished);
        dropped.into_iter().map(|(row, why)| (row.deployment_id.as_bytes()[0], why)).collect()
    }

    #[test]
    fn the_newest_payloads_of_the_project_are_kept() {
        let rows = vec![row(1, json!({})), row(3, json!({})), row(2, json!({})), row(4, json!({ "project": "other" }))];
        assert_eq!(dropped(2, None, rows), [(1, "superseded")]);
    }

    #[test]
    fn only_the_payload_that_was_just_deployed_can_be_too_large() {
        let rows = vec![row(8, json!({})), row(9, json!({}))];
        assert_eq!(dropped(5, Some(99), rows.clone()), [(9, "too_large")]);
        assert_eq!(dropped(5, Some(100), rows), []);
    }

    #[test]
    fn what_failed_before_any_peer_was_asked_is_counted_like_a_success() {
        let failed = |number, phase| {
            row(number, json!({ "status": "failed", "error": { "message": "m", "phase": phase, "code": "c" } }))
        };
        let rows = vec![failed(1, "install"), failed(2, "swap"), failed(3, "replicate"), failed(9, "install")];
        assert_eq!(dropped(1, Some(99), rows), [(2, "superseded"), (1, "superseded")]);
    }

    #[test]
    fn failures_do_not_push_out_what_runs() {
        let failed = |number| {
            let error = json!({ "message": "m", "phase": "install", "code": "install_failed" });
            row(number, json!({ "status": "failed", "error": error }))
        };
        let rows = vec![row(1, json!({})), row(2, json!({})), failed(3), failed(9)];
        assert_eq!(dropped(1, None, rows), [(3, "superseded"), (1, "superseded")]);
    }

    #[test]
    fn what_has_been_over_for_two_days_is_needed_by_nobody() {
        let failed = row(1, json!({ "status": "failed", "completed_at": 1_000 }));
        let two_days = 172_800_000;
        assert!(may_be_needed(&failed, 1_000 + two_days) && !may_be_needed(&failed, 1_001 + two_days));
        let under_way = row(1, json!({ "status": "replicating", "completed_at": 1_000 }));
        assert!(may_be_needed(&under_way, 1_001 + two_days));
    }

    #[test]
    fn what_a_peer_may_still_need_is_kept() {
        let failed_peer = json!([{ "node": "n2", "status": "failed", "error": { "message": "slow" } }]);
        for change in [
            json!({ "status": "replicating", "completed_at": null }),
            json!({ "status": "failed" }),
            json!({ "status": "failed", "error": { "message": "m", "phase": "replicate" } }),
            json!({ "status": "failed", "error": { "message": "m", "phase": "install", "code": "origin_restarted" } }),
            json!({ "peer_results": failed_peer }),
            json!({ "origin_node": "n2" }),
        ] {
            assert_eq!(dropped(0, None, vec![row(1, change)]), []);
        }
    }
}
