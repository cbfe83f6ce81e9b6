//! Frames of the channel: length-delimited, in postcard; chunks are never copied.

use std::io;

use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec, LengthDelimitedCodecError};

use crate::env::{BlobId, Key, Position, Record, Version};

/// The longest frame. A row is far smaller, a chunk is [`CHUNK_BYTES_MAX`]; an operation that is longer is refused.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most bytes of a blob in one frame (`BLOB_CHUNK`).
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The version of the channel's protocol; both ends must speak the same.
pub const PROTOCOL: u32 = 3;

/// What goes over a connection between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame<'a> {
    /// The subscriber's first words. Who it is the connection tells, see [`crate::env::Accepted`].
    Subscribe {
        /// See [`PROTOCOL`].
        protocol: u32,
        /// From where on in the sender's log.
        after: Position,
    },
    /// An entry of the sender's log.
    Row {
        /// Its place there.
        position: Position,
        /// Its key.
        key: Key,
        /// Its version.
        version: Version,
        /// The encoded row.
        #[serde(borrow, with = "serde_bytes")]
        value: &'a [u8],
        /// The blob that it refers to.
        blob: Option<BlobId>,
    },
    /// A blob begins, from its first byte.
    BlobBegin(BlobId),
    /// The next bytes of a blob (`BLOB_CHUNK`).
    BlobChunk {
        /// Which blob.
        id: BlobId,
        /// The place of the first byte.
        offset: u64,
        /// The bytes.
        #[serde(borrow, with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// A blob is whole.
    BlobEnd {
        /// Which blob.
        id: BlobId,
        /// Its length.
        bytes: u64,
        /// Its XXH3 of 128 bits: against errors of the transfer; the payload's SHA-256 is checked where it is used.
        checksum: u128,
    },
    /// A blob cannot be sent, now or later.
    BlobFailed {
        /// Which blob.
        id: BlobId,
        /// Why.
        cause: String,
    },
    /// Nothing but a sign of life.
    Ping,
    /// An operation begins; the first words on a connection of its own.
    Operation {
        /// See [`PROTOCOL`].
        protocol: u32,
        /// How many bytes it has, which follow in parts.
        bytes: u64,
    },
    /// The next bytes of an operation.
    OperationPart(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// What the side that works has to say meanwhile.
    Note {
        /// Notes that were left out before this one, because they came too fast.
        left_out: u64,
        /// The note.
        #[serde(borrow, with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// The answer to an operation, as JSON.
    Answer(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// The other end does not go on, and says why.
    Closing(String),
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection broke.
    #[error(transparent)]
    Io(io::Error),
    /// A frame that is longer than the limit: its head said so, and nothing more of it was taken in.
    #[error("a frame is longer than {FRAME_BYTES_MAX} bytes: do all nodes run the same version?")]
    TooLong,
    /// A frame that says nothing.
    #[error("malformed frame: {0}")]
    Malformed(#[from] postcard::Error),
    /// A frame that is out of place.
    #[error("out of place: {0}")]
    OutOfPlace(String),
    /// The other end closed in good order, or said why.
    #[error("connection closed{}", why.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Closed {
        /// What it said.
        why: Option<String>,
    },
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.get_ref() {
            Some(cause) if cause.is::<LengthDelimitedCodecError>() => Self::TooLong,
            _ => Self::Io(error),
        }
    }
}

/// What stands before a frame: its length.
const HEAD_BYTES: usize = 4;

fn encoder() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec()
}

/// Leaves the head before its frame: a decoder that had taken it would have nothing left to miss when the connection ends
/// right behind it, and would call that good order.
fn decoder() -> LengthDelimitedCodec {
    let mut builder = LengthDelimitedCodec::builder();
    builder.max_frame_length(FRAME_BYTES_MAX).num_skip(0).length_adjustment(HEAD_BYTES as isize).new_codec()
}

/// The encoded frame.
pub fn encode(frame: &Frame<'_>) -> Bytes {
    let room = match payload(frame).len() {
        0 => 0,
        bytes => bytes + BESIDE_PAYLOAD_BYTES,
    };
    let encoded = postcard::to_extend(frame, Vec::with_capacity(room));
    encoded.expect("frames hold nothing that postcard cannot encode").into()
}

/// What a frame takes beside its payload, as a rule; one that takes more is encoded too, by growing.
const BESIDE_PAYLOAD_BYTES: usize = 256;

/// The bytes that a frame carries for others.
fn payload<'a>(frame: &Frame<'a>) -> &'a [u8] {
    match frame {
        Frame::Row { value: bytes, .. } | Frame::BlobChunk { bytes, .. } | Frame::Note { bytes, .. } => bytes,
        Frame::OperationPart(bytes) | Frame::Answer(bytes) => bytes,
        _ => &[],
    }
}

/// The frame that `bytes` encode.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    Ok(postcard::from_bytes(bytes)?)
}

/// The record of a row frame that `frame` was decoded from.
pub fn record(frame: &Bytes, key: Key, version: Version, value: &[u8], blob: Option<BlobId>) -> Record {
    Record { key, version, value: frame.slice_ref(value), blob }
}

/// The reading end of a connection.
pub struct FrameReader<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames from `reader`.
    pub fn new(reader: R) -> Self {
        Self(FramedRead::new(reader, decoder()))
    }

    /// The next frame's bytes, for [`decode`]. Safe to cancel.
    pub async fn next(&mut self) -> Result<Bytes, FrameError> {
        let frame = self.0.next().await.ok_or(FrameError::Closed { why: None })?;
        let mut frame = frame?.freeze();
        frame.advance(HEAD_BYTES);
        Ok(frame)
    }
}

/// The writing end of a connection.
pub struct FrameWriter<W>(FramedWrite<W, LengthDelimitedCodec>);

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes frames to `writer`.
    pub fn new(writer: W) -> Self {
        Self(FramedWrite::new(writer, encoder()))
    }

    /// Sends an encoded frame; waits while the connection is full.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        Ok(self.0.send(frame).await?)
    }

    /// Ends this direction: the other end reads what was sent, then its end.
    pub async fn close(&mut self) -> Result<(), FrameError> {
        Ok(SinkExt::<Bytes>::close(&mut self.0).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a reader keeps for a frame that it has not heard of yet.
    const LITTLE: usize = 64 * 1024;

    /// Reads the first frame of `bytes`; returns what came of it, and what the reader has taken for its bytes.
    fn read(bytes: &[u8]) -> (Result<Bytes, FrameError>, usize) {
        let mut reader = FrameReader::new(bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(reader.next());
        (read, reader.0.read_buffer().capacity())
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_at_its_head_and_no_memory_taken_for_it() {
        for length in [FRAME_BYTES_MAX as u32 + 1, 1 << 30, u32::MAX] {
            let (read, taken) = read(&[&length.to_be_bytes()[..], b"and some of it"].concat());
            assert!(matches!(read, Err(FrameError::TooLong)), "{length}: {read:?}");
            assert!(taken < LITTLE, "{taken} bytes for a frame of {length}");
        }
    }

    #[test]
    fn a_connection_that_ends_within_a_frame_does_not_end_in_good_order() {
        let whole = [&3u32.to_be_bytes()[..], b"abc"].concat();
        assert_eq!(read(&whole).0.unwrap(), "abc");
        assert!(matches!(read(b"").0, Err(FrameError::Closed { why: None })));
        for end in 1..whole.len() {
            let (read, _) = read(&whole[..end]);
            assert!(matches!(read, Err(FrameError::Io(_))), "cut at {end}: {read:?}");
        }
    }

    #[test]
    fn a_frame_of_the_limit_is_read() {
        let whole = [&(FRAME_BYTES_MAX as u32).to_be_bytes()[..], &vec![b'x'; FRAME_BYTES_MAX]].concat();
        assert_eq!(read(&whole).0.unwrap().len(), FRAME_BYTES_MAX);
    }

    #[test]
    fn a_frame_that_is_too_long_to_send_says_the_same() {
        let mut writer = FrameWriter::new(Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = runtime.block_on(writer.send(vec![b'x'; FRAME_BYTES_MAX + 1].into()));
        assert!(matches!(sent, Err(FrameError::TooLong)), "{sent:?}");
    }
}
