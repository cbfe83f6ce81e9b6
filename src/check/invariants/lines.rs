//! LINES: what the installer printed is what is told.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::{
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::{ExitStatus, Journal, OutputStream},
};

/// See [`Invariant::sentence`].
pub(super) const LINES: Invariant = Invariant {
    name: "LINES",
    sentence: "emitted lines equal the reference splitting of the whole byte stream, per stream, in order; a peer's lines \
               reach the origin in that order, and what is left out is counted; a failed installer's last lines are those that \
               the failure tells",
    check,
};

/// The longest line that is emitted in one piece, bytes (spec 9).
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How many of the last lines a failure tells.
const LAST_LINES: usize = 40;

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, LINES.name);
    let printed = printed(facts);
    for ((node, id), streams) in &printed {
        for (stream, output) in streams {
            inquiry.look(|| lines_differ(facts, *node, *id, *stream, output));
        }
    }
    for deploy in &facts.deploys {
        if let Some((at, failure)) = deploy.failure() {
            inquiry.look(|| last_lines_differ(facts, deploy, at, failure));
        }
        for peer in facts.peers_asked(deploy, facts.end()) {
            inquiry.look(|| lines_vanish(facts, deploy, peer));
            for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                inquiry.look(|| forwarded_lines_differ(facts, deploy, peer, stream));
            }
        }
    }
    inquiry.done()
}

/// With a failed install its client gets the last lines of the program that failed (spec 9).
fn last_lines_differ<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At, failure: &Value) -> Option<Finding<'a>> {
    let told = failure["install_output"].as_array();
    let exited_badly =
        facts.process_exit(deploy.id?, deploy.origin, at).is_some_and(|exit| exit.status != ExitStatus::Code(0));
    // Where the program that ended so badly is not the one to blame, none of its lines are told.
    let is_blamed = failure["message"]
        .as_str()
        .is_some_and(|message| ["failed with", "time limit"].iter().any(|blame| message.contains(blame)));
    // An installer, or what packs a package.
    let is_its_phase = failure["phase"] == "install" || failure["phase"] == "prepare";
    if told.is_none() && !(is_its_phase && exited_badly && is_blamed) {
        return None;
    }
    let told: Vec<_> = told.into_iter().flatten().filter_map(Value::as_str).collect();
    let is_last = |event: &Event| match event {
        Event::ProcessStarted { command, .. } => super::facts::deployment_of(&command.directory) == deploy.id,
        _ => false,
    };
    let here = || facts.on(deploy.origin, deploy.requested, at);
    let started = here().rev().find(|(_, entry)| is_last(&entry.event)).map_or(deploy.requested, |(at, _)| at);
    let printed = here().filter(|(at, _)| *at > started).filter_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::Progress { deployment_id, event, data })
            if event == "install" && Some(*deployment_id) == deploy.id && data["node"].is_null() =>
        {
            data["line"].as_str()
        }
        _ => None,
    });
    let printed: Vec<_> = printed.collect();
    let right = printed.ends_with(&told) && told.len() == printed.len().min(LAST_LINES);
    (!right).then(|| Finding {
        kind: "a failure does not tell its installer's last lines",
        at,
        node: Some(deploy.origin),
        why: format!("the failure tells {told:?}, the last that was printed is {:?}", printed.last()),
        witnesses: vec![started],
    })
}

/// A peer's lines come on the operation's connection, before its answer: of a peer that answered success every line is
/// told or counted, of another one a beginning is.
fn forwarded_lines_differ<'a>(
    facts: &Facts<'_>,
    deploy: &Deploy,
    peer: NodeIndex,
    stream: OutputStream,
) -> Option<Finding<'a>> {
    let id = deploy.id?;
    let (at, _) = deploy.answer.as_ref()?;
    let (printed, forwarded) =
        (told(facts, peer, id, stream, None), told(facts, deploy.origin, id, stream, Some(peer)));
    let in_order = {
        let mut printed = printed.iter();
        forwarded.iter().all(|line| printed.any(|other| other == line))
    };
    let shown = facts.row_at(deploy.origin, &deploy.key()?, *at);
    let succeeded = shown
        .is_some_and(|shown| shown.row.outcome(&facts.name(peer)).iter().any(|outcome| outcome["status"] == "success"));
    let complete = !succeeded || forwarded.len() == printed.len() || left_out(facts, id, peer) > 0;
    (!in_order || !complete).then(|| Finding {
        kind: "a peer's lines are not told as it printed them",
        at: *at,
        node: Some(deploy.origin),
        why: format!("of {peer}'s {}: {}", stream.as_str(), difference(deploy.origin, stream, &forwarded, &printed)),
        witnesses: vec![],
    })
}

/// Of a peer that succeeded, what it printed is what was told and what was counted as left out.
fn lines_vanish<'a>(facts: &Facts<'_>, deploy: &Deploy, peer: NodeIndex) -> Option<Finding<'a>> {
    let id = deploy.id?;
    let (at, _) = deploy.answer.as_ref()?;
    let shown = facts.row_at(deploy.origin, &deploy.key()?, *at)?;
    let succeeded = shown.row.outcome(&facts.name(peer)).iter().any(|outcome| outcome["status"] == "success");
    let both = |node, of| -> usize {
        [OutputStream::Stdout, OutputStream::Stderr].map(|stream| told(facts, node, id, stream, of).len()).iter().sum()
    };
    let (printed, forwarded, left_out) =
        (both(peer, None), both(deploy.origin, Some(peer)), left_out(facts, id, peer) as usize);
    (succeeded && printed != forwarded + left_out).then(|| Finding {
        kind: "a peer's lines are neither told nor counted",
        at: *at,
        node: Some(deploy.origin),
        why: format!("{peer} printed {printed} lines; {forwarded} were told and {left_out} counted as left out"),
        witnesses: vec![],
    })
}

/// How many of a peer's lines were told to have been left out.
fn left_out(facts: &Facts<'_>, id: Uuid, peer: NodeIndex) -> u64 {
    let peer = facts.name(peer);
    let counts = facts.between(0, facts.end()).filter_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::Progress { deployment_id, event, data })
            if *deployment_id == id && event == "warning" && data["node"] == peer.as_str() =>
        {
            data["lines"].as_u64()
        }
        _ => None,
    });
    counts.sum()
}

/// What the processes of one deployment on one node wrote to one stream.
#[derive(Default)]
struct Printed {
    processes: Vec<(Vec<u8>, Option<ExitStatus>)>,
    last: At,
}

type ByDeployment = BTreeMap<(NodeIndex, Uuid), BTreeMap<OutputStream, Printed>>;

fn printed(facts: &Facts<'_>) -> ByDeployment {
    let mut by_deployment = ByDeployment::new();
    let mut owners = BTreeMap::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::ProcessStarted { process, command } => {
                let Some(id) = super::facts::deployment_of(&command.directory) else { continue };
                owners.insert((node, *process), id);
                for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                    let printed = by_deployment.entry((node, id)).or_default().entry(stream).or_default();
                    printed.processes.push((Vec::new(), None));
                }
            }
            Event::ProcessOutput { process, stream, bytes } => {
                let Some(id) = owners.get(&(node, *process)) else { continue };
                let printed = by_deployment.entry((node, *id)).or_default().entry(*stream).or_default();
                printed.processes.last_mut().expect("it has started").0.extend_from_slice(bytes);
                printed.last = at;
            }
            Event::ProcessExited { process, status } => {
                let Some(id) = owners.get(&(node, *process)) else { continue };
                for printed in by_deployment.entry((node, *id)).or_default().values_mut() {
                    printed.processes.last_mut().expect("it has started").1 = Some(*status);
                }
            }
            _ => {}
        }
    }
    by_deployment
}

fn lines_differ<'a>(
    facts: &Facts<'_>,
    node: NodeIndex,
    id: Uuid,
    stream: OutputStream,
    output: &Printed,
) -> Option<Finding<'a>> {
    let told = told(facts, node, id, stream, None);
    let expected: Vec<String> = output.processes.iter().flat_map(|(bytes, _)| reference_lines(bytes)).collect();
    // A process that was killed may have had more to say; what was told of it must still be a beginning.
    let whole = output.processes.iter().all(|(_, status)| matches!(status, Some(ExitStatus::Code(_))));
    let right = if whole { told == expected } else { is_beginning(&told, &expected) };
    (!right).then(|| Finding {
        kind: "the lines told are not the lines printed",
        at: output.last,
        node: Some(node),
        why: difference(node, stream, &told, &expected),
        witnesses: vec![],
    })
}

/// The lines told on a node: of its own installer, or of a peer's.
fn told(facts: &Facts<'_>, node: NodeIndex, id: Uuid, stream: OutputStream, of: Option<NodeIndex>) -> Vec<String> {
    let of = of.map(|peer| facts.name(peer));
    let lines = facts.between(0, facts.end()).filter_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::Progress { deployment_id, event, data })
            if event == "install"
                && entry.node == Some(node)
                && *deployment_id == id
                && data["stream"] == stream.as_str()
                && data["node"].as_str() == of.as_deref() =>
        {
            data["line"].as_str().map(str::to_owned)
        }
        _ => None,
    });
    lines.collect()
}

/// All of the first are of the second, but perhaps the last, which may be a part: its rest was not waited for.
fn is_beginning(told: &[String], expected: &[String]) -> bool {
    told.len() <= expected.len()
        && told.iter().zip(expected).enumerate().all(|(index, (told, expected))| {
            told == expected || (index + 1 == expected.len() && expected.starts_with(told.trim_end_matches('\u{fffd}')))
        })
}

fn difference(node: NodeIndex, stream: OutputStream, told: &[String], expected: &[String]) -> String {
    let first = told.iter().zip(expected).position(|(told, expected)| told != expected);
    let index = first.unwrap_or(told.len().min(expected.len()));
    let (told, expected) = (told.get(index), expected.get(index));
    format!(
        "line {} of the installer's {} on {node}: told {}, printed {}",
        index + 1,
        stream.as_str(),
        quoted(told),
        quoted(expected)
    )
}

fn quoted(line: Option<&String>) -> String {
    line.map_or_else(|| "nothing".to_owned(), |line| format!("{line:?}"))
}

/// The rule of spec 9, applied to the whole stream at once.
pub fn reference_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.split('\n').collect();
    let unfinished = lines.pop().filter(|rest| !rest.is_empty());
    let ended = lines.into_iter().map(|line| line.strip_suffix('\r').unwrap_or(line));
    ended.chain(unfinished).flat_map(pieces).collect()
}

fn pieces(line: &str) -> Vec<String> {
    let mut rest = line;
    let mut pieces = Vec::new();
    while rest.len() > LINE_BYTES_MAX {
        let end = rest.floor_char_boundary(LINE_BYTES_MAX);
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    pieces.push(rest.to_owned());
    pieces
}
