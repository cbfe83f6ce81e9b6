//! Plays a claim on every world: nodes that do what they are told, each in its own place.

use std::{collections::BTreeMap, future::Future, rc::Rc, time::Duration};

use drydock::{
    env::{Env, NodeName},
    real::{Config, Member, RealEnv, Secret, free_address},
    sim::{
        choice::Calm,
        process::Scripts,
        run::{Stage, WorldKind, play},
    },
};
use futures_util::future::LocalBoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};

/// Nodes of every stage.
pub(crate) const NODES: u8 = 3;

/// Far longer than any claim takes on a real machine: only one that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(120);

type Job<E> = Box<dyn FnOnce(E) -> LocalBoxFuture<'static, ()>>;

/// The nodes of a stage.
pub(crate) struct Nodes<E: Env>(Vec<mpsc::UnboundedSender<Job<E>>>);

impl<E: Env> Clone for Nodes<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Env> Nodes<E> {
    /// Has a node do something; resolves with what came of it.
    ///
    /// # Panics
    /// When the node panicked.
    pub(crate) fn on<T: 'static>(
        &self,
        node: usize,
        work: impl AsyncFnOnce(E) -> T + 'static,
    ) -> LocalBoxFuture<'static, T> {
        let (tx, rx) = oneshot::channel();
        let job: Job<E> = Box::new(|env| {
            Box::pin(async move {
                // Nobody waits any more: the claim has failed elsewhere.
                let _ = tx.send(work(env).await);
            })
        });
        assert!(self.0[node].send(job).is_ok(), "n{} is there", node + 1);
        Box::pin(async move { rx.await.expect("what a node was told to do did not end: its panic is above") })
    }
}

/// The name of a node.
pub(crate) fn name(node: usize) -> NodeName {
    format!("n{}", node + 1).as_str().into()
}

/// A node that does what it is told.
async fn host<E: Env>(env: E, mut jobs: mpsc::UnboundedReceiver<Job<E>>) {
    while let Some(job) = jobs.recv().await {
        env.start("job".to_owned(), job(env.clone())).detach();
    }
}

fn doors<E: Env>() -> (Nodes<E>, Vec<mpsc::UnboundedReceiver<Job<E>>>) {
    let (doors, jobs) = (0..NODES).map(|_| mpsc::unbounded_channel()).unzip();
    (Nodes(doors), jobs)
}

/// Tells a claim in a simulated world.
pub(crate) fn in_simulation<F: Future<Output = ()> + 'static>(
    world: WorldKind,
    stage: Stage,
    claim: impl FnOnce(Nodes<drydock::sim::env::SimEnv>) -> F,
) {
    let (nodes, jobs) = doors();
    let jobs = std::cell::RefCell::new(jobs.into_iter().map(Some).collect::<Vec<_>>());
    let hosts = move |env: drydock::sim::env::SimEnv| {
        let jobs = jobs.borrow_mut()[usize::from(env.index().0)].take().expect("each node has one host");
        host(env, jobs)
    };
    assert!(play(world, stage, hosts, claim(nodes)), "the claim does not come to its end in {world:?}");
}

/// Calm seams, on which processes do what `scripts` say.
pub(crate) fn calm(scripts: Rc<Scripts>) -> Stage {
    Stage { nodes: NODES, scripts, source: Box::new(Calm) }
}

/// Tells a claim in the real world.
pub(crate) fn in_reality<F: Future<Output = ()> + 'static>(claim: impl FnOnce(Nodes<RealEnv>) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = LocalSet::new().block_on(&runtime, async {
        let (nodes, jobs) = doors();
        let members: BTreeMap<_, _> = (0..usize::from(NODES)).map(|node| (name(node), member())).collect();
        for (node, jobs) in jobs.into_iter().enumerate() {
            let env = RealEnv::open(Config {
                name: name(node),
                directory: directory.path().join(name(node).as_str()),
                members: members.clone(),
                secret: Secret::new("a secret of this test, long enough to pass").unwrap(),
                settings: BTreeMap::new(),
            });
            let env = env.unwrap();
            env.start("host".to_owned(), Box::pin(host(env.clone(), jobs))).detach();
        }
        tokio::time::timeout(PATIENCE, claim(nodes)).await
    });
    told.expect("the claim does not come to its end in the real world");
}

fn member() -> Member {
    Member { rows: free_address().unwrap(), operations: free_address().unwrap() }
}

/// Holds each claim, an `async fn(Nodes<E>)`, against every world; `except turmoil` leaves the stock simulator out.
macro_rules! claims {
    ($($(#[doc = $doc:literal])* $claim:ident $(except $world:ident)?;)*) => {
        $(mod $claim {
            use crate::stage;
            use drydock::sim::run::WorldKind;

            #[test]
            fn in_the_event_driven_world() {
                stage::in_simulation(WorldKind::Sim, stage::calm(super::scripts()), super::$claim);
            }

            stage::unless_except! { $($world)?
                #[test]
                fn on_stock_turmoil() {
                    stage::in_simulation(WorldKind::Turmoil, stage::calm(super::scripts()), super::$claim);
                }
            }

            #[test]
            fn in_the_real_world() {
                stage::in_reality(super::$claim);
            }
        })*
    };
}

macro_rules! unless_except {
    (turmoil $($item:tt)*) => {};
    ($($item:item)*) => { $($item)* };
}

pub(crate) use {claims, unless_except};
