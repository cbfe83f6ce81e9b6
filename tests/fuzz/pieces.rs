//! One input, cut in several ways: whole, byte by byte, and two ways that the bytes themselves decide.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::io::AsyncBufRead;
use tokio_util::io::StreamReader;
use xxhash_rust::xxh3::xxh3_64;

/// Longer inputs are not cut into single bytes.
const SINGLE_BYTES_MAX: usize = 700;

/// The most pieces of an input that is cut here and there.
const PIECES_MAX: u64 = 12;

/// Every way to cut; no piece is empty.
fn cuttings(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuttings = vec![bytes.chunks(bytes.len().max(1)).collect(), cut(bytes, 1), cut(bytes, 2)];
    if bytes.len() <= SINGLE_BYTES_MAX {
        cuttings.push(bytes.chunks(1).collect());
    }
    cuttings
}

/// Cuts where a hash of the bytes says.
fn cut(bytes: &[u8], way: u64) -> Vec<&[u8]> {
    let hash = xxh3_64(bytes).wrapping_mul(way);
    let cuts = hash % PIECES_MAX;
    let mut ends: Vec<usize> =
        (0..cuts).map(|number| (hash.rotate_left(7 * number as u32) % (bytes.len() as u64 + 1)) as usize).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends.windows(2).filter(|ends| ends[0] < ends[1]).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

/// The pieces as a stream that never fails.
pub(crate) fn stream_of<E>(pieces: &[&[u8]]) -> impl Stream<Item = Result<Bytes, E>> + Unpin + use<E> {
    let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    stream::iter(pieces.into_iter().map(Ok))
}

/// A reader that hands out one piece after another.
pub(crate) fn reader_of(pieces: &[&[u8]]) -> impl AsyncBufRead + Unpin + use<> {
    StreamReader::new(stream_of::<io::Error>(pieces))
}

/// What `of` makes of every cutting, which is always the same.
pub(crate) fn whatever_the_cutting<T: PartialEq + std::fmt::Debug>(bytes: &[u8], of: impl Fn(&[&[u8]]) -> T) -> T {
    let cuttings = cuttings(bytes);
    let whole = of(&cuttings[0]);
    for pieces in &cuttings[1..] {
        let cut = of(pieces);
        assert_eq!(cut, whole, "in pieces of {:?}", pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>());
    }
    whole
}

/// Waits for what never waits: its bytes are all there, and its time is none.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without devices can be made").block_on(async {
        let began = tokio::time::Instant::now();
        let output = future.await;
        assert_eq!(began.elapsed(), std::time::Duration::ZERO, "it waited");
        output
    })
}
