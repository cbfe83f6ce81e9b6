//! Which of the ready tasks runs next.
//!
//! Races hide from random order: a task that must be held back for a hundred steps is picked by one of them. PCT
//! (Burckhardt, Kothari, Musuvathi, Nagarakatte: *A randomized scheduler with probabilistic guarantees of finding bugs*,
//! ASPLOS 2010) gives every task a random priority, always runs the highest that is ready, and lowers the running one's
//! priority at a few random steps. It finds a bug that needs `d` ordered steps among `n` tasks and `k` steps in one of
//! `n * k^(d-1)` runs, whatever else goes on.

use std::collections::BTreeMap;

use super::seed::Seed;
use crate::sim::choice::Label;

/// Changes of priority in one run, at most: most races need one or two.
const CHANGES_MAX: u32 = 4;

/// Change points lie before step 2^this; the low steps are the likelier ones, as runs are of any length.
const STEPS_LOG2_MAX: u32 = 12;

/// How a run orders its tasks.
pub enum Order {
    /// First come, first served.
    Oldest,
    /// Each ready task is as likely as the others.
    Uniform(Seed),
    /// By priority.
    Priority(Priorities),
}

impl Order {
    /// An index into `ready`.
    pub fn pick(&mut self, label: Label, ready: &[u32]) -> u32 {
        match self {
            Self::Oldest => 0,
            Self::Uniform(seed) => seed.roll_label(label).below(ready.len() as u32),
            Self::Priority(priorities) => priorities.pick(label.occurrence, ready),
        }
    }
}

/// The priorities of PCT.
pub struct Priorities {
    seed: Seed,
    changes: Vec<u32>,
    /// Tasks that were lowered, with the change that did it: below all others, the later the lower.
    lowered: BTreeMap<u32, u32>,
}

impl Priorities {
    /// The priorities and change points that `seed` stands for.
    pub fn new(seed: Seed) -> Self {
        let count = seed.child("changes").roll().below(CHANGES_MAX + 1);
        let changes = (0..count).map(|index| change_point(seed.child("change").nth(index.into()))).collect();
        Self { seed: seed.child("task"), changes, lowered: BTreeMap::new() }
    }

    fn pick(&mut self, step: u32, ready: &[u32]) -> u32 {
        if self.changes.contains(&step) {
            let running = ready[self.highest(ready)];
            let change = self.lowered.len() as u32;
            self.lowered.insert(running, change);
        }
        self.highest(ready) as u32
    }

    fn highest(&self, ready: &[u32]) -> usize {
        let by_priority = (0..ready.len()).max_by_key(|&index| self.priority(ready[index]));
        by_priority.expect("a source is asked only when there is a choice")
    }

    fn priority(&self, task: u32) -> u64 {
        match self.lowered.get(&task) {
            Some(change) => u64::from(u32::MAX - change),
            None => self.seed.nth(task.into()).0 | 1 << 63,
        }
    }
}

fn change_point(seed: Seed) -> u32 {
    let magnitude = seed.child("magnitude").roll().below(STEPS_LOG2_MAX);
    (1 << magnitude) + seed.roll().below(1 << magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_task_keeps_winning_until_a_change_point() {
        let mut priorities = Priorities { seed: Seed(1), changes: vec![2], lowered: BTreeMap::new() };
        let ready = [4, 9, 7];
        let first = priorities.pick(0, &ready);
        assert_eq!(priorities.pick(1, &ready), first);
        assert_ne!(priorities.pick(2, &ready), first);
        let rest = [ready[first as usize], 21];
        assert_eq!(priorities.pick(3, &rest), 1, "a lowered task runs after all others");
    }

    #[test]
    fn every_order_of_three_tasks_comes_up() {
        let order = |run: u64| {
            let mut priorities = Priorities::new(Seed(run));
            let mut ready = vec![0, 1, 2];
            let mut take = |step| ready.remove(priorities.pick(step, &ready) as usize);
            [take(0), take(1)]
        };
        let mut seen: Vec<_> = (0..200).map(order).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn change_points_lie_at_all_magnitudes() {
        let points: Vec<_> = (0..500).map(|index| change_point(Seed(5).nth(index))).collect();
        assert!(points.iter().any(|&point| point < 4));
        assert!(points.iter().any(|&point| point > 1_000));
        assert!(points.iter().all(|&point| point < 1 << STEPS_LOG2_MAX));
    }
}
