//! The event log and its puts, against the recorded ones. Two differences are wanted (spec 3): the marker's count is
//! exact, where the original's always said 2; and the end of a deployment is no entry, where the original adds
//! `_recorder_finished`. So the put of that entry alone is none of ours: the terminal one goes at its time. (And a row's
//! phase is null until there is one, where the original says `pending`.)

use std::time::Duration;

use drydock::{
    check::NodeIndex,
    deploy::{
        event::{Event, PhaseStatus, ProgressEmitter},
        event_log::{EventLog, LogEntry},
        install::InstallLine,
        recorder::{NewDeployment, Recorder},
        row::Status,
        slots::ProjectName,
    },
    env::{Env, OutputStream},
    sim::{choice::Calm, cluster::Cluster},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{let_tasks_run, read};
use crate::{
    scripted::{Put, Script, ScriptedEnv},
    story::{cluster_of, tell},
};

fn event(number: u64) -> Event {
    match number {
        0 => Event::phase("prepare", PhaseStatus::Start),
        number => {
            let line = format!("line {number}");
            Event::install(&InstallLine { manager: "npm", stream: OutputStream::Stdout, line: &line })
        }
    }
}

/// What a recorder's log holds in the end, and its puts.
async fn recorded(cluster: Cluster, vector: Value) -> (EventLog, Vec<Put>) {
    let number = |field: &str| vector[field].as_u64().unwrap();
    let put_latencies_ms = vec![number("put_latency_ms"); 1_000];
    let env = ScriptedEnv::new(cluster.env(NodeIndex(0)), Script { put_latencies_ms, ..Script::default() });
    let progress = ProgressEmitter::default();
    let new = NewDeployment::of_project(env.fresh_id(), ProjectName::parse("hello").unwrap());
    let recorder = Recorder::create(&env, &progress, new).await.unwrap();
    progress.emit(&event(0));
    // The original snapshots in the call, our flush in a task of its own: at the same time, but not at once.
    let_tasks_run().await;
    for event in (1..number("events_fed")).map(event) {
        progress.emit(&event);
        if number("gap_ms") > 0 {
            sleep(Duration::from_millis(number("gap_ms"))).await;
        }
    }
    if vector["finish"] == true {
        recorder.finish(Status::Success, None).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    (recorder.snapshot().event_log, env.take_seen().puts)
}

fn compact(entry: &LogEntry) -> Value {
    match &*entry.event {
        "truncated" => json!({ "truncated": entry.data["dropped_events"] }),
        "phase" => {
            json!(format!("{}:{}", entry.data["phase"].as_str().unwrap(), entry.data["status"].as_str().unwrap()))
        }
        _ => entry.data["line"].clone(),
    }
}

/// The recorded log without its end, and with what is truly missing counted.
fn expected(vector: &Value) -> Vec<Value> {
    let mut log = vector["log_compact"].as_array().unwrap().clone();
    let with_end = log.len();
    log.retain(|entry| entry.get("_recorder_finished").is_none());
    let Ok(marker) = usize::try_from(vector["marker_index"].as_i64().unwrap()) else { return log };
    let fed = vector["events_fed"].as_u64().unwrap();
    if log.len() < with_end {
        // The place that the original gives to the end is one event's more.
        log.insert(marker + 1, json!(format!("line {}", fed - (with_end - marker - 2) as u64 - 1)));
    }
    log[marker] = json!({ "truncated": fed - (log.len() as u64 - 1) });
    log
}

/// What a put committed, and when: call, commit, status, phase, length of the log and its last entry.
type Snapshot = (u64, u64, String, String, usize, String);

fn ours(put: &Put) -> Snapshot {
    let row: Value = serde_json::from_slice(&put.draft.value).unwrap();
    let log = row["event_log"].as_array().unwrap();
    let last = log.last().map_or(String::new(), |entry| match entry["event"].as_str() {
        Some("install") => text(&entry["data"]["line"]),
        _ => text(&entry["event"]),
    });
    let phase = row["phase"].as_str().unwrap_or("pending").to_owned();
    (put.called_ms, put.applied_ms, text(&row["status"]), phase, log.len(), last)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Recorded puts as they are without an entry for the end, which `before_end` is the last entry before.
fn theirs(puts: &Value, full: bool, before_end: &str) -> Vec<Snapshot> {
    let (mut snapshots, mut for_the_end) = (vec![], None);
    for put in puts.as_array().unwrap() {
        let number = |field: &str| put[field].as_u64().unwrap();
        let (mut called_ms, mut applied_ms, mut len) = (number("at"), number("done"), number("event_log_len"));
        let mut last = put["last"].as_str().unwrap_or_default();
        if last == "_recorder_finished" {
            if put["status"] != "success" {
                for_the_end = Some((called_ms, applied_ms));
                continue;
            }
            (called_ms, applied_ms) = for_the_end.unwrap_or((called_ms, applied_ms));
            (len, last) = (len - u64::from(!full), before_end);
        }
        snapshots.push((
            called_ms,
            applied_ms,
            text(&put["status"]),
            text(&put["phase"]),
            len as usize,
            last.to_owned(),
        ));
    }
    snapshots
}

fn check_puts(vector: &Value, puts: &[Put], told: &str) {
    let ours: Vec<_> = puts.iter().map(ours).collect();
    let full = vector["marker_index"] != -1;
    let before_end = format!("line {}", vector["events_fed"].as_u64().unwrap() - 1);
    let theirs = |puts: &Value| theirs(puts, full, &before_end);
    // The original's count has the put of the end's entry; without an end it was taken before the last put.
    let count = vector["put_count"].as_u64().unwrap() as usize;
    assert_eq!(ours.len(), if vector["finish"] == true { count - 1 } else { count + 1 }, "{told}");
    if vector["puts"].is_array() {
        return assert_eq!(ours, theirs(&vector["puts"]), "{told}");
    }
    let (first, last) = (theirs(&vector["puts"]["first"]), theirs(&vector["puts"]["last"]));
    assert_eq!((&ours[..first.len()], &ours[ours.len() - last.len()..]), (&*first, &*last), "{told}");
}

fn check(vector: &Value) {
    let asked = vector.clone();
    let ((log, puts), _) = tell(&cluster_of(1), Calm, |cluster| recorded(cluster, asked));
    let told = format!("{} events, {} ms apart", vector["events_fed"], vector["gap_ms"]);
    assert_eq!(log.entries().map(compact).collect::<Vec<_>>(), expected(vector), "{told}");
    check_puts(vector, &puts, &told);
}

#[test]
fn every_recorded_log_is_kept_and_put_but_for_an_exact_count_and_no_entry_for_the_end() {
    let vectors = read(include_str!("../../../fixtures/vectors/event-log.json"));
    vectors["vectors"].as_array().unwrap().iter().for_each(check);
}
