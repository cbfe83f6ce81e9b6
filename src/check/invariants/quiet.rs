//! QUIET: what has ended is over.

use uuid::Uuid;

use super::{
    facts::{At, Facts, Operation},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Clock, Event, Invariant, Judgement, NodeIndex},
    env::Journal,
};

/// See [`Invariant::sentence`].
pub(super) const QUIET: Invariant = Invariant {
    name: "QUIET",
    sentence: "nothing that belongs to a deploy runs on after it ended: no process, no file, no event, and on a peer no \
               reading of its payload; a peer puts nothing live whose end it has read, or could have read right before",
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
        inquiry.look(|| goes_live_after_its_end(facts, operation));
        if let Some((at, _)) = operation.answered {
            inquiry.look(|| noise(facts, operation.id, operation.node, at));
            inquiry.look(|| is_read_for_nobody(facts, operation, at));
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

/// A peer that has read how a deployment ended lets its build alone (museum P18).
fn goes_live_after_its_end<'a>(facts: &Facts<'_>, operation: &Operation) -> Option<Finding<'a>> {
    let end = operation.answered.as_ref().map_or(facts.end(), |(at, _)| *at);
    let link = format!("components/.next-{}-", operation.id);
    let here = facts.between(operation.received, end).filter(|(_, entry)| entry.node == Some(operation.node));
    let (mut live, mut read) = (None, None);
    for (at, entry) in here {
        match &entry.event {
            Event::Got { key, found: Ok(Some(record)) } if **key == *operation.id.to_string() => {
                read = Some((at, facts.read_row(record)));
            }
            Event::Renamed { from, to, .. } if from.starts_with(&link) && to.starts_with("components/") => {
                live = Some(at);
                break;
            }
            _ => {}
        }
    }
    if let Some(finding) = live.and_then(|live| goes_live_long_after_its_end(facts, operation, live)) {
        return Some(finding);
    }
    let (at, (read, row)) = (live?, read.filter(|(_, row)| row.is_terminal())?);
    Some(Finding {
        kind: "a build goes live after its deployment's end",
        at,
        node: Some(operation.node),
        why: format!(
            "{} had read that deployment {} was {}, and put it live",
            operation.node, operation.id, row.status
        ),
        witnesses: vec![read],
    })
}

/// What a peer's last look at the row and the swap behind it take, beside what faults make of them.
const SWAP_MAX_MS: u64 = 1_000;

/// Nor does a peer let time pass between its last look at the row and the swap, in which the row there comes to tell the
/// end: it looks right before.
fn goes_live_long_after_its_end<'a>(facts: &Facts<'_>, operation: &Operation, live: At) -> Option<Finding<'a>> {
    let key = operation.id.to_string().into();
    let mut ends = facts.shown.iter().filter(|shown| shown.node == operation.node && shown.record.key == key);
    let end = ends.find(|shown| shown.at < live && shown.row.is_terminal())?;
    let mut before =
        facts.between(operation.received, live).rev().filter(|(_, entry)| entry.node == Some(operation.node));
    let look = before.find(|(_, entry)| matches!(&entry.event, Event::Got { key: of, .. } if *of == key));
    let look = look.map_or(operation.received, |(at, _)| at);
    let slow_ms = facts.delayed_ms(operation.node, &["disk", "get"], look, live);
    let unreadable = facts.failed_between(operation.node, "get-refused", operation.received, live);
    let late = facts.at_ms(live) > facts.at_ms(look) + SWAP_MAX_MS + slow_ms;
    (late && !unreadable).then(|| Finding {
        kind: "a build goes live long after its deployment's end",
        at: live,
        node: Some(operation.node),
        why: format!(
            "the row on {} told from {} ms on that deployment {} was {}, and its build went live there",
            operation.node,
            facts.at_ms(end.at),
            operation.id,
            end.row.status
        ),
        witnesses: vec![end.at],
    })
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

/// A peer reads a payload to install it, for a client that downloads it, or to bring it back; it sends none on. Once it has
/// answered, and no client asks, nobody is there to read for (museum P16).
fn is_read_for_nobody<'a>(facts: &Facts<'_>, operation: &Operation, answered: At) -> Option<Finding<'a>> {
    // The door of a real node does not tell who downloads.
    if facts.trace.clock() != Clock::Virtual {
        return None;
    }
    let key = operation.id.to_string().into();
    let mut rows = facts.puts.iter().filter(|put| put.key == key);
    let blob = rows.find_map(|put| put.row.payload_blob)?;
    let here = || facts.between(answered + 1, facts.end()).filter(|(_, entry)| entry.node == Some(operation.node));
    let is_downloaded = |read_ms: u64| {
        here().any(|(_, entry)| match &entry.event {
            Event::PayloadRead { key: of, asked_ms, .. } => *of == key && (*asked_ms..=entry.at_ms).contains(&read_ms),
            _ => false,
        })
    };
    let is_brought_back = facts
        .deploys
        .iter()
        .any(|deploy| deploy.origin == operation.node && deploy.asked.rollback_from.as_deref() == Some(&*key));
    let (at, entry) = here().find(|(_, entry)| {
        matches!(&entry.event, Event::BlobRead { id, .. } if *id == blob) && !is_downloaded(entry.at_ms)
    })?;
    (!is_brought_back).then(|| Finding {
        kind: "a payload is read for nobody",
        at,
        node: Some(operation.node),
        why: format!(
            "{} had answered at {} ms for deployment {}, but later {} {}",
            operation.node,
            facts.at_ms(answered),
            operation.id,
            operation.node,
            entry.event
        ),
        witnesses: vec![answered],
    })
}
