//! The vocabulary of scenarios.

/// A cluster, as a scenario sees it.
#[derive(Clone)]
pub struct Cluster;
