//! Frames of the channel: what is sent is what is read, however it is cut; and no bytes make a reader panic.

use std::io;

use bytes::Bytes;
use drydock::{
    env::{BlobId, Position, Version},
    replication::frame::{Frame, FrameReader, FrameWriter, decode, encode},
};
use futures_util::stream;
use proptest::{
    option,
    prelude::*,
    sample::{Index, select},
};
use tokio_util::io::StreamReader;
use uuid::Uuid;

use super::kept_in;

fn blob() -> impl Strategy<Value = BlobId> {
    any::<u128>().prop_map(|id| BlobId(Uuid::from_u128(id)))
}

const BYTES: [&[u8]; 3] = [b"", b"{}", &[0xff; 300]];

/// A frame over the given bytes.
fn frame(bytes: &'static [u8]) -> impl Strategy<Value = Frame<'static>> {
    let version = (any::<u64>(), "[a-z0-9]{0,9}").prop_map(|(stamp, node)| Version { stamp, node: node.into() });
    prop_oneof![
        (any::<u32>(), any::<u64>())
            .prop_map(|(protocol, after)| Frame::Subscribe { protocol, after: Position(after) }),
        (any::<u64>(), ".{0,9}", version, option::of(blob())).prop_map(move |(position, key, version, blob)| {
            Frame::Row { position: Position(position), key: key.into(), version, value: bytes, blob }
        }),
        blob().prop_map(Frame::BlobBegin),
        (blob(), any::<u64>()).prop_map(move |(id, offset)| Frame::BlobChunk { id, offset, bytes }),
        (blob(), any::<u64>(), any::<u128>()).prop_map(|(id, bytes, checksum)| Frame::BlobEnd { id, bytes, checksum }),
        (blob(), ".{0,20}").prop_map(|(id, cause)| Frame::BlobFailed { id, cause }),
        Just(Frame::Ping),
        (any::<u32>(), any::<u64>()).prop_map(|(protocol, bytes)| Frame::Operation { protocol, bytes }),
        Just(Frame::OperationPart(bytes)),
        any::<u64>().prop_map(move |left_out| Frame::Note { left_out, bytes }),
        Just(Frame::Answer(bytes)),
        ".{0,20}".prop_map(Frame::Closing),
    ]
}

fn frames() -> impl Strategy<Value = Vec<Frame<'static>>> {
    proptest::collection::vec(select(&BYTES[..]).prop_flat_map(frame), 0..8)
}

/// What a connection carries of `frames`.
async fn written(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FrameWriter::new(&mut bytes);
    for frame in frames {
        writer.send(encode(frame)).await.unwrap();
    }
    writer.close().await.unwrap();
    bytes
}

/// The frames read from a connection that hands its bytes on in pieces, up to its end or the first error.
async fn read(bytes: &[u8], cuts: &[Index]) -> Vec<Bytes> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    ends.sort_unstable();
    let pieces = ends.windows(2).filter(|ends| ends[0] < ends[1]);
    let pieces = pieces.map(|ends| io::Result::Ok(Bytes::copy_from_slice(&bytes[ends[0]..ends[1]])));
    let mut reader = FrameReader::new(StreamReader::new(stream::iter(pieces.collect::<Vec<_>>())));
    let mut frames = Vec::new();
    while let Ok(frame) = reader.next().await {
        frames.push(frame);
    }
    frames
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/frames.txt"))]

    #[test]
    fn frames_are_read_as_they_were_sent_wherever_they_are_cut(
        frames in frames(),
        cuts in proptest::collection::vec(any::<Index>(), 0..8),
    ) {
        let bytes = now(written(&frames));
        let read = now(read(&bytes, &cuts));
        let decoded: Vec<_> = read.iter().map(|frame| decode(frame).unwrap()).collect();
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = decode(&bytes) {
            let again = encode(&frame);
            prop_assert_eq!(decode(&again).unwrap(), frame);
        }
        now(read(&bytes, &[]));
    }

    #[test]
    fn a_damaged_frame_is_a_frame_or_an_error(frames in frames(), at in any::<Index>(), flip in 1u8..) {
        let mut bytes = now(written(&frames));
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        now(read(&bytes, &[])).iter().for_each(|frame| drop(decode(frame)));
    }
}
