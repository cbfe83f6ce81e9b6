//! A deployment's log as a live tail: what there is, then what comes, each entry once, and the terminal row at the end.
//!
//! A tail holds no queue: it remembers the `seq` that it has handed on, and looks at the log again whenever that may have
//! grown. So a reader that is slow or gone costs the deploy nothing, and one that lags beyond what the log keeps gets a
//! `truncated` entry that counts exactly what it missed. On the origin the tail looks at the recorder for as long as that
//! is at work, and elsewhere, or when the recorder is gone, at the table.

use std::{collections::VecDeque, pin::pin};

use futures_util::future::select;
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use super::{ReadError, row_of};
use crate::{
    deploy::{
        event_log::{EventLog, LogEntry},
        recorder::{Recorder, Stage},
        registry::Registry,
        row::Deployment,
    },
    env::{Beats, Env, Key, RowWatch, Table},
};

/// The most entries that a tail takes from the log at a time: with the log's own bound on an entry this bounds its bytes.
const BATCH_ENTRIES_MAX: usize = 16;

/// The pause before a read that failed is tried again.
const PAUSE_AFTER_FAILURE: std::time::Duration = std::time::Duration::from_millis(100);

/// The name of the entry that stands for what the log has dropped.
const TRUNCATED: &str = "truncated";

/// What a tail hands on.
#[derive(Clone, Debug, PartialEq)]
pub enum TailItem {
    /// The next entry of the log, or a `truncated {dropped_events}` for those that the log has dropped meanwhile; its
    /// `seq` is that of the last of them.
    Entry(LogEntry),
    /// The deployment is over: its terminal row. The last item.
    End(Box<Deployment>),
}

/// Where a tail stands.
enum Place {
    Following,
    Over,
}

/// A live tail of one deployment.
pub struct Tail<E: Env> {
    env: E,
    registry: Registry<E>,
    id: Uuid,
    key: Key,
    /// What has been handed on or is in `batch`.
    cursor: Cursor,
    batch: VecDeque<LogEntry>,
    place: Place,
}

/// What woke or will wake a tail: taken before the look, so that what comes between the two is not missed (museum S01).
enum Wake<W> {
    Recorder(Beats),
    /// The row's writer may come to be at work here: a row is in the table before its recorder is listed.
    Table(W, Beats),
}

impl<W: RowWatch> Wake<W> {
    async fn changed(&mut self) {
        match self {
            // A recorder that is gone has told all it had: the table is next.
            Self::Recorder(changes) => changes.changed().await,
            Self::Table(watch, recorders) => {
                select(pin!(watch.changed()), pin!(recorders.changed())).await;
            }
        }
    }
}

/// What a look at the log found.
enum Look {
    /// Entries, in the batch.
    Entries,
    /// Nothing new.
    Nothing,
    /// Nothing new, and the deployment is over.
    End(Box<Deployment>),
}

impl<E: Env> Tail<E> {
    /// A tail of deployment `id` from its first event on.
    ///
    /// # Errors
    /// When this node does not know the deployment.
    pub(super) async fn attach(env: &E, registry: &Registry<E>, id: Uuid) -> Result<Self, ReadError> {
        if registry.live(id).is_none() {
            row_of(env, id).await?;
        }
        Ok(Self {
            env: env.clone(),
            registry: registry.clone(),
            id,
            key: Deployment::key_of(id),
            cursor: Cursor::default(),
            batch: VecDeque::new(),
            place: Place::Following,
        })
    }

    /// The next item; waits for it. `None` after the end. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// When the row cannot be read for good. A read that fails is tried again.
    pub async fn next(&mut self) -> Result<Option<TailItem>, ReadError> {
        loop {
            if let Some(entry) = self.batch.pop_front() {
                return Ok(Some(TailItem::Entry(entry)));
            }
            if matches!(self.place, Place::Over) {
                return Ok(None);
            }
            let (mut wake, look) = match self.registry.live(self.id) {
                Some(recorder) => (Wake::Recorder(recorder.watch()), self.look_at_recorder(&recorder)),
                None => {
                    let wake = Wake::Table(self.env.table().watch(&self.key), self.registry.watch());
                    (wake, self.look_at_table().await?)
                }
            };
            match look {
                Look::Entries => {}
                Look::Nothing => wake.changed().await,
                Look::End(row) => {
                    self.place = Place::Over;
                    return Ok(Some(TailItem::End(row)));
                }
            }
        }
    }

    fn look_at_recorder(&mut self, recorder: &Recorder<E>) -> Look {
        if recorder.with_log(|log| self.take(log)) {
            return Look::Entries;
        }
        match recorder.stage() {
            Stage::Ended => Look::End(Box::new(recorder.snapshot())),
            Stage::Open | Stage::Ending => Look::Nothing,
        }
    }

    async fn look_at_table(&mut self) -> Result<Look, ReadError> {
        let row = loop {
            match row_of(&self.env, self.id).await {
                Err(ReadError::Store(_)) => sleep(PAUSE_AFTER_FAILURE).await,
                other => break other?,
            }
        };
        if self.take(&row.event_log) {
            return Ok(Look::Entries);
        }
        Ok(if row.status.is_terminal() { Look::End(Box::new(row)) } else { Look::Nothing })
    }

    /// Takes the next entries into the batch; false when there are none.
    fn take(&mut self, log: &EventLog) -> bool {
        self.batch.extend(self.cursor.unseen(log).take(BATCH_ENTRIES_MAX));
        if let Some(last) = self.batch.back() {
            self.cursor = Cursor(last.seq);
        }
        !self.batch.is_empty()
    }
}

/// The `seq` of the last entry that a reader has; 0 before the first. Never a time: events of one millisecond are many
/// (museum S02).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    /// What `log` holds beyond this cursor, in order. What it has dropped beyond it is one `truncated` entry, which
    /// counts this reader's loss and not that of others.
    pub fn unseen(self, log: &EventLog) -> impl Iterator<Item = LogEntry> {
        let mut seen = self.0;
        log.entries().filter(move |entry| entry.seq > self.0).map(move |entry| {
            let mut entry = entry.clone();
            if *entry.event == *TRUNCATED {
                entry.data = json!({ "dropped_events": entry.seq - seen });
            }
            seen = entry.seq;
            entry
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::event::Event;

    fn log_of(events: u64) -> EventLog {
        let mut log = EventLog::default();
        // One millisecond for all: a clock is no sequence.
        (1..=events).for_each(|number| log.append(7, &Event::warning(&number.to_string())));
        log
    }

    fn seqs(cursor: u64, log: &EventLog) -> Vec<u64> {
        Cursor(cursor).unseen(log).map(|entry| entry.seq).collect()
    }

    #[test]
    fn a_reader_gets_what_is_beyond_its_cursor_and_nothing_else() {
        assert_eq!(seqs(0, &log_of(3)), [1, 2, 3]);
        assert_eq!(seqs(2, &log_of(3)), [3]);
        assert!(seqs(3, &log_of(3)).is_empty());
    }

    #[test]
    fn a_reader_that_lags_is_told_exactly_how_many_events_it_missed() {
        let log = log_of(1_000);
        let mut unseen = Cursor(100).unseen(&log);
        let marker = unseen.next().unwrap();
        assert_eq!((marker.seq, marker.data), (821, json!({ "dropped_events": 721 })));
        assert_eq!(unseen.next().unwrap().seq, 822);
        assert_eq!(seqs(821, &log)[0], 822);
        assert_eq!(seqs(900, &log)[0], 901);
    }
}
