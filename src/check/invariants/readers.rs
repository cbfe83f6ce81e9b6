//! What a live tail showed its reader: the part of TAIL that is about readers.

use std::collections::BTreeMap;

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, NodeIndex, TailSight},
    env::{Journal, Key},
};

/// A reader's tail, as the trace has it.
struct Reading<'a> {
    node: NodeIndex,
    key: &'a Key,
    sights: Vec<(At, &'a TailSight)>,
}

/// Looks at every tail of the run.
pub(super) fn look(inquiry: &mut Inquiry<'_>, facts: &Facts<'_>) {
    for reading in gather(facts).values() {
        inquiry.look(|| wrong(facts, reading));
    }
}

fn gather<'a>(facts: &'a Facts<'_>) -> BTreeMap<u32, Reading<'a>> {
    let mut readings: BTreeMap<u32, Reading<'a>> = BTreeMap::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let (Event::Tail { reader, key, saw }, Some(node)) = (&entry.event, entry.node) else { continue };
        let reading = readings.entry(*reader).or_insert_with(|| Reading { node, key, sights: Vec::new() });
        reading.sights.push((at, saw));
    }
    readings
}

fn wrong<'a>(facts: &Facts<'_>, reading: &Reading<'_>) -> Option<Finding<'a>> {
    let emitted = emitted(facts, reading.key);
    let (mut next, mut ended) = (1, false);
    for (at, saw) in &reading.sights {
        let broken = match saw {
            TailSight::Entry { .. } if ended => Some("the tail went on after its end".to_owned()),
            TailSight::Entry { seq, event, data } => wrong_entry(&emitted, &mut next, *seq, event, data),
            TailSight::Ended { .. } if ended => Some("the tail ended twice".to_owned()),
            TailSight::Ended { row } => {
                ended = true;
                wrong_end(facts, reading.key, *at, row, next)
            }
            TailSight::Closed if !ended => Some("the tail closed without its end".to_owned()),
            TailSight::Failed { cause } => Some(format!("the tail broke off: {cause}")),
            TailSight::Attached { .. } | TailSight::Closed | TailSight::Left | TailSight::Lost => None,
        };
        if let Some(why) = broken {
            return Some(finding("a tail is not the log", *at, reading, why));
        }
    }
    never_ended(facts, reading)
}

fn finding<'a>(kind: &'a str, at: At, reading: &Reading<'_>, why: String) -> Finding<'a> {
    let witnesses = reading.sights.first().map(|(at, _)| *at).into_iter().collect();
    Finding { kind, at, node: Some(reading.node), why: format!("a reader on {}: {why}", reading.node), witnesses }
}

/// What the origin emitted, in order: the event with `seq` n is the n-th.
fn emitted<'a>(facts: &'a Facts<'_>, key: &Key) -> Vec<(&'a str, &'a serde_json::Value)> {
    let first = facts.puts.iter().find(|put| put.key == *key);
    let Some(origin) = first.map(|put| put.node) else { return Vec::new() };
    let events = facts.on(origin, 0, facts.end());
    let events = events.filter_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::Progress { deployment_id, event, data }) if **key == *deployment_id.to_string() => {
            Some((event.as_ref(), data))
        }
        _ => None,
    });
    events.collect()
}

fn wrong_entry(
    emitted: &[(&str, &serde_json::Value)],
    next: &mut u64,
    seq: u64,
    event: &str,
    data: &serde_json::Value,
) -> Option<String> {
    let expected = *next;
    *next = seq + 1;
    if event == "truncated" {
        let told = data["dropped_events"].as_u64().unwrap_or(0);
        let missing = (seq + 1).saturating_sub(expected);
        return (told != missing || missing == 0)
            .then(|| format!("the marker counts {told} events where {missing} are missing, from seq {expected} on"));
    }
    if seq != expected {
        return Some(format!("seq {seq} came where {expected} must come"));
    }
    let right = emitted.get(seq as usize - 1).is_some_and(|(name, told)| *name == event && *told == data);
    (!right).then(|| format!("entry {seq} is `{event}` {data}, which is not what was emitted"))
}

/// The end comes after the row's end is durable, and after all of its log.
fn wrong_end(facts: &Facts<'_>, key: &Key, at: At, row: &serde_json::Value, next: u64) -> Option<String> {
    let ended = |put: &&super::facts::Put| put.key == *key && put.row.is_terminal();
    let durable = facts.puts.iter().filter(ended).find(|put| put.committed.is_some_and(|committed| committed < at));
    let Some(end) = durable else { return Some("the tail ended before the end of the row was durable".to_owned()) };
    if row["status"] != end.row.status.as_str() {
        return Some(format!("the tail ended with status {}, the row with `{}`", row["status"], end.row.status));
    }
    let last = end.row.event_log.last().map_or(0, |entry| entry.seq);
    (next != last + 1).then(|| format!("the tail ended after seq {}, the log with {last}", next - 1))
}

/// A reader that stayed until the run was over sees the end of a row that has ended on its node.
fn never_ended<'a>(facts: &Facts<'_>, reading: &Reading<'_>) -> Option<Finding<'a>> {
    let (at, last) = reading.sights.last()?;
    let over = facts.row_at(reading.node, reading.key, facts.end()).is_some_and(|shown| shown.row.is_terminal());
    let waits = matches!(last, TailSight::Attached { .. } | TailSight::Entry { .. });
    (waits && over).then(|| {
        let why = "the row is terminal, and the tail has not ended by the end of the run".to_owned();
        finding("a tail never ends", *at, reading, why)
    })
}
