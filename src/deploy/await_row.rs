//! A peer's wait for the row of a deployment: the operation may overtake it (spec 7).

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    budget::Budget,
    row::{Deployment, RowError, TABLE},
};
use crate::env::{Env, Record, StoreError, Table};

/// The wait after the first look.
const STEP_FIRST: Duration = Duration::from_millis(5);

/// The longest wait between two looks: how late a row is seen at most.
const STEP_MAX: Duration = Duration::from_millis(100);

/// What a wait is left with when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The row never came.
    Row,
    /// The row came, its payload did not.
    Payload,
}

/// Why the row could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AwaitRowError {
    /// Its time is over.
    #[error("timed out after {} ms waiting for {TABLE} row {id}: {}{}", timeout.as_millis(), told(*missing), read_error(last_error.as_ref()))]
    TimedOut {
        /// Which deployment.
        id: Uuid,
        /// The whole time.
        timeout: Duration,
        /// What was missing.
        missing: Missing,
        /// The last read that failed.
        last_error: Option<StoreError>,
    },
    /// This node has no such table: waiting would not help.
    #[error(transparent)]
    NoTable(StoreError),
    /// The row is there, and cannot be read.
    #[error(transparent)]
    Unreadable(#[from] RowError),
}

fn told(missing: Missing) -> &'static str {
    match missing {
        Missing::Row => "the row never replicated to this node; is replication from the origin alive?",
        Missing::Payload => "the row came, its payload did not; did the origin's upload end?",
    }
}

fn read_error(error: Option<&StoreError>) -> String {
    error.map(|error| format!(" (last read: {error})")).unwrap_or_default()
}

impl AwaitRowError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TimedOut { missing: Missing::Row, .. } => "row_timeout",
            Self::TimedOut { missing: Missing::Payload, .. } => "payload_timeout",
            Self::NoTable(_) => "no_table",
            Self::Unreadable(_) => "unreadable_row",
        }
    }
}

/// When to look again: at once, then after steps that double up to a limit; the last look is at the deadline.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    step: Duration,
    step_max: Duration,
    deadline: Instant,
}

impl BackOff {
    /// Steps from `first` to `step_max`, to `deadline`.
    pub fn new(first: Duration, step_max: Duration, deadline: Instant) -> Self {
        Self { step: first, step_max, deadline }
    }

    /// How long to sleep before the next look, after one that `began` then and has ended `now`; `None` when it was the
    /// last: one that began before the deadline and took beyond it may have missed what came meanwhile.
    pub fn next(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        if began >= self.deadline {
            return None;
        }
        let step = self.step;
        self.step = (step * 2).min(self.step_max);
        Some(step.min(self.deadline.saturating_duration_since(now)))
    }
}

/// Waits until this node's table holds the row of deployment `id` with its payload. Looks at least once, however small
/// the budget.
///
/// # Errors
/// When the budget is used up, telling what was missing; at once when the table does not exist. A read that fails is
/// remembered and tried again.
pub async fn await_deployment_row<E: Env>(env: &E, id: Uuid, budget: Budget) -> Result<Deployment, AwaitRowError> {
    let mut back_off = BackOff::new(STEP_FIRST, STEP_MAX, budget.deadline());
    let mut seen = Seen::default();
    let key = Deployment::key_of(id);
    loop {
        let began = Instant::now();
        if let Some(record) = seen.look(env.table().get(&key).await)? {
            return Ok(Deployment::from_record(&record)?);
        }
        match back_off.next(began, Instant::now()) {
            Some(step) => sleep(step).await,
            None => return Err(seen.timed_out(id, budget.timeout())),
        }
    }
}

/// What the looks so far have seen.
#[derive(Default)]
struct Seen {
    row: bool,
    last_error: Option<StoreError>,
}

impl Seen {
    /// Takes in a read; returns the row when it carries its payload.
    fn look(&mut self, read: Result<Option<Rc<Record>>, StoreError>) -> Result<Option<Rc<Record>>, AwaitRowError> {
        match read {
            Err(error @ StoreError::NoTable(_)) => return Err(AwaitRowError::NoTable(error)),
            Err(error) => self.last_error = Some(error),
            // The row of `create` comes before its payload is known (museum P08).
            Ok(Some(record)) if record.blob.is_some() => return Ok(Some(record)),
            Ok(row) => self.row |= row.is_some(),
        }
        Ok(None)
    }

    fn timed_out(self, id: Uuid, timeout: Duration) -> AwaitRowError {
        let missing = if self.row { Missing::Payload } else { Missing::Row };
        AwaitRowError::TimedOut { id, timeout, missing, last_error: self.last_error }
    }
}
