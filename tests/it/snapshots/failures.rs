//! What clients of a failed deploy are told.

use drydock::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{
        choice::{Choices, Kind, Label, Replay},
        cluster::{Cluster, Deploy},
        scripts,
    },
};
use serde_json::Value;

use super::masked;
use crate::story::{cluster_of, tell};

const N1: NodeIndex = NodeIndex(0);

/// Puts of the origin that its store refuses, by number.
fn refused_puts(numbers: std::ops::Range<u32>) -> Choices {
    numbers.map(|occurrence| (Label { kind: Kind::PutRefused, node: Some(N1), occurrence }, 1)).collect()
}

/// A failure as the client is told, without what differs from run to run.
fn told(choices: Choices, failing: &'static [u8], ask: fn(Deploy) -> Deploy) -> String {
    let story = async move |cluster: Cluster| {
        cluster.script(move |node, command| match failing.contains(&node.0) {
            true => Ok(scripts::printing(&[b"npm error no space left\n"], ExitStatus::Code(7))),
            false => scripts::quiet_success(node, command),
        });
        let answer = cluster.deploy(N1, ask(cluster.component())).await;
        answer.expect_err("this deploy fails")
    };
    let told: Value = tell(&cluster_of(3), Replay(choices), story).0;
    masked(&serde_json::to_string_pretty(&told).unwrap())
}

fn plain(deploy: Deploy) -> Deploy {
    deploy
}

#[test]
fn a_client_is_told_what_failed_where_and_why() {
    let leaves = |mut deploy: Deploy| {
        deploy.leaves_after = Some(700);
        deploy
    };
    let none = Choices::default;
    let failures = [
        ("a request that asks for nonsense", told(none(), &[], |deploy| deploy.with("deployment_timeout", "soon"))),
        ("a store that refuses the first put", told(refused_puts(0..1), &[], plain)),
        ("a client that leaves", told(none(), &[], leaves)),
        ("an installer that fails on the origin", told(none(), &[0], plain)),
        ("an installer that fails on two peers", told(none(), &[1, 2], plain)),
        ("an installer that does not end", told(none(), &[], |deploy| deploy.with("install_timeout", 1))),
        ("a store that refuses every put but the first two", told(refused_puts(2..99), &[], plain)),
    ];
    let told: String = failures.map(|(what, told)| format!("{what}:\n{told}\n\n")).concat();
    insta::assert_snapshot!(told);
}
