//! CONV: in the end all nodes agree.

use std::collections::BTreeSet;

use super::{
    facts::{Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Invariant, Judgement, NodeIndex, TreeDigest},
    env::Record,
};

/// See [`Invariant::sentence`].
pub(super) const CONV: Invariant = Invariant {
    name: "CONV",
    sentence: "once faults stop and nothing is in flight, all members show the last acknowledged version of an origin that \
               is one, and run the newest build that succeeded or a newer one; no node goes back to an older build, and a deploy is newer \
               than what its origin had before",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, CONV.name);
    let shared = !facts.keeps_rows_apart();
    for (node, last) in facts.last.iter().filter(|_| shared) {
        for record in last.rows.iter().filter(|record| record.version.node.as_str() == facts.name(*node)) {
            for other in facts.last.keys().filter(|other| *other != node && facts.is_shared(*node, **other)) {
                inquiry.look(|| row_differs(facts, *node, record, *other));
            }
        }
    }
    for deploy in &facts.deploys {
        inquiry.look(|| is_older_than_what_it_follows(facts, deploy));
    }
    let projects: BTreeSet<&str> = facts.deploys.iter().map(|deploy| deploy.asked.project.as_str()).collect();
    for project in projects {
        for node in facts.last.keys() {
            inquiry.look(|| runs_an_older_build(facts, *node, project));
            inquiry.look(|| went_back(facts, *node, project));
        }
    }
    inquiry.done()
}

fn row_differs<'a>(facts: &Facts<'_>, node: NodeIndex, record: &Record, other: NodeIndex) -> Option<Finding<'a>> {
    let theirs = facts.last[&other].rows.iter().find(|theirs| theirs.key == record.key);
    let shows = match theirs {
        Some(theirs) if **theirs == *record => return None,
        Some(theirs) => format!("version {}", theirs.version),
        None => "nothing".to_owned(),
    };
    let at = facts.row_at(other, &record.key, facts.end()).map_or(facts.end() - 1, |shown| shown.at);
    Some(Finding {
        kind: "a peer shows another version at the end",
        at,
        node: Some(other),
        why: format!(
            "at the end {node} shows version {} of its row, but {other} shows {shows}; {}",
            record.version,
            facts.waits_for_rows(other, node)
        ),
        witnesses: vec![],
    })
}

/// A deploy is newer than those whose row or build its origin had when it was asked for, whatever clocks show.
fn is_older_than_what_it_follows<'a>(facts: &Facts<'_>, deploy: &Deploy) -> Option<Finding<'a>> {
    let age = facts.age(deploy)?;
    let had_row = |other: &Deploy| {
        let shown = other.key().and_then(|key| facts.row_at(deploy.origin, &key, deploy.requested));
        shown.map(|shown| shown.at)
    };
    let created = deploy.key().and_then(|key| facts.puts.iter().find(|put| put.key == key)).map(|put| put.started);
    // A tree may be of several deploys.
    let of_tree = |other: &Deploy| facts.deploys.iter().filter(|any| any.asked.tree == other.asked.tree).count();
    let had_build = |other: &Deploy| {
        let same_project = other.asked.project == deploy.asked.project && of_tree(other) == 1;
        let lives = same_project.then(|| facts.lives(deploy.origin, &deploy.asked.project))?;
        let (at, tree) = lives.into_iter().rfind(|(at, _)| *at < deploy.requested)?;
        // It may have gone with the power, or been taken back; and a disk that fails does not tell its age.
        let is_there = facts.first_crash(deploy.origin, at, deploy.requested).is_none()
            && !facts.swap_was_undone(deploy.origin, &deploy.asked.project, at, deploy.requested)
            && !facts.failed_between(deploy.origin, "disk-fails", deploy.requested, created?);
        (tree == other.asked.tree && is_there).then_some(at)
    };
    let others = facts.deploys.iter().filter(|other| other.requested < deploy.requested && other.id != deploy.id);
    let mut newer = others.filter(|other| facts.age(other).is_some_and(|other| other > age));
    let (other, had) = newer.find_map(|other| Some((other, had_row(other).or_else(|| had_build(other))?)))?;
    Some(Finding {
        kind: "a deploy is older than what its origin had before",
        at: deploy.requested,
        node: Some(deploy.origin),
        why: format!(
            "{} begins deployment {}, which counts as older than {}, and had that one before",
            deploy.origin, deploy.id?, other.id?
        ),
        witnesses: vec![had],
    })
}

/// The newest deploy of a project that succeeded everywhere is what a node runs at the end, or a newer one that went live
/// there and failed elsewhere.
fn runs_an_older_build<'a>(facts: &Facts<'_>, node: NodeIndex, project: &str) -> Option<Finding<'a>> {
    let of_project = facts.deploys.iter().filter(|deploy| deploy.asked.project == project);
    let everywhere = of_project.clone().filter(|deploy| {
        deploy.success().is_some() && deploy.asked.replicated && !deploy.asked.ignore_replication_errors
    });
    let newest = everywhere.max_by_key(|deploy| facts.age(deploy))?;
    let (at, _) = newest.success()?;
    if !facts.peers_expected(newest, at).contains(&node) && node != newest.origin {
        return None;
    }
    let runs = facts.last[&node].live.get(project);
    let allowed = runs.is_some_and(|tree| {
        of_project.clone().any(|deploy| deploy.asked.tree == *tree && facts.age(deploy) >= facts.age(newest))
    });
    (!allowed).then(|| Finding {
        kind: "a node runs an older build at the end",
        at: facts.end() - 1,
        node: Some(node),
        why: format!(
            "the newest deploy of `{project}` that succeeded brought tree {}, but {node} runs {runs:?}",
            newest.asked.tree
        ),
        witnesses: vec![newest.requested, at],
    })
}

/// No node puts an older build in the place of a newer one, so that origins that deploy at the same time agree (M10).
fn went_back<'a>(facts: &Facts<'_>, node: NodeIndex, project: &str) -> Option<Finding<'a>> {
    // A rollback brings an earlier tree again: a tree may be of several deploys, and stands for the oldest that fits.
    let oldest_from = |tree: TreeDigest, before: Option<_>, at| {
        let of_tree =
            facts.deploys.iter().filter(|deploy| deploy.asked.project == project && deploy.asked.tree == tree);
        let ages: Vec<_> =
            of_tree.filter(|deploy| deploy.requested < at).filter_map(|deploy| facts.age(deploy)).collect();
        (ages.is_empty(), ages.into_iter().filter(|age| Some(age) >= before.as_ref()).min())
    };
    let lives = facts.lives(node, project);
    let (mut newest, mut before) = (None, None);
    let back = (0..lives.len()).find(|&index| {
        let (at, tree) = lives[index];
        if index > 0 && facts.swap_was_undone(node, project, lives[index - 1].0, at + 1) {
            newest = before.clone();
            return false;
        }
        before = newest.clone();
        match oldest_from(tree, newest.clone(), at) {
            (true, _) => false,
            (false, Some(age)) => {
                newest = Some(age);
                false
            }
            (false, None) => true,
        }
    })?;
    let back = lives.get(back.checked_sub(1)?..=back)?;
    Some(Finding {
        kind: "an older build takes the place of a newer one",
        at: back[1].0,
        node: Some(node),
        why: format!("{node} ran tree {} of `{project}`, and went back to the older {}", back[0].1, back[1].1),
        witnesses: vec![back[0].0],
    })
}
