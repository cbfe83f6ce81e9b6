//! SERVE: what a node serves, and when that changes.
//!
//! `switches` reads the switches out of the trace; `rolling` judges their order.

mod rolling;
mod switches;

use self::switches::{Switch, gather};
use super::{
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex, TreeDigest},
    env::{Journal, Port},
};

/// See [`Invariant::sentence`].
pub(super) const SERVE: Invariant = Invariant {
    name: "SERVE",
    sentence: "a node serves what is live there, and nothing older than before, and keeps it for as long; it switches \
               only when it starts, and then to whatever is live, or within a restart that the request asked for, behind \
               the verdict's gate; a rolling one takes one node at a time and stops at the first that fails",
    check,
};

/// Faults that keep a node from serving what it switches to, or from seeing what is live.
const SWITCH_FAULTS: [&str; 3] = ["switch-refused", "switch-stale", "disk-fails"];

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, SERVE.name);
    let switches = gather(facts);
    for switch in &switches {
        inquiry.look(|| serves_another_build(facts, switch));
        if !switch.at_start {
            inquiry.look(|| is_not_asked_for(facts, switch));
        }
    }
    for pair in served_in_a_row(&switches) {
        inquiry.look(|| goes_back(facts, pair));
    }
    for deploy in facts.deploys.iter().filter(|deploy| deploy.asked.restart_mode.as_deref() == Some("rolling")) {
        inquiry.look(|| rolling::disorder(facts, deploy, &switches));
    }
    for (at, entry) in facts.between(0, facts.end()) {
        if let (Event::Removed { path }, Some(node)) = (&entry.event, entry.node) {
            inquiry.look(|| goes_while_it_is_served(facts, &switches, at, node, path));
        }
    }
    for start in switches::starts(facts) {
        inquiry.look(|| starts_without_serving(facts, &start, &switches));
    }
    for node in facts.last.keys() {
        inquiry.look(|| serves_an_older_build_at_the_end(facts, *node));
    }
    inquiry.done()
}

/// A build that requests go to stays: it reads its files when it likes.
fn goes_while_it_is_served<'a>(
    facts: &Facts<'_>,
    switches: &[Switch<'_>],
    at: At,
    node: NodeIndex,
    path: &str,
) -> Option<Finding<'a>> {
    let (project, build) = path.strip_prefix("builds/")?.split_once('/')?;
    let here = switches.iter().filter(|switch| switch.node == node && switch.project == project);
    let (since, switch) = here.filter_map(|switch| Some((switch.served?.0, switch))).rfind(|(since, _)| *since < at)?;
    let is_served = build.ends_with(&format!("-{}", switch.build)) && facts.first_crash(node, since, at).is_none();
    is_served.then(|| Finding {
        kind: "a build goes while it is served",
        at,
        node: Some(node),
        why: format!("{node} removes {path}, and serves the build of {} as `{project}`", switch.build),
        witnesses: vec![since],
    })
}

/// The tree that a build consists of: what was renamed into the live path under its name, on any node.
fn tree_of(facts: &Facts<'_>, build: uuid::Uuid) -> Option<TreeDigest> {
    let link = format!("components/.next-{build}-");
    facts.between(0, facts.end()).find_map(|(_, entry)| match &entry.event {
        Event::Renamed { from, to, tree } if from.starts_with(&link) && to.starts_with("components/") => Some(*tree),
        _ => None,
    })
}

/// What is served under a build's name is that build, and it is live.
fn serves_another_build<'a>(facts: &Facts<'_>, switch: &Switch<'_>) -> Option<Finding<'a>> {
    let (at, tree) = switch.served?;
    let live = switches::live_tree(facts, switch.node, switch.project, at);
    let what = match (tree, live) {
        (None, _) => "nothing stands where the build was said to stand".to_owned(),
        (Some(tree), live) if live != Some(tree) => "that build is not live there".to_owned(),
        (tree, _) if tree_of(facts, switch.build) != tree => "another build is live there".to_owned(),
        _ => return None,
    };
    Some(Finding {
        kind: "a node serves what is not live",
        at,
        node: Some(switch.node),
        why: format!("{} serves the build of {} as `{}`, but {what}", switch.node, switch.build, switch.project),
        witnesses: vec![switch.at],
    })
}

/// A switch away from a start belongs to a restart that somebody asked for.
fn is_not_asked_for<'a>(facts: &Facts<'_>, switch: &Switch<'_>) -> Option<Finding<'a>> {
    let deploy = facts.deploys.iter().find(|deploy| deploy.id == Some(switch.build));
    let (kind, why) = match deploy {
        None if facts.may_be_untold(switch.build) => return None,
        None => ("a switch that nobody asked for", "no deploy of it is known".to_owned()),
        Some(deploy) if !deploy.asked.restart => {
            ("a switch that nobody asked for", "its deploy asked for no restart".to_owned())
        }
        Some(deploy) => (
            "a switch before its gate",
            gate_is_shut(facts, deploy, switch.at).or_else(|| is_not_told(facts, deploy, switch))?,
        ),
    };
    Some(Finding {
        kind,
        at: switch.at,
        node: Some(switch.node),
        why: format!("{} begins to switch to the build of {}, but {why}", switch.node, switch.build),
        witnesses: deploy.map(|deploy| deploy.requested).into_iter().collect(),
    })
}

/// Nodes restart once every peer has answered success, unless replication errors are ignored.
fn gate_is_shut(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<String> {
    if deploy.asked.ignore_replication_errors || !deploy.asked.replicated {
        return None;
    }
    let mut peers = facts.peers_expected(deploy, at).into_iter();
    let open = peers.find(|peer| !has_installed(facts, deploy, *peer, at))?;
    Some(format!("{open} has not answered success"))
}

fn has_installed(facts: &Facts<'_>, deploy: &Deploy, peer: NodeIndex, at: At) -> bool {
    let mut here = facts.operations.iter().filter(|known| known.node == peer && Some(known.id) == deploy.id);
    here.any(|known| {
        known.answered.as_ref().is_some_and(|(answered, told)| *answered < at && told["status"] == "success")
    })
}

/// A peer is told to restart by a second operation: the origin turns to it once more after it has answered the first.
fn is_not_told(facts: &Facts<'_>, deploy: &Deploy, switch: &Switch<'_>) -> Option<String> {
    if switch.node == deploy.origin {
        return None;
    }
    let answered = facts.between(deploy.requested, switch.at).find(|(_, entry)| {
        let answered = matches!(entry.event, Event::Journal(Journal::OperationAnswered { .. }));
        answered && entry.node == Some(switch.node) && entry.event.journal_deployment() == deploy.id
    });
    let told = answered.is_some_and(|(answered, _)| {
        facts.between(answered, switch.at).any(|(_, entry)| {
            entry.node == Some(deploy.origin)
                && matches!(entry.event, Event::Connecting { to, port: Port::Operations } if to == switch.node)
        })
    });
    (!told).then(|| "its origin has not told it to".to_owned())
}

/// Each two switches of one node and project that were served one after the other.
fn served_in_a_row<'s, 'a>(switches: &'s [Switch<'a>]) -> Vec<(&'s Switch<'a>, &'s Switch<'a>)> {
    let served: Vec<_> = switches.iter().filter(|switch| switch.served.is_some()).collect();
    let next = |index: usize| {
        let before: &Switch<'_> = served[index];
        served[index + 1..].iter().find(|after| after.node == before.node && after.project == before.project)
    };
    (0..served.len()).filter_map(|index| Some((served[index], *next(index)?))).collect()
}

fn goes_back<'a>(facts: &Facts<'_>, (before, after): (&Switch<'_>, &Switch<'_>)) -> Option<Finding<'a>> {
    let ages = (facts.age_of(before.build)?, facts.age_of(after.build)?);
    (ages.1 < ages.0).then(|| Finding {
        kind: "a node serves an older build than before",
        at: after.at,
        node: Some(after.node),
        why: format!("{} serves the build of {} after that of {}", after.node, after.build, before.build),
        witnesses: vec![before.at],
    })
}

/// A node that takes operations again serves what is live, or has tried to.
fn starts_without_serving<'a>(
    facts: &Facts<'_>,
    start: &switches::Start,
    switches: &[Switch<'_>],
) -> Option<Finding<'a>> {
    if facts.failed_between(start.node, "disk-fails", start.from, start.to) {
        return None;
    }
    let within = |switch: &&Switch<'_>| switch.node == start.node && (start.from..start.to).contains(&switch.at);
    let tried = |project: &str| switches.iter().filter(within).any(|switch| switch.project == project);
    let left = switches::live_trees(facts, start.node, start.to).into_keys().find(|project| !tried(project))?;
    Some(Finding {
        kind: "a node starts and does not serve what is live",
        at: start.to,
        node: Some(start.node),
        why: format!("{} takes operations again, and has not begun to serve `{left}`", start.node),
        witnesses: vec![start.from],
    })
}

/// What a success with a restart promised is served to the end, or something newer.
fn serves_an_older_build_at_the_end<'a>(facts: &Facts<'_>, node: NodeIndex) -> Option<Finding<'a>> {
    let promised = facts.deploys.iter().filter(|deploy| deploy.asked.restart && must_serve(facts, deploy, node));
    let (age, deploy) =
        promised.filter_map(|deploy| Some((facts.age_of(deploy.id?)?, deploy))).max_by(|a, b| a.0.cmp(&b.0))?;
    let start = switches::starts(facts).into_iter().rfind(|start| start.node == node);
    let refused = start
        .is_some_and(|start| SWITCH_FAULTS.iter().any(|kind| facts.failed_between(node, kind, start.from, start.to)));
    let served = facts.last.get(&node)?.served.get(&deploy.asked.project).copied();
    let fits = served.and_then(|served| facts.age_of(served)).is_some_and(|served| served >= age);
    (!fits && !refused).then(|| Finding {
        kind: "what was promised is not served at the end",
        at: facts.end() - 1,
        node: Some(node),
        why: format!(
            "at the end {node} serves {served:?} as `{}`, and not what a deploy promised",
            deploy.asked.project
        ),
        witnesses: vec![deploy.requested],
    })
}

fn must_serve(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex) -> bool {
    let Some((at, _)) = deploy.success() else { return false };
    let all = deploy.asked.replicated && !deploy.asked.ignore_replication_errors;
    node == deploy.origin || (all && facts.peers_expected(deploy, at).contains(&node))
}
