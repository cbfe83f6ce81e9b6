//! PREV: a node holds a whole build, always.

use uuid::Uuid;

use super::{
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::check::{Death, Event, Invariant, Judgement, NodeIndex, TreeDigest};

/// See [`Invariant::sentence`].
pub(super) const PREV: Invariant = Invariant {
    name: "PREV",
    sentence: "the live directory is a whole old or a whole new build, at every instant and after every crash plus \
               restart; a build that a node has answered for is not lost with its power",
    check,
};

/// A change of what the live path of a project leads to, on one node.
struct Change<'a> {
    at: At,
    node: NodeIndex,
    project: &'a str,
    tree: Option<TreeDigest>,
}

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, PREV.name);
    let changes = changes(facts);
    for (index, change) in changes.iter().enumerate() {
        inquiry.look(|| not_whole(facts, change));
        inquiry.look(|| nothing_is_live(facts, change));
        inquiry.look(|| lost_with_the_power(facts, &changes[..index], change));
    }
    inquiry.done()
}

fn changes<'a>(facts: &Facts<'a>) -> Vec<Change<'a>> {
    let entries = facts.trace.entries().iter().enumerate();
    let changes = entries.filter_map(|(at, entry)| match &entry.event {
        Event::Live { project, tree } => Some(Change { at, node: entry.node?, project, tree: *tree }),
        _ => None,
    });
    changes.collect()
}

/// The tree must be that of a deploy that had been asked for.
fn not_whole<'a>(facts: &Facts<'_>, change: &Change<'_>) -> Option<Finding<'a>> {
    let tree = change.tree?;
    let mut asked = of_project(facts, change.project).filter(|deploy| deploy.requested < change.at);
    (!asked.any(|deploy| deploy.asked.tree == tree)).then(|| Finding {
        kind: "the live directory is no whole build",
        at: change.at,
        node: Some(change.node),
        why: format!("{} holds tree {tree} as `{}`, which is no build that was deployed", change.node, change.project),
        witnesses: vec![],
    })
}

/// Before a node has answered for a build of the project, its whole old state is to hold none.
fn nothing_is_live<'a>(facts: &Facts<'_>, change: &Change<'_>) -> Option<Finding<'a>> {
    if change.tree.is_some() {
        return None;
    }
    let answered = last_answer(facts, change)?;
    Some(Finding {
        kind: "the live directory is gone",
        at: change.at,
        node: Some(change.node),
        why: format!(
            "{} holds no build of `{}`, though it had answered that one is deployed",
            change.node, change.project
        ),
        witnesses: vec![answered],
    })
}

/// A loss of power leaves what the node last answered for, or what has come to be live since.
fn lost_with_the_power<'a>(facts: &Facts<'_>, before: &[Change<'_>], change: &Change<'_>) -> Option<Finding<'a>> {
    let mut earlier = facts.on(change.node, 0, change.at).rev();
    let (lost, _) = earlier
        .find(|(_, entry)| !matches!(entry.event, Event::Live { .. } | Event::Blob { .. }))
        .filter(|(_, entry)| matches!(entry.event, Event::Crashed { death: Death::PowerLoss }))?;
    let answered = last_answer(facts, change)?;
    let here = before.iter().filter(|known| known.node == change.node && known.project == change.project);
    let live_then = here.clone().rfind(|known| known.at < answered);
    let mut left = live_then.into_iter().chain(here.filter(|known| known.at > answered));
    (!left.any(|known| known.tree == change.tree)).then(|| Finding {
        kind: "a loss of power takes an acknowledged build",
        at: change.at,
        node: Some(change.node),
        why: format!(
            "{} had answered for a build of `{}`, and holds {:?} after its power was lost",
            change.node, change.project, change.tree
        ),
        witnesses: vec![answered, lost],
    })
}

/// When the node last said before a change that it runs a build of the project.
fn last_answer(facts: &Facts<'_>, change: &Change<'_>) -> Option<At> {
    let by_origin = of_project(facts, change.project).filter(|deploy| deploy.origin == change.node);
    let by_origin = by_origin.filter_map(|deploy| Some(deploy.success()?.0));
    let asked = facts.operations.iter().filter(|operation| operation.node == change.node);
    let asked = asked.filter(|operation| is_of_project(facts, operation.id, change.project));
    let by_peer = asked.filter_map(|operation| operation.answered.as_ref());
    let by_peer = by_peer.filter(|(_, outcome)| outcome["status"] == "success").map(|(at, _)| *at);
    by_origin.chain(by_peer).filter(|at| *at < change.at).max()
}

fn of_project<'a>(facts: &'a Facts<'_>, project: &str) -> impl Iterator<Item = &'a Deploy> {
    facts.deploys.iter().filter(move |deploy| deploy.asked.project == project)
}

fn is_of_project(facts: &Facts<'_>, id: Uuid, project: &str) -> bool {
    of_project(facts, project).any(|deploy| deploy.id == Some(id))
}
