//! BLOBREF: what a row names is there, or it is known why not.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeFinal, NodeIndex},
    env::{BlobId, BlobState, Key, Record},
};

/// See [`Invariant::sentence`].
pub(super) const BLOBREF: Invariant = Invariant {
    name: "BLOBREF",
    sentence: "a row that a node commits itself names a whole blob, no whole blob goes or begins anew while the row there \
               names it, unless its device damages it, and in the end each blob that a row names is whole, or its failure \
               is recorded where its origin does not hold it whole either",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, BLOBREF.name);
    let mut nodes: BTreeMap<NodeIndex, Node> = BTreeMap::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(index) = entry.node else { continue };
        let node = nodes.entry(index).or_default();
        match &entry.event {
            Event::PutCommitted { record, .. } => {
                node.show(record);
                if let Some(blob) = record.blob {
                    inquiry.look(|| node.names_what_is_not_whole(facts, at, index, blob));
                }
            }
            Event::Replicated { record, taken: true } => node.show(record),
            Event::Blob { id, state } => {
                let before = node.blobs.insert(*id, (at, state.clone()));
                inquiry.look(|| node.loses_what_is_named(at, index, *id, before).filter(|_| !facts.is_damage(at)));
            }
            Event::Final(last) => {
                for record in &last.rows {
                    let Some(blob) = record.blob else { continue };
                    let end = End { facts, at, node: index, record, blob, last };
                    let damaged = node.is_damaged(facts, blob);
                    inquiry.look(|| end.is_absent().filter(|_| !damaged));
                    inquiry.look(|| end.is_given_up_in_vain());
                }
            }
            _ => {}
        }
    }
    inquiry.done()
}

/// What a node holds at a place of the trace.
#[derive(Default)]
struct Node {
    named: BTreeMap<Key, Option<BlobId>>,
    blobs: BTreeMap<BlobId, (At, BlobState)>,
}

fn is_whole(state: &BlobState) -> bool {
    matches!(state, BlobState::Complete { .. })
}

impl Node {
    fn show(&mut self, record: &Rc<Record>) {
        self.named.insert(record.key.clone(), record.blob);
    }

    /// Is what it holds of a blob what its device made of it?
    fn is_damaged(&self, facts: &Facts<'_>, blob: BlobId) -> bool {
        self.blobs.get(&blob).is_some_and(|(at, _)| facts.is_damage(*at))
    }

    /// A local commit waits for its blob; only a replicated row may come before it (spec 11).
    fn names_what_is_not_whole<'a>(
        &self,
        facts: &Facts<'_>,
        at: At,
        node: NodeIndex,
        blob: BlobId,
    ) -> Option<Finding<'a>> {
        let held = self.blobs.get(&blob);
        let state = held.map_or(&BlobState::Missing, |(_, state)| state);
        (!is_whole(state) && !self.is_damaged(facts, blob)).then(|| Finding {
            kind: "a node commits a row whose blob it does not hold",
            at,
            node: Some(node),
            why: format!(
                "{node} commits a row before its blob is whole: {}",
                Event::Blob { id: blob, state: state.clone() }
            ),
            witnesses: held.map(|(at, _)| *at).into_iter().collect(),
        })
    }

    fn loses_what_is_named<'a>(
        &self,
        at: At,
        node: NodeIndex,
        blob: BlobId,
        before: Option<(At, BlobState)>,
    ) -> Option<Finding<'a>> {
        let (was_at, before) = before?;
        let (_, now) = &self.blobs[&blob];
        let named = self.named.values().any(|named| *named == Some(blob));
        (is_whole(&before) && !is_whole(now) && named).then(|| Finding {
            kind: "a whole blob goes while its row names it",
            at,
            node: Some(node),
            why: format!(
                "{node} held a blob whole that its row names, and loses it: {}",
                Event::Blob { id: blob, state: now.clone() }
            ),
            witnesses: vec![was_at],
        })
    }
}

/// A blob that a row names at the end, on one node. Nothing is under way any more.
struct End<'a> {
    facts: &'a Facts<'a>,
    at: At,
    node: NodeIndex,
    record: &'a Record,
    blob: BlobId,
    last: &'a NodeFinal,
}

impl End<'_> {
    fn finding<'f>(&self, kind: &'f str, why: String) -> Finding<'f> {
        Finding { kind, at: self.at, node: Some(self.node), why, witnesses: vec![] }
    }

    /// What is not whole never will be.
    fn is_absent<'f>(&self) -> Option<Finding<'f>> {
        let Self { facts, node, record, blob, last, .. } = self;
        let state = last.blobs.get(blob).unwrap_or(&BlobState::Missing);
        let told = is_whole(state) || matches!(state, BlobState::Failed { .. });
        (!told).then(|| {
            let source = facts.node_named(record.version.node.as_str()).filter(|source| source != node);
            let why = format!(
                "by the end of the run the blob of a row on {node} is neither whole nor recorded as failed: {}{}",
                Event::Blob { id: *blob, state: state.clone() },
                source.map(|source| format!("; {}", facts.waits_for_rows(*node, source))).unwrap_or_default()
            );
            self.finding("a row names a blob that never came", why)
        })
    }

    /// A failure may be recorded for good only of what cannot come: not of what the origin of the row, whose row names it
    /// as well, holds whole in the end.
    fn is_given_up_in_vain<'f>(&self) -> Option<Finding<'f>> {
        let Self { facts, at, node, record, blob, last } = self;
        let BlobState::Failed { cause } = last.blobs.get(blob)? else { return None };
        let writer = facts.node_named(record.version.node.as_str())?;
        let source = facts.last.get(&writer)?;
        let names = source.rows.iter().any(|row| row.key == record.key && row.blob == Some(*blob));
        let whole = source.blobs.get(blob).is_some_and(is_whole) && !facts.was_damaged(writer, *blob, *at);
        (names && whole && facts.is_shared(writer, *node)).then(|| {
            let why = format!("{writer} holds blob {blob} whole, but {node} gave it up for good: {cause}");
            self.finding("a blob that its origin holds is given up", why)
        })
    }
}
