//! Scenarios: stories that a run tells.

use std::{future::Future, pin::Pin};

use super::cluster::Cluster;

/// A story: an async function over a cluster, which ends the run when it returns.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line and in capsules.
    pub name: &'static str,
    /// What it simulates, in one sentence.
    pub summary: &'static str,
    /// Tells the story.
    pub tell: fn(Cluster) -> Pin<Box<dyn Future<Output = ()>>>,
}
