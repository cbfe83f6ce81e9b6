//! The persistence of peer outcomes, against the recorded final rows of 5.1.14 (572640741). Two differences are wanted:
//! the end is no entry of the event log (spec 3), and a row's phase is null until there is one, where the original says
//! `pending`.

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

use super::{numbers, read};
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

fn check(vector: &Value) {
    let asked = vector.clone();
    let (puts, _) = tell(&cluster_of(1), Calm, |cluster| puts(cluster, asked));
    let recorded = &vector["results"][VERSION];
    let (ours, theirs) = (row(puts.last().unwrap()), &recorded["final_row"]);
    let name = &vector["name"];
    assert_eq!(ours.status.to_string(), theirs["status"].as_str().unwrap(), "{name}");
    assert_eq!(serde_json::to_value(&ours.peer_results).unwrap(), theirs["peer_results"], "{name}");
    assert_eq!(Value::from(ours.completed_at.is_some()), theirs["completed"], "{name}");
    assert_eq!(ours.phase.as_deref().unwrap_or("pending"), theirs["phase"].as_str().unwrap(), "{name}");
    assert_eq!(ours.event_log.len() as u64 + 1, theirs["events"], "{name}");
    assert!(puts.len() <= recorded["puts"].as_array().unwrap().len(), "{name}: {} puts", puts.len());
    assert!(puts.windows(2).all(|pair| pair[0].applied_ms <= pair[1].called_ms), "{name}: two puts at once");
}

#[test]
fn every_recorded_script_ends_in_the_row_of_the_original() {
    let vectors = read(include_str!("../../../fixtures/vectors/peer-results-persistence.json"));
    vectors["vectors"].as_array().unwrap().iter().for_each(check);
}
