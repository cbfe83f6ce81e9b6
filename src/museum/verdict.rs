//! Was a bug caught by what had to catch it?

use serde::Serialize;

use crate::search::summary::Summary;

/// What is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The code as it is: nothing may break.
    Sound,
    /// A bug put back: one of these invariants must break.
    Bug(&'a [String]),
}

/// How an exploration ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It said this.
    Explored(Box<Summary>),
    /// It did not end in time.
    Hung,
    /// The edited code does not build.
    DoesNotBuild(String),
    /// The program failed.
    Failed(String),
}

impl Outcome {
    fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Explored(summary) => Some(summary),
            _ => None,
        }
    }

    /// What broke and how, or what went wrong.
    fn story(&self) -> String {
        match self {
            Self::Explored(summary) => {
                summary.violation.as_ref().map(|violation| violation.headline.clone()).unwrap_or_default()
            }
            Self::Hung => "the exploration did not end in time and was stopped".to_owned(),
            Self::DoesNotBuild(cause) | Self::Failed(cause) => cause.clone(),
        }
    }
}

/// What that means, from good to bad: the worst is what an exhibit gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Sound code survived the budget.
    Sound,
    /// The bug was caught by an invariant that was named.
    Caught,
    /// The bug broke other invariants only.
    CaughtByAnother,
    /// The bug survived the budget, or never ended.
    Missed,
    /// Sound code broke an invariant.
    Unsound,
    /// The edit applies, but what it makes is no program.
    DoesNotBuild,
    /// The harness failed.
    Failed,
}

impl Verdict {
    /// The verdict on `subject`.
    pub fn on(subject: Subject<'_>, outcome: &Outcome) -> Self {
        let broken = match outcome {
            Outcome::Explored(summary) => summary.violation.as_ref().map(|violation| &violation.broken),
            Outcome::Hung => None,
            Outcome::DoesNotBuild(_) => return Self::DoesNotBuild,
            Outcome::Failed(_) => return Self::Failed,
        };
        match (subject, broken) {
            (Subject::Sound, None) if *outcome == Outcome::Hung => Self::Unsound,
            (Subject::Sound, None) => Self::Sound,
            (Subject::Sound, Some(_)) => Self::Unsound,
            (Subject::Bug(_), None) => Self::Missed,
            (Subject::Bug(named), Some(broken)) if broken.iter().any(|name| named.contains(name)) => Self::Caught,
            (Subject::Bug(_), Some(_)) => Self::CaughtByAnother,
        }
    }

    /// The verdict in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Unsound => "UNSOUND",
            Self::Caught => "caught",
            Self::CaughtByAnother => "CAUGHT BY ANOTHER",
            Self::Missed => "MISSED",
            Self::DoesNotBuild => "DOES NOT BUILD",
            Self::Failed => "FAILED",
        }
    }
}

/// A line of the museum's table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The exhibit, or `sound code`.
    pub name: String,
    /// Caught or not.
    pub verdict: Verdict,
    /// The invariants of which one must catch it.
    pub named: Vec<String>,
    /// Explorations, each with a seed of its own.
    pub seeds: u32,
    /// Those of them that ended as they must.
    pub seeds_good: u32,
    /// The invariants that broke.
    pub broken: Vec<String>,
    /// Runs made, up to the first violation: those of the seed that took the most.
    pub runs: u64,
    /// Processor time that they took, or real time where the system does not tell.
    pub cpu_seconds: f64,
    /// What broke and how, or what went wrong.
    pub story: String,
}

impl Line {
    /// The line of `subject`, from an outcome a seed.
    ///
    /// # Panics
    /// When there is no outcome.
    pub fn new(name: &str, subject: Subject<'_>, outcomes: &[Outcome]) -> Self {
        let named = match subject {
            Subject::Sound => Vec::new(),
            Subject::Bug(named) => named.to_vec(),
        };
        let verdict = |outcome: &&Outcome| Verdict::on(subject, outcome);
        let worst = outcomes.iter().max_by_key(verdict).expect("a subject is explored at least once");
        let summaries: Vec<_> = outcomes.iter().filter_map(Outcome::summary).collect();
        let mut broken = Vec::new();
        for name in summaries.iter().filter_map(|summary| summary.violation.as_ref()).flat_map(|one| &one.broken) {
            if !broken.contains(name) {
                broken.push(name.clone());
            }
        }
        let good = outcomes.iter().filter(|outcome| verdict(outcome) <= Verdict::Caught).count();
        Self {
            name: name.to_owned(),
            verdict: verdict(&worst),
            named,
            seeds: outcomes.len() as u32,
            seeds_good: good as u32,
            broken,
            runs: summaries.iter().map(|summary| summary.runs).max().unwrap_or(0),
            cpu_seconds: summaries.iter().map(|summary| summary.pace.cpu_seconds.unwrap_or(summary.pace.seconds)).sum(),
            story: worst.story(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::summary::{Pace, ViolationSummary};

    fn explored(broken: &[&str]) -> Outcome {
        let violation = ViolationSummary {
            run: 3,
            scenario: "calm".to_owned(),
            invariant: broken.first().copied().unwrap_or_default().to_owned(),
            fingerprint: String::new(),
            broken: broken.iter().map(|&name| name.to_owned()).collect(),
            why: String::new(),
            choices_found: 0,
            choices: 0,
            shrink_tries: 0,
            smallest: true,
            capsule: None,
            headline: "PEERS broken".to_owned(),
            story: Vec::new(),
        };
        Outcome::Explored(Box::new(Summary {
            seed: 1,
            strategy: String::new(),
            world: String::new(),
            nodes: 3,
            component: String::new(),
            component_sha256: String::new(),
            runs: 4,
            distinct_schedules: 4,
            distinct_schedules_exact: true,
            draws: 0,
            virtual_seconds: 0.0,
            pace: Pace { seconds: 0.5, cpu_seconds: None, memory_bytes_max: None, runs_per_second: 8.0 },
            scenarios: Vec::new(),
            faults: Vec::new(),
            marks: Vec::new(),
            invariants: Vec::new(),
            violation: (!broken.is_empty()).then_some(violation),
        }))
    }

    #[test]
    fn a_bug_is_caught_only_by_an_invariant_that_was_named() {
        let named = ["PEERS".to_owned(), "MONO".to_owned()];
        let on = |broken: &[&str]| Verdict::on(Subject::Bug(&named), &explored(broken));
        assert_eq!(on(&["TRUTH", "MONO"]), Verdict::Caught);
        assert_eq!(on(&["TRUTH"]), Verdict::CaughtByAnother);
        assert_eq!(on(&[]), Verdict::Missed);
        assert_eq!(Verdict::on(Subject::Bug(&named), &Outcome::Hung), Verdict::Missed);
    }

    #[test]
    fn sound_code_may_break_nothing_and_must_end() {
        let on = |outcome: &Outcome| Verdict::on(Subject::Sound, outcome);
        assert_eq!(on(&explored(&[])), Verdict::Sound);
        assert_eq!(on(&explored(&["TAIL"])), Verdict::Unsound);
        assert_eq!(on(&Outcome::Hung), Verdict::Unsound);
    }

    #[test]
    fn real_time_stands_in_for_processor_time_that_is_not_known() {
        assert_eq!(Line::new("R01", Subject::Sound, &[explored(&[])]).cpu_seconds, 0.5);
    }

    #[test]
    fn the_worst_of_the_seeds_is_what_an_exhibit_gets() {
        let named = ["PEERS".to_owned()];
        let line = |outcomes: &[Outcome]| Line::new("R01", Subject::Bug(&named), outcomes);
        let (caught, other, missed) = (explored(&["PEERS"]), explored(&["TRUTH"]), explored(&[]));
        let of = |line: Line| (line.verdict, line.seeds_good, line.seeds, line.broken.join(" "));
        assert_eq!(of(line(&[caught.clone(), caught.clone()])), (Verdict::Caught, 2, 2, "PEERS".to_owned()));
        assert_eq!(of(line(&[caught.clone(), other])), (Verdict::CaughtByAnother, 1, 2, "PEERS TRUTH".to_owned()));
        assert_eq!(of(line(&[missed, caught, Outcome::Hung])), (Verdict::Missed, 1, 3, "PEERS".to_owned()));
        assert_eq!(of(line(&[Outcome::DoesNotBuild("x".to_owned())])), (Verdict::DoesNotBuild, 0, 1, String::new()));
    }
}
