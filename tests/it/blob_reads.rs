//! Reads of a payload that is still arriving (spec 7), at times that no step of a choice expresses.

use std::time::Duration;

use bytes::Bytes;
use drydock::{
    check::NodeIndex,
    deploy::{
        blob_stream::{BlobReadError, BlobStream},
        budget::Budget,
    },
    env::{BlobId, Blobs, Env},
    sim::{blobs::SimBlobs, choice::Calm, cluster::Cluster},
};
use futures_util::future::join;
use tokio::time::sleep;

use crate::story::{cluster_of, tell};

const BLOB: BlobId = BlobId(uuid::Uuid::from_u128(7));
const PIECE: Bytes = Bytes::from_static(b"0123456789");

async fn write(blobs: &impl Blobs, pieces: usize, pause: Duration) {
    blobs.create(BLOB).await.unwrap();
    for _ in 0..pieces {
        sleep(pause).await;
        blobs.append(BLOB, PIECE).await.unwrap();
    }
}

/// All bytes, as they come.
async fn read(blobs: &impl Blobs, within: Duration) -> Result<usize, BlobReadError> {
    let mut stream = BlobStream::new(blobs, BLOB, Budget::starting_now(within));
    let mut bytes = 0;
    while let Some(piece) = stream.next().await? {
        bytes += piece.len();
    }
    Ok(bytes)
}

fn read_while(writes: impl AsyncFnOnce(&SimBlobs) + 'static) -> Result<usize, BlobReadError> {
    read_within(Duration::from_secs(600), writes)
}

fn read_within(within: Duration, writes: impl AsyncFnOnce(&SimBlobs) + 'static) -> Result<usize, BlobReadError> {
    let story = async move |cluster: Cluster| {
        let env = cluster.env(NodeIndex(0));
        join(read(env.blobs(), within), writes(env.blobs())).await.0
    };
    tell(&cluster_of(1), Calm, story).0
}

#[test]
fn a_transfer_that_begins_anew_is_not_stalled_while_it_grows() {
    // The second transfer needs 40 s to where the first broke off.
    let whole = read_while(async |blobs| {
        write(blobs, 4, Duration::from_secs(1)).await;
        write(blobs, 6, Duration::from_secs(10)).await;
        blobs.complete(BLOB).await.unwrap();
    });
    assert_eq!(whole, Ok(60));
}

#[test]
fn a_transfer_that_does_not_grow_for_20_s_is_stalled() {
    let broken = read_while(async |blobs| {
        write(blobs, 1, Duration::from_secs(19)).await;
        sleep(Duration::from_secs(21)).await;
        blobs.append(BLOB, PIECE).await.unwrap();
        blobs.complete(BLOB).await.unwrap();
    });
    assert!(matches!(broken, Err(BlobReadError::Unavailable { .. })), "{broken:?}");
}

#[test]
fn a_transfer_that_still_grows_when_the_time_is_over_is_told_as_slow_and_not_as_stalled() {
    let late = read_within(Duration::from_secs(5), async |blobs| {
        write(blobs, 8, Duration::from_millis(1_100)).await;
        blobs.complete(BLOB).await.unwrap();
    });
    let told = late.unwrap_err().to_string();
    let says = "is unavailable (503): 40 bytes have arrived, and the 5 s of `deployment_timeout` are over";
    assert!(told.contains(says), "{told}");
}

#[test]
fn a_blob_that_is_deleted_while_it_is_read_is_gone_at_once() {
    let within = Duration::from_secs(15);
    let gone = read_within(within, async |blobs| {
        write(blobs, 2, Duration::from_millis(10)).await;
        sleep(Duration::from_millis(10)).await;
        blobs.delete(BLOB).await.unwrap();
    });
    assert_eq!(gone, Err(BlobReadError::Gone { id: BLOB }));
}

#[test]
fn a_blob_that_ends_before_what_was_read_of_it_is_incomplete() {
    let broken = read_while(async |blobs| {
        write(blobs, 4, Duration::from_millis(10)).await;
        sleep(Duration::from_millis(10)).await;
        write(blobs, 2, Duration::ZERO).await;
        blobs.complete(BLOB).await.unwrap();
    });
    let told = broken.unwrap_err().to_string();
    assert!(told.contains("is incomplete (500): 40 bytes were read of it, and 20 are left"), "{told}");
}
