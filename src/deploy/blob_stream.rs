//! A blob as a stream of chunks, while it may still be arriving (spec 7).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::budget::Budget;
use crate::env::{BlobError, BlobId, BlobState, BlobWatch, Blobs};

/// A blob that has not grown for so long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// Waits before a fresh read of a blob that was unavailable.
const RETRIES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// The most that one read takes.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Why a blob could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobReadError {
    /// It is still arriving, or stalled: may be tried again.
    #[error("payload blob {id} is unavailable (503): {why}; try again")]
    Unavailable {
        /// Which blob.
        id: BlobId,
        /// What it is waiting for.
        why: String,
    },
    /// It broke off, for good.
    #[error("payload blob {id} is incomplete (500): {why}; deploy again")]
    Incomplete {
        /// Which blob.
        id: BlobId,
        /// What happened to it.
        why: String,
    },
    /// It is not there any more.
    #[error("payload blob {id} is gone (404): it was deleted while it was read; deploy again")]
    Gone {
        /// Which blob.
        id: BlobId,
    },
}

/// Reads a blob at its consumer's pace. Does nothing between two calls, and nothing after it is dropped.
pub struct BlobStream<'a, B> {
    blobs: &'a B,
    id: BlobId,
    budget: Budget,
    offset: u64,
    retries: std::slice::Iter<'static, Duration>,
}

impl<'a, B: Blobs> BlobStream<'a, B> {
    /// A stream of blob `id` from its first byte, within `budget`.
    pub fn new(blobs: &'a B, id: BlobId, budget: Budget) -> Self {
        Self { blobs, id, budget, offset: 0, retries: RETRIES.iter() }
    }

    /// The next bytes; `None` at the end of the whole blob. Waits for bytes that are in flight.
    ///
    /// # Errors
    /// See [`BlobReadError`]. An unavailable blob is read afresh after 2 s and 5 s within the budget, as long as no byte
    /// has been handed on: after that its bytes would come twice (museum P13).
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobReadError> {
        loop {
            let error = match self.read_on().await {
                Err(error @ BlobReadError::Unavailable { .. }) => error,
                other => return other,
            };
            let wait = self.retries.next().filter(|wait| self.offset == 0 && **wait < self.budget.remaining());
            let Some(wait) = wait else { return Err(error) };
            sleep(*wait).await;
        }
    }

    /// Bytes from `offset` on, as soon as there are any.
    async fn read_on(&mut self) -> Result<Option<Bytes>, BlobReadError> {
        let mut seen = None;
        let mut stalled = self.budget.deadline();
        loop {
            // Watch first: what changes between the look and the wait must end the wait (museum B06).
            let mut watch = self.blobs.watch(self.id);
            let state = self.blobs.state(self.id).await.map_err(|error| self.failed(&error))?;
            let bytes = self.blobs.read(self.id, self.offset, READ_BYTES_MAX).await;
            let bytes = bytes.map_err(|error| self.failed(&error))?;
            if !bytes.is_empty() {
                self.offset += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            if self.is_at_end(&state)? {
                return Ok(None);
            }
            if matches!((&seen, &state), (Some(BlobState::Complete { .. }), BlobState::Missing)) {
                return Err(BlobReadError::Gone { id: self.id });
            }
            // A transfer that began anew grows below what was read already.
            if seen.as_ref() != Some(&state) {
                stalled = (Instant::now() + STALLED_AFTER).min(self.budget.deadline());
                seen = Some(state.clone());
            }
            if timeout_at(stalled, watch.changed()).await.is_err() {
                return Err(self.unavailable(&state));
            }
        }
    }

    /// Is a blob in `state`, of which nothing more could be read, at its end? If not, it may still grow.
    fn is_at_end(&self, state: &BlobState) -> Result<bool, BlobReadError> {
        match state {
            BlobState::Complete { bytes } if *bytes == self.offset => Ok(true),
            BlobState::Complete { bytes } if *bytes < self.offset => {
                let why = format!("{} bytes were read of it, and {bytes} are left", self.offset);
                Err(BlobReadError::Incomplete { id: self.id, why })
            }
            BlobState::Complete { .. } | BlobState::Writing { .. } => Ok(false),
            BlobState::Missing if self.offset > 0 => Err(BlobReadError::Gone { id: self.id }),
            // Its row came first, or a fresh transfer of it will begin.
            BlobState::Missing => Ok(false),
            BlobState::Failed { cause } => Err(BlobReadError::Incomplete { id: self.id, why: cause.clone() }),
        }
    }

    fn unavailable(&self, state: &BlobState) -> BlobReadError {
        if self.budget.remaining().is_zero() {
            return BlobReadError::Unavailable { id: self.id, why: self.late(state) };
        }
        let why = match state {
            BlobState::Missing => "its transfer has not begun".to_owned(),
            BlobState::Failed { cause } => format!("its transfer failed: {cause}"),
            BlobState::Writing { bytes } | BlobState::Complete { bytes } => {
                format!("{bytes} bytes have arrived and no more come")
            }
        };
        BlobReadError::Unavailable { id: self.id, why }
    }

    /// More may come, and nobody waits for it: that is no fault of the transfer.
    fn late(&self, state: &BlobState) -> String {
        let arrived = match state {
            BlobState::Missing | BlobState::Failed { .. } => 0,
            BlobState::Writing { bytes } | BlobState::Complete { bytes } => *bytes,
        };
        let seconds = self.budget.timeout().as_secs_f64();
        format!("{arrived} bytes have arrived, and the {seconds} s of `deployment_timeout` are over: set a longer one")
    }

    fn failed(&self, error: &BlobError) -> BlobReadError {
        BlobReadError::Incomplete { id: self.id, why: error.to_string() }
    }
}
