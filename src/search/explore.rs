//! Many runs on several threads.
//!
//! Runs are dealt out in blocks and added up in order, so what comes out does not depend on the number of threads: of
//! several violations the one in the lowest run wins, and no run after it counts. A thread makes whole runs, each from
//! its number alone, and keeps only sums of them. At most a window of blocks is under way, so memory stays flat.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::tally::{Finding, Observation, Tally};
use crate::panics::panic_message;

/// Runs in a block: enough to make the dealing cheap, few enough to show progress.
const BLOCK_RUNS: u64 = 8;

/// Blocks under way, for each thread.
const WINDOW_PER_JOB: usize = 4;

/// Stack of a thread that makes runs, bytes: as large as that of a main thread.
const STACK_BYTES: usize = 8 << 20;

/// What came out.
#[derive(Debug, Default)]
pub struct Exploration {
    /// The sum of all runs up to the first violation.
    pub tally: Tally,
    /// The first violation.
    pub finding: Option<Finding>,
}

/// The harness itself panicked in a run: a mistake in drydock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run {index} made the harness panic: {message}")]
pub struct HarnessPanic {
    /// Which run.
    pub index: u64,
    /// What the panic said.
    pub message: String,
}

/// One block's outcome.
#[derive(Default)]
struct Block {
    tally: Tally,
    end: Option<Result<Finding, HarnessPanic>>,
}

/// Makes runs `0..runs` on `jobs` threads, up to the first violation; `progress` hears of each block that is added.
///
/// # Errors
/// When a run panics.
pub fn explore(
    runs: u64,
    jobs: NonZeroUsize,
    run: &(impl Fn(u64) -> Observation + Sync),
    mut progress: impl FnMut(&Tally),
) -> Result<Exploration, HarnessPanic> {
    let (deal, dealt) = channel();
    let (give, given) = channel();
    let team = Team { dealt: Mutex::new(dealt), last: AtomicU64::new(u64::MAX), run };
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (team, give) = (&team, give.clone());
            let worker = thread::Builder::new().stack_size(STACK_BYTES);
            worker.spawn_scoped(scope, move || team.work(&give)).expect("the system has room for a few threads");
        }
        drop(give);
        add_up(blocks(runs), jobs.get() * WINDOW_PER_JOB, deal, &given, &mut progress)
    })
}

/// The blocks of `0..runs`, numbered.
fn blocks(runs: u64) -> impl Iterator<Item = (u64, Range<u64>)> {
    let block = move |index| (index, index * BLOCK_RUNS..runs.min((index + 1) * BLOCK_RUNS));
    (0..runs.div_ceil(BLOCK_RUNS)).map(block)
}

/// Deals the blocks out, a window at a time, and adds them up in order until one ends the exploration.
fn add_up(
    mut blocks: impl Iterator<Item = (u64, Range<u64>)>,
    window: usize,
    deal: Sender<(u64, Range<u64>)>,
    given: &Receiver<(u64, Block)>,
    progress: &mut impl FnMut(&Tally),
) -> Result<Exploration, HarnessPanic> {
    let mut deal_next = || blocks.next().is_some_and(|block| deal.send(block).is_ok());
    let mut outstanding = (0..window).take_while(|_| deal_next()).count();
    let mut early: BTreeMap<u64, Block> = BTreeMap::new();
    let mut sum = Exploration::default();
    let mut next = 0;
    while outstanding > 0 {
        let Some(block) = early.remove(&next) else {
            let (index, block) = given.recv().expect("workers live as long as blocks are dealt");
            early.insert(index, block);
            continue;
        };
        (next, outstanding) = (next + 1, outstanding - 1);
        sum.tally.join(&block.tally);
        progress(&sum.tally);
        if let Some(end) = block.end {
            sum.finding = Some(end?);
            return Ok(sum);
        }
        outstanding += usize::from(deal_next());
    }
    Ok(sum)
}

/// What the threads share.
struct Team<'a, F> {
    dealt: Mutex<Receiver<(u64, Range<u64>)>>,
    /// The lowest run that is known to end the exploration: none after it needs to be made.
    last: AtomicU64,
    run: &'a F,
}

impl<F: Fn(u64) -> Observation + Sync> Team<'_, F> {
    fn work(&self, give: &Sender<(u64, Block)>) {
        loop {
            let dealt = self.dealt.lock().expect("no thread panics while it takes a block").recv();
            let Ok((index, runs)) = dealt else { return };
            // Nobody listens any more: the exploration has ended.
            if give.send((index, self.block(runs))).is_err() {
                return;
            }
        }
    }

    fn block(&self, runs: Range<u64>) -> Block {
        let mut block = Block::default();
        for index in runs {
            if index > self.last.load(Ordering::Relaxed) {
                break;
            }
            block.end = self.observe(index, &mut block.tally);
            if block.end.is_some() {
                self.last.fetch_min(index, Ordering::Relaxed);
                break;
            }
        }
        block
    }

    fn observe(&self, index: u64, tally: &mut Tally) -> Option<Result<Finding, HarnessPanic>> {
        match catch_unwind(AssertUnwindSafe(|| (self.run)(index))) {
            Ok(run) => {
                tally.add(&run);
                run.finding.map(Ok)
            }
            Err(panic) => Some(Err(HarnessPanic { index, message: panic_message(&*panic) })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check::Violation, search::tally::tests::observation, sim::choice::Choices};

    fn jobs(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    fn broken(index: u64) -> Observation {
        let violation = Violation {
            invariant: "PEERS",
            fingerprint: "lost".to_owned(),
            at_ms: 0,
            node: None,
            why: String::new(),
            witnesses: Vec::new(),
        };
        let finding = Finding { index, scenario: 0, choices: Choices::new(), violation, broken: vec!["PEERS"] };
        let mut run = observation(index);
        run.finding = Some(finding);
        run
    }

    #[test]
    fn all_runs_are_made_once() {
        let exploration = explore(1_001, jobs(3), &observation, |_| {}).unwrap();
        assert_eq!(exploration.tally.runs, 1_001);
        assert_eq!(exploration.tally.schedules.count().value(), 1_001);
        assert!(exploration.finding.is_none());
    }

    #[test]
    fn the_lowest_violation_wins_whatever_the_number_of_threads() {
        let run = |index| if [77, 78, 300].contains(&index) { broken(index) } else { observation(index) };
        let alone = explore(1_000, jobs(1), &run, |_| {}).unwrap();
        assert_eq!(alone.tally.runs, 78, "runs 0 to 77");
        for count in 2..6 {
            let team = explore(1_000, jobs(count), &run, |_| {}).unwrap();
            assert_eq!(team.finding.unwrap().index, 77);
            assert_eq!(team.tally, alone.tally);
        }
    }

    #[test]
    fn a_panic_of_the_harness_names_its_run() {
        let run = |index| if index == 5 { panic!("no {index}") } else { observation(index) };
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let panicked = explore(100, jobs(2), &run, |_| {});
        std::panic::set_hook(hook);
        assert_eq!(panicked.unwrap_err(), HarnessPanic { index: 5, message: "no 5".to_owned() });
    }

    #[test]
    fn progress_is_told_in_order() {
        let mut told = Vec::new();
        explore(100, jobs(4), &observation, |tally| told.push(tally.runs)).unwrap();
        assert_eq!(told, (1..=12).map(|block| block * 8).chain([100]).collect::<Vec<_>>());
    }
}
