//! A run of real nodes, and what the invariants say of it.

use std::{fmt, io, path::PathBuf, time::Duration};

use super::{
    clients::Client,
    finals::{self, Unread},
    line::{Stamp, What},
    merging::Merge,
    payloads::Payloads,
    reading::{self, LifeTrace, NodeTrace},
    rest,
};
use crate::{
    check::{Event, Invariant, Judgement, NodeFinal, NodeIndex, Trace, Violation, invariants},
    env::{Key, NodeName, Version},
};

/// How often a run is looked at that is to come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A run of real nodes on this machine, by their directories.
pub struct Run {
    directories: Vec<PathBuf>,
    healed: Option<Stamp>,
}

/// What the invariants say of a run.
pub struct RunJudgement {
    /// What happened, in one order.
    pub trace: Trace,
    /// One for each of [`invariants::ALL`], in that order.
    pub verdicts: Vec<Verdict>,
    names: Vec<NodeName>,
}

/// What one invariant says.
pub struct Verdict {
    /// Which invariant.
    pub invariant: &'static Invariant,
    /// Its answer, as far as it has one.
    pub judgement: Judgement,
    /// What it could not judge.
    pub unjudged: Option<Unjudged>,
}

/// What an invariant could not judge, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// Nothing: the answer means nothing.
    All(String),
    /// A part of what it promises.
    Part(String),
}

/// Why a run cannot be judged at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A directory cannot be read.
    #[error("the trace in `{directory}` cannot be read: {cause}")]
    Unreadable {
        /// Which.
        directory: String,
        /// What the system says.
        cause: io::Error,
    },
    /// No node has run.
    #[error("there is no trace in any of the directories: name those of the nodes, where `trace.jsonl` is")]
    NoTrace,
    /// Two nodes that do not know the same cluster.
    #[error("{one} and {other} are not of the same cluster, or do not have the same members")]
    Strangers {
        /// A node.
        one: NodeName,
        /// And another.
        other: NodeName,
    },
}

/// Judges a run whose end nobody has marked: what must hold in the end is not judged.
///
/// # Errors
/// See [`RunError`].
pub fn judge(directories: &[PathBuf]) -> Result<RunJudgement, RunError> {
    Run::new(directories).judge()
}

impl Run {
    /// The run of the nodes with these directories.
    pub fn new(directories: &[PathBuf]) -> Self {
        Self { directories: directories.to_vec(), healed: None }
    }

    /// Marks the end: all nodes are up, from now on nobody kills or stops one and no client asks for anything more, and so
    /// everything must come to rest. Give it the time for that ([`Run::comes_to_rest`]), then stop the nodes, then judge.
    pub fn heals(&mut self) {
        self.healed = Some(Stamp::now());
    }

    /// The same run, whose directories have been copied to these.
    pub fn elsewhere(&self, directories: &[PathBuf]) -> Self {
        Self { directories: directories.to_vec(), healed: self.healed }
    }

    /// Waits until nothing is under way any more; false when that took longer than `patience`.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub async fn comes_to_rest(&self, patience: Duration) -> Result<bool, RunError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let traces = self.read()?;
            if rest::is_at_rest(&self.directories, &traces) {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Judges the run by every invariant. Of nodes that still run, only what they have written until now is seen.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn judge(&self) -> Result<RunJudgement, RunError> {
        let traces = self.read()?;
        let names = members(&traces)?;
        let finals = self.finals(&traces);
        let mut gaps = Gaps { holes: traces.iter().flat_map(|trace| trace.holes.clone()).collect(), ..Gaps::default() };
        if self.healed.is_none() {
            gaps.no_end = Some("the end of the run is not marked".to_owned());
        }
        gaps.no_end = gaps.no_end.or_else(|| finals.iter().find_map(|last| last.as_ref()?.as_ref().err().cloned()));
        let trace = self.merge(&traces, &names, &finals, &mut gaps);
        Ok(RunJudgement { verdicts: verdicts(&trace, &gaps), trace, names })
    }

    fn read(&self) -> Result<Vec<NodeTrace>, RunError> {
        let read = self.directories.iter().map(|directory| {
            let unreadable = |cause| RunError::Unreadable { directory: directory.display().to_string(), cause };
            reading::read(directory).map_err(unreadable)
        });
        read.collect()
    }

    /// What each node holds that has ever run, or why that is not known.
    fn finals(&self, traces: &[NodeTrace]) -> Vec<Option<Result<NodeFinal, String>>> {
        let holdings = |(directory, trace): (&PathBuf, &NodeTrace)| {
            let last = trace.lives.last()?;
            let told = |error: Unread| format!("what {} holds cannot be read: {error}", last.life.node);
            Some(finals::holdings(directory, last).map_err(told))
        };
        self.directories.iter().zip(traces).map(holdings).collect()
    }

    fn merge(
        &self,
        traces: &[NodeTrace],
        names: &[NodeName],
        finals: &[Option<Result<NodeFinal, String>>],
        gaps: &mut Gaps,
    ) -> Trace {
        let mut merge = Merge::default();
        let ended = gaps.no_end.is_none();
        for (trace, last) in traces.iter().zip(finals) {
            let Some(node) = trace.lives.last().and_then(|life| index_of(names, life)) else { continue };
            let last = last.as_ref().and_then(|last| last.as_ref().ok());
            let rows: Option<Vec<(Key, Version)>> =
                last.map(|last| last.rows.iter().map(|record| (record.key.clone(), record.version.clone())).collect());
            merge.add_node(node, trace, rows.as_deref(), self.healed.is_some());
            if let Some(last) = last.filter(|_| ended) {
                merge.add(Stamp::LAST, Some(node), Event::Final(last.clone().into()));
            }
        }
        let mut payloads = self.payloads(traces);
        add_clients(&mut merge, &mut payloads, self.healed);
        gaps.payloads = payloads.gone;
        if let Some(healed) = self.healed {
            merge.add(healed, None, Event::Healed);
        }
        merge.into_trace(names.to_vec())
    }

    fn payloads(&self, traces: &[NodeTrace]) -> Payloads {
        let mut payloads = Payloads::new(&self.directories);
        let lines = traces.iter().flat_map(|trace| &trace.lives).flat_map(|life| &life.lines);
        for (_, what) in lines {
            if let What::LetGo { blob, payload } = what {
                payloads.let_go(*blob, payload);
            }
            if let What::Event(event) | What::Intends(event) = what
                && let Event::PutCommitted { record, .. } | Event::Replicated { record, .. } = &**event
            {
                payloads.row(record);
            }
        }
        payloads
    }
}

/// Adds what clients did, in the order in which they asked. One that nobody answered though everything healed waits for
/// what can no longer come.
fn add_clients(merge: &mut Merge, payloads: &mut Payloads, healed: Option<Stamp>) {
    let mut clients = std::mem::take(&mut merge.clients);
    clients.sort_by_key(Client::asked_at);
    for (number, client) in clients.iter().enumerate() {
        client.add_to(merge, number as u32, payloads);
    }
    let waiting: Vec<_> = clients.iter().filter_map(Client::waits).collect();
    if healed.is_some() && !waiting.is_empty() {
        merge.add(Stamp::LAST, None, Event::Stuck { waiting });
    }
}

/// The names of all members, in order: the same for all nodes.
fn members(traces: &[NodeTrace]) -> Result<Vec<NodeName>, RunError> {
    let mut lives = traces.iter().flat_map(|trace| &trace.lives).map(|life| &life.life);
    let first = lives.next().ok_or(RunError::NoTrace)?;
    match lives.find(|other| other.members != first.members) {
        Some(other) => Err(RunError::Strangers { one: first.node.clone(), other: other.node.clone() }),
        None => Ok(first.members.clone()),
    }
}

fn index_of(names: &[NodeName], life: &LifeTrace) -> Option<NodeIndex> {
    let place = names.iter().position(|name| *name == life.life.node)?;
    u8::try_from(place).ok().map(NodeIndex)
}

/// What is not known of a run.
#[derive(Default)]
struct Gaps {
    /// What is missing of the traces.
    holes: Vec<String>,
    /// Why the end of the run is not known.
    no_end: Option<String>,
    /// Deployments whose payloads cannot be read.
    payloads: Vec<String>,
}

/// What these promise is promised for the end of a run.
const OF_THE_END: [&str; 4] = ["CONV", "NOORPHAN", "WAKE", "PROGRESS"];

/// These promise something for the end, too.
const ALSO_OF_THE_END: [&str; 3] = ["TERM", "BLOBREF", "QUIET"];

/// These compare trees with what was uploaded.
const OF_TREES: [&str; 4] = ["TRUTH", "CONV", "BYTES", "PREV"];

impl Gaps {
    fn of(&self, invariant: &str) -> Option<Unjudged> {
        if let Some(hole) = self.holes.first() {
            return Some(Unjudged::All(hole.clone()));
        }
        if let Some(id) = self.payloads.first().filter(|_| OF_TREES.contains(&invariant)) {
            let why = format!("the payload of deployment {id} is in no node's store any more");
            return Some(Unjudged::All(why));
        }
        match (&self.no_end, invariant) {
            (_, "CPU") => Some(Unjudged::All("on a real machine time goes by whatever is done".to_owned())),
            (Some(why), invariant) if OF_THE_END.contains(&invariant) => Some(Unjudged::All(why.clone())),
            (Some(why), invariant) if ALSO_OF_THE_END.contains(&invariant) => {
                Some(Unjudged::Part(format!("what must hold in the end: {why}")))
            }
            (_, "BUDGET") => {
                Some(Unjudged::Part("how late a wait ends: a real machine may be late at any time".to_owned()))
            }
            (_, "AUTHZ") => Some(Unjudged::Part("what strangers are told: no real trace holds it".to_owned())),
            _ => None,
        }
    }
}

fn verdicts(trace: &Trace, gaps: &Gaps) -> Vec<Verdict> {
    let judgements = crate::check::judge(trace);
    let verdicts = invariants::ALL.iter().zip(judgements).map(|(invariant, judgement)| {
        let unjudged = gaps.of(invariant.name);
        let judgement = match unjudged {
            Some(Unjudged::All(_)) => Judgement::default(),
            _ => judgement,
        };
        Verdict { invariant, judgement, unjudged }
    });
    verdicts.collect()
}

impl RunJudgement {
    /// Every break, in the order of the invariants.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.verdicts.iter().filter_map(|verdict| verdict.judgement.violation.as_ref())
    }

    /// Who n1, n2, … are, where the nodes have other names.
    pub fn legend(&self) -> Option<String> {
        let places = (0..).map(NodeIndex).zip(&self.names);
        let others: Vec<_> = places.clone().filter(|(place, name)| place.to_string() != name.as_str()).collect();
        let legend = places.map(|(place, name)| format!("{place} is {name}"));
        (!others.is_empty()).then(|| legend.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement { checked, violation } = &self.judgement;
        match (violation, &self.unjudged) {
            (_, Some(Unjudged::All(why))) => return write!(f, "{} is not judged: {why}", self.invariant.name),
            (Some(violation), _) => write!(f, "{violation}")?,
            (None, _) if *checked == 0 => write!(f, "{} had nothing to look at", self.invariant.name)?,
            (None, _) => write!(f, "{} holds", self.invariant.name)?,
        }
        match &self.unjudged {
            Some(Unjudged::Part(what)) => write!(f, "; not judged is {what}"),
            _ => Ok(()),
        }
    }
}
