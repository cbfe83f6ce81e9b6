//! ONETERM: a deployment ends once.

use super::{
    facts::{Facts, Put},
    verdict::{Finding, Inquiry},
};
use crate::check::{Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const ONETERM: Invariant = Invariant {
    name: "ONETERM",
    sentence: "one terminal put per deployment, and no put by the recorder after it",
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

fn put_after<'a>(facts: &Facts<'_>, end: &Put) -> Option<Finding<'a>> {
    let committed = end.committed?;
    let same_row = facts.puts.iter().filter(|put| put.key == end.key && put.number != end.number);
    let mut late = same_row.filter(|put| put.started > committed || put.committed.is_some_and(|at| at > committed));
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
