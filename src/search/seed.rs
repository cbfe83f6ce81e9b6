//! Seeds: a stateless tree.
//!
//! A seed's children are hashes of a name with the seed as the key: exploration → run → kind of choice → label. No
//! generator is carried along, so one draw more, one kind more or one node more changes no other draw.

use std::{fmt, str::FromStr};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::sim::choice::Label;

/// A place in the tree of seeds. Only ever turned into choices by a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed below this one that bears `name`.
    pub fn child(self, name: &str) -> Self {
        Self(xxh3_64_with_seed(name.as_bytes(), self.0))
    }

    /// The seed below this one with a number.
    pub fn nth(self, index: u64) -> Self {
        Self(xxh3_64_with_seed(&index.to_le_bytes(), self.0))
    }

    /// The roll that this seed stands for.
    pub fn roll(self) -> Roll {
        Roll(self.0)
    }

    /// The roll of one label of this seed's kind.
    pub fn roll_label(self, label: Label) -> Roll {
        let node = label.node.map_or(u64::from(u8::MAX), |node| u64::from(node.0));
        self.nth(node << 32 | u64::from(label.occurrence)).roll()
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Seed {
    type Err = String;

    /// A decimal number, or a commit hash.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self(number));
        }
        let is_hash = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = || Self(0).child(&text.to_ascii_lowercase());
        is_hash.then(hash).ok_or_else(|| "a seed is a number below 2^64 or a commit hash".to_owned())
    }
}

/// Uniform random bits.
#[derive(Clone, Copy, Debug)]
pub struct Roll(u64);

impl Roll {
    /// Uniform below `bound`; independent of [`Roll::hits`].
    pub fn below(self, bound: u32) -> u32 {
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// True with the given odds.
    pub fn hits(self, odds: Odds) -> bool {
        (self.0 as u32 as u64) * u64::from(odds.of) < u64::from(odds.hits) << 32
    }

    /// One of `table`, each with the weight beside it.
    ///
    /// # Panics
    /// When the table is empty.
    pub fn pick<T: Copy>(self, table: &[(u32, T)]) -> T {
        let mut left = self.below(table.iter().map(|(weight, _)| weight).sum());
        for (weight, item) in table {
            if left < *weight {
                return *item;
            }
            left -= weight;
        }
        table.last().expect("a table to pick from has entries").1
    }
}

/// So many out of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// So many hit.
    pub hits: u32,
    /// Out of so many.
    pub of: u32,
}

/// `hits` out of `of`.
pub const fn odds(hits: u32, of: u32) -> Odds {
    Odds { hits, of }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_number_or_a_commit_hash() {
        assert_eq!("17".parse(), Ok(Seed(17)));
        assert_eq!("6BA38E5f".parse::<Seed>(), "6ba38e5f".parse());
        for nonsense in ["", "-1", "blue", "6ba38", "18446744073709551616000000000000000000000000000000000000000000000"]
        {
            assert!(nonsense.parse::<Seed>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn rolls_keep_their_odds_and_bounds() {
        let rolls: Vec<_> = (0..10_000).map(|index| Seed(1).nth(index).roll()).collect();
        let hits = rolls.iter().filter(|roll| roll.hits(odds(1, 4))).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        let mut seen = [0; 7];
        rolls.iter().for_each(|roll| seen[roll.below(7) as usize] += 1);
        assert!(seen.iter().all(|times| (1_250..1_600).contains(times)), "{seen:?}");
    }

    #[test]
    fn odds_of_none_and_of_all_are_certain() {
        assert!((0..1_000).all(|index| !Seed(2).nth(index).roll().hits(odds(0, 8))));
        assert!((0..1_000).all(|index| Seed(2).nth(index).roll().hits(odds(8, 8))));
    }
}
