//! `drydock scenarios`: a list with a sentence each.

use super::{
    exit::{Exit, Failure},
    output,
};
use crate::sims;

pub(super) fn run() -> Result<Exit, Failure> {
    let rows = sims::ALL.iter().map(|scenario| [scenario.name.to_owned(), scenario.summary.to_owned()]);
    output::print(&format!("{}\n", output::list(["scenario", "what it simulates"], rows)))?;
    Ok(Exit::Sound)
}
