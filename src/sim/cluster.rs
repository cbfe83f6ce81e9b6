//! The vocabulary of scenarios: `cluster.deploy(origin, deploy)`, `cluster.settle()`.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::LocalBoxFuture, stream};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::{
    choice::Kind,
    component::{Component, MISSING_ENTRY, Manifest},
    env::SimEnv,
    network::Fabric,
    process::{Script, Scripts},
    run::Params,
    stranger::Stranger,
    world::{Spawner, World},
};
use crate::{
    check::{Death, DeployFacts, Event, Fault, NodeFinal, NodeIndex},
    deploy::{client::ClientStream, event::Event as Progress, node::Node, recorder::Upload},
    env::{BlobId, BlobState, Command, Record},
};

/// How long a cluster may take to settle: longer than an install that its origin has given up and that goes on.
const SETTLE_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// The steps of looking whether a cluster has settled.
const SETTLE_STEP_FIRST: Duration = Duration::from_millis(20);
const SETTLE_STEP_MAX: Duration = Duration::from_secs(5);

/// How long packets are lost at least.
const PARTITION_MIN: Duration = Duration::from_secs(1);

/// How long a node is down at least.
const DOWNTIME_MIN: Duration = Duration::from_millis(1);

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
}

/// A deploy that a client asks for; see [`Cluster::component`].
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The request's fields, as HarperDB's clients send them.
    pub request: Map<String, Value>,
    /// The client goes away after so many bytes of its upload.
    pub leaves_after: Option<u64>,
    /// This manifest of the component names what is not in it.
    pub broken: Option<Manifest>,
    /// This field of the component's package.json is another.
    pub manifest: Option<(&'static str, Value)>,
    /// It brings back the payload of an earlier deploy of this run, by number, and uploads nothing.
    pub brings_back: Option<u32>,
    /// Its origin packs it: so many archives come of that. It uploads nothing.
    pub packs: Option<u32>,
}

impl Deploy {
    /// Sets a field of the request.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.request.insert(field.to_owned(), value.into());
        self
    }

    /// Names a package in place of an upload, of which the origin's packer leaves so many archives.
    pub fn packed(self, spec: &str, archives: u32) -> Self {
        Self { packs: Some(archives), ..self.with("package", spec) }
    }

    /// Sets a field of the component's package.json.
    pub fn with_manifest(self, field: &'static str, value: Value) -> Self {
        Self { manifest: Some((field, value)), ..self }
    }

    /// The component that is uploaded.
    fn edited(&self, component: Arc<Component>) -> Arc<Component> {
        match (self.broken, &self.manifest) {
            (Some(manifest), _) => component.broken(manifest),
            (None, Some((field, value))) => component.with_manifest(field, value.clone()),
            (None, None) => component,
        }
    }

    /// The names under `devEngines.packageManager`, which is one object or a list of them.
    fn managers(&self) -> Vec<String> {
        let asked = self.manifest.as_ref().filter(|(field, _)| *field == "devEngines");
        let asked = asked.map_or(&Value::Null, |(_, value)| &value["packageManager"]);
        let list = asked.as_array().map_or(std::slice::from_ref(asked), Vec::as_slice);
        list.iter().filter_map(|manager| manager["name"].as_str().map(str::to_owned)).collect()
    }

    /// Lets a manifest of the component name what is not in it.
    pub fn broken(self, manifest: Manifest) -> Self {
        Self { broken: Some(manifest), ..self }
    }
}

/// What a client got: the response, or the failure.
pub type Answer = Result<Value, Value>;

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
        (Self(Rc::new(Inner { world, params, envs, doors, spawner, scripts, fabric, deploys: Cell::new(0) })), hosts)
    }

    /// Lets nodes die, as the choices say, and brings each back after its time down. For worlds that can.
    pub(super) fn let_nodes_die(&self) {
        let world = &self.0.world;
        let (cluster, same) = (Rc::downgrade(&self.0), Rc::downgrade(&self.0));
        let on_death = move |node, death| {
            if let Some(cluster) = cluster.upgrade() {
                Self(cluster).bury(node, death);
            }
        };
        let on_partition = move |node| {
            if let Some(cluster) = same.upgrade() {
                Self(cluster).lose_packets(node);
            }
        };
        world.lives().watch(on_death, on_partition);
        (0..self.nodes()).for_each(|node| world.begin_life(NodeIndex(node)));
    }

    /// Lets a stranger come, as the choices say: from a host of its own, behind those of the nodes.
    pub(super) fn let_strangers_come(&self) {
        let Inner { world, fabric, params, spawner, .. } = &*self.0;
        if let Some(stranger) = Stranger::draw(world, fabric, &params.component) {
            spawner.start(Some(NodeIndex(params.nodes)), "stranger".to_owned(), Box::pin(stranger.come())).detach();
        }
    }

    /// A node has died: its tasks go, its door is closed, and after a while it starts again.
    fn bury(&self, node: NodeIndex, death: Death) {
        self.0.doors.borrow_mut()[usize::from(node.0)] = None;
        self.0.spawner.crash(node, death);
        if death == Death::PowerLoss {
            self.0.envs[usize::from(node.0)].lose_power();
        }
        let cluster = self.clone();
        let back = async move {
            cluster.time_down(node).await;
            cluster.restart(node);
        };
        self.0.spawner.start(None, format!("{node} comes back"), Box::pin(back)).detach();
    }

    /// Packets between a node and another are lost for a while, as the choices say.
    fn lose_packets(&self, node: NodeIndex) {
        let Inner { world, spawner, .. } = &*self.0;
        let others = self.others(node);
        let who = world.draw(Some(node), Kind::PartitionWho, 3 * others.len() as u32);
        let Some(other) = others.get(who as usize / 3).copied() else { return };
        let ways = [(node, other), (other, node)];
        let ways = match who % 3 {
            0 => &ways[..],
            1 => &ways[..1],
            _ => &ways[1..],
        }
        .to_vec();
        let time = PARTITION_MIN + world.draw_delay(node, Kind::PartitionTime).unwrap_or_default();
        for (from, to) in ways.clone() {
            world.record(Some(from), Event::Fault(Fault::Lost { to, ms: time.as_millis() as u64 }));
            spawner.lose(from, to, true);
        }
        let (world, mending) = (Rc::clone(world), Rc::clone(spawner));
        let mend = async move {
            tokio::select! {
                biased;
                () = world.lives().until_healed() => {}
                () = sleep(time) => {}
            }
            ways.into_iter().for_each(|(from, to)| mending.lose(from, to, false));
        };
        spawner.start(None, format!("packets of {node} get through"), Box::pin(mend)).detach();
    }

    async fn time_down(&self, node: NodeIndex) {
        let world = &self.0.world;
        let down = world.draw_delay(node, Kind::Downtime).unwrap_or(DOWNTIME_MIN);
        tokio::select! {
            biased;
            () = world.lives().until_healed() => {}
            () = sleep(down) => {}
        }
    }

    fn restart(&self, node: NodeIndex) {
        let Inner { world, envs, spawner, doors, .. } = &*self.0;
        world.record(Some(node), Event::Restarted);
        spawner.revive(node);
        let env = &envs[usize::from(node.0)];
        env.reborn();
        world.begin_life(node);
        let (door, run) = host(env.clone());
        doors.borrow_mut()[usize::from(node.0)] = Some(door);
        spawner.start(Some(node), "node".to_owned(), Box::pin(run)).detach();
    }

    /// A node dies at this moment, in the manner that the choice says. Nothing where nodes cannot die.
    pub fn crash(&self, node: NodeIndex) {
        if self.0.spawner.can_crash() {
            self.0.world.crash(node);
        }
    }

    /// A node dies at this moment, in this manner. Nothing where nodes cannot die.
    pub fn crash_by(&self, node: NodeIndex, death: Death) {
        if self.0.spawner.can_crash() {
            self.0.world.crash_by(node, death);
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

    /// A deploy of this run's component, whole and without options.
    pub fn component(&self) -> Deploy {
        let request = json!({ "operation": "deploy_component", "project": self.0.params.component.name });
        let Value::Object(request) = request else { unreachable!("written as an object above") };
        Deploy { request, leaves_after: None, broken: None, manifest: None, brings_back: None, packs: None }
    }

    /// The archive of the next deploy, in pieces: what a packer leaves.
    pub fn next_archive(&self) -> Vec<Bytes> {
        self.0.params.component.variant(self.0.deploys.get()).payload.clone()
    }

    /// Deploys at `origin` and waits for the answer; a client that loses its node is told so by its own side.
    pub async fn deploy(&self, origin: NodeIndex, deploy: Deploy) -> Answer {
        let number = self.0.deploys.replace(self.0.deploys.get() + 1);
        let component = self.0.params.component.variant(deploy.brings_back.unwrap_or(number));
        let component = deploy.edited(component);
        let facts = facts(&component, number, &deploy);
        self.0.world.record(Some(origin), Event::DeployRequested(Rc::new(facts)));
        let uploads = deploy.brings_back.is_none() && deploy.packs.is_none();
        let upload = uploads.then(|| self.upload(number, origin, &component, deploy.leaves_after));
        let stream = Rc::new(RefCell::new(ClientStream::default()));
        let answer = self.ask(origin, number, Value::Object(deploy.request), upload, &stream).await;
        let answer = self.answered(origin, number, answer);
        let code = stream.borrow().exit().code();
        self.0.world.record(Some(origin), Event::ClientExited { deploy: number, code });
        answer
    }

    /// The answer, or what a client's own side says that got none.
    fn answered(&self, origin: NodeIndex, deploy: u32, answer: Option<Answer>) -> Answer {
        if let Some(answer) = answer {
            self.0.world.record(Some(origin), Event::DeployAnswered { deploy, answer: answer.clone() });
            return answer;
        }
        let cause = "the connection to the node is closed".to_owned();
        self.0.world.record(Some(origin), Event::ClientLost { deploy, cause: cause.clone() });
        Err(json!({ "message": cause, "code": "connection_lost" }))
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
                sleep(SETTLE_STEP_FIRST).await;
            }
        }
    }

    /// Lets everything heal, then waits until nothing is under way any more; returns after [`SETTLE_MAX`] whatever is.
    pub async fn settle(&self) {
        self.0.world.heal();
        let deadline = Instant::now() + SETTLE_MAX;
        let mut step = SETTLE_STEP_FIRST;
        while Instant::now() < deadline {
            sleep(step).await;
            if self.is_settled() {
                return;
            }
            step = (step * 2).min(SETTLE_STEP_MAX);
        }
    }

    /// Records what every node holds.
    pub(crate) fn record_final(&self) {
        for env in &self.0.envs {
            self.0.world.record(Some(env.index()), Event::Final(Rc::new(env.holdings())));
        }
    }

    fn is_settled(&self) -> bool {
        let holdings: Vec<_> = self.0.envs.iter().map(|env| (env.index(), env.holdings())).collect();
        let membership = self.0.world.membership();
        let at_rest = holdings.iter().all(|(node, holds)| {
            let mut shared = holds.rows.iter().filter(|row| self.is_shared(*node, row));
            holds.leftovers.is_empty()
                && holds.processes.is_empty()
                && holds.blobs.iter().all(|(id, state)| is_at_rest(*id, state, &holds.rows))
                && holds.rows.iter().filter_map(|row| row.blob).all(|named| holds.blobs.contains_key(&named))
                && shared.all(has_ended)
        });
        let members: Vec<_> = holdings.iter().filter(|(node, _)| membership.includes(*node)).collect();
        let shared = |(node, holds): &(NodeIndex, NodeFinal)| {
            holds.rows.iter().filter(|row| self.is_shared(*node, row)).cloned().collect::<Vec<_>>()
        };
        let all_up = self.0.doors.borrow().iter().all(Option::is_some);
        all_up
            && membership.is_known_to_all()
            && at_rest
            && (self.0.world.keeps_rows_apart() || members.windows(2).all(|pair| shared(pair[0]) == shared(pair[1])))
    }

    /// Must a row on `node` become what it is on its origin? Not once one of the two has left the cluster.
    fn is_shared(&self, node: NodeIndex, record: &Record) -> bool {
        let writer = self.0.world.index_of(&record.version.node);
        let together = |writer| [node, writer].iter().all(|node| self.0.world.membership().includes(*node));
        writer == Some(node) || writer.is_some_and(together)
    }

    /// The client's side of an upload: in pieces and with pauses as the choices say.
    fn upload(&self, deploy: u32, origin: NodeIndex, component: &Component, leaves_after: Option<u64>) -> Upload {
        let pieces = component.payload.clone().into();
        let left = leaves_after.unwrap_or(u64::MAX);
        let sent = Sending { world: Rc::clone(&self.0.world), deploy, origin, pieces, left };
        let whole = stream::unfold(sent, Sending::next).map(Ok);
        let Some(_) = leaves_after else { return Box::pin(whole) };
        let world = Rc::clone(&self.0.world);
        let gone = stream::once(async move {
            let cause = "the client went away".to_owned();
            world.record(Some(origin), Event::UploadAborted { deploy, cause: cause.clone() });
            Err(cause.into())
        });
        Box::pin(whole.chain(gone))
    }

    async fn ask(
        &self,
        origin: NodeIndex,
        deploy: u32,
        request: Value,
        upload: Option<Upload>,
        stream: &Rc<RefCell<ClientStream>>,
    ) -> Option<Answer> {
        let (world, stream) = (Rc::clone(&self.0.world), Rc::clone(stream));
        let sees = move |progress: &Progress| {
            stream.borrow_mut().see(progress);
            let (event, data) = (progress.name().into(), progress.data());
            world.record(Some(origin), Event::ClientSaw { deploy, event, data: data.clone() });
        };
        self.on(origin, move |node| Box::pin(async move { node.deploy_component(request, upload, sees).await })).await
    }
}

/// A blob is whole and a row names it, or it has failed for good.
fn is_at_rest(id: BlobId, state: &BlobState, rows: &[Rc<Record>]) -> bool {
    match state {
        BlobState::Failed { .. } => true,
        BlobState::Complete { .. } => rows.iter().any(|record| record.blob == Some(id)),
        _ => false,
    }
}

/// Is the row's deployment over?
fn has_ended(record: &Rc<Record>) -> bool {
    let row: Result<Value, _> = serde_json::from_slice(&record.value);
    row.is_ok_and(|row| ["success", "failed", "rolled_back"].iter().any(|end| row["status"] == *end))
}

/// What must come of a deploy of `component`.
fn facts(component: &Component, number: u32, deploy: &Deploy) -> DeployFacts {
    let asked = |field: &str| deploy.request.get(field);
    DeployFacts {
        deploy: number,
        project: component.name.clone(),
        payload_bytes: component.payload_bytes,
        payload_hash: component.hash.clone(),
        tree: component.digest(),
        missing_entry: deploy.broken.map(|_| MISSING_ENTRY.into()),
        managers: deploy.managers(),
        archives: deploy.packs,
        claims_id: asked("deployment_id").is_some(),
        replicated: asked("replicated") != Some(&Value::Bool(false)),
        ignore_replication_errors: asked("ignore_replication_errors") == Some(&Value::Bool(true)),
        restart: asked("restart").is_some_and(|restart| *restart != Value::Bool(false)),
        deployment_timeout_ms: asked("deployment_timeout").and_then(Value::as_u64),
        install_timeout_ms: asked("install_timeout").and_then(Value::as_u64),
    }
}

/// An upload on its way.
struct Sending {
    world: Rc<World>,
    deploy: u32,
    origin: NodeIndex,
    pieces: VecDeque<Bytes>,
    /// So many bytes before the client goes away.
    left: u64,
}

impl Sending {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut next = self.pieces.pop_front()?;
        next.truncate(usize::try_from(self.left).unwrap_or(usize::MAX).min(next.len()));
        if next.is_empty() {
            return None;
        }
        self.world.delay(self.origin, Kind::UploadDelay).await;
        let piece = next.split_to(self.world.draw_cut(self.origin, Kind::UploadCut, next.len()));
        self.left -= piece.len() as u64;
        if !next.is_empty() {
            self.pieces.push_front(next);
        }
        self.world.record(Some(self.origin), Event::Uploaded { deploy: self.deploy, bytes: piece.len() as u64 });
        Some((piece, self))
    }
}

/// A node's main task, and the door through which requests reach it.
fn host(env: SimEnv) -> (mpsc::UnboundedSender<Job>, impl Future<Output = ()> + use<>) {
    use crate::env::Env;
    let (tx, mut rx) = mpsc::unbounded_channel::<Job>();
    let run = async move {
        let node = Node::start(env.clone()).await.expect("a node of a simulated world can bind its ports");
        while let Some(job) = rx.recv().await {
            env.start("request".to_owned(), job(Rc::clone(&node))).detach();
        }
    };
    (tx, run)
}
