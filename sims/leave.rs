//! A node leaves the cluster while a component is deployed, and may come back; then it is deployed again.
//!
//! Simulates a cluster that shrinks: the node that leaves may be a peer or the origin, and each node may know of it late. Fails
//! when a deploy passes over a peer that was a member at its dispatch, files one peer's outcome under another's name, when a
//! node that has left is still sent rows, or when one that comes back does not get what it missed.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{cluster::Cluster, process::Script, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "leave",
    summary: "a node leaves in mid-deploy and may come back; a second deploy follows, and perhaps all of it again",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// When it leaves, in milliseconds: peers are asked from about 15 on, their installers run until about 60.
const MOMENTS_MS: [u64; 12] = [30, 0, 2, 5, 10, 13, 15, 16, 17, 20, 45, 60];

/// How long it stays away, in milliseconds, if it comes back.
const ABSENCES_MS: [u64; 6] = [50, 0, 1, 5, 700, 40_000];

/// How long an installer runs.
const INSTALL: Duration = Duration::from_millis(20);

async fn tell(cluster: Cluster) {
    let installs = Script { last_pause: INSTALL, exit: Some(ExitStatus::Code(0)), ..Script::default() };
    cluster.script(move |_, _| Ok(installs.clone()));
    let last = cluster.nodes() - 1;
    let mut away = None;
    for _ in 0..=cluster.choose(2) {
        if let Some(leaver) = away.take() {
            cluster.join(leaver);
        }
        // In the middle it moves the places of the others.
        let leaver = NodeIndex(cluster.choose_from(&[last.min(1), last, 0]));
        let moment = Duration::from_millis(cluster.choose_from(&MOMENTS_MS));
        let leaves = async {
            sleep(moment).await;
            cluster.leave(leaver);
        };
        let _ = join(cluster.deploy(NodeIndex(0), cluster.component()), leaves).await;
        if cluster.choose(2) == 1 {
            sleep(Duration::from_millis(cluster.choose_from(&ABSENCES_MS))).await;
            cluster.join(leaver);
        } else {
            away = Some(leaver);
        }
        let second = cluster.choose_from(&[NodeIndex(0), NodeIndex(last)]);
        let _ = cluster.deploy(second, cluster.component()).await;
    }
    cluster.settle().await;
}
