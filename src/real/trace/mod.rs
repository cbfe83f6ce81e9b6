//! Traces of real nodes: what happened at the seam, written as it happens, so that the invariants judge a real run.
//!
//! Each node appends lines to `trace.jsonl` in its directory (`recorder`, `line`); clients of a node are recorded where its
//! door is ([`ClientRecord`]). When the nodes are stopped, their traces are read (`reading`), put into one order by the one
//! clock that all processes of a machine share (`merging`) and judged ([`Run`]).
//!
//! A trace is observability: a line that cannot be written fails nothing. The hole is noted, and what a trace with a hole
//! cannot say is said to be unknown.

mod client;
mod clients;
mod finals;
mod line;
mod merging;
mod payloads;
mod reading;
mod recorder;
mod rest;
mod run;
mod trees;

use std::{io, path::Path, rc::Rc};

use self::line::Life;
pub use self::{
    client::ClientRecord,
    run::{Run, RunError, RunJudgement, Unjudged, Verdict, judge},
};
pub(super) use self::{
    payloads::Payload,
    recorder::{Intent, Recorder},
    trees::Trees,
};
use super::{blobs::RealBlobs, env::Config};
use crate::env::Record;

/// A node's life begins: what it is and holds.
pub(super) fn begin(
    recorder: &Recorder,
    trees: &Trees,
    config: &Config,
    rows: Vec<Rc<Record>>,
    blobs: &Path,
) -> io::Result<()> {
    recorder.begins(Life {
        node: config.name.clone(),
        members: config.members.keys().cloned().collect(),
        settings: config.settings.clone(),
        rows: rows.iter().map(|row| (Rc::clone(&row.key), row.version.clone())).collect(),
        blobs: RealBlobs::states(blobs)?,
    });
    trees.begin();
    Ok(())
}
