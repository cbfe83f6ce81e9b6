//! One run: a scenario, its parameters and a source of choices in; a report out.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Builder, task::unconstrained, time::Instant};

use super::{
    choice::{Choices, DecisionLog, Source},
    cluster::Cluster,
    component::Component,
    env::SimEnv,
    executor::{Executor, HORIZON, Tasks},
    network::Fabric,
    panics,
    process::Scripts,
    scenario::Scenario,
    wire::Wire,
    world::{Spawner, World},
};
use crate::check::{Judged, Judgement, NodeIndex, Trace, Violation, judge_and_mark};

/// What a run is made from, beside its choices.
#[derive(Clone)]
pub struct Params {
    /// Nodes in the cluster, 1 to 9.
    pub nodes: u8,
    /// What is deployed.
    pub component: Arc<Component>,
}

/// Which world a run happens in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldKind {
    /// The event-driven one.
    Sim,
    /// Stock turmoil.
    #[cfg(feature = "turmoil")]
    Turmoil,
}

/// What a run did, and what the invariants say of it.
pub struct Report {
    /// Everything that happened.
    pub trace: Trace,
    /// The choices that were not 0: with scenario and parameters, the whole run.
    pub choices: Choices,
    /// Draws in all.
    pub draws: u64,
    /// The virtual time that passed.
    pub virtual_time: Duration,
    /// One for each of [`crate::check::invariants::ALL`], in that order.
    pub judgements: Vec<Judgement>,
    /// How often each of [`crate::check::marks::ALL`] was seen.
    pub marks: Vec<u64>,
}

impl Report {
    /// The violation that came first in virtual time, if any.
    pub fn violation(&self) -> Option<&Violation> {
        self.judgements.iter().filter_map(|judgement| judgement.violation.as_ref()).min_by_key(|first| first.at_ms)
    }

    pub(crate) fn of(world: &World, virtual_time: Duration) -> Self {
        let (trace, choices, draws) = world.take_parts();
        let Judged { judgements, marks } = judge_and_mark(&trace);
        Self { trace, choices, draws, virtual_time, judgements, marks }
    }
}

/// Runs `scenario` once and judges it. The same arguments give the same report, whatever ran before.
pub fn run(world: WorldKind, scenario: &Scenario, params: &Params, source: Box<dyn Source>) -> Report {
    let mut log = DecisionLog::new(source);
    let params = Params { nodes: scenario.draw_size(params.nodes, &mut log), component: Arc::clone(&params.component) };
    panics::quiet(|| match world {
        WorldKind::Sim => run_sim(scenario, &params, log),
        #[cfg(feature = "turmoil")]
        WorldKind::Turmoil => crate::turmoil::run(scenario, &params, log),
    })
}

fn run_sim(scenario: &Scenario, params: &Params, log: DecisionLog) -> Report {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing from the machine");
    // Unconstrained: tokio's cooperative budget would add yields of its own.
    runtime.block_on(unconstrained(tell(scenario, params, log)))
}

async fn tell(scenario: &Scenario, params: &Params, log: DecisionLog) -> Report {
    let start = Instant::now();
    let world = World::new(params.nodes, log, move || start.elapsed());
    let wire = Wire::new(world.cluster());
    let tasks = Tasks::default();
    let spawner: Rc<dyn Spawner> = Rc::new(tasks.clone());
    let (cluster, hosts) = assemble(&world, params, &spawner, Rc::new(wire.fabric(world.cluster())));
    cluster.let_nodes_die();
    for (index, host) in hosts.into_iter().enumerate() {
        spawner.start(Some(NodeIndex(index as u8)), "node".to_owned(), Box::pin(host)).detach();
    }
    let told = Rc::new(Cell::new(false));
    let story = story(*scenario, cluster.clone(), Rc::clone(&told));
    spawner.start(None, "scenario".to_owned(), Box::pin(story)).detach();
    let mut executor = Executor::new(Rc::clone(&world), wire, tasks, HORIZON, Rc::new(move || told.get()));
    (&mut executor).await;
    cluster.record_final();
    let report = Report::of(&world, start.elapsed());
    executor.clear();
    report
}

/// The seams of a world's nodes without a deploy logic on them: `host` runs on each node, which is its acting host, and
/// `story` beside them until it ends. False when it did not.
pub fn play<H: Future<Output = ()> + 'static>(
    world: WorldKind,
    stage: Stage,
    host: impl Fn(SimEnv) -> H + 'static,
    story: impl Future<Output = ()> + 'static,
) -> bool {
    match world {
        WorldKind::Sim => play_sim(stage, host, story),
        #[cfg(feature = "turmoil")]
        WorldKind::Turmoil => crate::turmoil::play(stage, host, story),
    }
}

/// What [`play`] plays on.
pub struct Stage {
    /// Nodes, 1 to 9.
    pub nodes: u8,
    /// What their processes do.
    pub scripts: Rc<Scripts>,
    /// What is not as it is in a calm run.
    pub source: Box<dyn Source>,
}

impl Stage {
    /// The seams of all nodes.
    pub(crate) fn envs(&self, world: &Rc<World>, tasks: &Rc<dyn Spawner>, fabric: &Rc<dyn Fabric>) -> Vec<SimEnv> {
        let scripts = Rc::new(RefCell::new(Rc::clone(&self.scripts)));
        let env =
            |index| SimEnv::new(world, NodeIndex(index), Rc::clone(tasks), Rc::clone(fabric), Rc::clone(&scripts));
        (0..self.nodes).map(env).collect()
    }
}

fn play_sim<H: Future<Output = ()> + 'static>(
    mut stage: Stage,
    host: impl Fn(SimEnv) -> H + 'static,
    story: impl Future<Output = ()> + 'static,
) -> bool {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing from the machine");
    runtime.block_on(unconstrained(async move {
        let start = Instant::now();
        let source = std::mem::replace(&mut stage.source, Box::new(super::choice::Calm));
        let world = World::new(stage.nodes, DecisionLog::new(source), move || start.elapsed());
        let (wire, tasks) = (Wire::new(world.cluster()), Tasks::default());
        let spawner: Rc<dyn Spawner> = Rc::new(tasks.clone());
        let fabric: Rc<dyn Fabric> = Rc::new(wire.fabric(world.cluster()));
        for env in stage.envs(&world, &spawner, &fabric) {
            spawner.start(Some(env.index()), "host".to_owned(), Box::pin(host(env))).detach();
        }
        let told = Rc::new(Cell::new(false));
        let telling = Rc::clone(&told);
        let story = async move {
            story.await;
            telling.set(true);
        };
        spawner.start(None, "story".to_owned(), Box::pin(story)).detach();
        let done = Rc::clone(&told);
        let mut executor = Executor::new(world, wire, tasks, HORIZON, Rc::new(move || done.get()));
        (&mut executor).await;
        executor.clear();
        told.get()
    }))
}

/// The nodes of a run: the cluster as scenarios see it, and for each node the future that runs it.
pub(crate) fn assemble(
    world: &Rc<World>,
    params: &Params,
    tasks: &Rc<dyn Spawner>,
    fabric: Rc<dyn Fabric>,
) -> (Cluster, Vec<impl Future<Output = ()> + use<>>) {
    let scripts: Rc<RefCell<Rc<Scripts>>> = Rc::new(RefCell::new(Rc::new(super::scripts::quiet_success)));
    let envs: Vec<SimEnv> = (0..params.nodes)
        .map(|index| SimEnv::new(world, NodeIndex(index), Rc::clone(tasks), Rc::clone(&fabric), Rc::clone(&scripts)))
        .collect();
    Cluster::new(Rc::clone(world), params.clone(), envs, scripts, Rc::clone(tasks), fabric)
}

/// The scenario, which sets `told` when it ends, however it ends.
pub(crate) async fn story(scenario: Scenario, cluster: Cluster, told: Rc<Cell<bool>>) {
    struct Told(Rc<Cell<bool>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let _told = Told(told);
    cluster.up().await;
    cluster.let_strangers_come();
    (scenario.tell)(cluster).await;
}
