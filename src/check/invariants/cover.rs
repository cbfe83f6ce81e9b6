//! COVER: nobody is left out unnoticed.

use serde_json::Value;

use super::{
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry, said},
};
use crate::check::{Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const COVER: Invariant = Invariant {
    name: "COVER",
    sentence: "the peers dispatched to are the membership at dispatch minus self; a shortfall is never a plain success",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, COVER.name);
    for deploy in &facts.deploys {
        let Some((at, _)) = &deploy.answer else { continue };
        let reached_dispatch = deploy.success().is_some() || !facts.peers_asked(deploy, *at).is_empty();
        if reached_dispatch {
            inquiry.look(|| shortfall(facts, deploy, *at));
        }
        if deploy.success().is_some() {
            inquiry.look(|| wrong_counts(facts, deploy, *at));
        }
    }
    inquiry.done()
}

fn shortfall<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<Finding<'a>> {
    let (expected, asked) = (expected(facts, deploy, at), facts.peers_asked(deploy, at));
    (expected != asked).then(|| Finding {
        kind: "the peers asked are not the membership",
        at,
        node: Some(deploy.origin),
        why: format!("the deploy of `{}` asked {asked:?}, but its peers are {expected:?}", deploy.asked.project),
        witnesses: vec![deploy.requested],
    })
}

fn expected(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Vec<crate::check::NodeIndex> {
    if deploy.asked.replicated { facts.peers_expected(deploy, at) } else { Vec::new() }
}

/// To how many peers the operation went: to all that were asked, but for those that no connection came about to. The
/// outcome says which these are; what a peer has received was dispatched, whatever the outcome says.
fn dispatched(facts: &Facts<'_>, deploy: &Deploy, at: At, answer: &Value) -> u64 {
    let peers = facts.peers_asked(deploy, at).into_iter();
    let went = peers.filter(|peer| {
        let mut operations = facts.operations.iter();
        let name = facts.name(*peer);
        let outcome =
            answer["replicated"].as_array().and_then(|all| all.iter().find(|one| one["node"] == name.as_str()));
        operations.any(|one| Some(one.id) == deploy.id && one.node == *peer && one.received < at)
            || outcome.is_none_or(|outcome| outcome["error"]["code"] != "connect_failed")
    });
    went.count() as u64
}

/// The response's counts are those of the run.
fn wrong_counts<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<Finding<'a>> {
    let (_, answer) = deploy.success()?;
    let expected = expected(facts, deploy, at).len() as u64;
    let asked = dispatched(facts, deploy, at, answer);
    let told = ["expected", "dispatched"].map(|count| answer[count].as_u64());
    let succeeded = answer["succeeded"].as_u64();
    let all_must_succeed = !deploy.asked.ignore_replication_errors;
    let recorded = recorded_successes(facts, deploy, at);
    let right = told == [Some(expected), Some(asked)]
        && (!all_must_succeed || succeeded == Some(expected))
        && recorded.is_none_or(|recorded| succeeded == Some(recorded));
    (!right).then(|| Finding {
        kind: "the response's counts are wrong",
        at,
        node: Some(deploy.origin),
        why: format!(
            "the response counts {} peers expected, {} dispatched to and {} succeeded; there were {expected}, {asked} and {}",
            said(told[0]),
            said(told[1]),
            said(succeeded),
            said(recorded),
        ),
        witnesses: vec![deploy.requested],
    })
}

/// How many peers the row says to have succeeded; PEERS holds it against what they answered.
fn recorded_successes(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<u64> {
    let shown = facts.row_at(deploy.origin, &deploy.key()?, at)?;
    Some(shown.row.peer_results.iter().filter(|outcome| outcome["status"] == "success").count() as u64)
}
