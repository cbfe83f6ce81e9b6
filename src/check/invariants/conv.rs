//! CONV: in the end all nodes agree.

use std::collections::BTreeSet;

use super::{
    facts::{Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Invariant, Judgement, NodeIndex},
    env::Record,
};

/// See [`Invariant::sentence`].
pub(super) const CONV: Invariant = Invariant {
    name: "CONV",
    sentence: "once faults stop and nothing is in flight, all nodes show the origin's last acknowledged version, and \
               run the same build when the last deploy of a project succeeded",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, CONV.name);
    for (node, last) in &facts.last {
        for record in last.rows.iter().filter(|record| record.version.node.as_str() == node.to_string()) {
            for other in facts.last.keys().filter(|other| *other != node) {
                inquiry.look(|| row_differs(facts, *node, record, *other));
            }
        }
    }
    let projects: BTreeSet<&str> = facts.deploys.iter().map(|deploy| deploy.asked.project.as_str()).collect();
    for project in projects {
        let deploys: Vec<_> = facts.deploys.iter().filter(|deploy| deploy.asked.project == project).collect();
        if deploys.iter().all(|deploy| deploy.success().is_some() && deploy.asked.replicated) {
            inquiry.look(|| builds_differ(facts, &deploys));
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
        why: format!("at the end {node} shows version {} of its row, but {other} shows {shows}", record.version),
        witnesses: vec![],
    })
}

fn builds_differ<'a>(facts: &Facts<'_>, deploys: &[&Deploy]) -> Option<Finding<'a>> {
    let last = deploys.last().expect("the project was taken from a deploy");
    if last.asked.ignore_replication_errors {
        return None;
    }
    let live: Vec<_> = facts.last.values().map(|node| node.live.get(&last.asked.project)).collect();
    let wanted = deploys.iter().any(|deploy| live.iter().all(|tree| *tree == Some(&deploy.asked.tree)));
    (!wanted).then(|| Finding {
        kind: "the nodes run different builds at the end",
        at: facts.end() - 1,
        node: None,
        why: format!("every deploy of `{}` succeeded, but at the end the nodes run {live:?}", last.asked.project),
        witnesses: vec![last.requested],
    })
}
