//! The table in an embedded database: rows, this node's log, and how far it has come in the logs of others.
//!
//! A commit is one transaction, durable when it returns. Commits of a node come one after another: what `accept` of
//! [`Table::put_if`] sees is what its commit replaces.

use std::{cell::RefCell, collections::BTreeMap, io, path::Path, rc::Rc, sync::Arc};

use redb::{Database, ReadableDatabase};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::{
    blocking::blocking,
    database::{CURSORS, LOG, ROWS, commit, commit_cursor, decode, encode, open, read_rows, refused},
    trace::{Intent, Recorder},
};
use crate::check::Event;
use crate::env::{Beats, Changes, Draft, Key, NodeName, Position, Pulse, Record, RowWatch, StoreError, Table, Version};

/// A node's table; clones are handles to the same one.
#[derive(Clone)]
pub struct RealTable(Rc<Shared>);

struct Shared {
    node: NodeName,
    recorder: Recorder,
    database: Arc<Database>,
    /// Whoever commits holds it.
    turn: Arc<Mutex<()>>,
    stamp: RefCell<u64>,
    logged: Pulse,
    /// For rows that have ever been watched: a few bytes for each deployment of this life.
    watched: RefCell<BTreeMap<Key, Pulse>>,
}

/// A commit of a row, under way.
struct Commit {
    /// Held until it is over.
    turn: OwnedMutexGuard<()>,
    /// The number of this node's put; `None` of a row that another node wrote.
    put: Option<u32>,
    record: Rc<Record>,
    intent: Intent,
}

impl Commit {
    /// Commits, tells those who wait for the row, and then who asked.
    async fn run(self, table: RealTable, told: impl FnOnce(Result<(), StoreError>)) {
        let Self { turn: _turn, put, record, intent } = self;
        let (database, key, bytes) = (Arc::clone(&table.0.database), record.key.to_string(), encode(&record));
        let committing = blocking(move || commit(&database, &key, &bytes, put.is_some()).map_err(io::Error::other));
        let committed = committing.await.map_err(|error| StoreError::Refused(error.to_string()));
        table.ended(&intent, put, &record, committed.as_ref());
        told(committed);
    }
}

/// A row can be seen by others as soon as it is in the database, which is before this thread knows of it.
fn intend(recorder: &Recorder, put: Option<u32>, record: &Rc<Record>) -> Intent {
    let record = Rc::clone(record);
    recorder.intend(&match put {
        Some(put) => Event::PutCommitted { put, record },
        None => Event::Replicated { record, taken: true },
    })
}

impl RealTable {
    /// Opens the database at `path`, which is made if it is not there.
    pub(super) fn open(node: NodeName, path: &Path, recorder: Recorder) -> Result<Self, StoreError> {
        let (database, stamp) = open(path)?;
        Ok(Self(Rc::new(Shared {
            node,
            recorder,
            database: Arc::new(database),
            turn: Arc::default(),
            stamp: RefCell::new(stamp),
            logged: Pulse::default(),
            watched: RefCell::default(),
        })))
    }

    fn next_stamp(&self) -> u64 {
        let mut stamp = self.0.stamp.borrow_mut();
        *stamp = (super::env::wall_clock_ms() << 16).max(*stamp + 1);
        *stamp
    }

    /// What this node writes from now on is newer than this.
    fn has_seen(&self, version: &Version) {
        let mut stamp = self.0.stamp.borrow_mut();
        *stamp = (*stamp).max(version.stamp);
    }

    /// Commits a row, and tells those who wait for it. Done to its end, whoever waits: the turn goes with it.
    async fn commit(&self, turn: OwnedMutexGuard<()>, put: Option<u32>, record: Rc<Record>) -> Result<(), StoreError> {
        let (tx, rx) = oneshot::channel();
        let intent = intend(&self.0.recorder, put, &record);
        let work = Commit { turn, put, record, intent }.run(self.clone(), move |committed| {
            // Who asked may have left.
            let _ = tx.send(committed);
        });
        super::env::spawn(work);
        rx.await.unwrap_or_else(|_| Err(StoreError::Refused("the node is shutting down".to_owned())))
    }

    /// A commit is over: records it, and tells those who wait for the row.
    fn ended(&self, intent: &Intent, put: Option<u32>, record: &Rc<Record>, committed: Result<&(), &StoreError>) {
        let recorder = &self.0.recorder;
        let Err(error) = committed else {
            recorder.did(intent);
            return self.tell(&record.key, put.is_some());
        };
        recorder.did_not(intent);
        recorder.broke("put-refused", error);
        if let Some(put) = put {
            recorder.record(&Event::PutRefused { put, cause: error.to_string() });
        }
    }

    /// Every row as it stands.
    pub(super) fn rows(&self) -> Result<Vec<Rc<Record>>, StoreError> {
        read_rows(&self.0.database)
    }

    fn tell(&self, key: &Key, own: bool) {
        if let Some(watched) = self.0.watched.borrow().get(key) {
            watched.beat();
        }
        if own {
            self.0.logged.beat();
        }
    }

    fn find(&self, key: &str) -> Result<Option<Rc<Record>>, StoreError> {
        let reading = self.0.database.begin_read().map_err(refused)?;
        let rows = reading.open_table(ROWS).map_err(refused)?;
        rows.get(key).map_err(refused)?.map(|row| decode(row.value())).transpose()
    }
}

impl Table for RealTable {
    type Changes = RealChanges;
    type Watch = RealRowWatch;

    async fn fresh_stamp(&self) -> Result<u64, StoreError> {
        Ok(self.next_stamp())
    }

    async fn get(&self, key: &Key) -> Result<Option<Rc<Record>>, StoreError> {
        let found = self.find(key);
        if let Err(error) = &found {
            self.0.recorder.broke("get-refused", error);
        }
        let told = found.clone().map_err(|error| error.to_string());
        self.0.recorder.record(&Event::Got { key: Rc::clone(key), found: told });
        found
    }

    async fn scan(&self) -> Result<Vec<Rc<Record>>, StoreError> {
        self.rows()
    }

    async fn put(&self, key: &Key, snapshot: impl FnOnce() -> Draft) -> Result<Version, StoreError> {
        let (put, draft) = (self.0.recorder.next_put(), Rc::new(snapshot()));
        self.0.recorder.record(&Event::PutStarted { put, key: Rc::clone(key), draft: Rc::clone(&draft) });
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let version = Version { stamp: self.next_stamp(), node: self.0.node.clone() };
        let Draft { value, blob } = (*draft).clone();
        let record = Rc::new(Record { key: Rc::clone(key), version: version.clone(), value, blob });
        self.commit(turn, Some(put), record).await?;
        Ok(version)
    }

    async fn put_if(&self, record: Record, accept: impl FnOnce(Option<&Record>) -> bool) -> Result<bool, StoreError> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let (current, record) = (self.find(&record.key)?, Rc::new(record));
        // Before the commit, which outlasts a caller that leaves: no put that comes after it may be older.
        self.has_seen(&record.version);
        if !accept(current.as_deref()) {
            self.0.recorder.record(&Event::Replicated { record, taken: false });
            return Ok(false);
        }
        self.commit(turn, None, record).await?;
        Ok(true)
    }

    async fn cursor(&self, of: &NodeName) -> Result<Position, StoreError> {
        let reading = self.0.database.begin_read().map_err(refused)?;
        let cursors = reading.open_table(CURSORS).map_err(refused)?;
        let position = cursors.get(of.as_str()).map_err(refused)?;
        Ok(position.map_or_else(Position::default, |position| Position(position.value())))
    }

    async fn save_cursor(&self, of: &NodeName, position: Position) -> Result<(), StoreError> {
        let _turn = self.0.turn.lock().await;
        let (database, name) = (Arc::clone(&self.0.database), of.to_string());
        let saved = blocking(move || commit_cursor(&database, &name, position).map_err(io::Error::other)).await;
        saved.map_err(|error| StoreError::Refused(error.to_string()))?;
        if let Some(of) = self.0.recorder.index_of(of) {
            self.0.recorder.record(&Event::CursorSaved { of, position });
        }
        Ok(())
    }

    fn changes(&self, position: Position) -> RealChanges {
        RealChanges { table: self.clone(), logged: self.0.logged.subscribe(), position }
    }

    fn watch(&self, key: &Key) -> RealRowWatch {
        RealRowWatch(self.0.watched.borrow_mut().entry(Rc::clone(key)).or_default().subscribe())
    }
}

/// Sees every commit of a row.
pub struct RealRowWatch(Beats);

impl RowWatch for RealRowWatch {
    async fn changed(&mut self) {
        self.0.changed().await;
    }
}

/// A subscription to the log.
pub struct RealChanges {
    table: RealTable,
    logged: Beats,
    position: Position,
}

impl RealChanges {
    fn look(&self) -> Result<Option<(Position, Rc<Record>)>, StoreError> {
        let reading = self.table.0.database.begin_read().map_err(refused)?;
        let log = reading.open_table(LOG).map_err(refused)?;
        let next = log.range(self.position.0 + 1..).map_err(refused)?.next();
        let Some((position, bytes)) = next.transpose().map_err(refused)? else { return Ok(None) };
        Ok(Some((Position(position.value()), decode(bytes.value())?)))
    }
}

impl Changes for RealChanges {
    async fn next(&mut self) -> Result<(Position, Rc<Record>), StoreError> {
        loop {
            // The subscription is older than the look: what comes between the look and the wait is not missed.
            if let Some((position, record)) = self.look()? {
                self.position = position;
                return Ok((position, record));
            }
            self.logged.changed().await;
        }
    }
}
