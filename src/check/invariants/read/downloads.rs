//! A payload that did not come, and why.

use std::ops::Range;

use super::asks::{visible, was_refused};
use crate::{
    check::{
        Event, NodeIndex,
        invariants::{
            facts::{At, Facts, Shown},
            verdict::{Finding, Inquiry},
        },
    },
    env::{BlobId, BlobState},
};

/// A payload that has not grown for so long is stalled (spec 7), milliseconds.
const STALLED_AFTER_MS: u64 = 20_000;

/// Before the first byte a stalled payload is read afresh after 2 s, and once more after 5 s.
const NOTHING_CAME_AFTER_MS: u64 = 3 * STALLED_AFTER_MS + 2_000 + 5_000;

/// Looks at every download of the run.
pub(super) fn look(inquiry: &mut Inquiry<'_>, facts: &Facts<'_>) {
    for (at, entry) in facts.between(0, facts.end()) {
        let (Event::PayloadRead { key, asked_ms, got }, Some(node)) = (&entry.event, entry.node) else { continue };
        let asked = facts.trace.entries().partition_point(|entry| entry.at_ms < *asked_ms);
        inquiry.look(|| {
            let cause = got.as_ref().err()?;
            // Told from the origin's memory it may be one whose put is under way, or was refused.
            let named = facts.puts.iter().filter(|put| put.key == *key && put.started < at);
            let blob = named.filter_map(|put| put.row.payload_blob).next();
            let versions = visible(facts, node, key, &(asked..at));
            let failure = Failure { node, window: asked..at, versions, blob };
            (!failure.fits(facts, cause)).then(|| Finding {
                kind: "a download fails without a cause that fits",
                at,
                node: Some(node),
                why: format!("a reader on {node} is refused its download, for what nothing bears out: {cause}"),
                witnesses: vec![asked],
            })
        });
    }
}

/// A download that failed.
struct Failure<'a> {
    node: NodeIndex,
    window: Range<At>,
    /// The row, as it stood on the node meanwhile.
    versions: Vec<&'a Shown>,
    /// What the row named, or was to name.
    blob: Option<BlobId>,
}

impl Failure<'_> {
    /// Does what the node shows bear the cause out?
    fn fits(&self, facts: &Facts<'_>, cause: &str) -> bool {
        let known = self.versions.first().is_some_and(|first| first.at <= self.window.start);
        let causes: [(&str, &dyn Fn() -> bool); 5] = [
            ("store_refused", &|| was_refused(facts, self.node, &self.window)),
            ("deployment_not_found", &|| !known),
            ("(503)", &|| self.row_was(|shown| !shown.row.is_terminal() && has_none(shown)) || self.stalls(facts)),
            ("(500)", &|| self.row_was(|shown| shown.row.is_terminal() && has_none(shown)) || self.breaks(facts)),
            ("(404)", &|| self.row_was(was_let_go) || self.vanishes(facts)),
        ];
        causes.iter().any(|(class, holds)| cause.contains(class) && holds())
    }

    fn row_was(&self, wanted: impl Fn(&Shown) -> bool) -> bool {
        self.versions.iter().any(|shown| wanted(shown))
    }

    /// What became of the blob on the node, up to the failure.
    fn states<'f>(&self, facts: &'f Facts<'_>) -> Vec<(At, &'f BlobState)> {
        let here = facts.on(self.node, 0, self.window.end);
        let states = here.filter_map(|(at, entry)| match &entry.event {
            Event::Blob { id, state } if Some(*id) == self.blob => Some((at, state)),
            _ => None,
        });
        states.collect()
    }

    /// For the time of spec 7 nothing came that had not been there, or nothing at all.
    fn stalls(&self, facts: &Facts<'_>) -> bool {
        let (mut most, mut grown) = (0, facts.at_ms(self.window.start));
        for (at, state) in self.states(facts) {
            let (BlobState::Writing { bytes } | BlobState::Complete { bytes }) = state else { continue };
            if *bytes > most {
                (most, grown) = (*bytes, facts.at_ms(at).max(grown));
            }
        }
        let patience = if most == 0 { NOTHING_CAME_AFTER_MS } else { STALLED_AFTER_MS };
        facts.at_ms(self.window.end) >= grown + patience
    }

    /// The device failed, or the transfer did, or what was copied is damaged.
    fn breaks(&self, facts: &Facts<'_>) -> bool {
        if self.was_damaged(facts) {
            return true;
        }
        let failed = self.states(facts).iter().any(|(_, state)| matches!(state, BlobState::Failed { .. }));
        failed || facts.failed_between(self.node, "blob-fails", self.window.start, self.window.end)
    }

    /// A row that is told from memory may name its blob before any put does.
    fn was_damaged(&self, facts: &Facts<'_>) -> bool {
        match self.blob {
            Some(blob) => facts.was_damaged_somewhere(blob, self.window.end),
            None => facts.failed_between(self.node, "blob-damaged", self.window.start, self.window.end),
        }
    }

    fn vanishes(&self, facts: &Facts<'_>) -> bool {
        if self.blob.is_none() && self.was_damaged(facts) {
            return true;
        }
        self.states(facts).iter().any(|(_, state)| matches!(state, BlobState::Missing))
    }
}

/// The row knows of no payload that was whole.
fn has_none(shown: &Shown) -> bool {
    shown.row.payload_hash.is_none()
}

/// The row knows of one, and does not name it.
fn was_let_go(shown: &Shown) -> bool {
    shown.row.payload_hash.is_some() && shown.record.blob.is_none()
}
