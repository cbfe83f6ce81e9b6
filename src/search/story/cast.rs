//! Which events of a trace tell the story.
//!
//! The violation's witnesses first; then what the client saw, what failed and which faults struck; then what happened to
//! the same row, blob or process. Among equals the nearest to a witness wins.

use uuid::Uuid;

use crate::{
    check::{Entry, Event, NodeIndex, Trace, Violation},
    env::{BlobId, BlobState, Key},
};

/// At most `room` lines, in the order of the trace.
pub(super) fn choose(trace: &Trace, violation: &Violation, room: usize) -> Vec<String> {
    let stage = Stage::set(trace, violation);
    let mut chosen: Vec<_> = (0..trace.entries().len()).filter_map(|index| stage.part(index)).collect();
    chosen.sort_unstable();
    chosen.truncate(room);
    chosen.sort_unstable_by_key(|part| part.index);
    chosen.iter().map(|part| part.render(trace)).collect()
}

/// How much an event tells, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Witness,
    Turn,
    Subject,
}

/// An event that may be told; the lesser, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    role: Role,
    distance: usize,
    index: usize,
}

impl Part {
    fn render(self, trace: &Trace) -> String {
        let mark = if self.role == Role::Witness { ">" } else { " " };
        format!("{mark} {}", trace.entries()[self.index])
    }
}

/// The trace, seen from where the break shows.
struct Stage<'a> {
    entries: &'a [Entry],
    witnesses: Vec<usize>,
    /// Where to look: the witnesses, or where the violation was noticed.
    centres: Vec<usize>,
    subjects: Vec<Subject>,
}

impl<'a> Stage<'a> {
    fn set(trace: &'a Trace, violation: &Violation) -> Self {
        let entries = trace.entries();
        let witnesses: Vec<_> = violation.witnesses.iter().copied().filter(|&index| index < entries.len()).collect();
        let noticed = entries.partition_point(|entry| entry.at_ms <= violation.at_ms);
        let centres = if witnesses.is_empty() { vec![noticed] } else { witnesses.clone() };
        let subjects = witnesses.iter().flat_map(|&index| subjects(&entries[index])).collect();
        Self { entries, witnesses, centres, subjects }
    }

    fn part(&self, index: usize) -> Option<Part> {
        let role = self.role(index)?;
        let distance = self.centres.iter().map(|centre| centre.abs_diff(index)).min().unwrap_or(0);
        Some(Part { role, distance, index })
    }

    fn role(&self, index: usize) -> Option<Role> {
        let entry = &self.entries[index];
        if self.witnesses.contains(&index) {
            return Some(Role::Witness);
        }
        if is_turn(&entry.event) {
            return Some(Role::Turn);
        }
        let same = is_telling(&entry.event) && subjects(entry).iter().any(|subject| self.subjects.contains(subject));
        same.then_some(Role::Subject)
    }
}

/// Does the run take a turn here, whatever it is about?
fn is_turn(event: &Event) -> bool {
    matches!(
        event,
        Event::DeployRequested(_)
            | Event::DeployAnswered { .. }
            | Event::UploadAborted { .. }
            | Event::PutRefused { .. }
            | Event::Fault(_)
            | Event::TaskPanicked { .. }
            | Event::Stuck { .. }
            | Event::Unsettled { .. }
            | Event::Crashed { .. }
            | Event::Restarted
            | Event::ClientLost { .. }
            | Event::StrangerSpeaks { .. }
            | Event::Hot { .. }
    )
}

/// Does it change something? Reads and progress of bytes are told only as witnesses.
fn is_telling(event: &Event) -> bool {
    !matches!(
        event,
        Event::Got { .. }
            | Event::BlobRead { .. }
            | Event::Blob { state: BlobState::Writing { .. }, .. }
            | Event::Logged { .. }
            | Event::Speaks { .. }
            | Event::Hears { .. }
            | Event::Holds { .. }
            | Event::ReaderAsks { .. }
            | Event::ReaderTold { .. }
            | Event::CursorSaved { .. }
            | Event::Replicated { taken: false, .. }
            | Event::Final(_)
    )
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Row(Key),
    Blob(BlobId),
    Put(Option<NodeIndex>, u32),
    Process(Option<NodeIndex>, u32),
}

fn subjects(entry: &Entry) -> Vec<Subject> {
    let row_of = |deployment: Uuid| Subject::Row(deployment.to_string().into());
    match &entry.event {
        Event::Got { key, .. } | Event::Logged { key, .. } => vec![Subject::Row(key.clone())],
        Event::PutStarted { put, key, .. } => vec![Subject::Row(key.clone()), Subject::Put(entry.node, *put)],
        Event::PutCommitted { put, record } => {
            vec![Subject::Row(record.key.clone()), Subject::Put(entry.node, *put)]
        }
        Event::PutRefused { put, .. } => vec![Subject::Put(entry.node, *put)],
        Event::Replicated { record, .. } => vec![Subject::Row(record.key.clone())],
        Event::Blob { id, .. } | Event::BlobRead { id, .. } => vec![Subject::Blob(*id)],
        Event::ProcessStarted { process, .. }
        | Event::ProcessOutput { process, .. }
        | Event::ProcessUnreadable { process, .. }
        | Event::ProcessKilled { process }
        | Event::ProcessExited { process, .. } => vec![Subject::Process(entry.node, *process)],
        event => event.journal_deployment().map(row_of).into_iter().collect(),
    }
}
