//! Readers that come and go on every node while a deploy runs, and perhaps another.
//!
//! Simulates what dashboards and command lines do: they attach at any time, read slowly or fast, leave in the middle, list
//! with every filter, look at single rows, and download payloads that are still arriving. Fails when a tail has a gap or a
//! repeat, lags, ends before the row's end is durable, or never; when a list or a row is not what the node shows; or when a
//! download is not what was uploaded, or fails without need.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, join3};

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{
        cluster::{Cluster, Deploy},
        dashboard::Dashboard,
        reader::Habit,
        scenario::Scenario,
        scripts,
    },
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "readers",
    summary: "readers tail and download on every node while a deploy runs, attach at any time, lag and leave",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// How many dashboards there are.
const DASHBOARDS: u32 = 2;

async fn tell(cluster: Cluster) {
    let lines = cluster.choose_from(&[3, 30, 300]);
    cluster.script(move |_, _| {
        let text: Vec<Bytes> = (0..lines).map(|line| format!("added {line}\n").into()).collect();
        let pieces: Vec<&[u8]> = text.iter().map(|line| &line[..]).collect();
        Ok(scripts::printing(&pieces, ExitStatus::Code(0)))
    });
    let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let readers = 2 + cluster.choose(4);
    let tails = join_all((0..readers).map(|reader| read(&cluster, reader)));
    let dashboards = join_all((0..DASHBOARDS).map(|number| look(&cluster, readers + number, origin)));
    let first = readers + DASHBOARDS;
    let downloads = (0..cluster.nodes()).map(|node| download(&cluster, first + u32::from(node), NodeIndex(node)));
    let downloads = join_all(downloads);
    let readers = join3(tails, dashboards, downloads);
    let story = async {
        // While an upload is slow to start, nothing but what has begun is there to be seen.
        let starts_after = Duration::from_millis(cluster.choose_from(&[0, 8, 40]));
        let first = Deploy { starts_after, ..cluster.component().with("user", "ann") };
        let _ = cluster.deploy(origin, first).await;
        if cluster.choose(2) == 1 {
            let next = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
            let _ = cluster.deploy(next, cluster.component()).await;
        }
    };
    cluster.read_along(story, readers).await;
}

async fn read(cluster: &Cluster, reader: u32) {
    let node = NodeIndex(((reader + cluster.choose(4)) % u32::from(cluster.nodes())) as u8);
    let late = Duration::from_millis(cluster.choose_from(&[0, 5, 20, 60, 200]));
    let pause = Duration::from_millis(cluster.choose_from(&[0, 0, 1, 20, 150]));
    let leaves_after = cluster.choose_from(&[None, None, None, Some(1), Some(7)]);
    cluster.tail_newest(node, Habit { reader, late, pause, leaves_after }).await;
}

/// Half of the dashboards look at the origin, where a deployment is told from memory.
async fn look(cluster: &Cluster, reader: u32, origin: NodeIndex) {
    let any = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let node = cluster.choose_from(&[origin, any]);
    let looks = cluster.choose_from(&[20, 6, 60, 120]);
    let pause = Duration::from_millis(cluster.choose_from(&[2, 1, 5, 40]));
    cluster.look_around(node, Dashboard { reader, looks, pause }).await;
}

async fn download(cluster: &Cluster, reader: u32, node: NodeIndex) {
    let pause = Duration::from_millis(cluster.choose_from(&[0, 1, 50]));
    cluster.download_newest(node, reader, pause).await;
}
