//! What a node's blobs do from their beginning to their end.

use std::rc::Rc;

use bytes::Bytes;
use drydock::{
    env::{BlobError, BlobId, BlobState, BlobWatch, Blobs, Env},
    sim::process::{Script, Scripts},
};
use futures_util::future::poll_immediate;
use uuid::Uuid;

use crate::stage::{self, Nodes};

stage::claims! {
    a_blob_that_nobody_began_is_missing_and_empty;
    a_blob_grows_with_what_is_added;
    a_blob_can_be_read_while_it_is_written;
    a_blob_that_is_complete_is_whole;
    an_empty_blob_can_be_complete;
    a_read_takes_no_more_than_it_is_allowed;
    behind_the_end_there_is_nothing;
    nothing_is_added_to_what_is_not_being_written;
    only_what_is_being_written_can_be_completed;
    a_blob_that_failed_says_why_and_holds_nothing;
    a_blob_that_was_complete_can_fail;
    a_blob_that_is_deleted_is_missing;
    a_blob_begins_anew;
    blobs_are_listed_in_the_order_of_their_ids;
    who_watches_sees_every_kind_of_change;
    who_watches_one_blob_sees_no_other;
}

fn scripts() -> Rc<Scripts> {
    Rc::new(|_, _| Ok(Script::default()))
}

fn id(number: u128) -> BlobId {
    BlobId(Uuid::from_u128(number))
}

const ID: BlobId = BlobId(Uuid::from_u128(7));

async fn here<E: Env>(nodes: &Nodes<E>, claim: impl AsyncFnOnce(E) + 'static) {
    nodes.on(0, claim).await;
}

/// A blob that is being written, of two pieces.
async fn begun<E: Env>(env: &E, id: BlobId) {
    env.blobs().create(id).await.unwrap();
    env.blobs().append(id, Bytes::from_static(b"hello ")).await.unwrap();
    env.blobs().append(id, Bytes::from_static(b"world")).await.unwrap();
}

async fn read_all<E: Env>(env: &E, id: BlobId) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        match env.blobs().read(id, read.len() as u64, 4).await.unwrap() {
            piece if piece.is_empty() => return read,
            piece => read.extend_from_slice(&piece),
        }
    }
}

async fn state<E: Env>(env: &E, id: BlobId) -> BlobState {
    env.blobs().state(id).await.unwrap()
}

async fn a_blob_that_nobody_began_is_missing_and_empty<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert_eq!(state(&env, ID).await, BlobState::Missing);
        assert!(read_all(&env, ID).await.is_empty());
    })
    .await;
}

async fn a_blob_grows_with_what_is_added<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        env.blobs().create(ID).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Writing { bytes: 0 });
        begun(&env, ID).await;
        assert_eq!(state(&env, ID).await, BlobState::Writing { bytes: 11 });
    })
    .await;
}

async fn a_blob_can_be_read_while_it_is_written<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        begun(&env, ID).await;
        assert_eq!(read_all(&env, ID).await, b"hello world");
    })
    .await;
}

async fn a_blob_that_is_complete_is_whole<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        begun(&env, ID).await;
        env.blobs().complete(ID).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Complete { bytes: 11 });
        assert_eq!(read_all(&env, ID).await, b"hello world");
    })
    .await;
}

async fn an_empty_blob_can_be_complete<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        env.blobs().create(ID).await.unwrap();
        env.blobs().complete(ID).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Complete { bytes: 0 });
    })
    .await;
}

async fn a_read_takes_no_more_than_it_is_allowed<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        begun(&env, ID).await;
        let read = env.blobs().read(ID, 1, 3).await.unwrap();
        assert!(!read.is_empty() && b"ell".starts_with(&read), "{read:?}");
    })
    .await;
}

async fn behind_the_end_there_is_nothing<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        begun(&env, ID).await;
        for offset in [11, 12, 1 << 40] {
            assert!(env.blobs().read(ID, offset, 10).await.unwrap().is_empty());
        }
        env.blobs().complete(ID).await.unwrap();
        assert!(env.blobs().read(ID, 11, 10).await.unwrap().is_empty());
    })
    .await;
}

fn is_refused(result: Result<(), BlobError>, state: &str) -> bool {
    matches!(result, Err(BlobError::State { id: ID, state: told }) if told == state)
}

async fn nothing_is_added_to_what_is_not_being_written<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let add = async || env.blobs().append(ID, Bytes::from_static(b"x")).await;
        assert!(is_refused(add().await, "missing"));
        begun(&env, ID).await;
        env.blobs().complete(ID).await.unwrap();
        assert!(is_refused(add().await, "complete"));
        env.blobs().fail(ID, "why".to_owned()).await.unwrap();
        assert!(is_refused(add().await, "failed"));
    })
    .await;
}

async fn only_what_is_being_written_can_be_completed<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert!(is_refused(env.blobs().complete(ID).await, "missing"));
        begun(&env, ID).await;
        env.blobs().complete(ID).await.unwrap();
        assert!(is_refused(env.blobs().complete(ID).await, "complete"));
    })
    .await;
}

async fn a_blob_that_failed_says_why_and_holds_nothing<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        begun(&env, ID).await;
        env.blobs().fail(ID, "its origin is gone".to_owned()).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Failed { cause: "its origin is gone".to_owned() });
        assert!(read_all(&env, ID).await.is_empty());
    })
    .await;
}

async fn a_blob_that_was_complete_can_fail<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        begun(&env, ID).await;
        env.blobs().complete(ID).await.unwrap();
        env.blobs().fail(ID, "damaged".to_owned()).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Failed { cause: "damaged".to_owned() });
    })
    .await;
}

async fn a_blob_that_is_deleted_is_missing<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        env.blobs().delete(ID).await.unwrap();
        begun(&env, ID).await;
        env.blobs().complete(ID).await.unwrap();
        env.blobs().delete(ID).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Missing);
        assert!(read_all(&env, ID).await.is_empty());
    })
    .await;
}

async fn a_blob_begins_anew<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        for _ in 0..2 {
            begun(&env, ID).await;
            env.blobs().complete(ID).await.unwrap();
        }
        env.blobs().fail(ID, "why".to_owned()).await.unwrap();
        env.blobs().create(ID).await.unwrap();
        assert_eq!(state(&env, ID).await, BlobState::Writing { bytes: 0 });
        assert!(read_all(&env, ID).await.is_empty());
    })
    .await;
}

async fn blobs_are_listed_in_the_order_of_their_ids<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        for number in [4, 2, 3, 1] {
            begun(&env, id(number)).await;
        }
        env.blobs().complete(id(4)).await.unwrap();
        env.blobs().fail(id(1), "why".to_owned()).await.unwrap();
        env.blobs().delete(id(3)).await.unwrap();
        assert_eq!(env.blobs().list().await.unwrap(), [id(1), id(2), id(4)]);
    })
    .await;
}

async fn who_watches_sees_every_kind_of_change<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut watch = env.blobs().watch(ID);
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none());
        env.blobs().create(ID).await.unwrap();
        watch.changed().await;
        env.blobs().append(ID, Bytes::from_static(b"x")).await.unwrap();
        watch.changed().await;
        env.blobs().complete(ID).await.unwrap();
        watch.changed().await;
        env.blobs().fail(ID, "why".to_owned()).await.unwrap();
        watch.changed().await;
        env.blobs().delete(ID).await.unwrap();
        watch.changed().await;
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none());
    })
    .await;
}

async fn who_watches_one_blob_sees_no_other<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut watch = env.blobs().watch(ID);
        begun(&env, id(8)).await;
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none());
    })
    .await;
}
