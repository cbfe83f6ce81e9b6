//! BUDGET: waits keep their deadlines, and see what is there.

use super::{
    facts::{At, Facts, Operation},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Clock, Event, Invariant, Judgement},
    env::BlobState,
};

/// See [`Invariant::sentence`].
pub(super) const BUDGET: Invariant = Invariant {
    name: "BUDGET",
    sentence: "a peer's wait for its row keeps its deadline within one back-off step, sees a row that is there within \
               5 ms, and one that comes within the back-off step that is due then; its wait for the payload's first byte \
               is not given up with time left, nor while the payload is there, and not kept up when the time of both is over",
    check,
};

/// The steps of spec 7.
const FIRST_STEP_MS: u64 = 5;
const STEP_MAX_MS: u64 = 100;

/// The default of spec 7.
const TIMEOUT_MS: u64 = 30_000;

/// Faults that make a read of the table take longer.
const READ_FAULTS: [&str; 2] = ["get", "get-answer"];

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, BUDGET.name);
    // Nobody waits for a row that does not come.
    let waits = !facts.keeps_rows_apart();
    // On a real machine everything may be late, and the trace does not say by how much.
    let lateness_counts = facts.trace.clock() == Clock::Virtual;
    for operation in facts.operations.iter().filter(|_| waits) {
        let Some(wait) = Wait::of(facts, operation) else { continue };
        let late = |finding: Option<String>| finding.filter(|_| lateness_counts);
        inquiry.look(|| wait.finding(late(wait.looks_late()), "a row that is there is seen late"));
        inquiry.look(|| wait.finding(wait.gives_up_early(), "a wait ends before its deadline"));
        inquiry.look(|| wait.finding(late(wait.gives_up_late()), "a wait goes on after its deadline"));
    }
    for operation in facts.operations.iter().filter(|_| waits) {
        inquiry.look(|| gives_payload_up(facts, operation));
    }
    inquiry.done()
}

/// How long a read of a payload that does not come is kept up: three reads of 20 s, and pauses of 2 s and 5 s (spec 7).
const PAYLOAD_WAIT_MS: u64 = 3 * 20_000 + 2_000 + 5_000;

/// A pause that would not end within the budget is not begun.
const PAUSE_MAX_MS: u64 = 5_000;

/// What was there for so long before a read gave up is seen by a reader that looks.
const SEEN_WITHIN_MS: u64 = 1_000;

/// Faults that make a look at a payload take longer, or the way from giving up to the answer.
const PAYLOAD_FAULTS: [&str; 2] = ["blob-read", "disk"];

/// Was a payload that may still come called unavailable too early, or one that had come?
fn gives_payload_up<'a>(facts: &Facts<'_>, operation: &Operation) -> Option<Finding<'a>> {
    let (at, answer) = operation.answered.as_ref()?;
    if answer["error"]["code"] != "payload_unavailable" {
        return None;
    }
    let deploy = facts.deploys.iter().find(|deploy| deploy.id == Some(operation.id))?;
    let row = facts.row_at(operation.node, &deploy.key()?, *at)?;
    let blob = row.record.blob?;
    let here = || facts.on(operation.node, 0, *at);
    let has_begun = here().any(|(read, entry)| {
        read > operation.received && matches!(entry.event, Event::BlobRead { id, bytes, .. } if id == blob && bytes > 0)
    });
    let (began_ms, ended_ms) = (facts.at_ms(operation.received), facts.at_ms(*at));
    let timeout_ms = deploy.asked.deployment_timeout_ms.unwrap_or(TIMEOUT_MS);
    let due_ms = began_ms + timeout_ms.saturating_sub(PAUSE_MAX_MS).min(PAYLOAD_WAIT_MS);
    let state = here().rev().find_map(|(came, entry)| match &entry.event {
        Event::Blob { id, state } if *id == blob => Some((came, state)),
        _ => None,
    });
    let whole = state.filter(|(_, state)| matches!(state, BlobState::Complete { .. })).map(|(came, _)| came);
    let delays_ms = facts.delayed_ms(operation.node, &PAYLOAD_FAULTS, operation.received, *at);
    let overlooked = whole.filter(|came| facts.at_ms(*came) + SEEN_WITHIN_MS + delays_ms < ended_ms);
    // Others of its project may have kept it waiting, which is no wait for the payload.
    let alone =
        facts.deploys.len() == 1 && !facts.failed_between(operation.node, "disk-fails", operation.received, *at);
    let late_ms = began_ms
        + timeout_ms
        + STEP_MAX_MS
        + SEEN_WITHIN_MS
        + delays_ms
        + facts.delayed_ms(operation.node, &READ_FAULTS, operation.received, *at);
    let (kind, why) = match overlooked {
        None if alone && ended_ms > late_ms => {
            ("a wait for a payload ends late", format!("its time was over at {} ms", began_ms + timeout_ms))
        }
        Some(came) => ("a payload that is there is not seen", format!("it was there from {} ms on", facts.at_ms(came))),
        None if !has_begun && ended_ms < due_ms => {
            ("a wait for a payload ends early", format!("it had time until {due_ms} ms to wait for the first byte"))
        }
        None => return None,
    };
    Some(Finding {
        kind,
        at: *at,
        node: Some(operation.node),
        why: format!("{} gave up waiting for its payload at {ended_ms} ms, but {why}", operation.node),
        witnesses: whole.into_iter().chain([operation.received]).collect(),
    })
}

/// One peer's wait for its row.
struct Wait<'a> {
    operation: &'a Operation,
    /// When the operation came, virtual ms.
    began_ms: u64,
    timeout_ms: u64,
    /// When the row with its payload came to stand in the peer's table; at or before `began_ms` if it was there.
    came_ms: Option<u64>,
    /// It came in the very millisecond of the deadline, and behind the last look.
    came_behind_the_last_look: bool,
    /// When a read first found it.
    found_ms: Option<u64>,
    /// When the operation was answered.
    ended: Option<(At, u64)>,
    /// The row was found in a state that ends the wait otherwise.
    ended_by_row: bool,
    /// How much longer faults made reads take, in all.
    reads_delayed_ms: u64,
    reads_failed: bool,
}

impl<'a> Wait<'a> {
    fn of(facts: &Facts<'_>, operation: &'a Operation) -> Option<Self> {
        let deploy = facts.deploys.iter().find(|deploy| deploy.id == Some(operation.id))?;
        // A node that dies waits no more; who reads the row there later is somebody else.
        let end = operation.answered.as_ref().map_or(facts.end(), |(at, _)| *at);
        let end = facts.first_crash(operation.node, operation.received, end).unwrap_or(end);
        let key = deploy.key()?;
        let mut shown = facts.shown.iter().filter(|shown| shown.node == operation.node && shown.record.key == key);
        let came = shown.find(|shown| shown.at < end && shown.record.blob.is_some());
        let reads = facts.reads_of(operation, end);
        let found = reads.iter().find(|(_, read)| matches!(read, Ok(Some(record)) if record.blob.is_some()));
        let ended_by_row = reads.iter().any(|(_, read)| match read {
            Ok(Some(record)) => facts.read_row(record).is_terminal(),
            _ => false,
        });
        let began_ms = facts.at_ms(operation.received);
        let timeout_ms = deploy.asked.deployment_timeout_ms.unwrap_or(TIMEOUT_MS);
        let deadline_ms = began_ms + timeout_ms;
        Some(Self {
            operation,
            began_ms,
            timeout_ms,
            came_behind_the_last_look: came.zip(reads.last()).is_some_and(|(shown, (look, _))| {
                shown.at > *look && [shown.at, *look].iter().all(|at| facts.at_ms(*at) == deadline_ms)
            }),
            came_ms: came.map(|shown| facts.at_ms(shown.at)),
            found_ms: found.map(|(at, _)| facts.at_ms(*at)),
            ended: operation.answered.as_ref().map(|(at, _)| (*at, facts.at_ms(*at))),
            ended_by_row,
            reads_delayed_ms: facts.delayed_ms(operation.node, &READ_FAULTS, operation.received, end),
            reads_failed: reads.iter().any(|(_, read)| read.is_err()),
        })
    }

    fn deadline_ms(&self) -> u64 {
        self.began_ms + self.timeout_ms
    }

    /// A row that came while the back-off stood at some step is seen when that step is over. Steps double from 5 ms, so
    /// after a wait of w ms the next look is at most w + 5 ms away.
    fn looks_late(&self) -> Option<String> {
        let came = self.came_ms.filter(|came| *came <= self.deadline_ms())?;
        if self.reads_failed || self.ended_by_row || self.came_behind_the_last_look {
            return None;
        }
        let waited = came.saturating_sub(self.began_ms);
        let step = (waited + FIRST_STEP_MS).min(STEP_MAX_MS);
        let due = came.max(self.began_ms) + step + self.reads_delayed_ms;
        let in_time = self.found_ms.is_some_and(|found| found <= due);
        let not_over = self.ended.is_none() && self.found_ms.is_none();
        (!in_time && !not_over).then(|| match self.found_ms {
            Some(found) => format!("the row was there at {came} ms and was seen only at {found} ms, due by {due} ms"),
            None => format!("the row was there at {came} ms, before the deadline, and was never seen"),
        })
    }

    fn gives_up_early(&self) -> Option<String> {
        let (_, ended) = self.ended.filter(|_| self.found_ms.is_none() && !self.ended_by_row)?;
        (ended < self.deadline_ms()).then(|| {
            format!("it ended at {ended} ms without its row, though its deadline was {} ms", self.deadline_ms())
        })
    }

    fn gives_up_late(&self) -> Option<String> {
        let (_, ended) = self.ended.filter(|_| self.found_ms.is_none() && !self.ended_by_row)?;
        let due = self.deadline_ms() + STEP_MAX_MS + self.reads_delayed_ms;
        (ended > due).then(|| format!("it ended only at {ended} ms; its deadline was {} ms", self.deadline_ms()))
    }

    fn finding<'f>(&self, why: Option<String>, kind: &'f str) -> Option<Finding<'f>> {
        let node = self.operation.node;
        why.map(|why| Finding {
            kind,
            at: self.ended.map_or(self.operation.received, |(at, _)| at),
            node: Some(node),
            why: format!("{node} waited for its row from {} ms on; {why}", self.began_ms),
            witnesses: vec![self.operation.received],
        })
    }
}
