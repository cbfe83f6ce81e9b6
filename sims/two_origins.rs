//! Two origins deploy the same project at the same time, and their fan-outs cross.
//!
//! Simulates what the original let diverge (museum M10): each node swaps in its own order. Fails when a node ends with an
//! older build than another, when a deploy that was overtaken reports success for nodes that never ran it, or when the
//! one that lost does not name the one that won.

use futures_util::future::join;

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-origins",
    summary: "one project is deployed from two origins at once; the newer deployment wins everywhere",
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let other = NodeIndex(1 % cluster.nodes());
    let restart = cluster.choose(2) == 1;
    let (first, second) = (cluster.component().with("restart", restart), cluster.component().with("restart", restart));
    let _ = join(cluster.deploy(NodeIndex(0), first), cluster.deploy(other, second)).await;
    cluster.settle().await;
}
