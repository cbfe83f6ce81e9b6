//! The one way to the store: puts take turns, and progress is coalesced.

use std::convert::Infallible;

use super::Recorder;
use crate::env::{Env, Journal, StoreError, Table};

/// Whether progress goes to the store.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Gate {
    /// As soon as the store has time for it.
    #[default]
    Open,
    /// Not while the payload comes in.
    Paused,
    /// Not any more: `finish` writes next (`seal`).
    Sealed,
}

/// What is to be flushed, and whether it may be.
#[derive(Default)]
pub(super) struct Flush {
    gate: Gate,
    /// The row has changed since its last snapshot.
    dirty: bool,
    /// A task flushes.
    running: bool,
}

impl<E: Env> Recorder<E> {
    /// From now on progress stays in memory, where live readers see it; `finish` writes it.
    pub fn seal(&self) {
        self.0.state.borrow_mut().flush.gate = Gate::Sealed;
    }

    pub(super) fn pause_flush(&self) {
        self.0.state.borrow_mut().flush.gate = Gate::Paused;
    }

    pub(super) fn resume_flush(&self) {
        self.0.state.borrow_mut().flush.gate = Gate::Open;
    }

    /// Lets the store know of a change when it has time: at most one put is in flight, what changes meanwhile marks the
    /// row dirty, and one more put follows.
    pub(super) fn request_flush(&self) {
        let mut state = self.0.state.borrow_mut();
        state.flush.dirty = true;
        if state.flush.running || state.flush.gate != Gate::Open {
            return;
        }
        state.flush.running = true;
        drop(state);
        let recorder = self.clone();
        self.0.env.spawn_background("flush", async move {
            recorder.flush().await;
            Ok::<(), Infallible>(())
        });
    }

    /// Puts the row until it is clean.
    async fn flush(&self) {
        loop {
            let turn = self.0.turn.lock().await;
            // Whoever had the turn before may have written what was dirty.
            if !self.is_flush_due() {
                break;
            }
            if let Err(cause) = self.put_in_turn().await {
                self.journal_dropped("a progress put", &cause);
            }
            drop(turn);
        }
    }

    /// Is there something to flush? If not, the flushing task ends with this answer.
    fn is_flush_due(&self) -> bool {
        let flush = &mut self.0.state.borrow_mut().flush;
        flush.running = flush.dirty && flush.gate == Gate::Open;
        flush.running
    }

    /// Puts the row as soon as no other put is in flight; durable when this returns.
    pub(super) async fn put(&self) -> Result<(), StoreError> {
        let _turn = self.0.turn.lock().await;
        self.put_in_turn().await
    }

    /// Puts the row. The caller holds the turn.
    pub(super) async fn put_in_turn(&self) -> Result<(), StoreError> {
        let snapshot = || {
            let mut state = self.0.state.borrow_mut();
            state.flush.dirty = false;
            match state.end.clone() {
                None => state.row.to_draft(),
                Some(end) => {
                    let mut row = state.row.clone();
                    end.of(&mut row);
                    row.to_draft()
                }
            }
        };
        self.0.env.table().put(&self.0.key, snapshot).await.map(drop)
    }

    pub(super) fn journal_dropped(&self, what: &str, cause: &StoreError) {
        let what = format!("{what} of deployment {}", self.0.key);
        self.0.env.journal(Journal::Dropped { what, cause: cause.to_string() });
    }
}
