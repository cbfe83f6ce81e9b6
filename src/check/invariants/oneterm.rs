//! ONETERM: a deployment ends once.

use super::{
    deletion::{is_recorded, only_lets_payload_go},
    facts::{Facts, Put},
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const ONETERM: Invariant = Invariant {
    name: "ONETERM",
    sentence: "only the origin puts a deployment's row, durably before anything else of it; one put ends it, and none comes \
               after that but one that lets the payload go, on record",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, ONETERM.name);
    let ends = facts.puts.iter().filter(|put| put.row.is_terminal() && put.committed.is_some());
    for end in ends {
        inquiry.look(|| put_after(facts, end));
    }
    for put in &facts.puts {
        inquiry.look(|| anothers_row(facts, put));
        inquiry.look(|| before_its_creation(facts, put));
    }
    inquiry.done()
}

/// A row has one writer (spec 1).
fn anothers_row<'a>(facts: &Facts<'_>, put: &Put) -> Option<Finding<'a>> {
    let origin = put.row.origin_node.as_str();
    (facts.name(put.node) != origin).then(|| Finding {
        kind: "a node puts another's row",
        at: put.started,
        node: Some(put.node),
        why: format!("{} puts a row whose origin is {origin}", put.node),
        witnesses: vec![],
    })
}

/// The pending row is durable before anything else happens (spec 5): a deploy whose first put fails does not go on.
fn before_its_creation<'a>(facts: &Facts<'_>, put: &Put) -> Option<Finding<'a>> {
    let first = facts.puts.iter().find(|first| first.key == put.key)?;
    let created = first.committed.is_some_and(|at| at < put.started);
    (first.number != put.number && !created).then(|| Finding {
        kind: "a deploy goes on without its row",
        at: put.started,
        node: Some(put.node),
        why: format!(
            "put {} of a row comes, but put {}, which was to create it, was not through",
            put.number, first.number
        ),
        witnesses: vec![first.started],
    })
}

/// The one put that may follow: a recorded deletion, which changes nothing but the payload's presence.
fn lets_payload_go(facts: &Facts<'_>, end: &Put, late: &Put) -> bool {
    let value = |put: &Put| match &facts.entry(put.started).event {
        Event::PutStarted { draft, .. } => Some(draft.value.clone()),
        _ => None,
    };
    let (Some(before), Some(after)) = (value(end), value(late)) else { return false };
    is_recorded(facts, &late.key, late.started) && only_lets_payload_go(&before, &after)
}

fn put_after<'a>(facts: &Facts<'_>, end: &Put) -> Option<Finding<'a>> {
    let committed = end.committed?;
    let same_row = facts.puts.iter().filter(|put| put.key == end.key && put.number != end.number);
    let mut late = same_row
        .filter(|put| put.started > committed || put.committed.is_some_and(|at| at > committed))
        .filter(|late| !lets_payload_go(facts, end, late));
    late.next().map(|late| Finding {
        kind: "a put after the terminal one",
        at: late.committed.unwrap_or(late.started),
        node: Some(late.node),
        why: format!(
            "put {} ended the deployment with status `{}`, and put {} came after it with status `{}`",
            end.number, end.row.status, late.number, late.row.status
        ),
        witnesses: vec![end.started, committed, late.started],
    })
}
