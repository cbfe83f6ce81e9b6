//! Two origins deploy the same project at the same time, or one a little later, and their fan-outs cross; up to four more
//! deploys come in between, from any of them.
//!
//! Simulates what the original let diverge (museum M10): each node swaps in its own order. Fails when a node ends with an
//! older build than another, when a deploy that was overtaken reports success for nodes that never ran it, or when the
//! one that lost does not name the one that won.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::{
    check::NodeIndex,
    deploy::retention::PAYLOADS_KEPT,
    env::ExitStatus,
    sim::{cluster::Cluster, process::Script, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-origins",
    summary: "one project is deployed from two origins at once; the newer deployment wins everywhere",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// How much earlier the first one begins, in milliseconds: a calm deploy takes about ten, its restart a few more, and an
/// install may hold it up.
const HEAD_STARTS_MS: [u64; 10] = [0, 1, 3, 5, 8, 10, 12, 15, 20, 40];

async fn tell(cluster: Cluster) {
    let restart = cluster.choose(2) == 1;
    let other = 1 % cluster.nodes();
    let mut deploys = vec![(0, 0), (other, cluster.choose_from(&HEAD_STARTS_MS))];
    for _ in 0..cluster.choose(5) {
        let origin = cluster.choose(u32::from(cluster.nodes())) as u8;
        deploys.push((origin, cluster.choose_from(&HEAD_STARTS_MS)));
    }
    // Builds that take their time are under way side by side.
    let last_pause = Duration::from_millis(cluster.choose_from(&[0, 4, 20]));
    let installs = Script { last_pause, exit: Some(ExitStatus::Code(0)), ..Script::default() };
    cluster.script(move |_, _| Ok(installs.clone()));
    cluster.set(PAYLOADS_KEPT, cluster.choose_from(&[5, 0, 1]));
    let told = deploys.into_iter().map(async |(origin, late_ms)| {
        sleep(Duration::from_millis(late_ms)).await;
        cluster.deploy(NodeIndex(origin), cluster.component().with("restart", restart)).await
    });
    join_all(told).await;
    cluster.settle().await;
}
