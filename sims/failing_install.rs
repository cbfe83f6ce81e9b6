//! A deploy whose installer fails on some nodes.
//!
//! Simulates a dependency that does not build everywhere. Fails when a failed peer counts as a success, when a peer's
//! exit code and message do not reach the row and the client, when the origin's failure does not tell its installer's last
//! lines, or when a node is left without a whole build.

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{cluster::Cluster, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "failing-install",
    summary: "a deploy whose installer fails on one node, on several, or at the origin",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let failing = match cluster.choose(4) {
        0 => vec![NodeIndex(cluster.nodes() - 1)],
        1 => cluster.others(NodeIndex(0)),
        2 => vec![NodeIndex(0)],
        _ => vec![],
    };
    let code = cluster.choose_from(&[1, 127, 7]);
    // Around the number of last lines that a failure tells, and far above.
    let lines = cluster.choose_from(&[2, 39, 40, 41, 90]);
    cluster.script(move |node, command| {
        if !failing.contains(&node) {
            return scripts::quiet_success(node, command);
        }
        let trouble = (1..lines).map(|number| format!("npm error no space left on {node} for file {number}\n"));
        let told: String = trouble.chain([format!("npm error code E{code}\n")]).collect();
        Ok(scripts::printing(&[told.as_bytes()], ExitStatus::Code(code)))
    });
    let ignore = cluster.choose(3) == 2;
    let deploy = cluster.component().with("ignore_replication_errors", ignore);
    let _ = cluster.deploy(NodeIndex(0), deploy).await;
    cluster.settle().await;
}
