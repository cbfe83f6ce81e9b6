//! Puts the traces of several nodes into one order, as one run.
//!
//! Nobody records his own death: a life that is followed by another one, or that ends without a word, ended behind the last
//! line that it wrote. Numbers that each life counts anew go on from those of the life before.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    clients::Client,
    line::{Stamp, What},
    reading::{LifeTrace, NodeTrace},
};
use crate::{
    check::{Death, Entry, Event, NodeIndex, TailSight, Trace, TreeDigest},
    env::{BlobId, BlobState, Key, NodeName, Version},
};

/// Readers of one node, at most: those of all nodes are numbered apart.
const READERS_MAX: u32 = 10_000_000;

/// The events of a run before they are in order.
#[derive(Default)]
pub(super) struct Merge {
    /// When, in which order of adding, where, what.
    events: Vec<(Stamp, usize, Option<NodeIndex>, Event)>,
    pub(super) clients: Vec<Client>,
    settings: BTreeSet<(String, String)>,
}

/// What the lives of one node have counted and known so far.
#[derive(Default)]
struct Before {
    puts: u32,
    processes: u32,
    links: u32,
    /// Readers that may still wait for more, with the row of each.
    readers: BTreeMap<u32, Key>,
    readers_seen: u32,
    blobs: BTreeMap<BlobId, BlobState>,
    /// What is live of each project.
    live: BTreeMap<String, TreeDigest>,
}

impl Merge {
    pub(super) fn add(&mut self, at: Stamp, node: Option<NodeIndex>, event: Event) {
        let order = self.events.len();
        self.events.push((at, order, node, event));
    }

    /// Adds what a node's trace says. `rows` are what it holds at the end, if that is known; `stopped` says that its last
    /// life ended because the run was over.
    pub(super) fn add_node(
        &mut self,
        node: NodeIndex,
        trace: &NodeTrace,
        rows: Option<&[(Key, Version)]>,
        stopped: bool,
    ) {
        let mut before = Before::default();
        for (index, life) in trace.lives.iter().enumerate() {
            let next = trace.lives.get(index + 1);
            match index {
                // The membership is that of the configuration, which is the same in all lives.
                0 => self.add(life.began, Some(node), Event::MembersKnown(members_of(life))),
                _ => self.add(life.began, Some(node), Event::Restarted),
            }
            self.begin(node, life, &before);
            let rows = next.map(|next| &next.life.rows[..]).or(rows);
            self.add_life(node, life, rows, &mut before);
            self.find_clients(node, life, next);
            if next.is_some() || !(stopped || life.ended.is_some()) {
                self.add(life.last(), Some(node), Event::Crashed { death: Death::Closed });
            }
        }
    }

    /// What a node knows and holds when a life begins.
    fn begin(&mut self, node: NodeIndex, life: &LifeTrace, before: &Before) {
        for (name, value) in &life.life.settings {
            if self.settings.insert((name.clone(), value.to_string())) {
                self.add(life.began, None, Event::Setting { name: name.clone(), value: value.clone() });
            }
        }
        let gone = before.blobs.keys().filter(|id| !life.life.blobs.contains_key(id));
        let gone: Vec<_> = gone.map(|id| (*id, BlobState::Missing)).collect();
        let held = life.life.blobs.iter().map(|(id, state)| (*id, state.clone()));
        for (id, state) in gone.into_iter().chain(held) {
            if before.blobs.get(&id) != Some(&state) {
                self.add(life.began, Some(node), Event::Blob { id, state });
            }
        }
    }

    fn add_life(&mut self, node: NodeIndex, life: &LifeTrace, rows: Option<&[(Key, Version)]>, before: &mut Before) {
        let mut after =
            Before { blobs: life.life.blobs.clone(), readers: BTreeMap::new(), live: before.live.clone(), ..*before };
        let mut intents = BTreeMap::new();
        for (at, what) in &life.lines {
            match what {
                What::Event(event) => self.add_counted(*at, node, event, before, &mut after),
                What::Intends(event) => drop(intents.insert(*at, event)),
                What::Did(intended) => {
                    if let Some(event) = intents.remove(intended) {
                        self.add_counted(*intended, node, event, before, &mut after);
                    }
                }
                What::DidNot(intended) => drop(intents.remove(intended)),
                _ => {}
            }
        }
        // What the node did not live to say: whether it happened, its rows tell.
        for (at, event) in intents {
            if rows.is_some_and(|rows| is_committed(event, rows)) {
                self.add_counted(at, node, event, before, &mut after);
            }
        }
        for (reader, key) in std::mem::take(&mut after.readers) {
            self.add(life.last(), Some(node), Event::Tail { reader, key, saw: TailSight::Lost });
        }
        *before = after;
    }

    /// Adds an event, numbered behind those of earlier lives.
    fn add_counted(&mut self, at: Stamp, node: NodeIndex, event: &Event, before: &Before, after: &mut Before) {
        let mut event = event.clone();
        let behind = |number: &mut u32, before: u32, after: &mut u32| {
            *number += before;
            *after = (*after).max(*number + 1);
        };
        match &mut event {
            Event::PutStarted { put, .. } | Event::PutCommitted { put, .. } | Event::PutRefused { put, .. } => {
                behind(put, before.puts, &mut after.puts);
            }
            Event::ProcessStarted { process, .. }
            | Event::ProcessOutput { process, .. }
            | Event::ProcessUnreadable { process, .. }
            | Event::ProcessKilled { process }
            | Event::ProcessExited { process, .. } => behind(process, before.processes, &mut after.processes),
            Event::Speaks { link, .. } | Event::Hears { link, .. } => behind(link, before.links, &mut after.links),
            Event::Tail { reader, key, saw } => {
                behind(reader, before.readers_seen, &mut after.readers_seen);
                *reader += u32::from(node.0) * READERS_MAX;
                match saw {
                    TailSight::Attached { .. } | TailSight::Entry { .. } | TailSight::Ended { .. } => {
                        after.readers.insert(*reader, key.clone());
                    }
                    _ => drop(after.readers.remove(reader)),
                }
            }
            Event::Blob { id, state } => drop(after.blobs.insert(*id, state.clone())),
            Event::Live { project, tree: Some(tree) } => drop(after.live.insert(project.clone(), *tree)),
            Event::Live { project, tree: None } => drop(after.live.remove(project)),
            // A node serves through its live path.
            Event::Serves { project, tree, .. } => *tree = after.live.get(project).copied(),
            _ => {}
        }
        let logged = match &event {
            Event::PutCommitted { record, .. } => Some((record.key.clone(), record.version.clone())),
            _ => None,
        };
        self.add(at, Some(node), event);
        // The log is a part of the same transaction.
        if let Some((key, version)) = logged {
            self.add(at, Some(node), Event::Logged { key, version });
        }
    }

    fn find_clients(&mut self, node: NodeIndex, life: &LifeTrace, next: Option<&LifeTrace>) {
        let mut here: BTreeMap<u32, Client> = BTreeMap::new();
        for (at, what) in &life.lines {
            let What::Client { client, did } = what else { continue };
            here.entry(*client).or_insert_with(|| Client::new(node)).acts.push((*at, did.clone()));
        }
        let last = life.last();
        here.values_mut().for_each(|client| client.ends_with(last, next));
        self.clients.extend(here.into_values());
    }

    /// When the first thing happened.
    fn start(&self) -> Stamp {
        self.events.iter().map(|(at, ..)| *at).min().unwrap_or_else(Stamp::now)
    }

    /// All of it in order.
    pub(super) fn into_trace(mut self, names: Vec<NodeName>) -> Trace {
        let start = self.start();
        self.events.sort_by_key(|(at, order, ..)| (*at, *order));
        let (mut trace, mut at_ms) = (Trace::of_machine(names), 0);
        for (at, _, node, event) in self.events {
            if at != Stamp::LAST {
                at_ms = at.ms_since(start);
            }
            trace.push(Entry { at_ms, node, event });
        }
        trace
    }
}

fn members_of(life: &LifeTrace) -> Vec<NodeIndex> {
    (0..life.life.members.len() as u8).map(NodeIndex).collect()
}

/// Is what a node was about to commit among its rows, or something newer?
pub(super) fn is_committed(event: &Event, rows: &[(Key, Version)]) -> bool {
    let (Event::PutCommitted { record, .. } | Event::Replicated { record, .. }) = event else { return false };
    rows.iter().any(|(key, version)| *key == record.key && *version >= record.version)
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, rc::Rc};

    use super::{
        super::{line::Life, rest},
        *,
    };
    use crate::env::{Draft, Record};

    fn version(stamp: u64) -> Version {
        Version { stamp, node: "n1".into() }
    }

    /// A life in which a put began, and its commit was intended and no more.
    fn cut_short(began: u64, stamp: u64) -> LifeTrace {
        let (key, value): (Key, bytes::Bytes) = ("row".into(), "{}".into());
        let draft = Rc::new(Draft { value: value.clone(), blob: None });
        let record = Rc::new(Record { key: Rc::clone(&key), version: version(stamp), value, blob: None });
        let lines = [
            What::Event(Cow::Owned(Event::PutStarted { put: 0, key, draft })),
            What::Intends(Cow::Owned(Event::PutCommitted { put: 0, record })),
        ];
        let life = Life {
            node: "n1".into(),
            members: vec!["n1".into()],
            settings: BTreeMap::new(),
            rows: Vec::new(),
            blobs: BTreeMap::new(),
        };
        let lines = (began + 1..).map(Stamp::at).zip(lines).collect();
        LifeTrace { life, began: Stamp::at(began), lines, ended: None }
    }

    fn merged(lives: Vec<LifeTrace>, rows: &[(Key, Version)]) -> Vec<Event> {
        let mut merge = Merge::default();
        merge.add_node(NodeIndex(0), &NodeTrace { lives, holes: Vec::new() }, Some(rows), true);
        merge.into_trace(vec!["n1".into()]).entries().iter().map(|entry| entry.event.clone()).collect()
    }

    fn commits(events: &[Event]) -> usize {
        events.iter().filter(|event| matches!(event, Event::PutCommitted { .. })).count()
    }

    #[test]
    fn whether_the_last_commit_of_a_life_happened_its_rows_tell() {
        for (stands, expected) in [(6, 0), (7, 1), (8, 1)] {
            let events = merged(vec![cut_short(0, 7)], &[("row".into(), version(stands))]);
            assert_eq!(commits(&events), expected, "version {stands} stands there");
            let logged = events.iter().filter(|event| matches!(event, Event::Logged { .. })).count();
            assert_eq!(logged, expected);
        }
    }

    #[test]
    fn a_commit_that_the_next_life_found_is_one_of_the_rows_by_which_rest_is_seen() {
        for (found, shown) in [(6, None), (7, Some(version(7)))] {
            let mut next = cut_short(10, 8);
            next.life.rows = vec![("row".into(), version(found))];
            let rows = rest::rows_of(&NodeTrace { lives: vec![cut_short(0, 7), next], holes: Vec::new() });
            assert_eq!(rows.get("row").map(|record| record.version.clone()), shown);
        }
    }

    #[test]
    fn a_life_that_another_one_follows_died_behind_its_last_line_and_numbers_go_on() {
        let events = merged(vec![cut_short(0, 7), cut_short(10, 8)], &[]);
        let puts: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::PutStarted { put, .. } => Some(*put),
                _ => None,
            })
            .collect();
        assert_eq!(puts, [0, 1]);
        let told: Vec<_> = events.iter().map(ToString::to_string).collect();
        let place = |words: &str| told.iter().position(|event| event.contains(words)).unwrap();
        assert!(place("put 0 takes") < place("crashes") && place("crashes") < place("starts again"), "{told:?}");
        assert!(place("starts again") < place("put 1 takes"));
    }
}
