//! A payload that an operator has deleted, or was told that it cannot be.

use super::asks::{Ask, visible, was_refused};
use crate::{
    check::{
        NodeIndex,
        invariants::{
            facts::{At, Facts},
            verdict::Finding,
        },
    },
    env::Key,
};

/// The request that is judged here.
pub(super) const OPERATION: &str = "delete_deployment_payload";

/// What cannot be reached may take so long to be given up, milliseconds.
const GIVEN_UP_AFTER_MS: u64 = 10_000;

/// Judges the answer to a `delete_deployment_payload`.
pub(super) fn wrong_answer<'a>(facts: &Facts<'_>, ask: &Ask<'_>) -> Option<Finding<'a>> {
    let id = ask.request["deployment_id"].as_str().unwrap_or_default();
    let key = Key::from(id);
    let origin = facts.puts.iter().find(|put| put.key == key && put.started < ask.window.end).map(|put| put.node);
    match ask.answer {
        Ok(answer) if answer["deployment_id"] != id || !answer["message"].is_string() => {
            Some(ask.finding("another deletion than was asked for", format!("it is told {answer}")))
        }
        Ok(_) => {
            let still = origin.filter(|origin| names_payload(facts, *origin, &key, ask.window.end))?;
            Some(ask.finding(
                "a payload that was deleted is still there",
                format!("it is done, but {still} still names it"),
            ))
        }
        Err(failure) => {
            let code = failure["code"].as_str().unwrap_or_default();
            let fits = Refusal { facts, ask, id, origin }.fits(code);
            (!fits).then(|| {
                ask.finding("a deletion is refused without a cause that fits", format!("it is told {failure}"))
            })
        }
    }
}

fn names_payload(facts: &Facts<'_>, node: NodeIndex, key: &Key, at: At) -> bool {
    facts.row_at(node, key, at).is_some_and(|shown| shown.record.blob.is_some())
}

/// A deletion that was refused.
struct Refusal<'a> {
    facts: &'a Facts<'a>,
    ask: &'a Ask<'a>,
    id: &'a str,
    /// Who writes the row, if anybody has.
    origin: Option<NodeIndex>,
}

impl Refusal<'_> {
    /// Does what happened bear the cause out?
    fn fits(&self, code: &str) -> bool {
        let (node, window) = (self.ask.node, &self.ask.window);
        let asked = [Some(node), self.origin].into_iter().flatten();
        match code {
            "store_refused" => asked.into_iter().any(|node| {
                was_refused(self.facts, node, window)
                    || self.facts.failed_between(node, "put-refused", window.start, window.end)
            }),
            "deployment_not_found" => asked.into_iter().any(|node| {
                let known = visible(self.facts, node, self.id, window);
                known.first().is_none_or(|first| first.at > window.start)
            }),
            "deployment_under_way" => self.origin.is_some_and(|origin| {
                visible(self.facts, origin, self.id, window).iter().any(|shown| !shown.row.is_terminal())
            }),
            "connect_failed" | "connection_broken" | "connection_silent" | "no_answer" => {
                self.origin.is_some_and(|origin| origin != node && self.is_out_of_reach(origin))
            }
            _ => false,
        }
    }

    /// Was the origin out of reach for the asked node, or long in answering?
    fn is_out_of_reach(&self, origin: NodeIndex) -> bool {
        let (facts, node, window) = (self.facts, self.ask.node, &self.ask.window);
        facts.was_away(origin, window.start, window.end)
            || facts.lost_operation(node, origin, window.start, window.end)
            || facts.lost_packets(node, origin, window.end)
            || facts.members_changed(0, window.end)
            || facts.at_ms(window.end) >= facts.at_ms(window.start) + GIVEN_UP_AFTER_MS
    }
}
