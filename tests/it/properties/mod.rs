//! What holds for all inputs and all choices. Choices come as a plain sequence of numbers, so that they shrink.

mod archive;
pub(crate) mod await_row;
mod deploys;
mod frames;
mod lines;
mod peer_results;
mod table;
mod tail;

use drydock::sim::choice::{Effect, Label, Sequence, Source};
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};

/// The usual configuration; what fails is kept in `file`, so that it is tried first ever after.
fn kept_in(file: &'static str) -> Config {
    Config { failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))), ..Config::default() }
}

/// Values of choices in the order of their draws; most are harmless, or nothing would ever come to its end.
fn choices(most: usize) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(prop_oneof![3 => Just(0), 1 => any::<u32>()], 0..most)
}

pub(crate) fn source(choices: Vec<u32>) -> Sequence {
    Sequence(choices.into_iter())
}

/// The same where no node dies: for stories that hold a part of a node in their hands.
pub(crate) struct Immortal(pub(crate) Sequence);

impl Source for Immortal {
    fn draw(&mut self, label: Label, bound: u32) -> u32 {
        match label.kind.effect() {
            Effect::Condition | Effect::Death => 0,
            _ => self.0.draw(label, bound),
        }
    }
}
