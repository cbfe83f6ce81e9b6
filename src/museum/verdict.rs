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

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Sound code survived the budget.
    Sound,
    /// Sound code broke an invariant.
    Unsound,
    /// The bug was caught by an invariant that was named.
    Caught,
    /// The bug broke other invariants only.
    CaughtByAnother,
    /// The bug survived the budget, or never ended.
    Missed,
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
    /// The invariants that broke.
    pub broken: Vec<String>,
    /// Runs made, up to the first violation.
    pub runs: u64,
    /// Processor time that they took, or real time where the system does not tell.
    pub cpu_seconds: f64,
    /// What broke and how, or what went wrong.
    pub story: String,
}

impl Line {
    /// The line of `subject`.
    pub fn new(name: &str, subject: Subject<'_>, outcome: &Outcome) -> Self {
        let named = match subject {
            Subject::Sound => Vec::new(),
            Subject::Bug(named) => named.to_vec(),
        };
        let summary = match outcome {
            Outcome::Explored(summary) => Some(summary),
            _ => None,
        };
        let violation = summary.and_then(|summary| summary.violation.as_ref());
        Self {
            name: name.to_owned(),
            verdict: Verdict::on(subject, outcome),
            named,
            broken: violation.map(|violation| violation.broken.clone()).unwrap_or_default(),
            runs: summary.map_or(0, |summary| summary.runs),
            cpu_seconds: summary.map_or(0.0, |summary| summary.pace.cpu_seconds.unwrap_or(summary.pace.seconds)),
            story: match outcome {
                Outcome::Explored(_) => violation.map(|violation| violation.headline.clone()).unwrap_or_default(),
                Outcome::Hung => "the exploration did not end in time and was stopped".to_owned(),
                Outcome::DoesNotBuild(cause) | Outcome::Failed(cause) => cause.clone(),
            },
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
        assert_eq!(Line::new("R01", Subject::Sound, &explored(&[])).cpu_seconds, 0.5);
    }
}
