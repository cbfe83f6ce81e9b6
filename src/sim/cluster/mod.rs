//! The vocabulary of scenarios: `cluster.deploy(origin, deploy)`, `cluster.settle()`.

mod client;
mod deaths;
mod settle;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    io,
    rc::Rc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

pub use self::client::{Answer, Deploy};
use super::{
    choice::Kind,
    env::SimEnv,
    network::Fabric,
    process::{Script, Scripts},
    run::Params,
    stranger::Stranger,
    world::{Spawner, World},
};
use crate::{
    check::{Event, NodeIndex},
    deploy::node::Node,
    env::{Command, Env},
};

/// The pause between two looks whether a node has started.
const LOOK_EVERY: Duration = Duration::from_millis(20);

type Job = Box<dyn FnOnce(Rc<Node<SimEnv>>) -> LocalBoxFuture<'static, ()>>;

/// A cluster, as a scenario sees it. Clones are handles to the same one.
#[derive(Clone)]
pub struct Cluster(Rc<Inner>);

struct Inner {
    world: Rc<World>,
    params: Params,
    envs: Vec<SimEnv>,
    /// Through which requests reach each node; `None` while it is down.
    doors: RefCell<Vec<Option<mpsc::UnboundedSender<Job>>>>,
    spawner: Rc<dyn Spawner>,
    scripts: Rc<RefCell<Rc<Scripts>>>,
    fabric: Rc<dyn Fabric>,
    deploys: Cell<u32>,
    /// How long what a deploy began may go on, for each whose peers may still be at work, by its number.
    open: RefCell<BTreeMap<u32, Duration>>,
    /// When the last deploy was asked for or over: others may have waited for it.
    last_turn: Cell<Instant>,
}

impl Cluster {
    /// The cluster of `envs`, and for each the future that runs it.
    pub(super) fn new(
        world: Rc<World>,
        params: Params,
        envs: Vec<SimEnv>,
        scripts: Rc<RefCell<Rc<Scripts>>>,
        spawner: Rc<dyn Spawner>,
        fabric: Rc<dyn Fabric>,
    ) -> (Self, Vec<impl Future<Output = ()> + use<>>) {
        let (doors, hosts): (Vec<_>, _) =
            envs.iter().map(|env| host(env.clone())).map(|(tx, run)| (Some(tx), run)).unzip();
        let doors = RefCell::new(doors);
        let (deploys, open, last_turn) = (Cell::new(0), RefCell::default(), Cell::new(Instant::now()));
        (Self(Rc::new(Inner { world, params, envs, doors, spawner, scripts, fabric, deploys, open, last_turn })), hosts)
    }

    /// Lets a stranger come, as the choices say: from a host of its own, behind those of the nodes.
    pub(super) fn let_strangers_come(&self) {
        let Inner { world, fabric, params, spawner, .. } = &*self.0;
        if let Some(stranger) = Stranger::draw(world, fabric, &params.component) {
            spawner.start(Some(NodeIndex(params.nodes)), "stranger".to_owned(), Box::pin(stranger.come())).detach();
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u8 {
        self.0.params.nodes
    }

    pub(super) fn world(&self) -> &Rc<World> {
        &self.0.world
    }

    /// Does something beside the story, on no node.
    pub(super) fn apart(&self, name: String, work: impl Future<Output = ()> + 'static) {
        self.0.spawner.start(None, name, Box::pin(work)).detach();
    }

    /// How many deploys this run's clients have asked for.
    pub fn deploys(&self) -> u32 {
        self.0.deploys.get()
    }

    /// All nodes but `node`.
    pub fn others(&self, node: NodeIndex) -> Vec<NodeIndex> {
        (0..self.nodes()).map(NodeIndex).filter(|other| *other != node).collect()
    }

    /// The seam of a node: for scenarios of a part of the logic.
    pub fn env(&self, node: NodeIndex) -> SimEnv {
        self.0.envs[usize::from(node.0)].clone()
    }

    /// Something that the story leaves open: a number below `bound`, 0 in the calm run.
    pub fn choose(&self, bound: u32) -> u32 {
        self.0.world.draw(None, Kind::Workload, bound)
    }

    /// One of `options`: the first in the calm run.
    pub fn choose_from<T: Clone>(&self, options: &[T]) -> T {
        options[self.choose(options.len() as u32) as usize].clone()
    }

    /// What the processes of all nodes do from now on.
    pub fn script(&self, scripts: impl Fn(NodeIndex, &Command) -> io::Result<Script> + 'static) {
        *self.0.scripts.borrow_mut() = Rc::new(scripts);
    }

    /// The operator sets something, on every node.
    pub fn set(&self, setting: &str, value: impl Into<Value>) {
        self.0.world.set(setting, value.into());
    }

    /// Runs `job` on a node, as a client's request there, and waits for its output; `None` when the node is down, or dies
    /// before it is done.
    pub async fn on<T: 'static>(
        &self,
        node: NodeIndex,
        job: impl FnOnce(Rc<Node<SimEnv>>) -> LocalBoxFuture<'static, T> + 'static,
    ) -> Option<T> {
        let (tx, rx) = oneshot::channel();
        let job: Job = Box::new(move |node| {
            Box::pin(async move {
                // The scenario does not wait any more: it has ended.
                let _ = tx.send(job(node).await);
            })
        });
        let door = self.0.doors.borrow()[usize::from(node.0)].clone()?;
        // A node that has died since has closed its door.
        door.send(job).ok()?;
        rx.await.ok()
    }

    /// Records what a client saw at a node.
    pub(super) fn record(&self, node: NodeIndex, event: Event) {
        self.0.world.record(Some(node), event);
    }

    /// Waits until every node has started.
    pub async fn up(&self) {
        for node in 0..self.nodes() {
            while self.on(NodeIndex(node), |_| Box::pin(std::future::ready(()))).await.is_none() {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Records what every node holds.
    pub(crate) fn record_final(&self) {
        for env in &self.0.envs {
            self.0.world.record(Some(env.index()), Event::Final(Rc::new(env.holdings())));
        }
    }
}

/// A node's main task, and the door through which requests reach it.
fn host(env: SimEnv) -> (mpsc::UnboundedSender<Job>, impl Future<Output = ()> + use<>) {
    let (tx, mut rx) = mpsc::unbounded_channel::<Job>();
    let run = async move {
        let node = Node::start(env.clone()).await.expect("a node of a simulated world can bind its ports");
        while let Some(job) = rx.recv().await {
            env.start("request".to_owned(), job(Rc::clone(&node))).detach();
        }
    };
    (tx, run)
}
