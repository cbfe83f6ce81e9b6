//! What an exploration says: the JSON of `drydock explore --json`, which the museum reads, and the source of its tables.

use serde::{Deserialize, Serialize};

use super::{
    distinct::Count,
    explore::Exploration,
    investigate::Case,
    seed::Seed,
    setup::Setup,
    shrink::End,
    stopwatch::{Stopwatch, cpu_seconds, memory_bytes_max},
    story::{self, Plot},
    strategy::Strategy,
    tally::{Finding, Seen},
};
use crate::{
    check::{invariants, marks},
    sim::choice::Kind,
};

/// An exploration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The seed of the whole exploration.
    pub seed: u64,
    /// The strategy's name.
    pub strategy: String,
    /// The world's name.
    pub world: String,
    /// Nodes in the cluster.
    pub nodes: u8,
    /// The component's name.
    pub component: String,
    /// The hash of its payload.
    pub component_sha256: String,
    /// Runs made, up to the first violation.
    pub runs: u64,
    /// Different traces among them.
    pub distinct_schedules: u64,
    /// Is that number exact? Beyond 65,536 it is an estimate within about 0.4 %.
    pub distinct_schedules_exact: bool,
    /// Draws from the decision logs.
    pub draws: u64,
    /// Virtual time of all runs.
    pub virtual_seconds: f64,
    /// Real time and speed.
    #[serde(flatten)]
    pub pace: Pace,
    /// Runs of each scenario.
    pub scenarios: Vec<ScenarioLine>,
    /// Choices other than 0, by kind.
    pub faults: Vec<FaultLine>,
    /// Checks of each invariant.
    pub invariants: Vec<InvariantLine>,
    /// Places in the logic that it came to; see [`marks`].
    #[serde(default)]
    pub marks: Vec<MarkLine>,
    /// What was broken, if anything.
    pub violation: Option<ViolationSummary>,
}

/// Real time of an exploration, without shrinking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Real time.
    pub seconds: f64,
    /// Processor time of all threads, where the system tells.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the process has had resident, where the system tells.
    pub memory_bytes_max: Option<u64>,
    /// Runs per second of real time.
    pub runs_per_second: f64,
}

/// A scenario's share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioLine {
    /// Its name.
    pub name: String,
    /// Its runs.
    pub runs: u64,
}

/// How often a kind of choice was not 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLine {
    /// Its name.
    pub kind: String,
    /// Order, delay, cut, failure or workload.
    pub effect: String,
    /// In all.
    pub times: u64,
    /// In so many runs.
    pub runs: u64,
}

/// How often an invariant was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvariantLine {
    /// Its name.
    pub name: String,
    /// What must hold.
    pub sentence: String,
    /// In all.
    pub checked: u64,
    /// In so many runs.
    pub runs: u64,
}

/// How often a mark was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkLine {
    /// Its name.
    pub name: String,
    /// What has happened where it is seen.
    pub sentence: String,
    /// In all.
    pub times: u64,
    /// In so many runs.
    pub runs: u64,
    /// See [`marks::Mark::is_seldom`].
    #[serde(default)]
    pub is_seldom: bool,
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViolationSummary {
    /// Which run of the exploration.
    pub run: u64,
    /// Its scenario.
    pub scenario: String,
    /// The first invariant that it broke.
    pub invariant: String,
    /// How.
    pub fingerprint: String,
    /// Every invariant that it broke.
    pub broken: Vec<String>,
    /// Why, in plain words.
    pub why: String,
    /// Choices before shrinking.
    pub choices_found: usize,
    /// Choices after.
    pub choices: usize,
    /// Runs that shrinking took.
    pub shrink_tries: u64,
    /// Can no choice be taken away or lowered alone?
    pub smallest: bool,
    /// Where the capsule was written.
    pub capsule: Option<String>,
    /// The story in one line.
    pub headline: String,
    /// The story.
    pub story: Vec<String>,
}

impl Pace {
    /// The pace of so many runs since `watch` was started.
    pub fn since(watch: Stopwatch, runs: u64) -> Self {
        let seconds = watch.seconds();
        Self {
            seconds,
            cpu_seconds: cpu_seconds(),
            memory_bytes_max: memory_bytes_max(),
            runs_per_second: runs as f64 / seconds.max(1e-9),
        }
    }
}

impl Summary {
    /// The summary of an exploration without violation.
    pub fn new(setup: &Setup, strategy: Strategy, seed: Seed, exploration: &Exploration, pace: Pace) -> Self {
        let tally = &exploration.tally;
        let schedules = tally.schedules.count();
        Self {
            seed: seed.0,
            strategy: strategy.to_string(),
            world: setup.world.to_string(),
            nodes: setup.params.nodes,
            component: setup.params.component.name.clone(),
            component_sha256: setup.params.component.hash.clone(),
            runs: tally.runs,
            // An estimate may say more than there were.
            distinct_schedules: schedules.value().min(tally.runs),
            distinct_schedules_exact: matches!(schedules, Count::Exactly(_)),
            draws: tally.draws,
            virtual_seconds: tally.virtual_time.as_secs_f64(),
            pace,
            scenarios: scenario_lines(setup, &tally.scenarios),
            faults: fault_lines(&tally.choices),
            invariants: invariant_lines(&tally.checked),
            marks: mark_lines(&tally.marks),
            violation: None,
        }
    }

    /// The marks that no run came to.
    pub fn never_reached(&self) -> impl Iterator<Item = &MarkLine> {
        self.marks.iter().filter(|mark| mark.runs == 0)
    }

    /// Those of them that so many runs should have come to.
    pub fn overlooked(&self) -> impl Iterator<Item = &MarkLine> {
        self.never_reached().filter(|mark| !mark.is_seldom || self.runs >= marks::SELDOM_SEEN_WITHIN)
    }
}

fn scenario_lines(setup: &Setup, runs: &[u64]) -> Vec<ScenarioLine> {
    let runs = runs.iter().copied().chain(std::iter::repeat(0));
    setup
        .scenarios
        .iter()
        .zip(runs)
        .map(|(scenario, runs)| ScenarioLine { name: scenario.name.to_owned(), runs })
        .collect()
}

fn fault_lines(seen: &[Seen]) -> Vec<FaultLine> {
    let line = |(kind, seen): (&Kind, &Seen)| FaultLine {
        kind: kind.to_string(),
        effect: format!("{:?}", kind.effect()).to_lowercase(),
        times: seen.times,
        runs: seen.runs,
    };
    Kind::ALL.iter().zip(seen).map(line).collect()
}

fn invariant_lines(seen: &[Seen]) -> Vec<InvariantLine> {
    let seen = seen.iter().copied().chain(std::iter::repeat(Seen::default()));
    let line = |(invariant, seen): (&crate::check::Invariant, Seen)| InvariantLine {
        name: invariant.name.to_owned(),
        sentence: invariant.sentence.to_owned(),
        checked: seen.times,
        runs: seen.runs,
    };
    invariants::ALL.iter().zip(seen).map(line).collect()
}

fn mark_lines(seen: &[Seen]) -> Vec<MarkLine> {
    let seen = seen.iter().copied().chain(std::iter::repeat(Seen::default()));
    let line = |(mark, seen): (&marks::Mark, Seen)| MarkLine {
        name: mark.name.to_owned(),
        sentence: mark.sentence.to_owned(),
        times: seen.times,
        runs: seen.runs,
        is_seldom: mark.is_seldom,
    };
    marks::ALL.iter().zip(seen).map(line).collect()
}

impl ViolationSummary {
    /// What there is to say of a finding that was looked into; `capsule` is where it was written.
    pub fn new(setup: &Setup, seed: Seed, finding: &Finding, case: &Case, capsule: Option<String>) -> Self {
        let (violation, shrunk) = (&case.violation, &case.shrunk);
        let name = setup.scenarios[finding.scenario].name;
        let story = story::tell(&Plot {
            setting: setting(setup, seed, finding, case),
            violation,
            trace: &case.report.trace,
            choices: &shrunk.choices,
            replay: match &capsule {
                Some(path) => format!("drydock replay {path} --trace"),
                None => "its capsule could not be written; the same seed finds it again".to_owned(),
            },
        });
        Self {
            run: finding.index,
            scenario: name.to_owned(),
            invariant: violation.invariant.to_owned(),
            fingerprint: violation.fingerprint.clone(),
            broken: finding.broken.iter().map(|&name| name.to_owned()).collect(),
            why: violation.why.clone(),
            choices_found: finding.choices.len(),
            choices: shrunk.choices.len(),
            shrink_tries: shrunk.tries,
            smallest: shrunk.end == End::Smallest,
            capsule,
            headline: story::headline(violation, &shrunk.choices),
            story,
        }
    }
}

fn setting(setup: &Setup, seed: Seed, finding: &Finding, case: &Case) -> String {
    let end = match case.shrunk.end {
        End::Smallest => "",
        End::TimeUp => ", when time was up",
    };
    let scenario = setup.scenarios[finding.scenario];
    format!(
        "Run {} of seed {seed}: scenario `{}`, {} nodes, component `{}`; shrunk from {} to {} choices in {} runs{end}.",
        finding.index,
        scenario.name,
        scenario.size_in(setup.params.nodes, &case.shrunk.choices),
        setup.params.component.name,
        finding.choices.len(),
        case.shrunk.choices.len(),
        case.shrunk.tries,
    )
}
