//! NOORPHAN: nothing is left without an owner.

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Invariant, Judgement, NodeFinal, NodeIndex},
    env::BlobState,
};

/// See [`Invariant::sentence`].
pub(super) const NOORPHAN: Invariant = Invariant {
    name: "NOORPHAN",
    sentence: "in the end there is no blob and no staging directory without an owner",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, NOORPHAN.name);
    let at = facts.end().saturating_sub(1);
    for (node, last) in &facts.last {
        inquiry.look(|| leftover(*node, last, at));
        inquiry.look(|| orphan(*node, last, at));
    }
    inquiry.done()
}

fn leftover<'a>(node: NodeIndex, last: &NodeFinal, at: At) -> Option<Finding<'a>> {
    last.leftovers.first().map(|path| Finding {
        kind: "a staging directory is left over",
        at,
        node: Some(node),
        why: format!("at the end {path} still stands on {node}, and nothing works on it"),
        witnesses: vec![],
    })
}

/// A recorded failure is no blob: its bytes are gone.
fn orphan<'a>(node: NodeIndex, last: &NodeFinal, at: At) -> Option<Finding<'a>> {
    let bytes = last.blobs.iter().filter(|(_, state)| !matches!(state, BlobState::Failed { .. }));
    let mut orphans = bytes.filter(|(id, _)| !last.rows.iter().any(|record| record.blob == Some(**id)));
    orphans.next().map(|(id, _)| Finding {
        kind: "a blob is left over",
        at,
        node: Some(node),
        why: format!("at the end blob {id} still stands on {node}, and no row there refers to it"),
        witnesses: vec![],
    })
}
