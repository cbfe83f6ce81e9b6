//! TERM: every deployment ends.

use super::{
    facts::{At, Deploy, END_TRIES, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Invariant, Judgement, NodeIndex},
    env::{Key, Record},
};

/// See [`Invariant::sentence`].
pub(super) const TERM: Invariant = Invariant {
    name: "TERM",
    sentence: "every row reaches a terminal status before its deploy is answered, and the status is the answer's, unless \
               the store refused every put that was to end it, and is not well yet, or its origin has left the cluster",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, TERM.name);
    for deploy in &facts.deploys {
        if deploy.answer.is_some() {
            inquiry.look(|| not_terminal(facts, deploy));
        }
    }
    for (node, last) in &facts.last {
        let shared = last.rows.iter().filter(|record| is_shared(facts, *node, record));
        for record in shared {
            inquiry.look(|| {
                let shown = facts.row_at(*node, &record.key, facts.end())?;
                // A store that is well again takes it, sooner or later.
                let gave_up = !facts.has_healed() && facts.end_was_refused(&record.key, facts.end());
                (!shown.row.is_terminal() && !gave_up).then(|| Finding {
                    kind: "a row stays non-terminal",
                    at: shown.at,
                    node: Some(*node),
                    why: format!(
                        "by the end of the run a row on {node} has not ended; since then its status is `{}`; {}",
                        shown.row.status,
                        facts.waits_for_end(*node, &record.key, &shown.row)
                    ),
                    witnesses: vec![],
                })
            });
        }
    }
    inquiry.done()
}

/// The end of a row whose origin is not in the node's cluster any more never comes.
fn is_shared(facts: &Facts<'_>, node: NodeIndex, record: &Record) -> bool {
    let writer = facts.node_named(record.version.node.as_str());
    writer.is_none_or(|writer| facts.is_shared(writer, node))
}

fn not_terminal<'a>(facts: &Facts<'_>, deploy: &Deploy) -> Option<Finding<'a>> {
    let (at, answer) = deploy.answer.as_ref()?;
    let key = deploy.key()?;
    let row = facts.row_at(deploy.origin, &key, *at)?;
    let expected = if answer.is_ok() { "success" } else { "failed" };
    let gave_up = facts.end_was_refused(&key, *at) && !is_answered_too_soon(facts, &key, *at);
    (row.row.status != expected && !gave_up).then(|| Finding {
        kind: "answered before the row was terminal",
        at: *at,
        node: Some(deploy.origin),
        why: format!("the client was told {expected}, but the row's status is `{}`", row.row.status),
        witnesses: vec![row.at],
    })
}

/// Was a put under way that was to end the row, and the store had not refused it often enough to be given up?
fn is_answered_too_soon(facts: &Facts<'_>, key: &Key, at: At) -> bool {
    let is_open = |end: Option<At>| end.is_none_or(|end| end > at);
    let mut ends = facts.ends_of(key).filter(|put| put.started < at);
    ends.any(|put| is_open(put.committed) && is_open(put.refused)) && facts.refused_ends(key, at) < END_TRIES
}
