//! Whether anything is still under way in a run of real nodes, as their traces and directories tell.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_json::Value;

use super::{
    finals,
    line::{ClientAct, What},
    merging::is_committed,
    reading::NodeTrace,
};
use crate::{
    check::Event,
    env::{BlobState, Key, Record},
    real::blobs::RealBlobs,
    replication::scope,
};

pub(super) type Rows = BTreeMap<Key, Rc<Record>>;

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

fn is_quiet(directory: &Path, trace: &NodeTrace, rows: &Rows) -> bool {
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
        && rows.values().all(has_ended)
        && finals::leftovers(directory, last).is_ok_and(|left| left.is_empty())
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
pub(super) fn rows_of(trace: &NodeTrace) -> Rows {
    let mut rows = Rows::new();
    for (index, life) in trace.lives.iter().enumerate() {
        let mut intents = BTreeMap::new();
        for (at, what) in &life.lines {
            match what {
                What::Intends(event) => drop(intents.insert(*at, &**event)),
                What::Did(at) => intents.remove(at).into_iter().for_each(|event| show(&mut rows, event)),
                What::DidNot(at) => drop(intents.remove(at)),
                _ => {}
            }
        }
        let next = trace.lives.get(index + 1).map_or(&[][..], |next| &next.life.rows);
        let done = intents.into_values().filter(|event| is_committed(event, next));
        done.for_each(|event| show(&mut rows, event));
    }
    rows
}

fn show(rows: &mut Rows, event: &Event) {
    if let Event::PutCommitted { record, .. } | Event::Replicated { record, .. } = event {
        rows.insert(record.key.clone(), Rc::clone(record));
    }
}

/// Is the row's deployment over?
fn has_ended(record: &Rc<Record>) -> bool {
    let row: Result<Value, _> = serde_json::from_slice(&record.value);
    row.is_ok_and(|row| ["success", "failed", "rolled_back"].iter().any(|end| row["status"] == *end))
}
