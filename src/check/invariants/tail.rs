//! TAIL: the event log is whole.

use std::collections::BTreeMap;

use super::{
    facts::{Facts, LogEntry, Shown},
    readers,
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement},
    env::Journal,
};

/// See [`Invariant::sentence`].
pub(super) const TAIL: Invariant = Invariant {
    name: "TAIL",
    sentence: "the persisted log is bounded and gap-free but for its marker, which counts exactly what it dropped; the \
               client's stream is every event once, and ends with exactly one of done and error; a live tail is a copy of \
               the log without gap and repeat, and ends once, after the row's end is durable",
    check,
};

const ENTRIES_MAX: usize = 200;

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, TAIL.name);
    for shown in facts.shown.iter().filter(|shown| shown.local) {
        inquiry.look(|| broken_log(shown));
    }
    for (index, deploy) in facts.deploys.iter().enumerate() {
        if deploy.answer.is_some() && deploy.id.is_some() {
            inquiry.look(|| wrong_stream(facts, index));
        }
    }
    readers::look(&mut inquiry, facts);
    inquiry.done()
}

fn broken_log<'a>(shown: &Shown) -> Option<Finding<'a>> {
    let log = &shown.row.event_log;
    let why = if log.len() > ENTRIES_MAX {
        format!("the log holds {} entries, more than {ENTRIES_MAX}", log.len())
    } else {
        gap(log)?
    };
    Some(Finding { kind: "the event log is broken", at: shown.at, node: Some(shown.node), why, witnesses: vec![] })
}

fn gap(log: &[LogEntry]) -> Option<String> {
    let mut next = 1;
    for entry in log {
        if entry.event == "truncated" {
            next += entry.data["dropped_events"].as_u64().unwrap_or(0);
            continue;
        }
        if entry.seq != next {
            return Some(format!("the log goes on with seq {} where {next} must come", entry.seq));
        }
        next += 1;
    }
    None
}

/// What the client saw is what the origin emitted, then the end.
fn wrong_stream<'a>(facts: &Facts<'_>, index: usize) -> Option<Finding<'a>> {
    let deploy = &facts.deploys[index];
    let (id, (at, answer)) = (deploy.id?, deploy.answer.as_ref()?);
    let mut seen: BTreeMap<bool, Vec<_>> = BTreeMap::new();
    for (_, entry) in facts.on(deploy.origin, deploy.requested, facts.end()) {
        match &entry.event {
            Event::ClientSaw { deploy, event, data } if *deploy as usize == index => {
                seen.entry(true).or_default().push((event.as_ref(), data));
            }
            Event::Journal(Journal::Progress { deployment_id, event, data }) if *deployment_id == id => {
                seen.entry(false).or_default().push((event.as_ref(), data));
            }
            _ => {}
        }
    }
    let mut client = seen.remove(&true).unwrap_or_default();
    let emitted = seen.remove(&false).unwrap_or_default();
    let end = client.pop().map(|(event, _)| event);
    let right_end = end == Some(if answer.is_ok() { "done" } else { "error" });
    let right = right_end && client == emitted && !client.iter().any(|(event, _)| matches!(*event, "done" | "error"));
    (!right).then(|| Finding {
        kind: "the client's stream is wrong",
        at: *at,
        node: Some(deploy.origin),
        why: format!("the client saw {} events, then {end:?}; {} were emitted", client.len(), emitted.len()),
        witnesses: vec![deploy.requested],
    })
}
