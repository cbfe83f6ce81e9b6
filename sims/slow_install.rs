//! A deploy whose installer takes its time, or never ends.
//!
//! Simulates long installs: within the time limit the operation's connection must live (a minute of silence is a dead
//! link, so both ends must be heard of); at the limit the whole process group ends and nothing is told after it. Fails
//! when a deploy that installs is given up, when one that hangs is not, or when a process or a line outlives its deploy.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    check::NodeIndex,
    env::{ExitStatus, OutputStream},
    sim::{cluster::Cluster, process::Script, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "slow-install",
    summary: "a deploy whose installer takes minutes on one node, or hangs until its time limit",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let slow = NodeIndex(cluster.nodes() - 1 - cluster.choose(2).min(u32::from(cluster.nodes()) - 1) as u8);
    let minutes = cluster.choose_from(&[3, 1, 40]);
    let hangs = cluster.choose(3) == 2;
    cluster.script(move |node, command| {
        if node != slow {
            return scripts::quiet_success(node, command);
        }
        let pause = Duration::from_secs(30 * minutes);
        let line = |text: &'static str| (pause, OutputStream::Stdout, Bytes::from_static(text.as_bytes()));
        let exit = (!hangs).then_some(ExitStatus::Code(0));
        Ok(Script {
            writes: vec![line("building\n"), line("still build")],
            last_pause: Duration::ZERO,
            exit,
            files: Vec::new(),
        })
    });
    let limit = cluster.choose_from(&[3_600_000, 45_000, 600_000]);
    let deploy = cluster.component().with("install_timeout", limit);
    let _ = cluster.deploy(NodeIndex(0), deploy).await;
    cluster.settle().await;
}
