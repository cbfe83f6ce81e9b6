//! A cluster that has healed has so much time to come to rest, and no more.

use std::{path::Path, time::Duration};

use drydock::{
    check::{Event, NodeIndex},
    env::{Disk, Env},
    sim::{choice::Calm, cluster::Cluster, run::Report},
};
use tokio::time::sleep;

use crate::story::{cluster_of, tell};

const N1: NodeIndex = NodeIndex(0);

/// The last delay, a silent link, and two pauses behind failures.
const REST_MS: u64 = 61_000 + 60_000 + 2 * 30_000;

/// What was given to a cluster that never came to rest, and what was in its way.
fn unsettled(report: &Report) -> Option<(u64, &str)> {
    report.trace.entries().iter().find_map(|entry| match &entry.event {
        Event::Unsettled { within_ms, what } => Some((*within_ms, what.as_str())),
        _ => None,
    })
}

/// Tells `story`, behind which something lies in n1's staging area that nobody works on.
fn leave_something_behind(story: impl AsyncFnOnce(&Cluster) + 'static) -> Report {
    let story = async move |cluster: Cluster| {
        story(&cluster).await;
        cluster.env(N1).disk().create_dir_all(Path::new("staging/of-nobody")).await.unwrap();
        cluster.settle().await;
    };
    tell(&cluster_of(3), Calm, story).1
}

#[test]
fn what_lies_about_is_told_when_the_time_is_over() {
    let report = leave_something_behind(async |_| {});
    assert_eq!(unsettled(&report), Some((REST_MS, "staging/of-nobody stands on n1")));
    assert_eq!(report.violation().unwrap().invariant, "NOORPHAN");
    let broken = report.judgements.iter().filter_map(|judgement| judgement.violation.as_ref());
    assert!(broken.map(|violation| violation.invariant).eq(["NOORPHAN", "WAKE"]));
}

#[test]
fn a_deploy_that_is_over_everywhere_has_no_part_in_the_time() {
    let report = leave_something_behind(async |cluster| {
        cluster.deploy(N1, cluster.component()).await.unwrap();
        let refused = cluster.deploy(N1, cluster.component().with("project", "..")).await;
        refused.unwrap_err();
    });
    let (within_ms, _) = unsettled(&report).unwrap();
    assert!((REST_MS..REST_MS + 1_000).contains(&within_ms), "{within_ms} ms, the bytes included");
}

#[test]
fn what_an_open_deploy_may_take_is_given_less_what_it_took() {
    let given = |waited: Duration| {
        let report = leave_something_behind(async move |cluster| {
            let mut deploy = cluster.component().with("deployment_timeout", 20_000).with("install_timeout", 100_000);
            deploy.hangs_up_after = Some(0);
            cluster.deploy(N1, deploy).await.unwrap_err();
            sleep(waited).await;
        });
        unsettled(&report).unwrap().0
    };
    // Two installs, the wait for the row, and the margin that an origin gives its peers.
    let open_ms = 2 * 100_000 + 20_000 + 60_000;
    let soon = given(Duration::ZERO);
    assert!((REST_MS + open_ms - 1_000..REST_MS + open_ms + 1_000).contains(&soon), "{soon} ms");
    let later = given(Duration::from_secs(50));
    assert_eq!(soon - later, 50_000);
}
