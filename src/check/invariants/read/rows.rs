//! A row that a reader is told, against what its node shows.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use super::asks::{Ask, visible, was_refused};
use crate::{
    check::{
        Event, NodeIndex, TailSight,
        invariants::{
            facts::{At, Facts, Shown, rank_of},
            verdict::{Finding, Inquiry},
        },
    },
    env::Journal,
};

/// The statuses of spec 2 that end a deployment.
const TERMINAL: [&str; 3] = ["success", "failed", "rolled_back"];

/// Judges the answer to a `get_deployment`.
pub(super) fn wrong_answer<'a>(facts: &Facts<'_>, ask: &Ask<'_>) -> Option<Finding<'a>> {
    let id = ask.request["deployment_id"].as_str().unwrap_or_default();
    match ask.answer {
        Ok(row) if row["deployment_id"] != id => {
            Some(ask.finding("another row than was asked for", format!("it is told of {}", row["deployment_id"])))
        }
        Ok(row) => wrong_row(facts, ask.node, &ask.window, row),
        Err(failure) => {
            let known = visible(facts, ask.node, id, &ask.window).first().is_some_and(|row| row.at <= ask.window.start);
            let fits = match failure["code"].as_str() {
                Some("store_refused") => was_refused(facts, ask.node, &ask.window),
                Some("deployment_not_found") => !known,
                _ => false,
            };
            (!fits).then(|| ask.finding("a row is not told", format!("it is told: {failure}")))
        }
    }
}

/// What is wrong with a row that a node told of in a window.
pub(super) fn wrong_row<'a>(
    facts: &Facts<'_>,
    node: NodeIndex,
    window: &Range<At>,
    row: &Value,
) -> Option<Finding<'a>> {
    let broken =
        |kind, why| Some(Finding { kind, at: window.end, node: Some(node), why, witnesses: vec![window.start] });
    if row.get("payload_blob").is_some() || !row["payload_blob_present"].is_boolean() {
        return broken(
            "a reader sees the blob",
            format!("{node} tells of a row with its blob, which is for nodes only: {}", row["payload_blob"]),
        );
    }
    let versions = visible(facts, node, row["deployment_id"].as_str().unwrap_or_default(), window);
    if versions.iter().any(|shown| is_told_by(row, shown)) {
        return None;
    }
    let status = row["status"].as_str().unwrap_or_default();
    if TERMINAL.contains(&status) {
        return broken(
            "an end is told that is not durable",
            format!("{node} tells the end `{status}`, which its own table does not hold yet"),
        );
    }
    let why = strays_from_memory(facts, node, window, &versions, row)?;
    broken("a row is told that the node does not show", format!("{node} tells of a row with status `{status}`: {why}"))
}

/// Is it this version, as readers of the API see it (spec 1)?
fn is_told_by(row: &Value, shown: &Shown) -> bool {
    let Ok(mut public) = serde_json::from_slice::<Value>(&shown.record.value) else { return false };
    let Some(fields) = public.as_object_mut() else { return false };
    let present = fields.remove("payload_blob").is_some_and(|blob| !blob.is_null());
    fields.insert("payload_blob_present".to_owned(), present.into());
    public == *row
}

/// A row that is under way is told from its origin's memory: it holds all that was emitted before the question, and nothing
/// that was not before the answer.
fn strays_from_memory(
    facts: &Facts<'_>,
    node: NodeIndex,
    window: &Range<At>,
    versions: &[&Shown],
    row: &Value,
) -> Option<String> {
    let Some(first) = versions.first() else { return Some("it has no such row".to_owned()) };
    if first.row.origin_node.as_str() != node.to_string() {
        return Some("it is not the row's origin, and shows another version".to_owned());
    }
    let last = last_seq(row);
    let [before, after] = [window.start, window.end].map(|at| emitted(facts, node, row, at));
    if last > after {
        return Some(format!("it tells of event {last}, and {after} were emitted"));
    }
    let over = versions.iter().any(|shown| shown.row.is_terminal());
    let stale = last < before.max(first.row.last_seq()) && !over;
    stale.then(|| format!("it tells of event {last} as the last, and {before} had been emitted"))
}

fn last_seq(row: &Value) -> u64 {
    row["event_log"].as_array().and_then(|log| log.last()?["seq"].as_u64()).unwrap_or(0)
}

/// How many events of the row's deployment its origin had emitted at a place.
fn emitted(facts: &Facts<'_>, node: NodeIndex, row: &Value, at: At) -> u64 {
    let id = row["deployment_id"].as_str().and_then(|id| id.parse().ok());
    let here = facts.on(node, 0, at);
    let events = here.filter(|(_, entry)| matches!(entry.event, Event::Journal(Journal::Progress { .. })));
    events.filter(|(_, entry)| entry.event.journal_deployment() == id).count() as u64
}

/// Nothing that one reader is told of a row goes back in the course of its node's life.
pub(super) fn look_for_steps_back(inquiry: &mut Inquiry<'_>, facts: &Facts<'_>, asks: &[Ask<'_>]) {
    let mut before: BTreeMap<(u32, &str), (&Ask<'_>, &Value)> = BTreeMap::new();
    for ask in asks.iter().filter(|ask| ask.answer.is_ok()) {
        for row in ask.told() {
            let Some(id) = row["deployment_id"].as_str() else { continue };
            if let Some((earlier, told)) = before.insert((ask.reader, id), (ask, row)) {
                inquiry.look(|| steps_back(facts, earlier, told, ask, row));
            }
        }
    }
}

fn steps_back<'a>(
    facts: &Facts<'_>,
    earlier: &Ask<'_>,
    before: &Value,
    ask: &Ask<'_>,
    after: &Value,
) -> Option<Finding<'a>> {
    let standing = |row: &Value| (rank_of(row["status"].as_str().unwrap_or_default()), last_seq(row));
    let (old, new) = (standing(before), standing(after));
    let went_back = new.0 < old.0 || new.1 < old.1;
    let memory_lost = facts.first_crash(ask.node, earlier.window.start, ask.window.end).is_some();
    let ended = TERMINAL.iter().any(|end| before["status"] == *end);
    (earlier.node == ask.node && went_back && (ended || !memory_lost)).then(|| {
        let why = format!("status {} after {}, event {} after {}", after["status"], before["status"], new.1, old.1);
        ask.finding("a row goes back for its reader", why)
    })
}

/// The row that ends a tail is one that the node shows.
pub(super) fn look_at_tails(inquiry: &mut Inquiry<'_>, facts: &Facts<'_>) {
    let mut attached: BTreeMap<u32, At> = BTreeMap::new();
    for (at, entry) in facts.between(0, facts.end()) {
        match (&entry.event, entry.node) {
            (Event::Tail { reader, saw: TailSight::Attached { .. }, .. }, _) => drop(attached.insert(*reader, at)),
            (Event::Tail { reader, saw: TailSight::Ended { row }, .. }, Some(node)) => {
                let window = attached.get(reader).copied().unwrap_or(0)..at;
                inquiry.look(|| wrong_row(facts, node, &window, row));
            }
            _ => {}
        }
    }
}
