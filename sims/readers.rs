//! Readers that come and go on every node while a deploy runs.
//!
//! Simulates what dashboards and command lines do: they attach at any time, read slowly or fast, leave in the middle, and
//! download payloads that are still arriving. Fails when a tail has a gap or a repeat, ends before the row's end is
//! durable, never ends, or when a download is not what was uploaded.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use tokio::time::timeout;

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{cluster::Cluster, reader::Habit, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "readers",
    summary: "readers tail and download on every node while a deploy runs, attach at any time, lag and leave",
    tell: |cluster| Box::pin(tell(cluster)),
};

/// How long readers have for the rest when everything has come to rest: the slowest needs less than a minute.
const REST: Duration = Duration::from_secs(300);

async fn tell(cluster: Cluster) {
    let lines = cluster.choose_from(&[3, 30, 300]);
    cluster.script(move |_, _| {
        let text: Vec<Bytes> = (0..lines).map(|line| format!("added {line}\n").into()).collect();
        let pieces: Vec<&[u8]> = text.iter().map(|line| &line[..]).collect();
        Ok(scripts::printing(&pieces, ExitStatus::Code(0)))
    });
    let readers = 2 + cluster.choose(4);
    let tails = join_all((0..readers).map(|reader| read(&cluster, reader)));
    let story = async {
        let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
        let downloader = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
        let pause = Duration::from_millis(cluster.choose_from(&[0, 1, 50]));
        let _ = join(cluster.deploy(origin, cluster.component()), cluster.download_newest(downloader, pause)).await;
        cluster.settle().await;
    };
    let mut tails = std::pin::pin!(tails);
    let mut story = std::pin::pin!(story);
    tokio::select! {
        biased;
        () = &mut story => drop(timeout(REST, tails).await),
        _ = &mut tails => story.await,
    }
    cluster.settle().await;
}

async fn read(cluster: &Cluster, reader: u32) {
    let node = NodeIndex(((reader + cluster.choose(4)) % u32::from(cluster.nodes())) as u8);
    let late = Duration::from_millis(cluster.choose_from(&[0, 5, 20, 60, 200]));
    let pause = Duration::from_millis(cluster.choose_from(&[0, 0, 1, 20, 150]));
    let leaves_after = cluster.choose_from(&[None, None, None, Some(1), Some(7)]);
    cluster.tail_newest(node, Habit { reader, late, pause, leaves_after }).await;
}
