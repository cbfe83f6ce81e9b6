//! Seven small deploys of one project, with an operator's limits on how many payloads stay.
//!
//! Simulates a project that is deployed often: retention lets old payloads go after each success, and an operator deletes
//! one by hand, from any node, also while a deploy is under way; a dashboard pages through what is left. Fails when a payload
//! goes that a peer still needs, when a row changes in anything but its
//! payload, or when a node keeps bytes that no row names.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::NodeIndex,
    deploy::retention::{PAYLOAD_BYTES_MAX, PAYLOADS_KEPT},
    sim::{cluster::Cluster, dashboard::Dashboard, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "retention",
    summary: "seven small deploys from changing origins; old payloads go, one is deleted by hand; rows stay",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

const DEPLOYS: u32 = 7;

/// Who deletes by hand, beside the reader 0 who looks at the lists.
const OPERATOR: u32 = 1;

async fn tell(cluster: Cluster) {
    cluster.script(scripts::instant_success);
    cluster.set(PAYLOADS_KEPT, cluster.choose_from(&[5, 2, 0, 1]));
    if cluster.choose(4) == 3 {
        cluster.set(PAYLOAD_BYTES_MAX, 1);
    }
    for _ in 0..DEPLOYS {
        let origin = node(&cluster);
        let deploy = cluster.deploy(origin, cluster.component());
        match cluster.choose(8) {
            // Another one succeeds while a peer is at work on this one.
            4..=6 => drop(join(deploy, late(&cluster, origin)).await),
            7 => drop(join(deploy, delete_the_newest(&cluster)).await),
            _ => drop(deploy.await),
        }
    }
    let listed = cluster.deployments(node(&cluster)).await;
    if !listed.is_empty() {
        let id = listed[cluster.choose(listed.len() as u32) as usize]["deployment_id"].as_str().map(str::to_owned);
        for _ in 0..1 + cluster.choose(2) {
            cluster.delete_payload(node(&cluster), OPERATOR, id.as_deref().unwrap_or_default()).await;
        }
    }
    let pages = Dashboard { reader: 0, looks: 6, pause: Duration::from_millis(1) };
    cluster.look_around(node(&cluster), pages).await;
    cluster.settle().await;
}

/// One more deploy of the project from the same node, a little later.
async fn late(cluster: &Cluster, origin: NodeIndex) {
    sleep(Duration::from_millis(cluster.choose_from(&[5, 0, 1, 10, 20, 50]))).await;
    let _ = cluster.deploy(origin, cluster.component()).await;
}

/// Deletes the payload of what is listed first, at some moment of a deploy.
async fn delete_the_newest(cluster: &Cluster) {
    sleep(Duration::from_millis(cluster.choose_from(&[5, 0, 1, 10, 20, 50]))).await;
    let listed = cluster.deployments(node(cluster)).await;
    if let Some(id) = listed.first().and_then(|row| row["deployment_id"].as_str()) {
        cluster.delete_payload(node(cluster), OPERATOR, id).await;
    }
}

fn node(cluster: &Cluster) -> NodeIndex {
    NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8)
}
