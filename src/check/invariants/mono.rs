//! MONO: a row only goes forward.

use std::collections::BTreeMap;

use super::{
    deletion::{is_recorded, only_lets_payload_go},
    facts::{Facts, Shown},
    verdict::{Finding, Inquiry},
};
use crate::check::{Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const MONO: Invariant = Invariant {
    name: "MONO",
    sentence: "what a node shows of a row never goes back: not in version, not in status rank, no known field back to \
               empty (a failing ingest takes its payload back)",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, MONO.name);
    let mut before: BTreeMap<_, &Shown> = BTreeMap::new();
    for after in &facts.shown {
        if let Some(before) = before.insert((after.node, after.record.key.clone()), after) {
            inquiry.look(|| went_back(facts, before, after));
        }
    }
    inquiry.done()
}

fn went_back<'a>(facts: &Facts<'_>, before: &Shown, after: &Shown) -> Option<Finding<'a>> {
    let (kind, what) = regression(facts, before, after)?;
    Some(Finding {
        kind,
        at: after.at,
        node: Some(after.node),
        why: format!("the row went back on {}: {what}", after.node),
        witnesses: vec![before.at],
    })
}

fn regression<'a>(facts: &Facts<'_>, before: &Shown, after: &Shown) -> Option<(&'a str, String)> {
    let (old, new) = (&before.row, &after.row);
    if after.record.version <= before.record.version {
        let (old, new) = (&before.record.version, &after.record.version);
        return Some(("an older version over a newer one", format!("version {new} over {old}")));
    }
    if new.rank() < old.rank() || (old.is_terminal() && old.status != new.status) {
        return Some(("status went back", format!("status `{}` after `{}`", new.status, old.status)));
    }
    if new.peer_results.len() < old.peer_results.len() {
        let (old, new) = (old.peer_results.len(), new.peer_results.len());
        return Some(("peer outcomes lost", format!("{new} peer outcomes after {old}")));
    }
    let lost = old.payload_hash.is_some() && new.payload_hash.is_none()
        || old.payload_size.is_some() && new.payload_size.is_none()
        || old.payload_blob.is_some() && new.payload_blob.is_none();
    let let_go = lost && is_let_go(facts, after);
    (lost && !let_go && !taken_back(facts, after)).then(|| ("payload lost", "its payload is empty again".to_owned()))
}

/// A recorded deletion changes nothing of the ended row but the payload's presence. What a node showed before may be an
/// older version: not each one comes to every node.
fn is_let_go(facts: &Facts<'_>, after: &Shown) -> bool {
    let ends = facts.shown.iter().filter(|shown| shown.local && shown.record.key == after.record.key);
    let mut ends = ends.filter(|shown| shown.at < after.at && shown.row.is_terminal());
    is_recorded(facts, &after.record.key, after.at)
        && ends.any(|end| only_lets_payload_go(&end.record.value, &after.record.value))
}

/// An ingest that fails takes the payload back, before any peer is asked.
fn taken_back(facts: &Facts<'_>, after: &Shown) -> bool {
    let deploy = facts.deploys.iter().find(|deploy| deploy.key().as_ref() == Some(&after.record.key));
    deploy.is_some_and(|deploy| deploy.failure().is_some() && facts.peers_asked(deploy, facts.end()).is_empty())
}
