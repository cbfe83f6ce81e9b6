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
    sentence: "one terminal put per deployment, and no put after it but one that lets the payload go, on record",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, ONETERM.name);
    let ends = facts.puts.iter().filter(|put| put.row.is_terminal() && put.committed.is_some());
    for end in ends {
        inquiry.look(|| put_after(facts, end));
    }
    inquiry.done()
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
