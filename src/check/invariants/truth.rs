//! TRUTH: what a deploy reports is what the nodes run.

use super::{
    deletion::deletions,
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Fault, Invariant, Judgement, NodeIndex, TreeDigest},
    env::ExitStatus,
};

/// See [`Invariant::sentence`].
pub(super) const TRUTH: Invariant = Invariant {
    name: "TRUTH",
    sentence: "a deploy reports success exactly when the origin and every expected peer run the payload with the row's \
               hash, and serve it when it asked for a restart (peers do not count when replication errors are ignored); what cannot be \
               loaded goes live nowhere",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, TRUTH.name);
    for deploy in &facts.deploys {
        if let Some((at, _)) = deploy.success() {
            for node in must_run(facts, deploy, at) {
                inquiry.look(|| not_running(facts, deploy, node, at).or_else(|| not_serving(facts, deploy, node, at)));
            }
        }
        if let Some((at, _)) = deploy.failure() {
            inquiry.look(|| failed_for_nothing(facts, deploy, at));
            inquiry.look(|| failed_without_hardship(facts, deploy, at));
        }
        if deploy.asked.missing_entry.is_some() {
            inquiry.look(|| runs_what_cannot_load(facts, deploy));
        }
    }
    inquiry.done()
}

fn must_run(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Vec<NodeIndex> {
    let mut nodes = vec![deploy.origin];
    if !deploy.asked.ignore_replication_errors && deploy.asked.replicated {
        nodes.extend(facts.peers_expected(deploy, at));
    }
    nodes
}

/// The builds that went live on a node during a deploy. One that a newer deployment overtook has run all the same; that none
/// is overtaken by an older one is CONV's affair.
fn went_live(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> Vec<TreeDigest> {
    let lives = facts.lives(node, &deploy.asked.project).into_iter();
    lives.filter(|(live, _)| (deploy.requested..at).contains(live)).map(|(_, tree)| tree).collect()
}

fn runs(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> bool {
    let lives = facts.lives(node, &deploy.asked.project);
    let window = deploy.requested..at;
    let mut lives =
        lives.into_iter().filter(|(live, _)| window.contains(live)).skip_while(|(_, tree)| *tree != deploy.asked.tree);
    let Some((live, _)) = lives.next() else { return false };
    // A swap that could not be made durable is undone: the previous build is back, or none.
    !facts.swap_was_undone(node, &deploy.asked.project, live, at)
}

fn not_running<'a>(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> Option<Finding<'a>> {
    let what = match went_live(facts, deploy, node, at).last() {
        _ if runs(facts, deploy, node, at) => return None,
        Some(tree) => format!("runs tree {tree} instead of {}", deploy.asked.tree),
        None => "has not put the new build live".to_owned(),
    };
    Some(Finding {
        kind: "success, but a node does not run the payload",
        at,
        node: Some(node),
        why: format!("the deploy of `{}` reports success, but {node} {what}", deploy.asked.project),
        witnesses: vec![deploy.requested],
    })
}

/// What lacks an entry point that it names goes live nowhere (spec 6), and is no success.
fn runs_what_cannot_load<'a>(facts: &Facts<'_>, deploy: &Deploy) -> Option<Finding<'a>> {
    let missing = deploy.asked.missing_entry.as_ref()?;
    let went_live = facts.between(deploy.requested, facts.end()).find(|(_, entry)| match &entry.event {
        Event::Renamed { to, tree, .. } => *tree == deploy.asked.tree && to.starts_with("components/"),
        _ => false,
    });
    let (at, node) = match (went_live, deploy.success()) {
        (Some((at, entry)), _) => (at, entry.node),
        (None, Some((at, _))) => (at, Some(deploy.origin)),
        (None, None) => return None,
    };
    Some(Finding {
        kind: "a component that cannot be loaded passes",
        at,
        node,
        why: format!("`{}` names `{missing}`, which it does not hold", deploy.asked.project),
        witnesses: vec![deploy.requested],
    })
}

/// With a restart, running means serving: the node's requests went to the build during the deploy (museum X09).
fn serves(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> bool {
    facts.between(deploy.requested, at).any(|(_, entry)| match &entry.event {
        Event::Serves { project, build, .. } => {
            entry.node == Some(node) && *project == deploy.asked.project && Some(*build) == deploy.id
        }
        _ => false,
    })
}

fn is_served(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> bool {
    !deploy.asked.restart || serves(facts, deploy, node, at)
}

fn not_serving<'a>(facts: &Facts<'_>, deploy: &Deploy, node: NodeIndex, at: At) -> Option<Finding<'a>> {
    (!is_served(facts, deploy, node, at)).then(|| Finding {
        kind: "success with a restart, but a node does not serve the build",
        at,
        node: Some(node),
        why: format!("the deploy of `{}` reports success, but {node} does not serve its build", deploy.asked.project),
        witnesses: vec![deploy.requested],
    })
}

/// Delays that add up to less than this make nothing time out: the shortest limit that nobody asks for is 20 s, and a
/// pause may come on top.
const DELAYS_HARMLESS_MS: u64 = 10_000;

/// Where nothing failed or was long under way, nothing ended badly and the client asked for nothing that can fail, a deploy
/// succeeds.
fn failed_without_hardship<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<Finding<'a>> {
    let (_, failure) = deploy.failure()?;
    let own_doing = ["bad_request", "superseded", "load_failed"].iter().any(|code| failure["code"] == *code)
        || deploy.blames_component(failure)
        || failure["failed_peers"].as_array().into_iter().flatten().any(|peer| peer["error"]["code"] == "superseded")
        || deploy.asked.deployment_timeout_ms.is_some()
        || deploy.asked.install_timeout_ms.is_some();
    let mut delays_ms = 0;
    let hardship = facts.between(0, at).any(|(met, entry)| match &entry.event {
        // Real nodes do not start at the same time.
        Event::Fault(Fault::Broke { what, .. }) if what == "connect" => met > deploy.requested,
        Event::Fault(Fault::Failed { .. } | Fault::Lost { .. } | Fault::Reset { .. } | Fault::Broke { .. }) => true,
        Event::Crashed { .. } | Event::UploadAborted { .. } => true,
        Event::Fault(fault) => {
            delays_ms += fault.takes_ms().unwrap_or(0);
            delays_ms >= DELAYS_HARMLESS_MS
        }
        Event::ProcessExited { status, .. } => *status != ExitStatus::Code(0),
        _ => false,
    });
    let own_doing = own_doing || asks_for_a_lost_payload(facts, deploy, at);
    let others = facts.deploys.iter().any(|other| {
        let is_over = other.answer.as_ref().is_some_and(|(ended, _)| *ended < deploy.requested);
        other.asked.deploy != deploy.asked.deploy && other.requested < at && !is_over
    });
    // What changed before may still be felt where an earlier deploy went out under it.
    let is_first = facts.deploys.iter().all(|other| other.requested >= deploy.requested);
    let others = others || facts.members_changed(if is_first { deploy.requested } else { 0 }, at);
    (!own_doing && !hardship && !others).then(|| Finding {
        kind: "failure, but nothing went wrong",
        at,
        node: Some(deploy.origin),
        why: format!(
            "the deploy of `{}` met no fault and asked for nothing special, but failed: {failure}",
            deploy.asked.project
        ),
        witnesses: vec![deploy.requested],
    })
}

/// Is it a rollback to what its node did not know for a success with a payload, or to what was let go since?
fn asks_for_a_lost_payload(facts: &Facts<'_>, deploy: &Deploy, at: At) -> bool {
    let Some(earlier) = deploy.asked.rollback_from.as_deref() else { return false };
    let known = facts.row_at(deploy.origin, &earlier.into(), deploy.requested);
    let has_payload = known.is_some_and(|shown| shown.row.status == "success" && shown.record.blob.is_some());
    !has_payload || deletions(facts).any(|deletion| deletion.at < at && deletion.id.to_string() == earlier)
}

/// A failure needs a node that does not run the payload, or a peer whose outcome says so (PEERS holds that outcome
/// against what the peer answered).
fn failed_for_nothing<'a>(facts: &Facts<'_>, deploy: &Deploy, at: At) -> Option<Finding<'a>> {
    let key = deploy.key()?;
    let row = &facts.row_at(deploy.origin, &key, at)?.row;
    let all_run = must_run(facts, deploy, at)
        .into_iter()
        .all(|node| runs(facts, deploy, node, at) && is_served(facts, deploy, node, at));
    let peers = facts.peers_expected(deploy, at);
    let all_say_success = peers.iter().all(|peer| {
        let outcomes = row.outcome(&facts.name(*peer));
        outcomes.iter().any(|outcome| deploy.asked.ignore_replication_errors || outcome["status"] == "success")
    });
    // A build that is live and may not survive a power loss is no success.
    let not_durable = deploy.failure().is_some_and(|(_, failure)| failure["code"] == "swap_failed")
        && facts.lives(deploy.origin, &deploy.asked.project).iter().any(|(live, tree)| {
            *tree == deploy.asked.tree && facts.failed_between(deploy.origin, "disk-fails", *live, at)
        });
    // A success that the store did not take is told as a failure, and the row may end as one before that is told.
    let mut successes = facts.ends_of(&key).filter(|put| put.row.status == "success");
    let not_kept = successes.clone().any(|put| put.refused.is_some_and(|refused| refused < at))
        && !successes.any(|put| put.committed.is_some());
    (all_run && all_say_success && !not_durable && !not_kept).then(|| Finding {
        kind: "failure, but every node runs the payload",
        at,
        node: Some(deploy.origin),
        why: format!("the deploy of `{}` reports failure, but every node runs it and said so", deploy.asked.project),
        witnesses: vec![deploy.requested],
    })
}
