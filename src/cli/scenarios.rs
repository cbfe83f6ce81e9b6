//! `drydock scenarios`: a list with a sentence each.

use super::{
    exit::{Exit, Failure},
    output,
};
use crate::sims;

pub(super) fn run() -> Result<Exit, Failure> {
    let rows = sims::ALL.iter().map(|scenario| vec![scenario.name.to_owned(), scenario.summary.to_owned()]);
    output::print(&format!("{}\n", output::table(&["scenario", "what it simulates"], rows)))?;
    Ok(Exit::Sound)
}
