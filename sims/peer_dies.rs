//! A peer dies while it installs and comes back; then the component is deployed again.
//!
//! Simulates the restart of one machine of a cluster in mid-deploy. Fails when the origin takes the peer's silence for a
//! success, when the peer's half-made build is served or stays, when its installer runs on, or when rows and payloads that it
//! missed never come.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::{Death, NodeIndex},
    env::ExitStatus,
    sim::{cluster::Cluster, process::Script, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "peer-dies",
    summary: "a peer dies while it installs and comes back; a second deploy follows",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// When it dies, in milliseconds: its installer runs from about 6 on.
const MOMENTS_MS: [u64; 12] = [20, 2, 4, 6, 7, 8, 10, 14, 35, 50, 55, 60];

/// How long an installer runs.
const INSTALL: Duration = Duration::from_millis(40);

async fn tell(cluster: Cluster) {
    let installs = Script { last_pause: INSTALL, exit: Some(ExitStatus::Code(0)), ..Script::default() };
    cluster.script(move |_, _| Ok(installs.clone()));
    let peer = NodeIndex(cluster.nodes() - 1);
    let moment = Duration::from_millis(cluster.choose_from(&MOMENTS_MS));
    let death = cluster.choose_from(&[Death::Silent, Death::Closed, Death::PowerLoss, Death::Reset]);
    let dies = async {
        sleep(moment).await;
        cluster.crash_by(peer, death);
    };
    let _ = join(cluster.deploy(NodeIndex(0), cluster.component()), dies).await;
    cluster.up().await;
    let _ = cluster.deploy(NodeIndex(0), cluster.component()).await;
    cluster.settle().await;
}
