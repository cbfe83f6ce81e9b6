//! PEERS: the row tells every peer's real outcome.

use serde_json::Value;

use super::{
    facts::{At, Deploy, Facts, Operation, Shown},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::Journal,
};

/// See [`Invariant::sentence`].
pub(super) const PEERS: Invariant = Invariant {
    name: "PEERS",
    sentence: "the terminal row has one `peer_results` entry per dispatched peer, equal to that peer's real outcome, \
               cause included",
    check,
};

/// Kinds of fault that keep an answer from its origin.
const ANSWER_FAULTS: [&str; 3] = ["connect", "operation-delay", "answer-delay"];

/// Delays of less than this never cost an answer: half of the silence after which a link is dead.
const HARMLESS_MS: u64 = 30_000;

/// The defaults of spec 7 and 9.
const TIMEOUT_MS: u64 = 30_000;
const INSTALL_TIMEOUT_MS: u64 = 3_600_000;

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, PEERS.name);
    for deploy in &facts.deploys {
        let Some((at, _)) = &deploy.answer else { continue };
        let Some(key) = deploy.key() else { continue };
        let Some(shown) = facts.row_at(deploy.origin, &key, *at) else { continue };
        if !shown.row.is_terminal() {
            continue;
        }
        for peer in facts.peers_asked(deploy, *at) {
            inquiry.look(|| wrong_entry(facts, deploy, shown, peer, *at));
        }
        inquiry.look(|| entry_of_a_stranger(facts, deploy, shown, *at));
    }
    inquiry.done()
}

fn wrong_entry<'a>(facts: &Facts<'_>, deploy: &Deploy, shown: &Shown, peer: NodeIndex, at: At) -> Option<Finding<'a>> {
    let operation = facts.operations.iter().find(|known| Some(known.id) == deploy.id && known.node == peer);
    if was_left_out_of_the_restart(facts, deploy, shown, peer, at) {
        return None;
    }
    let (kind, told) = match shown.row.outcome(&facts.name(peer))[..] {
        [] => ("an outcome is missing", "holds no outcome".to_owned()),
        [entry] => match entry_is_wrong(facts, deploy, peer, operation, entry, at) {
            None => return None,
            Some(told) => ("an outcome differs from the peer's answer", told),
        },
        _ => ("an outcome stands twice", "holds more than one outcome".to_owned()),
    };
    Some(Finding {
        kind,
        at: shown.at,
        node: Some(deploy.origin),
        why: format!("the row of `{}` has ended and {told} of {peer}{}", deploy.asked.project, answered(operation)),
        witnesses: operation.and_then(|known| known.answered.as_ref()).map(|(at, _)| *at).into_iter().collect(),
    })
}

fn answered(operation: Option<&Operation>) -> String {
    match operation.and_then(|known| known.answered.as_ref()) {
        Some((_, answer)) => format!(", which answered {}", in_words(answer)),
        None => ", which did not answer".to_owned(),
    }
}

/// What is wrong with a peer's only entry.
fn entry_is_wrong(
    facts: &Facts<'_>,
    deploy: &Deploy,
    peer: NodeIndex,
    operation: Option<&Operation>,
    entry: &Value,
    at: At,
) -> Option<String> {
    // What the peer answered later the origin could not know.
    let at = settled(facts, deploy, peer, at);
    let answer = operation.and_then(|known| known.answered.as_ref()).filter(|(answered, _)| *answered < at);
    let restarted = restart_failed(facts, deploy, peer, at);
    let Some(answer) = restarted.or(answer.map(|(_, answer)| answer)) else {
        let justified = entry["status"] == "failed"
            && (waited_long_enough(facts, deploy, at) || answer_may_be_lost(facts, deploy, peer, entry, at));
        return (!justified).then(|| format!("says {}", in_words(entry)));
    };
    let same = entry["status"] == answer["status"] && tells(&entry["error"]["message"], &answer["error"]["message"]);
    (!same && !answer_may_be_lost(facts, deploy, peer, entry, at)).then(|| format!("says {}", in_words(entry)))
}

/// An outcome, shortly.
fn in_words(outcome: &Value) -> String {
    let status = outcome["status"].as_str().unwrap_or("no status");
    match outcome["error"]["message"].as_str() {
        Some(message) => format!("`{status}`: {message}"),
        None => format!("`{status}`"),
    }
}

/// Is it the message that was answered, or the beginning of one that was too long for a row?
fn tells(told: &Value, answered: &Value) -> bool {
    let beginning = || told.as_str()?.rsplit_once("… (").map(|(beginning, _)| beginning);
    told == answered || answered.as_str().zip(beginning()).is_some_and(|(whole, part)| whole.starts_with(part))
}

/// A restart that fails takes the place of the success that the peer answered before.
fn restart_failed<'a>(facts: &'a Facts<'_>, deploy: &Deploy, peer: NodeIndex, at: At) -> Option<&'a Value> {
    restart_answer(facts, deploy, peer, at).filter(|answer| answer["status"] != "success")
}

/// What a peer answered before `at` when it was asked to restart.
fn restart_answer<'a>(facts: &'a Facts<'_>, deploy: &Deploy, peer: NodeIndex, at: At) -> Option<&'a Value> {
    facts.between(deploy.requested, at).find_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::RestartAnswered { deployment_id, outcome }) => {
            (entry.node == Some(peer) && Some(*deployment_id) == deploy.id).then_some(outcome)
        }
        _ => None,
    })
}

/// A rolling restart stops at the first peer that fails: the entry of one behind it says so, if it did not restart.
fn was_left_out_of_the_restart(facts: &Facts<'_>, deploy: &Deploy, shown: &Shown, peer: NodeIndex, at: At) -> bool {
    let stopped = |entry: &&Value| entry["error"]["code"] == "restart_stopped";
    let own = shown.row.outcome(&facts.name(peer));
    let another_failed = shown.row.peer_results.iter().any(|entry| entry["status"] == "failed" && !stopped(&entry));
    deploy.asked.restart
        && another_failed
        && matches!(own[..], [entry] if stopped(&entry))
        && restart_answer(facts, deploy, peer, at).is_none()
}

/// When the origin last told its client of a peer's outcome; `at` if it did not.
fn settled(facts: &Facts<'_>, deploy: &Deploy, peer: NodeIndex, at: At) -> At {
    let name = facts.name(peer);
    let mut told = facts.between(deploy.requested, at).filter(|(_, entry)| match &entry.event {
        Event::ClientSaw { deploy: number, event, data } => {
            event == "peer" && *number == deploy.asked.deploy && data["node"] == name.as_str()
        }
        _ => false,
    });
    told.next_back().map_or(at, |(told, _)| told)
}

/// Had the origin waited for as long as the peer might take, which may be at another deploy of the project first?
fn waited_long_enough(facts: &Facts<'_>, deploy: &Deploy, at: At) -> bool {
    let may_take = deploy.asked.deployment_timeout_ms.unwrap_or(TIMEOUT_MS)
        + deploy.asked.install_timeout_ms.unwrap_or(INSTALL_TIMEOUT_MS);
    facts.at_ms(at) - facts.at_ms(deploy.requested) >= 2 * may_take
}

/// Did the peer die meanwhile, or the connection break, or the peer take the origin for no member, or faults delay the answer
/// for so long that the origin could take its connection for dead?
fn answer_may_be_lost(facts: &Facts<'_>, deploy: &Deploy, peer: NodeIndex, entry: &Value, at: At) -> bool {
    let cut = facts.was_away(peer, deploy.requested, at)
        || facts.lost_packets(deploy.origin, peer, at)
        || facts.lost_operation(deploy.origin, peer, deploy.requested, at)
        || facts.knew(peer, deploy.origin, false, deploy.requested, at);
    if cut && entry["status"] == "failed" && entry["error"]["code"].is_string() {
        return true;
    }
    let delayed = [deploy.origin, peer].map(|node| facts.delayed_ms(node, &ANSWER_FAULTS, deploy.requested, at));
    entry["status"] == "failed" && entry["error"]["code"].is_string() && delayed.iter().sum::<u64>() >= HARMLESS_MS
}

fn entry_of_a_stranger<'a>(facts: &Facts<'_>, deploy: &Deploy, shown: &Shown, at: At) -> Option<Finding<'a>> {
    let asked: Vec<String> = facts.peers_asked(deploy, at).into_iter().map(|peer| facts.name(peer)).collect();
    let stranger = shown.row.peer_results.iter().find(|outcome| {
        let name = outcome["node"].as_str();
        name.is_none_or(|name| !asked.iter().any(|known| known == name))
    })?;
    Some(Finding {
        kind: "an outcome of a node that was not asked",
        at: shown.at,
        node: Some(deploy.origin),
        why: format!("the terminal row of `{}` holds {stranger}, but that node was not asked", deploy.asked.project),
        witnesses: vec![],
    })
}
