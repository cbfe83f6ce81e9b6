//! One deploy of a real component from one origin to all its peers.
//!
//! Simulates what a cluster does all day: the row and the blob's chunks replicate, the forwarded operation overtakes
//! them or falls behind, each peer installs from its own copy (slowly, or in no time), each outcome is written back. Fails when a node runs
//! anything but the uploaded bytes, when the row loses an outcome, or when the answer is not what the nodes run.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "deploy",
    summary: "one deploy of the component from one origin to all its peers",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    if cluster.choose(2) == 1 {
        cluster.script(scripts::instant_success);
    }
    let replicated = cluster.choose(8) != 7;
    let deploy = cluster.component().with("replicated", replicated);
    let _ = cluster.deploy(origin, deploy).await;
    cluster.settle().await;
}
