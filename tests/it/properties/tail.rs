//! The live tail against a model: whatever is printed at whatever pace, and whoever comes, lags, leaves and goes on at
//! another node, each visit is the log from its first event on, without gap and repeat, and ends once.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use drydock::{
    check::{Event, NodeIndex, TailSight, Trace},
    env::{ExitStatus, OutputStream},
    sim::{
        choice::Effect, choice::Label, choice::Sequence, choice::Source, cluster::Cluster, process::Script,
        reader::Habit,
    },
};
use futures_util::future::{join, join_all};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{choices, kept_in, source};
use crate::story::{cluster_of, tell};

const NODES: u8 = 3;

/// The most visits of one reader: numbers of visits have room for them.
const VISITS_MAX: u32 = 4;

/// A reader attaches at a node, and leaves or stays to the end.
#[derive(Clone, Debug)]
struct Visit {
    node: u8,
    late_ms: u64,
    pause_ms: u64,
    leaves_after: Option<u32>,
}

/// A line that the installer prints, so many milliseconds after the one before.
type Printed = (u64, u8);

fn visit() -> impl Strategy<Value = Visit> {
    let leaves_after = prop_oneof![2 => Just(None), 3 => (1u32..260).prop_map(Some)];
    (0..NODES, 0u64..120, prop_oneof![3 => Just(0u64), 1 => 1u64..40], leaves_after)
        .prop_map(|(node, late_ms, pause_ms, leaves_after)| Visit { node, late_ms, pause_ms, leaves_after })
}

fn reader() -> impl Strategy<Value = Vec<Visit>> {
    proptest::collection::vec(visit(), 1..VISITS_MAX as usize)
}

/// Few lines, or more than a log keeps.
fn printed() -> impl Strategy<Value = Vec<Printed>> {
    let line = (prop_oneof![4 => Just(0u64), 1 => 1u64..30], any::<u8>());
    prop_oneof![2 => proptest::collection::vec(line.clone(), 0..20), 1 => proptest::collection::vec(line, 150..320)]
}

/// Delays, cuts and any order of tasks, but nothing that fails: the model says what a deploy that succeeds emits.
struct Slow(Sequence);

impl Source for Slow {
    fn draw(&mut self, label: Label, bound: u32) -> u32 {
        match label.kind.effect() {
            Effect::Death | Effect::Failure => 0,
            _ => self.0.draw(label, bound),
        }
    }
}

/// What a deploy that is not replicated emits, in order.
fn emitted(lines: &[Printed]) -> Vec<(&'static str, Value)> {
    let phase = |phase: &str, status: &str| ("phase", json!({ "phase": phase, "status": status }));
    let lines = lines.iter().enumerate().map(|(number, (_, tag))| {
        ("install", json!({ "manager": "npm", "stream": "stdout", "line": text(number, *tag) }))
    });
    let before = [("prepare", "start"), ("extract", "start"), ("extract", "done"), ("install", "start")];
    let after = [("install", "done"), ("load", "start"), ("load", "done"), ("prepare", "done"), ("success", "done")];
    let phases =
        |list: Vec<(&'static str, &'static str)>| list.into_iter().map(move |(name, status)| phase(name, status));
    phases(before.to_vec()).chain(lines).chain(phases(after.to_vec())).collect()
}

fn text(number: usize, tag: u8) -> String {
    format!("line {number} of {tag}")
}

fn script(lines: &[Printed]) -> Script {
    let write = |(number, (pause_ms, tag)): (usize, &Printed)| {
        (Duration::from_millis(*pause_ms), OutputStream::Stdout, Bytes::from(format!("{}\n", text(number, *tag))))
    };
    let writes = lines.iter().enumerate().map(write).collect();
    Script { writes, last_pause: Duration::ZERO, exit: Some(ExitStatus::Code(0)), files: Vec::new() }
}

async fn deploy_with_readers(cluster: Cluster, lines: Vec<Printed>, readers: Vec<Vec<Visit>>) {
    let lines = Rc::new(lines);
    cluster.script(move |_, _| Ok(script(&lines)));
    let tails = readers.into_iter().enumerate().map(|(reader, visits)| visit_all(&cluster, reader as u32, visits));
    let deploy = cluster.deploy(NodeIndex(0), cluster.component().with("replicated", false));
    join(deploy, join_all(tails)).await.0.expect("nothing can fail");
    cluster.settle().await;
}

async fn visit_all(cluster: &Cluster, reader: u32, visits: Vec<Visit>) {
    for (number, visit) in visits.into_iter().enumerate() {
        let [late, pause] = [visit.late_ms, visit.pause_ms].map(Duration::from_millis);
        let habit =
            Habit { reader: reader * VISITS_MAX + number as u32, late, pause, leaves_after: visit.leaves_after };
        cluster.tail_newest(NodeIndex(visit.node), habit).await;
    }
}

/// What a visit saw.
fn sights(trace: &Trace, visit: u32) -> Vec<&TailSight> {
    let seen = trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::Tail { reader, saw, .. } if *reader == visit => Some(saw),
        _ => None,
    });
    seen.collect()
}

/// Holds what a visit saw against what was emitted; returns how many events it was told of.
fn hold_against(emitted: &[(&'static str, Value)], seen: &[&TailSight]) -> u64 {
    let (mut told, mut over) = (0, false);
    for saw in seen {
        match saw {
            TailSight::Attached { .. } | TailSight::Left => {}
            TailSight::Entry { seq, event, data } => {
                assert!(!over, "{seq} came after the end");
                match &**event {
                    "truncated" => assert_eq!(data["dropped_events"], json!(seq - told), "the marker counts the gap"),
                    _ => assert_eq!(
                        (*seq, &**event, data),
                        (told + 1, emitted[*seq as usize - 1].0, &emitted[*seq as usize - 1].1)
                    ),
                }
                told = *seq;
            }
            TailSight::Ended { row } => {
                assert!(!std::mem::replace(&mut over, true), "it ended twice");
                assert_eq!((told, &row["status"]), (emitted.len() as u64, &json!("success")));
            }
            TailSight::Closed => assert!(over, "it closed before its end"),
            TailSight::Failed { .. } | TailSight::Lost => panic!("{saw}"),
        }
    }
    told
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/tail.txt"))]

    #[test]
    fn each_visit_of_a_tail_is_the_log_without_gap_or_repeat_and_ends_once(
        lines in printed(),
        readers in proptest::collection::vec(reader(), 1..4),
        choices in choices(200),
    ) {
        let (expected, visits) = (emitted(&lines), readers.clone());
        let (_, report) = tell(&cluster_of(NODES), Slow(source(choices)), |cluster| deploy_with_readers(cluster, lines, readers));
        for (reader, visits) in visits.iter().enumerate() {
            for (number, visit) in visits.iter().enumerate() {
                let seen = sights(&report.trace, reader as u32 * VISITS_MAX + number as u32);
                if seen.is_empty() {
                    // Its node did not hear of the deployment for as long as a reader looks.
                    continue;
                }
                let told = hold_against(&expected, &seen);
                let left = matches!(seen.last(), Some(TailSight::Left));
                prop_assert!(left == visit.leaves_after.is_some_and(|most| seen.len() as u32 >= most + 2), "{:?} of {:?}", seen.last(), visit);
                prop_assert!(left || told == expected.len() as u64, "a visit that stays sees the end: {:?}", seen.last());
            }
        }
        prop_assert_eq!(report.violation(), None);
    }
}
