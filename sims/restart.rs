//! A deploy after which the nodes serve the new build: all at once, or one after another.
//!
//! Simulates restarts that are slow, that fail, and that claim to have happened, some of them behind an install that fails
//! on one node, or in the midst of which another origin deploys. Fails when success is told though a node
//! serves on what it served, when a node is restarted before every peer has installed, or when a rolling restart goes on
//! after a node that failed.

use futures_util::future::join;

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{
        cluster::{Cluster, Deploy},
        scenario::Scenario,
        scripts,
    },
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "restart",
    summary: "deploys with a restart, at once or rolling, on nodes that may not come to serve the new build",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(0);
    for _ in 0..=cluster.choose(2) {
        let deploy = draw(&cluster);
        let _ = cluster.deploy(origin, deploy).await;
    }
    for _ in 0..cluster.choose(4) {
        let (first, second) = (draw(&cluster), draw(&cluster));
        let overtakes = async {
            cluster.until_next_restart(origin).await;
            cluster.deploy(NodeIndex(1 % cluster.nodes()), second).await
        };
        let _ = join(overtakes, cluster.deploy(origin, first)).await;
    }
    cluster.settle().await;
}

/// A deploy with a restart; from then on its installer may fail on one node.
fn draw(cluster: &Cluster) -> Deploy {
    let mode: serde_json::Value = match cluster.choose(2) {
        0 => true.into(),
        _ => "rolling".into(),
    };
    let deploy = cluster.component().with("restart", mode).with("ignore_replication_errors", cluster.choose(3) == 2);
    let failing = (cluster.choose(4) == 3).then(|| NodeIndex(cluster.nodes() - 1));
    cluster.script(move |node, command| match failing == Some(node) {
        true => Ok(scripts::printing(&[b"npm error no space left\n"], ExitStatus::Code(1))),
        false => scripts::quiet_success(node, command),
    });
    deploy
}
