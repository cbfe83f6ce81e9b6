//! WAKE: nobody waits in vain.

use super::{
    facts::Facts,
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const WAKE: Invariant =
    Invariant { name: "WAKE", sentence: "no task waits for what can no longer come", check };

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, WAKE.name);
    let stuck = facts.between(0, facts.end()).find_map(|(at, entry)| match &entry.event {
        Event::Stuck { waiting } => Some((at, waiting)),
        _ => None,
    });
    inquiry.look(|| {
        stuck.map(|(at, waiting)| Finding {
            kind: "the run is stuck",
            at,
            node: None,
            why: format!("the run cannot end; still waiting: {}", waiting.join(", ")),
            witnesses: vec![],
        })
    });
    inquiry.done()
}
