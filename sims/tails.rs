//! Tails on every node that stay until the deployment is over.
//!
//! Simulates the terminals of a team that follows one deploy: they come before it, with it or behind it, attach as soon as
//! their node shows it, and none leaves. Fails when a tail misses an event or the end, sees one late on the origin, or ends too soon.

use std::time::Duration;

use futures_util::future::join_all;

use crate::{
    check::NodeIndex,
    sim::{
        cluster::{Cluster, Deploy},
        reader::Habit,
        scenario::Scenario,
    },
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "tails",
    summary: "tails on every node follow one deploy until it is over, whenever they come",
    other_sizes: &[2, 4],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let tails = 2 * u32::from(cluster.nodes());
    let tails = join_all((0..tails).map(|reader| tail(&cluster, reader)));
    let story = async {
        let starts_after = Duration::from_millis(cluster.choose_from(&[0, 8, 40]));
        let _ = cluster.deploy(origin, Deploy { starts_after, ..cluster.component() }).await;
    };
    cluster.read_along(story, tails).await;
}

/// Two tails a node, each of which takes its time over nothing or a little.
async fn tail(cluster: &Cluster, reader: u32) {
    let node = NodeIndex((reader % u32::from(cluster.nodes())) as u8);
    let late = Duration::from_millis(cluster.choose_from(&[0, 0, 3, 10, 25]));
    let pause = Duration::from_millis(cluster.choose_from(&[0, 0, 0, 1, 15]));
    cluster.tail_newest(node, Habit { reader, late, pause, leaves_after: None }).await;
}
