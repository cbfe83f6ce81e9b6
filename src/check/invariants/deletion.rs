//! Payloads that were let go: the one change of a row that may come after its end.

use uuid::Uuid;

use super::facts::{At, Facts};
use crate::{
    check::{Event, NodeIndex},
    env::{Journal, Key},
};

/// A recorded deletion: an origin was about to let a payload go.
pub(super) struct Deletion<'a> {
    pub(super) at: At,
    pub(super) node: NodeIndex,
    pub(super) id: Uuid,
    pub(super) why: &'a str,
}

/// Every recorded deletion, in order.
pub(super) fn deletions<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = Deletion<'a>> {
    facts.between(0, facts.end()).filter_map(|(at, entry)| match &entry.event {
        Event::Journal(Journal::PayloadDropped { deployment_id, why }) => {
            Some(Deletion { at, node: entry.node?, id: *deployment_id, why })
        }
        _ => None,
    })
}

/// Was a row's payload let go, on record, before `at`?
pub(super) fn is_recorded(facts: &Facts<'_>, key: &Key, at: At) -> bool {
    deletions(facts).any(|deletion| deletion.at < at && **key == *deletion.id.to_string())
}

/// Are two encoded rows the same but for the blob that the later one has let go?
pub(super) fn only_lets_payload_go(before: &[u8], after: &[u8]) -> bool {
    let read = |value: &[u8]| serde_json::from_slice::<serde_json::Value>(value).ok();
    let (Some(mut before), Some(after)) = (read(before), read(after)) else { return false };
    if let Some(blob) = before.get_mut("payload_blob") {
        blob.take();
    }
    before == after
}
