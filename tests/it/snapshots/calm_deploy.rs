//! A calm deploy, event by event.

use drydock::{
    check::{Entry, Event, NodeIndex},
    env::{BlobState, Journal},
    sim::{choice::Calm, run::WorldKind},
};

use super::masked;
use crate::story::setup;

/// Is it worth a reader's time? Chunks, files and what stands in another line already are not.
fn is_telling(entry: &Entry) -> bool {
    match &entry.event {
        Event::Written { .. } | Event::BlobRead { .. } | Event::Removed { .. } | Event::Logged { .. } => false,
        Event::Blob { state: BlobState::Writing { bytes }, .. } => *bytes == 0,
        // The origin's own progress is what the client sees.
        Event::Journal(Journal::Progress { .. }) => entry.node != Some(NodeIndex(0)),
        _ => true,
    }
}

fn line(entry: &Entry) -> String {
    let node = entry.node.map_or("--".to_owned(), |node| node.to_string());
    masked(&format!("{node}  {}\n", entry.event))
}

#[test]
fn a_calm_deploy_reads_like_a_story() {
    let setup = setup(WorldKind::Sim);
    let deploy = setup.scenarios.iter().position(|scenario| scenario.name == "deploy").unwrap();
    let report = setup.run(deploy, Box::new(Calm));
    let told: String = report.trace.entries().iter().filter(|entry| is_telling(entry)).map(line).collect();
    assert!(told.lines().count() < 180, "{told}");
    insta::assert_snapshot!(told);
}
