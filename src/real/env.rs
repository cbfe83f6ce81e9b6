//! One real node: the seam's devices, put together.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    blobs::RealBlobs,
    disk::{RealDisk, sync_dir},
    handshake::NAME_BYTES_MAX,
    journal::JournalFile,
    leftovers,
    network::RealNetwork,
    process::RealProcesses,
    secret::Secret,
    serving::RealServing,
    table::RealTable,
    trace::{self, Recorder, Trees},
};
use crate::check::Event;
use crate::env::{Beats, Env, Journal, Kill, LocalFuture, NodeName, Pulse, StoreError};

/// Where the other nodes find a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its rows and blobs.
    pub rows: SocketAddr,
    /// Its operations.
    pub operations: SocketAddr,
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, which is that of a member.
    pub name: NodeName,
    /// Its own directory, of no other node's.
    pub directory: PathBuf,
    /// Every member of the cluster, itself included.
    pub members: BTreeMap<NodeName, Member>,
    /// What all members know, and nobody else.
    pub secret: Secret,
    /// See [`Env::setting`].
    pub settings: BTreeMap<String, Value>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its own name is not a member's.
    #[error("{0} is not among the members: add it there")]
    NotAMember(NodeName),
    /// A name that no handshake has room for.
    #[error("the name of a member must have 1 to {NAME_BYTES_MAX} bytes: `{0}` has another length")]
    Name(NodeName),
    /// Its directory cannot be used.
    #[error("the directory `{directory}` cannot be used: {cause}")]
    Directory {
        /// Which.
        directory: String,
        /// What the system says.
        cause: io::Error,
    },
    /// Another process uses it.
    #[error("the directory `{0}` is in use by another node")]
    InUse(String),
    /// Its database cannot be opened.
    #[error("the database cannot be opened: {0}")]
    Store(#[from] StoreError),
}

/// A real node; clones are handles to the same one. It lives on the `LocalSet` that it is used on.
#[derive(Clone)]
pub struct RealEnv(Rc<Node>);

/// Hears what is written into the operation log.
type Ear = Rc<dyn Fn(&Journal)>;

struct Node {
    name: NodeName,
    settings: BTreeMap<String, Value>,
    network: RealNetwork,
    table: RealTable,
    blobs: RealBlobs,
    disk: RealDisk,
    processes: RealProcesses,
    serving: RealServing,
    journal: RefCell<JournalFile>,
    ear: RefCell<Option<Ear>>,
    recorder: Recorder,
    /// Never beats: the membership is that of the configuration for as long as the node lives.
    membership: Pulse,
    /// Held for as long as the node lives.
    _lock: fs::File,
}

impl RealEnv {
    /// Opens a node's devices; `deploy::node::Node::start` starts it.
    ///
    /// # Errors
    /// When the configuration says nothing, or its directory cannot be used.
    pub fn open(config: Config) -> Result<Self, StartError> {
        check(&config)?;
        let failed = |cause| StartError::Directory { directory: config.directory.display().to_string(), cause };
        let lock = prepare(&config.directory).map_err(failed)?;
        lock.try_lock().map_err(|_| StartError::InUse(config.directory.display().to_string()))?;
        // A child's directory must not depend on where this process stands.
        let root = config.directory.canonicalize().map_err(failed)?;
        leftovers::end(&root).map_err(failed)?;
        let store = root.join("store");
        let recorder = Recorder::open(&root, config.members.keys().cloned().collect()).map_err(failed)?;
        let table = RealTable::open(config.name.clone(), &store.join("rows.redb"), recorder.clone())?;
        let blobs = RealBlobs::open(store.join("blobs"), recorder.clone()).map_err(failed)?;
        let trees = Trees::new(root.clone(), recorder.clone());
        // The names of what has just been made are durable before anything is stored under them.
        sync_dir(&store).map_err(failed)?;
        trace::begin(&recorder, &trees, &config, table.rows()?, &store.join("blobs")).map_err(failed)?;
        let journal = JournalFile::open(&root).map_err(failed)?;
        Ok(Self(Rc::new(Node {
            table,
            blobs,
            disk: RealDisk::new(root.clone(), recorder.clone(), trees.clone()),
            processes: RealProcesses::new(root.clone(), recorder.clone(), trees),
            serving: RealServing::new(root, recorder.clone()),
            network: RealNetwork::new(config.name.clone(), config.secret, config.members, recorder.clone()),
            recorder,
            journal: RefCell::new(journal),
            ear: RefCell::default(),
            name: config.name,
            settings: config.settings,
            membership: Pulse::default(),
            _lock: lock,
        })))
    }
}

impl RealEnv {
    /// This node's trace.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// Adds an event to this node's trace: what only its door knows, as [`Event::Tail`] and [`Event::PayloadRead`]. Readers
    /// are numbered by the door, anew in each life.
    pub fn record(&self, event: &Event) {
        self.0.recorder.record(event);
    }

    /// Resolves when a task of this node has panicked, with its name and what it said. Nobody does what that task was there
    /// for, and so the node must not live on.
    pub async fn panicked(&self) -> String {
        self.0.recorder.panic().await
    }

    /// Does `work`; `ear` hears what the node writes into its operation log meanwhile.
    pub async fn overheard<T>(&self, ear: impl Fn(&Journal) + 'static, work: impl Future<Output = T>) -> T {
        self.0.ear.replace(Some(Rc::new(ear)));
        let done = work.await;
        self.0.ear.replace(None);
        done
    }
}

fn check(config: &Config) -> Result<(), StartError> {
    let fits = |name: &&NodeName| !(1..=NAME_BYTES_MAX).contains(&name.as_str().len());
    if let Some(name) = config.members.keys().find(fits) {
        return Err(StartError::Name(name.clone()));
    }
    let member = config.members.contains_key(&config.name);
    member.then_some(()).ok_or_else(|| StartError::NotAMember(config.name.clone()))
}

/// Makes a directory, and those above it that are missing, durably.
fn make_dir(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(parent)?;
    match fs::create_dir(directory) {
        // Another node of the same place has made it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    sync_dir(parent)
}

/// Makes a node's directory, durably, for nobody else to look into; returns the file whose lock says that it is in use.
fn prepare(directory: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::PermissionsExt;
    make_dir(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    make_dir(&directory.join("store"))?;
    sync_dir(directory)?;
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("store/lock"))
}

/// The wall clock, epoch milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is what the seam's clock is made of in this world")]
pub(crate) fn wall_clock_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    now.as_millis() as u64
}

/// Starts a task on this thread.
#[expect(clippy::disallowed_methods, reason = "this is what `Env::spawn` is made of in this world")]
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> tokio::task::AbortHandle {
    tokio::task::spawn_local(future).abort_handle()
}

/// Starts a task of a node's on this thread, whose panic is not lost.
pub(super) fn spawn_watched(
    recorder: &Recorder,
    task: impl Into<String>,
    future: impl Future<Output = ()> + 'static,
) -> tokio::task::AbortHandle {
    spawn(watched(recorder.clone(), task.into(), Box::pin(future)))
}

/// The task, whose panic is in the trace before it goes on.
async fn watched(recorder: Recorder, task: String, mut future: LocalFuture) {
    use std::{
        future::poll_fn,
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    };
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let message = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let message = message.unwrap_or_else(|| "a panic without words".to_owned());
            recorder.panicked(task.clone(), message);
            resume_unwind(panic)
        })
    })
    .await;
}

struct Handle(tokio::task::AbortHandle);

impl Kill for Handle {
    fn kill(&self) {
        self.0.abort();
    }
}

/// An entry of the operation log, as one line of JSON.
fn journal_line(entry: &Journal, at_ms: u64) -> String {
    let mut line = match entry {
        Journal::OperationReceived { deployment_id, origin } => {
            json!({ "event": "operation_received", "deployment_id": deployment_id, "origin": origin })
        }
        Journal::OperationAnswered { deployment_id, outcome } => {
            json!({ "event": "operation_answered", "deployment_id": deployment_id, "outcome": outcome })
        }
        Journal::RestartAnswered { deployment_id, outcome } => {
            json!({ "event": "restart_answered", "deployment_id": deployment_id, "outcome": outcome })
        }
        Journal::Progress { deployment_id, event, data } => {
            json!({ "event": event, "deployment_id": deployment_id, "data": data })
        }
        Journal::PayloadDropped { deployment_id, why } => {
            json!({ "event": "payload_dropped", "deployment_id": deployment_id, "why": why })
        }
        Journal::Dropped { what, cause } => json!({ "event": "let_pass", "what": what, "cause": cause }),
        Journal::Unhandled { task, error } => json!({ "event": "unhandled", "task": task, "error": error }),
    };
    line["at_ms"] = json!(at_ms);
    format!("{line}\n")
}

impl Env for RealEnv {
    type Network = RealNetwork;
    type Table = RealTable;
    type Blobs = RealBlobs;
    type Disk = RealDisk;
    type Processes = RealProcesses;
    type Serving = RealServing;

    fn node(&self) -> &NodeName {
        &self.0.name
    }

    fn members(&self) -> Vec<NodeName> {
        self.0.recorder.record(&Event::MembersRead(self.0.recorder.members()));
        self.0.network.members().cloned().collect()
    }

    fn members_changed(&self) -> Beats {
        self.0.membership.subscribe()
    }

    fn setting(&self, name: &str) -> Option<Value> {
        self.0.settings.get(name).cloned()
    }

    fn wall_clock_ms(&self) -> u64 {
        wall_clock_ms()
    }

    #[expect(clippy::disallowed_methods, reason = "this is what the seam's ids are made of in this world")]
    fn fresh_id(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn network(&self) -> &RealNetwork {
        &self.0.network
    }

    fn table(&self) -> &RealTable {
        &self.0.table
    }

    fn blobs(&self) -> &RealBlobs {
        &self.0.blobs
    }

    fn disk(&self) -> &RealDisk {
        &self.0.disk
    }

    fn processes(&self) -> &RealProcesses {
        &self.0.processes
    }

    fn serving(&self) -> &RealServing {
        &self.0.serving
    }

    fn journal(&self, entry: Journal) {
        self.0.recorder.record(&Event::Journal(entry.clone()));
        let ear = self.0.ear.borrow().clone();
        ear.iter().for_each(|ear| ear(&entry));
        // The log is observability: a full disk must not end a deploy.
        let _ = self.0.journal.borrow_mut().write(&journal_line(&entry, wall_clock_ms()));
    }

    fn holds(&self, queue: &'static str, bytes: usize, item_bytes: usize) {
        self.0.recorder.holds(queue, bytes, item_bytes);
    }

    fn start(&self, name: String, future: LocalFuture) -> Box<dyn Kill> {
        Box::new(Handle(spawn_watched(&self.0.recorder, name, future)))
    }
}
