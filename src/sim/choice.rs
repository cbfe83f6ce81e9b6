//! The decision log: every uncertain thing of a run is one labelled draw from it.
//!
//! A draw has a label (what kind of thing, on which node, the how-manieth), a bound and a value. 0 is always the harmless
//! answer: no delay, no cut, no fault, first in order. Where values come from is a [`Source`]'s business; a run is a pure
//! function of its scenario, its parameters and the values.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::check::NodeIndex;

/// Declares [`Kind`] with a name and a sentence for each.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $effect:ident;)*) => {
        /// A kind of uncertainty.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[doc = $doc])* $variant,)* }

        impl Kind {
            /// Every kind, in the order of declaration.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// Its name in capsules and tables.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What a value other than 0 does.
            pub fn effect(self) -> Effect {
                match self { $(Self::$variant => Effect::$effect,)* }
            }
        }
    };
}

/// What a choice other than 0 does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Another ready task goes first.
    Order,
    /// Something takes longer; the value is a step of [`delay_ms`].
    Delay,
    /// Bytes are handed on in smaller pieces; the value is a step of [`cut`].
    Cut,
    /// Something fails.
    Failure,
    /// Something fails that a run does a few times at most.
    Refusal,
    /// What a node is like for a life, which harms nobody by itself.
    Condition,
    /// Something befalls a node as a whole: it dies, it is cut off, a stranger comes.
    Death,
    /// The story itself differs: not a fault.
    Workload,
}

kinds! {
    /// Which of the ready tasks runs next.
    Task = "task", Order;
    /// A put waits before it takes its snapshot.
    PutStart = "put-start", Delay;
    /// A put waits between its snapshot and its commit.
    PutCommit = "put-commit", Delay;
    /// The writer is late to know that its put is committed.
    PutAnswer = "put-answer", Delay;
    /// A commit waits before the log shows it.
    PutLogged = "put-logged", Delay;
    /// A put is refused.
    PutRefused = "put-refused", Failure;
    /// A read of the table takes long.
    Get = "get", Delay;
    /// What a read of the table found is long in coming back.
    GetAnswer = "get-answer", Delay;
    /// A read of the table fails.
    GetRefused = "get-refused", Failure;
    /// A replicated row waits for its commit.
    Apply = "apply", Delay;
    /// A replicated row is refused.
    ApplyRefused = "apply-refused", Failure;
    /// A cursor is slow to become durable.
    CursorSave = "cursor-save", Delay;
    /// A cursor cannot be kept.
    CursorRefused = "cursor-refused", Failure;
    /// A connection is long in coming.
    Connect = "connect", Delay;
    /// A subscription's connection breaks: the one who made it sees a reset, the other its end.
    RowsReset = "rows-reset", Death;
    /// So does that of a forwarded operation.
    OperationReset = "operation-reset", Failure;
    /// At which of its reads and writes; see [`step`].
    ResetAt = "reset-at", Workload;
    /// The first words of a subscriber are long under way, and what follows them with them.
    FirstWords = "first-words", Delay;
    /// Bytes of a subscription (rows and chunks) are long under way.
    RowsDelay = "rows-delay", Delay;
    /// A forwarded operation is long under way.
    OperationDelay = "operation-delay", Delay;
    /// An answer is long under way.
    AnswerDelay = "answer-delay", Delay;
    /// A read from a stream gives less than there is.
    ReadCut = "read-cut", Cut;
    /// A write to a stream takes less than is offered.
    WriteCut = "write-cut", Cut;
    /// A blob takes bytes slowly.
    BlobAppend = "blob-append", Delay;
    /// A blob's completion is slow to become durable.
    BlobComplete = "blob-complete", Delay;
    /// A read of a blob takes long.
    BlobRead = "blob-read", Delay;
    /// A read of a blob gives less than there is.
    BlobCut = "blob-cut", Cut;
    /// A file operation takes long.
    Disk = "disk", Delay;
    /// A file operation fails: the device is full, or broken for a moment.
    DiskFails = "disk-fails", Failure;
    /// A blob operation fails: the device is full, or broken for a moment.
    BlobFails = "blob-fails", Failure;
    /// A whole blob is damaged at rest: 1 it is gone, 2 its end is, 3 a byte of it differs.
    BlobDamaged = "blob-damaged", Failure;
    /// Before which of its reads.
    BlobDamagedAt = "blob-damaged-at", Workload;
    /// A program cannot be started.
    SpawnFails = "spawn-fails", Refusal;
    /// A process fares otherwise than its script says: 1 it fails, 2 a signal ends it, 3 it hangs, 4 it says that it
    /// succeeded, and has not done its work.
    ProcessFails = "process-fails", Refusal;
    /// A process's output cannot be read any further.
    OutputFails = "output-fails", Failure;
    /// A process group that is ended is slow to be gone.
    GroupEnd = "group-end", Delay;
    /// That it is gone cannot be told.
    GroupEndFails = "group-end-fails", Refusal;
    /// A process's output is cut.
    OutputCut = "output-cut", Cut;
    /// A process is slow to write or to end.
    OutputDelay = "output-delay", Delay;
    /// A node's own loader refuses a build that is tried out.
    LoadRefused = "load-refused", Refusal;
    /// The serving part of a node is slow to switch.
    Switch = "switch", Delay;
    /// It cannot switch to a new build.
    SwitchRefused = "switch-refused", Refusal;
    /// It says that it switched, and serves the old build.
    SwitchStale = "switch-stale", Refusal;
    /// A client is slow to upload.
    UploadDelay = "upload-delay", Delay;
    /// A client's upload comes in smaller pieces.
    UploadCut = "upload-cut", Cut;
    /// A node dies in the life that begins now.
    Crash = "crash", Death;
    /// At which of its steps it dies; see [`step`].
    CrashAt = "crash-at", Workload;
    /// How: 0 its connections are closed, 1 they fall silent, 2 the power goes, 3 they are reset.
    CrashHow = "crash-how", Workload;
    /// How many of the names that were not synced the loss of power takes; see [`super::tree::Loss`].
    LostNames = "lost-names", Workload;
    /// How many of the bytes that were not synced it takes.
    LostBytes = "lost-bytes", Workload;
    /// How long it is down.
    Downtime = "downtime", Delay;
    /// A node loses packets to or from another in the life that begins now.
    Partition = "partition", Death;
    /// At which of its steps that begins; see [`step`].
    PartitionAt = "partition-at", Workload;
    /// From whom, and which ways.
    PartitionWho = "partition-who", Workload;
    /// For how much longer than a second.
    PartitionTime = "partition-time", Delay;
    /// A node is paused as a whole in the life that begins now.
    Pause = "pause", Death;
    /// At which of its steps; see [`step`].
    PauseAt = "pause-at", Workload;
    /// For how long; see [`pause_ms`].
    PauseTime = "pause-time", Workload;
    /// A node's clock is wrong from the beginning of a life on; see [`skew_ms`].
    ClockSkew = "clock-skew", Condition;
    /// It jumps in that life: so far from the true time.
    ClockJump = "clock-jump", Death;
    /// At which of its steps; see [`step`].
    ClockJumpAt = "clock-jump-at", Workload;
    /// A node is late to know that the membership has changed.
    MembersLate = "members-late", Delay;
    /// A node that leaves is late to know of that: whoever removes it may not reach it.
    LeaverLate = "leaver-late", Delay;
    /// A stranger comes to a node in this run.
    Stranger = "stranger", Death;
    /// How long after the start; see [`delay_ms`].
    StrangerAt = "stranger-at", Workload;
    /// To which node, and to which of its ports.
    StrangerTo = "stranger-to", Workload;
    /// What it says.
    StrangerSays = "stranger-says", Workload;
    /// How many nodes there are, where the scenario leaves that open; see [`super::scenario::Scenario::other_sizes`].
    Nodes = "nodes", Workload;
    /// What the scenario leaves open: sizes, options, who does what.
    Workload = "workload", Workload;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Steps of a delay, in milliseconds: fine where races live, and up to more than any time-out of the logic.
const DELAYS_MS: [u64; 20] =
    [0, 1, 2, 3, 4, 6, 9, 14, 20, 40, 70, 100, 200, 400, 1_000, 3_000, 8_000, 16_000, 31_000, 61_000];

/// The bound of a delay choice.
pub const DELAY_BOUND: u32 = DELAYS_MS.len() as u32;

/// The delay that a choice stands for.
pub fn delay_ms(value: u32) -> u64 {
    DELAYS_MS[value as usize % DELAYS_MS.len()]
}

/// The bound of a choice of a pause's length.
pub const PAUSE_BOUND: u32 = DELAY_BOUND - 1;

/// The length of a pause: as long as delays are, and a millisecond at least.
pub fn pause_ms(value: u32) -> u64 {
    delay_ms(1 + value % PAUSE_BOUND)
}

/// How far clocks are from the true time, in milliseconds: less than what lies between two deploys, more than a deploy, and
/// far out.
const SKEWS_MS: [i64; 9] = [0, -3_600_000, 3_600_000, -3_000, 3_000, -40, 40, -1, 1];

/// The bound of a skew choice.
pub const SKEW_BOUND: u32 = SKEWS_MS.len() as u32;

/// The skew that a choice stands for.
pub fn skew_ms(value: u32) -> i64 {
    SKEWS_MS[value as usize % SKEWS_MS.len()]
}

/// The bound of a choice of steps.
pub const STEP_BOUND: u32 = 512;

/// Which step a choice stands for: from 1 on, fine where lives begin, and up to a thousand.
pub fn step(value: u32) -> u32 {
    1 + value * value / 256
}

/// The bound of a cut choice.
pub const CUT_BOUND: u32 = 64;

/// How many of `length` bytes are handed on: all for 0, at least one, and about `value`/64 of them otherwise.
pub fn cut(length: usize, value: u32) -> usize {
    match value {
        0 => length,
        value => (length * value as usize / CUT_BOUND as usize).clamp(1, length.max(1)).min(length),
    }
}

/// Which draw this is: the `occurrence`-th (from 0) of its kind on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// What is drawn.
    pub kind: Kind,
    /// On which node; `None` for the cluster as a whole.
    pub node: Option<NodeIndex>,
    /// The how-manieth of its kind there.
    pub occurrence: u32,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{node} {} {}", self.kind, self.occurrence),
            None => write!(f, "all {} {}", self.kind, self.occurrence),
        }
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is no choice: write it as `n2 put-commit 3` or `all task 17`");
        let mut words = text.split(' ');
        let (Some(node), Some(kind), Some(occurrence), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed());
        };
        let node = match node.strip_prefix('n').map(str::parse::<u8>) {
            Some(Ok(number @ 1..)) => Some(NodeIndex(number - 1)),
            _ if node == "all" => None,
            _ => return Err(malformed()),
        };
        let kind = Kind::ALL.iter().copied().find(|known| known.as_str() == kind);
        let kind = kind.ok_or_else(|| format!("`{text}` names a kind of choice that this drydock does not know"))?;
        Ok(Self { kind, node, occurrence: occurrence.parse().map_err(|_| malformed())? })
    }
}

impl Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the values of choices come from.
pub trait Source {
    /// A value below `bound`, which is at least 2.
    fn draw(&mut self, label: Label, bound: u32) -> u32;

    /// Which of the `ready` tasks (numbered by their start) runs next; an index into `ready`, which holds at least two.
    fn pick_task(&mut self, label: Label, ready: &[u32]) -> u32 {
        self.draw(label, ready.len() as u32)
    }
}

/// The harmless run: every choice is 0.
pub struct Calm;

impl Source for Calm {
    fn draw(&mut self, _: Label, _: u32) -> u32 {
        0
    }
}

/// The same run again: the choices given, 0 for the others.
pub struct Replay(pub Choices);

impl Source for Replay {
    fn draw(&mut self, label: Label, bound: u32) -> u32 {
        self.0.get(&label).copied().unwrap_or(0).min(bound - 1)
    }
}

/// Values in the order of their draws, whatever their labels, then 0: what property tests generate and shrink.
pub struct Sequence(pub std::vec::IntoIter<u32>);

impl Source for Sequence {
    fn draw(&mut self, _: Label, bound: u32) -> u32 {
        self.0.next().map_or(0, |value| value % bound)
    }
}

/// The choices of a run that are not 0.
pub type Choices = BTreeMap<Label, u32>;

/// The decision log of one run.
pub struct DecisionLog {
    source: Box<dyn Source>,
    occurrences: Vec<[u32; Kind::ALL.len()]>,
    taken: Vec<(Label, u32)>,
    draws: u64,
}

impl DecisionLog {
    /// A log that takes its values from `source`.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, occurrences: Vec::new(), taken: Vec::new(), draws: 0 }
    }

    /// Draws a value below `bound`; 0 without asking when there is nothing to choose.
    pub fn draw(&mut self, kind: Kind, node: Option<NodeIndex>, bound: u32) -> u32 {
        self.decide(kind, node, bound, |source, label| source.draw(label, bound))
    }

    /// Picks one of the `ready` tasks.
    pub fn pick_task(&mut self, ready: &[u32]) -> usize {
        self.decide(Kind::Task, None, ready.len() as u32, |source, label| source.pick_task(label, ready)) as usize
    }

    /// The choices that were not 0, and how many draws there were in all.
    pub fn into_parts(self) -> (Choices, u64) {
        (self.taken.into_iter().collect(), self.draws)
    }

    fn decide(
        &mut self,
        kind: Kind,
        node: Option<NodeIndex>,
        bound: u32,
        ask: impl FnOnce(&mut dyn Source, Label) -> u32,
    ) -> u32 {
        if bound < 2 {
            return 0;
        }
        let label = Label { kind, node, occurrence: self.next_occurrence(kind, node) };
        let value = ask(self.source.as_mut(), label);
        assert!(value < bound, "a source drew {value} for {label}, which is bounded by {bound}");
        self.draws += 1;
        if value > 0 {
            self.taken.push((label, value));
        }
        value
    }

    fn next_occurrence(&mut self, kind: Kind, node: Option<NodeIndex>) -> u32 {
        let row = node.map_or(0, |node| usize::from(node.0) + 1);
        if self.occurrences.len() <= row {
            self.occurrences.resize(row + 1, [0; Kind::ALL.len()]);
        }
        let counter = &mut self.occurrences[row][kind as usize];
        let occurrence = *counter;
        *counter += 1;
        occurrence
    }
}
