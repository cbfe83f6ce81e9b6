//! How many different things went by, in bounded memory.

use std::{collections::BTreeSet, fmt};

/// Hashes kept, at most. Up to as many different things are counted exactly, more are estimated within about 0.4 %.
const KEPT_MAX: usize = 1 << 16;

/// The smallest hashes seen: where they end tells how many there were (Bar-Yossef et al., *Counting distinct elements in
/// a data stream*, 2002). The same for the same things in any order, so counts of parts can be joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    smallest: BTreeSet<u64>,
    full: bool,
}

/// A number of different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Exactly(u64),
    /// So many, within about 0.4 %.
    About(u64),
}

impl Distinct {
    /// Counts a thing by its hash.
    pub fn add(&mut self, hash: u64) {
        self.smallest.insert(hash);
        if self.smallest.len() > KEPT_MAX {
            self.smallest.pop_last();
            self.full = true;
        }
    }

    /// Counts what `other` counted.
    pub fn join(&mut self, other: &Self) {
        self.full |= other.full;
        other.smallest.iter().for_each(|&hash| self.add(hash));
    }

    /// How many there were.
    pub fn count(&self) -> Count {
        let kept = self.smallest.len() as u64;
        match self.smallest.last() {
            Some(&largest) if self.full => {
                let share = (largest as f64 + 1.0) / (u64::MAX as f64 + 1.0);
                Count::About(((kept - 1) as f64 / share) as u64)
            }
            _ => Count::Exactly(kept),
        }
    }
}

impl Count {
    /// The number.
    pub fn value(self) -> u64 {
        match self {
            Self::Exactly(value) | Self::About(value) => value,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::About(_) = self {
            f.write_str("about ")?;
        }
        fmt::Display::fmt(&self.value(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::seed::Seed;

    #[test]
    fn few_are_counted_exactly_and_repeats_do_not_count() {
        let mut distinct = Distinct::default();
        (0..1_000).for_each(|index| distinct.add(Seed(1).nth(index % 300).0));
        assert_eq!(distinct.count(), Count::Exactly(300));
    }

    #[test]
    fn many_are_estimated_within_two_percent() {
        let mut distinct = Distinct::default();
        (0..200_000).for_each(|index| distinct.add(Seed(1).nth(index).0));
        let Count::About(count) = distinct.count() else { panic!("too many to count exactly") };
        assert!((196_000..204_000).contains(&count), "{count}");
    }

    #[test]
    fn parts_join_to_the_same_count_in_any_order() {
        let part = |range: std::ops::Range<u64>| {
            let mut distinct = Distinct::default();
            range.for_each(|index| distinct.add(Seed(1).nth(index).0));
            distinct
        };
        let (mut one, mut other) = (part(0..50_000), part(40_000..90_000));
        one.join(&part(40_000..90_000));
        other.join(&part(0..50_000));
        assert_eq!(one, other);
    }
}
