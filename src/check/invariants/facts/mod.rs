//! What the invariants need of a trace, worked out once.

mod faults;
mod membership;
mod places;
mod processes;
mod row;
mod waits;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::Value;
use uuid::Uuid;

pub use self::row::Row;
use self::{
    places::Places,
    row::{Rows, unreadable},
};
pub(super) use self::{
    processes::{Exit, deployment_of},
    row::{LogEntry, rank_of},
};
use crate::{
    check::{Death, DeployFacts, Entry, Event, NodeFinal, NodeIndex, Trace, TreeDigest},
    env::{Journal, Key, NodeName, Record},
};

/// A place in the trace.
pub(super) type At = usize;

/// What a read of the table gave.
pub(super) type Read = Result<Option<Rc<Record>>, String>;

/// What an invariant looks at.
pub struct Facts<'a> {
    /// The trace itself.
    pub trace: &'a Trace,
    /// The client's deploys, in the order of their requests.
    pub deploys: Vec<Deploy>,
    /// Every version of a row that a node came to show, in order.
    pub shown: Vec<Shown>,
    /// Every local put, in the order of their snapshots.
    pub puts: Vec<Put>,
    /// Every forwarded operation that reached a peer, in order.
    pub operations: Vec<Operation>,
    /// What nodes hold at the end.
    pub last: BTreeMap<NodeIndex, Rc<NodeFinal>>,
    places: Places,
}

/// A client's deploy.
pub struct Deploy {
    /// What was asked for.
    pub asked: Rc<DeployFacts>,
    /// At which node.
    pub origin: NodeIndex,
    /// When.
    pub requested: At,
    /// The answer, and when it came.
    pub answer: Option<(At, Result<Value, Value>)>,
    /// The deployment's id, by the answer.
    pub id: Option<Uuid>,
    /// The client broke its upload off.
    pub aborted: Option<String>,
    /// When the client lost its node: there is no answer then.
    pub lost: Option<At>,
}

impl Deploy {
    /// The row's key.
    pub fn key(&self) -> Option<Key> {
        self.id.map(|id| id.to_string().into())
    }

    /// Was its client told nothing, and does nobody know its id? An answer without an id is of no deployment.
    pub fn is_untold(&self) -> bool {
        self.id.is_none() && self.answer.is_none()
    }

    /// The failure that the client was told.
    pub fn failure(&self) -> Option<(At, &Value)> {
        self.answer.as_ref().and_then(|(at, answer)| Some((*at, answer.as_ref().err()?)))
    }

    /// Does the failure name what the component itself lacks: a file that it names, every manager that it asks for, or
    /// its archive?
    pub fn blames_component(&self, failure: &Value) -> bool {
        let message = failure["message"].as_str().unwrap_or_default();
        let lacks_manager =
            !self.asked.managers.is_empty() && self.asked.managers.iter().all(|name| message.contains(name));
        let packed = self.asked.archives.filter(|archives| *archives != 1);
        let lacks_archive = packed.is_some_and(|archives| message.contains(&format!(": {archives} archives came")));
        lacks_manager
            || lacks_archive
            || self.asked.missing_entry.as_ref().is_some_and(|missing| message.contains(&**missing))
    }

    /// The success that the client was told.
    pub fn success(&self) -> Option<(At, &Value)> {
        self.answer.as_ref().and_then(|(at, answer)| Some((*at, answer.as_ref().ok()?)))
    }
}

/// A version of a row that came to stand on a node.
pub struct Shown {
    /// When.
    pub at: At,
    /// Where.
    pub node: NodeIndex,
    /// By a commit of this node, rather than by replication.
    pub local: bool,
    /// What.
    pub record: Rc<Record>,
    /// The same, read.
    pub row: Rc<Row>,
}

/// A local put.
pub struct Put {
    /// Where.
    pub node: NodeIndex,
    /// Its number there.
    pub number: u32,
    /// Which row.
    pub key: Key,
    /// When it took its snapshot.
    pub started: At,
    /// When it committed, if it did.
    pub committed: Option<At>,
    /// When the store refused it, if it did.
    pub refused: Option<At>,
    /// Its snapshot, read.
    pub row: Rc<Row>,
}

/// A forwarded operation at a peer.
pub struct Operation {
    /// Whose deploy.
    pub id: Uuid,
    /// The peer.
    pub node: NodeIndex,
    /// When it came.
    pub received: At,
    /// When it was answered, and how.
    pub answered: Option<(At, Value)>,
}

/// Puts that are to end a row, before its deploy is answered without; later ones are tried while nobody waits.
pub(super) const END_TRIES: usize = 5;

impl<'a> Facts<'a> {
    /// Works it out.
    pub fn gather(trace: &'a Trace) -> Self {
        let mut facts = Self {
            trace,
            deploys: Vec::new(),
            shown: Vec::new(),
            puts: Vec::new(),
            operations: Vec::new(),
            last: BTreeMap::new(),
            places: Places::of(trace),
        };
        let mut rows = Rows::default();
        let mut dead = BTreeSet::new();
        for (at, entry) in trace.entries().iter().enumerate() {
            facts.take_client(at, entry);
            let Some(node) = entry.node else { continue };
            match entry.event {
                Event::Crashed { .. } => drop(dead.insert(node)),
                Event::Restarted => drop(dead.remove(&node)),
                _ => {}
            }
            facts.take_store(at, node, &entry.event, &mut rows);
            // What the step at which a node dies still says, nobody hears.
            if !dead.contains(&node) {
                facts.take_operation(at, node, &entry.event);
            }
        }
        facts.know_lost_deploys();
        facts
    }

    /// A client that lost its node was not told the deployment's id: its payload tells it. Rollbacks bring one payload back
    /// under several ids: a row is the deploy's that alone can have put it, so far as there is one.
    fn know_lost_deploys(&mut self) {
        let told: BTreeSet<Key> = self.deploys.iter().filter_map(Deploy::key).collect();
        let mut rows: BTreeMap<&Key, (At, BTreeSet<usize>)> = BTreeMap::new();
        for put in self.puts.iter().filter(|put| !told.contains(&put.key)) {
            let (begun, deploys) = rows.entry(&put.key).or_insert((put.started, BTreeSet::new()));
            let may_be = |deploy: &Deploy| {
                deploy.is_untold()
                    && deploy.origin == put.node
                    && deploy.requested < *begun
                    && put.row.payload_hash.as_ref() == Some(&deploy.asked.payload_hash)
            };
            deploys
                .extend(self.deploys.iter().enumerate().filter(|(_, deploy)| may_be(deploy)).map(|(number, _)| number));
        }
        let mut open: Vec<_> = rows.into_iter().map(|(key, (_, deploys))| (key, deploys)).collect();
        while let Some(forced) = open.iter().position(|(_, deploys)| deploys.len() == 1) {
            let (key, deploys) = open.swap_remove(forced);
            for number in deploys {
                self.deploys[number].id = key.parse().ok();
                for (_, others) in &mut open {
                    others.remove(&number);
                }
            }
        }
    }

    fn take_client(&mut self, at: At, entry: &Entry) {
        match &entry.event {
            Event::DeployRequested(asked) => self.deploys.push(Deploy {
                asked: Rc::clone(asked),
                origin: entry.node.unwrap_or(NodeIndex(0)),
                requested: at,
                answer: None,
                id: None,
                aborted: None,
                lost: None,
            }),
            Event::UploadAborted { deploy, cause } => {
                if let Some(deploy) = self.deploys.get_mut(*deploy as usize) {
                    deploy.aborted = Some(cause.clone());
                }
            }
            Event::ClientLost { deploy, .. } => {
                if let Some(deploy) = self.deploys.get_mut(*deploy as usize) {
                    deploy.lost = Some(at);
                }
            }
            Event::DeployAnswered { deploy, answer } => {
                let told = match answer {
                    Ok(told) | Err(told) => told,
                };
                let Some(deploy) = self.deploys.get_mut(*deploy as usize) else { return };
                deploy.id = told["deployment_id"].as_str().and_then(|id| id.parse().ok());
                deploy.answer = Some((at, answer.clone()));
            }
            _ => {}
        }
    }

    fn take_store(&mut self, at: At, node: NodeIndex, event: &Event, rows: &mut Rows) {
        match event {
            Event::PutStarted { put, key, draft } => {
                let row = rows.read(&draft.value);
                self.puts.push(Put {
                    node,
                    number: *put,
                    key: key.clone(),
                    started: at,
                    committed: None,
                    refused: None,
                    row,
                });
            }
            Event::PutCommitted { put, record } => {
                let started = self.puts.iter_mut().rev().find(|known| known.node == node && known.number == *put);
                let Some(started) = started else { return };
                started.committed = Some(at);
                let row = Rc::clone(&started.row);
                self.shown.push(Shown { at, node, local: true, record: Rc::clone(record), row });
            }
            Event::PutRefused { put, .. } => {
                let mut started = self.puts.iter_mut().rev();
                if let Some(put) = started.find(|known| known.node == node && known.number == *put) {
                    put.refused = Some(at);
                }
            }
            Event::Replicated { record, taken: true } => {
                let row = rows.read(&record.value);
                self.shown.push(Shown { at, node, local: false, record: Rc::clone(record), row });
            }
            Event::Final(last) => drop(self.last.insert(node, Rc::clone(last))),
            _ => {}
        }
    }

    fn take_operation(&mut self, at: At, node: NodeIndex, event: &Event) {
        match event {
            Event::Journal(Journal::OperationReceived { deployment_id, .. }) => {
                self.operations.push(Operation { id: *deployment_id, node, received: at, answered: None });
            }
            Event::Journal(Journal::OperationAnswered { deployment_id, outcome }) => {
                let open = self.operations.iter_mut().rev();
                let mut open = open.filter(|known| known.node == node && known.id == *deployment_id);
                if let Some(operation) = open.next() {
                    operation.answered = Some((at, outcome.clone()));
                }
            }
            _ => {}
        }
    }

    /// A node's name, as rows have it.
    pub fn name(&self, node: NodeIndex) -> String {
        self.trace.name(node)
    }

    /// The node of this name.
    pub fn node_named(&self, name: &str) -> Option<NodeIndex> {
        let mut nodes = self.trace.entries().iter().filter_map(|entry| entry.node);
        nodes.find(|node| self.name(*node) == name)
    }

    /// The event at a place.
    pub fn entry(&self, at: At) -> &Entry {
        &self.trace.entries()[at]
    }

    /// The virtual time of a place.
    pub fn at_ms(&self, at: At) -> u64 {
        self.entry(at).at_ms
    }

    /// The events of a part of the trace, with their places.
    pub fn between(&self, from: At, to: At) -> impl DoubleEndedIterator<Item = (At, &Entry)> {
        self.trace.entries()[from..to].iter().enumerate().map(move |(index, entry)| (from + index, entry))
    }

    /// The place behind the last event.
    pub fn end(&self) -> At {
        self.trace.entries().len()
    }

    /// The age of a deployment (spec 8): its timestamp, then its origin's name, then its id.
    pub fn age(&self, deploy: &Deploy) -> Option<(u64, NodeName, Uuid)> {
        let shown = self.row_at(deploy.origin, &deploy.key()?, self.end())?;
        Some((shown.row.stamp, shown.row.origin_node.clone(), deploy.id?))
    }

    /// The age of a deployment by its id: what any node shows of it.
    pub fn age_of(&self, id: Uuid) -> Option<(u64, NodeName, Uuid)> {
        let key = id.to_string();
        let shown = self.shown.iter().find(|shown| *shown.record.key == *key)?;
        Some((shown.row.stamp, shown.row.origin_node.clone(), id))
    }

    /// The builds of a project that went live on a node, in order: what its live path came to lead to.
    pub fn lives(&self, node: NodeIndex, project: &str) -> Vec<(At, TreeDigest)> {
        let live = format!("components/{project}");
        let here = self.on(node, 0, self.end());
        let lives = here.filter_map(|(at, entry)| match &entry.event {
            Event::Renamed { to, tree, .. } if *to == live => Some((at, *tree)),
            _ => None,
        });
        lives.collect()
    }

    /// Is a swap that a node had made at `live` undone by a place? The disk failed right behind it, and the node took it back; or
    /// the power went before it was durable, and it went too (PREV says when that must not be).
    pub fn swap_was_undone(&self, node: NodeIndex, project: &str, live: At, to: At) -> bool {
        let path = format!("components/{project}");
        // Once another build is brought in, what changes is the next swap.
        let builds = format!("builds/{project}/");
        let another = |event: &Event| matches!(event, Event::Renamed { to, .. } if to.starts_with(&builds));
        // Nor may it go any more once its node has started again, which makes durable what it finds.
        let is_over = |event: &Event| another(event) || matches!(event, Event::Listening { .. });
        let mut later = self.on(node, live + 1, to).take_while(|(_, entry)| !is_over(&entry.event));
        let failed = |event: &Event| matches!(event, Event::Fault(fault) if fault.failed() == Some("disk-fails"));
        let (mut disk_failed, mut power_lost) = (false, false);
        later.any(|(_, entry)| {
            disk_failed |= failed(&entry.event);
            power_lost = match &entry.event {
                Event::Crashed { death } => *death == Death::PowerLoss,
                Event::Restarted => false,
                Event::Live { project: changed, .. } if changed == project && power_lost => return true,
                _ => power_lost,
            };
            let changes = matches!(&entry.event, Event::Removed { path: gone } if *gone == path)
                || matches!(&entry.event, Event::Renamed { to, .. } if *to == path);
            changes && disk_failed
        })
    }

    /// What a node showed of a row at a place.
    pub fn row_at(&self, node: NodeIndex, key: &Key, at: At) -> Option<&Shown> {
        self.shown.iter().rev().find(|shown| shown.at <= at && shown.node == node && shown.record.key == *key)
    }

    /// A peer's reads of the row that it waits for, up to `end`: the first that finds the payload ends the wait.
    pub fn reads_of(&self, operation: &Operation, end: At) -> Vec<(At, &Read)> {
        let wanted = operation.id.to_string();
        let here = self.on(operation.node, operation.received, end);
        let reads = here.filter_map(|(at, entry)| match &entry.event {
            Event::Got { key, found } if **key == *wanted => Some((at, found)),
            _ => None,
        });
        let finds = |read: &Read| matches!(read, Ok(Some(record)) if record.blob.is_some());
        let mut found = false;
        let wait = reads.take_while(|(_, read)| !std::mem::replace(&mut found, finds(read)));
        wait.collect()
    }

    /// May this be the deployment of a deploy whose id nobody knows?
    pub fn may_be_untold(&self, id: Uuid) -> bool {
        let key: Key = id.to_string().into();
        let hash =
            self.shown.iter().filter(|shown| shown.record.key == key).find_map(|shown| shown.row.payload_hash.as_ref());
        self.deploys.iter().any(|deploy| deploy.is_untold() && Some(&deploy.asked.payload_hash) == hash)
    }

    /// A record's row, read.
    pub fn read_row(&self, record: &Rc<Record>) -> Rc<Row> {
        let known = self.shown.iter().find(|shown| shown.record.value == record.value);
        known.map_or_else(|| Rc::new(unreadable()), |shown| Rc::clone(&shown.row))
    }

    /// Had the store refused puts that were to end a row, and taken none up to then? Then the row's end is left to later
    /// tries, and to its origin's next start.
    pub fn end_was_refused(&self, key: &Key, at: At) -> bool {
        let taken = self.ends_of(key).any(|put| put.committed.is_some_and(|committed| committed < at));
        self.refused_ends(key, at) > 0 && !taken
    }

    /// How many puts that were to end a row the store had refused.
    pub fn refused_ends(&self, key: &Key, at: At) -> usize {
        self.ends_of(key).filter(|put| put.refused.is_some_and(|refused| refused < at)).count()
    }

    /// The puts that were to end a row.
    pub fn ends_of<'f>(&'f self, key: &'f Key) -> impl Iterator<Item = &'f Put> + Clone {
        self.puts.iter().filter(move |put| put.key == *key && put.row.is_terminal())
    }

    /// Did the operator leave the rows out of replication?
    pub fn keeps_rows_apart(&self) -> bool {
        let names_system = |value: &Value| {
            value.as_array().is_none_or(|list| list.iter().any(|entry| entry == "system" || entry["name"] == "system"))
        };
        self.between(0, self.end()).any(|(_, entry)| {
            matches!(&entry.event, Event::Setting { name, value } if name == "replication.databases" && !names_system(value))
        })
    }
}
