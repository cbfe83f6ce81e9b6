//! The persistence of peer outcomes, against the recorded puts and final rows of 5.1.14 (572640741): every snapshot, its
//! times too. Three differences are wanted. The end is no entry of the event log (spec 3). So nothing is left to put
//! between `finish` and the end: where the original puts that entry first, our terminal put goes at once, with all that
//! was dirty. And a row's phase is null until there is one, where the original says `pending`.

use std::time::Duration;

use drydock::{
    check::NodeIndex,
    deploy::{
        event::{Event, PhaseStatus, ProgressEmitter},
        install::InstallLine,
        recorder::{NewDeployment, Recorder},
        row::{Deployment, Status},
        slots::ProjectName,
    },
    env::{Env, OutputStream, Record, Version},
    sim::{choice::Calm, cluster::Cluster},
};
use serde_json::Value;
use tokio::time::sleep;

use super::{let_tasks_run, numbers, read};
use crate::{
    scripted::{Put, Script, ScriptedEnv},
    story::{cluster_of, tell},
};

const VERSION: &str = "572640741";

/// A recorded script's puts, told to our recorder.
async fn puts(cluster: Cluster, vector: Value) -> Vec<Put> {
    let put_latencies_ms = numbers(&vector["put_latencies_ms"]);
    let env = ScriptedEnv::new(cluster.env(NodeIndex(0)), Script { put_latencies_ms, ..Script::default() });
    let progress = ProgressEmitter::default();
    let new = NewDeployment::of_project(env.fresh_id(), ProjectName::parse("hello").unwrap());
    let recorder = Recorder::create(&env, &progress, new).await.unwrap();
    for step in vector["script"].as_array().unwrap() {
        take(&recorder, &progress, step).await;
        // The original snapshots in the call, our flush in a task of its own: at the same time, but not at once.
        let_tasks_run().await;
    }
    sleep(Duration::from_secs(1)).await;
    env.take_seen().puts
}

async fn take(recorder: &Recorder<ScriptedEnv>, progress: &ProgressEmitter, step: &Value) {
    if step["emit"].is_array() {
        progress.emit(&event(&step["emit"]));
    } else if let Some(outcomes) = step["recordPeers"].as_array() {
        recorder.record_peers(outcomes);
    } else if step["seal"] == true {
        recorder.seal();
    } else if step["finish"] == "success" {
        recorder.finish(Status::Success, None).await.unwrap();
    } else {
        // Our types do not let anything but outcomes in.
        assert_eq!(step["recordPeers"], "nope", "a step that is not known");
    }
}

fn event(emitted: &Value) -> Event {
    let data = &emitted[1];
    match (emitted[0].as_str().unwrap(), data["status"].as_str()) {
        ("phase", Some("start")) => Event::phase(data["phase"].as_str().unwrap(), PhaseStatus::Start),
        ("phase", Some("done")) => Event::phase(data["phase"].as_str().unwrap(), PhaseStatus::Done),
        ("install", None) => {
            let line = data["line"].as_str().unwrap();
            Event::install(&InstallLine { manager: "npm", stream: OutputStream::Stdout, line })
        }
        other => panic!("an event that is not known: {other:?}"),
    }
}

fn row(put: &Put) -> Deployment {
    let record = Record {
        key: "it".into(),
        version: Version { stamp: 1, node: "n1".into() },
        value: put.draft.value.clone(),
        blob: None,
    };
    Deployment::from_record(&record).unwrap()
}

/// What a put committed, and when.
#[derive(Debug, PartialEq)]
struct Snapshot {
    called_ms: u64,
    applied_ms: u64,
    status: String,
    phase: String,
    events: u64,
    peers: Vec<String>,
}

fn ours(put: &Put) -> Snapshot {
    let row = row(put);
    let peers = row.peer_results.iter().map(|result| serde_json::to_value(result).unwrap());
    Snapshot {
        called_ms: put.called_ms,
        applied_ms: put.applied_ms,
        status: row.status.to_string(),
        phase: row.phase.unwrap_or_else(|| "pending".to_owned()),
        events: row.event_log.len() as u64,
        peers: peers.map(|peer| format!("{}:{}", text(&peer["node"]), text(&peer["status"]))).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The recorded puts as they are without an entry for the end: every number of events that holds it is one less, and
/// the put for its sake alone is none. The terminal put goes in its place, and takes what the k-th put takes.
fn theirs(vector: &Value) -> Vec<Snapshot> {
    let recorded = &vector["results"][VERSION];
    let with_end = recorded["final_row"]["events"].as_u64().unwrap();
    let latencies_ms = numbers(&vector["put_latencies_ms"]);
    let (mut snapshots, mut for_the_end) = (vec![], None);
    for put in recorded["puts"].as_array().unwrap() {
        let number = |field: &str| put[field].as_u64().unwrap();
        let holds_the_end = number("events") == with_end;
        if holds_the_end && put["status"] != "success" {
            for_the_end = Some(number("call"));
            continue;
        }
        let called_ms = for_the_end.unwrap_or(number("call"));
        snapshots.push(Snapshot {
            called_ms,
            applied_ms: called_ms + latencies_ms[snapshots.len()],
            status: text(&put["status"]),
            phase: text(&put["phase"]),
            events: number("events") - u64::from(holds_the_end),
            peers: put["peers"].as_array().unwrap().iter().map(text).collect(),
        });
    }
    snapshots
}

fn check(vector: &Value) {
    let asked = vector.clone();
    let (puts, _) = tell(&cluster_of(1), Calm, |cluster| puts(cluster, asked));
    let name = &vector["name"];
    assert_eq!(puts.iter().map(ours).collect::<Vec<_>>(), theirs(vector), "{name}");
    let (row, recorded) = (row(puts.last().unwrap()), &vector["results"][VERSION]["final_row"]);
    assert_eq!(serde_json::to_value(&row.peer_results).unwrap(), recorded["peer_results"], "{name}");
    assert_eq!(Value::from(row.completed_at.is_some()), recorded["completed"], "{name}");
}

#[test]
fn every_recorded_script_puts_what_the_original_put_but_nothing_for_an_entry_of_the_end() {
    let vectors = read(include_str!("../../../fixtures/vectors/peer-results-persistence.json"));
    vectors["vectors"].as_array().unwrap().iter().for_each(check);
}
