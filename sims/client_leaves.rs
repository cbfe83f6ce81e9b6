//! A client that goes away in the middle of its upload; and then another that does not.
//!
//! Simulates a broken upload at any byte. Fails when the row keeps a payload that never was whole, when a partial blob
//! stays, when the first cause is lost, or when the next deploy suffers from it.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "client-leaves",
    summary: "an upload that breaks off at some byte, then a whole one",
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(0);
    let mut leaving = cluster.component();
    leaving.leaves_after = Some(cluster.choose_from(&[700, 0, 1, 10_000, 1 << 30]));
    let _ = cluster.deploy(origin, leaving).await;
    let _ = cluster.deploy(origin, cluster.component()).await;
    cluster.settle().await;
}
