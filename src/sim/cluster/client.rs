//! Clients of a cluster: what they ask for, how they upload, and what they see of their deploys.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{Cluster, settle::has_left_nothing};
use crate::{
    check::{DeployFacts, Event, NodeIndex},
    deploy::{client::ClientStream, event::Event as Progress, recorder::Upload},
    sim::{
        choice::Kind,
        component::{Component, MISSING_ENTRY, Manifest},
        world::World,
    },
};

/// A payload that is larger may take longer to its peers than the logic waits unless it is told to; and how long it may
/// take then.
const LARGE_BYTES: u64 = 256 * 1024 * 1024;
pub(super) const SLOWEST_BYTES_PER_MS: u64 = 4 * 1024;

/// A deploy that a client asks for; see [`Cluster::component`].
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The request's fields, as HarperDB's clients send them.
    pub request: Map<String, Value>,
    /// The client takes so long to send the first byte of its upload.
    pub starts_after: Duration,
    /// The client goes away after so many bytes of its upload.
    pub leaves_after: Option<u64>,
    /// The client closes its connection after so many events of its stream: from the second on the upload is over.
    pub hangs_up_after: Option<u32>,
    /// This manifest of the component names what is not in it.
    pub broken: Option<Manifest>,
    /// This field of the component's package.json is another.
    pub manifest: Option<(&'static str, Value)>,
    /// This file is in the component as well.
    pub file: Option<(&'static str, &'static str)>,
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

    /// Adds a file to the component.
    pub fn with_file(self, path: &'static str, text: &'static str) -> Self {
        Self { file: Some((path, text)), ..self }
    }

    /// The component that is uploaded.
    fn edited(&self, component: Arc<Component>) -> Arc<Component> {
        let component = match (self.broken, &self.manifest) {
            (Some(manifest), _) => component.broken(manifest),
            (None, Some((field, value))) => component.with_manifest(field, value.clone()),
            (None, None) => component,
        };
        self.file.map_or_else(|| Arc::clone(&component), |(path, text)| component.with_file(path, text))
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
    /// A deploy of this run's component, whole and without options.
    pub fn component(&self) -> Deploy {
        let Component { name, payload_bytes, .. } = &*self.0.params.component;
        let request = json!({ "operation": "deploy_component", "project": name });
        let Value::Object(mut request) = request else { unreachable!("written as an object above") };
        if *payload_bytes > LARGE_BYTES {
            request.insert("deployment_timeout".to_owned(), json!(payload_bytes / SLOWEST_BYTES_PER_MS));
        }
        Deploy {
            request,
            starts_after: Duration::ZERO,
            leaves_after: None,
            hangs_up_after: None,
            broken: None,
            manifest: None,
            file: None,
            brings_back: None,
            packs: None,
        }
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
        let facts = facts(&component, number, &deploy, self.0.world.wall_clock_ms(origin));
        let leaves_peers = facts.ignore_replication_errors;
        self.0.open.borrow_mut().insert(number, self.may_go_on(&facts));
        self.0.last_turn.set(Instant::now());
        self.0.world.record(Some(origin), Event::DeployRequested(Rc::new(facts)));
        let uploads = deploy.brings_back.is_none() && deploy.packs.is_none();
        let upload = uploads.then(|| self.upload(number, origin, &component, &deploy));
        let stream = Rc::new(RefCell::new(ClientStream::default()));
        let client = Client { deploy: number, hangs_up_after: deploy.hangs_up_after, stream: Rc::clone(&stream) };
        let answer = self.ask(origin, client, Value::Object(deploy.request), upload).await;
        let answer = self.answered(origin, number, answer);
        self.0.last_turn.set(Instant::now());
        if has_left_nothing(&answer, leaves_peers) {
            self.0.open.borrow_mut().remove(&number);
        }
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

    /// The client's side of an upload: in pieces and with pauses as the choices say.
    fn upload(&self, deploy: u32, origin: NodeIndex, component: &Component, asked: &Deploy) -> Upload {
        let pieces = component.payload.clone().into();
        let left = asked.leaves_after.unwrap_or(u64::MAX);
        let sent = Sending { world: Rc::clone(&self.0.world), deploy, origin, pieces, left, wait: asked.starts_after };
        let whole = stream::unfold(sent, Sending::next).map(Ok);
        let Some(_) = asked.leaves_after else { return Box::pin(whole) };
        let world = Rc::clone(&self.0.world);
        let gone = stream::once(async move {
            let cause = "the client went away".to_owned();
            world.record(Some(origin), Event::UploadAborted { deploy, cause: cause.clone() });
            Err(cause.into())
        });
        Box::pin(whole.chain(gone))
    }

    /// The answer; `None` when the node dies, or the client hangs up, before it comes.
    async fn ask(&self, origin: NodeIndex, client: Client, request: Value, upload: Option<Upload>) -> Option<Answer> {
        let world = Rc::clone(&self.0.world);
        let (hangs_up, seen) = (Rc::new(Notify::new()), Cell::new(0));
        let leave = Rc::clone(&hangs_up);
        let sees = move |progress: &Progress| {
            if client.hangs_up_after.is_some_and(|most| seen.get() >= most) {
                return leave.notify_one();
            }
            seen.set(seen.get() + 1);
            client.stream.borrow_mut().see(progress);
            let (event, data) = (progress.name().into(), progress.data());
            world.record(Some(origin), Event::ClientSaw { deploy: client.deploy, event, data: data.clone() });
        };
        let answer = self.on(origin, move |node| {
            Box::pin(async move {
                tokio::select! {
                    biased;
                    () = hangs_up.notified() => None,
                    answer = node.deploy_component(request, upload, sees) => Some(answer),
                }
            })
        });
        answer.await.flatten()
    }
}

/// A client that waits for its answer.
struct Client {
    /// Which deploy of this run.
    deploy: u32,
    /// See [`Deploy::hangs_up_after`].
    hangs_up_after: Option<u32>,
    /// What it makes of its stream.
    stream: Rc<RefCell<ClientStream>>,
}

/// What must come of a deploy of `component`.
fn facts(component: &Component, number: u32, deploy: &Deploy, asked_at: u64) -> DeployFacts {
    let asked = |field: &str| deploy.request.get(field);
    let text = |field: &str| asked(field).and_then(Value::as_str).map(str::to_owned);
    DeployFacts {
        deploy: number,
        project: asked("project").and_then(Value::as_str).unwrap_or(&component.name).to_owned(),
        payload_bytes: component.payload_bytes,
        payload_hash: component.hash.clone(),
        tree: component.digest(),
        missing_entry: deploy.broken.map(|_| MISSING_ENTRY.into()),
        managers: deploy.managers(),
        installs: Some(component.installs()),
        install_command: asked("install_command").and_then(Value::as_str).map(str::to_owned),
        archives: deploy.packs,
        claims_id: asked("deployment_id").is_some(),
        replicated: asked("replicated") != Some(&Value::Bool(false)),
        ignore_replication_errors: asked("ignore_replication_errors") == Some(&Value::Bool(true)),
        restart: DeployFacts::restart_mode_of(asked("restart")).is_some(),
        restart_mode: DeployFacts::restart_mode_of(asked("restart")),
        user: text("user"),
        package: text("package"),
        rollback_from: text("rollback_from"),
        asked_at: Some(asked_at),
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
    /// What it waits before its next piece.
    wait: Duration,
}

impl Sending {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut next = self.pieces.pop_front()?;
        next.truncate(usize::try_from(self.left).unwrap_or(usize::MAX).min(next.len()));
        if next.is_empty() {
            return None;
        }
        let wait = std::mem::take(&mut self.wait);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.world.delay(self.origin, Kind::UploadDelay).await;
        let piece = next.split_to(self.world.draw_cut(self.origin, Kind::UploadCut, next.len()));
        self.left -= piece.len() as u64;
        if !next.is_empty() {
            self.pieces.push_front(next);
        }
        self.world.record(Some(self.origin), Event::Uploaded { deploy: self.deploy, bytes: piece.len() as u64 });
        // What comes over a connection is its reader's own memory: who keeps all of a large payload is seen to.
        Some((Bytes::copy_from_slice(&piece), self))
    }
}
