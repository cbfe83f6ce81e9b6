//! Marks: places in the deploy logic that an exploration should come to, read off the trace.
//!
//! A run that breaks no promise says little if nothing happened in it. Each mark is a path that matters (a retry, an end that
//! a recovery writes, a build that is overtaken), and a sign in the trace that it was taken: what a node answered, journalled
//! or committed. An exploration counts in how many runs each was seen.

use super::{Event, TailSight, invariants::Facts};
use crate::env::Journal;

/// A place in the logic.
pub struct Mark {
    /// Its name, for tables.
    pub name: &'static str,
    /// What has happened where it is seen.
    pub sentence: &'static str,
    kind: Kind,
    /// How the word of such a sign begins.
    word: &'static str,
    /// Is it too seldom for an exploration of 3,000 runs, such as CI's, to be sure of it?
    pub is_seldom: bool,
}

/// How many runs should come to a mark that is seldom: the rarest is seen in about one of 1,250.
pub const SELDOM_SEEN_WITHIN: u64 = 20_000;

/// What kind of sign.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A deploy failed on its origin; the word is its code.
    DeployFails,
    /// A peer failed; the word is the code of its answer.
    PeerFails,
    /// A peer's restart failed, likewise.
    RestartFails,
    /// What an origin took for a peer's outcome, likewise.
    Outcome,
    /// What a node journalled as let pass.
    LetPass,
    /// Why a payload was let go.
    PayloadGoes,
    /// The error code of a row that was committed.
    RowEnds,
    /// What else was seen.
    Seen,
}

const fn mark(name: &'static str, kind: Kind, word: &'static str, sentence: &'static str) -> Mark {
    Mark { name, sentence, kind, word, is_seldom: false }
}

impl Mark {
    const fn seldom(mut self) -> Self {
        self.is_seldom = true;
        self
    }
}

/// All marks.
pub const ALL: &[Mark] = &[
    mark("succeeded", Kind::Seen, "deployed", "a deploy succeeds"),
    mark("peers-failed", Kind::Seen, "peers failed", "a deploy fails, but only on peers"),
    mark("upload-failed", Kind::DeployFails, "upload_failed", "an upload ends early, and its deploy says so"),
    mark("package-failed", Kind::DeployFails, "package_failed", "an origin cannot pack a package"),
    mark("install-failed", Kind::DeployFails, "install_failed", "an installer fails on the origin"),
    mark("load-failed", Kind::DeployFails, "load_failed", "a build is refused before it goes live"),
    mark("swap-failed", Kind::DeployFails, "swap_failed", "a swap fails on the origin"),
    mark("superseded", Kind::DeployFails, "superseded", "a deploy is overtaken on its own origin"),
    mark("restart-failed", Kind::DeployFails, "restart_failed", "the origin cannot serve the new build"),
    mark("restart-stale", Kind::DeployFails, "restart_stale", "the origin serves the old build after its restart")
        .seldom(),
    mark("end-refused", Kind::DeployFails, "store_refused", "the store refuses a row's beginning or end for good"),
    mark("row-never-came", Kind::PeerFails, "row_timeout", "a peer waits for a row in vain"),
    mark("payload-never-came", Kind::PeerFails, "payload_timeout", "a peer waits for the row's payload in vain")
        .seldom(),
    mark("peer-install-failed", Kind::PeerFails, "install_failed", "an installer fails on a peer"),
    mark("peer-swap-failed", Kind::PeerFails, "swap_failed", "a swap fails on a peer"),
    mark("peer-superseded", Kind::PeerFails, "superseded", "a deploy is overtaken on a peer"),
    mark("row-over-before", Kind::PeerFails, "already_over", "a deploy is over before its peer began").seldom(),
    mark("payload-broken", Kind::PeerFails, "payload_incomplete", "a peer cannot read the payload to its end"),
    mark("peer-restart-failed", Kind::RestartFails, "restart", "a peer does not come to serve the new build"),
    mark("peer-unreached", Kind::Outcome, "connect_failed", "a peer cannot be reached for the operation"),
    mark("peer-went-away", Kind::Outcome, "connection_", "a peer is gone, or silent, before it has answered"),
    mark("rollout-stopped", Kind::Outcome, "restart_stopped", "a rolling restart stops at a failure").seldom(),
    mark("progress-put-refused", Kind::LetPass, "a progress put", "a progress put is refused, and nothing comes of it"),
    mark("end-put-again", Kind::LetPass, "a try of the terminal put", "the terminal put is tried again"),
    mark("end-put-later", Kind::LetPass, "the end of deployment", "a row's end is put in the background until it is"),
    mark("link-broke", Kind::LetPass, "link to", "a subscription breaks, and is made again"),
    mark("session-broke", Kind::LetPass, "session of", "a sender loses its subscriber"),
    mark("blob-again", Kind::LetPass, "blob", "a blob cannot be stored, and comes again or is recorded as failed"),
    mark("operation-broke", Kind::LetPass, "an operation of", "an operation ends before it was read whole"),
    mark("retention-kept-out", Kind::PayloadGoes, "superseded", "an old payload is let go after a deploy"),
    mark("retention-too-large", Kind::PayloadGoes, "too_large", "a payload is let go for its size"),
    mark("payload-deleted", Kind::PayloadGoes, "deleted", "an operator deletes a payload"),
    mark("recovered", Kind::RowEnds, "origin_restarted", "a deploy that its origin's death interrupted is ended"),
    mark("older-row-came-late", Kind::Seen, "older row", "a row arrives behind a newer version, and is not taken"),
    mark("tail-ended", Kind::Seen, "tail ended", "a tail comes to the end of its deployment"),
    mark("tail-truncated", Kind::Seen, "tail truncated", "a tail lags behind what the log keeps").seldom(),
    mark("download-failed", Kind::Seen, "download failed", "a download is refused or breaks off"),
    mark("rollback", Kind::Seen, "rollback", "an earlier payload is deployed again"),
    mark("members-changed", Kind::Seen, "members", "the membership changes"),
    mark("lines-left-out", Kind::Seen, "lines left out", "more is printed than its origin's subscribers are told")
        .seldom(),
];

/// How often each of [`ALL`] was seen.
pub(super) fn seen(facts: &Facts<'_>) -> Vec<u64> {
    let mut seen = vec![0; ALL.len()];
    let told = facts.trace.entries().iter().filter_map(|entry| sign(&entry.event));
    let ends = facts.puts.iter().filter(|put| put.committed.is_some()).filter_map(|put| {
        let error = put.row.error.as_ref()?;
        Some((Kind::RowEnds, error["code"].as_str()?))
    });
    for (kind, word) in told.chain(ends) {
        let of_mark = |mark: &Mark| mark.kind == kind && word.starts_with(mark.word);
        if let Some(index) = ALL.iter().position(of_mark) {
            seen[index] += 1;
        }
    }
    seen
}

/// What an event is a sign of.
fn sign(event: &Event) -> Option<(Kind, &str)> {
    let saw = |word| Some((Kind::Seen, word));
    match event {
        Event::DeployAnswered { answer: Ok(_), .. } => saw("deployed"),
        Event::DeployAnswered { answer: Err(failure), .. } if failure["failed_peers"].is_array() => saw("peers failed"),
        Event::DeployAnswered { answer: Err(failure), .. } => Some((Kind::DeployFails, failure["code"].as_str()?)),
        Event::DeployRequested(asked) if asked.rollback_from.is_some() => saw("rollback"),
        Event::ClientSaw { event, data, .. } if event == "peer" => {
            Some((Kind::Outcome, data["error"]["code"].as_str()?))
        }
        Event::ClientSaw { event, data, .. } if event == "warning" && data["lines"].is_u64() => saw("lines left out"),
        Event::Journal(Journal::OperationAnswered { outcome, .. }) => {
            Some((Kind::PeerFails, outcome["error"]["code"].as_str()?))
        }
        Event::Journal(Journal::RestartAnswered { outcome, .. }) => {
            Some((Kind::RestartFails, outcome["error"]["code"].as_str()?))
        }
        Event::Journal(Journal::Dropped { what, .. }) => Some((Kind::LetPass, what)),
        Event::Journal(Journal::PayloadDropped { why, .. }) => Some((Kind::PayloadGoes, why)),
        Event::Replicated { taken: false, .. } => saw("older row"),
        Event::Tail { saw: TailSight::Ended { .. }, .. } => saw("tail ended"),
        Event::Tail { saw: TailSight::Entry { event, .. }, .. } if **event == *"truncated" => saw("tail truncated"),
        Event::PayloadRead { got: Err(_), .. } => saw("download failed"),
        Event::MembersChanged(_) => saw("members"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_mark_each_and_no_sign_is_of_two() {
        for (index, mark) in ALL.iter().enumerate() {
            for other in &ALL[index + 1..] {
                assert_ne!(mark.name, other.name);
                assert!(
                    mark.kind != other.kind || !other.word.starts_with(mark.word),
                    "{} hides {}",
                    mark.name,
                    other.name
                );
            }
        }
    }
}
