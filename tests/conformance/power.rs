//! What a loss of power leaves, where that can be had: on the devices that both simulated worlds share.
//!
//! Each claim is held against a loss that takes all it may.

use std::{path::Path, rc::Rc};

use bytes::Bytes;
use drydock::{
    check::NodeIndex,
    env::{BlobId, BlobState, Blobs, Changes, Disk, Draft, Env, File, Position, Serving, Table},
    sim::{
        choice::{Choices, Kind, Label, Replay},
        env::SimEnv,
        process::Script,
        run::{Stage, WorldKind},
    },
};
use uuid::Uuid;

use crate::stage::{NODES, in_simulation, name};

/// Tells what a node does before its power is lost, and what it finds in its next life.
fn before_and_after(before: impl AsyncFn(SimEnv) + Clone + 'static, after: impl AsyncFn(SimEnv) + Clone + 'static) {
    for world in [WorldKind::Sim, WorldKind::Turmoil] {
        let (before, after) = (before.clone(), after.clone());
        let stage =
            Stage { nodes: NODES, scripts: Rc::new(|_, _| Ok(Script::default())), source: Box::new(takes_all()) };
        in_simulation(world, stage, async move |nodes| {
            let node = nodes.on(0, async move |env: SimEnv| {
                before(env.clone()).await;
                env.lose_power();
                env.reborn();
                after(env).await;
            });
            node.await;
        });
    }
}

fn takes_all() -> Replay {
    let all = |kind| (Label { kind, node: Some(NodeIndex(0)), occurrence: 0 }, 15);
    Replay(Choices::from([all(Kind::LostNames), all(Kind::LostBytes)]))
}

async fn write(env: &SimEnv, path: &str) -> impl File + use<> {
    let mut file = env.disk().create_file(Path::new(path), 0o644).await.unwrap();
    file.write("words".into()).await.unwrap();
    file
}

async fn is_there(env: &SimEnv, path: &str) -> bool {
    env.disk().metadata(Path::new(path)).await.unwrap().is_some()
}

#[test]
fn what_was_synced_is_there_and_what_was_not_is_not() {
    let before = async |env: SimEnv| {
        write(&env, "synced").await.sync().await.unwrap();
        drop(write(&env, "bytes-not-synced").await);
        env.disk().sync_dir(Path::new("")).await.unwrap();
        write(&env, "name-not-synced").await.sync().await.unwrap();
    };
    let after = async |env: SimEnv| {
        assert_eq!(env.disk().read_file(Path::new("synced"), 100).await.unwrap(), "words");
        assert_eq!(env.disk().read_file(Path::new("bytes-not-synced"), 100).await.unwrap(), "");
        assert!(!is_there(&env, "name-not-synced").await);
    };
    before_and_after(before, after);
}

#[test]
fn a_tree_that_was_synced_is_there_whole() {
    let before = async |env: SimEnv| {
        env.disk().create_dir_all(Path::new("a/b")).await.unwrap();
        drop(write(&env, "a/b/f").await);
        env.disk().sync_tree(Path::new("a")).await.unwrap();
        env.disk().sync_dir(Path::new("")).await.unwrap();
    };
    let after = async |env: SimEnv| {
        assert_eq!(env.disk().read_file(Path::new("a/b/f"), 100).await.unwrap(), "words");
    };
    before_and_after(before, after);
}

#[test]
fn a_rename_that_was_not_synced_is_undone_and_nothing_is_in_between() {
    let before = async |env: SimEnv| {
        write(&env, "old").await.sync().await.unwrap();
        env.disk().sync_dir(Path::new("")).await.unwrap();
        env.disk().rename(Path::new("old"), Path::new("new")).await.unwrap();
    };
    let after = async |env: SimEnv| assert!(is_there(&env, "old").await && !is_there(&env, "new").await);
    before_and_after(before, after);
}

const WHOLE: BlobId = BlobId(Uuid::from_u128(1));
const HALF: BlobId = BlobId(Uuid::from_u128(2));
const FAILED: BlobId = BlobId(Uuid::from_u128(3));

#[test]
fn a_blob_that_has_ended_stays_as_it_ended_and_half_a_blob_may_be_gone() {
    let before = async |env: SimEnv| {
        for id in [WHOLE, HALF, FAILED] {
            env.blobs().create(id).await.unwrap();
            env.blobs().append(id, Bytes::from_static(b"words")).await.unwrap();
        }
        env.blobs().complete(WHOLE).await.unwrap();
        env.blobs().fail(FAILED, "why".to_owned()).await.unwrap();
    };
    let after = async |env: SimEnv| {
        assert_eq!(env.blobs().state(WHOLE).await.unwrap(), BlobState::Complete { bytes: 5 });
        assert_eq!(env.blobs().state(HALF).await.unwrap(), BlobState::Missing);
        assert_eq!(env.blobs().state(FAILED).await.unwrap(), BlobState::Failed { cause: "why".to_owned() });
    };
    before_and_after(before, after);
}

#[test]
fn rows_their_log_and_cursors_are_durable_when_their_calls_return() {
    let before = async |env: SimEnv| {
        env.table().put(&"a".into(), || Draft { value: "row".into(), blob: None }).await.unwrap();
        env.table().save_cursor(&name(1), Position(4)).await.unwrap();
    };
    let after = async |env: SimEnv| {
        let row = env.table().get(&"a".into()).await.unwrap().unwrap();
        let (_, logged) = env.table().changes(Position::default()).next().await.unwrap();
        assert_eq!((logged, row.value.clone()), (Rc::clone(&row), "row".into()));
        assert_eq!(env.table().cursor(&name(1)).await.unwrap(), Position(4));
    };
    before_and_after(before, after);
}

#[test]
fn a_node_that_starts_serves_nothing() {
    let before = async |env: SimEnv| env.serving().switch("shop", Uuid::nil(), Path::new("d")).await.unwrap();
    let after = async |env: SimEnv| assert_eq!(env.serving().served("shop").await.unwrap(), None);
    before_and_after(before, after);
}
