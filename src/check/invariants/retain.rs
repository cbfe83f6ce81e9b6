//! RETAIN: no payload goes while somebody may still need it.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    deletion::{Deletion, deletions},
    facts::{At, Deploy, Facts, Shown},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::Key,
};

/// See [`Invariant::sentence`].
pub(super) const RETAIN: Invariant = Invariant {
    name: "RETAIN",
    sentence: "no payload is dropped while a peer may still need it: never of a row that is not terminal, and by retention \
               never while a peer that was asked is still at work on it; of what nobody needs, a success leaves the newest \
               payloads of the project that the operator keeps, and no others",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, RETAIN.name);
    for deletion in deletions(facts) {
        inquiry.look(|| not_over(facts, &deletion));
        if deletion.why != "deleted" {
            inquiry.look(|| still_needed(facts, &deletion));
        }
        if deletion.why == "superseded" {
            inquiry.look(|| is_among_the_newest(facts, &deletion));
        }
    }
    for deploy in &facts.deploys {
        inquiry.look(|| keeps_too_many(facts, deploy));
    }
    inquiry.done()
}

fn not_over<'a>(facts: &Facts<'_>, deletion: &Deletion<'_>) -> Option<Finding<'a>> {
    let key = deletion.id.to_string().into();
    let shown = facts.row_at(deletion.node, &key, deletion.at)?;
    (!shown.row.is_terminal()).then(|| Finding {
        kind: "the payload of a deployment under way is dropped",
        at: deletion.at,
        node: Some(deletion.node),
        why: format!("the payload was dropped ({}) while its row was `{}`", deletion.why, shown.row.status),
        witnesses: vec![shown.at],
    })
}

/// A peer is at work from the operation to its answer, or to its death.
fn still_needed<'a>(facts: &Facts<'_>, deletion: &Deletion<'_>) -> Option<Finding<'a>> {
    let asked = facts.operations.iter().filter(|operation| operation.id == deletion.id);
    let mut at_work = asked.filter(|operation| {
        operation.received < deletion.at && operation.answered.as_ref().is_none_or(|(at, _)| *at > deletion.at)
    });
    let died = |operation: &&super::facts::Operation| {
        facts
            .between(operation.received, deletion.at)
            .any(|(_, entry)| entry.node == Some(operation.node) && matches!(entry.event, Event::Crashed { .. }))
    };
    at_work.find(|operation| !died(operation)).map(|operation| Finding {
        kind: "a payload is dropped that a peer still needs",
        at: deletion.at,
        node: Some(deletion.node),
        why: format!("the payload was dropped ({}) while {} was at work on it", deletion.why, operation.node),
        witnesses: vec![operation.received],
    })
}

/// How many payloads of a project the operator keeps, at least, over the whole run; spec 10 says 5.
fn kept(facts: &Facts<'_>) -> impl Iterator<Item = u64> {
    let set = facts.between(0, facts.end()).filter_map(|(_, entry)| match &entry.event {
        Event::Setting { name, value } if name == "deployment_payloads_kept" => value.as_u64(),
        _ => None,
    });
    let mut set = set.peekable();
    let default = set.peek().is_none().then_some(5);
    set.chain(default)
}

/// The deployments of a project of which a node has shown a payload before a place, the newest first.
fn with_payload<'a>(facts: &'a Facts<'_>, node: NodeIndex, project: &str, at: At) -> Vec<&'a Shown> {
    let mut newest: BTreeMap<Key, &Shown> = BTreeMap::new();
    for shown in facts.shown.iter().filter(|shown| shown.node == node && shown.at < at && shown.record.blob.is_some()) {
        newest.insert(shown.record.key.clone(), shown);
    }
    let of_project = |shown: &&Shown| shown.row.project == project;
    let mut rows: Vec<_> = newest.into_values().filter(of_project).collect();
    rows.sort_by_key(|shown| Reverse((shown.row.stamp, shown.record.key.clone())));
    rows
}

fn is_among_the_newest<'a>(facts: &Facts<'_>, deletion: &Deletion) -> Option<Finding<'a>> {
    let key: Key = deletion.id.to_string().into();
    let project = facts.row_at(deletion.node, &key, deletion.at)?.row.project.clone();
    let rows = with_payload(facts, deletion.node, &project, deletion.at);
    let newer = rows.iter().take_while(|shown| shown.record.key != key).count() as u64;
    kept(facts).all(|kept| newer < kept).then(|| Finding {
        kind: "retention drops a payload that the operator keeps",
        at: deletion.at,
        node: Some(deletion.node),
        why: format!("the payload of {} went as superseded, but only {newer} of `{project}` were newer", deletion.id),
        witnesses: vec![],
    })
}

/// After a success its origin has let all of its own go that are over, with all peers, and older than what is kept; where
/// its store failed nothing is said.
fn keeps_too_many<'a>(facts: &Facts<'_>, deploy: &Deploy) -> Option<Finding<'a>> {
    let (at, _) = deploy.success()?;
    let kept = kept(facts).max()?;
    let failed = ["put-refused", "get-refused", "blob-fails"];
    let store_failed = failed.iter().any(|kind| facts.failed_between(deploy.origin, kind, deploy.requested, at));
    let origin = facts.name(deploy.origin);
    let ends = |shown: &&Shown| {
        let row = &shown.row;
        let all_have_it = row.peer_results.iter().all(|outcome| outcome["status"] == "success");
        row.origin_node.as_str() == origin && row.status == "success" && all_have_it && shown.at < deploy.requested
    };
    let has_payload = |key: &Key| facts.row_at(deploy.origin, key, at).is_some_and(|now| now.record.blob.is_some());
    let mut rows = with_payload(facts, deploy.origin, &deploy.asked.project, deploy.requested);
    rows.retain(|shown| has_payload(&shown.record.key));
    let before = kept.saturating_sub(u64::from(has_payload(&deploy.key()?)));
    let stays = rows.into_iter().skip(before as usize).find(ends)?;
    (!store_failed).then(|| Finding {
        kind: "retention keeps what it need not",
        at,
        node: Some(deploy.origin),
        why: format!(
            "the deploy of `{}` succeeded, {kept} payloads are kept, and that of {} is still there",
            deploy.asked.project, stays.record.key
        ),
        witnesses: vec![stays.at],
    })
}
