//! COVER: nobody is left out unnoticed.

use super::{
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry},
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

/// The response's counts are those of the run.
fn wrong_counts<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<Finding<'a>> {
    let (_, answer) = deploy.success()?;
    let expected = expected(facts, deploy, at).len() as u64;
    let asked = facts.peers_asked(deploy, at).len() as u64;
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
            "the response counts {told:?} peers expected and dispatched to and {succeeded:?} succeeded; \
             there were {expected} and {asked}, and the row says {recorded:?}"
        ),
        witnesses: vec![deploy.requested],
    })
}

/// How many peers the row says to have succeeded; PEERS holds it against what they answered.
fn recorded_successes(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<u64> {
    let shown = facts.row_at(deploy.origin, &deploy.key()?, at)?;
    Some(shown.row.peer_results.iter().filter(|outcome| outcome["status"] == "success").count() as u64)
}
