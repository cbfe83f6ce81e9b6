//! QUIET: what has ended is over.

use uuid::Uuid;

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::Journal,
};

/// See [`Invariant::sentence`].
pub(super) const QUIET: Invariant = Invariant {
    name: "QUIET",
    sentence: "nothing that belongs to a deploy runs on after it ended: no process, no file, no event",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, QUIET.name);
    for deploy in &facts.deploys {
        if let (Some(id), Some((at, _))) = (deploy.id, &deploy.answer) {
            inquiry.look(|| noise(facts, id, deploy.origin, *at));
        }
    }
    for operation in &facts.operations {
        if let Some((at, _)) = operation.answered {
            inquiry.look(|| noise(facts, operation.id, operation.node, at));
        }
    }
    for (node, last) in &facts.last {
        inquiry.look(|| {
            last.processes.first().map(|process| Finding {
                kind: "a process runs on",
                at: facts.end() - 1,
                node: Some(*node),
                why: format!("at the end process {process} still runs on {node}"),
                witnesses: vec![],
            })
        });
    }
    inquiry.done()
}

fn noise<'a>(facts: &Facts<'_>, id: Uuid, node: NodeIndex, ended: At) -> Option<Finding<'a>> {
    let staging = format!("staging/{id}");
    let processes = facts.processes_of(id, node);
    let mut later = facts.between(ended + 1, facts.end()).filter(|(_, entry)| entry.node == Some(node));
    let (at, entry) = later.find(|(_, entry)| match &entry.event {
        Event::Written { path, .. } | Event::Renamed { from: path, .. } => path.starts_with(&staging),
        Event::ProcessStarted { command, .. } => command.directory.starts_with(&staging),
        Event::ProcessOutput { process, .. } => processes.contains(process),
        // A restart comes after the peer's answer to the deploy.
        Event::Journal(Journal::RestartAnswered { .. }) => false,
        event => event.journal_deployment() == Some(id) && matches!(event, Event::Journal(_)),
    })?;
    Some(Finding {
        kind: "a deploy goes on after its end",
        at,
        node: Some(node),
        why: format!("the deploy had ended on {node} at {} ms, but later {node} {}", facts.at_ms(ended), entry.event),
        witnesses: vec![ended],
    })
}
