//! The recorder: owns a deployment's row from `create` to `finish` (spec 5).
//!
//! Everything is heard in memory first; live readers see it at once. All writes go one at a time through one turn, each
//! of the whole row as it is when the store takes its snapshot: puts of one key that ran side by side could commit in any
//! order (museum R01). Progress is observability: a put of it that fails is journalled and let pass.
//!
//! `flush` holds the turn and the coalescing, `ingest` the payload's way in.

mod flush;
mod ingest;

use std::{
    cell::RefCell,
    convert::Infallible,
    rc::{Rc, Weak},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::Mutex, time::sleep};
use uuid::Uuid;

use self::flush::Flush;
pub use self::ingest::{IngestError, Ingested, Upload, UploadError};
use super::{
    event::{Event, ProgressEmitter, Subscription},
    event_log::EventLog,
    outcome,
    registry::Listing,
    retry::{drop_told, until_done},
    row::{DeployFailure, Deployment, RestartMode, Status},
    slots::{self, ProjectName},
};
use crate::env::{Beats, Env, Key, Pulse, StoreError, Table};

/// Waits between the tries of the terminal put, before the deploy fails for it. The row ends all the same, later.
const TERMINAL_RETRIES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// What is known of a deployment when it begins.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// Its id.
    pub deployment_id: Uuid,
    /// The component's name.
    pub project: ProjectName,
    /// npm, git or file spec of a deploy without upload.
    pub package_identifier: Option<String>,
    /// How nodes restart.
    pub restart_mode: Option<RestartMode>,
    /// Who asked.
    pub user: Option<String>,
    /// The deployment whose payload this one brings back.
    pub rollback_of: Option<Uuid>,
}

impl NewDeployment {
    /// A deployment of `project` and nothing else.
    pub fn of_project(deployment_id: Uuid, project: ProjectName) -> Self {
        Self { deployment_id, project, package_identifier: None, restart_mode: None, user: None, rollback_of: None }
    }

    fn into_row<E: Env>(self, env: &E, stamp: u64) -> Deployment {
        Deployment {
            deployment_id: self.deployment_id,
            project: self.project,
            stamp,
            package_identifier: self.package_identifier,
            payload_hash: None,
            payload_size: None,
            payload_blob: None,
            status: Status::Pending,
            phase: None,
            event_log: EventLog::default(),
            peer_results: Vec::new(),
            origin_node: env.node().clone(),
            restart_mode: self.restart_mode,
            started_at: env.wall_clock_ms(),
            completed_at: None,
            user: self.user,
            rollback_of: self.rollback_of,
            error: None,
        }
    }
}

/// Is anything still heard?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// Events and outcomes change the row.
    Open,
    /// The deployment ends or has ended: nothing changes the row any more.
    Closed,
}

/// How far a recorder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It hears of the deployment.
    Open,
    /// It hears nothing more; its end is on the way to the store.
    Ending,
    /// Its end is durable.
    Ended,
}

/// How a deployment ends: no part of the row in memory before the store has it.
#[derive(Clone)]
struct End {
    status: Status,
    at_ms: u64,
    error: Option<DeployFailure>,
}

impl End {
    fn of(self, row: &mut Deployment) {
        row.status = self.status;
        row.complete(self.at_ms);
        row.error = self.error;
    }
}

struct State<E> {
    row: Deployment,
    /// What every put says of the row's end, from `finish` on until that is durable.
    end: Option<End>,
    /// Its place in the registry, where it must keep that after its deploy.
    listing: Option<Listing<E>>,
    hearing: Hearing,
    flush: Flush,
    subscription: Option<Subscription>,
}

struct Inner<E> {
    env: E,
    key: Key,
    state: RefCell<State<E>>,
    /// Whoever puts the row holds it.
    turn: Mutex<()>,
    /// How the terminal put ended, once it has.
    ended: RefCell<Option<Result<(), StoreError>>>,
    /// Wakes live readers: the row has changed, or its end is durable.
    changes: Pulse,
}

/// A deployment's recorder. Clones are handles to the same one.
pub struct Recorder<E>(Rc<Inner<E>>);

/// A hold on a recorder that keeps it from nothing: see [`super::registry`].
pub(super) struct WeakRecorder<E>(Weak<Inner<E>>);

impl<E> WeakRecorder<E> {
    pub(super) fn upgrade(&self) -> Option<Recorder<E>> {
        self.0.upgrade().map(Recorder)
    }
}

impl<E> Recorder<E> {
    pub(super) fn downgrade(&self) -> WeakRecorder<E> {
        WeakRecorder(Rc::downgrade(&self.0))
    }
}

impl<E> Clone for Recorder<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// The age of what is live: what is deployed now is newer, also where no row of it ever came. What cannot be read is told,
/// and counts for nothing: a swap looks again.
async fn stamp_of_live<E: Env>(env: &E, project: &ProjectName) -> u64 {
    match slots::live_build(env.disk(), project).await {
        Ok(live) => live.map_or(0, |build| build.stamp),
        Err(cause) => {
            drop_told(env, &format!("the age of the live build of `{project}`"), &cause);
            0
        }
    }
}

impl<E: Env> Recorder<E> {
    /// Records a new deployment, and hears `progress` from then on. The pending row is durable when this returns.
    ///
    /// # Errors
    /// When the store refuses the row: then there is no deployment.
    pub async fn create(env: &E, progress: &ProgressEmitter, new: NewDeployment) -> Result<Self, StoreError> {
        let key = Deployment::key_of(new.deployment_id);
        let live_stamp = stamp_of_live(env, &new.project).await;
        let row = new.into_row(env, env.table().fresh_stamp(live_stamp).await?);
        let state = State {
            row,
            end: None,
            listing: None,
            hearing: Hearing::Open,
            flush: Flush::default(),
            subscription: None,
        };
        let recorder = Self(Rc::new(Inner {
            env: env.clone(),
            key,
            state: RefCell::new(state),
            turn: Mutex::new(()),
            ended: RefCell::default(),
            changes: Pulse::default(),
        }));
        recorder.put().await?;
        recorder.listen(progress);
        Ok(recorder)
    }

    fn listen(&self, progress: &ProgressEmitter) {
        // Weak: a recorder that nobody holds any more hears nothing more.
        let inner = Rc::downgrade(&self.0);
        let subscription = progress.subscribe(move |event| {
            if let Some(inner) = inner.upgrade() {
                Self(inner).hear_event(event);
            }
            Ok(())
        });
        self.0.state.borrow_mut().subscription = Some(subscription);
    }

    /// The row as it is now, for live readers: without its end before that is durable (museum R05).
    pub fn snapshot(&self) -> Deployment {
        self.0.state.borrow().row.clone()
    }

    /// Sees every change of the row in memory from now on, and its end once that is durable.
    pub fn watch(&self) -> Beats {
        self.0.changes.subscribe()
    }

    /// How far the deployment has come, for live readers.
    pub fn stage(&self) -> Stage {
        let state = self.0.state.borrow();
        match state.hearing {
            _ if state.row.status.is_terminal() => Stage::Ended,
            Hearing::Closed => Stage::Ending,
            Hearing::Open => Stage::Open,
        }
    }

    /// Gives up its place in the registry, once the row's end is durable (spec 5); says whether it is.
    pub fn leave(&self, listing: Listing<E>) -> bool {
        let state = &mut *self.0.state.borrow_mut();
        let is_durable = state.row.status.is_terminal();
        if !is_durable {
            state.listing = Some(listing);
        }
        is_durable
    }

    /// The event log as it is now: what [`Recorder::snapshot`] shows of it, without the rest of the row.
    pub fn with_log<T>(&self, read: impl FnOnce(&EventLog) -> T) -> T {
        read(&self.0.state.borrow().row.event_log)
    }

    /// Takes up one peer's outcome, under its node's name.
    pub fn record_peer(&self, outcome: &Value) {
        if self.hear(|row| outcome::upsert(&mut row.peer_results, outcome::normalize(outcome))) {
            self.request_flush();
        }
    }

    /// Takes up many peers' outcomes, in memory: never writes on its own, `finish` persists them (museum R01).
    pub fn record_peers(&self, outcomes: &[Value]) {
        self.hear(|row| {
            for outcome in outcomes {
                outcome::upsert(&mut row.peer_results, outcome::normalize(outcome));
            }
        });
    }

    fn hear_event(&self, event: &Event) {
        let t = self.0.env.wall_clock_ms();
        let heard = self.hear(|row| {
            row.event_log.append(t, event);
            if let Some(phase) = event.changed_phase() {
                row.phase = Some(phase.to_owned());
            }
            if let Some(status) = event.started_phase().and_then(Status::of_phase) {
                // Forward only: a phase that is told late does not bring an earlier status back.
                row.status = row.status.max(status);
            }
        });
        if heard {
            self.request_flush();
        }
    }

    /// Changes the row in memory, unless the deployment ends; says whether it did.
    fn hear(&self, change: impl FnOnce(&mut Deployment)) -> bool {
        let mut state = self.0.state.borrow_mut();
        if state.hearing == Hearing::Closed {
            return false;
        }
        change(&mut state.row);
        drop(state);
        self.0.changes.beat();
        true
    }

    /// Ends the deployment: stops listening, lets the put in flight come through, then lands status, completion, outcomes
    /// and error in one put. The first call decides; later ones wait for it. Returns when the end is durable.
    ///
    /// # Errors
    /// When the store refuses the terminal put, tries and all.
    pub async fn finish(&self, status: Status, error: Option<DeployFailure>) -> Result<(), StoreError> {
        if !self.close() {
            return self.ended().await;
        }
        let turn = self.0.turn.lock().await;
        let end = End { status, at_ms: self.0.env.wall_clock_ms(), error };
        self.0.state.borrow_mut().end = Some(end);
        let ended = self.put_terminal().await;
        drop(turn);
        *self.0.ended.borrow_mut() = Some(ended.clone());
        match &ended {
            Ok(()) => self.settle(),
            Err(cause) => self.end_later(cause),
        }
        ended
    }

    /// The row's end is durable: readers are told.
    fn settle(&self) {
        let mut state = self.0.state.borrow_mut();
        if let Some(end) = state.end.take() {
            end.of(&mut state.row);
        }
        let listing = state.listing.take();
        drop(state);
        self.0.changes.beat();
        drop(listing);
    }

    /// Stops hearing; false when that had happened before.
    fn close(&self) -> bool {
        let mut state = self.0.state.borrow_mut();
        let subscription = state.subscription.take();
        let before = std::mem::replace(&mut state.hearing, Hearing::Closed);
        drop(state);
        drop(subscription);
        before == Hearing::Open
    }

    async fn ended(&self) -> Result<(), StoreError> {
        let mut changes = self.0.changes.subscribe();
        loop {
            if let Some(ended) = self.0.ended.borrow().clone() {
                return ended;
            }
            changes.changed().await;
        }
    }

    /// A row that the store did not let end ends as `failed` as soon as it does: that is what the client was told.
    fn end_later(&self, cause: &StoreError) {
        let state = &mut *self.0.state.borrow_mut();
        if let Some(end) = &mut state.end {
            end.status = Status::Failed;
            end.error.get_or_insert_with(|| DeployFailure {
                message: format!("deployed, but the outcome could not be recorded in time: {cause}"),
                code: Some("store_refused".to_owned()),
                phase: state.row.phase.clone(),
            });
        }
        self.0.changes.beat();
        let recorder = self.clone();
        self.0.env.spawn_background("late end", async move {
            let what = format!("the end of deployment {}", recorder.0.key);
            until_done(&recorder.0.env, &what, || recorder.put()).await;
            recorder.settle();
            Ok::<(), Infallible>(())
        });
    }

    /// A row must end: a store that refuses for a moment is asked again.
    async fn put_terminal(&self) -> Result<(), StoreError> {
        for wait in TERMINAL_RETRIES {
            match self.put_in_turn().await {
                Ok(()) => return Ok(()),
                Err(cause) => self.journal_dropped("a try of the terminal put", &cause),
            }
            sleep(wait).await;
        }
        self.put_in_turn().await
    }
}
