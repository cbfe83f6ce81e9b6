//! INSTALL: what is installed, by what, and for how long.

use uuid::Uuid;

use super::{
    facts::{At, Deploy, Exit, Facts, deployment_of},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::{Command, ExitStatus},
};

/// See [`Invariant::sentence`].
pub(super) const INSTALL: Invariant = Invariant {
    name: "INSTALL",
    sentence: "what a node runs to install is what the request and the component ask for, on every node that succeeds; no \
               installer is ended before its time is over, and none runs on after it",
    check,
};

/// The time limit of an install if the request names none (spec 9).
const LIMIT_MS: u64 = 60 * 60 * 1_000;

/// What ending a process group may take.
const ENDING_MS: u64 = 1_000;

/// What runs where nothing else is asked for.
const DEFAULT_MANAGER: &str = "npm";

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, INSTALL.name);
    let runs = runs(facts);
    for deploy in &facts.deploys {
        let Some(id) = deploy.id else { continue };
        let own: Vec<_> = runs.iter().filter(|run| run.deployment == id).collect();
        for run in &own {
            let first = own.iter().find(|other| other.node == run.node).map_or(run.started, |other| other.started);
            inquiry.look(|| was_not_asked_for(deploy, run));
            inquiry.look(|| ends_early(facts, deploy, run, first));
            inquiry.look(|| ends_late(facts, deploy, run, first));
        }
        for (node, at) in succeeded(facts, deploy) {
            inquiry.look(|| was_left_out(facts, deploy, node, &own));
            inquiry.look(|| failed_unnoticed(facts, deploy, node, at, &own));
        }
    }
    inquiry.done()
}

/// A program that a node ran to install a deployment.
struct Run<'a> {
    node: NodeIndex,
    deployment: Uuid,
    number: u32,
    command: &'a Command,
    started: At,
    ended: Option<(At, ExitStatus)>,
}

impl Run<'_> {
    /// Asking for a version is no install.
    fn installs(&self) -> bool {
        self.command.args != ["--version"]
    }

    fn exit<'f>(&self, facts: &'f Facts<'_>) -> Option<Exit<'f>> {
        let (at, status) = self.ended?;
        Some(facts.exit(self.node, self.number, status, at))
    }
}

/// All of them, in order. What packs a package installs nothing.
fn runs<'a>(facts: &'a Facts<'_>) -> Vec<Run<'a>> {
    let mut runs: Vec<(u32, Run<'a>)> = Vec::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::ProcessStarted { process, command } if command.args.first().is_none_or(|arg| arg != "pack") => {
                let Some(deployment) = deployment_of(&command.directory) else { continue };
                runs.push((*process, Run { node, deployment, number: *process, command, started: at, ended: None }));
            }
            Event::ProcessExited { process, status } => {
                let mut open = runs.iter_mut().rev();
                if let Some((_, run)) = open.find(|(number, run)| number == process && run.node == node) {
                    run.ended.get_or_insert((at, *status));
                }
            }
            _ => {}
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}

/// The nodes that say that they built it, and where: the origin of a success, and peers by their outcomes.
fn succeeded(facts: &Facts<'_>, deploy: &Deploy) -> Vec<(NodeIndex, At)> {
    let Some(id) = deploy.id else { return Vec::new() };
    let peers = facts.operations.iter().filter(|operation| operation.id == id);
    let well = peers.filter_map(|operation| {
        let (at, _) = operation.answered.as_ref().filter(|(_, told)| told["status"] == "success")?;
        Some((operation.node, *at))
    });
    let origin = deploy.success().map(|(at, _)| (deploy.origin, at));
    origin.into_iter().chain(well).collect()
}

fn was_not_asked_for<'a>(deploy: &Deploy, run: &Run<'_>) -> Option<Finding<'a>> {
    let asked = &deploy.asked;
    let installs = asked.installs?;
    let (program, args) = (&run.command.program, &run.command.args);
    let right = installs
        && match &asked.install_command {
            Some(script) => program == "sh" && args[..] == ["-c", script.as_str()],
            None => program == DEFAULT_MANAGER || asked.managers.contains(program),
        };
    (!right).then(|| Finding {
        kind: "a node runs what nobody asked for",
        at: run.started,
        node: Some(run.node),
        why: format!("{} runs `{}` to install `{}`", run.node, run.command, asked.project),
        witnesses: vec![deploy.requested],
    })
}

fn was_left_out<'a>(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, own: &[&Run<'_>]) -> Option<Finding<'a>> {
    let ran = own.iter().any(|run| run.node == node && run.installs());
    (deploy.asked.installs == Some(true) && !ran).then(|| Finding {
        kind: "a node succeeds without an install",
        at: facts.end() - 1,
        node: Some(node),
        why: format!("{node} has built `{}`, and ran nothing to install it", deploy.asked.project),
        witnesses: vec![deploy.requested],
    })
}

/// Of several managers the last that ran is the one that was taken.
fn failed_unnoticed<'a>(
    facts: &Facts<'_>,
    deploy: &Deploy,
    node: NodeIndex,
    at: At,
    own: &[&Run<'_>],
) -> Option<Finding<'a>> {
    let last = own.iter().rfind(|run| run.node == node && run.installs())?;
    let ended = last.ended.filter(|(ended, _)| *ended < at);
    let went = match ended {
        Some((_, ExitStatus::Code(0))) => return None,
        Some((at, _)) if last.exit(facts).is_some_and(|exit| exit.was_killed) => {
            format!("was killed by its node at {} ms", facts.at_ms(at))
        }
        Some((_, status)) => format!("ended with {status}"),
        None => "had not ended".to_owned(),
    };
    Some(Finding {
        kind: "a node succeeds though its install failed",
        at,
        node: Some(node),
        why: format!("{node} says that it has built `{}`, but `{}` {went}", deploy.asked.project, last.command),
        witnesses: vec![deploy.requested, last.started],
    })
}

fn limit_ms(deploy: &Deploy) -> u64 {
    deploy.asked.install_timeout_ms.unwrap_or(LIMIT_MS)
}

/// A group is ended at the limit; a node's death ends it too. Asking for a version is no install.
fn ends_early<'a>(facts: &Facts<'_>, deploy: &Deploy, run: &Run<'_>, first: At) -> Option<Finding<'a>> {
    let (ended, _) = run.ended?;
    let exit = run.exit(facts)?;
    // What cannot be listened to any more is ended.
    if !exit.was_killed || exit.unreadable.is_some() || !run.installs() {
        return None;
    }
    let died = facts
        .between(run.started, facts.end())
        .take_while(|(at, _)| facts.at_ms(*at) <= facts.at_ms(ended))
        .any(|(_, entry)| entry.node == Some(run.node) && matches!(entry.event, Event::Crashed { .. }));
    let slow_ms = facts.delayed_ms(run.node, &["disk"], deploy.requested, ended);
    let due_ms = (facts.at_ms(first) + limit_ms(deploy)).saturating_sub(slow_ms);
    (!died && facts.at_ms(ended) < due_ms).then(|| Finding {
        kind: "an installer is ended before its time is over",
        at: ended,
        node: Some(run.node),
        why: format!("`{}` was ended on {}, though it had time until {due_ms} ms", run.command, run.node),
        witnesses: vec![first, run.started],
    })
}

/// All that an install runs shares its limit.
fn ends_late<'a>(facts: &Facts<'_>, deploy: &Deploy, run: &Run<'_>, first: At) -> Option<Finding<'a>> {
    let (ended, _) = run.ended?;
    let slow_ms = facts.delayed_ms(run.node, &["group-end"], first, ended);
    let due_ms = facts.at_ms(first) + limit_ms(deploy) + ENDING_MS + slow_ms;
    (facts.at_ms(ended) > due_ms).then(|| Finding {
        kind: "an installer runs on after its time",
        at: ended,
        node: Some(run.node),
        why: format!(
            "`{}` ran on {} until {} ms, where {due_ms} ms were its limit",
            run.command,
            run.node,
            facts.at_ms(ended)
        ),
        witnesses: vec![first, run.started],
    })
}
