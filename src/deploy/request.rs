//! What a client asks for, parsed and validated.
//!
//! Parse at the boundary, trust inside: a bad request gets an error that names the field, and leaves no row.

use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{package::PackageSpec, restart::Restart, slots::ProjectName};

/// How long a peer waits for its row and payload, if the request does not say: 30 s (spec 7).
pub const DEPLOYMENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Time limit of an install, if the request does not say: an hour (spec 9).
pub const INSTALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// No time limit that a request sets may be longer: a day.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A field of the request that does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad request: `{field}` {problem}")]
pub struct InvalidRequest {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it, and what to send instead.
    pub problem: String,
}

/// Where a deploy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To every member of the cluster.
    Cluster,
    /// To the origin alone; its row replicates all the same.
    OriginOnly,
}

/// What becomes of a deploy when peers fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFailures {
    /// The deploy fails.
    Fail,
    /// They are recorded, and the deploy succeeds (`ignore_replication_errors`).
    Ignore,
}

/// How a component is installed, on the origin as on its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallPlan {
    /// A command to run instead of the package manager.
    pub command: Option<String>,
    /// The time limit.
    pub timeout: Duration,
}

/// A validated `deploy_component`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployRequest {
    /// Which project.
    pub project: ProjectName,
    /// How it is installed.
    pub install: InstallPlan,
    /// How long a peer waits for its row and payload, in all.
    pub deployment_timeout: Duration,
    /// Where it goes.
    pub reach: Reach,
    /// What becomes of it when peers fail.
    pub peer_failures: PeerFailures,
    /// How nodes restart once it is deployed.
    pub restart: Restart,
    /// Who asks.
    pub user: Option<String>,
    /// The deployment whose payload is brought back, in place of an upload.
    pub rollback_from: Option<Uuid>,
    /// The package that is deployed, in place of an upload.
    pub package: Option<PackageSpec>,
}

impl DeployRequest {
    /// Parses a request as HarperDB's clients send it; the payload comes beside it.
    pub fn parse(request: &Value) -> Result<Self, InvalidRequest> {
        let fields = request.as_object().ok_or_else(|| invalid("request", "must be a JSON object"))?;
        refuse_what_is_not_the_clients(fields)?;
        Ok(Self {
            project: project(fields)?,
            install: InstallPlan {
                command: text(fields, "install_command")?,
                timeout: timeout(fields, "install_timeout")?.unwrap_or(INSTALL_TIMEOUT_DEFAULT),
            },
            deployment_timeout: timeout(fields, "deployment_timeout")?.unwrap_or(DEPLOYMENT_TIMEOUT_DEFAULT),
            reach: if flag(fields, "replicated")?.unwrap_or(true) { Reach::Cluster } else { Reach::OriginOnly },
            peer_failures: match flag(fields, "ignore_replication_errors")? {
                Some(true) => PeerFailures::Ignore,
                _ => PeerFailures::Fail,
            },
            restart: restart(fields)?,
            user: text(fields, "user")?,
            rollback_from: text(fields, "rollback_from")?.map(|id| earlier(&id)).transpose()?,
            package: text(fields, "package")?.map(|spec| package(&spec)).transpose()?,
        })
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> InvalidRequest {
    InvalidRequest { field, problem: problem.into() }
}

/// A deployment's id is the origin's to give: one from outside would reach the peer's path (museum R34).
fn refuse_what_is_not_the_clients(fields: &Map<String, Value>) -> Result<(), InvalidRequest> {
    let asks_for = |field| fields.get(field).is_some_and(|value| !value.is_null() && *value != Value::Bool(false));
    if asks_for("deployment_id") {
        return Err(invalid("deployment_id", "is given by the origin: leave it out"));
    }
    Ok(())
}

fn earlier(id: &str) -> Result<Uuid, InvalidRequest> {
    id.parse().map_err(|_| invalid("rollback_from", format!("must be the id of an earlier deployment, not {id:?}")))
}

fn package(spec: &str) -> Result<PackageSpec, InvalidRequest> {
    PackageSpec::parse(spec).map_err(|problem| invalid("package", problem))
}

fn project(fields: &Map<String, Value>) -> Result<ProjectName, InvalidRequest> {
    let name = text(fields, "project")?.ok_or_else(|| invalid("project", "is missing: name the component"))?;
    ProjectName::parse(&name).map_err(|error| invalid("project", error.to_string()))
}

/// The longest text of a request: a row must fit a frame of the replication channel.
const TEXT_BYTES_MAX: usize = 64 * 1024;

fn text(fields: &Map<String, Value>, field: &'static str) -> Result<Option<String>, InvalidRequest> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > TEXT_BYTES_MAX => {
            Err(invalid(field, format!("has {} bytes: at most {TEXT_BYTES_MAX} are taken", text.len())))
        }
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(other) => Err(invalid(field, format!("must be a text that is not empty, not {other}"))),
    }
}

fn flag(fields: &Map<String, Value>, field: &'static str) -> Result<Option<bool>, InvalidRequest> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(invalid(field, format!("must be true or false, not {other}"))),
    }
}

/// As the original's clients send it: true for all at once, or `rolling`.
fn restart(fields: &Map<String, Value>) -> Result<Restart, InvalidRequest> {
    match fields.get("restart") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(Restart::Never),
        Some(Value::Bool(true)) => Ok(Restart::Now),
        Some(Value::String(mode)) if mode == "immediate" => Ok(Restart::Now),
        Some(Value::String(mode)) if mode == "rolling" => Ok(Restart::Rolling),
        Some(other) => Err(invalid("restart", format!("must be true, false, `immediate` or `rolling`, not {other}"))),
    }
}

/// Milliseconds; a fraction is rounded up. Numbers only: a text of digits once ended up concatenated (museum P02).
fn timeout(fields: &Map<String, Value>, field: &'static str) -> Result<Option<Duration>, InvalidRequest> {
    let value = match fields.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let millis = value.as_f64().filter(|_| value.is_number());
    let millis = millis.ok_or_else(|| invalid(field, format!("must be a number of milliseconds, not {value}")))?;
    if !(0.0..=TIMEOUT_MAX.as_millis() as f64).contains(&millis) {
        return Err(invalid(field, format!("must be between 0 and {} ms, not {value}", TIMEOUT_MAX.as_millis())));
    }
    Ok(Some(Duration::from_millis(millis.ceil() as u64)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(request: Value) -> String {
        DeployRequest::parse(&request).unwrap_err().to_string()
    }

    #[test]
    fn a_bare_request_gets_the_defaults() {
        let request = DeployRequest::parse(&json!({ "project": "hello" })).unwrap();
        assert_eq!(request.deployment_timeout, Duration::from_secs(30));
        assert_eq!(request.install, InstallPlan { command: None, timeout: Duration::from_secs(3600) });
        assert_eq!((request.reach, request.peer_failures), (Reach::Cluster, PeerFailures::Fail));
        assert_eq!(request.restart, Restart::Never);
    }

    #[test]
    fn a_restart_is_true_or_has_a_name() {
        let restart = |value: Value| DeployRequest::parse(&json!({ "project": "hello", "restart": value }));
        assert_eq!(restart(json!(true)).unwrap().restart, Restart::Now);
        assert_eq!(restart(json!("immediate")).unwrap().restart, Restart::Now);
        assert_eq!(restart(json!("rolling")).unwrap().restart, Restart::Rolling);
        let text = restart(json!("later")).unwrap_err().to_string();
        assert_eq!(text, "bad request: `restart` must be true, false, `immediate` or `rolling`, not \"later\"");
    }

    #[test]
    fn a_time_limit_that_is_no_number_or_negative_is_refused_by_name() {
        for value in [json!("30000"), json!(-1), json!(true), json!([]), json!(1e12)] {
            let text = problem(json!({ "project": "hello", "deployment_timeout": value }));
            assert!(text.starts_with("bad request: `deployment_timeout` must be"), "{text}");
        }
    }

    #[test]
    fn a_time_limit_has_a_day_at_most() {
        let limit = |value: u64| DeployRequest::parse(&json!({ "project": "hello", "deployment_timeout": value }));
        assert_eq!(limit(0).unwrap().deployment_timeout, Duration::ZERO);
        assert_eq!(limit(86_400_000).unwrap().deployment_timeout, Duration::from_secs(86_400));
        assert!(limit(86_400_001).is_err());
    }

    #[test]
    fn a_text_is_bounded_and_not_empty() {
        let command = |text: &str| DeployRequest::parse(&json!({ "project": "hello", "install_command": text }));
        let longest = "x".repeat(65_536);
        assert_eq!(command(&longest).unwrap().install.command.unwrap().len(), 65_536);
        assert!(command(&(longest + "x")).unwrap_err().to_string().contains("at most 65536 are taken"));
        assert!(command("").unwrap_err().to_string().contains("a text that is not empty"));
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_rounded_up() {
        let request = json!({ "project": "hello", "deployment_timeout": 12.5 });
        assert_eq!(DeployRequest::parse(&request).unwrap().deployment_timeout, Duration::from_millis(13));
    }

    #[test]
    fn a_deployment_id_from_outside_is_refused() {
        let text = problem(json!({ "project": "hello", "deployment_id": "00000000-0000-4000-8000-000000000000" }));
        assert_eq!(text, "bad request: `deployment_id` is given by the origin: leave it out");
    }

    #[test]
    fn a_deployment_id_that_is_none_is_none() {
        for nothing in [json!(null), json!(false)] {
            assert!(DeployRequest::parse(&json!({ "project": "hello", "deployment_id": nothing })).is_ok());
        }
    }

    #[test]
    fn a_project_that_leaves_its_directory_is_refused() {
        for name in ["../etc", "a/b", "..", "", "."] {
            let text = problem(json!({ "project": name }));
            assert!(text.starts_with("bad request: `project`"), "{text}");
        }
    }
}
