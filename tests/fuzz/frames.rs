//! Frames: any bytes, cut anywhere, are the frames that the format says, or its errors; nothing too long is taken in.

use drydock::replication::frame::{FRAME_BYTES_MAX, FrameReader, decode, encode};

use crate::pieces::{at_once, reader_of, whatever_the_cutting};

/// What heads a frame: its length.
const HEAD_BYTES: usize = 4;

pub(crate) fn check(bytes: &[u8]) {
    let read = whatever_the_cutting(bytes, read);
    assert_eq!(read, reference(bytes));
    read.0.iter().for_each(|frame| decodes_to_itself(frame));
    decodes_to_itself(bytes);
}

/// The frames of a connection, and what ended it.
type Read = (Vec<Vec<u8>>, Ended);

#[derive(Debug, PartialEq)]
enum Ended {
    InOrder,
    Within,
    TooLong,
}

fn read(pieces: &[&[u8]]) -> Read {
    use drydock::replication::frame::FrameError;
    let mut reader = FrameReader::new(reader_of(pieces));
    let mut frames = Vec::new();
    let ended = at_once(async {
        loop {
            match reader.next().await {
                Ok(frame) => frames.push(frame.to_vec()),
                Err(FrameError::Closed { why: None }) => return Ended::InOrder,
                Err(FrameError::TooLong) => return Ended::TooLong,
                Err(FrameError::Io(_)) => return Ended::Within,
                Err(other) => panic!("not of this layer: {other}"),
            }
        }
    });
    (frames, ended)
}

/// The format in a few lines: a length of four bytes, the biggest first, and so many bytes.
fn reference(mut bytes: &[u8]) -> Read {
    let mut frames = Vec::new();
    loop {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return (frames, if bytes.is_empty() { Ended::InOrder } else { Ended::Within });
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return (frames, Ended::TooLong);
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else { return (frames, Ended::Within) };
        frames.push(frame.to_vec());
        bytes = rest;
    }
}

fn decodes_to_itself(bytes: &[u8]) {
    let Ok(frame) = decode(bytes) else { return };
    let encoded = encode(&frame);
    assert!(encoded.len() <= bytes.len(), "{frame:?} has grown");
    assert_eq!(decode(&encoded).expect("it was encoded from a frame"), frame);
}
