//! WAKE: nobody waits in vain.

use super::{
    facts::Facts,
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const WAKE: Invariant = Invariant {
    name: "WAKE",
    sentence: "no task waits for what can no longer come, and once everything has healed the cluster comes to rest within \
               the time that what is under way may take",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, WAKE.name);
    let waits = facts.between(0, facts.end()).find_map(|(at, entry)| match &entry.event {
        Event::Stuck { waiting } => {
            Some((at, "the run is stuck", format!("the run cannot end; still waiting: {}", waiting.join(", "))))
        }
        Event::Unsettled { within_ms, what } => Some((
            at,
            "the cluster does not come to rest",
            format!(
                "{within_ms} ms after everything had healed {what}; nothing that was under way then may take as long"
            ),
        )),
        _ => None,
    });
    inquiry.look(|| waits.map(|(at, kind, why)| Finding { kind, at, node: None, why, witnesses: vec![] }));
    inquiry.done()
}
