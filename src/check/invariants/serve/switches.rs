//! The switches of a run, read out of its trace.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    check::{
        Event, NodeIndex, TreeDigest,
        invariants::facts::{At, Facts},
    },
    env::Port,
};

/// A switch of a node to a build.
pub(super) struct Switch<'a> {
    pub(super) node: NodeIndex,
    pub(super) project: &'a str,
    pub(super) build: Uuid,
    /// When it began.
    pub(super) at: At,
    /// The node was starting, and took no operations yet.
    pub(super) at_start: bool,
    /// When it ended, if it did.
    pub(super) ended: Option<At>,
    /// When requests went there, and what stood there: unless it failed.
    pub(super) served: Option<(At, Option<TreeDigest>)>,
}

/// A start of a node.
pub(super) struct Start {
    pub(super) node: NodeIndex,
    /// Where its life begins.
    pub(super) from: At,
    /// Where it takes operations.
    pub(super) to: At,
}

/// All switches, in the order in which they began.
pub(super) fn gather<'a>(facts: &'a Facts<'_>) -> Vec<Switch<'a>> {
    let mut switches: Vec<Switch<'a>> = Vec::new();
    let mut up = BTreeSet::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        let mut open = switches.iter_mut().filter(|switch| switch.node == node && switch.ended.is_none());
        match &entry.event {
            Event::Listening { port: Port::Operations } => drop(up.insert(node)),
            Event::Crashed { .. } => {
                up.remove(&node);
                open.for_each(|switch| switch.ended = Some(at));
            }
            Event::Switching { project, build } => {
                let at_start = !up.contains(&node);
                switches.push(Switch { node, project, build: *build, at, at_start, ended: None, served: None });
            }
            Event::Serves { project, build, tree } => {
                if let Some(switch) = open.find(|open| open.project == *project && open.build == *build) {
                    (switch.ended, switch.served) = (Some(at), Some((at, *tree)));
                }
            }
            Event::NotSwitched { project, build } => {
                if let Some(switch) = open.find(|open| open.project == *project && open.build == *build) {
                    switch.ended = Some(at);
                }
            }
            _ => {}
        }
    }
    switches
}

/// Every start of a node that came to take operations.
pub(super) fn starts(facts: &Facts<'_>) -> Vec<Start> {
    let mut begun = BTreeMap::new();
    let mut starts = Vec::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match entry.event {
            Event::Restarted => drop(begun.insert(node, at)),
            Event::Crashed { .. } => drop(begun.remove(&node)),
            Event::Listening { port: Port::Operations } => {
                starts.extend(begun.remove(&node).map(|from| Start { node, from, to: at }));
            }
            _ => {}
        }
    }
    starts
}

/// What is live on a node at a place, by project.
pub(super) fn live_trees(facts: &Facts<'_>, node: NodeIndex, at: At) -> BTreeMap<String, TreeDigest> {
    let mut live = BTreeMap::new();
    for (_, entry) in facts.on(node, 0, at) {
        if let Event::Live { project, tree } = &entry.event {
            match tree {
                Some(tree) => drop(live.insert(project.clone(), *tree)),
                None => drop(live.remove(project)),
            }
        }
    }
    live
}

/// What is live of one project on a node at a place.
pub(super) fn live_tree(facts: &Facts<'_>, node: NodeIndex, project: &str, at: At) -> Option<TreeDigest> {
    let mut news = facts.on(node, 0, at).rev();
    let last = news.find_map(|(_, entry)| match &entry.event {
        Event::Live { project: of, tree } if of == project => Some(*tree),
        _ => None,
    });
    last.flatten()
}
