//! The same project deployed again and again, from one origin or from several, one deploy after another.
//!
//! Simulates a busy day: every deploy replaces a live build, and some ask for a restart. Fails when the swap leaves anything
//! but a whole build, when an earlier deployment's row or blob is disturbed, when a later deploy is taken for an older one,
//! or when a node serves what is no more.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "redeploy",
    summary: "two or three deploys of one project, one after another, from changing origins, some with a restart",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let times = 2 + cluster.choose(2);
    for _ in 0..times {
        let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
        let deploy = match cluster.choose(4) {
            2 => cluster.component().with("restart", true),
            3 => cluster.component().with("restart", "rolling"),
            _ => cluster.component(),
        };
        let _ = cluster.deploy(origin, deploy).await;
    }
    cluster.settle().await;
}
