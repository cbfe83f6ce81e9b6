//! The origin dies in the midst of its deploy and comes back; then the component is deployed again, from any node.
//!
//! Simulates a process that is killed or a machine that restarts: the client loses its node, the peers are left with an
//! operation whose origin is gone. Fails when the row never ends (museum R25), when a peer keeps what was staged, or when the
//! deploy that follows is hindered by what the first one left.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::{Death, NodeIndex},
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "origin-dies",
    summary: "the origin dies in mid-deploy and comes back; a second deploy follows, from any node",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// When it dies, in milliseconds: a calm deploy takes about ten.
const MOMENTS_MS: [u64; 12] = [5, 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12];

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(0);
    let moment = Duration::from_millis(cluster.choose_from(&MOMENTS_MS));
    let death = cluster.choose_from(&[Death::Closed, Death::Silent, Death::PowerLoss, Death::Reset]);
    let dies = async {
        sleep(moment).await;
        cluster.crash_by(origin, death);
    };
    let _ = join(cluster.deploy(origin, cluster.component()), dies).await;
    cluster.up().await;
    let next = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let _ = cluster.deploy(next, cluster.component()).await;
    cluster.settle().await;
}
