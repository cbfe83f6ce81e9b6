//! The table in an embedded database: rows, this node's log, and how far it has come in the logs of others.
//!
//! A commit is one transaction, durable when it returns. Commits of a node come one after another: what `accept` of
//! [`Table::put_if`] sees is what its commit replaces.

use std::{cell::RefCell, collections::BTreeMap, io, path::Path, rc::Rc, sync::Arc};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::blocking::blocking;
use crate::env::{Beats, Changes, Draft, Key, NodeName, Position, Pulse, Record, RowWatch, StoreError, Table, Version};

const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const CURSORS: TableDefinition<'_, &str, u64> = TableDefinition::new("cursors");

/// What the database may hold in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A node's table; clones are handles to the same one.
#[derive(Clone)]
pub struct RealTable(Rc<Shared>);

struct Shared {
    node: NodeName,
    database: Arc<Database>,
    /// Whoever commits holds it.
    turn: Arc<Mutex<()>>,
    stamp: RefCell<u64>,
    logged: Pulse,
    /// For rows that have ever been watched: a few bytes for each deployment of this life.
    watched: RefCell<BTreeMap<Key, Pulse>>,
}

/// What a commit changes.
enum Change {
    /// A row that this node wrote: it stands in its log too.
    Own(Vec<u8>),
    /// A row that another node wrote.
    Others(Vec<u8>),
}

fn refused(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Refused(error.into().to_string())
}

fn encode(record: &Record) -> Vec<u8> {
    postcard::to_stdvec(record).expect("a record holds nothing that postcard cannot encode")
}

fn decode(bytes: &[u8]) -> Result<Rc<Record>, StoreError> {
    let damaged = |error| StoreError::Refused(format!("a row in the database cannot be read: {error}"));
    postcard::from_bytes(bytes).map(Rc::new).map_err(damaged)
}

/// Makes the tables, and finds the greatest timestamp among the rows.
fn open(path: &Path) -> Result<(Database, u64), StoreError> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(refused)?;
    let begun = database.begin_write().map_err(refused)?;
    let mut stamp = 0;
    {
        let rows = begun.open_table(ROWS).map_err(refused)?;
        begun.open_table(LOG).map_err(refused)?;
        begun.open_table(CURSORS).map_err(refused)?;
        for row in rows.iter().map_err(refused)? {
            stamp = stamp.max(decode(row.map_err(refused)?.1.value())?.version.stamp);
        }
    }
    begun.commit().map_err(refused)?;
    Ok((database, stamp))
}

fn commit(database: &Database, key: &str, change: &Change) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    {
        let (Change::Own(bytes) | Change::Others(bytes)) = change;
        begun.open_table(ROWS)?.insert(key, bytes.as_slice())?;
        if let Change::Own(bytes) = change {
            let mut log = begun.open_table(LOG)?;
            let next = log.last()?.map_or(0, |(position, _)| position.value()) + 1;
            log.insert(next, bytes.as_slice())?;
        }
    }
    Ok(begun.commit()?)
}

fn commit_cursor(database: &Database, of: &str, position: Position) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    begun.open_table(CURSORS)?.insert(of, position.0)?;
    Ok(begun.commit()?)
}

impl RealTable {
    /// Opens the database at `path`, which is made if it is not there.
    pub(super) fn open(node: NodeName, path: &Path) -> Result<Self, StoreError> {
        let (database, stamp) = open(path)?;
        Ok(Self(Rc::new(Shared {
            node,
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

    /// Commits a row, and tells those who wait for it. Done to its end, whoever waits: the turn goes with it.
    async fn commit(&self, turn: OwnedMutexGuard<()>, key: &Key, change: Change) -> Result<(), StoreError> {
        let (tx, rx) = oneshot::channel();
        let (table, key) = (self.clone(), Rc::clone(key));
        let work = async move {
            let _turn = turn;
            let own = matches!(change, Change::Own(_));
            let (database, name) = (Arc::clone(&table.0.database), key.to_string());
            let committed = blocking(move || commit(&database, &name, &change).map_err(io::Error::other)).await;
            if committed.is_ok() {
                table.tell(&key, own);
            }
            // Who asked may have left.
            let _ = tx.send(committed.map_err(|error| StoreError::Refused(error.to_string())));
        };
        super::env::spawn(work);
        rx.await.unwrap_or_else(|_| Err(StoreError::Refused("the node is shutting down".to_owned())))
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
        self.find(key)
    }

    async fn scan(&self) -> Result<Vec<Rc<Record>>, StoreError> {
        let reading = self.0.database.begin_read().map_err(refused)?;
        let rows = reading.open_table(ROWS).map_err(refused)?;
        rows.iter().map_err(refused)?.map(|row| decode(row.map_err(refused)?.1.value())).collect()
    }

    async fn put(&self, key: &Key, snapshot: impl FnOnce() -> Draft) -> Result<Version, StoreError> {
        let Draft { value, blob } = snapshot();
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let version = Version { stamp: self.next_stamp(), node: self.0.node.clone() };
        let record = Record { key: Rc::clone(key), version: version.clone(), value, blob };
        self.commit(turn, key, Change::Own(encode(&record))).await?;
        Ok(version)
    }

    async fn put_if(&self, record: Record, accept: impl FnOnce(Option<&Record>) -> bool) -> Result<bool, StoreError> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let current = self.find(&record.key)?;
        if !accept(current.as_deref()) {
            return Ok(false);
        }
        self.commit(turn, &record.key, Change::Others(encode(&record))).await?;
        let mut stamp = self.0.stamp.borrow_mut();
        *stamp = (*stamp).max(record.version.stamp);
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
        let (database, of) = (Arc::clone(&self.0.database), of.to_string());
        let saved = blocking(move || commit_cursor(&database, &of, position).map_err(io::Error::other)).await;
        saved.map_err(|error| StoreError::Refused(error.to_string()))
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
