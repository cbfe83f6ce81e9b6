//! A deploy with a word on how to install it: a command of its own, modules that come along, managers that take their time
//! to say their version, an installer that takes twenty minutes or hangs.
//!
//! Simulates what operators ask of an install. Fails when a node runs something else than was asked for, or nothing; when
//! an installer is ended though it has time left; and when one runs on, at the origin or at a peer, after its time is over.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::{
    check::NodeIndex,
    env::{ExitStatus, OutputStream},
    sim::{
        cluster::{Cluster, Deploy},
        process::Script,
        scenario::Scenario,
    },
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "installs",
    summary: "a command of its own, shipped modules, slow managers, installers that take long or hang",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    let deploy = asked(&cluster);
    let hangs = cluster.choose(5) == 4;
    let who = cluster.choose(u32::from(cluster.nodes()) + 1);
    let [asks, installs] = [[0, 40, 1_500], [0, 20, 50]].map(|times| cluster.choose_from(&times));
    cluster.script(move |node, command| {
        let strikes = who == 0 || u32::from(node.0) + 1 == who;
        Ok(match (strikes, command.args.first().is_some_and(|arg| arg == "--version")) {
            (true, true) => said("9.15.4\n", Duration::from_secs(asks), true),
            (true, false) => said("added 3 packages\n", Duration::from_secs(60 * installs), !hangs),
            (false, is_question) => said(if is_question { "9.15.4\n" } else { "" }, Duration::ZERO, true),
        })
    });
    let deploy = match cluster.choose(3) {
        0 => deploy,
        1 => deploy.with("install_timeout", 600_000),
        _ => deploy.with("install_timeout", 3_000_000),
    };
    let _ = cluster.deploy(NodeIndex(0), deploy).await;
    cluster.settle().await;
}

fn asked(cluster: &Cluster) -> Deploy {
    let component = cluster.component();
    match cluster.choose(5) {
        0 => component,
        1 => component.with("install_command", "CI=1 pnpm install --prod"),
        2 => component.with_file("node_modules/left-pad/index.js", "module.exports = 1;\n"),
        3 => component
            .with("install_command", "make modules")
            .with_file("node_modules/left-pad/index.js", "module.exports = 1;\n"),
        _ => {
            let managers = ["pnpm", "yarn"].map(|name| json!({ "name": name, "version": ">=9", "onFail": "warn" }));
            component.with_manifest("devEngines", json!({ "packageManager": managers }))
        }
    }
}

/// A program that is silent for a while, then prints and ends, if it ends.
fn said(text: &'static str, after: Duration, ends: bool) -> Script {
    let write = (after, OutputStream::Stdout, Bytes::from_static(text.as_bytes()));
    let writes = if text.is_empty() { Vec::new() } else { vec![write] };
    Script { writes, last_pause: Duration::ZERO, exit: ends.then_some(ExitStatus::Code(0)), files: Vec::new() }
}
