//! A recorder that hears of events and outcomes in any order, before and after its deployment has ended.
//!
//! Simulates the origin's bookkeeping alone: bursts of events while puts are slow, outcomes that come late, an end that
//! comes twice. Fails when puts overtake each other, when anything is written after the end, or when an outcome is lost.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    check::NodeIndex,
    deploy::{
        event::{Event, PhaseStatus, ProgressEmitter},
        recorder::{NewDeployment, Recorder},
        row::Status,
        slots::ProjectName,
    },
    env::Env,
    sim::{cluster::Cluster, env::SimEnv, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late-news",
    summary: "a recorder that hears of events and peer outcomes in any order, before and after the end",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

const STEPS: u32 = 12;
const PHASES: [&str; 5] = ["extract", "install", "load", "replicate", "restart"];

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(0);
    let env = cluster.env(origin);
    let teller = cluster.clone();
    cluster.on(origin, move |_| Box::pin(async move { hear(&teller, &env).await })).await;
    cluster.settle().await;
}

async fn hear(cluster: &Cluster, env: &SimEnv) {
    let progress = ProgressEmitter::default();
    let project = ProjectName::parse("late-news").expect("a plain name");
    let new = NewDeployment::of_project(env.fresh_id(), project);
    let Ok(recorder) = Recorder::create(env, &progress, new).await else { return };
    let recorder = Rc::new(recorder);
    for step in 0..STEPS {
        match cluster.choose(8) {
            0 => progress.emit(&Event::phase(PHASES[step as usize % PHASES.len()], PhaseStatus::Start)),
            1 => progress.emit(&Event::warning("disk nearly full")),
            2 => recorder.record_peer(&outcome(cluster)),
            3 => recorder.record_peers(&[outcome(cluster), outcome(cluster)]),
            4 => recorder.seal(),
            5 => finish_apart(env, &recorder),
            6 => sleep(Duration::from_millis(5)).await,
            _ => progress.emit(&Event::peer(outcome(cluster))),
        }
    }
    let _ = recorder.finish(Status::Success, None).await;
    recorder.record_peer(&outcome(cluster));
    progress.emit(&Event::phase("restart", PhaseStatus::Start));
}

/// The end may come while events still come in, and more than once.
fn finish_apart(env: &SimEnv, recorder: &Rc<Recorder<SimEnv>>) {
    let recorder = Rc::clone(recorder);
    let finish = async move {
        let _ = recorder.finish(Status::Success, None).await;
    };
    env.spawn("finish", finish).detach();
}

fn outcome(cluster: &Cluster) -> Value {
    let peer = NodeIndex(1 + cluster.choose(4) as u8).to_string();
    json!({ "node": peer, "status": cluster.choose_from(&["success", "failed"]), "reason": "disk full" })
}
