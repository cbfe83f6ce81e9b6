//! Operations that do not fit a frame.

use std::{sync::Arc, time::Duration};

use drydock::{
    check::NodeIndex,
    replication::operations,
    sim::{choice::Calm, cluster::Cluster, component::Component, run::Params},
};
use serde_json::json;

use crate::story::{cluster_of, tell};

/// What the second node answers to an operation of so many bytes that say nothing.
fn answer_to(bytes: usize) -> String {
    let story = async move |cluster: Cluster| {
        let env = cluster.env(NodeIndex(0));
        let operation = vec![b'x'; bytes].into();
        let call = async move |env| {
            let answer = operations::call(&env, &"n2".into(), &operation, Duration::from_secs(100), |_| {}).await;
            answer.map_or_else(|error| error.to_string(), |answer| String::from_utf8_lossy(&answer).into_owned())
        };
        let asked = cluster.on(NodeIndex(0), move |_| Box::pin(async move { call(env).await }));
        asked.await.expect("nobody dies")
    };
    tell(&cluster_of(2), Calm, story).0
}

#[test]
fn an_operation_of_many_frames_arrives_whole() {
    for bytes in [1, 30_000, 65_535, 65_536, 70_000, 300_000, 10_000_000] {
        let answer = answer_to(bytes);
        assert!(answer.contains("bad_operation"), "{bytes} bytes: {answer}");
    }
}

#[test]
fn a_payload_of_many_frames_travels_in_its_operation() {
    let story = async move |cluster: Cluster| {
        cluster.set("replication.databases", json!(["data"]));
        let answer = cluster.deploy(NodeIndex(0), cluster.component()).await;
        cluster.settle().await;
        answer
    };
    let params = Params { nodes: 3, component: Arc::new(Component::large(3)) };
    let (answer, report) = tell(&params, Calm, story);
    assert_eq!(answer.expect("nothing fails")["succeeded"], 2);
    assert_eq!(report.violation().map(ToString::to_string), None);
}
