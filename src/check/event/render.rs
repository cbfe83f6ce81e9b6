//! Events in plain words, for whoever reads a trace.

use std::{fmt, rc::Rc};

use serde_json::Value;
use uuid::Uuid;

use super::Event;
use crate::env::{BlobId, BlobState, Journal, Record};

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeployRequested(facts) => {
                write!(f, "client deploys `{}`, {} bytes", facts.project, facts.payload_bytes)
            }
            Self::Uploaded { bytes, .. } => write!(f, "client uploads {bytes} bytes"),
            Self::UploadAborted { cause, .. } => write!(f, "client breaks its upload off: {cause}"),
            Self::ClientSaw { event, data, .. } => write!(f, "client sees {event} {data}"),
            Self::DeployAnswered { answer: Ok(answer), .. } => write!(f, "deploy answers success: {answer}"),
            Self::DeployAnswered { answer: Err(error), .. } => write!(f, "deploy answers failure: {error}"),
            Self::ClientExited { code, .. } => write!(f, "client ends with exit code {code}"),
            Self::Setting { name, value } => write!(f, "operator sets {name} to {value}"),
            Self::Tail { reader, saw, .. } => write!(f, "reader {reader} {saw}"),
            Self::ReaderAsks { reader, request } => write!(f, "reader {reader} asks: {request}"),
            Self::ReaderTold { reader, answer } => render_told(f, *reader, answer),
            Self::PayloadRead { got: Ok((_, bytes)), .. } => write!(f, "a reader has downloaded {bytes} bytes"),
            Self::PayloadRead { got: Err(cause), .. } => write!(f, "a reader cannot download: {cause}"),
            Self::MembersChanged(members) => write!(f, "operator makes these the cluster's members: {members:?}"),
            Self::MembersKnown(members) => write!(f, "knows from now on that the members are {members:?}"),
            Self::MembersRead(members) => write!(f, "reads the membership: {members:?}"),
            Self::Got { found, .. } => render_got(f, found),
            Self::PutStarted { put, draft, .. } => write!(f, "put {put} takes its snapshot: {}", Row(&draft.value)),
            Self::PutCommitted { put, record } => {
                write!(f, "put {put} commits {}: {}", record.version, Row(&record.value))
            }
            Self::PutRefused { put, cause } => write!(f, "put {put} is refused: {cause}"),
            Self::Replicated { record, taken: true } => {
                write!(f, "takes row version {}: {}", record.version, Row(&record.value))
            }
            Self::Replicated { record, taken: false } => write!(f, "skips row version {}", record.version),
            Self::Logged { version, .. } => write!(f, "row version {version} becomes visible to its log"),
            Self::CursorSaved { of, position } => write!(f, "keeps its cursor in {of}'s log: {}", position.0),
            Self::Blob { id, state } => render_blob(f, *id, state),
            Self::BlobRead { id, offset, bytes } => {
                write!(f, "reads {bytes} bytes of blob {} at {offset}", Short(id.0))
            }
            Self::Listening { port } => write!(f, "takes connections for {port:?}"),
            Self::Connecting { to, port } => write!(f, "connects to {to} for {port:?}"),
            Self::ConnectFailed { to, port, error } => write!(f, "cannot connect to {to} for {port:?}: {error}"),
            Self::Speaks { to, link } => write!(f, "speaks on {to}'s subscription {link}"),
            Self::Hears { of, link } => write!(f, "hears of {of} on its subscription {link}"),
            Self::Holds { queue, bytes, item_bytes } => {
                write!(f, "holds {bytes} bytes in a queue of {queue}, and takes {item_bytes} more")
            }
            Self::Renamed { from, to, tree } => write!(f, "renames {from} to {to} (tree {tree})"),
            Self::Removed { path } => write!(f, "removes {path}"),
            Self::Written { path, bytes } => write!(f, "writes {bytes} bytes to {path}"),
            Self::Live { project, tree: Some(tree) } => write!(f, "holds tree {tree} as `{project}`"),
            Self::Live { project, tree: None } => write!(f, "holds no build of `{project}` any more"),
            Self::ProcessStarted { process, command } => write!(f, "process {process} starts: {command}"),
            Self::ProcessOutput { process, stream, bytes } => {
                write!(f, "process {process} writes to {}: {}", stream.as_str(), bytes.escape_ascii())
            }
            Self::ProcessExited { process, status } => write!(f, "process {process} ends: {status}"),
            Self::Switching { project, build } => {
                write!(f, "begins to switch `{project}` to the build of {}", Short(*build))
            }
            Self::Serves { project, build, .. } => write!(f, "serves the build of {} as `{project}`", Short(*build)),
            Self::Journal(entry) => render_journal(f, entry),
            Self::Crashed { death } => write!(f, "{death}"),
            Self::Restarted => write!(f, "starts again"),
            Self::Healed => write!(f, "everything heals: no more faults"),
            Self::ClientLost { cause, .. } => write!(f, "client loses its node: {cause}"),
            Self::Fault(fault) => write!(f, "fault: {fault}"),
            Self::StrangerSpeaks { port, says } => write!(f, "is visited for {port:?} by a stranger, who says: {says}"),
            Self::StrangerTold { what, .. } => write!(f, "gives the stranger a {what}"),
            Self::TaskPanicked { task, message } => write!(f, "task `{task}` panics: {message}"),
            Self::ProcessUnreadable { process, cause } => write!(f, "cannot read process {process} any more: {cause}"),
            Self::ProcessKilled { process } => write!(f, "kills process {process} and its group"),
            Self::NotSwitched { project, build } => {
                write!(f, "does not switch `{project}` to the build of {}", Short(*build))
            }
            Self::Unsettled { within_ms, what } => write!(f, "not at rest {within_ms} ms after all had healed: {what}"),
            Self::Stuck { waiting } => write!(f, "stuck; waiting: {}", waiting.join(", ")),
            Self::Hot { polls, last } => write!(f, "no time goes by over {polls} polls; last: {last}"),
            Self::Final(last) => {
                write!(f, "at the end: {} rows, live builds {:?}", last.rows.len(), last.live)
            }
        }
    }
}

fn render_told(f: &mut fmt::Formatter<'_>, reader: u32, answer: &Result<Value, Value>) -> fmt::Result {
    match answer {
        Ok(told) if told["deployments"].is_array() => {
            let listed = told["deployments"].as_array().map_or(0, Vec::len);
            write!(f, "tells reader {reader} of {listed} deployments of {} in all", told["total"])
        }
        Ok(row) => write!(f, "tells reader {reader} of {}: status {}", row["deployment_id"], row["status"]),
        Err(failure) => write!(f, "cannot tell reader {reader}: {failure}"),
    }
}

fn render_got(f: &mut fmt::Formatter<'_>, found: &Result<Option<Rc<Record>>, String>) -> fmt::Result {
    match found {
        Ok(Some(record)) => write!(f, "reads row version {}: {}", record.version, Row(&record.value)),
        Ok(None) => write!(f, "reads no row"),
        Err(error) => write!(f, "cannot read the row: {error}"),
    }
}

fn render_blob(f: &mut fmt::Formatter<'_>, id: BlobId, state: &BlobState) -> fmt::Result {
    let id = Short(id.0);
    match state {
        BlobState::Missing => write!(f, "blob {id} is gone"),
        BlobState::Writing { bytes } => write!(f, "blob {id} has {bytes} bytes so far"),
        BlobState::Complete { bytes } => write!(f, "blob {id} is complete, {bytes} bytes"),
        BlobState::Failed { cause } => write!(f, "blob {id} fails: {cause}"),
    }
}

fn render_journal(f: &mut fmt::Formatter<'_>, entry: &Journal) -> fmt::Result {
    match entry {
        Journal::OperationReceived { origin, .. } => write!(f, "receives the forwarded operation from {origin}"),
        Journal::OperationAnswered { outcome, .. } => write!(f, "answers the operation: {outcome}"),
        Journal::RestartAnswered { outcome, .. } => write!(f, "answers the restart: {outcome}"),
        Journal::Progress { event, data, .. } => write!(f, "{event} {data}"),
        Journal::PayloadDropped { why, .. } => write!(f, "lets the payload go: {why}"),
        Journal::Dropped { what, cause } => write!(f, "lets pass: {what}: {cause}"),
        Journal::Unhandled { task, error } => {
            write!(f, "task `{task}` ends with an error that nobody handles: {error}")
        }
    }
}

/// The first group of an id: enough to tell blobs of one run apart.
struct Short(Uuid);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0.as_fields().0)
    }
}

/// A row's few telling fields.
struct Row<'a>(&'a [u8]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(row) = serde_json::from_slice::<Value>(self.0) else {
            return write!(f, "{} bytes that are no row", self.0.len());
        };
        let text = |field: &str| row[field].as_str().unwrap_or("?").to_owned();
        write!(f, "status {}, phase {}", text("status"), text("phase"))?;
        if row["payload_blob"].is_null() {
            write!(f, ", no payload")?;
        }
        let peers = row["peer_results"].as_array().map_or(&[][..], Vec::as_slice);
        if !peers.is_empty() {
            let told: Vec<_> = peers
                .iter()
                .map(|peer| {
                    format!("{} {}", peer["node"].as_str().unwrap_or("?"), peer["status"].as_str().unwrap_or("?"))
                })
                .collect();
            write!(f, ", peers [{}]", told.join(", "))?;
        }
        Ok(())
    }
}
