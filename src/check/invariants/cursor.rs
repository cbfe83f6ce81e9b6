//! CURSOR: what a node will not ask for again is safe with it.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::{BlobId, BlobState, Key, Position, Record, Version},
};

/// See [`Invariant::sentence`].
pub(super) const CURSOR: Invariant = Invariant {
    name: "CURSOR",
    sentence: "a resume cursor never passes a row that is not committed, nor a blob that is neither complete, nor let go \
               by a newer version, nor recorded as failed for good, nor lost by its device behind the cursor",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, CURSOR.name);
    let mut cluster = Cluster::default();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::CursorSaved { of, position } => inquiry.look(|| cluster.passed(at, node, *of, *position)),
            Event::Blob { id, .. } if facts.is_damage(at) => cluster.lose(at, node, *id),
            event => cluster.take(at, node, event),
        }
    }
    inquiry.done()
}

/// What the nodes hold at a place of the trace.
#[derive(Default)]
struct Cluster {
    committed: BTreeMap<(NodeIndex, Key, Version), Rc<Record>>,
    logs: BTreeMap<NodeIndex, Vec<(Key, Version)>>,
    rows: BTreeMap<(NodeIndex, Key), Rc<Record>>,
    /// What nodes have of blobs; that a device damaged one is left out.
    blobs: BTreeMap<(NodeIndex, BlobId), BlobState>,
    /// Where a device last damaged a whole blob.
    damaged: BTreeMap<(NodeIndex, BlobId), At>,
    /// Where a version last came to a node.
    came: BTreeMap<(NodeIndex, Key, Version), At>,
    /// Where a node began to hear of another, link by link.
    heard: BTreeMap<(NodeIndex, NodeIndex), Vec<At>>,
    /// Up to where a log is known to be safe on a node.
    safe: BTreeMap<(NodeIndex, NodeIndex), Position>,
}

impl Cluster {
    /// What was safe stays so: what its device does to it later is no fault of the cursor's.
    fn lose(&mut self, at: At, node: NodeIndex, id: BlobId) {
        if matches!(self.blobs.get(&(node, id)), Some(BlobState::Complete { .. })) {
            self.damaged.insert((node, id), at);
        }
    }

    fn take(&mut self, at: At, node: NodeIndex, event: &Event) {
        match event {
            Event::PutCommitted { record, .. } => {
                let label = (node, record.key.clone(), record.version.clone());
                self.committed.insert(label, Rc::clone(record));
                self.rows.insert((node, record.key.clone()), Rc::clone(record));
            }
            Event::Replicated { record, taken } => {
                self.came.insert((node, record.key.clone(), record.version.clone()), at);
                if *taken {
                    self.rows.insert((node, record.key.clone()), Rc::clone(record));
                }
            }
            Event::Hears { of, .. } => self.heard.entry((node, *of)).or_default().push(at),
            Event::Logged { key, version } => {
                self.logs.entry(node).or_default().push((key.clone(), version.clone()));
            }
            Event::Blob { id, state } => drop(self.blobs.insert((node, *id), state.clone())),
            _ => {}
        }
    }

    /// What a cursor passed that is not safe.
    fn passed<'a>(&mut self, at: At, node: NodeIndex, of: NodeIndex, position: Position) -> Option<Finding<'a>> {
        let safe = self.safe.insert((node, of), position).unwrap_or_default();
        let log = self.logs.get(&of).map_or(&[][..], Vec::as_slice);
        let new = log.get(safe.0.min(position.0) as usize..(position.0 as usize).min(log.len()))?;
        let why = if position.0 as usize > log.len() {
            format!("the log of {of} ends at {}", log.len())
        } else {
            new.iter().find_map(|(key, version)| self.is_missing(node, of, key, version))?
        };
        Some(Finding {
            kind: "a cursor passes what is not safe",
            at,
            node: Some(node),
            why: format!(
                "{node} keeps its cursor in the log of {of} at {}, past what is not safe there: {why}",
                position.0
            ),
            witnesses: vec![],
        })
    }

    fn is_missing(&self, node: NodeIndex, of: NodeIndex, key: &Key, version: &Version) -> Option<String> {
        let shown = self.rows.get(&(node, key.clone()));
        let Some(shown) = shown.filter(|shown| shown.version >= *version) else {
            return Some(format!("version {version} of {key} is not committed"));
        };
        let record = self.committed.get(&(of, key.clone(), version.clone()))?;
        let blob = record.blob.filter(|blob| shown.blob == Some(*blob))?;
        let state = self.blobs.get(&(node, blob)).unwrap_or(&BlobState::Missing);
        let safe = matches!(state, BlobState::Complete { .. } | BlobState::Failed { .. });
        let safe = safe || self.was_whole(node, of, blob, &(node, key.clone(), version.clone()));
        (!safe).then(|| format!("{}, and not durable", Event::Blob { id: blob, state: state.clone() }))
    }

    /// Was the blob whole while the link was in use that a version came by, and did a device damage it since?
    fn was_whole(&self, node: NodeIndex, of: NodeIndex, blob: BlobId, version: &(NodeIndex, Key, Version)) -> bool {
        let (Some(damaged), Some(came)) = (self.damaged.get(&(node, blob)), self.came.get(version)) else {
            return false;
        };
        let links = self.heard.get(&(node, of)).map_or(&[][..], Vec::as_slice);
        links.iter().rfind(|link| *link < came).is_some_and(|link| link < damaged)
    }
}
