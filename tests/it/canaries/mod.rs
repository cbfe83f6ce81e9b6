//! Canaries: each invariant holds of a calm run, and breaks when one thing in that run's trace is another.

mod limits;

use std::rc::Rc;

use drydock::{
    check::{Death, DeployFacts, Entry, Event, Judgement, NodeFinal, NodeIndex, Trace, TreeDigest, invariants, judge},
    env::{BlobState, Draft, ExitStatus, Journal, Port, Record},
    search::setup::Setup,
    sim::{choice::Calm, run::WorldKind},
};
use serde_json::{Value, json};

use crate::story::setup;

/// An invariant, the scenario whose calm trace holds it, and what breaks it.
struct Canary {
    invariant: &'static str,
    scenario: &'static str,
    breaks: fn(&mut Vec<Entry>),
}

const fn canary(invariant: &'static str, scenario: &'static str, breaks: fn(&mut Vec<Entry>)) -> Canary {
    Canary { invariant, scenario, breaks }
}

const N1: NodeIndex = NodeIndex(0);
const N3: NodeIndex = NodeIndex(2);

const CANARIES: &[Canary] = &[
    canary("TRUTH", "deploy", |trace| trace.retain(|entry| !(entry.node == Some(N3) && goes_live(&entry.event)))),
    canary("TRUTH", "rollback", |trace| {
        // What was there to go back to is refused.
        let rollback = |event: &Event| matches!(event, Event::DeployRequested(asked) if asked.rollback_from.is_some());
        let asks = position(trace, rollback);
        let answers = trace[asks..].iter_mut().find_map(|entry| match &mut entry.event {
            Event::DeployAnswered { answer, .. } => Some(answer),
            _ => None,
        });
        *answers.unwrap() = Err(json!({ "code": "deployment_not_found", "message": "there is no such deployment" }));
    }),
    canary("PEERS", "deploy", |trace| edit_ends(trace, |row| row["peer_results"].as_array_mut().unwrap().truncate(1))),
    canary("COVER", "deploy", |trace| trace.retain(|entry| !is_asked(N3, &entry.event))),
    canary("TERM", "deploy", |trace| edit_ends(trace, |row| row["status"] = json!("replicating"))),
    canary("ONETERM", "deploy", |trace| {
        let (first, after) = (position(trace, |event| matches!(event, Event::PutStarted { .. })), answered(trace));
        let Event::PutStarted { key, draft, .. } = trace[first].event.clone() else { unreachable!("found as one") };
        insert(trace, after, N1, Event::PutStarted { put: 99, key, draft });
    }),
    canary("MONO", "deploy", |trace| {
        let first = position(trace, |event| matches!(event, Event::Replicated { taken: true, .. }));
        let again = trace[first].clone();
        trace.push(again);
    }),
    canary("CONV", "deploy", |trace| edit_final(trace, N3, |last| last.rows.clear())),
    canary("BYTES", "deploy", |trace| {
        let live = position(trace, goes_live);
        let Event::Renamed { tree, .. } = &mut trace[live].event else { unreachable!("found as one") };
        *tree = TreeDigest(1);
    }),
    canary("HASH", "deploy", |trace| edit_ends(trace, |row| row["payload_hash"] = json!("00".repeat(32)))),
    canary("BLOBREF", "deploy", |trace| edit_final(trace, N3, |last| last.blobs.clear())),
    canary("NOORPHAN", "deploy", |trace| {
        edit_final(trace, N3, |last| last.leftovers.push("staging/left-behind".to_owned()));
    }),
    canary("RETAIN", "retention", |trace| {
        let committed = position(trace, |event| matches!(event, Event::PutCommitted { .. }));
        let Event::PutCommitted { record, .. } = &trace[committed].event else { unreachable!("found as one") };
        let deployment_id = record.key.parse().unwrap();
        insert(
            trace,
            committed + 1,
            N1,
            Event::Journal(Journal::PayloadDropped { deployment_id, why: "deleted".into() }),
        );
    }),
    canary("PREV", "deploy", |trace| {
        let live = position(trace, |event| matches!(event, Event::Live { .. }));
        let Event::Live { tree, .. } = &mut trace[live].event else { unreachable!("found as one") };
        *tree = Some(TreeDigest(1));
    }),
    canary("WAKE", "deploy", |trace| {
        trace.push(Entry { at_ms: 0, node: None, event: Event::Stuck { waiting: vec!["n1 deploy".to_owned()] } });
    }),
    canary("WAKE", "deploy", |trace| {
        let what = "process 1 runs on n1".to_owned();
        trace.push(Entry { at_ms: 0, node: None, event: Event::Unsettled { within_ms: 181_000, what } });
    }),
    canary("BUDGET", "deploy", |trace| {
        let found =
            |event: &Event| matches!(event, Event::Got { found: Ok(Some(record)), .. } if record.blob.is_some());
        let found = position(trace, found);
        trace[found].at_ms += 500;
    }),
    canary("CAUSE", "failing-install", |trace| {
        let answer = answered(trace) - 1;
        let Event::DeployAnswered { answer: Err(told), .. } = &mut trace[answer].event else { panic!("it failed") };
        told["message"] = json!("the deploy failed");
    }),
    canary("CAUSE", "failing-install", |trace| {
        let answer = answered(trace) - 1;
        let Event::DeployAnswered { answer: Err(told), .. } = &mut trace[answer].event else { panic!("it failed") };
        told["phase"] = json!("");
    }),
    canary("NOUNHANDLED", "deploy", |trace| {
        let event = Journal::Unhandled { task: "flush".to_owned(), error: "the store refused".to_owned() };
        insert(trace, 1, N1, Event::Journal(event));
    }),
    canary("INSTALL", "deploy", |trace| {
        let started = position(trace, |event| matches!(event, Event::ProcessStarted { .. }));
        let Event::ProcessStarted { command, .. } = &mut trace[started].event else { unreachable!("found as one") };
        command.program = "yarn".to_owned();
    }),
    canary("INSTALL", "deploy", |trace| {
        // A peer answers before its installer has ended.
        let ends = position_on(trace, N3, |event| matches!(event, Event::ProcessExited { .. }));
        let end = trace.remove(ends);
        let answers = |event: &Event| matches!(event, Event::Journal(Journal::OperationAnswered { .. }));
        let answered = position_on(trace, N3, answers);
        trace.insert(answered + 1, end);
    }),
    canary("INSTALL", "package-managers", |trace| {
        // Managers are asked for their versions only.
        let asks = |entry: &Entry| match &entry.event {
            Event::ProcessStarted { command, .. } => command.args != ["--version"],
            _ => false,
        };
        trace.retain(|entry| !asks(entry));
    }),
    canary("INSTALL", "deploy", |trace| {
        // An installer that failed is not noticed.
        let ends = position(trace, |event| matches!(event, Event::ProcessExited { .. }));
        let Event::ProcessExited { status, .. } = &mut trace[ends].event else { unreachable!("found as one") };
        *status = ExitStatus::Code(1);
    }),
    canary("LINES", "deploy", |trace| {
        let line =
            |event: &Event| matches!(event, Event::Journal(Journal::Progress { event, .. }) if event == "install");
        trace.remove(position(trace, line));
    }),
    canary("LINES", "deploy", |trace| {
        let at = answered(trace) - 1;
        let Event::DeployAnswered { answer, .. } = &mut trace[at].event else { unreachable!("found as one") };
        let mut failure =
            json!({ "message": "npm failed", "phase": "install", "install_output": ["nobody printed it"] });
        failure["deployment_id"] = answer.as_ref().unwrap()["deployment_id"].clone();
        *answer = Err(failure);
    }),
    canary("TAIL", "deploy", |trace| {
        trace.remove(position(trace, |event| matches!(event, Event::ClientSaw { .. })));
    }),
    canary("QUIET", "deploy", |trace| {
        let after = answered(trace);
        let Event::DeployAnswered { answer: Ok(told), .. } = &trace[after - 1].event else { panic!("it succeeded") };
        let path = format!("staging/{}/late.js", told["deployment_id"].as_str().unwrap());
        insert(trace, after, N1, Event::Written { path, bytes: 1 });
    }),
    canary("QUIET", "deploy", |trace| {
        // A peer reads on when it has answered.
        let read = |event: &Event| matches!(event, Event::BlobRead { bytes: 1.., .. });
        let read = trace[position_on(trace, N3, read)].event.clone();
        let after = answered(trace);
        insert(trace, after, N3, read);
    }),
    canary("CURSOR", "deploy", |trace| {
        let commit = |entry: &Entry| matches!(entry.event, Event::Replicated { .. }) && entry.node == Some(N3);
        trace.retain(|entry| !commit(entry));
    }),
    canary("CPU", "deploy", |trace| {
        trace.push(Entry { at_ms: 0, node: None, event: Event::Hot { polls: 200_001, last: "n1 flush".to_owned() } });
    }),
    canary("OWN", "deploy", |trace| {
        let to = NodeIndex(2);
        trace.push(Entry { at_ms: 0, node: Some(N1), event: Event::Speaks { to, link: 2 } });
        trace.push(Entry { at_ms: 0, node: Some(N1), event: Event::Speaks { to, link: 1 } });
    }),
    canary("MEM", "deploy", |trace| {
        let event = Event::Holds { queue: "outgoing".into(), bytes: 1024 * 1024, item_bytes: 1 };
        trace.push(Entry { at_ms: 0, node: Some(N1), event });
    }),
    canary("AUTHZ", "deploy", |trace| insert(trace, 1, N1, Event::MembersKnown(vec![N1, NodeIndex(1)]))),
    canary("AUTHZ", "deploy", |trace| {
        let event = Event::StrangerTold { port: Port::Rows, what: "row".into() };
        trace.push(Entry { at_ms: 0, node: Some(N1), event });
    }),
    canary("PROGRESS", "deploy", |trace| {
        trace.push(Entry { at_ms: 0, node: None, event: Event::Healed });
        let event = Event::Connecting { to: NodeIndex(1), port: Port::Rows };
        trace.extend((0..9).map(|_| Entry { at_ms: 0, node: Some(N1), event: event.clone() }));
    }),
    canary("EXIT", "deploy", |trace| {
        let exit = position(trace, |event| matches!(event, Event::ClientExited { .. }));
        trace[exit].event = Event::ClientExited { deploy: 0, code: 2 };
    }),
    canary("SERVE", "restart", |trace| {
        // A peer switches before it has answered.
        let switch = position_on(trace, N3, |event| matches!(event, Event::Switching { .. }));
        let early = trace.remove(switch);
        let asked = position(trace, |event| is_asked(N3, event));
        trace.insert(asked + 1, early);
    }),
    canary("SERVE", "restart", |trace| {
        let serves = position_on(trace, N3, |event| matches!(event, Event::Serves { .. }));
        let Event::Serves { tree, .. } = &mut trace[serves].event else { unreachable!("found as one") };
        *tree = Some(TreeDigest(1));
    }),
    canary("SERVE", "restart", |trace| {
        // A build goes while it is served.
        let serves = position_on(trace, N3, |event| matches!(event, Event::Serves { .. }));
        let Event::Serves { project, build, .. } = &trace[serves].event else { unreachable!("found as one") };
        let path = format!("builds/{project}/00000000000000000001-n1-{build}");
        insert(trace, serves + 1, N3, Event::Removed { path });
    }),
    canary("SERVE", "restart", |trace| {
        let asks = position(trace, |event| matches!(event, Event::DeployRequested(_)));
        edit_facts(&mut trace[asks], |asked| asked.restart = false);
    }),
    canary("SERVE", "restart", |trace| {
        // All at once, where one at a time was asked for.
        let asks = position(trace, |event| matches!(event, Event::DeployRequested(_)));
        edit_facts(&mut trace[asks], |asked| asked.restart_mode = Some("rolling".into()));
        let first = position(trace, |event| matches!(event, Event::Serves { .. }));
        let served = trace.remove(first);
        let last = trace.iter().rposition(|entry| matches!(entry.event, Event::Serves { .. })).unwrap();
        trace.insert(last + 1, served);
    }),
    canary("SERVE", "restart", |trace| {
        // A node comes back and takes operations, but does not serve what is live.
        let listens = position_on(trace, N3, |event| matches!(event, Event::Listening { port: Port::Operations }));
        let listens = trace[listens].event.clone();
        let after = answered(trace);
        insert(trace, after, N3, Event::Crashed { death: Death::Closed });
        insert(trace, after + 1, N3, Event::Restarted);
        insert(trace, after + 2, N3, listens);
    }),
    canary("SERVE", "restart", |trace| edit_final(trace, N3, |last| last.served.clear())),
    canary("ROW", "deploy", |trace| {
        let asks = position(trace, |event| matches!(event, Event::DeployRequested(_)));
        edit_facts(&mut trace[asks], |asked| asked.user = Some("ann".to_owned()));
    }),
    canary("ROW", "deploy", |trace| edit_ends(trace, |row| row["completed_at"] = json!(1))),
    canary("ROW", "deploy", |trace| edit_ends(trace, |row| row["phase"] = json!("load"))),
    canary("ROW", "deploy", |trace| {
        // The log tells of a restart that failed, and the row of a success.
        edit_ends(trace, |row| {
            let failed = json!({ "phase": row["phase"], "status": "error" });
            let log = row["event_log"].as_array_mut().expect("a row has a log");
            log.last_mut().expect("something happened")["data"] = failed;
        });
    }),
    canary("ROW", "failing-install", |trace| edit_ends(trace, |row| row["error"] = json!(null))),
    canary("ROW", "deploy", |trace| {
        let asks = position(trace, |event| matches!(event, Event::DeployRequested(_)));
        edit_facts(&mut trace[asks], |asked| asked.asked_at = asked.asked_at.map(|at| at + 1_000));
    }),
    canary("ROW", "deploy", |trace| {
        // Whose client was told nothing is known by its payload.
        let (asks, answered) =
            (position(trace, |event| matches!(event, Event::DeployRequested(_))), answered(trace) - 1);
        trace[answered].event = Event::ClientLost { deploy: 0, cause: "the connection is closed".to_owned() };
        edit_facts(&mut trace[asks], |asked| asked.user = Some("ann".to_owned()));
    }),
    canary("READ", "retention", |trace| edit_lists(trace, |list| list["total"] = json!(99))),
    canary("READ", "retention", |trace| {
        edit_lists(trace, |list| list["deployments"].as_array_mut().unwrap().reverse())
    }),
    canary("READ", "retention", |trace| edit_lists(trace, |list| list["deployments"][0]["payload_blob"] = json!(null))),
    canary("READ", "retention", |trace| edit_lists(trace, |list| list["deployments"][0]["status"] = json!("failed"))),
    canary("READ", "retention", |trace| {
        edit_deletions(trace, |answer| {
            *answer = Err(json!({ "code": "deployment_under_way", "message": "it is loading: try again" }));
        });
    }),
    canary("READ", "retention", |trace| edit_deletions(trace, |answer| *answer = Ok(json!({ "message": "done" })))),
    canary("READ", "retention", |trace| {
        // The row goes on to name what is deleted.
        let blob = trace.iter().find_map(|entry| match &entry.event {
            Event::PutCommitted { record, .. } => record.blob,
            _ => None,
        });
        let drops = position(trace, |event| matches!(event, Event::Journal(Journal::PayloadDropped { .. })));
        for entry in &mut trace[drops..] {
            if let Event::PutCommitted { record, .. } = &mut entry.event {
                Rc::make_mut(record).blob = blob;
            }
        }
    }),
    canary("READ", "readers", |trace| {
        let read = position(trace, |event| matches!(event, Event::PayloadRead { .. }));
        let Event::PayloadRead { got, .. } = &mut trace[read].event else { unreachable!("found as one") };
        *got = Err("payload blob is unavailable (503): no more bytes come".to_owned());
    }),
    canary("FRESH", "readers", |trace| {
        // A tail sees what it sees, but each thing a little later.
        for entry in trace.iter_mut().filter(|entry| matches!(entry.event, Event::Tail { .. })) {
            entry.at_ms += 10;
        }
    }),
    canary("FRESH", "readers", |trace| {
        // A row whose end the store has refused once is in memory as before.
        let is_end = |event: &Event| matches!(event, Event::PutStarted { draft, .. } if has_ended(&draft.value));
        let (first, end) = (position(trace, |event| matches!(event, Event::Tail { .. })), position(trace, is_end));
        let Event::PutStarted { key, draft, .. } = trace[end].event.clone() else { unreachable!("found as one") };
        let node = trace[end].node.expect("a put is on a node");
        insert(trace, first, node, Event::PutStarted { put: 99, key, draft });
        insert(trace, first + 1, node, Event::PutRefused { put: 99, cause: "it is full".to_owned() });
        for entry in trace.iter_mut().filter(|entry| matches!(entry.event, Event::Tail { .. })) {
            entry.at_ms += 10;
        }
    }),
    canary("FRESH", "deploy", |trace| {
        // One more put while the payload comes in.
        let begins = position(trace, |event| matches!(event, Event::Blob { state: BlobState::Writing { .. }, .. }));
        let created = position(trace, |event| matches!(event, Event::PutStarted { .. }));
        let put = trace[created].event.clone();
        insert(trace, begins + 1, N1, put);
    }),
    canary("FRESH", "deploy", |trace| {
        // The puts between ingest and seal are gone.
        let is_progress = |event: &Event| match event {
            Event::PutStarted { draft, .. } => {
                let row: Value = serde_json::from_slice(&draft.value).unwrap();
                ["extracting", "installing", "loading"].iter().any(|status| row["status"] == *status)
            }
            _ => false,
        };
        trace.retain(|entry| !is_progress(&entry.event));
        let sealed = position(trace, |event| is_asked(NodeIndex(1), event));
        trace[sealed - 4..].iter_mut().for_each(|entry| entry.at_ms += 10);
    }),
];

fn goes_live(event: &Event) -> bool {
    matches!(event, Event::Renamed { to, .. } if to == "components/hello")
}

fn is_asked(peer: NodeIndex, event: &Event) -> bool {
    matches!(event, Event::Connecting { to, port: Port::Operations } if *to == peer)
}

fn position_on(trace: &[Entry], node: NodeIndex, wanted: impl Fn(&Event) -> bool) -> usize {
    trace.iter().position(|entry| entry.node == Some(node) && wanted(&entry.event)).expect("a calm run has one")
}

fn position(trace: &[Entry], wanted: impl Fn(&Event) -> bool) -> usize {
    trace.iter().position(|entry| wanted(&entry.event)).expect("a calm run has one")
}

/// The place behind the answer that the client got.
fn answered(trace: &[Entry]) -> usize {
    1 + position(trace, |event| matches!(event, Event::DeployAnswered { .. }))
}

fn insert(trace: &mut Vec<Entry>, at: usize, node: NodeIndex, event: Event) {
    let at_ms = trace[at - 1].at_ms;
    trace.insert(at, Entry { at_ms, node: Some(node), event });
}

fn edit_final(trace: &mut [Entry], node: NodeIndex, edit: impl Fn(&mut NodeFinal)) {
    for entry in trace.iter_mut().filter(|entry| entry.node == Some(node)) {
        if let Event::Final(last) = &mut entry.event {
            edit(Rc::make_mut(last));
        }
    }
}

/// Changes a deployment's row where it has ended, in every place where it is seen.
fn edit_ends(trace: &mut [Entry], edit: impl Fn(&mut Value)) {
    for entry in trace {
        match &mut entry.event {
            Event::PutStarted { draft, .. } => {
                *draft = Rc::new(Draft { value: edited(&draft.value, &edit), ..(**draft).clone() })
            }
            Event::PutCommitted { record, .. } | Event::Replicated { record, .. } => edit_record(record, &edit),
            Event::Final(last) => Rc::make_mut(last).rows.iter_mut().for_each(|record| edit_record(record, &edit)),
            _ => {}
        }
    }
}

/// Changes what the harness knows of a request.
fn edit_facts(entry: &mut Entry, edit: impl Fn(&mut DeployFacts)) {
    let Event::DeployRequested(asked) = &mut entry.event else { panic!("a request") };
    edit(Rc::make_mut(asked));
}

/// Changes every list that a reader was told.
fn edit_lists(trace: &mut [Entry], edit: impl Fn(&mut Value)) {
    for entry in trace {
        if let Event::ReaderTold { answer, .. } = &mut entry.event
            && let Ok(list) = Rc::make_mut(answer)
            && list["deployments"].is_array()
        {
            edit(list);
        }
    }
}

/// Changes what everybody was told who deleted a payload.
fn edit_deletions(trace: &mut [Entry], edit: impl Fn(&mut Result<Value, Value>)) {
    let mut deletes = false;
    for entry in trace {
        match &mut entry.event {
            Event::ReaderAsks { request, .. } => deletes = request["operation"] == "delete_deployment_payload",
            Event::ReaderTold { answer, .. } if deletes => edit(Rc::make_mut(answer)),
            _ => {}
        }
    }
}

fn edit_record(record: &mut Rc<Record>, edit: &impl Fn(&mut Value)) {
    let value = edited(&record.value, edit);
    Rc::make_mut(record).value = value;
}

fn has_ended(value: &[u8]) -> bool {
    let row: Value = serde_json::from_slice(value).unwrap();
    !row["completed_at"].is_null()
}

fn edited(value: &[u8], edit: &impl Fn(&mut Value)) -> bytes::Bytes {
    let mut row: Value = serde_json::from_slice(value).unwrap();
    if has_ended(value) {
        edit(&mut row);
    }
    row.to_string().into()
}

fn calm(setup: &Setup, scenario: &str) -> Vec<Entry> {
    let index = setup.scenarios.iter().position(|known| known.name == scenario).expect("a scenario of that name");
    setup.run(index, Box::new(Calm)).trace.entries().to_vec()
}

fn judged(entries: Vec<Entry>, invariant: &str) -> Judgement {
    let mut trace = Trace::default();
    entries.into_iter().for_each(|entry| trace.push(entry));
    let index = invariants::ALL.iter().position(|known| known.name == invariant).expect("an invariant of that name");
    judge(&trace).swap_remove(index)
}

#[test]
fn every_invariant_has_a_canary() {
    let names: Vec<_> = invariants::ALL.iter().map(|invariant| invariant.name).collect();
    let mut canaries: Vec<_> = CANARIES.iter().map(|canary| canary.invariant).collect();
    // One may have more than one: each shows another break.
    canaries.dedup();
    assert_eq!(canaries, names);
}

#[test]
fn every_invariant_looks_at_a_calm_run_and_holds() {
    let setup = setup(WorldKind::Sim);
    for canary in CANARIES {
        let judgement = judged(calm(&setup, canary.scenario), canary.invariant);
        assert!(judgement.checked > 0, "{} had nothing to look at", canary.invariant);
        assert_eq!(judgement.violation, None);
    }
}

#[test]
fn every_invariant_breaks_when_one_thing_is_another() {
    let setup = setup(WorldKind::Sim);
    for canary in CANARIES {
        let mut trace = calm(&setup, canary.scenario);
        (canary.breaks)(&mut trace);
        let violation = judged(trace, canary.invariant).violation;
        assert_eq!(violation.map(|violation| violation.invariant), Some(canary.invariant), "{}", canary.invariant);
    }
}
