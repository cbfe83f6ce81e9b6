//! Scenarios: one story a file. The command line and `cargo test` run the same ones.
//!
//! What a story leaves open (who is the origin, which options, what an installer prints) it draws with
//! `cluster.choose`; in the calm run each draw is 0. A story never judges: the invariants do.

mod broken_component;
mod chatty_install;
mod claimed_id;
mod client_leaves;
mod deploy;
mod failing_install;
mod impatient_peers;
mod installs;
mod join;
mod late_news;
mod leave;
mod mixed;
mod origin_dies;
mod package;
mod package_managers;
mod peer_dies;
mod power_cut;
mod readers;
mod redeploy;
mod restart;
mod retention;
mod rollback;
mod slow_install;
mod tails;
mod two_origins;
mod two_projects;
mod unreplicated;

use crate::sim::scenario::Scenario;

/// Every scenario, in the order in which exploration takes them.
pub const ALL: &[Scenario] = &[
    deploy::SCENARIO,
    impatient_peers::SCENARIO,
    failing_install::SCENARIO,
    broken_component::SCENARIO,
    chatty_install::SCENARIO,
    package_managers::SCENARIO,
    package::SCENARIO,
    slow_install::SCENARIO,
    installs::SCENARIO,
    client_leaves::SCENARIO,
    claimed_id::SCENARIO,
    redeploy::SCENARIO,
    restart::SCENARIO,
    two_origins::SCENARIO,
    two_projects::SCENARIO,
    unreplicated::SCENARIO,
    origin_dies::SCENARIO,
    peer_dies::SCENARIO,
    power_cut::SCENARIO,
    late_news::SCENARIO,
    readers::SCENARIO,
    tails::SCENARIO,
    retention::SCENARIO,
    rollback::SCENARIO,
    join::SCENARIO,
    leave::SCENARIO,
    mixed::SCENARIO,
];
