//! RETAIN: no payload goes while somebody may still need it.

use super::{
    deletion::{Deletion, deletions},
    facts::Facts,
    verdict::{Finding, Inquiry},
};
use crate::check::{Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const RETAIN: Invariant = Invariant {
    name: "RETAIN",
    sentence: "no payload is dropped while a peer may still need it: never of a row that is not terminal, and by retention \
               never while a peer that was asked is still at work on it",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, RETAIN.name);
    for deletion in deletions(facts) {
        inquiry.look(|| not_over(facts, &deletion));
        if deletion.why != "deleted" {
            inquiry.look(|| still_needed(facts, &deletion));
        }
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
        facts.between(operation.received, deletion.at).any(|(_, entry)| {
            entry.node == Some(operation.node) && matches!(entry.event, crate::check::Event::Crashed { .. })
        })
    };
    at_work.find(|operation| !died(operation)).map(|operation| Finding {
        kind: "a payload is dropped that a peer still needs",
        at: deletion.at,
        node: Some(deletion.node),
        why: format!("the payload was dropped ({}) while {} was at work on it", deletion.why, operation.node),
        witnesses: vec![operation.received],
    })
}
