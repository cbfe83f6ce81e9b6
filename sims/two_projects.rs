//! Two projects on one cluster, the name of one of which ends like the other's; few payloads are kept.
//!
//! Simulates a cluster that runs more than one component. Fails when what is done for one project touches the other's: its
//! builds, its links, its payloads, its order of deployments.

use futures_util::future::join;

use crate::{
    check::NodeIndex,
    deploy::retention::PAYLOADS_KEPT,
    sim::{cluster::Cluster, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-projects",
    summary: "two projects with like names, deployed in turn or at once, from any node; few payloads are kept",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

const ROUNDS: u32 = 2;

async fn tell(cluster: Cluster) {
    cluster.script(scripts::instant_success);
    cluster.set(PAYLOADS_KEPT, cluster.choose_from(&[5, 1, 2]));
    for _ in 0..ROUNDS {
        let (one, other) = (deploy(&cluster, "api"), deploy(&cluster, "web-api"));
        if cluster.choose(2) == 0 {
            one.await;
            other.await;
        } else {
            join(one, other).await;
        }
    }
    cluster.settle().await;
}

fn deploy(cluster: &Cluster, project: &str) -> impl Future<Output = ()> + use<> {
    let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    let deploy = cluster.component().with("project", project).with("restart", cluster.choose(3) == 2);
    let cluster = cluster.clone();
    async move { drop(cluster.deploy(origin, deploy).await) }
}
