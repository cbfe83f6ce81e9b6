//! A simulated node's copy of the table.
//!
//! The design claims to survive that puts take any time before their snapshot, before their commit and before the log
//! shows them or their writer hears of them; that puts of one key commit in any order; that what was read is old by the
//! time it is heard; that a read, a progress put, a replicated row or the saving of a cursor fails.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use tokio::sync::Notify;

use super::{choice::Kind, world::Spawner, world::World};
use crate::{
    check::{Event, NodeIndex},
    env::{Beats, Changes, Draft, Key, NodeName, Position, Pulse, Record, RowWatch, StoreError, Table, Version},
};

/// What survives a crash of the node.
#[derive(Default)]
struct Stored {
    rows: BTreeMap<Key, Rc<Record>>,
    log: Vec<Rc<Record>>,
    /// How far this node has come in the logs of others.
    cursors: BTreeMap<NodeName, Position>,
    /// Commits that the log does not show yet.
    unshown: Vec<Rc<Record>>,
    stamp: u64,
}

/// A node's table; clones are handles to the same one.
#[derive(Clone)]
pub struct SimTable {
    world: Rc<World>,
    node: NodeIndex,
    tasks: Rc<dyn Spawner>,
    stored: Rc<RefCell<Stored>>,
    logged: Rc<Notify>,
    watched: Rc<RefCell<BTreeMap<Key, Pulse>>>,
    puts: Rc<Cell<u32>>,
}

impl SimTable {
    /// An empty table of `node`.
    pub fn new(world: Rc<World>, node: NodeIndex, tasks: Rc<dyn Spawner>) -> Self {
        let (stored, logged, watched, puts) = Default::default();
        Self { world, node, tasks, stored, logged, watched, puts }
    }

    /// Every row as it stands, for the harness.
    pub fn rows(&self) -> Vec<Rc<Record>> {
        self.stored.borrow().rows.values().cloned().collect()
    }

    /// A new life begins: what is committed is in the log.
    pub fn reopen(&self) {
        let unshown = self.stored.borrow().unshown.clone();
        unshown.into_iter().for_each(|record| self.append(record));
    }

    fn record(&self, event: Event) {
        self.world.record(Some(self.node), event);
    }

    fn next_stamp(&self, after: u64) -> u64 {
        let mut stored = self.stored.borrow_mut();
        let last = stored.stamp.max(after);
        stored.stamp = (self.world.wall_clock_ms(self.node) << 16).max(last + 1);
        stored.stamp
    }

    fn commit(&self, put: u32, key: &Key, draft: &Draft) -> Rc<Record> {
        let stamp = self.next_stamp(0);
        let version = Version { stamp, node: self.world.cluster()[usize::from(self.node.0)].clone() };
        let record = Rc::new(Record { key: key.clone(), version, value: draft.value.clone(), blob: draft.blob });
        self.stored.borrow_mut().rows.insert(key.clone(), Rc::clone(&record));
        self.record(Event::PutCommitted { put, record: Rc::clone(&record) });
        self.tell_watchers(key);
        record
    }

    fn tell_watchers(&self, key: &Key) {
        if let Some(watched) = self.watched.borrow().get(key) {
            watched.beat();
        }
    }

    /// Lets the log show a commit: at once, or as much later as the choice says.
    fn show(&self, record: Rc<Record>) {
        self.stored.borrow_mut().unshown.push(Rc::clone(&record));
        let Some(delay) = self.world.draw_delay(self.node, Kind::PutLogged) else { return self.append(record) };
        let table = self.clone();
        let later = async move {
            tokio::time::sleep(delay).await;
            table.append(record);
        };
        self.tasks.start(Some(self.node), "store: log".to_owned(), Box::pin(later)).detach();
    }

    fn append(&self, record: Rc<Record>) {
        self.record(Event::Logged { key: record.key.clone(), version: record.version.clone() });
        {
            let mut stored = self.stored.borrow_mut();
            stored.unshown.retain(|unshown| !Rc::ptr_eq(unshown, &record));
            stored.log.push(record);
        }
        self.logged.notify_waiters();
    }

    /// What the table has done or found is told: others come to their turn before it is heard, however fast the device is.
    async fn answer(&self, kind: Kind) {
        tokio::task::yield_now().await;
        self.world.delay(self.node, kind).await;
    }

    async fn refuse(&self, kind: Kind) -> Result<(), StoreError> {
        match self.world.fails(self.node, kind).await {
            true => Err(StoreError::Refused(format!("{kind} on {}", self.node))),
            false => Ok(()),
        }
    }
}

impl Table for SimTable {
    type Changes = SimChanges;
    type Watch = SimRowWatch;

    async fn fresh_stamp(&self, after: u64) -> Result<u64, StoreError> {
        Ok(self.next_stamp(after))
    }

    async fn get(&self, key: &Key) -> Result<Option<Rc<Record>>, StoreError> {
        self.world.delay(self.node, Kind::Get).await;
        let refused = self.refuse(Kind::GetRefused).await;
        let found = refused.map(|()| self.stored.borrow().rows.get(key).cloned());
        let told = found.clone().map_err(|error| error.to_string());
        self.record(Event::Got { key: key.clone(), found: told });
        self.answer(Kind::GetAnswer).await;
        found
    }

    async fn scan(&self) -> Result<Vec<Rc<Record>>, StoreError> {
        self.world.delay(self.node, Kind::Get).await;
        self.refuse(Kind::GetRefused).await?;
        let rows = self.rows();
        self.answer(Kind::GetAnswer).await;
        Ok(rows)
    }

    async fn put(&self, key: &Key, snapshot: impl FnOnce() -> Draft) -> Result<Version, StoreError> {
        let put = self.puts.replace(self.puts.get() + 1);
        self.world.delay(self.node, Kind::PutStart).await;
        let draft = Rc::new(snapshot());
        self.record(Event::PutStarted { put, key: key.clone(), draft: Rc::clone(&draft) });
        self.world.delay(self.node, Kind::PutCommit).await;
        if let Err(error) = self.refuse(Kind::PutRefused).await {
            self.record(Event::PutRefused { put, cause: error.to_string() });
            return Err(error);
        }
        let record = self.commit(put, key, &draft);
        let version = record.version.clone();
        self.show(record);
        self.answer(Kind::PutAnswer).await;
        Ok(version)
    }

    async fn put_if(&self, record: Record, accept: impl FnOnce(Option<&Record>) -> bool) -> Result<bool, StoreError> {
        self.world.delay(self.node, Kind::Apply).await;
        self.refuse(Kind::ApplyRefused).await?;
        let record = Rc::new(record);
        let taken = accept(self.stored.borrow().rows.get(&record.key).map(Rc::as_ref));
        {
            let mut stored = self.stored.borrow_mut();
            stored.stamp = stored.stamp.max(record.version.stamp);
            if taken {
                stored.rows.insert(record.key.clone(), Rc::clone(&record));
            }
        }
        let key = record.key.clone();
        self.record(Event::Replicated { record, taken });
        if taken {
            self.tell_watchers(&key);
        }
        Ok(taken)
    }

    async fn cursor(&self, of: &NodeName) -> Result<Position, StoreError> {
        self.world.delay(self.node, Kind::Get).await;
        self.refuse(Kind::GetRefused).await?;
        let cursor = self.stored.borrow().cursors.get(of).copied().unwrap_or_default();
        self.answer(Kind::GetAnswer).await;
        Ok(cursor)
    }

    async fn save_cursor(&self, of: &NodeName, position: Position) -> Result<(), StoreError> {
        self.world.delay(self.node, Kind::CursorSave).await;
        self.refuse(Kind::CursorRefused).await?;
        self.stored.borrow_mut().cursors.insert(of.clone(), position);
        if let Some(of) = self.world.index_of(of) {
            self.record(Event::CursorSaved { of, position });
        }
        Ok(())
    }

    fn changes(&self, position: Position) -> SimChanges {
        SimChanges { stored: Rc::clone(&self.stored), logged: Rc::clone(&self.logged), position }
    }

    fn watch(&self, key: &Key) -> SimRowWatch {
        let mut watched = self.watched.borrow_mut();
        SimRowWatch(watched.entry(key.clone()).or_default().subscribe())
    }
}

/// Sees every commit of a simulated row.
pub struct SimRowWatch(Beats);

impl RowWatch for SimRowWatch {
    async fn changed(&mut self) {
        self.0.changed().await;
    }
}

/// A subscription to a simulated log.
pub struct SimChanges {
    stored: Rc<RefCell<Stored>>,
    logged: Rc<Notify>,
    position: Position,
}

impl Changes for SimChanges {
    async fn next(&mut self) -> Result<(Position, Rc<Record>), StoreError> {
        loop {
            // Ask to be told first: an entry that comes between the look and the wait must not be missed.
            let logged = self.logged.notified();
            let entry = self.stored.borrow().log.get(self.position.0 as usize).cloned();
            if let Some(record) = entry {
                self.position.0 += 1;
                return Ok((self.position, record));
            }
            logged.await;
        }
    }
}
