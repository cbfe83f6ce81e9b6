//! The hot path: a whole run of one deploy, all invariants on, on one core. 3 nodes, a 16 KiB payload.
//!
//! `cargo bench` prints the time of a run. Compare rows of one table: a peer that waits for virtual minutes is to cost
//! about what one costs that does not, and the same story stands beside it on stock turmoil.

use std::{io, sync::Arc, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use drydock::{
    check::NodeIndex,
    env::Command,
    search::{seed::Seed, strategy::Strategy},
    sim::{
        choice::{Calm, Kind, Label, Source},
        cluster::Cluster,
        component::Component,
        process::Script,
        run::{Params, WorldKind, run},
        scenario::Scenario,
        scripts,
    },
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const DEPLOY: Scenario = Scenario {
    name: "bench",
    summary: "one deploy",
    other_sizes: &[],
    tell: |cluster| Box::pin(deploy(cluster, Duration::ZERO)),
};

const SLOW_30_S: Scenario = Scenario {
    name: "bench-30-s",
    summary: "one deploy whose installer on a peer is silent for 30 s",
    other_sizes: &[],
    tell: |cluster| Box::pin(deploy(cluster, Duration::from_secs(30))),
};

const SLOW_120_S: Scenario = Scenario {
    name: "bench-120-s",
    summary: "one deploy whose installer on a peer is silent for 120 s",
    other_sizes: &[],
    tell: |cluster| Box::pin(deploy(cluster, Duration::from_secs(120))),
};

async fn deploy(cluster: Cluster, pause: Duration) {
    cluster.script(move |node: NodeIndex, command: &Command| -> io::Result<Script> {
        let mut script = scripts::quiet_success(node, command)?;
        script.last_pause = if node == NodeIndex(1) { pause } else { Duration::ZERO };
        Ok(script)
    });
    let deploy = cluster.component().with("install_command", "make").with("deployment_timeout", 180_000);
    let _ = cluster.deploy(NodeIndex(0), deploy).await;
    cluster.settle().await;
}

fn bench(bencher: Bencher<'_, '_>, world: WorldKind, scenario: &Scenario, source: impl Fn() -> Box<dyn Source>) {
    let params = Params { nodes: 3, component: Arc::new(Component::of_size("bench", 16 * 1024)) };
    let run_once = || {
        let report = run(world, scenario, &params, source());
        assert!(report.violation().is_none(), "{}", report.violation().expect("just asked"));
        report.draws
    };
    bencher.counter(ItemsCount::new(1usize)).bench_local(run_once);
}

#[divan::bench]
fn deploy_calm(bencher: Bencher<'_, '_>) {
    bench(bencher, WorldKind::Sim, &DEPLOY, || Box::new(Calm));
}

#[divan::bench]
fn deploy_explored(bencher: Bencher<'_, '_>) {
    let run = std::cell::Cell::new(0);
    bench(bencher, WorldKind::Sim, &DEPLOY, || {
        run.set(run.get() + 1);
        Strategy::Pct.source(Seed(1).nth(run.get()))
    });
}

#[divan::bench]
fn peer_installs_for_30_s(bencher: Bencher<'_, '_>) {
    bench(bencher, WorldKind::Sim, &SLOW_30_S, || Box::new(Calm));
}

#[divan::bench]
fn peer_installs_for_120_s(bencher: Bencher<'_, '_>) {
    bench(bencher, WorldKind::Sim, &SLOW_120_S, || Box::new(Calm));
}

/// Every put of the origin is shown by its log a minute late: its peers look for their row 600 times.
struct LateLog;

impl Source for LateLog {
    fn draw(&mut self, label: Label, bound: u32) -> u32 {
        if label.kind == Kind::PutLogged && label.node == Some(NodeIndex(0)) { bound - 1 } else { 0 }
    }
}

#[divan::bench]
fn row_comes_after_61_s(bencher: Bencher<'_, '_>) {
    bench(bencher, WorldKind::Sim, &DEPLOY, || Box::new(LateLog));
}

#[cfg(feature = "turmoil")]
#[divan::bench]
fn deploy_calm_on_turmoil(bencher: Bencher<'_, '_>) {
    bench(bencher, WorldKind::Turmoil, &DEPLOY, || Box::new(Calm));
}

#[cfg(feature = "turmoil")]
#[divan::bench]
fn peer_installs_for_30_s_on_turmoil(bencher: Bencher<'_, '_>) {
    bench(bencher, WorldKind::Turmoil, &SLOW_30_S, || Box::new(Calm));
}
