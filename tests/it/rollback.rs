//! Payloads that are brought back: what comes of a copy that is not what its row says.

use drydock::{
    check::NodeIndex,
    deploy::row::Deployment,
    env::{Blobs, Env, Table},
    sim::{
        choice::Calm,
        cluster::{Answer, Cluster},
    },
};
use serde_json::json;

use crate::story::{cluster_of, tell};

const N1: NodeIndex = NodeIndex(0);

/// Brings back the first of two deploys, whose copy on this node was replaced: by another archive, as whole as it was.
fn bring_back_replaced() -> Answer {
    let story = async move |cluster: Cluster| {
        let first = cluster.deploy(N1, cluster.component()).await.expect("nothing fails");
        let other = cluster.next_archive();
        let id = first["deployment_id"].as_str().unwrap().parse().unwrap();
        let env = cluster.env(N1);
        let record = env.table().get(&Deployment::key_of(id)).await.unwrap().expect("it is there");
        let blob = record.blob.expect("it has a payload");
        env.blobs().create(blob).await.unwrap();
        for piece in other {
            env.blobs().append(blob, piece).await.unwrap();
        }
        env.blobs().complete(blob).await.unwrap();
        let mut back = cluster.component().with("rollback_from", json!(id));
        back.brings_back = Some(0);
        let answer = cluster.deploy(N1, back).await;
        cluster.settle().await;
        answer
    };
    tell(&cluster_of(2), Calm, story).0
}

#[test]
fn a_copy_that_is_another_archive_is_not_brought_back() {
    let failure = bring_back_replaced().expect_err("it is not what was deployed");
    let message = failure["message"].to_string();
    assert!(message.contains("this node's copy of the payload of") && message.contains("is damaged"), "{failure}");
}
