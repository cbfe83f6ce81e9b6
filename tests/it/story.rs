//! Tells stories in a simulated cluster.

use std::{cell::RefCell, future::Future, path::Path, rc::Rc, sync::Arc};

use drydock::{
    check::Violation,
    search::{capsule::Capsule, setup::Setup},
    sim::{
        choice::Source,
        cluster::Cluster,
        component::Component,
        run::{Params, Report, WorldKind, run},
        scenario::Scenario,
    },
    sims,
};
use futures_util::future::LocalBoxFuture;

type Telling = Box<dyn FnOnce(Cluster) -> LocalBoxFuture<'static, ()>>;

thread_local! {
    /// The story that the next run of [`TOLD_HERE`] tells: a scenario is a plain function, and cannot hold one.
    static STORY: RefCell<Option<Telling>> = const { RefCell::new(None) };
}

const TOLD_HERE: Scenario = Scenario {
    name: "told-here",
    summary: "a story that a test tells",
    other_sizes: &[],
    tell: |cluster| STORY.take().expect("a test tells its story")(cluster),
};

/// Tells `story` in the event-driven world; returns what it returned, and the run's report.
///
/// # Panics
/// When the story did not end.
pub(crate) fn tell<T: 'static, F: Future<Output = T> + 'static>(
    params: &Params,
    source: impl Source + 'static,
    story: impl FnOnce(Cluster) -> F + 'static,
) -> (T, Report) {
    let told = Rc::new(RefCell::new(None));
    let telling = Rc::clone(&told);
    STORY.set(Some(Box::new(move |cluster| {
        let story = story(cluster);
        Box::pin(async move { *telling.borrow_mut() = Some(story.await) })
    })));
    let report = run(WorldKind::Sim, &TOLD_HERE, params, Box::new(source));
    let told = told.take().unwrap_or_else(|| panic!("the story did not end: {:?}", report.trace.entries().last()));
    (told, report)
}

/// A cluster of `nodes` nodes for the built-in component.
pub(crate) fn cluster_of(nodes: u8) -> Params {
    Params { nodes, component: Arc::new(Component::load(None).expect("it is built in")) }
}

/// Every scenario in `world`, with three nodes and the built-in component.
pub(crate) fn setup(world: WorldKind) -> Setup {
    Setup { world, scenarios: sims::ALL.iter().collect(), params: cluster_of(3) }
}

/// What broke, and the command that shows it again.
pub(crate) fn how_to_see(setup: &Setup, scenario: usize, report: &Report, violation: &Violation) -> String {
    let capsule = Capsule::new(setup, scenario, None, violation, report.choices.clone());
    told(&capsule, violation)
}

/// What broke, and the command that replays its capsule.
pub(crate) fn told(capsule: &Capsule, violation: &Violation) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capsules");
    let path = capsule.save(&directory).expect("the target directory can be written");
    format!("{violation}\nto see it again: drydock replay {} --trace", path.display())
}
