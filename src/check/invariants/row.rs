//! ROW: a row says what was asked for, and agrees with itself.

use super::{
    facts::{Deploy, Facts, Row, Shown, rank_of},
    verdict::{Finding, Inquiry, said},
};
use crate::check::{Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const ROW: Invariant = Invariant {
    name: "ROW",
    sentence: "a row tells what was asked for, by whom, where and when; it has ended exactly when it says when, and failed \
               exactly when it says why; its status and phase are those that the phase events of its own log lead to, and \
               what failed there is what it blames",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, ROW.name);
    for shown in facts.shown.iter().filter(|shown| shown.local) {
        inquiry.look(|| contradiction(shown));
    }
    for deploy in &facts.deploys {
        let Some(key) = deploy.key() else { continue };
        for shown in facts.shown.iter().filter(|shown| shown.local && shown.record.key == key) {
            inquiry.look(|| not_as_asked(facts, deploy, shown));
        }
    }
    inquiry.done()
}

fn finding<'a>(kind: &'a str, shown: &Shown, why: String) -> Finding<'a> {
    Finding { kind, at: shown.at, node: Some(shown.node), why, witnesses: vec![] }
}

/// What a row says that does not go with the rest of it.
fn contradiction<'a>(shown: &Shown) -> Option<Finding<'a>> {
    let row = &shown.row;
    let ended = row.completed_at;
    if ended.is_some() != row.is_terminal() || ended.is_some_and(|ended| ended < row.started_at) {
        let why =
            format!("a row with status `{}` was completed at {}, begun at {}", row.status, said(ended), row.started_at);
        return Some(finding("a row's end does not go with its status", shown, why));
    }
    let says_why = row.error.as_ref().map(|error| error["message"].as_str().is_some_and(|message| !message.is_empty()));
    if says_why != (row.status == "failed").then_some(true) {
        let why = format!("a row with status `{}` has the error {:?}", row.status, row.error);
        return Some(finding("a row's error does not go with its status", shown, why));
    }
    if let Some(why) = strays_from_log(&row.status, row.phase.as_deref(), row) {
        return Some(finding("a row's status does not follow its log", shown, why));
    }
    let why = row.is_terminal().then(|| blames_another_phase(row)).flatten()?;
    Some(finding("a row blames another phase than its log", shown, why))
}

/// Phases whose failure is an event of the log.
const TOLD_TO_FAIL: [&str; 4] = ["extract", "install", "load", "restart"];

/// What a deploy that fails behind a failed restart may blame: peers have outcomes, and so has the last put.
const BEHIND_A_RESTART: [&str; 3] = ["restart", "replicate", "success"];

/// Failures that no phase of the log tells.
const FROM_OUTSIDE: [&str; 2] = ["origin_restarted", "store_refused"];

fn failed_phases(row: &Row) -> impl Iterator<Item = &str> {
    let failed = row.event_log.iter().filter(|entry| entry.event == "phase" && entry.data["status"] == "error");
    failed.filter_map(|entry| entry.data["phase"].as_str())
}

/// A phase that the log tells to have failed has failed the deploy, and the other way round; but for a restart, which may
/// have failed on peers that are ignored.
fn blames_another_phase(row: &Row) -> Option<String> {
    let blamed = row.error.as_ref().and_then(|error| error["phase"].as_str());
    // What comes from outside of any phase blames the one that the deploy had come to: nobody was left to tell that the
    // origin had died, and the log is closed when the store refuses the end.
    let is_from_outside =
        row.error.as_ref().is_some_and(|error| FROM_OUTSIDE.iter().any(|code| error["code"] == *code));
    match (failed_phases(row).next(), blamed) {
        (None, Some(phase)) if TOLD_TO_FAIL.contains(&phase) && !is_from_outside => {
            Some(format!("the row blames the phase `{phase}`, and no phase of its log failed"))
        }
        (Some("restart"), Some(blamed)) if BEHIND_A_RESTART.contains(&blamed) => None,
        (Some(failed), Some(blamed)) if failed != blamed => {
            Some(format!("phase `{failed}` of the log failed, and the row blames `{blamed}`"))
        }
        (Some(failed), None) if failed != "restart" => {
            Some(format!("phase `{failed}` of the log failed, and the row says `{}`", row.status))
        }
        _ => None,
    }
}

/// Do a status and a phase differ from what the phase events of a log lead to (spec 2)? A log that has dropped entries
/// tells the least of it.
fn strays_from_log(status: &str, phase: Option<&str>, row: &Row) -> Option<String> {
    let phases = || row.event_log.iter().filter(|entry| entry.event == "phase");
    let begun =
        phases().filter(|entry| entry.data["status"] == "start").filter_map(|entry| entry.data["phase"].as_str());
    let reached = begun.map(status_of_phase).max_by_key(|status| rank_of(status)).unwrap_or("pending");
    let whole = !row.event_log.iter().any(|entry| entry.event == "truncated");
    let last = phases().next_back().and_then(|entry| entry.data["phase"].as_str());
    if whole && phase != last {
        return Some(format!("the row's phase is {phase:?}, its log's {last:?}"));
    }
    let right = row.is_terminal() || status == reached || (!whole && rank_of(status) >= rank_of(reached));
    (!right).then(|| format!("the row's status is `{status}`, its log leads to `{reached}`"))
}

/// The status that the start of a phase leads to (spec 2); the first of all for one that leaves it.
fn status_of_phase(phase: &str) -> &'static str {
    match phase {
        "extract" => "extracting",
        "install" => "installing",
        "load" => "loading",
        "replicate" => "replicating",
        "restart" => "restarting",
        _ => "pending",
    }
}

/// What a row says of its request that the request did not say.
fn not_as_asked<'a>(facts: &Facts<'_>, deploy: &Deploy, shown: &Shown) -> Option<Finding<'a>> {
    let (row, asked) = (&shown.row, &deploy.asked);
    let origin = facts.name(deploy.origin);
    let fields = [
        ("project", Some(row.project.as_str()), Some(asked.project.as_str())),
        ("package_identifier", row.package_identifier.as_deref(), asked.package.as_deref()),
        ("restart_mode", row.restart_mode.as_deref(), asked.restart_mode.as_deref()),
        ("user", row.user.as_deref(), asked.user.as_deref()),
        ("rollback_of", row.rollback_of.as_deref(), asked.rollback_from.as_deref()),
        ("origin_node", Some(row.origin_node.as_str()), Some(origin.as_str())),
    ];
    if let Some((field, told, wanted)) = fields.into_iter().find(|(_, told, wanted)| told != wanted) {
        let why = format!("the row's `{field}` is {}, the request's {}", said(told), said(wanted));
        return Some(finding("a row does not tell what was asked", shown, why));
    }
    if row.status == "success" && !asked.ignore_replication_errors && failed_phases(row).next().is_some() {
        let why = "the restart failed by the row's log, and nobody asked to ignore that".to_owned();
        return Some(finding("a success whose restart failed", shown, why));
    }
    began_at_another_time(facts, deploy, shown)
}

/// A deployment begins between its request and the first put of its row, and ends before its end is put.
fn began_at_another_time<'a>(facts: &Facts<'_>, deploy: &Deploy, shown: &Shown) -> Option<Finding<'a>> {
    let asked_at = deploy.asked.asked_at?;
    // What its origin's clock showed at the latest, which may have been set since.
    let skew_then = facts.skew_ms(deploy.origin, deploy.requested);
    let clock = |at| {
        let set_ms = facts.largest_skew_ms(deploy.origin, deploy.requested, at) - skew_then;
        (asked_at + facts.at_ms(at).saturating_sub(facts.at_ms(deploy.requested))).saturating_add_signed(set_ms)
    };
    let set_back_ms = facts.least_skew_ms(deploy.origin, deploy.requested, shown.at) - skew_then;
    let least = asked_at.saturating_add_signed(set_back_ms);
    let mut puts = facts.puts.iter().filter(|put| put.key == shown.record.key);
    let first = puts.next()?;
    let begun = (least..=clock(first.started)).contains(&shown.row.started_at);
    let ended = shown.row.completed_at.is_none_or(|completed| completed <= clock(shown.at));
    (!begun || !ended).then(|| {
        let (started, completed) = (shown.row.started_at, shown.row.completed_at);
        let why = format!(
            "the request came at {}, and the row says {started} to {completed:?}; its clock showed {} then",
            asked_at,
            clock(shown.at)
        );
        finding("a row's times are not those of its deploy", shown, why)
    })
}
