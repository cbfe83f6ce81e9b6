//! The live tail against a model: whatever a deploy emits at whatever pace (phases, lines of its own installer and of its
//! peers', warnings, outcomes), however it ends, whichever peer dies meanwhile, and whoever comes, lags, leaves and goes on
//! at another node, each visit is the log from its first event on, without gap and repeat, and ends once.

use std::{io, time::Duration};

use bytes::Bytes;
use drydock::{
    check::{Event, NodeIndex, TailSight, Trace},
    deploy::event_log::{ENTRIES_MAX, HEAD_KEPT},
    env::{ExitStatus, OutputStream},
    sim::{
        choice::Effect, choice::Label, choice::Sequence, choice::Source, cluster::Cluster, cluster::Deploy,
        process::Script, reader::Habit,
    },
};
use futures_util::future::{join, join_all};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{choices, kept_in, source};
use crate::story::{cluster_of, tell};

const NODES: u8 = 3;
const ORIGIN: NodeIndex = NodeIndex(0);

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
    prop_oneof![3 => proptest::collection::vec(line.clone(), 0..20), 1 => proptest::collection::vec(line, 150..320)]
}

/// How a deploy goes, as far as it is not a matter of choices.
#[derive(Clone, Debug)]
struct Course {
    replicated: bool,
    /// It counts as a success whatever comes of its peers.
    ignores_peers: bool,
    /// What the installer prints, by node.
    printed: Vec<Vec<Printed>>,
    /// On which nodes the installer fails.
    fails: Vec<bool>,
    /// Lines are so wide, and come so much at once, that a peer cannot tell them as fast as they come.
    wide: bool,
    /// The component asks for a package manager that no node has, and warns.
    warns: bool,
}

fn course() -> impl Strategy<Value = Course> {
    let fails = (prop::bool::weighted(0.15), proptest::collection::vec(prop::bool::weighted(0.3), NODES as usize - 1))
        .prop_map(|(origin, peers)| std::iter::once(origin).chain(peers).collect());
    let flags = (prop::bool::weighted(0.8), any::<bool>(), prop::bool::weighted(0.3), any::<bool>());
    (proptest::collection::vec(printed(), NODES as usize), fails, flags).prop_map(
        |(printed, fails, (replicated, ignores_peers, wide, warns))| Course {
            replicated,
            ignores_peers,
            printed,
            fails,
            wide,
            warns,
        },
    )
}

impl Course {
    fn text(&self, number: usize, tag: u8) -> String {
        let line = format!("line {number} of {tag}");
        if self.wide { format!("{line:<3500}!") } else { line }
    }

    /// The lines of a node's installer.
    fn lines(&self, node: usize) -> Vec<String> {
        self.printed[node].iter().enumerate().map(|(number, (_, tag))| self.text(number, *tag)).collect()
    }

    fn script(&self, node: usize) -> Script {
        let write = |((pause_ms, _), line): (&Printed, String)| {
            let pause_ms = if self.wide { 0 } else { *pause_ms };
            (Duration::from_millis(pause_ms), OutputStream::Stdout, Bytes::from(format!("{line}\n")))
        };
        let writes = self.printed[node].iter().zip(self.lines(node)).map(write).collect();
        let exit = Some(ExitStatus::Code(i32::from(self.fails[node])));
        Script { writes, last_pause: Duration::ZERO, exit, files: Vec::new() }
    }

    fn deploy(&self, cluster: &Cluster) -> Deploy {
        let deploy = cluster.component().with("replicated", self.replicated);
        let deploy = deploy.with("ignore_replication_errors", self.ignores_peers);
        let asked = json!({ "packageManager": { "name": "pnpm", "onFail": "warn" } });
        if self.warns { deploy.with_manifest("devEngines", asked) } else { deploy }
    }
}

/// Delays, cuts, any order of tasks, and peers that die or are cut off; nothing that befalls the origin, whose log is the
/// measure, and no device that fails.
struct Rough(Sequence);

impl Source for Rough {
    fn draw(&mut self, label: Label, bound: u32) -> u32 {
        match label.kind.effect() {
            Effect::Failure | Effect::Refusal => 0,
            Effect::Condition | Effect::Death if label.node.is_none_or(|node| node == ORIGIN) => 0,
            _ => self.0.draw(label, bound),
        }
    }
}

async fn deploy_with_readers(cluster: Cluster, course: Course, readers: Vec<Vec<Visit>>) {
    let (deploy, scripts) = (course.deploy(&cluster), course);
    cluster.script(move |node, command| match &*command.program {
        "npm" => Ok(scripts.script(usize::from(node.0))),
        _ => Err(io::ErrorKind::NotFound.into()),
    });
    let tails = readers.into_iter().enumerate().map(|(reader, visits)| visit_all(&cluster, reader as u32, visits));
    let (_, _) = join(cluster.deploy(ORIGIN, deploy), join_all(tails)).await;
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

type Emitted = Vec<(String, Value)>;

/// What the deploy emitted before its end, in order: its client was there from the first event on, and misses none.
fn emitted(trace: &Trace) -> Emitted {
    let seen = trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::ClientSaw { event, data, .. } => Some((event.clone().into_owned(), data.clone())),
        _ => None,
    });
    seen.filter(|(event, _)| !matches!(&**event, "done" | "error")).collect()
}

/// The deployment's row in the end, on its origin.
fn final_row(trace: &Trace) -> Value {
    let rows = trace.entries().iter().find_map(|entry| match &entry.event {
        Event::Final(holds) if entry.node == Some(ORIGIN) => Some(&holds.rows),
        _ => None,
    });
    serde_json::from_slice(&rows.expect("every run ends with what its nodes hold")[0].value).unwrap()
}

/// The lines that a node's installer is said to have printed, and how many more were left out.
fn told_of(emitted: &Emitted, node: usize) -> (Vec<String>, u64) {
    let name = (node > 0).then(|| json!(format!("n{}", node + 1)));
    let of_node = || emitted.iter().filter(|(_, data)| data.get("node") == name.as_ref());
    let lines = of_node().filter(|(event, _)| event == "install").map(|(_, data)| data["line"].as_str().unwrap());
    let left_out = of_node().filter(|(event, _)| event == "warning").filter_map(|(_, data)| data["lines"].as_u64());
    (lines.map(str::to_owned).collect(), left_out.sum())
}

/// Is `part` what is left of `whole` when some of it is left out?
fn is_part(part: &[String], whole: &[String]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|line| whole.any(|printed| printed == line))
}

/// Holds what was emitted against what the course has: lines, warnings, outcomes and the end.
fn hold_to_course(course: &Course, emitted: &Emitted, row: &Value) {
    let named = |name: &'static str| emitted.iter().filter(move |(event, _)| event == name).map(|(_, data)| data);
    let origin_fails = course.fails[0];
    assert_eq!(told_of(emitted, 0), (course.lines(0), 0), "the origin's own lines are all told");
    let warns = named("warning").any(|data| data["message"].as_str().unwrap().contains("pnpm"));
    assert_eq!(warns, course.warns);
    let outcomes: Vec<_> = named("peer").collect();
    let expected = if course.replicated && !origin_fails { NODES as usize - 1 } else { 0 };
    assert_eq!(outcomes.len(), expected, "{outcomes:?}");
    for node in 1..NODES as usize {
        let (lines, left_out) = told_of(emitted, node);
        assert!(is_part(&lines, &course.lines(node)), "{lines:?}");
        let outcome = outcomes.iter().find(|outcome| outcome["node"] == json!(format!("n{}", node + 1)));
        let succeeds = outcome.is_some_and(|outcome| outcome["status"] == "success");
        assert!(!(succeeds && course.fails[node]), "{outcome:?}");
        let all = course.printed[node].len() as u64;
        assert!(!succeeds || lines.len() as u64 + left_out == all, "{} + {left_out} of {all}", lines.len());
    }
    let all_succeed = outcomes.iter().all(|outcome| outcome["status"] == "success");
    let success = !origin_fails && (course.ignores_peers || all_succeed);
    assert_eq!(row["status"], if success { "success" } else { "failed" });
}

/// Holds the recorder's final log against what was emitted: the first 20 events, what was dropped in one, the newest.
fn hold_log(emitted: &Emitted, log: &Value) {
    let entry = |(index, (event, data)): (usize, &(String, Value))| json!([index + 1, event, data]);
    let mut expected: Vec<Value> = emitted.iter().enumerate().map(entry).collect();
    if let Some(over) = emitted.len().checked_sub(ENTRIES_MAX).filter(|over| *over > 0) {
        let dropped = over + 1;
        let last = HEAD_KEPT + dropped;
        expected.splice(HEAD_KEPT..last, [json!([last, "truncated", { "dropped_events": dropped }])]);
    }
    let log = log.as_array().unwrap().iter().map(|entry| json!([entry["seq"], entry["event"], entry["data"]]));
    assert_eq!(log.collect::<Vec<_>>(), expected);
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
fn hold_visit(emitted: &Emitted, status: &Value, seen: &[&TailSight]) -> u64 {
    let (mut told, mut over) = (0, false);
    for saw in seen {
        match saw {
            TailSight::Attached { .. } | TailSight::Left | TailSight::Lost => {}
            TailSight::Entry { seq, event, data } => {
                assert!(!over, "{seq} came after the end");
                match &**event {
                    "truncated" => assert_eq!(data["dropped_events"], json!(seq - told), "the marker counts the gap"),
                    _ => {
                        let (name, emitted) = &emitted[*seq as usize - 1];
                        assert_eq!((*seq, &**event, data), (told + 1, &**name, emitted));
                    }
                }
                told = *seq;
            }
            TailSight::Ended { row } => {
                assert!(!std::mem::replace(&mut over, true), "it ended twice");
                assert_eq!((told, &row["status"]), (emitted.len() as u64, status));
            }
            TailSight::Closed => assert!(over, "it closed before its end"),
            TailSight::Failed { .. } => panic!("{saw}"),
        }
    }
    told
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/tail.txt"))]

    #[test]
    fn each_visit_of_a_tail_is_the_log_without_gap_or_repeat_and_ends_once(
        course in course(),
        readers in proptest::collection::vec(reader(), 1..4),
        choices in choices(400),
    ) {
        let (told, visits) = (course.clone(), readers.clone());
        let (_, report) = tell(&cluster_of(NODES), Rough(source(choices)), |cluster| deploy_with_readers(cluster, told, readers));
        let (emitted, row) = (emitted(&report.trace), final_row(&report.trace));
        hold_to_course(&course, &emitted, &row);
        hold_log(&emitted, &row["event_log"]);
        for (reader, visits) in visits.iter().enumerate() {
            for (number, visit) in visits.iter().enumerate() {
                let seen = sights(&report.trace, reader as u32 * VISITS_MAX + number as u32);
                if seen.is_empty() {
                    // Its node did not hear of the deployment for as long as a reader looks.
                    continue;
                }
                let told = hold_visit(&emitted, &row["status"], &seen);
                if matches!(seen.last(), Some(TailSight::Lost)) {
                    // Its node died.
                    continue;
                }
                let left = matches!(seen.last(), Some(TailSight::Left));
                prop_assert!(left == visit.leaves_after.is_some_and(|most| seen.len() as u32 >= most + 2), "{:?} of {:?}", seen.last(), visit);
                prop_assert!(left || told == emitted.len() as u64, "a visit that stays sees the end: {:?}", seen.last());
            }
        }
        prop_assert_eq!(report.violation(), None);
    }
}
