//! PROGRESS: who reconnects gets on.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::{BlobId, BlobState, Journal, Port, Position},
};

/// See [`Invariant::sentence`].
pub(super) const PROGRESS: Invariant = Invariant {
    name: "PROGRESS",
    sentence: "once faults stop, no node connects to another again and again without its cursor, its rows or its blobs \
               coming further than ever",
    check,
};

/// Connections in vain that are an endless cycle: with the back-off of spec 11 they take more than a minute and a half.
const TRIES_MAX: usize = 8;

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, PROGRESS.name);
    let mut subscribers: BTreeMap<NodeIndex, Subscriber> = BTreeMap::new();
    let mut healed = false;
    for (at, entry) in facts.between(0, facts.end()) {
        healed |= matches!(entry.event, Event::Healed);
        let Some(node) = entry.node else { continue };
        let subscriber = subscribers.entry(node).or_default();
        match &entry.event {
            Event::Connecting { to, port: Port::Rows } => {
                let tries = subscriber.tries.entry(*to).or_default();
                if healed {
                    tries.push(at);
                }
                inquiry.look(|| goes_in_circles(facts, at, node, *to, tries));
            }
            event => subscriber.take(event),
        }
    }
    inquiry.done()
}

/// How far a node has ever come, and how often it has connected since.
#[derive(Default)]
struct Subscriber {
    tries: BTreeMap<NodeIndex, Vec<At>>,
    cursors: BTreeMap<NodeIndex, Position>,
    settled: BTreeSet<BlobId>,
    bytes: BTreeMap<BlobId, u64>,
}

impl Subscriber {
    fn take(&mut self, event: &Event) {
        let further = match event {
            Event::CursorSaved { of, position } => {
                let before = self.cursors.insert(*of, *position);
                before.is_none_or(|before| before < *position)
            }
            Event::Replicated { taken, .. } => *taken,
            Event::Blob { id, state: BlobState::Writing { bytes } } => {
                let most = self.bytes.entry(*id).or_default();
                let further = *bytes > *most;
                *most = (*most).max(*bytes);
                further
            }
            Event::Blob { id, state: BlobState::Complete { .. } | BlobState::Failed { .. } } => {
                self.settled.insert(*id)
            }
            _ => false,
        };
        if further {
            self.tries.clear();
        }
    }
}

fn goes_in_circles<'a>(facts: &Facts<'_>, at: At, node: NodeIndex, to: NodeIndex, tries: &[At]) -> Option<Finding<'a>> {
    let first = *tries.first().filter(|_| tries.len() > TRIES_MAX)?;
    let what = format!("link to {to}");
    let mut told = facts.between(first, at).rev().filter(|(_, entry)| entry.node == Some(node));
    let cause = told.find_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::Dropped { what: told, cause }) if *told == what => Some(cause.as_str()),
        _ => None,
    });
    Some(Finding {
        kind: "a link breaks again and again",
        at,
        node: Some(node),
        why: format!(
            "{node} connects to {to} for the {}th time since {} ms, and has not come any further; the last time it broke: {}",
            tries.len(),
            facts.at_ms(first),
            cause.unwrap_or("it did not say why")
        ),
        witnesses: vec![first],
    })
}
