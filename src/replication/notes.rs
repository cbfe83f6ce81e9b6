//! What the side that carries out an operation says meanwhile: bounded, and never waited for.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use bytes::Bytes;
use tokio::sync::Notify;

use super::frame::{self, Frame};

/// The most bytes of notes that wait to be sent. What comes while they are full is left out, and counted.
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
#[derive(Clone, Default)]
pub struct Notes(Rc<Waiting>);

#[derive(Default)]
struct Waiting {
    queue: RefCell<Queue>,
    came: Notify,
}

#[derive(Default)]
struct Queue {
    notes: VecDeque<Note>,
    bytes: usize,
    /// Left out since the last note that was taken in.
    left_out: u64,
}

impl Notes {
    /// Leaves a note. Never waits: one that finds no room is left out, and counted.
    pub fn tell(&self, bytes: Bytes) {
        let mut queue = self.0.queue.borrow_mut();
        if queue.bytes + bytes.len() > NOTES_BYTES_MAX {
            queue.left_out += 1;
            return;
        }
        queue.bytes += bytes.len();
        let left_out = std::mem::take(&mut queue.left_out);
        queue.notes.push_back(Note { left_out, bytes });
        self.0.came.notify_one();
    }

    /// The next note, if there is one; at last one that tells what was left out behind it.
    pub(super) fn take(&self) -> Option<Note> {
        let mut queue = self.0.queue.borrow_mut();
        if let Some(note) = queue.notes.pop_front() {
            queue.bytes -= note.bytes.len();
            return Some(note);
        }
        let left_out = std::mem::take(&mut queue.left_out);
        (left_out > 0).then(|| Note { left_out, bytes: Bytes::new() })
    }

    /// Waits for the next note. Safe to cancel.
    pub(super) async fn next(&self) -> Note {
        loop {
            if let Some(note) = self.take() {
                return note;
            }
            self.0.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_left_out_and_counted() {
        let notes = Notes::default();
        let big = Bytes::from(vec![b'x'; NOTES_BYTES_MAX - 1]);
        [big.clone(), "two".into(), "three".into(), "4".into()].into_iter().for_each(|note| notes.tell(note));
        assert_eq!(notes.take(), Some(Note { left_out: 0, bytes: big }));
        assert_eq!(notes.take(), Some(Note { left_out: 2, bytes: "4".into() }));
        assert_eq!(notes.take(), None);
    }

    #[test]
    fn what_was_left_out_behind_the_last_note_is_told() {
        let notes = Notes::default();
        (0..3).for_each(|_| notes.tell(vec![b'x'; NOTES_BYTES_MAX].into()));
        notes.take();
        assert_eq!(notes.take(), Some(Note { left_out: 2, bytes: Bytes::new() }));
        assert_eq!(notes.take(), None);
    }
}
