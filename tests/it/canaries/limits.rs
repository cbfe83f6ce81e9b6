//! What invariants excuse, and no more; and what they tell of a breach.

use std::slice;

use drydock::{
    check::{Death, Entry, Event, Fault, TailSight, TreeDigest},
    env::{BlobState, Port},
    sim::run::WorldKind,
};
use serde_json::json;

use super::{N1, N3, answered, calm, edit_ends, edit_final, goes_live, insert, judged, position};
use crate::story::setup;

/// What a loss of power right behind the answer leaves on n1.
fn lose_power(trace: &mut Vec<Entry>, left: Option<TreeDigest>) {
    let after = answered(trace);
    insert(trace, after, N1, Event::Crashed { death: Death::PowerLoss });
    insert(trace, after + 1, N1, Event::Live { project: "hello".to_owned(), tree: left });
}

#[test]
fn a_breach_of_liveness_tells_on_whom_it_waits() {
    let setup = setup(WorldKind::Sim);
    let why = |invariant, breaks: fn(&mut Vec<Entry>)| {
        let mut trace = calm(&setup, "deploy");
        breaks(&mut trace);
        judged(trace, invariant).violation.expect("it is broken").to_string()
    };
    let lost = why("CONV", |trace| edit_final(trace, N3, |last| last.rows.clear()));
    assert!(lost.contains("n3 waits for n1, which it last asked for its rows at 0 ms"), "{lost}");
    let behind = why("TERM", |trace| {
        for entry in trace.iter_mut().filter(|entry| entry.node == Some(N3)) {
            edit_ends(slice::from_mut(entry), |row| row["status"] = json!("replicating"));
        }
    });
    assert!(behind.contains("n1 has ended it as `success`, and n3 waits for n1, which it last asked"), "{behind}");
    let open = why("TERM", |trace| {
        trace.remove(answered(trace) - 1);
        edit_ends(trace, |row| row["status"] = json!("replicating"));
    });
    assert!(open.contains("it waits for n1, which told phase \"success\" of it (\"done\") last"), "{open}");
}

#[test]
fn a_cursor_may_pass_a_blob_that_its_device_lost_but_none_that_comes_anew() {
    let setup = setup(WorldKind::Sim);
    let mut trace = calm(&setup, "deploy");
    let is_save = |entry: &Entry| entry.node == Some(N3) && matches!(entry.event, Event::CursorSaved { of: N1, .. });
    let last = trace.iter().rposition(is_save).expect("a calm run has one");
    let mut place = 0..;
    trace.retain(|entry| place.next() == Some(last) || !is_save(entry));
    let save = trace.iter().position(is_save).expect("it was kept");
    let again = trace[..save].iter().rfind(|entry| match &entry.event {
        Event::Replicated { record, .. } => entry.node == Some(N3) && record.blob.is_some(),
        _ => false,
    });
    let again = again.expect("a calm run has one").event.clone();
    let Event::Replicated { record, .. } = &again else { unreachable!("found as one") };
    let id = record.blob.expect("found with one");
    let lost = [
        Event::Fault(Fault::Failed { what: "blob-damaged".into() }),
        Event::Blob { id, state: BlobState::Missing },
        Event::Blob { id, state: BlobState::Writing { bytes: 0 } },
    ];
    let judged_with = |events: Vec<Event>| {
        let mut trace = trace.clone();
        for event in events.into_iter().rev() {
            insert(&mut trace, save, N3, event);
        }
        judged(trace, "CURSOR").violation
    };
    assert_eq!(judged_with(lost.to_vec()), None);
    let anew = [Event::Hears { of: N1, link: 2 }, again];
    assert!(judged_with([&lost[..], &anew[..]].concat()).is_some());
    // Without damage a blob that is under way is no blob.
    assert!(judged_with(lost[2..].to_vec()).is_some());
}

#[test]
fn a_power_loss_must_leave_the_build_that_was_answered_for() {
    let setup = setup(WorldKind::Sim);
    let trace = calm(&setup, "redeploy");
    let Event::Live { tree: old, .. } = trace[position(&trace, |event| matches!(event, Event::Live { .. }))].event
    else {
        unreachable!("found as one")
    };
    for left in [None, Some(TreeDigest(1))] {
        let mut trace = trace.clone();
        lose_power(&mut trace, left);
        assert!(judged(trace, "PREV").violation.is_some(), "{left:?}");
    }
    let mut trace = trace;
    lose_power(&mut trace, old);
    assert_eq!(judged(trace, "PREV").violation, None);
}

#[test]
fn an_older_build_may_come_where_the_newer_went_with_the_power() {
    let setup = setup(WorldKind::Sim);
    let trace = calm(&setup, "redeploy");
    let swaps = |entry: &Entry| entry.node == Some(N3) && goes_live(&entry.event);
    let places: Vec<_> = (0..trace.len()).filter(|&at| swaps(&trace[at])).collect();
    let (old, new) = (&trace[places[0]].event, *places.last().expect("there are two"));
    let Event::Renamed { tree, .. } = old else { unreachable!("found as one") };
    let judged_with = |events: &[Event]| {
        let mut trace = trace.clone();
        for event in events.iter().rev() {
            insert(&mut trace, new + 1, N3, event.clone());
        }
        judged(trace, "CONV").violation.map(|violation| violation.fingerprint)
    };
    let back = Some("an older build takes the place of a newer one".to_owned());
    let crash = |death| Event::Crashed { death };
    let gone = |tree| Event::Live { project: "hello".to_owned(), tree };
    assert_eq!(judged_with(slice::from_ref(old)), back);
    for left in [None, Some(*tree)] {
        assert_eq!(judged_with(&[crash(Death::PowerLoss), gone(left), Event::Restarted, old.clone()]), None);
    }
    // Once the node has started again all that it found is durable.
    let up = Event::Listening { port: Port::Rows };
    let later = [crash(Death::Closed), Event::Restarted, up, crash(Death::PowerLoss), gone(None), Event::Restarted];
    assert_eq!(judged_with(&[&later[..], slice::from_ref(old)].concat()), back);
    // A loss of power that took nothing, or a death that takes nothing, is no excuse.
    assert_eq!(judged_with(&[crash(Death::PowerLoss), Event::Restarted, old.clone()]), back);
    assert_eq!(judged_with(&[crash(Death::Closed), gone(None), Event::Restarted, old.clone()]), back);
}

#[test]
fn a_reader_is_as_late_as_its_reads_and_no_later() {
    let setup = setup(WorldKind::Sim);
    let trace = calm(&setup, "readers");
    let without_pause = |entry: &Entry| match entry.event {
        Event::Tail { reader, saw: TailSight::Attached { pause_ms: 0 }, .. } if entry.node == Some(N1) => Some(reader),
        _ => None,
    };
    let reader = trace.iter().find_map(without_pause).expect("a calm run has one");
    let sees = |entry: &Entry| matches!(entry.event, Event::Tail { reader: of, saw: TailSight::Entry { .. }, .. } if of == reader);
    // Each thing is seen 10 ms late, and the read behind it took so long.
    let judged_with = |ms| {
        let mut late = Vec::new();
        for mut entry in trace.clone() {
            if sees(&entry) {
                let event = Event::Fault(Fault::Delayed { what: "get".into(), ms });
                late.push(Entry { at_ms: entry.at_ms, node: entry.node, event });
                entry.at_ms += 10;
            }
            late.push(entry);
        }
        judged(late, "FRESH").violation.map(|violation| violation.fingerprint)
    };
    assert_eq!(judged_with(10), None);
    assert_eq!(judged_with(1), Some("a tail on the origin sees late".to_owned()));
}
