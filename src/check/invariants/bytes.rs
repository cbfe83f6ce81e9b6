//! BYTES: what is unpacked is what was uploaded.

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex, TreeDigest},
    env::{BlobId, BlobState},
};

/// See [`Invariant::sentence`].
pub(super) const BYTES: Invariant = Invariant {
    name: "BYTES",
    sentence: "what a node puts live is the uploaded component byte for byte, and a complete blob is as long as its \
               upload: no byte twice, none missing",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, BYTES.name);
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::Renamed { to, tree, .. } if is_live(to) => inquiry.look(|| strange_tree(facts, at, node, to, *tree)),
            Event::Blob { id, state: BlobState::Complete { bytes } } => {
                inquiry.look(|| strange_length(facts, at, node, *id, *bytes));
            }
            _ => {}
        }
    }
    inquiry.done()
}

fn is_live(path: &str) -> bool {
    path.strip_prefix("components/").is_some_and(|name| !name.starts_with('.') && !name.contains('/'))
}

fn strange_tree<'a>(facts: &Facts<'_>, at: At, node: NodeIndex, to: &str, tree: TreeDigest) -> Option<Finding<'a>> {
    let mut deploys = facts.deploys.iter().filter(|deploy| to.ends_with(&format!("/{}", deploy.asked.project)));
    let known = deploys.any(|deploy| deploy.asked.tree == tree);
    (!known).then(|| Finding {
        kind: "a tree that nobody deployed goes live",
        at,
        node: Some(node),
        why: format!("{node} puts tree {tree} live at {to}, which is not the component that was uploaded"),
        witnesses: vec![],
    })
}

fn strange_length<'a>(facts: &Facts<'_>, at: At, node: NodeIndex, id: BlobId, bytes: u64) -> Option<Finding<'a>> {
    let mut whole = facts.deploys.iter().filter(|deploy| deploy.aborted.is_none());
    // A copy is no longer than what it is made of.
    let known = whole.any(|deploy| deploy.asked.payload_bytes == bytes) || facts.was_damaged_somewhere(id, at + 1);
    (!known).then(|| Finding {
        kind: "a complete blob has a wrong length",
        at,
        node: Some(node),
        why: format!("blob {id} is complete with {bytes} bytes on {node}, but no upload was that long"),
        witnesses: vec![],
    })
}
