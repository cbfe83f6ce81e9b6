//! A node whose table takes exactly as long as a test says: for recorded schedules that no step of a choice expresses.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use drydock::{
    env::{Beats, Draft, Env, Journal, Key, Kill, LocalFuture, NodeName, Position, Record, StoreError, Table, Version},
    sim::{
        blobs::SimBlobs,
        disk::SimDisk,
        env::SimEnv,
        network::SimNetwork,
        process::SimProcesses,
        serving::SimServing,
        table::{SimChanges, SimRowWatch, SimTable},
    },
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// What a scripted table does; times are milliseconds since its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// The table does not exist.
    pub(crate) no_table: bool,
    /// The rows that stand in it from some time on; the latest that has come is read.
    pub(crate) rows: Vec<(u64, Record)>,
    /// What the k-th read takes; 0 for those beyond.
    pub(crate) get_latencies_ms: Vec<u64>,
    /// Does the k-th read, at this time, fail?
    pub(crate) get_fails: Failures,
    /// What the k-th put takes between its snapshot and its commit; 0 for those beyond.
    pub(crate) put_latencies_ms: Vec<u64>,
}

/// Which reads fail.
#[derive(Clone, Debug, Default)]
pub(crate) enum Failures {
    /// None.
    #[default]
    None,
    /// Those that end before this time.
    Until(u64),
    /// By their number.
    Of(Vec<bool>),
}

impl Failures {
    pub(crate) fn hit(&self, number: usize, now_ms: u64) -> bool {
        match self {
            Self::None => false,
            Self::Until(end) => now_ms < *end,
            Self::Of(numbers) => numbers.get(number).copied().unwrap_or(false),
        }
    }
}

/// A put as it went.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    /// When it took its snapshot.
    pub(crate) called_ms: u64,
    /// When it committed.
    pub(crate) applied_ms: u64,
    /// What it committed.
    pub(crate) draft: Draft,
}

/// What a scripted table saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When each read began.
    pub(crate) polls_ms: Vec<u64>,
    /// Every put, in the order of their commits.
    pub(crate) puts: Vec<Put>,
    /// What the logic told its journal.
    pub(crate) journal: Vec<Journal>,
}

#[derive(Clone)]
pub(crate) struct ScriptedEnv {
    node: SimEnv,
    table: ScriptedTable,
}

#[derive(Clone)]
pub(crate) struct ScriptedTable {
    table: SimTable,
    script: Rc<Script>,
    start: Instant,
    puts_begun: Rc<Cell<usize>>,
    seen: Rc<RefCell<Seen>>,
}

impl ScriptedEnv {
    /// `node`, but for its table, which follows `script` from now on.
    pub(crate) fn new(node: SimEnv, script: Script) -> Self {
        let table = ScriptedTable {
            table: node.table().clone(),
            script: Rc::new(script),
            start: Instant::now(),
            puts_begun: Rc::default(),
            seen: Rc::default(),
        };
        Self { node, table }
    }

    /// What the table saw so far.
    pub(crate) fn take_seen(&self) -> Seen {
        self.table.seen.take()
    }

    /// Milliseconds since the table's start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.table.now_ms()
    }
}

impl ScriptedTable {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn row(&self) -> Option<Rc<Record>> {
        let now = self.now_ms();
        let come = self.script.rows.iter().filter(|(at, _)| *at <= now);
        come.last().map(|(_, record)| Rc::new(record.clone()))
    }
}

async fn wait(ms: &[u64], number: usize) {
    match ms.get(number) {
        None | Some(0) => {}
        Some(ms) => sleep(Duration::from_millis(*ms)).await,
    }
}

impl Table for ScriptedTable {
    type Changes = SimChanges;
    type Watch = SimRowWatch;

    async fn fresh_stamp(&self, after: u64) -> Result<u64, StoreError> {
        self.table.fresh_stamp(after).await
    }

    async fn get(&self, _: &Key) -> Result<Option<Rc<Record>>, StoreError> {
        if self.script.no_table {
            return Err(StoreError::NoTable("hdb_deployment".to_owned()));
        }
        let number = self.seen.borrow().polls_ms.len();
        self.seen.borrow_mut().polls_ms.push(self.now_ms());
        wait(&self.script.get_latencies_ms, number).await;
        match self.script.get_fails.hit(number, self.now_ms()) {
            true => Err(StoreError::Refused(format!("read {number} failed"))),
            false => Ok(self.row()),
        }
    }

    async fn scan(&self) -> Result<Vec<Rc<Record>>, StoreError> {
        Ok(self.row().into_iter().collect())
    }

    async fn put(&self, _: &Key, snapshot: impl FnOnce() -> Draft) -> Result<Version, StoreError> {
        let number = self.puts_begun.replace(self.puts_begun.get() + 1);
        let (called_ms, draft) = (self.now_ms(), snapshot());
        wait(&self.script.put_latencies_ms, number).await;
        self.seen.borrow_mut().puts.push(Put { called_ms, applied_ms: self.now_ms(), draft });
        Ok(Version { stamp: number as u64, node: self.node_name() })
    }

    async fn put_if(&self, record: Record, accept: impl FnOnce(Option<&Record>) -> bool) -> Result<bool, StoreError> {
        self.table.put_if(record, accept).await
    }

    async fn cursor(&self, of: &NodeName) -> Result<Position, StoreError> {
        self.table.cursor(of).await
    }

    async fn save_cursor(&self, of: &NodeName, position: Position) -> Result<(), StoreError> {
        self.table.save_cursor(of, position).await
    }

    fn changes(&self, position: Position) -> SimChanges {
        self.table.changes(position)
    }

    fn watch(&self, key: &Key) -> SimRowWatch {
        self.table.watch(key)
    }
}

impl ScriptedTable {
    fn node_name(&self) -> NodeName {
        NodeName::from("n1")
    }
}

impl Env for ScriptedEnv {
    type Network = SimNetwork;
    type Table = ScriptedTable;
    type Blobs = SimBlobs;
    type Disk = SimDisk;
    type Processes = SimProcesses;
    type Serving = SimServing;

    fn node(&self) -> &NodeName {
        self.node.node()
    }

    fn members(&self) -> Vec<NodeName> {
        self.node.members()
    }

    fn members_changed(&self) -> Beats {
        self.node.members_changed()
    }

    fn setting(&self, name: &str) -> Option<serde_json::Value> {
        self.node.setting(name)
    }

    fn wall_clock_ms(&self) -> u64 {
        self.node.wall_clock_ms()
    }

    fn fresh_id(&self) -> Uuid {
        self.node.fresh_id()
    }

    fn network(&self) -> &SimNetwork {
        self.node.network()
    }

    fn table(&self) -> &ScriptedTable {
        &self.table
    }

    fn blobs(&self) -> &SimBlobs {
        self.node.blobs()
    }

    fn disk(&self) -> &SimDisk {
        self.node.disk()
    }

    fn processes(&self) -> &SimProcesses {
        self.node.processes()
    }

    fn serving(&self) -> &SimServing {
        self.node.serving()
    }

    fn journal(&self, entry: Journal) {
        self.table.seen.borrow_mut().journal.push(entry.clone());
        self.node.journal(entry);
    }

    fn start(&self, name: String, future: LocalFuture) -> Box<dyn Kill> {
        self.node.start(name, future)
    }
}
