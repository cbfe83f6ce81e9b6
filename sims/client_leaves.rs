//! A client that goes away in the middle of its upload; and then another that does not, or hangs up later.
//!
//! Simulates a broken upload at any byte, and a client that closes its connection in mid-deploy. Fails when the row keeps a
//! payload that never was whole, when a partial blob stays, when the first cause is lost, when the next deploy suffers from
//! it, or when a deploy does not end because nobody waits for it.

use crate::{
    check::NodeIndex,
    sim::{cluster::Cluster, scenario::Scenario},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "client-leaves",
    summary: "an upload that breaks off at some byte, then a whole one, whose client may hang up later",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let origin = NodeIndex(0);
    let mut leaving = cluster.component();
    let places = [Some(700), Some(0), Some(1), Some(10_000), Some(1 << 30), None, None, None];
    let byte = cluster.choose_from(&places);
    leaving.leaves_after = Some(byte.unwrap_or_else(|| any_byte(&cluster)));
    let _ = cluster.deploy(origin, leaving).await;
    let mut hanging_up = cluster.component();
    hanging_up.hangs_up_after = cluster.choose_from(&[None, Some(2), Some(3), Some(5), Some(9)]);
    let _ = cluster.deploy(origin, hanging_up).await;
    cluster.settle().await;
}

/// Any byte of a small upload, or one behind its end.
pub(super) fn any_byte(cluster: &Cluster) -> u64 {
    cluster.choose(1 << 17).into()
}
