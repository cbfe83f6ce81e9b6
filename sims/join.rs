//! A node joins the cluster while a component is deployed; then it is deployed again, and goes to the new member too.
//!
//! Simulates a cluster that grows: the new node holds nothing, and gets all rows and payloads from the logs of the others,
//! and each node may know of it late. Fails when the first deploy's peers are not those that its origin knew at its dispatch,
//! when the new node never gets what was deployed before it came, or when the second deploy passes it over.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{cluster::Cluster, process::Script, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "join",
    summary: "a node joins in mid-deploy, and a second deploy goes to it too",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// When it joins, in milliseconds: peers are asked from about 15 on, their installers run until about 60.
const MOMENTS_MS: [u64; 12] = [40, 0, 2, 5, 10, 13, 15, 17, 20, 30, 60, 90];

/// How long an installer runs.
const INSTALL: Duration = Duration::from_millis(10);

async fn tell(cluster: Cluster) {
    let installs = Script { last_pause: INSTALL, exit: Some(ExitStatus::Code(0)), ..Script::default() };
    cluster.script(move |_, _| Ok(installs.clone()));
    let new = NodeIndex(cluster.nodes() - 1);
    cluster.begin_without(new);
    if cluster.choose(2) == 1 {
        // There is something to catch up with.
        let _ = cluster.deploy(NodeIndex(0), cluster.component()).await;
    }
    let moment = Duration::from_millis(cluster.choose_from(&MOMENTS_MS));
    let joins = async {
        sleep(moment).await;
        cluster.join(new);
    };
    let _ = join(cluster.deploy(NodeIndex(0), cluster.component()), joins).await;
    let second = cluster.choose_from(&[NodeIndex(0), new]);
    let _ = cluster.deploy(second, cluster.component()).await;
    cluster.settle().await;
}
