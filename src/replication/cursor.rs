//! How far a subscription has come, so that it can resume: pure.

use std::collections::BTreeMap;

use crate::env::{BlobId, Position};

/// What an entry of the sender's log still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    row: bool,
    blob: Option<BlobId>,
}

/// The cursor of one subscription: never passes an entry whose row is not committed, or whose blob is neither complete
/// nor known to have failed for good (museum B09).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    open: BTreeMap<Position, Open>,
    last: Position,
}

impl Cursor {
    /// The cursor of a subscription that had come this far.
    pub fn resuming(last: Position) -> Self {
        Self { open: BTreeMap::new(), last }
    }

    /// Where to resume: behind the last entry before which everything is done.
    pub fn resume_after(&self) -> Position {
        self.open.first_key_value().map_or(self.last, |(first, _)| Position(first.0 - 1))
    }

    /// An entry has come; it waits for its commit, and for its blob unless that is here.
    pub fn begin(&mut self, position: Position, waits_for: Option<BlobId>) {
        self.last = self.last.max(position);
        self.open.insert(position, Open { row: true, blob: waits_for });
    }

    /// An entry's row is committed, or was not newer than what is.
    pub fn row_done(&mut self, position: Position) {
        self.change(|at, open| open.row &= at != position);
    }

    /// A blob is complete, or will never be.
    pub fn blob_done(&mut self, id: BlobId) {
        self.change(|_, open| open.blob = open.blob.filter(|waited_for| *waited_for != id));
    }

    /// What was under way when a link broke comes again.
    pub fn forget_open(&mut self) {
        self.last = self.resume_after();
        self.open.clear();
    }

    fn change(&mut self, change: impl Fn(Position, &mut Open)) {
        self.open.retain(|position, open| {
            change(*position, open);
            open.row || open.blob.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(number: u128) -> BlobId {
        BlobId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_cursor_stops_before_the_first_row_that_is_not_committed() {
        let mut cursor = Cursor::default();
        (1..=3).for_each(|position| cursor.begin(Position(position), None));
        cursor.row_done(Position(1));
        cursor.row_done(Position(3));
        assert_eq!(cursor.resume_after(), Position(1));
        cursor.row_done(Position(2));
        assert_eq!(cursor.resume_after(), Position(3));
    }

    #[test]
    fn a_cursor_stops_before_a_row_whose_blob_is_under_way() {
        let mut cursor = Cursor::default();
        cursor.begin(Position(1), Some(blob(7)));
        cursor.row_done(Position(1));
        assert_eq!(cursor.resume_after(), Position(0));
        cursor.blob_done(blob(7));
        assert_eq!(cursor.resume_after(), Position(1));
    }

    #[test]
    fn what_was_under_way_when_a_link_broke_comes_again() {
        let mut cursor = Cursor::default();
        cursor.begin(Position(1), None);
        cursor.begin(Position(2), None);
        cursor.row_done(Position(2));
        cursor.forget_open();
        assert_eq!(cursor.resume_after(), Position(0));
    }
}
