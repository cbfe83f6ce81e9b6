//! Every error of the deploy logic and of the channel, once.

use std::{error::Error, io, time::Duration};

use drydock::{
    check::NodeIndex,
    deploy::{
        archive::ArchiveError,
        await_row::{AwaitRowError, Missing},
        blob_stream::BlobReadError,
        build::BuildError,
        install::InstallError,
        load::LoadError,
        recorder::{IngestError, UploadError},
        request::DeployRequest,
        row::{Deployment, RowError, Status},
        slots::{self, BuildId, ProjectName, Slots, SwapError},
    },
    env::{BlobError, BlobId, Env, ExitStatus, Record, StoreError, Version},
    replication::{
        frame::{FrameError, decode},
        operations::CallError,
    },
    sim::{choice::Calm, cluster::Cluster},
};
use serde_json::json;
use uuid::Uuid;

use crate::story::{cluster_of, tell};

const ID: Uuid = Uuid::from_u128(0x6f1b_2ad0_54b4_4f5e_8c2c_0a2f_3f2f_9f10);
const BLOB: BlobId = BlobId(ID);

type Boxed = Box<dyn Error>;

fn disk_full() -> io::Error {
    io::Error::other("no space left on device")
}

fn refused() -> StoreError {
    StoreError::Refused("the disk is full".to_owned())
}

fn store() -> Vec<Boxed> {
    vec![
        Box::new(StoreError::NoTable("hdb_deployment".to_owned())),
        Box::new(refused()),
        Box::new(BlobError::State { id: BLOB, state: "missing" }),
        Box::new(BlobError::Device("no space left on device".to_owned())),
    ]
}

fn unreadable_row() -> RowError {
    let version = Version { stamp: 1, node: "n1".into() };
    let record = Record { key: Deployment::key_of(ID), version, value: b"{}".as_slice().into(), blob: None };
    Deployment::from_record(&record).unwrap_err()
}

fn waiting() -> Vec<Boxed> {
    let timed_out =
        |missing, last_error| AwaitRowError::TimedOut { id: ID, timeout: Duration::from_secs(30), missing, last_error };
    vec![
        Box::new(timed_out(Missing::Row, None)),
        Box::new(timed_out(Missing::Payload, Some(refused()))),
        Box::new(AwaitRowError::NoTable(StoreError::NoTable("hdb_deployment".to_owned()))),
        Box::new(AwaitRowError::Unreadable(unreadable_row())),
        Box::new(BuildError::AlreadyOver { id: ID, status: Status::Failed }),
    ]
}

fn payload() -> Vec<Boxed> {
    let upload = UploadError::from("the client went away".to_owned());
    vec![
        Box::new(IngestError::Upload(upload)),
        Box::new(IngestError::Blob(BlobError::Device("no space left on device".to_owned()))),
        Box::new(IngestError::Record(refused())),
        Box::new(BlobReadError::Unavailable { id: BLOB, why: "its transfer has not begun".to_owned() }),
        Box::new(BlobReadError::Incomplete { id: BLOB, why: "the sender gave up".to_owned() }),
        Box::new(BlobReadError::Gone { id: BLOB }),
        Box::new(BuildError::NoPayload(ID)),
        Box::new(BuildError::Mismatch { actual: "ab".repeat(32), actual_bytes: 700 }),
    ]
}

fn unpacking() -> Vec<Boxed> {
    vec![
        Box::new(ArchiveError::Malformed("it ends in the middle".to_owned())),
        Box::new(ArchiveError::Refused { entry: "../etc".to_owned(), why: "leaves the component".to_owned() }),
        Box::new(ArchiveError::Disk { path: "./index.js".to_owned(), cause: disk_full() }),
        Box::new(swap_of_nothing()),
    ]
}

/// A swap whose staged build is not there.
fn swap_of_nothing() -> SwapError {
    let story = async |cluster: Cluster| {
        let project = ProjectName::parse("hello").unwrap();
        let build = BuildId { stamp: 1, origin: "n1".into(), deployment: ID };
        let slots = Slots { project, build, staged: "staging/nothing".into() };
        slots::swap(cluster.env(NodeIndex(0)).disk(), &slots).await.unwrap_err()
    };
    tell(&cluster_of(1), Calm, story).0
}

fn installing() -> Vec<Boxed> {
    let command = || "npm install".to_owned();
    let output = vec!["npm error no space left".to_owned(), String::new()];
    vec![
        Box::new(InstallError::Failed { command: command(), status: ExitStatus::Code(7), output }),
        Box::new(InstallError::Failed { command: command(), status: ExitStatus::Signal(9), output: vec![] }),
        Box::new(InstallError::TimedOut { command: command(), limit: Duration::from_millis(4_500), output: vec![] }),
        Box::new(InstallError::NotRun { command: command(), cause: io::ErrorKind::NotFound.into() }),
        Box::new(InstallError::Unreadable { command: command(), cause: io::ErrorKind::BrokenPipe.into() }),
        Box::new(InstallError::NoManager {
            unusable: vec!["pnpm: is not installed".to_owned(), "yarn: its version is 1.22.22, not `4.x`".to_owned()],
        }),
        Box::new(LoadError::Missing {
            file: "package.json",
            field: "main".to_owned(),
            name: "lib/index.js".to_owned(),
        }),
        Box::new(LoadError::Outside {
            file: "config.yaml",
            field: "jsResource.files".to_owned(),
            name: "../resources.js".to_owned(),
        }),
        Box::new(LoadError::Malformed { file: "package.json", why: "EOF while parsing a value".to_owned() }),
        Box::new(LoadError::Disk { path: "package.json".to_owned(), cause: disk_full() }),
        Box::new(LoadError::Refused(io::Error::other("a module threw while it was tried out"))),
        Box::new(InstallError::Manifest("expected value at line 1 column 1".to_owned())),
    ]
}

fn channel() -> Vec<Boxed> {
    let connect = CallError::Connect { peer: "n2".into(), cause: io::ErrorKind::ConnectionRefused.into() };
    vec![
        Box::new(connect),
        Box::new(CallError::Broken(FrameError::Closed { why: None })),
        Box::new(CallError::Silent),
        Box::new(CallError::Deadline(Duration::from_secs(90))),
        Box::new(CallError::TooLong(5_000_000)),
        Box::new(FrameError::Closed { why: Some("another protocol".to_owned()) }),
        Box::new(FrameError::OutOfPlace("a chunk of a blob that has not begun".to_owned())),
        Box::new(decode(&[0xff]).unwrap_err()),
        Box::new(FrameError::Io(io::ErrorKind::BrokenPipe.into())),
        Box::new(FrameError::TooLong),
    ]
}

fn requests() -> Vec<Boxed> {
    let bad = [
        json!(null),
        json!({}),
        json!({ "project": "../etc" }),
        json!({ "project": 5 }),
        json!({ "project": "hello", "deployment_id": ID }),
        json!({ "project": "hello", "deployment_timeout": "soon" }),
        json!({ "project": "hello", "install_timeout": -1 }),
        json!({ "project": "hello", "replicated": "yes" }),
        json!({ "project": "hello", "install_command": "" }),
        json!({ "project": "hello", "package": "--global" }),
        json!({ "project": "hello", "rollback_from": "yesterday" }),
        json!({ "project": "hello", "restart": "later" }),
    ];
    bad.iter().map(|request| Box::new(DeployRequest::parse(request).unwrap_err()) as Boxed).collect()
}

fn section(what: &str, errors: &[Boxed]) -> String {
    let lines: String = errors.iter().map(|error| format!("  {error}\n")).collect();
    format!("{what}\n{lines}\n")
}

#[test]
fn every_error_says_what_happened_in_one_line() {
    let sections = [
        ("requests", requests()),
        ("table and blobs", store()),
        ("waiting for the row", waiting()),
        ("the payload", payload()),
        ("unpacking and going live", unpacking()),
        ("installing and loading", installing()),
        ("the channel", channel()),
    ];
    for error in sections.iter().flat_map(|(_, errors)| errors) {
        assert!(!error.to_string().contains('\n') && !error.to_string().is_empty(), "{error:?}");
    }
    let told: String = sections.iter().map(|(what, errors)| section(what, errors)).collect();
    insta::assert_snapshot!(told);
}

#[test]
fn a_disk_that_is_full_makes_no_bad_archive() {
    let full = ArchiveError::Disk { path: "./index.js".to_owned(), cause: disk_full() };
    assert_eq!(BuildError::Archive(full).code(), "disk_failed");
    assert_eq!(BuildError::Archive(ArchiveError::Malformed("it is empty".to_owned())).code(), "bad_archive");
}
