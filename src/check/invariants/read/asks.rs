//! What readers asked, and what they were told.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use super::deletions;
use crate::check::{
    Event, NodeIndex,
    invariants::{
        facts::{At, Facts, Shown},
        verdict::Finding,
    },
};

/// A reader's question that was answered.
pub(super) struct Ask<'a> {
    pub(super) reader: u32,
    pub(super) node: NodeIndex,
    pub(super) request: &'a Value,
    /// From the question to the answer.
    pub(super) window: Range<At>,
    pub(super) answer: &'a Result<Value, Value>,
}

impl Ask<'_> {
    /// The rows that the answer tells.
    pub(super) fn told(&self) -> &[Value] {
        let Some(answer) = self.answer.as_ref().ok().filter(|_| self.request["operation"] != deletions::OPERATION)
        else {
            return &[];
        };
        answer["deployments"].as_array().map_or(std::slice::from_ref(answer), Vec::as_slice)
    }

    /// What is wrong with the answer.
    pub(super) fn finding<'a>(&self, kind: &'a str, why: String) -> Finding<'a> {
        Finding {
            kind,
            at: self.window.end,
            node: Some(self.node),
            why: format!("reader {} asked {} for {}: {why}", self.reader, self.node, self.request),
            witnesses: vec![self.window.start],
        }
    }
}

/// Every question that was answered, in the order of the answers.
pub(super) fn gather<'a>(facts: &'a Facts<'_>) -> Vec<Ask<'a>> {
    let (mut open, mut asks) = (BTreeMap::new(), Vec::new());
    for (at, entry) in facts.between(0, facts.end()) {
        match (&entry.event, entry.node) {
            (Event::ReaderAsks { reader, request }, _) => drop(open.insert(*reader, (at, &**request))),
            (Event::ReaderTold { reader, answer }, Some(node)) => {
                asks.extend(open.remove(reader).map(|(asked, request)| Ask {
                    reader: *reader,
                    node,
                    request,
                    window: asked..at,
                    answer,
                }));
            }
            _ => {}
        }
    }
    asks
}

/// The versions of a row that stood on a node at some time in a window, oldest first.
pub(super) fn visible<'a>(facts: &'a Facts<'_>, node: NodeIndex, key: &str, window: &Range<At>) -> Vec<&'a Shown> {
    let mut visible = Vec::new();
    for shown in facts.shown.iter().filter(|shown| shown.node == node && *shown.record.key == *key) {
        if shown.at <= window.start {
            visible.clear();
        }
        if shown.at < window.end {
            visible.push(shown);
        }
    }
    visible
}

/// Did the node's store refuse a read in a window?
pub(super) fn was_refused(facts: &Facts<'_>, node: NodeIndex, window: &Range<At>) -> bool {
    facts.failed_between(node, "get-refused", window.start, window.end)
}
