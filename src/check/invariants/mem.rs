//! MEM: what comes from outside is bounded.

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement, NodeIndex};

/// See [`Invariant::sentence`].
pub(super) const MEM: Invariant = Invariant {
    name: "MEM",
    sentence: "every queue stays within its byte bound plus one item, and no item is longer than a frame",
    check,
};

const MIB: u64 = 1024 * 1024;

/// The bounds, apart from the logic's own: a queue that is not here has none, and must not be.
const BOUNDS: [(&str, u64); 3] = [
    // Frames on their way to one subscriber.
    ("outgoing", MIB),
    // What a peer has to say of its work.
    ("notes", 256 * 1024),
    // Rows on their way into the store.
    ("commits", MIB),
];

/// No frame is longer (spec 11), and so nothing that came in one.
const ITEM_BYTES_MAX: u64 = 4 * MIB;

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, MEM.name);
    for (at, entry) in facts.between(0, facts.end()) {
        if let Event::Holds { queue, bytes, item_bytes } = &entry.event {
            inquiry.look(|| overflows(at, entry.node, queue, *bytes, *item_bytes));
        }
    }
    inquiry.done()
}

fn overflows<'a>(at: At, node: Option<NodeIndex>, queue: &str, bytes: u64, item_bytes: u64) -> Option<Finding<'a>> {
    let bound = BOUNDS.iter().find(|(name, _)| *name == queue).map(|(_, bound)| *bound);
    let (kind, why) = match bound {
        None => ("a queue has no bound", "which nobody bounds".to_owned()),
        Some(bound) if bytes >= bound => ("a queue overflows", format!("of {bound} at most, and took one more item")),
        Some(_) if item_bytes > ITEM_BYTES_MAX => ("an item is too long", format!("and took one of {item_bytes}")),
        Some(_) => return None,
    };
    Some(Finding { kind, at, node, why: format!("a queue of {queue} held {bytes} bytes, {why}"), witnesses: vec![] })
}
