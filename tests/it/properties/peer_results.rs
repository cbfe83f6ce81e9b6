//! Persistence of peer outcomes: whatever the store does, the end of a deployment holds what was heard before it.

use std::{cell::RefCell, rc::Rc, time::Duration};

use drydock::{
    check::{Event, NodeIndex, Trace},
    deploy::{
        event::{Event as Progress, PhaseStatus, ProgressEmitter},
        outcome::{self, PeerResult},
        recorder::{NewDeployment, Recorder},
        row::{Deployment, Status},
        slots::ProjectName,
    },
    env::Env,
    sim::{cluster::Cluster, env::SimEnv},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Immortal, choices, kept_in, source};
use crate::story::{cluster_of, tell};

/// What a recorder is told.
#[derive(Clone, Debug)]
enum Step {
    Progress,
    Peer(Value),
    Peers(Vec<Value>),
    Seal,
    Pause(u64),
    /// The end, in a task of its own.
    FinishApart,
}

fn said() -> impl Strategy<Value = Value> {
    (2u8..6, any::<bool>()).prop_map(|(peer, fails)| match fails {
        true => json!({ "node": format!("n{peer}"), "status": "failed", "reason": "disk full" }),
        false => json!({ "node": format!("n{peer}") }),
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Progress),
        4 => said().prop_map(Step::Peer),
        2 => proptest::collection::vec(said(), 0..4).prop_map(Step::Peers),
        1 => Just(Step::Seal),
        2 => (0u64..60).prop_map(Step::Pause),
        1 => Just(Step::FinishApart),
    ];
    proptest::collection::vec(step, 0..24)
}

/// What was heard before the end.
#[derive(Default)]
struct Heard {
    outcomes: Vec<PeerResult>,
    is_over: bool,
}

impl Heard {
    fn hear(&mut self, said: &Value) {
        if !self.is_over {
            outcome::upsert(&mut self.outcomes, outcome::normalize(said));
        }
    }
}

struct Telling {
    env: SimEnv,
    progress: ProgressEmitter,
    recorder: Recorder<SimEnv>,
    heard: Rc<RefCell<Heard>>,
}

impl Telling {
    async fn begin(cluster: &Cluster) -> Option<Self> {
        let (env, progress) = (cluster.env(NodeIndex(0)), ProgressEmitter::default());
        let new = NewDeployment::of_project(env.fresh_id(), ProjectName::parse("hello").unwrap());
        let recorder = Recorder::create(&env, &progress, new).await.ok()?;
        Some(Self { env, progress, recorder, heard: Rc::default() })
    }

    async fn take(&self, step: Step) {
        match step {
            Step::Progress => self.progress.emit(&Progress::phase("replicate", PhaseStatus::Start)),
            Step::Peer(said) => {
                self.recorder.record_peer(&said);
                self.heard.borrow_mut().hear(&said);
            }
            Step::Peers(all) => {
                self.recorder.record_peers(&all);
                all.iter().for_each(|said| self.heard.borrow_mut().hear(said));
            }
            Step::Seal => self.recorder.seal(),
            Step::Pause(ms) => sleep(Duration::from_millis(ms)).await,
            Step::FinishApart => self.env.spawn("finish", self.finish()).detach(),
        }
    }

    /// Ends the deployment; says whether its end is durable.
    fn finish(&self) -> impl Future<Output = bool> + use<> {
        let (recorder, heard) = (self.recorder.clone(), Rc::clone(&self.heard));
        async move {
            heard.borrow_mut().is_over = true;
            recorder.finish(Status::Success, None).await.is_ok()
        }
    }
}

/// What was heard before the end, if the end became durable.
async fn hear(cluster: Cluster, steps: Vec<Step>) -> Option<Vec<PeerResult>> {
    let telling = Telling::begin(&cluster).await?;
    for step in steps {
        telling.take(step).await;
    }
    let is_durable = telling.finish().await;
    telling.take(Step::Peer(json!({ "node": "n9", "status": "failed" }))).await;
    telling.take(Step::Progress).await;
    cluster.settle().await;
    let heard = telling.heard.borrow();
    is_durable.then(|| heard.outcomes.clone())
}

/// The rows that were put and committed, in order.
fn committed(trace: &Trace) -> Vec<Deployment> {
    let committed = trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::PutCommitted { record, .. } => Some(Deployment::from_record(record).unwrap()),
        _ => None,
    });
    committed.collect()
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/peer_results.txt"))]

    #[test]
    fn the_end_holds_every_outcome_heard_before_it_and_nothing_follows(steps in steps(), choices in choices(80)) {
        let (heard, report) = tell(&cluster_of(1), Immortal(source(choices)), |cluster| hear(cluster, steps));
        let rows = committed(&report.trace);
        if let Some(heard) = heard {
            let ends: Vec<_> = rows.iter().filter(|row| row.status.is_terminal()).collect();
            prop_assert_eq!(ends.len(), 1);
            prop_assert_eq!(&ends[0].peer_results, &heard);
            prop_assert_eq!(rows.last(), Some(ends[0]));
        }
        prop_assert_eq!(report.violation(), None);
    }

    #[test]
    fn a_row_never_holds_two_outcomes_of_one_node(steps in steps(), choices in choices(80)) {
        let (_, report) = tell(&cluster_of(1), Immortal(source(choices)), |cluster| hear(cluster, steps));
        for row in committed(&report.trace) {
            let mut nodes: Vec<_> = row.peer_results.iter().map(|result| result.node().to_string()).collect();
            nodes.sort();
            nodes.dedup();
            prop_assert_eq!(nodes.len(), row.peer_results.len());
        }
    }
}
