//! The origin's side: from a request to a verdict (spec 6).

use std::rc::Rc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    budget::Budget,
    build::{self, BuildError, Plan},
    carried::{self, CarryError},
    dispatch::{Heard, dispatch},
    event::{Event, PhaseStatus, ProgressEmitter},
    event_log::shorten_text,
    journal::journal_progress,
    operation::{Operation, PeerDeploy},
    outcome::PeerResult,
    package::{self, PackageError, PackageSpec},
    recorder::{IngestError, NewDeployment, Recorder},
    registry::Registry,
    request::{DeployRequest, PeerFailures, Reach},
    restart::{Restart, RestartError},
    retention,
    rollback::Source,
    rollout::Rollout,
    row::{DeployFailure, RestartMode, Status},
    slots::ProjectLocks,
    verdict::{Coverage, Verdict},
};
use crate::env::{Env, NodeName, StoreError};

/// How long an origin waits for a peer's answer beyond the time that the peer may take for its row and its install.
pub const ANSWER_MARGIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Why a deploy failed, before it is told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the deployment could not be recorded: {0}")]
    Create(StoreError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the payload cannot travel to the peers: {0}")]
    Carry(#[from] CarryError),
    #[error("{message}")]
    Peers { message: String, failed: Vec<PeerResult> },
    #[error("deployed, but not restarted: {own}{}", also(peers))]
    Restart { own: RestartError, peers: Option<String>, failed: Vec<PeerResult> },
    #[error("deployed, but the outcome could not be recorded in time: {0}")]
    Outcome(StoreError),
}

fn also(peers: &Option<String>) -> String {
    peers.as_ref().map(|message| format!("; {message}")).unwrap_or_default()
}

impl Failure {
    /// The phase that failed, as clients are told.
    fn phase(&self) -> &'static str {
        match self {
            Self::Create(_) | Self::Ingest(_) | Self::Package(_) => "prepare",
            Self::Build(error) => error.phase(),
            Self::Peers { .. } | Self::Carry(_) => "replicate",
            Self::Restart { .. } => "restart",
            Self::Outcome(_) => "success",
        }
    }

    /// The last lines that the program printed whose failure it is.
    fn install_output(&self) -> Option<&[String]> {
        match self {
            Self::Build(error) => error.install_output(),
            Self::Package(error) => error.output(),
            _ => None,
        }
    }

    /// A word for programs.
    fn code(&self) -> Option<String> {
        match self {
            Self::Create(_) | Self::Outcome(_) => Some("store_refused".to_owned()),
            Self::Ingest(_) => Some("upload_failed".to_owned()),
            Self::Package(_) => Some("package_failed".to_owned()),
            Self::Build(error) => Some(error.code().to_owned()),
            Self::Restart { own, .. } => Some(own.code().to_owned()),
            Self::Carry(_) => Some("payload_cannot_travel".to_owned()),
            Self::Peers { .. } => None,
        }
    }
}

/// Deploys `source` as `request` says. `sees` is called with each event of the client's stream, the last of which is
/// `done` or `error`; returns what that last event said.
pub(super) async fn deploy_component<E: Env>(
    env: &E,
    locks: &ProjectLocks,
    registry: &Registry<E>,
    request: DeployRequest,
    source: Source,
    sees: impl Fn(&Event) + 'static,
) -> Result<Value, Value> {
    let (sees, mut source) = (Rc::new(sees), source);
    let progress = ProgressEmitter::default();
    let _client = progress.subscribe({
        let sees = Rc::clone(&sees);
        move |event| {
            sees(event);
            Ok(())
        }
    });
    let id = env.fresh_id();
    let _journal = journal_progress(env, &progress, id);
    let answer = Deploy { env, locks, registry, request: &request, progress: &progress, id }.run(&mut source).await;
    match &answer {
        Ok(response) => sees(&Event::done(response.clone())),
        Err(failure) => sees(&Event::error(failure.clone())),
    }
    answer
}

/// One deploy on its origin.
struct Deploy<'a, E: Env> {
    env: &'a E,
    locks: &'a ProjectLocks,
    registry: &'a Registry<E>,
    request: &'a DeployRequest,
    progress: &'a ProgressEmitter,
    id: Uuid,
}

impl<E: Env> Deploy<'_, E> {
    async fn run(&self, source: &mut Source) -> Result<Value, Value> {
        let recorder = match self.create(source).await {
            Ok(recorder) => recorder,
            Err(error) => return Err(self.told(&Failure::Create(error))),
        };
        let live = self.registry.list(self.id, &recorder);
        let attempt = match self.attempt(&recorder, source).await {
            Ok(coverage) => self.succeed(&recorder, coverage).await,
            Err(failure) => Err(failure),
        };
        let answer = match attempt {
            Ok(response) => Ok(response),
            Err(failure) => Err(self.fail(&recorder, &failure).await),
        };
        // Then the row is its store's again: what retention changes there is seen by all readers. Of one whose end the store has
        // yet to take nobody could tell whether what it replaced is needed.
        if recorder.leave(live) {
            retention::apply(self.env, self.progress, &self.request.project, self.id).await;
        }
        answer
    }

    async fn create(&self, source: &Source) -> Result<Recorder<E>, StoreError> {
        let new = NewDeployment {
            deployment_id: self.id,
            project: self.request.project.clone(),
            package_identifier: source.package().map(ToString::to_string),
            restart_mode: match self.request.restart {
                Restart::Never => None,
                Restart::Now => Some(RestartMode::Immediate),
                Restart::Rolling => Some(RestartMode::Rolling),
            },
            user: self.request.user.clone(),
            rollback_of: source.rollback_of(),
        };
        Recorder::create(self.env, self.progress, new).await
    }

    /// Everything up to the verdict.
    async fn attempt(&self, recorder: &Recorder<E>, source: &mut Source) -> Result<Coverage, Failure> {
        self.emit_phase("prepare", PhaseStatus::Start);
        self.ingest(recorder, source).await?;
        self.build(recorder).await?;
        self.emit_phase("prepare", PhaseStatus::Done);
        let coverage = self.judge(self.replicate(recorder).await?)?;
        if self.request.restart == Restart::Never {
            return Ok(coverage);
        }
        let (restarted, coverage) = self.restart(recorder, coverage).await;
        match (restarted, coverage.verdict()) {
            (Ok(()), _) => self.judge(coverage),
            (Err(own), Verdict::Success) => Err(Failure::Restart { own, peers: None, failed: Vec::new() }),
            (Err(own), Verdict::Failure { message, failed }) => {
                Err(Failure::Restart { own, peers: Some(message), failed })
            }
        }
    }

    async fn ingest(&self, recorder: &Recorder<E>, source: &mut Source) -> Result<(), Failure> {
        let ingested = match source {
            Source::Upload(upload) => recorder.ingest_payload(upload).await,
            Source::Package(spec) => return self.ingest_package(recorder, spec).await,
            Source::Earlier(earlier) => {
                let budget = Budget::starting_now(self.request.deployment_timeout);
                recorder.ingest_payload(std::pin::pin!(earlier.stream(self.env, budget))).await
            }
        };
        Ok(ingested.map(drop)?)
    }

    /// Packs a package, and takes the archive in. What it was packed in goes, whatever came of it.
    async fn ingest_package(&self, recorder: &Recorder<E>, spec: &PackageSpec) -> Result<(), Failure> {
        let tell = |event: &Event| self.progress.emit(event);
        let packed = package::pack(self.env, self.id, spec, self.request.install.timeout, tell).await;
        let ingested = match packed {
            Ok(archive) => {
                let archive = std::pin::pin!(package::stream(self.env, &archive));
                recorder.ingest_payload(archive).await.map(drop).map_err(Failure::Ingest)
            }
            Err(cause) => Err(Failure::Package(cause)),
        };
        build::remove(self.env, package::directory(self.id)).await;
        ingested
    }

    /// Builds from the row's blob, not from the request: what the peers will get is what the origin runs.
    async fn build(&self, recorder: &Recorder<E>) -> Result<(), BuildError> {
        let deployment = recorder.snapshot();
        let budget = Budget::starting_now(self.request.deployment_timeout);
        let plan = Plan { deployment: &deployment, install: &self.request.install, budget };
        build::build(self.env, self.locks, self.progress, &plan).await
    }

    /// Asks the peers: the membership as it is now, minus self.
    async fn replicate(&self, recorder: &Recorder<E>) -> Result<Coverage, Failure> {
        if self.request.reach == Reach::OriginOnly {
            return Ok(Coverage::default());
        }
        recorder.seal();
        self.emit_phase("replicate", PhaseStatus::Start);
        let operation = self.operation(recorder).await?;
        let peers: Vec<NodeName> = self.env.members().into_iter().filter(|member| member != self.env.node()).collect();
        let mut coverage = Coverage::expecting(&peers);
        // The peer may be at another deploy of the project first, which takes as long.
        let deadline = 2 * (self.request.deployment_timeout + self.request.install.timeout) + ANSWER_MARGIN;
        dispatch(self.env, &peers, &operation, deadline, &self.lines(), |outcome| {
            self.settle(recorder, &mut coverage, outcome);
        })
        .await;
        self.emit_phase("replicate", PhaseStatus::Done);
        Ok(coverage)
    }

    async fn operation(&self, recorder: &Recorder<E>) -> Result<bytes::Bytes, CarryError> {
        let budget = Budget::starting_now(self.request.deployment_timeout);
        let carried = carried::for_peers(self.env, &recorder.snapshot(), budget).await?;
        let mut forwarded = PeerDeploy::forwarding(self.request, self.id);
        let (payload, pieces) = carried.unzip();
        forwarded.payload = payload;
        Ok(Operation::DeployComponent(forwarded).to_bytes_with(&pieces.unwrap_or_default()))
    }

    /// What the peers' installers print, as events that name the peer.
    fn lines(&self) -> Heard {
        let progress = self.progress.clone();
        Rc::new(move |peer, note| {
            if note.left_out > 0 {
                progress.emit(&Event::lines_left_out(peer, note.left_out));
            }
            if let Ok(Value::Object(line)) = serde_json::from_slice(&note.bytes) {
                progress.emit(&Event::install_on(peer, line));
            }
        })
    }

    /// A peer's outcome, or the one that takes its place.
    fn settle(&self, recorder: &Recorder<E>, coverage: &mut Coverage, outcome: Value) {
        coverage.settle(&outcome);
        recorder.record_peer(&outcome);
        self.progress.emit(&Event::peer(outcome));
    }

    /// Restarts this node and the peers that run the build. A peer that does not serve it has failed.
    async fn restart(&self, recorder: &Recorder<E>, mut coverage: Coverage) -> (Result<(), RestartError>, Coverage) {
        self.emit_phase("restart", PhaseStatus::Start);
        let peers = coverage.successful();
        let rollout = Rollout {
            env: self.env,
            locks: self.locks,
            project: &self.request.project,
            id: self.id,
            peer_failures: self.request.peer_failures,
        };
        let failed = |outcome| self.settle(recorder, &mut coverage, outcome);
        let restarted = rollout.run(self.request.restart, &peers, failed).await;
        let all_well = restarted.is_ok() && coverage.successful().len() == peers.len();
        self.emit_phase("restart", if all_well { PhaseStatus::Done } else { PhaseStatus::Error });
        (restarted, coverage)
    }

    fn judge(&self, coverage: Coverage) -> Result<Coverage, Failure> {
        match coverage.verdict() {
            Verdict::Success => Ok(coverage),
            Verdict::Failure { .. } if self.request.peer_failures == PeerFailures::Ignore => Ok(coverage),
            Verdict::Failure { message, failed } => Err(Failure::Peers { message, failed }),
        }
    }

    async fn succeed(&self, recorder: &Recorder<E>, coverage: Coverage) -> Result<Value, Failure> {
        self.emit_phase("success", PhaseStatus::Done);
        recorder.finish(Status::Success, None).await.map_err(Failure::Outcome)?;
        Ok(json!({
            "message": format!("Successfully deployed: {}", self.request.project),
            "deployment_id": self.id,
            "expected": coverage.expected(),
            "dispatched": coverage.dispatched(),
            "succeeded": coverage.succeeded(),
            "replicated": coverage.outcomes(),
        }))
    }

    /// Ends the row as failed. A store that refuses even that never hides the deploy's own cause.
    async fn fail(&self, recorder: &Recorder<E>, failure: &Failure) -> Value {
        let mut message = failure.to_string();
        // A row must fit a frame, whatever an archive's entries are named.
        shorten_text(&mut message);
        let error = DeployFailure { message, code: failure.code(), phase: Some(failure.phase().to_owned()) };
        let _ = recorder.finish(Status::Failed, Some(error)).await;
        self.told(failure)
    }

    fn told(&self, failure: &Failure) -> Value {
        let mut told = json!({
            "message": failure.to_string(),
            "phase": failure.phase(),
            "deployment_id": self.id,
        });
        if let Some(code) = failure.code() {
            told["code"] = json!(code);
        }
        if let Some(output) = failure.install_output() {
            told["install_output"] = json!(output);
        }
        match failure {
            Failure::Peers { failed, .. } | Failure::Restart { failed, .. } if !failed.is_empty() => {
                told["failed_peers"] = json!(failed)
            }
            _ => {}
        }
        told
    }

    fn emit_phase(&self, phase: &'static str, status: PhaseStatus) {
        self.progress.emit(&Event::phase(phase, status));
    }
}
