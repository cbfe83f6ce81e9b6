//! READ: what a node tells its readers is what it shows.
//!
//! `asks` pairs questions with answers, `rows` judges a row that was told, `lists` a list, `deletions` one that was
//! to go, `downloads` a payload that did not come.

mod asks;
mod deletions;
mod downloads;
mod lists;
mod rows;

use super::{facts::Facts, verdict::Inquiry};
use crate::check::{Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const READ: Invariant = Invariant {
    name: "READ",
    sentence: "a list holds what the node shows and the filters ask for, newest first, and counts all of it; a row that is \
               told is the row as the node knows it, with an end that is durable there, never one from before, and without \
               its blob; a payload that does not come has a cause that fits; one that is told to be deleted is named by its origin's \
               row no more, and a deletion is refused for a cause that fits only",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, READ.name);
    let asks = asks::gather(facts);
    for ask in &asks {
        match ask.request["operation"].as_str() {
            Some("list_deployments") => inquiry.look(|| lists::wrong(facts, ask)),
            Some(deletions::OPERATION) => inquiry.look(|| deletions::wrong_answer(facts, ask)),
            _ => inquiry.look(|| rows::wrong_answer(facts, ask)),
        }
    }
    rows::look_for_steps_back(&mut inquiry, facts, &asks);
    rows::look_at_tails(&mut inquiry, facts);
    downloads::look(&mut inquiry, facts);
    inquiry.done()
}
