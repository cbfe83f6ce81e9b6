//! The table in an embedded database: rows, this node's log, and how far it has come in the logs of others.
//!
//! A commit is one transaction, durable when it returns. Commits of a node come one after another: what `accept` of
//! [`Table::put_if`] sees is what its commit replaces.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::Path,
    rc::Rc,
    sync::Arc,
};

use redb::Database;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    blocking::to_its_end,
    database::{Store, commit, commit_cursor, encode, has_failed, read_cursor, read_log, read_row, read_rows},
    env::spawn_watched,
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
    store: Store,
    /// The store has failed, and is opened anew.
    mending: Cell<bool>,
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
    /// Commits, and tells those who wait for the row.
    async fn run(self, table: RealTable) -> Result<(), StoreError> {
        let Self { turn: _turn, put, record, intent } = self;
        let (key, bytes) = (record.key.to_string(), encode(&record));
        let committed = table.0.store.write(move |database| commit(database, &key, &bytes, put.is_some())).await;
        let committed = committed.map_err(|error| table.refused(error));
        table.ended(&intent, put, &record, committed.as_ref());
        committed
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
        let (store, stamp) = Store::open(path).map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Self::of(node, store, stamp, recorder))
    }

    fn of(node: NodeName, store: Store, stamp: u64, recorder: Recorder) -> Self {
        Self(Rc::new(Shared {
            node,
            recorder,
            store,
            mending: Cell::default(),
            turn: Arc::default(),
            stamp: RefCell::new(stamp),
            logged: Pulse::default(),
            watched: RefCell::default(),
        }))
    }

    fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.0.store.read(work).map_err(|error| self.refused(error))
    }

    /// What an error of the database is to who asked. One after which it takes nothing more has it opened anew.
    fn refused(&self, error: redb::Error) -> StoreError {
        if !has_failed(&error) {
            return StoreError::Refused(error.to_string());
        }
        self.mend();
        StoreError::Refused(match error {
            redb::Error::PreviousIo => "the database has failed, and is opened anew".to_owned(),
            error => format!("the database has failed, and is opened anew: {error}"),
        })
    }

    /// Opens the database anew when nobody writes. When that fails, whoever asks next has it tried again.
    fn mend(&self) {
        if self.0.mending.replace(true) {
            return;
        }
        let table = self.clone();
        spawn_watched(&self.0.recorder, "opening of the database", async move {
            let _turn = table.0.turn.lock().await;
            match table.0.store.reopen().await {
                Ok(stamp) => table.is_mended(stamp),
                Err(error) => table.0.recorder.broke("database-fails", &error),
            }
            table.0.mending.set(false);
        });
    }

    /// A commit that had failed may stand there after all.
    fn is_mended(&self, stamp: u64) {
        self.has_seen(stamp);
        self.0.watched.borrow().values().for_each(Pulse::beat);
        self.0.logged.beat();
    }

    fn next_stamp(&self) -> u64 {
        let mut stamp = self.0.stamp.borrow_mut();
        *stamp = (super::env::wall_clock_ms() << 16).max(*stamp + 1);
        *stamp
    }

    /// What this node writes from now on is newer than this.
    fn has_seen(&self, seen: u64) {
        let mut stamp = self.0.stamp.borrow_mut();
        *stamp = (*stamp).max(seen);
    }

    /// Commits a row, and tells those who wait for it. Done to its end, whoever waits: the turn goes with it.
    async fn commit(&self, turn: OwnedMutexGuard<()>, put: Option<u32>, record: Rc<Record>) -> Result<(), StoreError> {
        let intent = intend(&self.0.recorder, put, &record);
        let commit = Commit { turn, put, record, intent };
        to_its_end(&self.0.recorder, "commit", commit.run(self.clone())).await
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

    /// Every row as it stands, before the node's life begins.
    pub(super) fn rows(&self) -> Result<Vec<Rc<Record>>, StoreError> {
        self.0.store.read(read_rows).map_err(|error| StoreError::Refused(error.to_string()))
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
        self.read(|database| read_row(database, key))
    }
}

impl Table for RealTable {
    type Changes = RealChanges;
    type Watch = RealRowWatch;

    async fn fresh_stamp(&self, after: u64) -> Result<u64, StoreError> {
        self.has_seen(after);
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
        self.read(read_rows)
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
        self.has_seen(record.version.stamp);
        if !accept(current.as_deref()) {
            self.0.recorder.record(&Event::Replicated { record, taken: false });
            return Ok(false);
        }
        self.commit(turn, None, record).await?;
        Ok(true)
    }

    async fn cursor(&self, of: &NodeName) -> Result<Position, StoreError> {
        self.read(|database| read_cursor(database, of.as_str()))
    }

    async fn save_cursor(&self, of: &NodeName, position: Position) -> Result<(), StoreError> {
        let _turn = self.0.turn.lock().await;
        let name = of.to_string();
        let saved = self.0.store.write(move |database| commit_cursor(database, &name, position)).await;
        saved.map_err(|error| self.refused(error))?;
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
        self.table.read(|database| read_log(database, self.position))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{super::database::tests::failing, *};

    #[test]
    fn a_database_that_has_failed_is_opened_anew_and_lost_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let fails = Arc::new(AtomicBool::new(false));
        let store = failing(&directory.path().join("rows.redb"), &fails);
        let recorder = Recorder::open(directory.path(), Vec::new()).unwrap();
        let table = RealTable::of("n1".into(), store, 0, recorder);
        let put =
            async |key: &str| table.put(&key.into(), || Draft { value: b"x".as_slice().into(), blob: None }).await;
        let story = async {
            let mut watch = table.watch(&"a".into());
            put("a").await.unwrap();
            watch.changed().await;
            fails.store(true, Ordering::Relaxed);
            let told = put("b").await.unwrap_err().to_string();
            assert!(told.contains("the database has failed, and is opened anew"), "{told}");
            // It comes back by itself, and who watches looks again.
            watch.changed().await;
            assert!(table.get(&"a".into()).await.unwrap().is_some());
            put("c").await.unwrap();
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, story);
    }
}
