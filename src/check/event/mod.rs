//! What can be seen of a run at the seam.
//!
//! [`Event`] is one such thing; what it is about stands in files of its own, and `render` says it in plain words.

mod deploy_facts;
mod fault;
mod node_final;
mod render;
mod sight;

use std::{borrow::Cow, rc::Rc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    deploy_facts::DeployFacts,
    fault::{Death, Fault},
    node_final::NodeFinal,
    sight::TailSight,
};
use crate::{
    check::{NodeIndex, TreeDigest},
    env::{BlobId, BlobState, Command, Draft, ExitStatus, Journal, Key, OutputStream, Port, Position, Record, Version},
};

/// Something that happened at the seam, or that the harness did to the cluster.
///
/// Rendered in plain words: who did what, and which value it was about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        event: Cow<'static, str>,
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
    /// A reader asks a node for deployments, for a payload, or to delete one. What comes of a download is
    /// [`Event::PayloadRead`].
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
        /// When it asked, milliseconds since the start of the run.
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
        queue: Cow<'static, str>,
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
        #[serde(with = "crate::env::legible")]
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
        says: Cow<'static, str>,
    },
    /// It got something from the node.
    StrangerTold {
        /// For what it had connected.
        port: Port,
        /// What kind of thing: `refusal`, `row`, …
        what: Cow<'static, str>,
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
    /// The output of a child process, or how it ends, cannot be told any more.
    ProcessUnreadable {
        /// Its number on this node.
        process: u32,
        /// What the system says.
        cause: String,
    },
    /// The logic ends a child process with its whole group. One that ends with its node is none.
    ProcessKilled {
        /// Its number on this node.
        process: u32,
    },
    /// A switch is over, and requests go where they went.
    NotSwitched {
        /// Of which project.
        project: String,
        /// The deployment whose build it was to be.
        build: Uuid,
    },
    /// Everything has healed, and in the time that what was under way then may take the cluster has not come to rest.
    Unsettled {
        /// That time, milliseconds.
        within_ms: u64,
        /// What is not at rest.
        what: String,
    },
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
