//! The event log, against the recorded ones. Two differences are wanted (spec 3): the marker's count is exact, where the
//! original's always said 2; and the end of a deployment is no entry, where the original adds `_recorder_finished`.

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

use super::read;
use crate::{
    scripted::{Script, ScriptedEnv},
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

/// What a recorder's log holds in the end, and how many puts it took.
async fn recorded(cluster: Cluster, vector: Value) -> (EventLog, usize) {
    let number = |field: &str| vector[field].as_u64().unwrap();
    let put_latencies_ms = vec![number("put_latency_ms"); 1_000];
    let env = ScriptedEnv::new(cluster.env(NodeIndex(0)), Script { put_latencies_ms, ..Script::default() });
    let progress = ProgressEmitter::default();
    let new = NewDeployment::of_project(env.fresh_id(), ProjectName::parse("hello").unwrap());
    let recorder = Recorder::create(&env, &progress, new).await.unwrap();
    for event in (0..number("events_fed")).map(event) {
        progress.emit(&event);
        sleep(Duration::from_millis(number("gap_ms"))).await;
    }
    if vector["finish"] == true {
        recorder.finish(Status::Success, None).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    (recorder.snapshot().event_log, env.take_seen().puts.len())
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

fn check(vector: &Value) {
    let asked = vector.clone();
    let ((log, puts), _) = tell(&cluster_of(1), Calm, |cluster| recorded(cluster, asked));
    let told = format!("{} events, {} ms apart", vector["events_fed"], vector["gap_ms"]);
    assert_eq!(log.entries().map(compact).collect::<Vec<_>>(), expected(vector), "{told}");
    // The original does not count the put of `create`.
    assert!(puts as u64 <= 1 + vector["put_count"].as_u64().unwrap(), "{told}: {puts} puts");
}

#[test]
fn every_recorded_log_is_kept_but_for_an_exact_count_and_no_entry_for_the_end() {
    let vectors = read(include_str!("../../../fixtures/vectors/event-log.json"));
    vectors["vectors"].as_array().unwrap().iter().for_each(check);
}
