//! Traces as lines of JSON, as real nodes write them: nothing of an event is lost on the way.

use drydock::{
    check::{Entry, Trace},
    search::{seed::Seed, strategy::Strategy},
    sim::run::WorldKind,
};

use crate::story::setup;

#[test]
fn every_event_comes_back_from_its_line_as_it_was_and_the_trace_means_the_same() {
    let setup = setup(WorldKind::Sim);
    for index in 0..2 * setup.scenarios.len() as u64 {
        let report = setup.run(setup.scenario_of(index), Strategy::Pct.source(Seed(3).nth(index)));
        let mut read = Trace::default();
        for entry in report.trace.entries() {
            let line = serde_json::to_string(entry).unwrap();
            let back: Entry = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(back, *entry, "{line}");
            read.push(back);
        }
        assert_eq!(read.hash128(), report.trace.hash128());
    }
}
