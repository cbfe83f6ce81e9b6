//! A deploy of a component that cannot be loaded: one of its manifests names a file that is not in it.
//!
//! Simulates the commonest mistake of a deploy, a build step that was forgotten. The load check must keep it from going live
//! anywhere: the origin refuses it before it asks a peer, and what ran before runs on. Fails when such a build goes live on
//! any node, when the deploy reports success, when the failure does not name the file, or when a sound deploy after it does
//! not go through.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, component::Manifest, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "broken-component",
    summary: "a component whose manifest names what is not in it, between sound ones",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
    if cluster.choose(4) != 3 {
        let _ = cluster.deploy(origin, cluster.component()).await;
    }
    let manifest = cluster.choose_from(&[Manifest::Package, Manifest::Config]);
    let ignore = cluster.choose(3) == 2;
    let broken = cluster.component().with("ignore_replication_errors", ignore).broken(manifest);
    let _ = cluster.deploy(origin, broken).await;
    if cluster.choose(3) == 2 {
        let _ = cluster.deploy(origin, cluster.component()).await;
    }
    cluster.settle().await;
}
