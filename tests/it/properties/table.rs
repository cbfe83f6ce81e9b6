//! The simulated table against a model: whatever it delays, reorders or refuses, and whenever its node dies, it keeps what
//! [`Table`] promises.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::Future,
    rc::Rc,
    time::Duration,
};

use drydock::{
    check::{Death, NodeIndex},
    env::{Changes, Draft, Key, Kill, LocalFuture, Position, Record, StoreError, Table, Version},
    replication::version::supersedes,
    sim::{
        choice::DecisionLog,
        table::SimTable,
        world::{Spawner, World},
    },
};
use proptest::prelude::*;
use tokio::{
    task::{LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::{choices, kept_in, source};

const N1: NodeIndex = NodeIndex(0);

/// Longer than any delay of a choice, and than all that a put can meet.
const LONG: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
enum Step {
    /// A local put begins.
    Put { key: u8 },
    /// A row of another node comes, so many milliseconds younger than the epoch.
    Apply { key: u8, stamp_ms: u16 },
    /// Time goes by.
    Wait { ms: u16 },
    /// The node dies and starts again.
    Crash,
    /// Somebody reads the log from a place on.
    Follow { from: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8).prop_map(|key| Step::Put { key }),
        3 => (0..3_u8, any::<u16>()).prop_map(|(key, stamp_ms)| Step::Apply { key, stamp_ms }),
        4 => (0..500_u16).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Crash),
        2 => (0..8_u8).prop_map(|from| Step::Follow { from }),
    ]
}

/// Tasks of the one node, which its death drops.
#[derive(Default)]
struct Tasks(RefCell<Vec<tokio::task::AbortHandle>>);

impl Tasks {
    #[expect(clippy::disallowed_methods, reason = "there is no node here: these tasks are what one is made of")]
    fn run(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(spawn_local(task).abort_handle());
    }

    fn die(&self) {
        self.0.borrow_mut().drain(..).for_each(|task| task.abort());
    }
}

struct Detached;

impl Kill for Detached {
    fn kill(&self) {}
}

impl Spawner for Tasks {
    fn start(&self, _: Option<NodeIndex>, _: String, future: LocalFuture) -> Box<dyn Kill> {
        self.run(future);
        Box::new(Detached)
    }

    fn horizon(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    fn can_crash(&self) -> bool {
        false
    }

    fn crash(&self, _: NodeIndex, _: Death) {}
    fn revive(&self, _: NodeIndex) {}
    fn lose(&self, _: NodeIndex, _: NodeIndex, _: bool) {}
}

/// What must be true of the table, by what its calls have said and its rows and log have shown.
#[derive(Default)]
struct Model {
    /// Every version that is known to be committed, with its key and value.
    committed: BTreeMap<Version, (Key, u32)>,
    /// Those of this node.
    local: Vec<Version>,
    /// Commits that were told and are not taken in: a panic in a task of the node would be heard by nobody.
    told: Vec<(Version, u32)>,
    /// Values of puts that began and were not told to have ended.
    under_way: BTreeMap<u32, Put>,
    /// Values of puts whose node died before they ended: they are committed, or not.
    lost: BTreeMap<u32, Put>,
    /// The log as somebody has seen it.
    log: Vec<Version>,
}

/// A put.
#[derive(Debug)]
struct Put {
    key: Key,
    /// The newest stamp that was known when it began.
    after: u64,
}

impl Model {
    fn begin(&mut self, value: u32, key: Key) {
        let after = self.committed.keys().map(|version| version.stamp).max().unwrap_or_default();
        self.under_way.insert(value, Put { key, after });
    }

    fn hear(&mut self) {
        for (version, value) in std::mem::take(&mut self.told) {
            self.commit(&version, value);
            self.under_way.remove(&value).expect("it began");
        }
    }

    /// A row or an entry of the log: a commit may be seen before its writer hears of it.
    fn see(&mut self, record: &Record) {
        match self.committed.get(&record.version) {
            Some(known) => assert_eq!((&record.key, value_of(record)), (&known.0, known.1)),
            None => self.commit(&record.version, value_of(record)),
        }
    }

    fn commit(&mut self, version: &Version, value: u32) {
        let Put { key, after } = self.under_way.get(&value).or_else(|| self.lost.get(&value)).expect("somebody put it");
        assert!(version.stamp > *after, "{version} is not newer than what was there");
        match self.committed.insert(version.clone(), (key.clone(), value)) {
            Some(known) => assert_eq!(known, (key.clone(), value)),
            None => self.local.push(version.clone()),
        }
    }

    fn newest(&self, key: &Key) -> Option<(&Version, u32)> {
        let of_key = self.committed.iter().rev().find(|(_, (known, _))| known == key);
        of_key.map(|(version, (_, value))| (version, *value))
    }

    fn check_row(&mut self, key: &Key, shown: Option<&Record>) {
        shown.into_iter().for_each(|record| self.see(record));
        assert_eq!(shown.map(|record| (&record.version, value_of(record))), self.newest(key));
    }

    /// Entries from `from` on; those known already must be the same.
    fn check_log(&mut self, from: usize, seen: &[(Position, Rc<Record>)]) {
        for (offset, (position, record)) in seen.iter().enumerate() {
            assert_eq!(position.0 as usize, from + offset + 1, "positions have no gap");
            self.see(record);
            match self.log.get(from + offset) {
                Some(known) => assert_eq!(*known, record.version, "the log is not written anew"),
                None => self.log.push(record.version.clone()),
            }
        }
    }
}

fn value_of(record: &Record) -> u32 {
    u32::from_le_bytes(record.value.as_ref().try_into().expect("four bytes were put"))
}

fn draft(value: u32) -> Draft {
    Draft { value: value.to_le_bytes().to_vec().into(), blob: None }
}

fn key(number: u8) -> Key {
    format!("k{number}").into()
}

/// The table at work, and what was heard of it.
struct Story {
    table: SimTable,
    tasks: Rc<Tasks>,
    model: Rc<RefCell<Model>>,
    puts: u32,
}

impl Story {
    fn new(choices: Vec<u32>) -> Self {
        let start = tokio::time::Instant::now();
        let world = World::new(1, DecisionLog::new(Box::new(source(choices))), move || start.elapsed());
        let tasks = Rc::new(Tasks::default());
        let spawner: Rc<dyn Spawner> = Rc::<Tasks>::clone(&tasks);
        Self { table: SimTable::new(world, N1, spawner), tasks, model: Rc::default(), puts: 0 }
    }

    async fn tell(&mut self, step: Step) {
        match step {
            Step::Put { key: number } => self.put(key(number)),
            Step::Apply { key: number, stamp_ms } => self.apply(key(number), stamp_ms).await,
            Step::Wait { ms } => sleep(Duration::from_millis(ms.into())).await,
            Step::Crash => self.crash(),
            Step::Follow { from } => self.follow(from.into(), Duration::from_millis(1)).await,
        }
        self.check_rows();
    }

    fn put(&mut self, key: Key) {
        let (value, table, model) = (self.puts, self.table.clone(), Rc::clone(&self.model));
        self.puts += 1;
        model.borrow_mut().begin(value, key.clone());
        self.tasks.run(async move {
            match table.put(&key, || draft(value)).await {
                Ok(version) => model.borrow_mut().told.push((version, value)),
                Err(StoreError::Refused(_)) => drop(model.borrow_mut().under_way.remove(&value)),
                Err(error) => panic!("{error}"),
            }
        });
    }

    async fn apply(&mut self, key: Key, stamp_ms: u16) {
        let value = self.puts;
        self.puts += 1;
        let stamp = (1_735_689_600_000 + u64::from(stamp_ms)) << 16;
        let version = Version { stamp, node: "n2".into() };
        if self.model.borrow().committed.contains_key(&version) {
            return;
        }
        let record = Record { key: key.clone(), version: version.clone(), value: draft(value).value, blob: None };
        let offered = record.clone();
        let taken = match self.table.put_if(record, |current| supersedes(current, &offered)).await {
            Ok(taken) => taken,
            // It left no trace: `check_rows` looks.
            Err(StoreError::Refused(_)) => return,
            Err(error) => panic!("{error}"),
        };
        let mut model = self.model.borrow_mut();
        if taken {
            model.committed.insert(version.clone(), (key.clone(), value));
        }
        model.hear();
        self.table.rows().iter().for_each(|record| model.see(record));
        let newest = model.newest(&key).map(|(newest, _)| newest.clone());
        assert_eq!(taken, newest == Some(version), "what `accept` says of the row as it stands decides");
    }

    /// What was told to be committed is durable; what was under way is committed or not.
    fn crash(&mut self) {
        self.tasks.die();
        self.table.reopen();
        let mut model = self.model.borrow_mut();
        model.hear();
        let lost = std::mem::take(&mut model.under_way);
        model.lost.extend(lost);
    }

    async fn follow(&mut self, from: usize, patience: Duration) {
        let from = from.min(self.model.borrow().log.len());
        let mut changes = self.table.changes(Position(from as u64));
        let mut seen = Vec::new();
        while let Ok(next) = timeout(patience, changes.next()).await {
            seen.push(next.expect("a log can be read"));
        }
        let mut model = self.model.borrow_mut();
        model.hear();
        model.check_log(from, &seen);
    }

    fn check_rows(&self) {
        self.model.borrow_mut().hear();
        let rows: BTreeMap<_, _> = self.table.rows().into_iter().map(|record| (record.key.clone(), record)).collect();
        (0..3).map(key).for_each(|key| self.model.borrow_mut().check_row(&key, rows.get(&key).map(Rc::as_ref)));
    }

    /// Everything has come to rest: the log shows each local commit once.
    async fn end(mut self) {
        sleep(LONG).await;
        self.follow(0, LONG).await;
        let model = self.model.borrow();
        assert!(model.under_way.is_empty(), "a put never ended: {:?}", model.under_way);
        let local: BTreeSet<_> = model.local.iter().collect();
        assert_eq!(local.len(), model.local.len());
        assert_eq!(model.log.len(), model.local.len(), "each commit stands in the log once");
        assert_eq!(model.log.iter().collect::<BTreeSet<_>>(), local);
    }
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/table.txt"))]

    #[test]
    fn a_table_keeps_what_it_said(steps in proptest::collection::vec(step(), 0..40), choices in choices(200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mut story = Story::new(choices);
            for step in steps {
                story.tell(step).await;
            }
            story.end().await;
        });
    }
}
