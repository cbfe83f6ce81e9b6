//! Nodes that are paused as a whole: they do nothing, go on where they were, and what is late by that is late by no more.

use drydock::{
    check::{Entry, Event, Fault, NodeIndex, Trace, judge},
    search::setup::Setup,
    sim::{
        choice::{Choices, Kind, Label, Replay, pause_ms},
        run::{Report, WorldKind},
    },
};

use crate::story::{how_to_see, setup};

/// A pause of a second.
const LENGTH: u32 = 13;

/// `node` is paused in its first life at the step that `at` stands for.
fn pause(node: NodeIndex, at: u32, length: u32) -> Choices {
    let label = |kind| Label { kind, node: Some(node), occurrence: 0 };
    [(label(Kind::Pause), 1), (label(Kind::PauseAt), at), (label(Kind::PauseTime), length)].into()
}

fn run(setup: &Setup, scenario: &str, choices: Choices) -> Report {
    let index = setup.scenarios.iter().position(|known| known.name == scenario).expect("a scenario of that name");
    let report = setup.run(index, Box::new(Replay(choices)));
    if let Some(violation) = report.violation() {
        panic!("{}", how_to_see(setup, index, &report, violation));
    }
    report
}

fn paused(entries: &[Entry]) -> Option<usize> {
    entries.iter().position(|entry| matches!(entry.event, Event::Fault(Fault::Paused { .. })))
}

fn is_sound(entries: impl IntoIterator<Item = Entry>) -> bool {
    let mut trace = Trace::default();
    entries.into_iter().for_each(|entry| trace.push(entry));
    judge(&trace).iter().all(|judgement| judgement.violation.is_none())
}

#[test]
fn a_paused_node_does_nothing_and_goes_on_where_it_was() {
    let setup = setup(WorldKind::Sim);
    assert_eq!(pause_ms(LENGTH), 1_000);
    let mut went_on = 0;
    for (node, at) in (0..3).flat_map(|node| (0..256).step_by(4).map(move |at| (NodeIndex(node), at))) {
        let report = run(&setup, "deploy", pause(node, at, LENGTH));
        let entries = report.trace.entries();
        let Some(place) = paused(entries) else { continue };
        let (began, healed) =
            (entries[place].at_ms, entries.iter().position(|entry| matches!(entry.event, Event::Healed)));
        let until = entries[healed.expect("the story heals")].at_ms.min(began + 1_000);
        let idle = (began + 1)..until;
        let acts = entries.iter().find(|entry| entry.node == Some(node) && idle.contains(&entry.at_ms));
        assert_eq!(acts, None, "{node} is paused at {began} ms");
        let is_final = |entry: &Entry| matches!(entry.event, Event::Final(_));
        let later = |entry: &&Entry| entry.node == Some(node) && entry.at_ms >= until && !is_final(entry);
        went_on += u32::from(entries[place..].iter().any(|entry| later(&entry)));
        let succeeded = entries.iter().any(|entry| matches!(&entry.event, Event::DeployAnswered { answer: Ok(_), .. }));
        assert!(succeeded, "a second is no reason to fail: {node} is paused at {began} ms");
    }
    assert!(went_on > 90, "{went_on} of 192");
}

#[test]
fn a_pause_longer_than_any_silence_is_survived() {
    let setup = setup(WorldKind::Sim);
    let mut failed = 0;
    for (node, at) in (0..3).flat_map(|node| (0..256).step_by(8).map(move |at| (NodeIndex(node), at))) {
        let report = run(&setup, "redeploy", pause(node, at, LENGTH + 5));
        let fails = |entry: &&Entry| matches!(&entry.event, Event::DeployAnswered { answer: Err(_), .. });
        failed += report.trace.entries().iter().filter(fails).count();
    }
    assert!(failed > 0, "a peer that is silent for more than its origin waits counts as failed");
}

#[test]
fn what_a_pause_delays_is_excused_by_it_and_by_no_more() {
    let setup = setup(WorldKind::Sim);
    let (mut unexcused, mut later) = (0, 0);
    for at in (0..256).step_by(2) {
        let report = run(&setup, "readers", pause(NodeIndex(0), at, LENGTH));
        let entries = report.trace.entries().to_vec();
        let Some(place) = paused(&entries) else { continue };
        unexcused += u32::from(!is_sound([&entries[..place], &entries[place + 1..]].concat()));
        let mut late = entries;
        let tails = late[place..].iter_mut().filter(|entry| matches!(entry.event, Event::Tail { .. }));
        let moved = tails.map(|entry| entry.at_ms += 10).count();
        later += u32::from(moved > 0 && !is_sound(late));
    }
    assert!(unexcused > 0, "no pause made anything late");
    assert!(later > 10, "{later} of the runs notice that a reader is 10 ms later than its node's pause makes it");
}

#[test]
fn a_node_that_dies_at_the_step_of_its_pause_was_not_paused() {
    let setup = setup(WorldKind::Sim);
    let mut died = 0;
    for at in 0..64 {
        let mut choices = pause(NodeIndex(1), at, LENGTH + 5);
        for (kind, value) in [(Kind::Crash, 1), (Kind::CrashAt, at)] {
            choices.insert(Label { kind, node: Some(NodeIndex(1)), occurrence: 0 }, value);
        }
        let report = run(&setup, "deploy", choices);
        let entries = report.trace.entries();
        let Some(death) = entries.iter().position(|entry| matches!(entry.event, Event::Crashed { .. })) else {
            continue;
        };
        died += 1;
        assert_eq!(paused(&entries[death..]), None, "step {at}");
    }
    assert!(died > 20, "{died}");
}
