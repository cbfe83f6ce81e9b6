//! AUTHZ: what members say to each other, members only can say.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    facts::{At, Deploy, Facts},
    outsiders,
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::{Journal, Key, Record, Version},
};

/// See [`Invariant::sentence`].
pub(super) const AUTHZ: Invariant = Invariant {
    name: "AUTHZ",
    sentence: "internal paths are reachable only from members: a stranger gets nothing but a refusal, no operation is carried \
               out but for a deployment that another member began, no row is taken that no member committed, and a client that \
               claims a deployment's id leaves no row",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, AUTHZ.name);
    let mut members = Members::default();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::StrangerTold { what, .. } => inquiry.look(|| told_a_stranger(at, node, what)),
            Event::PutStarted { key, .. } => drop(members.begun.entry(key.clone()).or_insert(node)),
            Event::PutCommitted { record, .. } => {
                members.committed.insert((record.key.clone(), record.version.clone()));
            }
            Event::Replicated { record, taken: true } => inquiry.look(|| members.unknown_row(at, node, record)),
            Event::Journal(
                Journal::OperationReceived { deployment_id, .. } | Journal::RestartAnswered { deployment_id, .. },
            ) => inquiry.look(|| members.unknown_operation(at, node, *deployment_id)),
            _ => {}
        }
    }
    for deploy in facts.deploys.iter().filter(|deploy| deploy.asked.claims_id) {
        inquiry.look(|| claim_was_heard(facts, deploy));
    }
    outsiders::look(&mut inquiry, facts);
    inquiry.done()
}

/// What the members of the cluster have done at a place of the trace.
#[derive(Default)]
struct Members {
    /// Who began each deployment.
    begun: BTreeMap<Key, NodeIndex>,
    committed: BTreeSet<(Key, Version)>,
}

impl Members {
    fn unknown_row<'a>(&self, at: At, node: NodeIndex, record: &Record) -> Option<Finding<'a>> {
        let known = self.committed.contains(&(record.key.clone(), record.version.clone()));
        (!known).then(|| Finding {
            kind: "a row is taken that no member committed",
            at,
            node: Some(node),
            why: format!(
                "{node} takes version {} of row {}, which no member has committed",
                record.version, record.key
            ),
            witnesses: vec![],
        })
    }

    fn unknown_operation<'a>(&self, at: At, node: NodeIndex, id: Uuid) -> Option<Finding<'a>> {
        let whose = match self.begun.get(&*id.to_string()) {
            None => "that no member began",
            Some(begun) if *begun == node => "that it began itself",
            Some(_) => return None,
        };
        Some(Finding {
            kind: "an operation is carried out that no other member asked for",
            at,
            node: Some(node),
            why: format!("{node} carries an operation out for deployment {id}, {whose}"),
            witnesses: vec![],
        })
    }
}

fn told_a_stranger<'a>(at: At, node: NodeIndex, what: &str) -> Option<Finding<'a>> {
    (what != "refusal").then(|| Finding {
        kind: "a stranger is told something",
        at,
        node: Some(node),
        why: format!("{node} sends a {what} to a host that is no member of the cluster"),
        witnesses: vec![],
    })
}

/// A deployment's id is the origin's to give: a request that brings one is refused, and leaves nothing (museum R34).
fn claim_was_heard<'a>(facts: &Facts<'_>, deploy: &Deploy) -> Option<Finding<'a>> {
    let (at, answer) = deploy.answer.as_ref()?;
    let row = facts.puts.iter().find(|put| {
        put.node == deploy.origin
            && put.started > deploy.requested
            && put.row.payload_hash.as_ref() == Some(&deploy.asked.payload_hash)
    });
    let refused = answer.as_ref().is_err_and(|told| told["code"] == "bad_request");
    (!refused || row.is_some()).then(|| Finding {
        kind: "a request that claims a deployment's id is heard",
        at: *at,
        node: Some(deploy.origin),
        why: match row {
            Some(_) => "a client claimed a deployment's id, and its payload came into a row".to_owned(),
            None => format!("a client claimed a deployment's id, and was answered {answer:?}"),
        },
        witnesses: row.map(|put| put.started).into_iter().chain([deploy.requested]).collect(),
    })
}
