//! What the side that carries out an operation says meanwhile: bounded, and never waited for.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;

use super::frame::{self, Frame};
use crate::env::{ByteQueue, Env};

/// The most bytes of notes that wait to be sent, and one note. What comes while they are full is left out, and counted.
pub const NOTES_BYTES_MAX: usize = 256 * 1024;

/// A note as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Notes that were left out before this one.
    pub left_out: u64,
    /// What it says; empty if it only tells what was left out.
    pub bytes: Bytes,
}

impl Note {
    pub(super) fn encode(&self) -> Bytes {
        frame::encode(&Frame::Note { left_out: self.left_out, bytes: &self.bytes })
    }
}

/// Where notes are left. Clones are handles to the same place.
#[derive(Clone)]
pub struct Notes {
    queue: ByteQueue<Note>,
    /// Left out since the last note that was taken in.
    left_out: Rc<Cell<u64>>,
}

impl Notes {
    pub(super) fn new<E: Env>(env: &E) -> Self {
        Self::in_queue(env.queue("notes", NOTES_BYTES_MAX))
    }

    fn in_queue(queue: ByteQueue<Note>) -> Self {
        Self { queue, left_out: Rc::default() }
    }

    /// Leaves a note. Never waits: one that finds no room is left out, and counted.
    pub fn tell(&self, bytes: Bytes) {
        let (length, left_out) = (bytes.len(), self.left_out.get());
        match self.queue.offer(Note { left_out, bytes }, length) {
            Ok(()) => self.left_out.set(0),
            Err(_) => self.left_out.set(left_out + 1),
        }
    }

    /// The next note, if there is one; at last one that tells what was left out behind it.
    pub(super) fn take(&self) -> Option<Note> {
        self.queue.take().or_else(|| {
            let left_out = self.left_out.take();
            (left_out > 0).then(|| Note { left_out, bytes: Bytes::new() })
        })
    }

    /// Waits for the next note. Safe to cancel.
    pub(super) async fn next(&self) -> Note {
        match self.take() {
            Some(note) => note,
            // None is left out while there is room: the next one comes into the queue.
            None => self.queue.next().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> Notes {
        Notes::in_queue(ByteQueue::new(NOTES_BYTES_MAX, |_, _| {}))
    }

    #[test]
    fn what_finds_no_room_is_left_out_and_counted() {
        let notes = notes();
        let big = Bytes::from(vec![b'x'; NOTES_BYTES_MAX]);
        [big.clone(), "two".into(), "three".into()].into_iter().for_each(|note| notes.tell(note));
        assert_eq!(notes.take(), Some(Note { left_out: 0, bytes: big }));
        notes.tell("4".into());
        assert_eq!(notes.take(), Some(Note { left_out: 2, bytes: "4".into() }));
        assert_eq!(notes.take(), None);
    }

    #[test]
    fn what_was_left_out_behind_the_last_note_is_told() {
        let notes = notes();
        (0..3).for_each(|_| notes.tell(vec![b'x'; NOTES_BYTES_MAX].into()));
        notes.take();
        assert_eq!(notes.take(), Some(Note { left_out: 2, bytes: Bytes::new() }));
        assert_eq!(notes.take(), None);
    }
}
