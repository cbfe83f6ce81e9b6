//! What can be seen of a run at the seam.

use std::{collections::BTreeMap, fmt, rc::Rc};

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    check::{NodeIndex, TreeDigest},
    env::{BlobId, BlobState, Command, Draft, ExitStatus, Journal, Key, OutputStream, Port, Position, Record, Version},
};

/// Something that happened at the seam, or that the harness did to the cluster.
///
/// Rendered in plain words: who did what, and which value it was about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    // What the client did and saw; the node is the origin.
    /// A client asked for a deploy.
    DeployRequested(Rc<DeployFacts>),
    /// A client handed over so many more bytes of its upload.
    Uploaded {
        /// Which deploy of this run.
        deploy: u32,
        /// How many bytes.
        bytes: u64,
    },
    /// A client broke its upload off.
    UploadAborted {
        /// Which deploy of this run.
        deploy: u32,
        /// What the client's side said.
        cause: String,
    },
    /// A client saw an event of its deploy's stream.
    ClientSaw {
        /// Which deploy of this run.
        deploy: u32,
        /// The event's name.
        event: &'static str,
        /// Its data.
        data: Value,
    },
    /// A client got its answer.
    DeployAnswered {
        /// Which deploy of this run.
        deploy: u32,
        /// The response, or the failure.
        answer: Result<Value, Value>,
    },

    /// A client's command ended.
    ClientExited {
        /// Which deploy of this run.
        deploy: u32,
        /// Its exit code.
        code: u8,
    },

    /// The operator set something on every node.
    Setting {
        /// What.
        name: String,
        /// To what.
        value: Value,
    },

    /// What a reader saw of its tail.
    Tail {
        /// Which reader of this run.
        reader: u32,
        /// Which row it tails.
        key: Key,
        /// What it saw.
        saw: TailSight,
    },
    /// A reader asks a node for deployments.
    ReaderAsks {
        /// Which reader of this run.
        reader: u32,
        /// What it asks for: a whole request, with its operation.
        request: Rc<Value>,
    },
    /// It got its answer.
    ReaderTold {
        /// Which reader of this run.
        reader: u32,
        /// The response, or the failure.
        answer: Rc<Result<Value, Value>>,
    },
    /// A reader downloaded a payload.
    PayloadRead {
        /// Of which row.
        key: Key,
        /// When it asked, virtual milliseconds since the start of the run.
        asked_ms: u64,
        /// Lower-case hex SHA-256 and length of what came, or why it did not.
        got: Result<(String, u64), String>,
    },

    /// The operator made these the cluster's members.
    MembersChanged(Vec<NodeIndex>),

    // The seam.
    /// A node knows from now on that these are the cluster's members.
    MembersKnown(Vec<NodeIndex>),
    /// A node asked who is in the cluster.
    MembersRead(Vec<NodeIndex>),
    /// A read of the table.
    Got {
        /// Which row.
        key: Key,
        /// What stood there.
        found: Result<Option<Rc<Record>>, String>,
    },
    /// A put took its snapshot.
    PutStarted {
        /// The put's number on this node.
        put: u32,
        /// Which row.
        key: Key,
        /// What it will commit.
        draft: Rc<Draft>,
    },
    /// A put committed.
    PutCommitted {
        /// The put's number on this node.
        put: u32,
        /// What it committed.
        record: Rc<Record>,
    },
    /// A put failed, and left no trace.
    PutRefused {
        /// The put's number on this node.
        put: u32,
        /// What the store said.
        cause: String,
    },
    /// Another node's record was offered to this store.
    Replicated {
        /// What came.
        record: Rc<Record>,
        /// Was it taken?
        taken: bool,
    },
    /// A local commit became visible to the log.
    Logged {
        /// Which row.
        key: Key,
        /// Which version of it.
        version: Version,
    },
    /// How far a node has come in another node's log became durable.
    CursorSaved {
        /// Whose log.
        of: NodeIndex,
        /// How far.
        position: Position,
    },
    /// A blob came to a new state.
    Blob {
        /// Which blob.
        id: BlobId,
        /// Its state now.
        state: BlobState,
    },
    /// A blob was read.
    BlobRead {
        /// Which blob.
        id: BlobId,
        /// From this byte on.
        offset: u64,
        /// So many bytes.
        bytes: u64,
    },
    /// A node takes connections from now on.
    Listening {
        /// For what.
        port: Port,
    },
    /// A node begins to connect.
    Connecting {
        /// To whom.
        to: NodeIndex,
        /// For what.
        port: Port,
    },
    /// A node could not connect.
    ConnectFailed {
        /// To whom.
        to: NodeIndex,
        /// For what.
        port: Port,
        /// What went wrong.
        error: String,
    },
    /// On a port that a subscriber connects to, a node writes on another connection than before.
    Speaks {
        /// To whom.
        to: NodeIndex,
        /// The how-manieth connection from there, over all lives.
        link: u32,
    },
    /// A subscriber reads from another connection than before.
    Hears {
        /// Of whom.
        of: NodeIndex,
        /// The how-manieth connection to there, over all lives.
        link: u32,
    },
    /// A queue of a node held more before the item that it took than ever before.
    Holds {
        /// Which queue.
        queue: &'static str,
        /// So many bytes.
        bytes: u64,
        /// The item's.
        item_bytes: u64,
    },
    /// A directory, file or link got another name.
    Renamed {
        /// Its old path.
        from: String,
        /// Its new path.
        to: String,
        /// The digest of what was moved.
        tree: TreeDigest,
    },
    /// A change below a path that the components live under.
    Removed {
        /// What is gone.
        path: String,
    },
    /// A file, directory or link was made or a file was written to.
    Written {
        /// Where.
        path: String,
        /// How many bytes were added.
        bytes: u64,
    },
    /// The live path of a project leads to another tree from now on.
    Live {
        /// Which project.
        project: String,
        /// Which tree; `None` when it leads to no directory.
        tree: Option<TreeDigest>,
    },
    /// A child process was started.
    ProcessStarted {
        /// Its number on this node.
        process: u32,
        /// What runs.
        command: Command,
    },
    /// A child process wrote.
    ProcessOutput {
        /// Its number on this node.
        process: u32,
        /// Where to.
        stream: OutputStream,
        /// What, as cut on its way.
        bytes: Bytes,
    },
    /// A child process ended.
    ProcessExited {
        /// Its number on this node.
        process: u32,
        /// How.
        status: ExitStatus,
    },
    /// A node begins to switch its requests to another build.
    Switching {
        /// Of which project.
        project: String,
        /// The deployment whose build it is said to be.
        build: Uuid,
    },
    /// A node's requests go to another build from now on.
    Serves {
        /// Of which project.
        project: String,
        /// The deployment whose build it is said to be.
        build: Uuid,
        /// The tree that stands where the build was said to stand.
        tree: Option<TreeDigest>,
    },
    /// What a node wrote into its operation log.
    Journal(Journal),

    // The harness.
    /// A node died: its tasks, processes and connections are gone.
    Crashed {
        /// How.
        death: Death,
    },
    /// A node that had died starts again.
    Restarted,
    /// No fault is injected from here on, and every node that is down starts again.
    Healed,
    /// A client lost the connection to its node, or found none.
    ClientLost {
        /// Which deploy of this run.
        deploy: u32,
        /// What the client's side says.
        cause: String,
    },
    /// A fault was injected: an uncertain thing went another way than the harmless one.
    Fault(Fault),
    /// A host that is no member has connected to a node, and speaks.
    StrangerSpeaks {
        /// For what.
        port: Port,
        /// What it says.
        says: &'static str,
    },
    /// It got something from the node.
    StrangerTold {
        /// For what it had connected.
        port: Port,
        /// What kind of thing: `refusal`, `row`, …
        what: &'static str,
    },
    /// A task ended in a panic.
    TaskPanicked {
        /// The task's name.
        task: String,
        /// The panic's message.
        message: String,
    },
    /// Nothing can go on, or the run's virtual time is over, and the scenario has not returned.
    Stuck {
        /// The tasks that wait, with their nodes.
        waiting: Vec<String>,
    },
    /// Tasks run and run without time going by: the run was given up.
    Hot {
        /// Polls of tasks at this instant.
        polls: u32,
        /// The task that ran last, with its node.
        last: String,
    },
    /// What a node holds at the end of the run.
    Final(Rc<NodeFinal>),
}

/// A moment in a reader's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TailSight {
    /// The tail began.
    Attached {
        /// How long the reader takes over each item, milliseconds.
        pause_ms: u64,
    },
    /// An entry came.
    Entry {
        /// See spec 3.
        seq: u64,
        /// See spec 3.
        event: Rc<str>,
        /// See spec 3.
        data: Value,
    },
    /// The terminal row came.
    Ended {
        /// As readers see it.
        row: Value,
    },
    /// Nothing more comes.
    Closed,
    /// The tail broke off.
    Failed {
        /// What the reader was told.
        cause: String,
    },
    /// The reader left.
    Left,
    /// Its node died.
    Lost,
}

impl fmt::Display for TailSight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { .. } => write!(f, "begins to tail"),
            Self::Entry { seq, event, data } => write!(f, "sees {seq}: {event} {data}"),
            Self::Ended { row } => write!(f, "sees the end: {}", row["status"]),
            Self::Closed => write!(f, "sees that nothing more comes"),
            Self::Failed { cause } => write!(f, "is told: {cause}"),
            Self::Left => write!(f, "leaves"),
            Self::Lost => write!(f, "loses its node"),
        }
    }
}

/// How a node dies. What its devices had made durable is there at its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Death {
    /// Its process ends, and the machine closes its connections.
    Closed,
    /// Its process ends, and the machine resets its connections.
    Reset,
    /// Nothing is heard of it any more: the others see half-open connections.
    Silent,
    /// The same, and a part of what was not synced is lost.
    PowerLoss,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "crashes; its connections are closed",
            Self::Reset => "crashes; its connections are reset",
            Self::Silent => "crashes; its connections fall silent",
            Self::PowerLoss => "loses power; its connections fall silent",
        })
    }
}

/// A legal hardship that the design claims to survive; `what` is the kind of choice behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It takes so much longer.
    Delayed {
        /// What.
        what: &'static str,
        /// Milliseconds.
        ms: u64,
    },
    /// Only a part is handed on now.
    Cut {
        /// What.
        what: &'static str,
        /// Bytes handed on.
        bytes: u64,
        /// Bytes there were.
        of: u64,
    },
    /// Packets to another node are lost for a while.
    Lost {
        /// To whom.
        to: NodeIndex,
        /// For how long, milliseconds.
        ms: u64,
    },
    /// It fails.
    Failed {
        /// What.
        what: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delayed { what, ms } => write!(f, "{what} takes {ms} ms longer"),
            Self::Cut { what, bytes, of } => write!(f, "{what} hands on {bytes} of {of} bytes"),
            Self::Lost { to, ms } => write!(f, "packets to {to} are lost for {ms} ms"),
            Self::Failed { what } => write!(f, "{what}"),
        }
    }
}

/// What a client asked for, and what must come of it; known to the harness from its own reading of the component.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeployFacts {
    /// Which deploy of this run.
    pub deploy: u32,
    /// The deployment's id, once known; `None` for one whose request was refused.
    pub project: String,
    /// Length of the whole payload.
    pub payload_bytes: u64,
    /// Lower-case hex SHA-256 of the whole payload.
    pub payload_hash: String,
    /// The tree that each node must run.
    pub tree: TreeDigest,
    /// What a manifest names and the tree lacks: such a component must not go live.
    pub missing_entry: Option<&'static str>,
    /// The package managers that the component asks for: a node may have none of them.
    pub managers: Vec<String>,
    /// How many archives come of the package that it names: one, or it cannot be deployed.
    pub archives: Option<u32>,
    /// The request brings the id of a deployment, which only members may do.
    pub claims_id: bool,
    /// The deploy goes to the whole cluster, rather than to the origin alone.
    pub replicated: bool,
    /// Success does not ask for the peers.
    pub ignore_replication_errors: bool,
    /// Nodes are to serve the new build once it is deployed.
    pub restart: bool,
    /// How, as the row must tell it: `immediate` or `rolling`.
    pub restart_mode: Option<&'static str>,
    /// Who asks.
    pub user: Option<String>,
    /// The package that is named in place of an upload.
    pub package: Option<String>,
    /// The deployment whose payload is to be brought back.
    pub rollback_from: Option<String>,
    /// What the wall clock showed at the request, epoch ms.
    pub asked_at: u64,
    /// How long a peer waits for its row and payload, milliseconds.
    pub deployment_timeout_ms: Option<u64>,
    /// Time limit of an install, milliseconds.
    pub install_timeout_ms: Option<u64>,
}

/// What a node holds at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeFinal {
    /// Its rows.
    pub rows: Vec<Rc<Record>>,
    /// Its blobs.
    pub blobs: BTreeMap<BlobId, BlobState>,
    /// The live build of each project.
    pub live: BTreeMap<String, TreeDigest>,
    /// Paths that are neither a live build nor part of one.
    pub leftovers: Vec<String>,
    /// Processes that still run.
    pub processes: Vec<u32>,
    /// The deployment whose build answers requests to each project.
    pub served: BTreeMap<String, Uuid>,
}

impl Event {
    /// The deployment whose journal entry this is.
    pub fn journal_deployment(&self) -> Option<Uuid> {
        match self {
            Self::Journal(
                Journal::OperationReceived { deployment_id, .. }
                | Journal::OperationAnswered { deployment_id, .. }
                | Journal::RestartAnswered { deployment_id, .. }
                | Journal::Progress { deployment_id, .. },
            ) => Some(*deployment_id),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeployRequested(facts) => {
                write!(f, "client deploys `{}`, {} bytes", facts.project, facts.payload_bytes)
            }
            Self::Uploaded { bytes, .. } => write!(f, "client uploads {bytes} bytes"),
            Self::UploadAborted { cause, .. } => write!(f, "client breaks its upload off: {cause}"),
            Self::ClientSaw { event, data, .. } => write!(f, "client sees {event} {data}"),
            Self::DeployAnswered { answer: Ok(answer), .. } => write!(f, "deploy answers success: {answer}"),
            Self::DeployAnswered { answer: Err(error), .. } => write!(f, "deploy answers failure: {error}"),
            Self::ClientExited { code, .. } => write!(f, "client ends with exit code {code}"),
            Self::Setting { name, value } => write!(f, "operator sets {name} to {value}"),
            Self::Tail { reader, saw, .. } => write!(f, "reader {reader} {saw}"),
            Self::ReaderAsks { reader, request } => write!(f, "reader {reader} asks: {request}"),
            Self::ReaderTold { reader, answer } => render_told(f, *reader, answer),
            Self::PayloadRead { got: Ok((_, bytes)), .. } => write!(f, "a reader has downloaded {bytes} bytes"),
            Self::PayloadRead { got: Err(cause), .. } => write!(f, "a reader cannot download: {cause}"),
            Self::MembersChanged(members) => write!(f, "operator makes these the cluster's members: {members:?}"),
            Self::MembersKnown(members) => write!(f, "knows from now on that the members are {members:?}"),
            Self::MembersRead(members) => write!(f, "reads the membership: {members:?}"),
            Self::Got { found, .. } => render_got(f, found),
            Self::PutStarted { put, draft, .. } => write!(f, "put {put} takes its snapshot: {}", Row(&draft.value)),
            Self::PutCommitted { put, record } => {
                write!(f, "put {put} commits {}: {}", record.version, Row(&record.value))
            }
            Self::PutRefused { put, cause } => write!(f, "put {put} is refused: {cause}"),
            Self::Replicated { record, taken: true } => {
                write!(f, "takes row version {}: {}", record.version, Row(&record.value))
            }
            Self::Replicated { record, taken: false } => write!(f, "skips row version {}", record.version),
            Self::Logged { version, .. } => write!(f, "row version {version} becomes visible to its log"),
            Self::CursorSaved { of, position } => write!(f, "keeps its cursor in {of}'s log: {}", position.0),
            Self::Blob { id, state } => render_blob(f, *id, state),
            Self::BlobRead { id, offset, bytes } => {
                write!(f, "reads {bytes} bytes of blob {} at {offset}", Short(id.0))
            }
            Self::Listening { port } => write!(f, "takes connections for {port:?}"),
            Self::Connecting { to, port } => write!(f, "connects to {to} for {port:?}"),
            Self::ConnectFailed { to, port, error } => write!(f, "cannot connect to {to} for {port:?}: {error}"),
            Self::Speaks { to, link } => write!(f, "speaks on {to}'s subscription {link}"),
            Self::Hears { of, link } => write!(f, "hears of {of} on its subscription {link}"),
            Self::Holds { queue, bytes, item_bytes } => {
                write!(f, "holds {bytes} bytes in a queue of {queue}, and takes {item_bytes} more")
            }
            Self::Renamed { from, to, tree } => write!(f, "renames {from} to {to} (tree {tree})"),
            Self::Removed { path } => write!(f, "removes {path}"),
            Self::Written { path, bytes } => write!(f, "writes {bytes} bytes to {path}"),
            Self::Live { project, tree: Some(tree) } => write!(f, "holds tree {tree} as `{project}`"),
            Self::Live { project, tree: None } => write!(f, "holds no build of `{project}` any more"),
            Self::ProcessStarted { process, command } => write!(f, "process {process} starts: {command}"),
            Self::ProcessOutput { process, stream, bytes } => {
                write!(f, "process {process} writes to {}: {}", stream.as_str(), bytes.escape_ascii())
            }
            Self::ProcessExited { process, status } => write!(f, "process {process} ends: {status}"),
            Self::Switching { project, build } => {
                write!(f, "begins to switch `{project}` to the build of {}", Short(*build))
            }
            Self::Serves { project, build, .. } => write!(f, "serves the build of {} as `{project}`", Short(*build)),
            Self::Journal(entry) => render_journal(f, entry),
            Self::Crashed { death } => write!(f, "{death}"),
            Self::Restarted => write!(f, "starts again"),
            Self::Healed => write!(f, "everything heals: no more faults"),
            Self::ClientLost { cause, .. } => write!(f, "client loses its node: {cause}"),
            Self::Fault(fault) => write!(f, "fault: {fault}"),
            Self::StrangerSpeaks { port, says } => write!(f, "is visited for {port:?} by a stranger, who says: {says}"),
            Self::StrangerTold { what, .. } => write!(f, "gives the stranger a {what}"),
            Self::TaskPanicked { task, message } => write!(f, "task `{task}` panics: {message}"),
            Self::Stuck { waiting } => write!(f, "stuck; waiting: {}", waiting.join(", ")),
            Self::Hot { polls, last } => write!(f, "no time goes by over {polls} polls; last: {last}"),
            Self::Final(last) => {
                write!(f, "at the end: {} rows, live builds {:?}", last.rows.len(), last.live)
            }
        }
    }
}

fn render_told(f: &mut fmt::Formatter<'_>, reader: u32, answer: &Result<Value, Value>) -> fmt::Result {
    match answer {
        Ok(told) if told["deployments"].is_array() => {
            let listed = told["deployments"].as_array().map_or(0, Vec::len);
            write!(f, "tells reader {reader} of {listed} deployments of {} in all", told["total"])
        }
        Ok(row) => write!(f, "tells reader {reader} of {}: status {}", row["deployment_id"], row["status"]),
        Err(failure) => write!(f, "cannot tell reader {reader}: {failure}"),
    }
}

fn render_got(f: &mut fmt::Formatter<'_>, found: &Result<Option<Rc<Record>>, String>) -> fmt::Result {
    match found {
        Ok(Some(record)) => write!(f, "reads row version {}: {}", record.version, Row(&record.value)),
        Ok(None) => write!(f, "reads no row"),
        Err(error) => write!(f, "cannot read the row: {error}"),
    }
}

fn render_blob(f: &mut fmt::Formatter<'_>, id: BlobId, state: &BlobState) -> fmt::Result {
    let id = Short(id.0);
    match state {
        BlobState::Missing => write!(f, "blob {id} is gone"),
        BlobState::Writing { bytes } => write!(f, "blob {id} has {bytes} bytes so far"),
        BlobState::Complete { bytes } => write!(f, "blob {id} is complete, {bytes} bytes"),
        BlobState::Failed { cause } => write!(f, "blob {id} fails: {cause}"),
    }
}

fn render_journal(f: &mut fmt::Formatter<'_>, entry: &Journal) -> fmt::Result {
    match entry {
        Journal::OperationReceived { origin, .. } => write!(f, "receives the forwarded operation from {origin}"),
        Journal::OperationAnswered { outcome, .. } => write!(f, "answers the operation: {outcome}"),
        Journal::RestartAnswered { outcome, .. } => write!(f, "answers the restart: {outcome}"),
        Journal::Progress { event, data, .. } => write!(f, "{event} {data}"),
        Journal::PayloadDropped { why, .. } => write!(f, "lets the payload go: {why}"),
        Journal::Dropped { what, cause } => write!(f, "lets pass: {what}: {cause}"),
        Journal::Unhandled { task, error } => {
            write!(f, "task `{task}` ends with an error that nobody handles: {error}")
        }
    }
}

/// The first group of an id: enough to tell blobs of one run apart.
struct Short(Uuid);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0.as_fields().0)
    }
}

/// A row's few telling fields.
struct Row<'a>(&'a [u8]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(row) = serde_json::from_slice::<Value>(self.0) else {
            return write!(f, "{} bytes that are no row", self.0.len());
        };
        let text = |field: &str| row[field].as_str().unwrap_or("?").to_owned();
        write!(f, "status {}, phase {}", text("status"), text("phase"))?;
        if row["payload_blob"].is_null() {
            write!(f, ", no payload")?;
        }
        let peers = row["peer_results"].as_array().map_or(&[][..], Vec::as_slice);
        if !peers.is_empty() {
            let told: Vec<_> = peers
                .iter()
                .map(|peer| {
                    format!("{} {}", peer["node"].as_str().unwrap_or("?"), peer["status"].as_str().unwrap_or("?"))
                })
                .collect();
            write!(f, ", peers [{}]", told.join(", "))?;
        }
        Ok(())
    }
}
