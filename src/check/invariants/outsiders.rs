//! What a node takes from, and sends to, one that it knows for no member: the part of AUTHZ that is about a membership
//! which changes.

use std::collections::BTreeMap;

use super::{
    facts::{At, Facts, Operation},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, NodeIndex},
    env::{Journal, Key, Port, Record, Version},
};

/// Looks at every operation and row that a node took from another.
pub(super) fn look(inquiry: &mut Inquiry<'_>, facts: &Facts<'_>) {
    for operation in &facts.operations {
        inquiry.look(|| taken_of_a_stranger(facts, operation));
    }
    let mut logs = Logs::default();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::Logged { key, version } => logs.add(node, key, version, at),
            Event::Replicated { record, .. } => inquiry.look(|| sent_to_a_stranger(facts, &logs, node, record, at)),
            _ => {}
        }
    }
}

/// When each version came to its log: it was not sent before.
#[derive(Default)]
struct Logs(BTreeMap<(Key, Version), (NodeIndex, At)>);

impl Logs {
    fn add(&mut self, node: NodeIndex, key: &Key, version: &Version, at: At) {
        self.0.insert((key.clone(), version.clone()), (node, at));
    }
}

/// The membership is asked once the operation begins to come: between the origin's connecting and the receipt.
fn taken_of_a_stranger<'a>(facts: &Facts<'_>, operation: &Operation) -> Option<Finding<'a>> {
    let Event::Journal(Journal::OperationReceived { origin, .. }) = &facts.entry(operation.received).event else {
        return None;
    };
    let origin = facts.node_named(origin.as_str())?;
    let begun = facts.between(0, operation.received).find(|(_, entry)| {
        let connects = Event::Connecting { to: operation.node, port: Port::Operations };
        entry.node == Some(origin) && entry.event == connects
    });
    let begun = begun.map_or(0, |(at, _)| at);
    (!facts.knew(operation.node, origin, true, begun, operation.received)).then(|| Finding {
        kind: "an operation of no member is taken",
        at: operation.received,
        node: Some(operation.node),
        why: format!("{} took an operation of {origin}, which it knew for no member", operation.node),
        witnesses: vec![begun],
    })
}

/// A node that hears in this instant that another has left may have its task that ends the link run last.
fn sent_to_a_stranger<'a>(
    facts: &Facts<'_>,
    logs: &Logs,
    node: NodeIndex,
    record: &Record,
    at: At,
) -> Option<Finding<'a>> {
    let (sender, logged) = *logs.0.get(&(record.key.clone(), record.version.clone()))?;
    let instant = facts.at_ms(logged);
    let same = facts.between(0, logged).rev().take_while(|(_, entry)| entry.at_ms == instant).last();
    let since = same.map_or(logged, |(at, _)| at);
    (!facts.knew(sender, node, true, since, at)).then(|| Finding {
        kind: "a row is sent to no member",
        at,
        node: Some(node),
        why: format!(
            "{sender} sends {node} version {}, committed after {sender} knew that {node} is no member",
            record.version
        ),
        witnesses: vec![logged],
    })
}
