//! A deploy of a component that asks for package managers, on nodes that do not all have them.
//!
//! Simulates `devEngines.packageManager` in its forms: each node takes the first that it has in a version that is asked for,
//! and where it has none, or that one fails, the component says whether npm takes over, with or without a warning, or the
//! install fails. Fails when a node's outcome is not what the row and the client are told, or a line that any of the programs
//! printed is lost.

use std::io;

use serde_json::json;

use crate::{
    check::NodeIndex,
    env::{Command, ExitStatus},
    sim::{cluster::Cluster, process::Script, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "package-managers",
    summary: "a component that asks for package managers which not every node has",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// What every node has.
const EVERYWHERE: &str = "npm";

async fn tell(cluster: Cluster) {
    let with_pnpm = cluster.nodes() - cluster.choose(u32::from(cluster.nodes()) + 1) as u8;
    let exit = ExitStatus::Code(cluster.choose_from(&[0, 0, 1]));
    let version = cluster.choose_from(&["9.15.4\n", "8.0.0\n", "no such option\n"]);
    cluster.script(move |node, command| match &*command.program {
        EVERYWHERE => scripts::quiet_success(node, command),
        "pnpm" if node.0 < with_pnpm => Ok(pnpm(command, version, exit)),
        _ => Err(io::ErrorKind::NotFound.into()),
    });
    let on_fail = cluster.choose_from(&[json!("warn"), json!("ignore"), json!("error"), json!(null)]);
    let pnpm = match cluster.choose(2) {
        0 => json!({ "name": "pnpm", "version": ">=9 <10", "onFail": on_fail }),
        _ => json!({ "name": "pnpm", "onFail": on_fail }),
    };
    let asked = match cluster.choose(3) {
        0 => pnpm,
        1 => json!([{ "name": "yarn" }, pnpm]),
        _ => json!([pnpm, { "name": "npm" }]),
    };
    let deploy = cluster.component().with_manifest("devEngines", json!({ "packageManager": asked }));
    let _ = cluster.deploy(NodeIndex(0), deploy).await;
    cluster.settle().await;
}

fn pnpm(command: &Command, version: &str, exit: ExitStatus) -> Script {
    match &*command.args[0] {
        "--version" => {
            scripts::printing(&[version.as_bytes()], ExitStatus::Code(i32::from(version.contains("option"))))
        }
        _ => scripts::printing(
            "Lockfile is up to date\nDone in 1.2s\n".as_bytes().chunks(11).collect::<Vec<_>>().as_slice(),
            exit,
        ),
    }
}
