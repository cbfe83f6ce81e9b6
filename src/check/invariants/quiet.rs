//! QUIET: what has ended is over.

use uuid::Uuid;

use super::{
    facts::{At, Facts, Operation},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Clock, Event, Invariant, Judgement, NodeIndex},
    env::{Journal, Key},
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

/// What a peer's last look at the row and the swap behind it take, beside what faults make of them.
const SWAP_MAX_MS: u64 = 1_000;

/// A peer that has read how a deployment ended lets its build alone (museum P18), and it looks right before its swap, so
/// that no time passes in which the end could come unseen.
fn goes_live_after_its_end<'a>(facts: &Facts<'_>, operation: &Operation) -> Option<Finding<'a>> {
    let live = goes_live(facts, operation)?;
    let key = operation.id.to_string().into();
    let mut ends = facts.shown.iter().filter(|shown| shown.node == operation.node && shown.record.key == key);
    let end = ends.find(|shown| shown.at < live && shown.row.is_terminal())?;
    let looks = looks(facts, operation, live);
    let took = |look: At| facts.at_ms(live) - facts.at_ms(look);
    let slow_ms = |look: At| facts.delayed_ms(operation.node, &["disk", "get", "get-answer"], look, live);
    // Readers on the node look as well: it is enough that one of the looks can be the peer's last.
    let late = !looks.iter().any(|(look, _)| took(*look) <= SWAP_MAX_MS + slow_ms(*look));
    let unreadable = facts.failed_between(operation.node, "get-refused", operation.received, live);
    let told_in_time = looks.iter().any(|(look, ended)| !ended && took(*look) <= slow_ms(*look));
    let (kind, why) = if late && !unreadable {
        ("a build goes live long after its deployment's end", "it did not look again".to_owned())
    } else if looks.last().is_some_and(|(_, ended)| *ended) && !told_in_time {
        ("a build goes live after its deployment's end", "it had read that".to_owned())
    } else {
        return None;
    };
    Some(Finding {
        kind,
        at: live,
        node: Some(operation.node),
        why: format!(
            "the row on {} told from {} ms on that deployment {} was {}, and its build went live there: {why}",
            operation.node,
            facts.at_ms(end.at),
            operation.id,
            end.row.status
        ),
        witnesses: vec![end.at],
    })
}

/// When a peer puts the operation's build live.
fn goes_live(facts: &Facts<'_>, operation: &Operation) -> Option<At> {
    let end = operation.answered.as_ref().map_or(facts.end(), |(at, _)| *at);
    let link = format!("components/.next-{}-", operation.id);
    let mut here = facts.on(operation.node, operation.received, end);
    let live = here.find(|(_, entry)| match &entry.event {
        Event::Renamed { from, to, .. } => from.starts_with(&link) && to.starts_with("components/"),
        _ => false,
    });
    live.map(|(at, _)| at)
}

/// Every look at the row on the peer's node from the operation on, and whether it told an end.
fn looks(facts: &Facts<'_>, operation: &Operation, to: At) -> Vec<(At, bool)> {
    let wanted = operation.id.to_string();
    let here = facts.on(operation.node, operation.received, to);
    let looks = here.filter_map(|(at, entry)| match &entry.event {
        Event::Got { key, found } if **key == *wanted => {
            let ended = found
                .as_ref()
                .is_ok_and(|found| found.as_ref().is_some_and(|record| facts.read_row(record).is_terminal()));
            Some((at, ended))
        }
        _ => None,
    });
    looks.collect()
}

fn noise<'a>(facts: &Facts<'_>, id: Uuid, node: NodeIndex, ended: At) -> Option<Finding<'a>> {
    let staging = format!("staging/{id}");
    let processes = facts.processes_of(id, node);
    let mut later = facts.on(node, ended + 1, facts.end());
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
    let here = || facts.on(operation.node, answered + 1, facts.end());
    let is_downloaded = |read: At| downloads_under_way(facts, operation.node, &key, read) > 0;
    let is_brought_back = facts
        .deploys
        .iter()
        .any(|deploy| deploy.origin == operation.node && deploy.asked.rollback_from.as_deref() == Some(&*key));
    let (at, entry) = here()
        .find(|&(at, entry)| matches!(&entry.event, Event::BlobRead { id, .. } if *id == blob) && !is_downloaded(at))?;
    (!is_brought_back).then(|| Finding {
        kind: "a payload is read for nobody",
        at,
        node: Some(operation.node),
        why: format!(
            "{} goes on with deployment {}, for which it had answered at {} ms: {} {}",
            operation.node,
            operation.id,
            facts.at_ms(answered),
            operation.node,
            entry.event
        ),
        witnesses: vec![answered],
    })
}

/// How many clients of a node download a deployment's payload at a place. A node that dies leaves them.
fn downloads_under_way(facts: &Facts<'_>, node: NodeIndex, key: &Key, at: At) -> usize {
    facts.on(node, 0, at).fold(0, |open: usize, (_, entry)| match &entry.event {
        Event::ReaderAsks { request, .. } => {
            let asks = request["operation"] == "get_deployment_payload" && request["deployment_id"] == **key;
            open + usize::from(asks)
        }
        Event::PayloadRead { key: of, .. } if of == key => open.saturating_sub(1),
        Event::Crashed { .. } => 0,
        _ => open,
    })
}
