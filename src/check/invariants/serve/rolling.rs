//! A rolling restart: one node at a time, and none after one that failed.

use super::switches::Switch;
use crate::check::{
    NodeIndex,
    invariants::{
        facts::{At, Deploy, Facts},
        verdict::Finding,
    },
};

/// Kinds of fault that keep an operation or its answer from the other side.
const LINK_FAULTS: [&str; 3] = ["connect", "operation-delay", "answer-delay"];

/// Delays of less than this never cost an answer: half of the silence after which a link is dead.
const HARMLESS_MS: u64 = 30_000;

/// The first break of the order in which a deploy's nodes switch.
pub(super) fn disorder<'a>(facts: &Facts<'_>, deploy: &Deploy, switches: &[Switch<'_>]) -> Option<Finding<'a>> {
    let of_deploy = |switch: &&Switch<'_>| !switch.at_start && Some(switch.build) == deploy.id;
    let switches: Vec<_> = switches.iter().filter(of_deploy).collect();
    let earlier = |index: usize| switches[..index].iter().map(move |before| (before, index));
    let mut pairs = (0..switches.len()).flat_map(earlier).map(|(before, index)| (*before, switches[index]));
    pairs.find_map(|(before, after)| {
        let kind = wrong(facts, deploy, before, after)?;
        Some(Finding {
            kind,
            at: after.at,
            node: Some(after.node),
            why: format!("{} begins to switch at {} ms, {}", after.node, facts.at_ms(after.at), told(facts, before)),
            witnesses: vec![deploy.requested, before.at],
        })
    })
}

fn told(facts: &Facts<'_>, before: &Switch<'_>) -> String {
    let node = before.node;
    match (before.ended, before.served) {
        (None, _) => format!("but the switch of {node} has not ended"),
        (Some(ended), None) => {
            format!("but the switch of {node} before it ended at {} ms, and failed", facts.at_ms(ended))
        }
        (Some(ended), Some(_)) => format!("but the switch of {node} before it ended at {} ms", facts.at_ms(ended)),
    }
}

fn wrong(facts: &Facts<'_>, deploy: &Deploy, before: &Switch<'_>, after: &Switch<'_>) -> Option<&'static str> {
    // An origin that passes over failures goes on without a peer that it has lost, and that may still be at it.
    let goes_on = deploy.asked.ignore_replication_errors && before.node != deploy.origin;
    let has_ended = before.ended.is_some_and(|ended| ended < after.at);
    if !has_ended {
        let lost = [before, after].iter().any(|switch| may_be_lost(facts, deploy, switch.node, after.at));
        return (!goes_on || !lost).then_some("two nodes of a rolling restart at a time");
    }
    (before.served.is_none() && !goes_on).then_some("a rolling restart goes on after a node that failed")
}

/// May the origin have given a node up, while that was still to begin or at work?
fn may_be_lost(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> bool {
    let delayed = [deploy.origin, node].map(|node| facts.delayed_ms(node, &LINK_FAULTS, deploy.requested, at));
    node != deploy.origin
        && (facts.was_away(node, deploy.requested, at)
            || facts.lost_packets(deploy.origin, node, at)
            || facts.knew(node, deploy.origin, false, deploy.requested, at)
            || delayed.iter().sum::<u64>() >= HARMLESS_MS)
}
