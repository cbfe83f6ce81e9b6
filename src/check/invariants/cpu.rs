//! CPU: work is bounded.

use super::{
    facts::Facts,
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const CPU: Invariant =
    Invariant { name: "CPU", sentence: "between two advances of time the work is bounded", check };

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, CPU.name);
    inquiry.look(|| {
        facts.between(0, facts.end()).find_map(|(at, entry)| match &entry.event {
            Event::Hot { polls, last } => Some(Finding {
                kind: "tasks run without end",
                at,
                node: None,
                why: format!("{polls} polls of tasks and no time went by; last ran: {last}"),
                witnesses: vec![],
            }),
            _ => None,
        })
    });
    inquiry.done()
}
