//! Two deploys, then the first one's payload again, from any node, up to three times.
//!
//! Simulates the night after a bad release; a rollback may ask for a restart. Fails when the nodes do not run the earlier
//! tree, when the new row's hash is not that of the earlier payload, or when the row of what was rolled back is written to
//! again.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "rollback",
    summary: "two deploys, then up to three rollbacks to the first one's payload, from any node",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    cluster.script(scripts::instant_success);
    let first = cluster.deploy(NodeIndex(0), cluster.component()).await;
    let _ = cluster.deploy(NodeIndex(0), cluster.component()).await;
    if let Ok(answer) = first {
        for _ in 0..=cluster.choose(3) {
            let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
            let back = cluster.component().with("rollback_from", answer["deployment_id"].clone());
            let mut back = back.with("restart", cluster.choose(3) == 2);
            back.brings_back = Some(0);
            let _ = cluster.deploy(origin, back).await;
        }
    }
    cluster.settle().await;
}
