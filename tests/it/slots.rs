//! Builds that go live one after the other on a disk that fails: what is live is one of them, and known.

use std::io;

use drydock::{
    check::NodeIndex,
    deploy::{
        row::Deployment,
        slots::{ProjectName, Slots, SwapError, live_build, swap},
    },
    env::{Disk, EntryKind, Env},
    sim::{
        choice::{Kind, Label, Replay},
        cluster::Cluster,
        disk::SimDisk,
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::story::{cluster_of, tell};

const NODE: NodeIndex = NodeIndex(0);

/// More than the steps of two builds that go live, each of which a disk may refuse.
const STEPS_MAX: u32 = 60;

fn hello() -> ProjectName {
    ProjectName::parse("hello").unwrap()
}

/// The places of the build with this stamp.
fn slots(stamp: u64) -> Slots {
    let row = json!({
        "deployment_id": Uuid::from_u128(u128::from(stamp)), "project": "hello", "status": "loading", "origin_node": "n1",
        "started_at": 1, "stamp": stamp,
    });
    Slots::new(&serde_json::from_value::<Deployment>(row).unwrap())
}

/// Does it once more when the disk refuses it, which it does once.
async fn twice_at_most<T>(step: impl AsyncFn() -> io::Result<T>) -> T {
    match step().await {
        Ok(done) => done,
        Err(_) => step().await.expect("a disk that fails once"),
    }
}

/// The stamp of what is live, and stands where the live path leads.
async fn live(disk: &SimDisk) -> Option<u64> {
    let live = twice_at_most(async || live_build(disk, &hello()).await).await?;
    let kept = slots(live.stamp).kept();
    let found = twice_at_most(async || disk.metadata(&kept).await).await;
    assert_eq!(found.expect("what is live is there").kind, EntryKind::Dir);
    Some(live.stamp)
}

/// Lets builds go live one after the other while the disk refuses one step; of each, how it went and what was live then.
fn go_live(stamps: &'static [u64], refused: u32) -> Vec<(Result<(), SwapError>, Option<u64>)> {
    let story = async move |cluster: Cluster| {
        let disk = cluster.env(NODE).disk().clone();
        let mut went = Vec::new();
        for stamp in stamps {
            let slots = slots(*stamp);
            twice_at_most(async || disk.create_dir_all(&slots.staged).await).await;
            let swapped = swap(&disk, &slots).await;
            went.push((swapped, live(&disk).await));
        }
        went
    };
    let failing = [(Label { kind: Kind::DiskFails, node: Some(NODE), occurrence: refused }, 1)].into();
    tell(&cluster_of(1), Replay(failing), story).0
}

#[test]
fn what_is_live_after_a_swap_is_what_it_says() {
    let mut refusals = 0;
    for refused in 0..STEPS_MAX {
        let mut before = None;
        for (stamp, (swapped, live)) in [1, 2].into_iter().zip(go_live(&[1, 2], refused)) {
            match swapped {
                Ok(()) => assert_eq!(live, Some(stamp), "step {refused}"),
                Err(SwapError::Disk { .. }) => {
                    refusals += 1;
                    assert_eq!(live, before, "step {refused}");
                }
                Err(error) => panic!("step {refused}: {error}"),
            }
            before = live;
        }
    }
    assert!(refusals > 10, "{refusals}");
    assert!(go_live(&[1, 2], STEPS_MAX).iter().all(|(swapped, _)| swapped.is_ok()), "there are more steps");
}

#[test]
fn a_build_may_go_live_again_and_stays_live_whatever_the_disk_refuses() {
    assert!(matches!(go_live(&[1, 1], u32::MAX)[..], [(Ok(()), Some(1)), (Ok(()), Some(1))]));
    let mut refusals = 0;
    for refused in 0..STEPS_MAX {
        let [(Ok(()), _), (again, live)] = &go_live(&[1, 1], refused)[..] else { continue };
        refusals += u32::from(again.is_err());
        assert_eq!(*live, Some(1), "step {refused}: {again:?}");
        assert!(matches!(again, Ok(()) | Err(SwapError::Disk { .. } | SwapError::NotDurable { .. })), "step {refused}");
    }
    assert!(refusals > 2, "{refusals}");
}

#[test]
fn an_older_build_never_goes_live() {
    let went = go_live(&[2, 1], u32::MAX);
    assert!(matches!(went[1], (Err(SwapError::Superseded { by }), Some(2)) if by == Uuid::from_u128(2)), "{went:?}");
}
