//! A client that says what only members may say to each other: it brings the id of a deployment.
//!
//! Simulates a request that names a deployment: one that is made up, or one that the node knows. Fails when the node takes the
//! request for a forwarded operation, when a row comes of it, or when the deploys before and after it suffer.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "claimed-id",
    summary: "a request that brings a deployment's id, made up or known, between two that do not",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

const MADE_UP: &str = "5bd1f0a6-1f0e-4f7e-9d3a-2c8a3b8f1c11";

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(0);
    let _ = cluster.deploy(origin, cluster.component()).await;
    let asked = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let known =
        cluster.deployments(asked).await.first().and_then(|row| row["deployment_id"].as_str().map(str::to_owned));
    let claimed = match cluster.choose(2) {
        1 => known.unwrap_or_else(|| MADE_UP.to_owned()),
        _ => MADE_UP.to_owned(),
    };
    let _ = cluster.deploy(asked, cluster.component().with("deployment_id", claimed)).await;
    let _ = cluster.deploy(origin, cluster.component()).await;
    cluster.settle().await;
}
