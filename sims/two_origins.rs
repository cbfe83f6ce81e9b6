//! Two origins deploy the same project at the same time, or one a little later, and their fan-outs cross.
//!
//! Simulates what the original let diverge (museum M10): each node swaps in its own order. Fails when a node ends with an
//! older build than another, when a deploy that was overtaken reports success for nodes that never ran it, or when the
//! one that lost does not name the one that won.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-origins",
    summary: "one project is deployed from two origins at once; the newer deployment wins everywhere",
    tell: |cluster| Box::pin(tell(cluster)),
};

/// How much earlier the first one begins, in milliseconds: a calm deploy takes about ten, and its restart a few more.
const HEAD_STARTS_MS: [u64; 10] = [0, 1, 3, 5, 8, 10, 12, 15, 20, 40];

async fn tell(cluster: Cluster) {
    let other = NodeIndex(1 % cluster.nodes());
    let restart = cluster.choose(2) == 1;
    let (first, second) = (cluster.component().with("restart", restart), cluster.component().with("restart", restart));
    let late = Duration::from_millis(cluster.choose_from(&HEAD_STARTS_MS));
    let follows = async {
        sleep(late).await;
        cluster.deploy(other, second).await
    };
    let _ = join(cluster.deploy(NodeIndex(0), first), follows).await;
    cluster.settle().await;
}
