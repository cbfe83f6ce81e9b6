//! A cluster that does not replicate the database of the deployments' rows.
//!
//! Simulates the setting in both of its forms: the payload must travel in the forwarded operation (museum R21). Fails when
//! peers wait for a row that cannot come, when what travelled is not what was uploaded, or when it is left behind.

use serde_json::json;

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "unreplicated",
    summary: "deploys where `replication.databases` leaves the rows out, so that the payload travels in the operation",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let settings =
        [json!(["data"]), json!([{ "name": "data", "sharded": true }]), json!([{ "name": "system" }]), json!("*")];
    cluster.set("replication.databases", cluster.choose_from(&settings));
    for _ in 0..cluster.choose_from(&[2, 1, 3, 4]) {
        let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
        let _ = cluster.deploy(origin, cluster.component()).await;
    }
    cluster.settle().await;
}
