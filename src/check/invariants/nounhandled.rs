//! NOUNHANDLED: every error meets a handler.

use super::{
    facts::Facts,
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement},
    env::Journal,
};

/// See [`Invariant::sentence`].
pub(super) const NOUNHANDLED: Invariant = Invariant {
    name: "NOUNHANDLED",
    sentence: "no error escapes all handlers, no task panics, and no injected fault ends a node by that route",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, NOUNHANDLED.name);
    let escaped = facts.between(0, facts.end()).find(|(_, entry)| {
        matches!(entry.event, Event::TaskPanicked { .. } | Event::Journal(Journal::Unhandled { .. }))
    });
    inquiry.look(|| {
        escaped.map(|(at, entry)| Finding {
            kind: match entry.event {
                Event::TaskPanicked { .. } => "a task panicked",
                _ => "an error was not handled",
            },
            at,
            node: entry.node,
            why: entry.event.to_string(),
            witnesses: vec![],
        })
    });
    inquiry.done()
}
