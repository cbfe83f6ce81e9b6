//! The seam: everything through which the deploy logic reaches the outside.
//!
//! [`Env`] is one node's view of its world: its name, its wall clock, its tasks, and the six devices
//! [`Network`], [`Table`], [`Blobs`], [`Disk`], [`Processes`] and [`Serving`]. A *world* implements it; the logic in `deploy` and
//! `replication` is generic over it and cannot tell which world it lives in.
//!
//! Durations are `tokio::time`'s in every world. The seam never decides anything about deployments: which version wins,
//! when to retry and what to keep are the logic's business.
//!
//! Start with [`Env`]; the devices stand in files of their own.

mod blobs;
mod disk;
mod journal;
pub mod legible;
mod network;
mod node;
mod process;
mod pulse;
mod queue;
mod serving;
mod table;
mod task;

use std::future::Future;

pub use self::{
    blobs::{BlobError, BlobId, BlobState, BlobWatch, Blobs},
    disk::{Disk, EntryKind, File, Metadata},
    journal::Journal,
    network::{Accepted, Duplex, Listener, Network, Port},
    node::NodeName,
    process::{Child, Command, ExitStatus, Output, OutputStream, Processes},
    pulse::{Beats, Pulse},
    queue::ByteQueue,
    serving::Serving,
    table::{Changes, Draft, Key, Position, Record, RowWatch, StoreError, Table, Version},
    task::{Kill, LocalFuture, Task},
};

/// One node's view of its world. Clones are handles to the same node.
pub trait Env: Clone + 'static {
    /// Streams to the other nodes.
    type Network: Network;
    /// The replicated table's local copy.
    type Table: Table;
    /// Payload bytes.
    type Blobs: Blobs;
    /// Components and staging directories.
    type Disk: Disk;
    /// Child processes.
    type Processes: Processes;
    /// What answers requests.
    type Serving: Serving;

    /// This node's name, unique in the cluster.
    fn node(&self) -> &NodeName;
    /// Every member of the cluster as this node knows it now, itself included, in name order.
    fn members(&self) -> Vec<NodeName>;
    /// Sees every change of what [`Env::members`] says, from now on.
    fn members_changed(&self) -> Beats;
    /// What the operator has set under `name`, as it is now; `None` when nothing is.
    fn setting(&self, name: &str) -> Option<serde_json::Value>;
    /// The wall clock, epoch milliseconds. It may jump and differ between nodes; for durations use `tokio::time`.
    fn wall_clock_ms(&self) -> u64;
    /// A fresh random id.
    fn fresh_id(&self) -> uuid::Uuid;

    /// See [`Network`].
    fn network(&self) -> &Self::Network;
    /// See [`Table`].
    fn table(&self) -> &Self::Table;
    /// See [`Blobs`].
    fn blobs(&self) -> &Self::Blobs;
    /// See [`Disk`].
    fn disk(&self) -> &Self::Disk;
    /// See [`Processes`].
    fn processes(&self) -> &Self::Processes;
    /// See [`Serving`].
    fn serving(&self) -> &Self::Serving;

    /// Writes an entry into this node's operation log.
    fn journal(&self, entry: Journal);

    /// A queue of this node has taken an item of `item_bytes` bytes, and held `bytes` before it. A world may keep account.
    fn holds(&self, queue: &'static str, bytes: usize, item_bytes: usize) {
        let _ = (queue, bytes, item_bytes);
    }

    /// A queue of at most `bytes_max` bytes and one item, whose fill the world hears of under `name`.
    fn queue<T>(&self, name: &'static str, bytes_max: usize) -> ByteQueue<T> {
        let env = self.clone();
        ByteQueue::new(bytes_max, move |bytes, item_bytes| env.holds(name, bytes, item_bytes))
    }

    /// Starts a task of this node; [`Env::spawn`] is the comfortable form. A crash of the node drops it.
    fn start(&self, name: String, future: LocalFuture) -> Box<dyn Kill>;

    /// Starts a task of this node and returns its handle, which yields its output and cancels it when dropped.
    fn spawn<T: 'static>(&self, name: impl Into<String>, future: impl Future<Output = T> + 'static) -> Task<T> {
        let (task, future) = Task::pair(future);
        task.running(self.start(name.into(), future))
    }

    /// Starts a background task that nobody awaits. An error that leaves it has escaped every handler: it is journalled
    /// as [`Journal::Unhandled`].
    fn spawn_background<E: std::fmt::Display>(
        &self,
        name: impl Into<String>,
        future: impl Future<Output = Result<(), E>> + 'static,
    ) {
        let name = name.into();
        let (env, task) = (self.clone(), name.clone());
        let report = async move {
            if let Err(error) = future.await {
                env.journal(Journal::Unhandled { task, error: error.to_string() });
            }
        };
        self.start(name, Box::pin(report)).detach();
    }
}
