//! Operations that do not fit a frame.

use std::time::Duration;

use drydock::{
    check::NodeIndex,
    replication::operations,
    sim::{choice::Calm, cluster::Cluster},
};

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
