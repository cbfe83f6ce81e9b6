//! `drydock invariants`: a list with a sentence each.

use super::{
    exit::{Exit, Failure},
    output,
};
use crate::check::invariants;

pub(super) fn run() -> Result<Exit, Failure> {
    let rows = invariants::ALL.iter().map(|invariant| [invariant.name.to_owned(), invariant.sentence.to_owned()]);
    output::print(&format!("{}\n", output::list(["invariant", "what must hold"], rows)))?;
    Ok(Exit::Sound)
}
