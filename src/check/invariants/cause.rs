//! CAUSE: a failure names what really went wrong.

use serde_json::Value;

use super::{
    facts::{At, Deploy, Exit, Facts, Operation, deployment_of},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Fault, Invariant, Judgement, NodeIndex},
    env::{BlobState, ExitStatus, Key},
};

/// See [`Invariant::sentence`].
pub(super) const CAUSE: Invariant = Invariant {
    name: "CAUSE",
    sentence: "the error that surfaces is the first real cause, tells the causes apart, and is the one in the row",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, CAUSE.name);
    for deploy in &facts.deploys {
        if let Some((at, failure)) = deploy.failure() {
            inquiry.look(|| says_nothing(deploy.origin, at, failure, ["message", "phase"]));
            inquiry.look(|| row_says_otherwise(facts, deploy, at, failure));
            inquiry.look(|| deploy_hides_its_cause(facts, deploy, at, failure));
            inquiry.look(|| names_no_failure(facts, deploy, at, failure));
        }
    }
    for operation in &facts.operations {
        if let Some((at, answer)) = operation.answered.as_ref().filter(|(_, answer)| answer["status"] == "failed") {
            inquiry.look(|| says_nothing(operation.node, *at, &answer["error"], ["message", "code"]));
            inquiry.look(|| peer_hides_its_cause(facts, operation));
        }
    }
    inquiry.done()
}

fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap_or_default()
}

/// Whoever is told of a failure can act on it: a person by its message, a program by the phase that failed or by a code.
fn says_nothing<'a>(node: NodeIndex, at: At, failure: &Value, fields: [&'static str; 2]) -> Option<Finding<'a>> {
    let missing = fields.into_iter().find(|&field| failure[field].as_str().is_none_or(str::is_empty))?;
    Some(Finding {
        kind: "a failure does not say what failed",
        at,
        node: Some(node),
        why: format!(
            "a failure tells its {}, but of this one no {missing} is told: {failure}",
            fields.join(" and its ")
        ),
        witnesses: vec![],
    })
}

/// The least of a long text that a row keeps: a row must fit a frame, and the client's answer need not.
const KEPT_BYTES_MIN: usize = 4 * 1024 / 6;

/// Is what the client was told in the row, as it stands or, if it is long, shortened, with how long it was?
fn is_in_the_row(row: &str, told: &str) -> bool {
    let kept = row.strip_suffix(&format!("… ({} bytes)", told.len()));
    row == told || kept.is_some_and(|kept| kept.len() >= KEPT_BYTES_MIN && told.starts_with(kept))
}

fn row_says_otherwise<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At, failure: &Value) -> Option<Finding<'a>> {
    let shown = facts.row_at(deploy.origin, &deploy.key()?, at).filter(|shown| shown.row.is_terminal())?;
    let error = shown.row.error.clone().unwrap_or_default();
    let told = message(failure);
    let same = !told.is_empty() && is_in_the_row(message(&error), told) && error["phase"] == failure["phase"];
    (!same).then(|| Finding {
        kind: "the row's error is not the client's",
        at: shown.at,
        node: Some(deploy.origin),
        why: format!("the client was told {failure}, the row says {error}"),
        witnesses: vec![at],
    })
}

/// What a failure must name: all of these.
fn causes_of_deploy(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Vec<String> {
    if let Some(cause) = &deploy.aborted {
        return vec![cause.clone()];
    }
    if let Some((_, failure)) = deploy.failure().filter(|(_, failure)| failure["code"] == "superseded") {
        return vec![superseded(facts, deploy, deploy.origin, at, message(failure))];
    }
    if let Some(exit) = deploy.id.and_then(|id| bad_exit(facts, id, deploy.origin, at)) {
        return vec![exit];
    }
    if let Some(missing) =
        deploy.asked.missing_entry.as_ref().filter(|_| failures_of_devices(facts, deploy, at).is_empty())
        && !blames_damage(facts, deploy, at)
    {
        return vec![missing.clone().into_owned()];
    }
    if deploy.asked.ignore_replication_errors {
        // What failed elsewhere is no failure of the deploy.
        return Vec::new();
    }
    let asked = facts.peers_asked(deploy, at);
    let row = deploy.key().and_then(|key| facts.row_at(deploy.origin, &key, at));
    let failed = asked.iter().flat_map(|peer| {
        let outcome = row.and_then(|shown| shown.row.outcome(&facts.name(*peer)).first().copied());
        let outcome = outcome.filter(|outcome| outcome["status"] != "success");
        outcome.map(|outcome| [facts.name(*peer), message(&outcome["error"]).to_owned()]).into_iter().flatten()
    });
    failed.collect()
}

/// The newer build that had superseded a deploy, of those that a node came to run before it `told` so: a claim that nothing
/// bears out is a cause of its own.
fn superseded(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At, told: &str) -> String {
    let lives = facts.lives(node, &deploy.asked.project);
    // A rollback runs the tree of an earlier deploy.
    let newer = lives.iter().filter(|(live, _)| *live < at).flat_map(|(_, tree)| {
        let others = facts.deploys.iter().filter(|other| other.asked.tree == *tree);
        others.filter(|other| facts.age(other) > facts.age(deploy)).filter_map(|other| other.id)
    });
    let causes: Vec<_> = newer.map(|by| format!("superseded by {by}")).collect();
    let named = causes.iter().find(|cause| told.contains(cause.as_str())).or(causes.last());
    named.cloned().unwrap_or_else(|| "what is not that a newer build is live".to_owned())
}

fn bad_exit(facts: &Facts<'_>, id: uuid::Uuid, node: NodeIndex, at: At) -> Option<String> {
    told_of_exit(facts.process_exit(id, node, at)?)
}

/// What is told of an installer that ended like this; nothing if it succeeded.
fn told_of_exit(exit: Exit<'_>) -> Option<String> {
    match exit {
        Exit { was_killed: true, unreadable: Some(cause), .. } => Some(cause.to_owned()),
        Exit { was_killed: true, unreadable: None, .. } => Some("time limit".to_owned()),
        Exit { status: ExitStatus::Code(0), .. } => None,
        Exit { status, .. } => Some(status.to_string()),
    }
}

/// What failed on a deploy's origin: a failure before any peer is asked names one of these, if there are any.
fn failures_of_devices(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Vec<String> {
    let here = facts.on(deploy.origin, deploy.requested, at);
    let causes = here.filter_map(|(_, entry)| match &entry.event {
        Event::PutRefused { cause, .. } => Some(cause.clone()),
        Event::Fault(Fault::Failed { what }) => {
            FAILURES.iter().find(|(kind, _)| kind == what).map(|(_, told)| (*told).to_owned())
        }
        Event::Fault(Fault::Broke { what, cause }) => {
            FAILURES.iter().any(|(kind, _)| kind == what).then(|| cause.clone())
        }
        _ => None,
    });
    causes.collect()
}

/// Does a failure blame the payload, which its origin's device has damaged? What the archive's reader says of damaged bytes
/// is its own affair.
fn blames_damage(facts: &Facts<'_>, deploy: &Deploy, at: At) -> bool {
    let code = deploy.failure().and_then(|(_, failure)| failure["code"].as_str()).unwrap_or_default();
    let blames_payload = code == "bad_archive" || code.starts_with("payload_");
    blames_payload && facts.failed_between(deploy.origin, "blob-damaged", deploy.requested, at)
}

/// Was another deploy at work on its origin before `at`?
fn has_company(facts: &Facts<'_>, deploy: &Deploy, at: At) -> bool {
    let overlaps = |begun: At, ended: Option<At>| begun < at && ended.is_none_or(|ended| ended > deploy.requested);
    let own = facts.deploys.iter().any(|other| {
        let ended = other.answer.as_ref().map(|(ended, _)| *ended);
        other.origin == deploy.origin && other.id != deploy.id && overlaps(other.requested, ended)
    });
    own || facts.operations.iter().any(|operation| {
        let ended = operation.answered.as_ref().map(|(ended, _)| *ended);
        operation.node == deploy.origin && overlaps(operation.received, ended)
    })
}

/// Does a rollback say that it waited in vain for the payload that it was to bring back? So it does if its node did not hold
/// that payload whole to the end.
fn misses_earlier_payload(facts: &Facts<'_>, deploy: &Deploy, at: At, failure: &Value) -> bool {
    let Some(key) = deploy.asked.rollback_from.as_deref().map(Key::from) else { return false };
    let named = facts.shown.iter().filter(|shown| shown.node == deploy.origin && shown.record.key == key);
    let Some(blob) = named.filter(|shown| shown.at < at).find_map(|shown| shown.record.blob) else { return false };
    let last = facts.on(deploy.origin, 0, at).rev().find_map(|(_, entry)| match &entry.event {
        Event::Blob { id, state } if *id == blob => Some(state),
        _ => None,
    });
    !matches!(last, Some(BlobState::Complete { .. })) && message(failure).contains("payload blob")
}

/// Does it say that nothing came of a packer that said that it had succeeded, and had not done its work?
fn misses_what_a_packer_said(facts: &Facts<'_>, deploy: &Deploy, at: At, failure: &Value) -> bool {
    let mut packers = facts.on(deploy.origin, deploy.requested, at).filter(|(_, entry)| match &entry.event {
        Event::ProcessStarted { command, .. } => {
            command.args.first().is_some_and(|arg| arg == "pack") && deployment_of(&command.directory) == deploy.id
        }
        _ => false,
    });
    // The fault stands right behind its start.
    message(failure).contains(": 0 archives came")
        && packers.any(|(start, _)| facts.failed_between(deploy.origin, "process-fails", start, start + 2))
}

/// What devices say when they fail, by kind of fault.
const FAILURES: [(&str, &str); 6] = [
    ("disk-fails", "no space left on device"),
    ("blob-fails", "no space left on device"),
    ("spawn-fails", "resource temporarily unavailable"),
    ("load-refused", "threw while it was tried out"),
    ("switch-refused", "threw while it was loaded"),
    ("switch-stale", "the restart ended, but"),
];

fn names_no_failure<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At, failure: &Value) -> Option<Finding<'a>> {
    let known = deploy.aborted.is_some() || failure["code"] == "superseded" || deploy.blames_component(failure);
    if known || !facts.peers_asked(deploy, at).is_empty() || bad_exit(facts, deploy.id?, deploy.origin, at).is_some() {
        return None;
    }
    // A program that could not be started may have been another deploy's, where there is one.
    let all_started = !facts.failed_between(deploy.origin, "spawn-fails", deploy.requested, at);
    let exits = match all_started || has_company(facts, deploy, at) {
        true => facts.process_exits(deploy.id?, deploy.origin, at),
        false => Vec::new(),
    };
    let names_exit = exits.into_iter().filter_map(told_of_exit).any(|exit| message(failure).contains(&exit));
    let excused = blames_damage(facts, deploy, at)
        || misses_earlier_payload(facts, deploy, at, failure)
        || misses_what_a_packer_said(facts, deploy, at, failure);
    if names_exit || excused {
        return None;
    }
    let failures = failures_of_devices(facts, deploy, at);
    let named = failures.iter().any(|cause| message(failure).contains(cause.as_str()));
    (!failures.is_empty() && !named).then(|| Finding {
        kind: "a failure names none of the failures that happened",
        at,
        node: Some(deploy.origin),
        why: format!("on the origin `{}` happened, but the deploy says `{}`", failures.join("`, `"), message(failure)),
        witnesses: vec![deploy.requested],
    })
}

fn deploy_hides_its_cause<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At, failure: &Value) -> Option<Finding<'a>> {
    let causes = causes_of_deploy(facts, deploy, at);
    let missing = causes.iter().find(|cause| !message(failure).contains(cause.as_str()))?;
    Some(Finding {
        kind: "a failure does not name its cause",
        at,
        node: Some(deploy.origin),
        why: format!("the deploy's failure must say `{missing}`, which was its cause, but says `{}`", message(failure)),
        witnesses: vec![deploy.requested],
    })
}

/// A peer that waited in vain says what it waited for; one whose installer failed says how.
fn peer_hides_its_cause<'a>(facts: &Facts<'_>, operation: &Operation) -> Option<Finding<'a>> {
    let (at, answer) = operation.answered.as_ref()?;
    let cause = cause_of_peer(facts, operation, *at)?;
    let told = message(&answer["error"]);
    (!told.contains(&cause)).then(|| Finding {
        kind: "a peer's failure does not name its cause",
        at: *at,
        node: Some(operation.node),
        why: format!("the failure of {} must say `{cause}`, which was its cause, but says `{told}`", operation.node),
        witnesses: vec![operation.received],
    })
}

fn cause_of_peer(facts: &Facts<'_>, operation: &Operation, at: At) -> Option<String> {
    let (_, answer) = operation.answered.as_ref()?;
    if answer["error"]["code"] == "superseded" {
        let deploy = facts.deploys.iter().find(|deploy| deploy.id == Some(operation.id))?;
        return Some(superseded(facts, deploy, operation.node, at, message(&answer["error"])));
    }
    if let Some(exit) = bad_exit(facts, operation.id, operation.node, at) {
        return Some(exit);
    }
    if facts.keeps_rows_apart() {
        // Nobody waited for a row.
        return None;
    }
    cause_of_wait(facts, operation, at, message(&answer["error"]))
}

/// Reads of the row on one node, at most, between two looks of a peer that waits for it: its own, and those of readers.
const READS_AT_ONCE: usize = 4;

/// What a peer that waited in vain last saw, or a reader beside it: it tells one of these.
fn cause_of_wait(facts: &Facts<'_>, operation: &Operation, at: At, told: &str) -> Option<String> {
    let reads = facts.reads_of(operation, at);
    let seen = reads.iter().rev().take(READS_AT_ONCE).map(|(_, read)| match read {
        Ok(None) => Some("never replicated".to_owned()),
        Ok(Some(record)) if record.blob.is_none() && !facts.read_row(record).is_terminal() => {
            Some("its payload did not".to_owned())
        }
        Err(cause) => Some(cause.clone()),
        // The wait was over.
        Ok(Some(_)) => None,
    });
    let seen = seen.collect::<Option<Vec<_>>>()?;
    seen.iter().find(|cause| told.contains(cause.as_str())).or(seen.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_may_shorten_what_is_long_and_must_not_change_it() {
        let told = "x".repeat(5_000);
        let row = |kept: usize, bytes: usize| format!("{}… ({bytes} bytes)", "x".repeat(kept));
        assert!(is_in_the_row("disk full", "disk full") && is_in_the_row(&row(4_096, 5_000), &told));
        for row in [row(4_096, 5_001), row(10, 5_000), row(4_096, 5_000).replacen('x', "y", 1), String::new()] {
            assert!(!is_in_the_row(&row, &told), "{row}");
        }
    }
}
