//! Whether anything is still under way in a run of real nodes, as their traces and directories tell.

use std::{collections::BTreeMap, path::PathBuf, rc::Rc};

use serde_json::Value;

use super::{
    finals,
    line::{ClientAct, What},
    reading::NodeTrace,
};
use crate::{
    check::Event,
    env::{BlobState, Key, Record},
    real::blobs::RealBlobs,
    replication::scope,
};

type Rows = BTreeMap<Key, Rc<Record>>;

/// Is nothing under way on any node, and do all show the same?
pub(super) fn is_at_rest(directories: &[PathBuf], traces: &[NodeTrace]) -> bool {
    let known: Vec<_> = directories.iter().zip(traces).filter(|(_, trace)| !trace.lives.is_empty()).collect();
    let rows: Vec<Rows> = known.iter().map(|(_, trace)| rows_of(trace)).collect();
    let quiet = known.iter().zip(&rows).all(|((directory, trace), rows)| is_quiet(directory, trace, rows));
    let shared = !known.iter().any(|(_, trace)| keeps_rows_apart(trace));
    quiet && (!shared || rows.windows(2).all(|pair| pair[0] == pair[1]))
}

fn keeps_rows_apart(trace: &NodeTrace) -> bool {
    trace.lives.last().is_some_and(|life| life.life.settings.contains_key(scope::SETTING))
}

fn is_quiet(directory: &PathBuf, trace: &NodeTrace, rows: &Rows) -> bool {
    let Some(last) = trace.lives.last() else { return true };
    let Ok(blobs) = RealBlobs::states(&directory.join("store/blobs")) else { return false };
    let named = |id| rows.values().any(|record| record.blob == Some(id));
    let blobs_rest = blobs.iter().all(|(id, state)| match state {
        BlobState::Failed { .. } => true,
        BlobState::Complete { .. } => named(*id),
        BlobState::Writing { .. } | BlobState::Missing => false,
    });
    let all_came = rows.values().filter_map(|record| record.blob).all(|named| blobs.contains_key(&named));
    blobs_rest
        && all_came
        && rows.values().all(|record| has_ended(record))
        && finals::leftovers(directory).is_ok_and(|left| left.is_empty())
        && finals::running(last).is_empty()
        && all_answered(trace)
}

fn all_answered(trace: &NodeTrace) -> bool {
    let Some(last) = trace.lives.last() else { return true };
    let count = |wanted: fn(&ClientAct) -> bool| {
        last.lines.iter().filter(|(_, what)| matches!(what, What::Client { did, .. } if wanted(did))).count()
    };
    let asked = count(|act| matches!(act, ClientAct::Asked(_)));
    asked == count(|act| matches!(act, ClientAct::Answered(_) | ClientAct::Lost))
}

/// The rows of a node as its trace shows them.
fn rows_of(trace: &NodeTrace) -> Rows {
    let mut rows = Rows::new();
    for life in &trace.lives {
        let mut intents = BTreeMap::new();
        for (at, what) in &life.lines {
            match what {
                What::Intends(event) => drop(intents.insert(*at, &**event)),
                What::Did(at) => {
                    if let Some(Event::PutCommitted { record, .. } | Event::Replicated { record, .. }) =
                        intents.remove(at)
                    {
                        rows.insert(record.key.clone(), Rc::clone(record));
                    }
                }
                _ => {}
            }
        }
    }
    rows
}

/// Is the row's deployment over?
fn has_ended(record: &Rc<Record>) -> bool {
    let row: Result<Value, _> = serde_json::from_slice(&record.value);
    row.is_ok_and(|row| ["success", "failed", "rolled_back"].iter().any(|end| row["status"] == *end))
}
