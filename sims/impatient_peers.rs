//! A deploy whose peers wait for their row for less time than it may take to come, or for a very long one.
//!
//! Simulates the two ends of `deployment_timeout`: 0, with which a row that is there must still be found, and values
//! around the back-off's steps. Nothing is installed, so the operation follows its row closely. Fails when a peer gives up early or late, misses a row that is there, or does not say
//! whether the row or its payload was missing.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "impatient-peers",
    summary: "a deploy whose peers wait for their row hardly at all, or for minutes",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// Milliseconds.
const TIMEOUTS: [u64; 8] = [1_000, 0, 1, 5, 20, 100, 3_000, 120_000];

async fn tell(cluster: Cluster) {
    cluster.script(scripts::instant_success);
    let timeout = cluster.choose_from(&TIMEOUTS);
    let deploy = cluster.component().with("deployment_timeout", timeout);
    let _ = cluster.deploy(NodeIndex(0), deploy).await;
    cluster.settle().await;
}
