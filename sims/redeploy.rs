//! The same project deployed again and again, from one origin or from several, one deploy after another.
//!
//! Simulates a busy day: every deploy replaces a live build. Fails when the swap leaves anything but a whole build, when
//! an earlier deployment's row or blob is disturbed, or when a later deploy is taken for an older one.

use serde_json::Value;

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
    let restart: Value = cluster.choose_from(&[false.into(), false.into(), true.into(), "rolling".into()]);
    for _ in 0..times {
        let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
        let _ = cluster.deploy(origin, cluster.component().with("restart", restart.clone())).await;
    }
    cluster.settle().await;
}
