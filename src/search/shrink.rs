//! Takes away choices that a violation does not need.
//!
//! Knows nothing of runs: it is given choices and a closure that tries some, and answers with the choices that the run
//! really met if the same violation came out. First whole kinds are set to 0, then halves of all that is left, quarters,
//! … single choices (Zeller and Hildebrandt, *Simplifying and isolating failure-inducing input*, 2002), then values are
//! lowered; all over again until nothing changes. The order is fixed, so given time enough the result is too.

use crate::sim::choice::{Choices, Kind, Label};

/// What is left, and how that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The choices that still break the same invariant.
    pub choices: Choices,
    /// Runs that this took.
    pub tries: u64,
    /// Why it ended.
    pub end: End,
}

/// Why shrinking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No choice can be taken away or lowered alone.
    Smallest,
    /// Time was up.
    TimeUp,
}

/// Shrinks `start`, which breaks an invariant. `attempt` makes a run and says which of the choices it met if that breaks
/// the same way; `time_is_up` is asked before each.
pub fn shrink(
    start: Choices,
    attempt: impl FnMut(&Choices) -> Option<Choices>,
    time_is_up: impl FnMut() -> bool,
) -> Shrunk {
    let mut shrinker = Shrinker { best: start, attempt, time_is_up, tries: 0 };
    let end = match shrinker.run() {
        Ok(()) => End::Smallest,
        Err(TimeUp) => End::TimeUp,
    };
    Shrunk { choices: shrinker.best, tries: shrinker.tries, end }
}

struct TimeUp;

struct Shrinker<A, T> {
    best: Choices,
    attempt: A,
    time_is_up: T,
    tries: u64,
}

impl<A: FnMut(&Choices) -> Option<Choices>, T: FnMut() -> bool> Shrinker<A, T> {
    fn run(&mut self) -> Result<(), TimeUp> {
        if self.keep_if_broken(Choices::new())? {
            return Ok(());
        }
        loop {
            let before = self.best.clone();
            self.drop_kinds()?;
            self.drop_chunks()?;
            self.lower_values()?;
            if self.best == before {
                return Ok(());
            }
        }
    }

    /// Tries `candidate`, and keeps what the run met of it if it breaks the same way.
    fn keep_if_broken(&mut self, candidate: Choices) -> Result<bool, TimeUp> {
        if (self.time_is_up)() {
            return Err(TimeUp);
        }
        self.tries += 1;
        let met = (self.attempt)(&candidate);
        let broken = met.is_some();
        if let Some(met) = met {
            self.best = met;
        }
        Ok(broken)
    }

    fn without(&self, gone: impl Fn(&Label) -> bool) -> Choices {
        self.best.iter().filter(|(label, _)| !gone(label)).map(|(label, value)| (*label, *value)).collect()
    }

    fn drop_kinds(&mut self) -> Result<(), TimeUp> {
        for &kind in Kind::ALL {
            if self.best.keys().any(|label| label.kind == kind) {
                self.keep_if_broken(self.without(|label| label.kind == kind))?;
            }
        }
        Ok(())
    }

    fn drop_chunks(&mut self) -> Result<(), TimeUp> {
        let mut size = self.best.len().div_ceil(2);
        while size > 0 {
            self.drop_chunks_of(size)?;
            size = if size == 1 { 0 } else { size.min(self.best.len()).div_ceil(2) };
        }
        Ok(())
    }

    /// Takes away each run of `size` neighbours in turn, from the last to the first: the late ones depend on the early ones.
    fn drop_chunks_of(&mut self, size: usize) -> Result<(), TimeUp> {
        let mut end = self.best.len();
        while end > 0 {
            let labels: Vec<_> = self.best.keys().copied().collect();
            let chunk = labels[end.saturating_sub(size)]..=labels[end - 1];
            self.keep_if_broken(self.without(|label| chunk.contains(label)))?;
            end = end.saturating_sub(size).min(self.best.len());
        }
        Ok(())
    }

    fn lower_values(&mut self) -> Result<(), TimeUp> {
        let labels: Vec<_> = self.best.keys().copied().collect();
        labels.into_iter().try_for_each(|label| self.lower_value(label))
    }

    /// Bisects for the lowest value above 0 that still does it.
    fn lower_value(&mut self, label: Label) -> Result<(), TimeUp> {
        let mut too_low = 0;
        while let Some(&value) = self.best.get(&label).filter(|&&value| value > too_low + 1) {
            let middle = too_low + (value - too_low) / 2;
            let mut candidate = self.best.clone();
            candidate.insert(label, middle);
            if !self.keep_if_broken(candidate)? {
                too_low = middle;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::NodeIndex;

    fn choices(of: &[(Kind, u32, u32)]) -> Choices {
        of.iter().map(|&(kind, occurrence, value)| (label(kind, occurrence), value)).collect()
    }

    fn label(kind: Kind, occurrence: u32) -> Label {
        Label { kind, node: Some(NodeIndex(0)), occurrence }
    }

    /// Breaks when each of `needed` is there with at least its value.
    fn needs(needed: Choices) -> impl FnMut(&Choices) -> Option<Choices> {
        move |tried| {
            let has = |(label, least): (&Label, &u32)| tried.get(label).is_some_and(|value| value >= least);
            needed.iter().all(has).then(|| tried.clone())
        }
    }

    fn noise() -> Choices {
        noise_of(40)
    }

    fn noise_of(each: u32) -> Choices {
        let kinds = [Kind::PutCommit, Kind::Task, Kind::ReadCut];
        kinds.into_iter().flat_map(|kind| (0..each).map(move |index| (label(kind, index), 15))).collect()
    }

    #[test]
    fn only_what_is_needed_is_left_at_its_lowest_value() {
        let needed = choices(&[(Kind::PutCommit, 3, 7), (Kind::ReadCut, 39, 15), (Kind::PutCommit, 20, 1)]);
        let shrunk = shrink(noise(), needs(needed.clone()), || false);
        assert_eq!(shrunk.choices, needed);
        assert_eq!(shrunk.end, End::Smallest);
        assert!(shrunk.tries < 200, "{}", shrunk.tries);
    }

    #[test]
    fn what_breaks_by_itself_needs_no_choice_and_one_try() {
        let shrunk = shrink(noise(), needs(Choices::new()), || false);
        assert_eq!((shrunk.choices, shrunk.tries), (Choices::new(), 1));
    }

    #[test]
    fn choices_that_a_run_never_meets_are_dropped_with_it() {
        let needed = choices(&[(Kind::PutCommit, 3, 7)]);
        let mut attempt = needs(needed.clone());
        let meets_few = |tried: &Choices| {
            let mut met = attempt(tried)?;
            met.retain(|label, _| label.kind != Kind::Task && label.occurrence < 10);
            Some(met)
        };
        assert_eq!(shrink(noise(), meets_few, || false).choices, needed);
    }

    #[test]
    fn when_time_is_up_the_best_so_far_stays() {
        let mut left = 12;
        let time_is_up = || {
            left -= 1;
            left < 0
        };
        let needed = choices(&[(Kind::PutCommit, 3, 7)]);
        let shrunk = shrink(noise(), needs(needed), time_is_up);
        assert_eq!((shrunk.end, shrunk.tries), (End::TimeUp, 12));
        assert!(shrunk.choices.contains_key(&label(Kind::PutCommit, 3)));
        assert!(shrunk.choices.len() < 40);
    }

    fn regressions(path: &'static str) -> ProptestConfig {
        let keep = proptest::test_runner::FileFailurePersistence::Direct(path);
        ProptestConfig { failure_persistence: Some(Box::new(keep)), ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(regressions("fixtures/regressions/shrink.txt"))]

        #[test]
        fn whatever_is_needed_is_all_that_is_left(
            mask in proptest::collection::vec(any::<bool>(), 30),
            floor in 1u32..=15,
        ) {
            let needed: Choices = noise_of(10).into_keys().zip(mask).filter(|(_, on)| *on).map(|(label, _)| (label, floor)).collect();
            let shrunk = shrink(noise_of(10), needs(needed.clone()), || false);
            prop_assert_eq!(shrunk.choices, needed);
        }
    }
}
