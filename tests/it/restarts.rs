//! Deploys after which nodes serve the new build: who is restarted, in which order, and what a client is told.

use std::path::Path;

use drydock::{
    check::{Death, Event, NodeIndex},
    env::{Disk, Env},
    sim::{
        choice::{Choices, Kind, Label, Replay},
        cluster::{Answer, Cluster},
        run::Report,
    },
};
use serde_json::Value;

use crate::story::{cluster_of, tell};

const N1: NodeIndex = NodeIndex(0);
const N2: NodeIndex = NodeIndex(1);
const N3: NodeIndex = NodeIndex(2);

/// The first switch on `node` meets `fault`.
fn first_switch(fault: Kind, node: NodeIndex) -> Choices {
    [(Label { kind: fault, node: Some(node), occurrence: 0 }, 1)].into()
}

fn deploy_with_restart(restart: impl Into<Value>, choices: Choices) -> (Answer, Report) {
    let restart = restart.into();
    let story = async move |cluster: Cluster| {
        let answer = cluster.deploy(N1, cluster.component().with("restart", restart)).await;
        cluster.settle().await;
        answer
    };
    let (answer, report) = tell(&cluster_of(3), Replay(choices), story);
    assert!(report.violation().is_none(), "{}", report.violation().unwrap());
    (answer, report)
}

/// The nodes that came to serve another build, in order.
fn restarted(report: &Report) -> Vec<NodeIndex> {
    let serves = report.trace.entries().iter().filter(|entry| matches!(entry.event, Event::Serves { .. }));
    serves.filter_map(|entry| entry.node).collect()
}

fn status_of<'a>(failure: &'a Value, peer: &str) -> &'a Value {
    let failed = failure["failed_peers"].as_array().expect("some peer failed");
    &failed.iter().find(|outcome| outcome["node"] == peer).expect("this peer failed")["error"]["code"]
}

#[test]
fn every_node_serves_the_new_build_after_a_restart() {
    let (answer, report) = deploy_with_restart(true, Choices::default());
    answer.expect("nothing fails");
    assert_eq!(restarted(&report).len(), 3);
}

#[test]
fn a_rolling_restart_takes_one_node_after_another_and_the_origin_first() {
    let (answer, report) = deploy_with_restart("rolling", Choices::default());
    answer.expect("nothing fails");
    assert_eq!(restarted(&report), [N1, N2, N3]);
}

#[test]
fn a_rolling_restart_stops_at_the_first_peer_that_fails() {
    let (answer, report) = deploy_with_restart("rolling", first_switch(Kind::SwitchRefused, N2));
    let failure = answer.expect_err("a peer does not serve the build");
    assert_eq!(restarted(&report), [N1]);
    assert_eq!(status_of(&failure, "n2"), "restart_failed");
    assert_eq!(status_of(&failure, "n3"), "restart_stopped");
}

#[test]
fn a_build_that_the_origin_cannot_serve_disturbs_no_peer_when_rolling() {
    let (answer, report) = deploy_with_restart("rolling", first_switch(Kind::SwitchRefused, N1));
    let failure = answer.expect_err("the origin does not serve the build");
    assert_eq!((&failure["code"], &failure["phase"]), (&"restart_failed".into(), &"restart".into()));
    assert_eq!(failure.get("failed_peers"), None);
    assert!(restarted(&report).is_empty());
}

#[test]
fn a_restart_that_is_told_and_did_not_happen_is_a_failure() {
    let (answer, _) = deploy_with_restart(true, first_switch(Kind::SwitchStale, N3));
    assert_eq!(status_of(&answer.expect_err("a peer serves nothing"), "n3"), "restart_stale");
}

#[test]
fn no_node_is_restarted_when_the_gate_has_not_passed() {
    let story = async move |cluster: Cluster| {
        cluster.script(|node, command| match node {
            N3 => Err(std::io::Error::other("no such program")),
            _ => drydock::sim::scripts::quiet_success(node, command),
        });
        cluster.deploy(N1, cluster.component().with("restart", true)).await
    };
    let (answer, report) = tell(&cluster_of(3), Replay(Choices::default()), story);
    assert!(answer.is_err() && restarted(&report).is_empty());
}

#[test]
fn what_stands_at_a_live_path_and_is_no_build_is_told_and_keeps_nothing_else_from_being_served() {
    let story = async move |cluster: Cluster| {
        cluster.deploy(N1, cluster.component()).await.expect("nothing fails");
        let disk = cluster.env(N2).disk().clone();
        for strange in ["components/aaa", "components/zzz", "builds/aaa/x", "builds/zzz/x"] {
            disk.create_dir_all(Path::new(strange)).await.unwrap();
        }
        cluster.crash_by(N2, Death::Closed);
        cluster.up().await;
        cluster.settle().await;
        // They are not ours to remove.
        for strange in ["components/aaa", "builds/zzz/x"] {
            assert!(disk.metadata(Path::new(strange)).await.unwrap().is_some());
        }
    };
    let ((), report) = tell(&cluster_of(3), Replay(Choices::default()), story);
    let told = |what: &str| report.trace.entries().iter().filter(|entry| entry.to_string().contains(what)).count();
    for strange in ["aaa", "zzz"] {
        assert_eq!(told(&format!("lets pass: recovery of the builds of `{strange}`")), 1);
        assert_eq!(told(&format!("lets pass: serving `{strange}` after the start")), 1);
    }
    assert_eq!(restarted(&report), [N2]);
}

#[test]
fn a_disk_that_fails_once_while_a_node_starts_is_asked_again() {
    let mut asked_again = [0, 0];
    for occurrence in 0..120 {
        let story = async move |cluster: Cluster| {
            let _ = cluster.deploy(N1, cluster.component()).await;
            let _ = cluster.deploy(N1, cluster.component()).await;
            cluster.crash_by(N2, Death::Closed);
            cluster.up().await;
            cluster.settle().await;
        };
        let failing = [(Label { kind: Kind::DiskFails, node: Some(N2), occurrence }, 1)].into();
        let ((), report) = tell(&cluster_of(3), Replay(failing), story);
        assert!(report.violation().is_none(), "{occurrence}: {}", report.violation().unwrap());
        let told = |what: &str| report.trace.entries().iter().any(|entry| entry.to_string().contains(what));
        // What is there is no stranger's, whatever the disk says of it once.
        assert!(!told("lets pass: serving `hello`") && restarted(&report) == [N2], "{occurrence}");
        asked_again[0] += u32::from(told("lets pass: recovery of the builds"));
        asked_again[1] += u32::from(told("lets pass: serving what is live"));
    }
    assert!(asked_again.iter().all(|times| *times > 1), "{asked_again:?}");
}
