//! The power fails everywhere at once, in the midst of a deploy that replaces a live build.
//!
//! Simulates a data centre that goes dark: whatever no device had made durable may be gone, names and bytes apart from each
//! other. Fails when a build that was acknowledged is gone or torn, when the live path leads nowhere, or when rows, blobs and
//! builds of the nodes no longer agree once they are back.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::{Death, NodeIndex},
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "power-cut",
    summary: "all nodes lose power at once in mid-deploy and come back; a last deploy follows, or none",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// When the power goes, in milliseconds: a calm deploy takes about ten.
const MOMENTS_MS: [u64; 12] = [7, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12];

async fn tell(cluster: Cluster) {
    let origin = |cluster: &Cluster| NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let _ = cluster.deploy(origin(&cluster), cluster.component()).await;
    let moment = Duration::from_millis(cluster.choose_from(&MOMENTS_MS));
    let dark = async {
        sleep(moment).await;
        (0..cluster.nodes()).for_each(|node| cluster.crash_by(NodeIndex(node), Death::PowerLoss));
    };
    let _ = join(cluster.deploy(origin(&cluster), cluster.component()), dark).await;
    cluster.up().await;
    if cluster.choose(2) == 0 {
        let _ = cluster.deploy(origin(&cluster), cluster.component()).await;
    }
    cluster.settle().await;
}
